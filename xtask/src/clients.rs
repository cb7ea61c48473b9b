//! Real clients against the real binary: pymemcache, pylibmc, libmemcached's tools, php-memcached.
//!
//! What is missing is installed: Debian packages by apt-get (as root, or by sudo without a password), Python
//! packages into a virtual environment under `target/`. Every install is announced.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::steps::{call, cargo};

/// A program that must be there, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("memccapable", "libmemcached-tools"),
    ("memcached", "memcached"),
    ("python3", "python3"),
    ("php", "php-cli"),
];

const VENV: &str = "target/clients-venv";
const SUITE: &str = "tests/clients";

/// Builds the release binary, installs what is missing, runs the Python suite.
pub(crate) fn run() -> Result<()> {
    install_programs()?;
    install_venv()?;
    call(cargo(&["build", "--release", "--quiet", "--package", "doled-cli"]))?;
    let binary = std::fs::canonicalize("target/release/doled").context("the built binary")?;
    let mut pytest = Command::new(format!("{VENV}/bin/python"));
    pytest
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", SUITE])
        .env("DOLED", binary);
    call(pytest)
}

fn install_programs() -> Result<()> {
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !runs(program)).map(|&(_, package)| package).collect();
    // Debian ships the module apart; without it `python3 -m venv` ends with an error.
    if !succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        packages.push("python3-venv");
    }
    if !succeeds(Command::new("php").args(["-r", "new Memcached();"])) {
        packages.push("php-memcached");
    }
    if packages.is_empty() {
        return Ok(());
    }
    println!("installing Debian packages: {}", packages.join(" "));
    let root = succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]));
    let prefix: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    for args in [
        vec!["update", "-qq"],
        [vec!["install", "-y", "-qq", "--no-install-recommends"], packages.clone()].concat(),
    ] {
        let line: Vec<&str> = prefix.iter().copied().chain(["apt-get"]).chain(args).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        call(command).with_context(|| format!("install these yourself: {}", packages.join(" ")))?;
    }
    Ok(())
}

fn install_venv() -> Result<()> {
    let wanted = std::fs::read_to_string(format!("{SUITE}/requirements.txt"))?;
    let stamp = format!("{VENV}/installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!(
        "installing Python packages into {VENV}: {}",
        wanted.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    if Path::new(VENV).exists() {
        std::fs::remove_dir_all(VENV)?;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", VENV]);
    call(venv)?;
    let mut pip = Command::new(format!("{VENV}/bin/pip"));
    pip.args(["install", "--quiet", "--requirement", &format!("{SUITE}/requirements.txt")]);
    call(pip)?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}

fn runs(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn succeeds(command: &mut Command) -> bool {
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => status.success(),
        Err(_) => false,
    }
}
