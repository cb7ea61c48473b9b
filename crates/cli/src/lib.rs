//! What the binary `doled` does: flags, environment and files become options; the shells do the work.
//!
//! **Invariants**: every check of a flag happens here, once, before anything is started; no logic of the
//! protocol, the store or the cluster is here. The main thread waits for signals.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod address;
mod api;
mod bench;
mod ctl;
mod manager;
mod parent;
mod proxy;
mod serve;
mod signals;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A memcached cluster that never serves stale data.
#[derive(Debug, Parser)]
#[command(name = "doled", version, disable_help_subcommand = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole local cluster: manager, nodes, proxy; Ctrl-C ends it
    Up(up::UpArgs),
    /// Run a node: a memcached server, alone or owning buckets of a cluster
    Serve(Box<serve::ServeArgs>),
    /// Run a proxy: memcached in, the cluster behind it
    Proxy(proxy::ProxyArgs),
    /// Run the manager: doles buckets out to nodes
    Manager(manager::ManagerArgs),
    /// Ask or change a running cluster
    Ctl(ctl::CtlArgs),
    /// Put load on any memcached server, and measure
    Bench(Box<bench::BenchArgs>),
}

pub use serve::check_serve_flags;

/// The program.
pub fn main() -> ExitCode {
    if let Err(error) = parent::die_with_parent() {
        eprintln!("doled: {error:#}");
        return ExitCode::FAILURE;
    }
    let command = match serve::started_as_memcached() {
        Some(args) => return end(serve::run(&args, serve::Started::AsMemcached)),
        None => Cli::parse().command,
    };
    end(match command {
        Command::Up(args) => up::run(&args),
        Command::Serve(args) => serve::run(&args, serve::Started::AsDoled),
        Command::Proxy(args) => proxy::run(args),
        Command::Manager(args) => manager::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Bench(args) => bench::run(&args),
    })
}

fn end(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doled: {error:#}");
            ExitCode::FAILURE
        }
    }
}
