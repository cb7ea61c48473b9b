//! A manager in this process, with its directory and an HTTP client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doled_manager::{Manager, ManagerOptions, Verbosity};
use proto::ClusterId;
use serde_json::Value;
use tempfile::TempDir;

use crate::fake_node::{FakeNode, PATIENCE, Target};
use crate::ledger::Ledger;

/// Longer than any test: whatever waits for a lease to end fails.
pub(crate) const LONG_LEASE: Duration = Duration::from_secs(300);

/// Long enough for a busy test machine to keep, short enough to wait for.
pub(crate) const SHORT_LEASE: Duration = Duration::from_millis(1000);

/// A manager, its state directory, and what its nodes have been given.
pub(crate) struct Harness {
    pub(crate) directory: TempDir,
    pub(crate) ledger: Arc<Ledger>,
    manager: Option<Manager>,
    /// Where nodes find the manager; changes with each restart.
    target: Arc<Target>,
    options: ManagerOptions,
}

/// Options of a manager for tests: ephemeral port, long lease, nodes come by polling, quiet.
pub(crate) fn options(directory: &Path) -> ManagerOptions {
    let mut options = ManagerOptions::new("127.0.0.1:0".parse().unwrap(), directory.to_owned());
    options.auto_add = true;
    options.lease = LONG_LEASE;
    options.verbosity = Verbosity::Quiet;
    options
}

impl Harness {
    /// A new cluster.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// A new cluster whose leases can be waited for.
    pub(crate) fn start_short() -> Self {
        Self::start_with(|options| options.lease = SHORT_LEASE)
    }

    /// A new cluster with other options.
    pub(crate) fn start_with(change: impl FnOnce(&mut ManagerOptions)) -> Self {
        let directory = TempDir::new().unwrap();
        let mut options = options(directory.path());
        options.bootstrap = true;
        change(&mut options);
        let manager = Manager::start(options.clone()).unwrap();
        options.bootstrap = false;
        let target = Arc::new(Target::new(manager.local_address()));
        Self { directory, ledger: Arc::default(), manager: Some(manager), target, options }
    }

    /// Ends the manager and starts it again on the same file, on another port. Nodes find it.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let manager = Manager::start(self.options.clone()).unwrap();
        self.target.set(manager.local_address());
        self.manager = Some(manager);
    }

    pub(crate) fn stop(&mut self) {
        self.manager.take().unwrap().stop().unwrap();
    }

    pub(crate) fn manager(&self) -> &Manager {
        self.manager.as_ref().unwrap()
    }

    /// Takes the manager out, to wait for its end.
    pub(crate) fn into_manager(mut self) -> Manager {
        self.manager.take().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.manager().local_address()
    }

    /// A node's new life.
    pub(crate) fn node(&self, name: &str) -> FakeNode {
        self.node_of(name, ClusterId(0))
    }

    /// A new life that believes to belong to `cluster`.
    pub(crate) fn node_of(&self, name: &str, cluster: ClusterId) -> FakeNode {
        FakeNode::start(&self.target, name, &self.ledger, cluster)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        answer(agent().get(self.url(path)).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(agent().post(self.url(path)).send_json(body))
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, Value) {
        answer(agent().delete(self.url(path)).call())
    }

    pub(crate) fn text(&self, path: &str) -> String {
        agent().get(self.url(path)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A node as the API lists it.
    #[track_caller]
    pub(crate) fn listed(&self, name: &str) -> Option<Value> {
        let (status, answer) = self.get("/v1/nodes");
        assert_eq!(status, 200);
        answer["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).cloned()
    }

    /// Waits until the API lists a node as wanted.
    #[track_caller]
    pub(crate) fn wait_listed(&self, name: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let node = self.listed(name);
            if wanted(node.as_ref()) {
                return;
            }
            assert!(Instant::now() < give_up, "never: {node:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into()
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut response = response.unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} is not JSON: {body}")))
}
