//! `cargo xtask fuzz`: the targets of `crates/fuzz` under libFuzzer.
//!
//! The toolchain is the workspace's own: coverage comes from LLVM's own pass, which a stable compiler runs too, and
//! libFuzzer from the crate `libfuzzer-sys`, which needs a C++ compiler. What is found on the way is kept under
//! `target/fuzz/`; only inputs that were put into `fuzz/corpus/` are run by `cargo test`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::{call, cargo};

const USAGE: &str = "usage: cargo xtask fuzz [TARGET]... [--seconds N | --minimise]";

const CORPORA: &str = "fuzz/corpus";
const DICTIONARIES: &str = "fuzz/dict";
const BUILD: &str = "target/fuzz";

/// Seconds for each target, unless it is said.
const SECONDS: u64 = 60;

/// Longest input, in bytes: some pages of commands.
const INPUT_LEN_MAX: usize = 4096;

/// Longest input that is kept in the repository.
const KEPT_LEN_MAX: usize = 1024;

/// Bytes of all kept inputs of a target.
const KEPT_BYTES_MAX: u64 = 28 << 10;

/// Kept inputs of a target.
const KEPT_COUNT_MAX: usize = 200;

/// Counts executed edges of all code, and lets libFuzzer see what is compared with what.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

struct Asked {
    targets: Vec<String>,
    seconds: u64,
    minimise: bool,
}

/// Builds the fuzzer and runs the named targets one after the other, or all.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::read(args)?;
    let program = build()?;
    for target in &asked.targets {
        println!("==> fuzz {target}");
        if asked.minimise { minimise(&program, target)? } else { fuzz(&program, target, asked.seconds)? }
    }
    Ok(())
}

impl Asked {
    fn read(args: &[&str]) -> Result<Self> {
        let known = names(Path::new(CORPORA))?;
        let mut asked = Self { targets: Vec::new(), seconds: SECONDS, minimise: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--seconds" => {
                    let number = args.next().and_then(|number| number.parse().ok());
                    asked.seconds =
                        number.filter(|number| *number > 0).context("--seconds: a whole number above 0")?;
                }
                "--minimise" => asked.minimise = true,
                name if known.iter().any(|target| target == name) => asked.targets.push(name.to_owned()),
                _ => bail!("\"{arg}\": a target is one of {}\n\n{USAGE}", known.join(", ")),
            }
        }
        if asked.targets.is_empty() {
            asked.targets = known;
        }
        Ok(asked)
    }
}

/// Every target has a directory of inputs.
fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Returns the program. Naming the target keeps build scripts and macros free of the flags.
fn build() -> Result<String> {
    let version = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let version = String::from_utf8_lossy(&version.stdout);
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let mut command = cargo(&["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
    command
        .args(["--target", host, "--target-dir", BUILD])
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    call(command).context("build the fuzzer; it needs a C++ compiler")?;
    Ok(format!("{BUILD}/{host}/release/doled-libfuzzer"))
}

fn fuzz(program: &str, target: &str, seconds: u64) -> Result<()> {
    let (found, broken) = (format!("{BUILD}/corpus/{target}"), format!("{BUILD}/artifacts/{target}/"));
    for directory in [&found, &broken] {
        std::fs::create_dir_all(directory).with_context(|| directory.clone())?;
    }
    let mut command = libfuzzer(program, target);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={INPUT_LEN_MAX}"));
    command.args(["-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={broken}"));
    let dictionary = format!("{DICTIONARIES}/{target}.dict");
    if Path::new(&dictionary).exists() {
        command.arg(format!("-dict={dictionary}"));
    }
    command.arg(found).arg(format!("{CORPORA}/{target}"));
    call(command).with_context(|| {
        format!(
            "the input is in {broken}; once mended, put it into {CORPORA}/{target}/, where cargo test runs it"
        )
    })
}

/// Replaces the kept inputs by those of all known ones that together reach most, as many as have room.
fn minimise(program: &str, target: &str) -> Result<()> {
    let (kept, found) = (format!("{CORPORA}/{target}"), format!("{BUILD}/corpus/{target}"));
    let smallest = format!("{BUILD}/minimised/{target}");
    std::fs::create_dir_all(&found)?;
    if Path::new(&smallest).exists() {
        std::fs::remove_dir_all(&smallest)?;
    }
    std::fs::create_dir_all(&smallest)?;
    let mut command = libfuzzer(program, target);
    command.args(["-set_cover_merge=1", &format!("-max_len={KEPT_LEN_MAX}"), &smallest, &kept, &found]);
    call(command)?;
    let mut inputs = names(Path::new(&smallest))?
        .into_iter()
        .map(|name| {
            let len = std::fs::metadata(format!("{smallest}/{name}"))?.len();
            Ok((len, name))
        })
        .collect::<Result<Vec<_>>>()?;
    // Of all lengths; short ones first, so that more have room.
    inputs.sort();
    let step = inputs.len().div_ceil(KEPT_COUNT_MAX).max(1);
    for name in names(Path::new(&kept))?.iter().filter(|name| !name.starts_with("found-")) {
        std::fs::remove_file(format!("{kept}/{name}"))?;
    }
    let mut total = 0;
    for (len, name) in inputs.into_iter().step_by(step) {
        total += len;
        if total > KEPT_BYTES_MAX {
            break;
        }
        std::fs::copy(format!("{smallest}/{name}"), format!("{kept}/{name}"))?;
    }
    Ok(())
}

fn libfuzzer(program: &str, target: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DOLED_FUZZ_TARGET", target);
    command
}
