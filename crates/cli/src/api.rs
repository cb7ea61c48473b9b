//! The manager's HTTP API, from the client's side.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

/// Longest wait for an answer. Removing a node may take as long as its lease.
const TIMEOUT: Duration = Duration::from_secs(15);

/// One manager's API.
#[derive(Debug)]
pub(crate) struct Api {
    base: String,
    agent: ureq::Agent,
}

/// A node as `/v1/nodes` lists it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: String,
    /// `joining`, `up`, `draining`, `down`.
    pub(crate) state: String,
    /// Buckets that it may serve at this moment.
    pub(crate) buckets: u64,
    /// Buckets that the map gives it.
    pub(crate) target: u64,
    #[serde(default)]
    pub(crate) pid: u32,
    pub(crate) lease_left_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

impl Api {
    /// `address` is `host:port`.
    pub(crate) fn new(address: &str) -> Self {
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Self { base: format!("http://{address}"), agent: agent.into() }
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>> {
        let nodes: Nodes =
            serde_json::from_value(self.get("/v1/nodes")?).context("the manager's list of nodes")?;
        Ok(nodes.nodes)
    }

    /// GET of a path.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let response = self.agent.get(format!("{}{path}", self.base)).call();
        self.answer(response)
    }

    /// POST of a JSON body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let response = self.agent.post(format!("{}{path}", self.base)).send_json(body);
        self.answer(response)
    }

    /// DELETE of a path.
    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        let response = self.agent.delete(format!("{}{path}", self.base)).call();
        self.answer(response)
    }

    fn answer(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
        let mut response = response.map_err(|error| {
            anyhow!("no manager answers at {}: {error}; start one (`doled up`), or name it with --manager HOST:PORT", self.base)
        })?;
        let status = response.status();
        let body: Value = response.body_mut().read_json().with_context(|| {
            format!("{} answers {status} without JSON; is it a doled manager?", self.base)
        })?;
        if !status.is_success() {
            bail!("{}", body["error"].as_str().unwrap_or("the manager refuses and does not say why"));
        }
        Ok(body)
    }
}
