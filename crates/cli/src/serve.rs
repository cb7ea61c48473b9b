//! `doled serve`, and the same under the name `memcached`: memcached's command line, and what makes a node a
//! member of a cluster.
//!
//! One to three processes: the one that was started; with `-d` the daemon, which is this program run again; under
//! a manager the guardian and below it the node, again this program. Flags are checked in each of them, so the
//! first tells every mistake. The main thread waits for the node; one thread waits for signals.

mod daemon;
mod extended;
mod files;
mod flags;
mod foreign;
mod listen;
mod options;
mod process;
mod sasl;
mod tls;

use std::ffi::c_int;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use proto::control::Life;
use proto::{ClusterId, Incarnation};
use server::{AuthFile, Discovery, Leased, ManagedOptions, Node, Tls};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;
use stdx::clock;

use daemon::Keep;
use options::Asked;

pub(crate) use flags::ServeArgs;

/// The name under which this program is a memcached.
const MEMCACHED: &str = "memcached";

/// Under which name the program was started, which decides some defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// `doled serve`: loopback, and root may be root.
    AsDoled,
    /// Every address, and root must name a user.
    AsMemcached,
}

/// The command line of this program under the name `memcached`.
#[derive(Debug, Parser)]
#[command(name = MEMCACHED, about = "A memcached server, alone or owning buckets of a doled cluster")]
struct MemcachedCli {
    #[command(flatten)]
    args: ServeArgs,
}

/// The flags, if this program was started as `memcached`; a mistake in them ends the process.
pub(crate) fn started_as_memcached() -> Option<ServeArgs> {
    let name = std::env::args_os().next()?;
    let is_memcached = Path::new(&name).file_name().is_some_and(|name| name == MEMCACHED);
    is_memcached.then(|| MemcachedCli::parse().args)
}

/// What a node would be started with under these flags, or the mistake in them. Nothing is started or written.
pub fn check_serve_flags(words: &[String]) -> Result<server::ServerOptions, String> {
    let words = std::iter::once(MEMCACHED).chain(words.iter().map(String::as_str));
    let cli = MemcachedCli::try_parse_from(words).map_err(|error| error.to_string())?;
    let asked = Asked::new(&cli.args, Started::AsDoled).map_err(|error| format!("{error:#}"))?;
    Ok(asked.server)
}

/// Runs the node; a leased one under its guardian.
pub(crate) fn run(args: &ServeArgs, started: Started) -> Result<ExitCode> {
    if args.memcached.version || args.memcached.license {
        print_about(args, started);
        return Ok(ExitCode::SUCCESS);
    }
    let asked = Asked::new(args, started)?;
    let is_node_of_guardian = args.guarded_incarnation.is_some();
    if args.daemon_child && !is_node_of_guardian {
        daemon::leave_terminal()?;
    } else if args.memcached.daemon && !args.daemon_child {
        return daemon::start();
    }
    process::prepare(&args.memcached, started)?;
    match &asked.server.managed {
        Some(ManagedOptions::Leased(leased)) if !is_node_of_guardian => guard(args, leased),
        _ => serve(args, asked),
    }
}

fn print_about(args: &ServeArgs, started: Started) {
    match (args.memcached.version, started) {
        (true, Started::AsMemcached) => println!("memcached {}", proto::VERSION),
        (true, Started::AsDoled) => {
            println!("doled {} (a memcached {})", env!("CARGO_PKG_VERSION"), proto::VERSION);
        }
        (false, _) => println!("doled {}: {}", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_LICENSE")),
    }
}

fn serve(args: &ServeArgs, asked: Asked) -> Result<ExitCode> {
    let flags = &args.memcached;
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGXFSZ]).context("register signal handlers")?;
    if flags.verbose > 0 {
        asked.notes.iter().for_each(|note| eprintln!("doled: without meaning here: {note}"));
    }
    asked.warnings.iter().for_each(|warning| eprintln!("doled: {warning}"));
    if flags.lock_memory {
        process::lock_memory();
    }
    let read_again = ReadAgain {
        auth_file: asked.server.auth_file.clone(),
        discovery: asked.server.discovery.clone(),
        tls: asked.server.tls.clone(),
    };
    let node = Node::start(asked.server)?;
    if flags.verbose > 0 {
        node.addresses().iter().for_each(|address| eprintln!("doled: listening on {address}"));
        node.udp_addresses().iter().for_each(|address| eprintln!("doled: listening on {address}, UDP"));
    }
    let stop = node.stop_handle();
    std::thread::spawn(move || {
        match wait_for_end(&mut signals, &read_again) {
            SIGUSR1 => stop.stop_gracefully(),
            _ => stop.stop(),
        }
        // Whoever asks again does not want to wait for a disk.
        wait_for_end(&mut signals, &read_again);
        std::process::exit(1);
    });
    files::write_ports(node.addresses(), node.udp_addresses())?;
    let guarded = args.guarded_incarnation.is_some();
    let pid_file = flags.pidfile.as_deref().map(|path| files::PidFile::write(path, guarded)).transpose()?;
    if args.daemon_child {
        daemon::listening(&keep(args))?;
    }
    node.wait();
    if let Some(file) = pid_file {
        file.remove();
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the signal by which the node should end. HUP asks to read files again. XFSZ is caught so that a file
/// which may not grow is an error and not the end.
fn wait_for_end(signals: &mut Signals, files: &ReadAgain) -> c_int {
    for signal in signals.forever() {
        if !matches!(signal, SIGHUP | SIGXFSZ) {
            return signal;
        }
        if signal == SIGXFSZ {
            continue;
        }
        files.read();
    }
    SIGTERM
}

/// Files that HUP asks to read again.
#[derive(Debug)]
struct ReadAgain {
    auth_file: Option<AuthFile>,
    discovery: Option<Discovery>,
    tls: Option<Tls>,
}

impl ReadAgain {
    fn read(&self) {
        if let Some(Err(error)) = self.auth_file.as_ref().map(AuthFile::reload) {
            eprintln!("doled: -Y (--auth-file): the users stay as they were: {error}");
        }
        if let Some(Err(error)) = self.discovery.as_ref().map(Discovery::reload) {
            eprintln!("doled: --discovery: the nodes stay as they were: {error}");
        }
        match self.tls.as_ref().map(Tls::reload) {
            None => {}
            Some(Ok(warnings)) => warnings.iter().for_each(|warning| eprintln!("doled: {warning}")),
            Some(Err(error)) => {
                eprintln!("doled: -Z (--enable-ssl): the certificates stay as they were: error {error}");
            }
        }
    }
}

/// Runs this same program again as the node, with an incarnation whose death this process will prove.
fn guard(args: &ServeArgs, leased: &Leased) -> Result<ExitCode> {
    let incarnation = Incarnation(clock::random_u64().max(1));
    let mut command = daemon::this_program()?;
    command.arg("--guarded-incarnation").arg(incarnation.to_string());
    if args.daemon_child {
        daemon::hand_over(&mut command, &keep(args))?;
    }
    let life = Life { cluster: ClusterId(0), node: leased.node.clone(), incarnation };
    server::guardian::run(command, life, &leased.managers).context("run the node under its guardian")
}

fn keep(args: &ServeArgs) -> Keep {
    Keep { errors: args.memcached.verbose > 0, directory: args.memcached.enable_coredumps }
}
