//! What a test starts: proxies, plain nodes, clusters. All are ended when dropped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use doled_proxy::{Proxy, ProxyOptions, Target};
use manager::{Manager, ManagerOptions, Storage, Verbosity};
use proto::{BUCKET_COUNT, Bucket};
use route::RouteOptions;
use server::{Leased, ManagedOptions, Node, ServerOptions};
use stdx::ByteSize;

use crate::socket::{PATIENCE, Socket};

/// A proxy, stopped in the end.
pub(crate) struct Front(Option<Proxy>);

impl Front {
    /// Where a test does not say otherwise, the time-outs are longer than a busy machine may hold a thread up.
    pub(crate) fn start(target: Target, threads: usize, change: impl FnOnce(&mut RouteOptions)) -> Self {
        let mut route =
            RouteOptions { timeout: PATIENCE / 8, write_budget: PATIENCE, ..RouteOptions::default() };
        change(&mut route);
        let options = ProxyOptions {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            backlog: 128,
            threads,
            max_connections: 1000,
            target,
            route,
            verbosity: 0,
        };
        Self(Some(Proxy::start(&options).unwrap()))
    }

    /// Before a static pool, with one worker.
    pub(crate) fn pool(servers: impl IntoIterator<Item = String>) -> Self {
        Self::pool_with(servers, |_| {})
    }

    pub(crate) fn pool_with(
        servers: impl IntoIterator<Item = String>,
        change: impl FnOnce(&mut RouteOptions),
    ) -> Self {
        Self::start(Target::Pool { servers: servers.into_iter().collect() }, 1, change)
    }

    /// Before a cluster, with one worker.
    pub(crate) fn managed(manager: String) -> Self {
        Self::start(Target::Managed { managers: vec![manager] }, 1, |_| {})
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.as_ref().unwrap().tcp_address().unwrap()
    }

    pub(crate) fn connect(&self) -> Socket {
        Socket::to(self.address())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(proxy) = self.0.take() {
            proxy.stop();
        }
    }
}

/// A node, stopped in the end.
pub(crate) struct Server(Option<Node>);

impl Server {
    pub(crate) fn plain() -> Self {
        Self::start(ServerOptions::default())
    }

    /// A plain one whose items are at most that large.
    pub(crate) fn with_items_of(item_size_max: ByteSize) -> Self {
        Self::start(ServerOptions { item_size_max, ..ServerOptions::default() })
    }

    /// As many plain ones.
    pub(crate) fn many(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::plain()).collect()
    }

    fn start(options: ServerOptions) -> Self {
        let options = ServerOptions { threads: 1, memory: ByteSize::mib(32), ..options };
        Self(Some(Node::start(options).unwrap()))
    }

    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.0.as_ref().unwrap().tcp_address().unwrap()
    }

    pub(crate) fn address(&self) -> String {
        self.socket_address().to_string()
    }

    /// Buckets that a managed node owns.
    fn owned(&self) -> usize {
        let Some(node) = &self.0 else { return 0 };
        Bucket::all().filter(|bucket| node.engine().store.tag(bucket.index()) != 0).count()
    }

    /// An orderly end: a managed node gives its buckets back.
    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.0.take() {
            node.stop();
            node.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A manager and its nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    manager: Option<Manager>,
}

impl Cluster {
    pub(crate) fn start(nodes: usize) -> Self {
        let mut options = ManagerOptions::new("127.0.0.1:0".parse().unwrap(), "unused".into());
        options.storage = Storage::Memory;
        options.bootstrap = true;
        options.auto_add = true;
        options.verbosity = Verbosity::Quiet;
        let mut cluster = Self { nodes: Vec::new(), manager: Some(Manager::start(options).unwrap()) };
        for _ in 0..nodes {
            cluster.add();
        }
        cluster.settle();
        cluster
    }

    /// Waits until every node has its share: what is stored before may move, and is a miss then.
    fn settle(&self) {
        let give_up = Instant::now() + PATIENCE;
        let share = BUCKET_COUNT / self.nodes.len();
        loop {
            let owned: Vec<usize> = self.nodes.iter().map(Server::owned).collect();
            if owned.iter().sum::<usize>() == BUCKET_COUNT && owned.iter().all(|&count| count >= share) {
                return;
            }
            assert!(Instant::now() < give_up, "the nodes own {owned:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// One more node.
    pub(crate) fn add(&mut self) {
        let leased = Leased {
            managers: vec![self.manager_address()],
            node: format!("n{}", self.nodes.len()).parse().unwrap(),
            data: None,
            advertise: None,
            incarnation: None,
        };
        let managed = Some(ManagedOptions::Leased(leased));
        self.nodes.push(Server::start(ServerOptions { managed, ..ServerOptions::default() }));
    }

    pub(crate) fn manager_address(&self) -> String {
        self.manager.as_ref().unwrap().local_address().to_string()
    }

    /// A proxy, once every bucket can be written through it.
    pub(crate) fn front(&self) -> Front {
        let front = Front::managed(self.manager_address());
        wait_writable(&front);
        front
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nodes first: they give their buckets back to a manager that lives.
        self.nodes.clear();
        if let Some(manager) = self.manager.take() {
            manager.stop().unwrap();
        }
    }
}

/// Waits until keys in all parts of the hash space can be written.
#[track_caller]
pub(crate) fn wait_writable(front: &Front) {
    let give_up = Instant::now() + PATIENCE;
    let mut socket = front.connect();
    for number in 0..200 {
        loop {
            socket.send(format!("set warm-{number} 0 0 1\r\nx\r\n"));
            let reply = socket.read_to("\r\n");
            if reply == "STORED\r\n" {
                break;
            }
            assert!(Instant::now() < give_up, "{reply}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
