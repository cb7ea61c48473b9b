//! `doled serve`: memcached's flags, and what makes a node a member of a cluster.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, Args};
use proto::NodeId;
use server::{ManagedOptions, ServerOptions};
use stdx::ByteSize;

/// Flags of `doled serve`. Short forms are memcached's.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct ServeArgs {
    /// TCP port; 0: none (with -s), -1: any free one
    #[arg(short, long, value_name = "PORT", env = "DOLED_PORT", default_value = "11211", allow_hyphen_values = true)]
    port: String,

    /// Listen on this address; repeat it or give a comma list; host:port takes a port of its own
    #[arg(short, long = "listen", value_name = "ADDR", env = "DOLED_LISTEN", value_delimiter = ',', default_value = "127.0.0.1")]
    listen: Vec<String>,

    /// Listen on this unix socket, and on no network address
    #[arg(short = 's', long, value_name = "PATH")]
    unix_socket: Option<PathBuf>,

    /// Permissions of the unix socket, octal
    #[arg(short = 'a', long, value_name = "MASK", default_value = "700")]
    unix_mask: String,

    /// Item memory: megabytes as a plain number, or a size such as 1g
    #[arg(short, long, value_name = "SIZE", env = "DOLED_MEMORY", default_value = "64")]
    memory_limit: String,

    /// Answer with an error when memory is full, instead of evicting
    #[arg(short = 'M', long)]
    disable_evictions: bool,

    /// Worker threads
    #[arg(short, long, value_name = "N", env = "DOLED_THREADS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Simultaneous connections
    #[arg(short, long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    conn_limit: u32,

    /// Largest item, 1k to 1024m
    #[arg(short = 'I', long, value_name = "SIZE", default_value = "1m")]
    max_item_size: ByteSize,

    /// Length of the queue of connections that wait to be accepted
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..))]
    listen_backlog: u16,

    /// Write the process id to this file
    #[arg(short = 'P', long, value_name = "FILE")]
    pidfile: Option<PathBuf>,

    /// Allow the command "shutdown"
    #[arg(short = 'A', long)]
    enable_shutdown: bool,

    /// Say more: connections and errors; twice: every command
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Serve only the buckets that this node owns
    #[arg(long)]
    managed: bool,

    /// Own buckets under a lease of these managers; without it, by hand on --admin
    #[arg(long, value_name = "HOST:PORT,...", env = "DOLED_MANAGER", requires = "managed")]
    manager: Option<String>,

    /// This node's name in the cluster [default: node-PORT]
    #[arg(long, value_name = "NAME", env = "DOLED_NODE", requires = "manager")]
    node: Option<NodeId>,

    /// Directory with the lock of this node's identity
    #[arg(long, value_name = "DIR", env = "DOLED_DATA", requires = "manager")]
    data: Option<PathBuf>,

    /// Where clients reach this node, if not where it listens
    #[arg(long, value_name = "HOST:PORT", requires = "manager")]
    advertise: Option<String>,

    /// Accept own and disown here
    #[arg(long, value_name = "HOST:PORT", requires = "managed", conflicts_with = "manager")]
    admin: Option<String>,

    /// Set by the guardian for the node below it: the incarnation
    #[arg(long, hide = true, requires = "manager")]
    guarded_incarnation: Option<u64>,
}
