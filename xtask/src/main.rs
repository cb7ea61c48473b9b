//! The project's automation: `cargo xtask ci` is the whole of CI, the same on a laptop.
//!
//! Nothing here is part of the product. Each step is one function; `ci` runs them all and says what each took.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod bench;
mod clients;
mod fuzz;
mod steps;
mod tidy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask <command>

  ci        everything below, in this order; what CI runs
  fmt       rustfmt, check only
  clippy    clippy on all targets, warnings are errors
  tidy      the rules that no compiler checks: crate graph, file heads, sizes, unsafe, dependencies
  doc       rustdoc, warnings are errors
  test      unit, script and integration tests of all crates
  clients   real memcached clients against a node and a whole cluster; fetches what it needs
            (Debian: libmemcached-tools memcached python3-venv; PyPI: tests/clients/requirements.txt)

not a part of ci, since its build alone takes a minute or two:

  fuzz [TARGET]... [--seconds N]   fuzz targets under libFuzzer, 60 s each; see docs/testing.md
  fuzz [TARGET]... --minimise      keep few inputs that reach much in fuzz/corpus/
  bench node [--quick] [--only speed,latency,memory,hits] [--trace FILE…] [--cachebench DIR…]
            the node beside the installed memcached and the kernel's floor, as tables; without
            --quick also into docs/performance.md and docs/results";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let root = workspace_root()?;
    env::set_current_dir(&root).with_context(|| format!("enter {}", root.display()))?;
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ci"] => ci(),
        ["fuzz", args @ ..] => fuzz::run(args),
        ["bench", "node", flags @ ..] => bench::node(flags),
        [name] => match STEPS.iter().find(|(step, _)| step == name) {
            Some((_, step)) => step(),
            None => bail!("unknown command \"{name}\"\n\n{USAGE}"),
        },
        _ => bail!("one command is needed\n\n{USAGE}"),
    }
}

fn ci() -> Result<()> {
    let start = Instant::now();
    let mut took = Vec::new();
    for (name, step) in STEPS {
        println!("==> {name}");
        let begun = Instant::now();
        step().with_context(|| format!("step {name} (alone: cargo xtask {name})"))?;
        took.push(format!("{name} {:.0} s", begun.elapsed().as_secs_f64()));
    }
    println!("==> all steps passed in {:.0} s: {}", start.elapsed().as_secs_f64(), took.join(", "));
    Ok(())
}

fn workspace_root() -> Result<PathBuf> {
    let manifest = env::var("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = Path::new(&manifest).parent().context("xtask lies in the workspace")?;
    Ok(root.to_owned())
}

type Step = fn() -> Result<()>;

/// In the order of a run: cheap and telling first.
const STEPS: &[(&str, Step)] = &[
    ("fmt", steps::fmt),
    ("tidy", tidy::run),
    ("clippy", steps::clippy),
    ("doc", steps::doc),
    ("test", steps::test),
    ("clients", clients::run),
];
