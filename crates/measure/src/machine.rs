//! What was measured on: processor, kernel, versions, the day.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::server::Programs;

/// One line.
pub(crate) fn describe(programs: &Programs) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()))
        .unwrap_or_else(|| "unknown processor".to_owned());
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .context("no MemTotal in /proc/meminfo")?;
    let processors = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{model}, {processors} processors, {} GiB, Linux {}, {}, {} {}, {}, load of the machine before {}",
        (kib + (1 << 19)) >> 20,
        kernel.trim(),
        first_line(Command::new(&programs.memcached).arg("-V"))?,
        first_line(Command::new(&programs.doled).arg("--version"))?,
        commit(),
        first_line(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?,
        load.split(' ').next().unwrap_or_default()
    ))
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// Of the sources, as far as git knows it.
fn commit() -> String {
    first_line(Command::new("git").args(["describe", "--always", "--dirty"])).unwrap_or_default()
}
