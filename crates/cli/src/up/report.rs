//! What `doled up` prints when everything answers.

use super::plan::Role;
use super::supervisor::{Ready, Supervisor};

/// What listens where, and what to try next.
pub(super) fn print(supervisor: &Supervisor, nodes: &Ready, home: &str) {
    println!("doled is up. State: {home}\n");
    println!("  {:<9} {:<22} {:>8}  role", "part", "address", "pid");
    let mut victim = None;
    for child in &supervisor.children {
        let node = nodes.iter().find(|node| node.name == child.part.name);
        // A managed node's process is not ours: it runs under its guardian.
        let pid = node.map_or(child.pid.map(|pid| pid.as_raw_pid().unsigned_abs()), |node| Some(node.pid));
        if child.part.role == Role::Node {
            victim = pid.or(victim);
        }
        let role = match (child.part.role, node) {
            (Role::Manager, _) => format!("doles out the buckets; http://{}/v1/status", child.part.address),
            (Role::Node, Some(node)) => format!("memcached server, owns {} buckets", node.buckets),
            (Role::Node, None) => "memcached server of the static pool".to_owned(),
            (Role::Proxy, _) => "for any memcached client".to_owned(),
        };
        let pid = pid.map_or_else(String::new, |pid| pid.to_string());
        println!("  {:<9} {:<22} {pid:>8}  {role}", child.part.name, child.part.address.to_string());
    }
    try_next(supervisor, victim);
}

fn try_next(supervisor: &Supervisor, victim: Option<u32>) {
    let binary = std::env::args().next().unwrap_or_else(|| "doled".to_owned());
    let proxy = supervisor.plan.proxy().address;
    println!("\nTry:");
    println!(
        "  bash -c 'exec 3<>/dev/tcp/{}/{}; printf \"set greeting 0 60 5\\r\\nhello\\r\\nget greeting\\r\\nquit\\r\\n\" >&3; cat <&3'",
        proxy.ip(),
        proxy.port()
    );
    if let Some(manager) = supervisor.plan.manager() {
        println!("  {binary} ctl --manager {} nodes", manager.address);
    }
    if let Some(pid) = victim {
        println!("  kill -9 {pid}    # a node: its keys miss, no read errs, nothing stale is ever read");
    }
    println!("\nCtrl-C ends all of it.");
}
