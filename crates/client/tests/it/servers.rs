//! Servers for the tests: plain nodes, and whole clusters.

use std::time::{Duration, Instant};

use doled_client::{Client, ClientOptions, Expiry, Target};
use manager::{Manager, ManagerOptions, Storage, Verbosity};
use proto::{BUCKET_COUNT, Bucket};
use server::{Leased, ManagedOptions, Node, ServerOptions};
use stdx::ByteSize;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Time-outs that are longer than a busy machine may hold a thread up.
pub(crate) fn patient() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.route.timeout = PATIENCE / 8;
    options.route.write_budget = PATIENCE;
    options
}

/// A client of a pool of these servers.
pub(crate) async fn pool(servers: &[Server]) -> Client {
    let servers = servers.iter().map(Server::address).collect();
    Client::start(Target::Pool { servers }, patient()).await.unwrap()
}

/// A node, stopped in the end.
pub(crate) struct Server(Option<Node>);

impl Server {
    /// A plain memcached.
    pub(crate) fn plain() -> Self {
        Self::start(None)
    }

    fn start(managed: Option<ManagedOptions>) -> Self {
        let options =
            ServerOptions { threads: 1, memory: ByteSize::mib(16), managed, ..ServerOptions::default() };
        Self(Some(Node::start(options).unwrap()))
    }

    pub(crate) fn address(&self) -> String {
        self.0.as_ref().unwrap().tcp_address().unwrap().to_string()
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
    pub(crate) manager: Option<Manager>,
}

impl Cluster {
    pub(crate) fn start(nodes: usize) -> Self {
        let mut options = ManagerOptions::new("127.0.0.1:0".parse().unwrap(), "unused".into());
        options.storage = Storage::Memory;
        options.bootstrap = true;
        options.auto_add = true;
        options.verbosity = Verbosity::Quiet;
        let manager = outside(|| Manager::start(options).unwrap());
        let mut cluster = Self { nodes: Vec::new(), manager: Some(manager) };
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
        self.nodes.push(Server::start(Some(ManagedOptions::Leased(leased))));
    }

    pub(crate) fn manager_address(&self) -> String {
        self.manager.as_ref().unwrap().local_address().to_string()
    }

    /// A client, once every bucket can be written.
    pub(crate) async fn client(&self) -> Client {
        let give_up = Instant::now() + PATIENCE;
        let client = loop {
            let target = Target::Managed { managers: vec![self.manager_address()] };
            match Client::start(target, patient()).await {
                Ok(client) => break client,
                Err(error) => assert!(Instant::now() < give_up, "{error}"),
            }
        };
        for number in 0..200 {
            while client.set(format!("warm-{number}"), "x", Expiry::Never).await.is_err() {
                assert!(Instant::now() < give_up, "not everything can be written");
            }
        }
        client
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nodes first: they give their buckets back to a manager that lives.
        self.nodes.clear();
        if let Some(manager) = self.manager.take() {
            outside(|| manager.stop().unwrap());
        }
    }
}

/// On a thread of its own: a manager has a runtime, which cannot be made or ended within the test's.
fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}
