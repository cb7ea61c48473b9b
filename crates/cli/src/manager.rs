//! `doled manager`: where it listens, where its state is.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::manager::{Manager, ManagerOptions, Verbosity};
use anyhow::Result;
use clap::Args;

/// Flags of `doled manager`.
#[derive(Debug, Args)]
pub(crate) struct ManagerArgs {
    /// Address for nodes, clients and HTTP
    #[arg(short, long, value_name = "HOST:PORT", env = "DOLED_LISTEN", default_value = "127.0.0.1:11311")]
    listen: String,

    /// Directory of the state file
    #[arg(short, long, value_name = "DIR", env = "DOLED_DATA")]
    data: PathBuf,

    /// Begin a new cluster if the directory holds none
    #[arg(long)]
    bootstrap: bool,

    /// Let unknown nodes in when they poll, instead of waiting for `doled ctl add-node`
    #[arg(long)]
    auto_add: bool,

    /// Length of a lease
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(500..=600_000))]
    lease_ms: u32,

    /// Listen on an address that others reach, though control messages are not authenticated
    #[arg(long)]
    insecure_listen: bool,

    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Runs the manager until SIGINT or SIGTERM.
pub(crate) fn run(args: &ManagerArgs) -> Result<ExitCode> {
    let options = options(args)?;
    let mut signals = crate::signals::register()?;
    let manager = Manager::start(options)?;
    let stop = manager.stop_handle();
    std::thread::spawn(move || {
        crate::signals::wait(&mut signals);
        stop.stop();
    });
    manager.wait()?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &ManagerArgs) -> Result<ManagerOptions> {
    let address = crate::address::with_port("--listen", &args.listen, 11311)?;
    let listen = crate::address::resolve("--listen", &address)?[0];
    Ok(ManagerOptions {
        insecure_listen: args.insecure_listen,
        bootstrap: args.bootstrap,
        auto_add: args.auto_add,
        lease: Duration::from_millis(u64::from(args.lease_ms)),
        verbosity: match args.verbose {
            0 => Verbosity::Quiet,
            1 => Verbosity::Changes,
            _ => Verbosity::Everything,
        },
        ..ManagerOptions::new(listen, args.data.clone())
    })
}
