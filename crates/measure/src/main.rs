//! Measures the node beside memcached and beside a server that only returns a fixed reply.
//!
//! Run by `cargo xtask bench node`, which builds it and the binary under test in release mode. Nothing here is part
//! of the product. Each section starts the servers that it needs on free ports of loopback and ends them.
//!
//! **Method**: server on processor 0, load on processor 1; rivals take turns in every round; what is compared is the
//! CPU time of the server's process for each request; medians of all rounds, with the lowest and the highest.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod client;
mod connections;
mod expiry;
mod floor;
mod hits;
mod hostile;
mod latency;
mod machine;
mod memory;
mod payload;
mod report;
mod server;
mod speed;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use bench::TraceFile;
use clap::{Args, Parser, Subcommand};

use crate::report::Section;
use crate::server::Programs;

#[derive(Parser)]
#[command(name = "measure", about = "Compares the node with memcached")]
enum Command {
    /// The tables of docs/performance.md
    Node(NodeArgs),
    /// The kernel's floor: answers everything with a fixed reply; prints its port
    #[command(subcommand, hide = true)]
    Floor(FloorCommand),
}

#[derive(Subcommand)]
enum FloorCommand {
    /// Each line is answered by KEYS values of LEN bytes and END
    Values { len: usize, keys: usize },
    /// Each LEN bytes are answered by STORED
    Stored { len: usize },
}

#[derive(Args)]
pub(crate) struct NodeArgs {
    /// Shorter runs and smaller caches; docs/performance.md stays as it is
    #[arg(long)]
    quick: bool,

    /// Only these sections: speed, memory, hits, latency
    #[arg(long, value_name = "SECTION", value_delimiter = ',')]
    only: Vec<String>,

    /// Traces for `hits`, (FORMAT:)FILE as `doled bench --trace` takes them [default: generated ones]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    trace: Vec<String>,

    /// cachebench workloads for `memory`: directories with config.json [default: built-in size mixes]
    #[arg(long, value_name = "DIR", num_args = 1..)]
    cachebench: Vec<PathBuf>,

    /// The binary under test
    #[arg(long, value_name = "FILE", default_value = "target/release/doled")]
    doled: PathBuf,

    /// The rival
    #[arg(long, value_name = "FILE", default_value = "memcached")]
    memcached: PathBuf,
}

impl NodeArgs {
    /// As they are shown with the results; where files lie is nobody's business.
    fn flags(&self) -> String {
        let mut flags = String::new();
        for (given, text) in [
            (self.quick, " --quick"),
            (!self.trace.is_empty(), " --trace …"),
            (!self.cachebench.is_empty(), " --cachebench …"),
        ] {
            if given {
                flags.push_str(text);
            }
        }
        flags
    }

    fn traces(&self) -> Vec<TraceFile> {
        self.trace
            .iter()
            .map(|text| {
                let Ok(file) = text.parse();
                file
            })
            .collect()
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Rounds of each case.
    pub(crate) rounds: u32,
    /// Length of one round.
    pub(crate) seconds: f64,
    /// Memory of the servers in the memory section, MiB.
    pub(crate) memory_mib: u64,
    /// Requests of each trace at most.
    pub(crate) requests: u64,
    /// Idle connections.
    pub(crate) connections: u32,
    /// Cache sizes of `hits`, as shares of a trace's keys.
    pub(crate) shares: &'static [f64],
    /// Memory of a cache in `hits` at least, bytes: fixed costs must not decide.
    pub(crate) cache_min: f64,
}

const FULL: Scale = Scale {
    rounds: 5,
    seconds: 1.5,
    memory_mib: 256,
    requests: 6_000_000,
    connections: 10_000,
    shares: &[0.01, 0.03, 0.1, 0.3],
    cache_min: (24 << 20) as f64,
};
const QUICK: Scale = Scale {
    rounds: 3,
    seconds: 0.3,
    memory_mib: 64,
    requests: 200_000,
    connections: 2_000,
    shares: &[0.1],
    cache_min: (8 << 20) as f64,
};

type Measure = fn(&Programs, &Scale, &NodeArgs) -> Result<Section>;

const SECTIONS: &[(&str, Measure)] =
    &[("speed", speed::run), ("latency", latency::run), ("memory", memory::run), ("hits", hits::run)];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Command::parse() {
        Command::Floor(FloorCommand::Values { len, keys }) => floor::serve(&floor::Reply::values(len, keys)),
        Command::Floor(FloorCommand::Stored { len }) => floor::serve(&floor::Reply::stored(len)),
        Command::Node(args) => node(&args),
    }
}

fn node(args: &NodeArgs) -> Result<()> {
    if let Some(unknown) = args.only.iter().find(|name| !SECTIONS.iter().any(|(known, _)| known == name)) {
        bail!("--only \"{unknown}\": speed, memory, hits or latency");
    }
    let programs = Programs::find(&args.doled, &args.memcached)?;
    let machine = machine::describe(&programs)?;
    println!("{machine}\n");
    let scale = if args.quick { QUICK } else { FULL };
    let begun = Instant::now();
    for (name, measure) in SECTIONS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("==> {name}");
        let start = Instant::now();
        let mut section = measure(&programs, &scale, args)?;
        section.finish(name, &machine, &args.flags(), start.elapsed());
        println!("{}", section.markdown());
        section.store(args.quick)?;
    }
    eprintln!("==> done in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
