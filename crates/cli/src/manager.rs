//! `doled manager`: where it listens, where its state is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
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
