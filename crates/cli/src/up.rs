//! `doled up`: a whole local cluster from embedded defaults.
//!
//! One process per part, each the same binary: a manager, nodes under their guardians, a proxy; with `--pool`
//! plain nodes and a proxy over a static pool. This process only supervises: what dies is started again, for a
//! node after a delay that lets the others take over. One thread waits for each child, one for signals; they
//! report to the main loop by a channel.

mod child;
mod plan;
mod report;
mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use stdx::ByteSize;

use plan::Plan;
use supervisor::Supervisor;

/// Flags of `doled up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,

    /// Port of the proxy on 127.0.0.1; the manager gets the port 100 above, the nodes those after it; 0: any free ports
    #[arg(short, long, value_name = "PORT", default_value_t = 11211)]
    port: u16,

    /// Item memory of each node, such as 64m or 1g
    #[arg(short, long, value_name = "SIZE", default_value = "64m")]
    memory: ByteSize,

    /// Places of each key; above 1 only with --pool
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    replicas: u16,

    /// Keep the manager's state here [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// No manager: plain nodes, and a proxy over a static pool of them
    #[arg(long)]
    pool: bool,
}

/// Starts everything, reports, and supervises until SIGINT or SIGTERM.
pub(crate) fn run(args: &UpArgs) -> Result<ExitCode> {
    check(args)?;
    let signals = crate::signals::register()?;
    let home = Home::new(args.data.as_ref())?;
    let plan = Plan::new(args, home.path())?;
    plan.check_ports()?;
    let mut supervisor = Supervisor::start(plan)?;
    supervisor.watch_signals(signals);
    let result = supervisor.wait_ready().and_then(|ready| {
        if let Some(cluster) = ready {
            report::print(&supervisor, &cluster, &home.describe());
            supervisor.run()?;
        }
        Ok(ExitCode::SUCCESS)
    });
    supervisor.stop();
    result
}

fn check(args: &UpArgs) -> Result<()> {
    if args.replicas > 1 && !args.pool {
        bail!(
            "--replicas {}: managed buckets have no copies yet; leave it at 1, or use --pool, where the proxy replicates",
            args.replicas
        );
    }
    if args.replicas > args.nodes {
        bail!("--replicas {}: more places than the {} nodes of --nodes", args.replicas, args.nodes);
    }
    if args.memory < ByteSize::mib(1) {
        bail!("--memory {}: a node needs at least 1 MiB", args.memory);
    }
    let last = u32::from(args.port) + u32::from(plan::MANAGER_PORT_OFFSET) + u32::from(args.nodes);
    if args.port != 0 && last > u32::from(u16::MAX) {
        bail!(
            "--port {}: the manager and the nodes use the ports up to {last}, which do not exist",
            args.port
        );
    }
    Ok(())
}

/// Where the state is kept, and whether it stays.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    /// Removes the directory when dropped.
    temporary: Option<tempfile::TempDir>,
    /// Held while this `up` lives, so that two cannot share a directory.
    _lock: std::fs::File,
}

impl Home {
    fn new(data: Option<&PathBuf>) -> Result<Self> {
        let (path, temporary) = match data {
            Some(path) => {
                std::fs::create_dir_all(path).with_context(|| format!("--data {}", path.display()))?;
                let path = path.canonicalize().with_context(|| format!("--data {}", path.display()))?;
                (path, None)
            }
            None => {
                let dir =
                    tempfile::Builder::new().prefix("doled-").tempdir().context("a temporary directory")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let lock_path = path.join("up.lock");
        let lock = std::fs::File::create(&lock_path).with_context(|| lock_path.display().to_string())?;
        if lock.try_lock().is_err() {
            bail!("--data {}: another `doled up` uses this directory", path.display());
        }
        Ok(Self { path, temporary, _lock: lock })
    }

    fn path(&self) -> &std::path::Path {
        &self.path
    }

    fn describe(&self) -> String {
        let end = if self.temporary.is_some() { " (removed at the end)" } else { "" };
        format!("{}{end}", self.path.display())
    }
}
