//! `doled proxy`: where it listens, what stands behind it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

/// Flags of `doled proxy`, and the keys of its TOML file: flag over environment over file over default.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProxyArgs {
    /// TCP port [default: 11211]
    #[arg(short, long, value_name = "PORT", env = "DOLED_PORT")]
    port: Option<u16>,

    /// Listen on this address [default: 127.0.0.1]
    #[arg(short, long, value_name = "ADDR", env = "DOLED_LISTEN")]
    listen: Option<String>,

    /// Worker threads [default: 2]
    #[arg(short, long, value_name = "N", env = "DOLED_THREADS")]
    threads: Option<u16>,

    /// Client connections [default: 1024]
    #[arg(short, long, value_name = "N")]
    conn_limit: Option<u32>,

    /// The cluster's managers
    #[arg(long, value_name = "HOST:PORT,...", env = "DOLED_MANAGER")]
    manager: Option<String>,

    /// A static pool of memcached servers instead of a cluster; the order matters
    #[arg(long, value_name = "HOST:PORT,...")]
    pool: Option<String>,

    /// Places of each key; above 1 only with --pool [default: 1]
    #[arg(long, value_name = "R")]
    replicas: Option<u16>,

    /// How long a backend may take to answer [default: 500]
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u32>,

    /// Read these settings from a TOML file; its keys are these flags' long names
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count)]
    #[serde(skip)]
    verbose: u8,
}
