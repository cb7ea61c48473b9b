//! `doled proxy`: where it listens, what stands behind it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::proxy::{Proxy, ProxyOptions, Target};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use route::RouteOptions;
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

/// Runs the proxy until SIGINT or SIGTERM.
pub(crate) fn run(args: ProxyArgs) -> Result<ExitCode> {
    let options = options(args)?;
    let mut signals = crate::signals::register()?;
    let proxy = Proxy::start(&options)?;
    if options.verbosity > 0 {
        for address in proxy.addresses() {
            eprintln!("proxy: listening on {address}");
        }
    }
    crate::signals::wait(&mut signals);
    proxy.stop();
    Ok(ExitCode::SUCCESS)
}

fn options(args: ProxyArgs) -> Result<ProxyOptions> {
    match args.config.clone() {
        None => checked(&args),
        Some(path) => {
            let merged = merge(args, read(&path)?);
            checked(&merged).with_context(|| format!("--config {}", path.display()))
        }
    }
}

fn read(path: &Path) -> Result<ProxyArgs> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("--config {}", path.display()))
}

/// What was typed or stands in the environment wins over the file. A flag that names a target replaces the file's.
fn merge(typed: ProxyArgs, file: ProxyArgs) -> ProxyArgs {
    let target_typed = typed.manager.is_some() || typed.pool.is_some();
    let from_file = |value: Option<String>| if target_typed { None } else { value };
    ProxyArgs {
        port: typed.port.or(file.port),
        listen: typed.listen.or(file.listen),
        threads: typed.threads.or(file.threads),
        conn_limit: typed.conn_limit.or(file.conn_limit),
        manager: typed.manager.or(from_file(file.manager)),
        pool: typed.pool.or(from_file(file.pool)),
        replicas: typed.replicas.or(file.replicas),
        timeout_ms: typed.timeout_ms.or(file.timeout_ms),
        config: typed.config,
        verbose: typed.verbose,
    }
}

fn checked(args: &ProxyArgs) -> Result<ProxyOptions> {
    let threads = args.threads.unwrap_or(2);
    ensure!((1..=256).contains(&threads), "--threads {threads}: from 1 to 256");
    let conn_limit = args.conn_limit.unwrap_or(1024);
    ensure!((1..=1_000_000).contains(&conn_limit), "--conn-limit {conn_limit}: from 1 to 1000000");
    let timeout_ms = args.timeout_ms.unwrap_or(500);
    ensure!((1..=60_000).contains(&timeout_ms), "--timeout-ms {timeout_ms}: from 1 to 60000");
    let replicas = args.replicas.unwrap_or(1);
    ensure!(replicas >= 1, "--replicas 0: a key has at least one place");
    let target = target(args)?;
    let timeout = Duration::from_millis(u64::from(timeout_ms));
    let defaults = RouteOptions::default();
    let write_budget = defaults.write_budget.max(timeout);
    let listen = args.listen.as_deref().unwrap_or("127.0.0.1");
    let mut addresses = Vec::new();
    for address in crate::address::list("--listen", listen, args.port.unwrap_or(11211))? {
        addresses.extend(crate::address::resolve("--listen", &address)?);
    }
    Ok(ProxyOptions {
        listen: addresses,
        backlog: 1024,
        threads: usize::from(threads),
        max_connections: conn_limit as usize,
        target,
        route: RouteOptions { timeout, write_budget, replicas: usize::from(replicas), ..defaults },
        verbosity: args.verbose,
    })
}

fn target(args: &ProxyArgs) -> Result<Target> {
    let replicas = args.replicas.unwrap_or(1);
    match (&args.manager, &args.pool) {
        (Some(_), Some(_)) => bail!("--manager and --pool: a proxy has one or the other behind it"),
        (None, None) => {
            bail!(
                "say what stands behind the proxy: --manager HOST:PORT for a cluster, or --pool HOST:PORT,... for plain servers"
            )
        }
        (Some(managers), None) => {
            ensure!(
                replicas == 1,
                "--replicas {replicas}: managed buckets have no copies yet; use --pool, or leave it at 1"
            );
            Ok(Target::Managed { managers: crate::address::list("--manager", managers, 11311)? })
        }
        (None, Some(pool)) => {
            let servers = crate::address::list("--pool", pool, 11211)?;
            let count = servers.len();
            ensure!(
                usize::from(replicas) <= count,
                "--replicas {replicas}: more places than the {count} servers of --pool"
            );
            Ok(Target::Pool { servers })
        }
    }
}
