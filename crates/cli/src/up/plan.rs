//! What `doled up` will start: names, addresses, command lines. Decided before anything runs.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::UpArgs;

/// The manager's port above the proxy's; the nodes' follow.
pub(super) const MANAGER_PORT_OFFSET: u16 = 100;

/// How long a dead node stays away: the others take its buckets in well under a second, so it returns empty and
/// late, as a machine would.
const NODE_RESTART_DELAY: Duration = Duration::from_secs(3);

/// Manager and proxy hold nothing that others could take over.
const OTHER_RESTART_DELAY: Duration = Duration::from_millis(200);

/// Tells the manager to begin a new cluster.
pub(super) const BOOTSTRAP: &str = "--bootstrap";

/// What one process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Manager,
    Node,
    Proxy,
}

/// One process to run.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) role: Role,
    /// `host:port` where it listens.
    pub(super) address: SocketAddrV4,
    pub(super) args: Vec<OsString>,
    pub(super) restart_delay: Duration,
}

/// All processes, in the order of their start.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
}

impl Plan {
    /// Lays everything out; nothing is started.
    pub(super) fn new(args: &UpArgs, home: &Path) -> Result<Self> {
        let ports = Ports::choose(args)?;
        let memory = (args.memory.0 >> 20).to_string();
        let mut parts = Vec::new();
        if !args.pool {
            parts.push(manager(ports.manager, &home.join("manager")));
        }
        for (index, &address) in ports.nodes.iter().enumerate() {
            let name = format!("node{}", index + 1);
            let place = (!args.pool).then(|| (ports.manager, home.join(&name)));
            parts.push(node(name, address, &memory, place));
        }
        parts.push(proxy(&ports, args));
        Ok(Self { parts })
    }

    /// The part that clients talk to.
    pub(super) fn proxy(&self) -> &Part {
        self.parts.last().expect("a plan ends with its proxy")
    }

    /// The manager, unless the cluster is a static pool.
    pub(super) fn manager(&self) -> Option<&Part> {
        self.parts.iter().find(|part| part.role == Role::Manager)
    }

    /// Says which ports are taken, before anything is started.
    pub(super) fn check_ports(&self) -> Result<()> {
        let taken: Vec<String> = self
            .parts
            .iter()
            .filter(|part| TcpListener::bind(part.address).is_err())
            .map(|part| format!("{} (for the {})", part.address, part.name))
            .collect();
        if !taken.is_empty() {
            bail!(
                "cannot listen on {}: in use by another program, perhaps another `doled up` or a memcached; end it, or choose another --port",
                taken.join(", ")
            );
        }
        Ok(())
    }
}

struct Ports {
    proxy: SocketAddrV4,
    manager: SocketAddrV4,
    nodes: Vec<SocketAddrV4>,
}

impl Ports {
    fn choose(args: &UpArgs) -> Result<Self> {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if args.port != 0 {
            let manager = args.port + MANAGER_PORT_OFFSET;
            let nodes = (1..=args.nodes).map(|index| at(manager + index)).collect();
            return Ok(Self { proxy: at(args.port), manager: at(manager), nodes });
        }
        // Held together until all are known, so that they differ; free again when this returns.
        let listeners: Vec<TcpListener> = (0..args.nodes + 2)
            .map(|_| TcpListener::bind(at(0)).context("find a free port"))
            .collect::<Result<_>>()?;
        let mut ports = Vec::new();
        for listener in &listeners {
            ports.push(at(listener.local_addr()?.port()));
        }
        Ok(Self { proxy: ports[0], manager: ports[1], nodes: ports[2..].to_vec() })
    }
}

fn manager(address: SocketAddrV4, data: &Path) -> Part {
    let mut args: Vec<OsString> = vec!["manager".into(), "--listen".into(), address.to_string().into()];
    args.extend(["--data".into(), data.into(), "--auto-add".into()]);
    // Where a manager has been, its state must be too: a lost one never becomes a new cluster by itself.
    if !data.exists() {
        args.push(BOOTSTRAP.into());
    }
    Part { name: "manager".into(), role: Role::Manager, address, args, restart_delay: OTHER_RESTART_DELAY }
}

fn node(name: String, address: SocketAddrV4, memory: &str, managed: Option<(SocketAddrV4, PathBuf)>) -> Part {
    let mut args: Vec<OsString> = vec!["serve".into(), "-l".into(), address.ip().to_string().into()];
    args.extend(["-p".into(), address.port().to_string().into(), "-m".into(), memory.into()]);
    if let Some((manager, data)) = managed {
        args.extend(["--managed".into(), "--manager".into(), manager.to_string().into()]);
        args.extend(["--node".into(), name.clone().into(), "--data".into(), data.into()]);
    }
    Part { name, role: Role::Node, address, args, restart_delay: NODE_RESTART_DELAY }
}

fn proxy(ports: &Ports, args: &UpArgs) -> Part {
    let mut line: Vec<OsString> = vec!["proxy".into(), "-p".into(), ports.proxy.port().to_string().into()];
    if args.pool {
        let pool: Vec<String> = ports.nodes.iter().map(ToString::to_string).collect();
        line.extend(["--pool".into(), pool.join(",").into()]);
        line.extend(["--replicas".into(), args.replicas.to_string().into()]);
    } else {
        line.extend(["--manager".into(), ports.manager.to_string().into()]);
    }
    Part {
        name: "proxy".into(),
        role: Role::Proxy,
        address: ports.proxy,
        args: line,
        restart_delay: OTHER_RESTART_DELAY,
    }
}
