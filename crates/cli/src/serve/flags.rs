//! The flags of a node, as clap reads them. What they may hold is checked in `options`.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use proto::NodeId;

use super::foreign::ForeignFlags;

/// What `-o` takes, under the flags in the help. Words that are only accepted are not in it.
const EXTENDED_HELP: &str = "\
Words of -o:
  idle_timeout=SECONDS    Close connections that send nothing for so long [default: 0, never]
  watcher_logbuf_size=KB  Room for lines that a watching connection was not sent yet [default: 256]
  worker_logbuf_size=KB   Room for lines that a thread logs for them in one turn [default: 64]
  track_sizes             Answer \"stats sizes\" from the start
  no_maxconns_fast        Connections above -c wait for others to end, instead of getting an error
  ssl_chain_cert=FILE   The certificate and those above it, PEM; read again by refresh_certs and on SIGHUP
  ssl_key=FILE          Its key, if it is not in the same file
  ssl_keyformat=NAME    PEM or DER [default: PEM]
  ssl_verify_mode=N     Client certificates: 0 none, 1 if the client has one, 2 or 3 required [default: 0];
                        before an address of -l, btls: is like 0, mtls: like 2, and notls: turns TLS off
  ssl_ca_cert=FILE      Whose client certificates are believed, PEM
  ssl_ciphers=LIST      Ciphers of TLS 1.2, as OpenSSL writes them [default: all supported]
  ssl_min_version=N     2 is TLS 1.2, 3 is TLS 1.3 [default: 2, the lowest]
  ssl_session_cache     Let clients go on with an earlier session

Options that tune what memcached has inside (slabs, LRU, hash table) are accepted; -v says which mean nothing here.";

/// Flags of `doled serve`, and of this program under the name `memcached`.
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true,
    after_help = EXTENDED_HELP
)]
pub(crate) struct ServeArgs {
    #[command(flatten, next_help_heading = "memcached's flags")]
    pub(super) memcached: MemcachedFlags,

    #[command(flatten)]
    pub(super) foreign: ForeignFlags,

    #[command(flatten, next_help_heading = "Cluster")]
    pub(super) cluster: ClusterFlags,

    /// Answer "config get cluster" with these nodes: a list, or a file with a version in the first line and nodes
    /// (host:port or host|ip|port) in the others, which is read again on SIGHUP
    #[arg(long, value_name = "FILE|HOST:PORT,...", env = "DOLED_DISCOVERY", help_heading = "Clients")]
    pub(super) discovery: Option<String>,

    /// Allow the command "debugtime", which makes items expire early: for tests of clients
    #[arg(long, hide = true)]
    pub(super) enable_debugtime: bool,

    /// Set by the process that `-d` was given to: this one is the daemon
    #[arg(long, hide = true)]
    pub(super) daemon_child: bool,

    /// Set by the guardian for the node below it: the incarnation
    #[arg(long, hide = true, requires = "manager")]
    pub(super) guarded_incarnation: Option<u64>,
}

/// memcached's flags that mean something here.
#[derive(Debug, Args)]
pub(super) struct MemcachedFlags {
    /// TCP port; 0: none (with -s or -U), -1: any free one [default: that of -U, or 11211]
    #[arg(short, long, value_name = "PORT", env = "DOLED_PORT", allow_hyphen_values = true)]
    pub(super) port: Option<String>,

    /// UDP port, on the addresses of -l, or on loopback without -l; 0: none, -1: any free one
    #[arg(short = 'U', long, value_name = "PORT", default_value = "0", allow_hyphen_values = true)]
    pub(super) udp_port: String,

    /// Listen on this address, with host:port on a port of its own; repeat it or give a comma list; `*`: every
    /// address [default: 127.0.0.1, or every address when started as memcached]
    #[arg(short, long, value_name = "ADDR", env = "DOLED_LISTEN", value_delimiter = ',')]
    pub(super) listen: Vec<String>,

    /// Listen on this unix socket, and on no network address
    #[arg(short = 's', long, value_name = "PATH")]
    pub(super) unix_socket: Option<PathBuf>,

    /// Permissions of the unix socket, octal
    #[arg(short = 'a', long, value_name = "MASK", default_value = "700")]
    pub(super) unix_mask: String,

    /// Item memory: megabytes as a plain number, or a size such as 1g
    #[arg(short, long, value_name = "SIZE", env = "DOLED_MEMORY", default_value = "64")]
    pub(super) memory_limit: String,

    /// Answer with an error when memory is full, instead of evicting
    #[arg(short = 'M', long)]
    pub(super) disable_evictions: bool,

