//! `doled ctl`: asks or changes a running cluster through the manager's HTTP API.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use proto::{KeyHash, NodeId};
use serde_json::{Value, json};

use crate::api::{Api, Node};

/// Where `doled up` puts the manager.
const DEFAULT_MANAGER: &str = "127.0.0.1:11311";

/// Flags of `doled ctl`.
#[derive(Debug, Args)]
pub(crate) struct CtlArgs {
    /// The manager
    #[arg(long, value_name = "HOST:PORT", env = "DOLED_MANAGER", default_value = DEFAULT_MANAGER, global = true)]
    manager: String,

    /// Print the manager's answer as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The cluster at a glance
    Status,
    /// Every node: address, state, buckets, lease
    Nodes,
    /// Who owns which buckets, under which generation
    Buckets {
        /// Only this node's
        #[arg(long, value_name = "NAME")]
        node: Option<NodeId>,
        /// Only the bucket of this key
        #[arg(long, value_name = "KEY", conflicts_with = "node")]
        key: Option<String>,
    },
    /// Let a node in; it gets its share of the buckets when it polls
    AddNode {
        /// The node's --node name
        name: NodeId,
        /// Where clients reach it
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Move all buckets away from a node, which stays in the cluster
    Drain {
        /// The node
        name: NodeId,
    },
    /// Give a drained node its share again
    Undrain {
        /// The node
        name: NodeId,
    },
    /// Forget a node that owns nothing
    Remove {
        /// The node
        name: NodeId,
        /// Also when it owns buckets: they move away first, as if it had died
        #[arg(long)]
        force: bool,
    },
}

/// Runs one command.
pub(crate) fn run(args: &CtlArgs) -> Result<ExitCode> {
    let address = crate::address::with_port("--manager", &args.manager, 11311)?;
    let api = Api::new(&address);
    let answer = ask(&api, &args.command)?;
    if args.json {
        println!("{answer:#}");
    } else {
        print(&args.command, &answer)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(api: &Api, command: &Command) -> Result<Value> {
    match command {
        Command::Status => api.get("/v1/status"),
        Command::Nodes => api.get("/v1/nodes"),
        Command::Buckets { node: Some(node), .. } => api.get(&format!("/v1/buckets?node={node}")),
        Command::Buckets { key: Some(key), .. } => {
            let bucket = KeyHash::of(key.as_bytes()).bucket();
            api.get(&format!("/v1/buckets?first={bucket}&count=1"))
        }
        Command::Buckets { .. } => api.get("/v1/buckets"),
        Command::AddNode { name, address } => {
            let address = crate::address::with_port("HOST:PORT", address, 11211)?;
            api.post("/v1/nodes", &json!({ "name": name.as_str(), "address": address }))
        }
        Command::Drain { name } => api.post(&format!("/v1/nodes/{name}/drain"), &json!({})),
        Command::Undrain { name } => api.post(&format!("/v1/nodes/{name}/undrain"), &json!({})),
        Command::Remove { name, force } => api.delete(&format!("/v1/nodes/{name}?force={force}")),
    }
}

fn print(command: &Command, answer: &Value) -> Result<()> {
    match command {
        Command::Status => print_status(answer),
        Command::Nodes => print_nodes(serde_json::from_value(answer["nodes"].clone())?),
        Command::Buckets { .. } => print_buckets(answer),
        Command::AddNode { name, .. } => println!("{name} is in; it gets its buckets when it polls"),
        Command::Drain { name } => println!("{name} is draining; watch: doled ctl nodes"),
        Command::Undrain { name } => println!("{name} gets its share again"),
        Command::Remove { name, .. } => println!("{name} is forgotten"),
    }
    Ok(())
}

fn print_status(answer: &Value) {
    for (key, value) in answer.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{:<24} {value}", key.replace('_', " "));
    }
}

fn print_nodes(mut nodes: Vec<Node>) {
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    println!(
        "{:<16} {:<22} {:<9} {:>8} {:>8} {:>9} {:>8}",
        "name", "address", "state", "buckets", "target", "lease ms", "pid"
    );
    for node in nodes {
        let lease = node.lease_left_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
        println!(
            "{:<16} {:<22} {:<9} {:>8} {:>8} {lease:>9} {:>8}",
            node.name, node.address, node.state, node.buckets, node.target, node.pid
        );
    }
}

fn print_buckets(answer: &Value) {
    println!("{:>6} {:>6} {:>20}  node", "first", "count", "generation");
    for run in answer["buckets"].as_array().into_iter().flatten() {
        let generation =
            run["generation"].as_str().map_or_else(|| run["generation"].to_string(), str::to_owned);
        println!(
            "{:>6} {:>6} {generation:>20}  {}",
            run["first"],
            run["count"],
            run["node"].as_str().unwrap_or("- (nobody)")
        );
    }
}
