//! `doled serve`: memcached's flags, and what makes a node a member of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgAction, Args};
use proto::control::Life;
use proto::{ClusterId, Incarnation, NodeId};
use server::{Leased, ManagedOptions, Node, ServerOptions, UnixSocket};
use stdx::{ByteSize, clock};

/// A port for which any free one is taken.
const ANY_PORT: &str = "-1";

/// Flags of `doled serve`. Short forms are memcached's.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct ServeArgs {
    /// TCP port; 0: none (with -s), -1: any free one
    #[arg(
        short,
        long,
        value_name = "PORT",
        env = "DOLED_PORT",
        default_value = "11211",
        allow_hyphen_values = true
    )]
    port: String,

    /// Listen on this address; repeat it or give a comma list; host:port takes a port of its own
    #[arg(
        short,
        long = "listen",
        value_name = "ADDR",
        env = "DOLED_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1"
    )]
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

/// Runs the node; a leased one under its guardian.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode> {
    let options = options(args)?;
    match &options.managed {
        Some(ManagedOptions::Leased(leased)) if leased.incarnation.is_none() => guard(leased),
        _ => serve(args, options),
    }
}

fn serve(args: &ServeArgs, options: ServerOptions) -> Result<ExitCode> {
    let mut signals = crate::signals::register()?;
    let node = Node::start(options)?;
    if let Some(path) = &args.pidfile {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("--pidfile {}", path.display()))?;
    }
    let stop = node.stop_handle();
    std::thread::spawn(move || {
        crate::signals::wait(&mut signals);
        stop.stop();
    });
    node.wait();
    if let Some(path) = &args.pidfile {
        // Gone already, or not ours any more: nothing to say about a file that only helps people.
        let _ = std::fs::remove_file(path);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs this same program again as the node, with an incarnation whose death this process will prove.
fn guard(leased: &Leased) -> Result<ExitCode> {
    let incarnation = Incarnation(clock::random_u64().max(1));
    let mut command = Command::new(std::env::current_exe().context("find this program's own file")?);
    command.args(std::env::args_os().skip(1)).arg("--guarded-incarnation").arg(incarnation.to_string());
    let life = Life { cluster: ClusterId(0), node: leased.node.clone(), incarnation };
    server::guardian::run(command, life, &leased.managers).context("run the node under its guardian")
}

fn options(args: &ServeArgs) -> Result<ServerOptions> {
    let memory = memory(&args.memory_limit)?;
    let item_size_max = args.max_item_size;
    ensure!(
        (ByteSize::kib(1)..=ByteSize::mib(1024)).contains(&item_size_max),
        "--max-item-size {item_size_max}: from 1k to 1024m"
    );
    ensure!(
        item_size_max.0 <= memory.0 / 2,
        "--max-item-size {item_size_max}: at most half of --memory-limit, which is {memory}"
    );
    let listen = listen(args)?;
    let managed = managed(args, &listen)?;
    Ok(ServerOptions {
        listen,
        unix_socket: unix_socket(args)?,
        backlog: u32::from(args.listen_backlog),
        memory,
        item_size_max,
        evict: !args.disable_evictions,
        threads: usize::from(args.threads),
        max_connections: args.conn_limit as usize,
        verbosity: args.verbose,
        shutdown_enabled: args.enable_shutdown,
        managed,
        ..ServerOptions::default()
    })
}

fn memory(text: &str) -> Result<ByteSize> {
    let memory = match text.parse::<u64>() {
        Ok(megabytes) => ByteSize(megabytes.saturating_mul(1 << 20)),
        Err(_) => text.parse().with_context(|| format!("--memory-limit \"{text}\""))?,
    };
    ensure!(
        (ByteSize::mib(1)..=ByteSize::mib(1 << 24)).contains(&memory),
        "--memory-limit \"{text}\": from 1 to 16777216 megabytes"
    );
    Ok(memory)
}

fn listen(args: &ServeArgs) -> Result<Vec<SocketAddr>> {
    if args.unix_socket.is_some() {
        return Ok(Vec::new());
    }
    let port = match args.port.as_str() {
        ANY_PORT => 0,
        "0" => bail!("--port 0: without a TCP port the node needs --unix-socket"),
        text => text
            .parse::<u16>()
            .with_context(|| format!("--port \"{text}\": a number from 1 to 65535, or -1"))?,
    };
    let mut addresses = Vec::new();
    for text in &args.listen {
        let address = crate::address::with_port("--listen", text, port)?;
        let found = crate::address::resolve("--listen", &address)?;
        let fresh: Vec<SocketAddr> =
            found.into_iter().filter(|address| !addresses.contains(address)).collect();
        addresses.extend(fresh);
    }
    Ok(addresses)
}

fn unix_socket(args: &ServeArgs) -> Result<Option<UnixSocket>> {
    let Some(path) = args.unix_socket.clone() else { return Ok(None) };
    let mode = u32::from_str_radix(&args.unix_mask, 8).ok().filter(|mode| *mode <= 0o777);
    let mode =
        mode.with_context(|| format!("--unix-mask \"{}\": an octal number up to 777", args.unix_mask))?;
    Ok(Some(UnixSocket { path, mode }))
}

fn managed(args: &ServeArgs, listen: &[SocketAddr]) -> Result<Option<ManagedOptions>> {
    if !args.managed {
        return Ok(None);
    }
    let name = match &args.node {
        Some(name) => name.clone(),
        None => format!("node-{}", listen.first().map_or(0, SocketAddr::port)).parse()?,
    };
    if let Some(managers) = &args.manager {
        let advertise =
            args.advertise.as_deref().map(|text| crate::address::with_port("--advertise", text, 11211));
        return Ok(Some(ManagedOptions::Leased(Leased {
            managers: crate::address::list("--manager", managers, 11311)?,
            node: name,
            data: args.data.clone(),
            advertise: advertise.transpose()?,
            incarnation: args.guarded_incarnation.map(Incarnation),
        })));
    }
    let Some(admin) = &args.admin else {
        bail!(
            "--managed: name the managers with --manager, or an --admin address where buckets are owned by hand"
        );
    };
    let admin = crate::address::with_port("--admin", admin, 11210)?;
    Ok(Some(ManagedOptions::ByHand { admin: crate::address::resolve("--admin", &admin)?[0], node: name }))
}