    /// Largest item, 1k to 1024m, at most half of the item memory
    #[arg(short = 'I', long, value_name = "SIZE", default_value = "1m")]
    pub(super) max_item_size: String,

    /// Worker threads
    #[arg(short, long, value_name = "N", env = "DOLED_THREADS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) threads: u16,

    /// Simultaneous connections; more get an error, or wait (-o no_maxconns_fast)
    #[arg(short, long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) conn_limit: u32,

    /// Requests of one connection before others have their turn [default: 256]
    #[arg(short = 'R', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_reqs_per_event: Option<u32>,

    /// Connections that may wait to be accepted
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub(super) listen_backlog: u32,

    /// What connections speak: ascii, binary, or auto: what the first byte of each tells
    #[arg(short = 'B', long, value_name = "NAME", default_value = "auto")]
    pub(super) protocol: String,

    /// Run in the background; returns when the node listens
    #[arg(short, long)]
    pub(super) daemon: bool,

    /// Write the process id to this file
    #[arg(short = 'P', long, value_name = "FILE")]
    pub(super) pidfile: Option<PathBuf>,

    /// Become this user; only root can. Started as memcached by root, it is required
    #[arg(short, long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// Let core files be written, of any size
    #[arg(short = 'r', long)]
    pub(super) enable_coredumps: bool,

    /// Keep all memory out of swap
    #[arg(short = 'k', long)]
    pub(super) lock_memory: bool,

    /// Refuse the command "flush_all"
    #[arg(short = 'F', long)]
    pub(super) disable_flush_all: bool,

    /// Refuse the commands that list keys, "lru_crawler metadump" and "mgdump"
    #[arg(short = 'X', long)]
    pub(super) disable_dumping: bool,

    /// Refuse the command watch
    #[arg(short = 'W', long)]
    pub(super) disable_watch: bool,

    /// Count gets, sets and deletes by the part of a key before this character, from the start (stats detail)
    #[arg(short = 'D', value_name = "CHAR")]
    pub(super) delimiter: Option<String>,

    /// Allow the command "shutdown"
    #[arg(short = 'A', long)]
    pub(super) enable_shutdown: bool,

    /// Ask for a password (SASL, in the binary protocol); MEMCACHED_SASL_PWDB names the file with a line
    /// user:password for each user
    #[arg(short = 'S', long)]
    pub(super) enable_sasl: bool,

    /// Ask for a password in the text protocol, then the only one; FILE has a line user:pass for each of at most
    /// 8 users, and is read again on SIGHUP
    #[arg(short = 'Y', long, value_name = "FILE")]
    pub(super) auth_file: Option<PathBuf>,

    /// Speak TLS on the TCP addresses, with the certificate of -o ssl_chain_cert
    #[arg(short = 'Z', long)]
    pub(super) enable_ssl: bool,

    /// Keep the items over a restart: written to FILE when the node ends by SIGUSR1 or "shutdown graceful", taken
    /// back when it starts
    #[arg(short = 'e', long, value_name = "FILE")]
    pub(super) memory_file: Option<PathBuf>,

    /// Further options; see below
    #[arg(short = 'o', long, value_name = "WORD[=VALUE],...")]
    pub(super) extended: Vec<String>,

    /// Say more: what was accepted without meaning, connections; up to three times
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// Print the version
    #[arg(short = 'V', long)]
    pub(super) version: bool,

    /// Print the licence
    #[arg(short = 'i', long)]
    pub(super) license: bool,
}

/// What makes a node a member of a cluster.
#[derive(Debug, Args)]
pub(super) struct ClusterFlags {
    /// Serve only the buckets that this node owns
    #[arg(long)]
    pub(super) managed: bool,

    /// Own buckets under a lease of these managers; without it, by hand on --admin
    #[arg(long, value_name = "HOST:PORT,...", env = "DOLED_MANAGER", requires = "managed")]
    pub(super) manager: Option<String>,

    /// This node's name in the cluster [default: node-PORT]
    #[arg(long, value_name = "NAME", env = "DOLED_NODE", requires = "manager")]
    pub(super) node: Option<NodeId>,

    /// Directory with the lock of this node's identity
    #[arg(long, value_name = "DIR", env = "DOLED_DATA", requires = "manager")]
    pub(super) data: Option<PathBuf>,

    /// Where clients reach this node, if not where it listens
    #[arg(long, value_name = "HOST:PORT", requires = "manager")]
    pub(super) advertise: Option<String>,

    /// Accept own and disown here
    #[arg(long, value_name = "HOST:PORT", requires = "managed", conflicts_with = "manager")]
    pub(super) admin: Option<String>,
}
