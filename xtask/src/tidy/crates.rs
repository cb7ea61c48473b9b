//! Who may use whom, what the pure crates must not reach, licences, and the list of dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Which of our crates each may use, dev-dependencies apart. The table of ARCHITECTURE.md.
const GRAPH: &[(&str, &[&str])] = &[
    ("stdx", &[]),
    ("proto", &["stdx"]),
    ("store", &["stdx"]),
    ("cluster", &["stdx", "proto"]),
    ("route", &["stdx", "proto", "cluster"]),
    ("net", &["stdx"]),
    ("server", &["stdx", "net", "store", "proto", "cluster"]),
    ("proxy", &["stdx", "net", "route", "proto", "cluster"]),
    ("client", &["stdx", "route", "proto", "cluster"]),
    ("mapstore", &["stdx"]),
    ("manager", &["stdx", "cluster", "mapstore", "proto"]),
];

/// Crates that may use everything.
const ANY: &[&str] = &["cli", "sim", "testkit", "bench", "fuzz", "measure", "model", "xtask"];

/// The pure crates, and what must not be among their dependencies, however deep.
const PURE: &[&str] = &["proto", "store", "cluster", "route"];
const IMPURE: &[&str] = &["tokio", "mio", "hyper", "axum", "ureq", "socket2", "redb", "rand"];

/// Licences that may be linked into the binary.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "BSL-1.0",
    "CC0-1.0",
    "0BSD",
    "Unlicense",
    "MPL-2.0",
    "Apache-2.0 WITH LLVM-exception",
];

/// What `cargo metadata` says.
pub(crate) fn metadata() -> Result<Value> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata prints JSON")
}

/// The arrows between our crates.
pub(crate) fn graph(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in ours(metadata) {
        let name = short(text(package, "name"));
        if ANY.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = GRAPH.iter().find(|(known, _)| *known == name) else {
            findings.push(format!("crates/{name}: give it a place in the table of xtask/src/tidy/crates.rs"));
            continue;
        };
        for dependency in
            list(package, "dependencies").filter(|d| d["kind"].is_null() && !d["path"].is_null())
        {
            let used = short(text(dependency, "name"));
            if !allowed.contains(&used) {
                findings.push(format!("crates/{name}/Cargo.toml: {name} may not use {used}"));
            }
        }
    }
    findings
}

/// Nothing that does I/O or keeps global state is reachable from a pure crate.
pub(crate) fn purity(metadata: &Value) -> Vec<String> {
    let edges = normal_edges(metadata);
    let names: BTreeMap<&str, &str> =
        list(metadata, "packages").map(|p| (text(p, "id"), text(p, "name"))).collect();
    let mut findings = Vec::new();
    for package in ours(metadata).filter(|p| PURE.contains(&short(text(p, "name")))) {
        let mut seen = BTreeSet::new();
        let mut stack = vec![text(package, "id")];
        while let Some(id) = stack.pop() {
            if seen.insert(id) {
                stack.extend(edges.get(id).into_iter().flatten());
            }
        }
        for name in seen.iter().filter_map(|id| names.get(id)).filter(|name| IMPURE.contains(name)) {
            let crate_name = short(text(package, "name"));
            findings.push(format!("crates/{crate_name}/Cargo.toml: a pure crate must not reach {name}"));
        }
    }
    findings
}

/// Every linked crate has a licence that we may link.
pub(crate) fn licences(metadata: &Value) -> Vec<String> {
    let fine = |expression: &str| {
        expression.replace('/', " OR ").split(" AND ").all(|part| {
            part.trim_matches(['(', ')', ' '])
                .split(" OR ")
                .any(|one| LICENCES.contains(&one.trim_matches(['(', ')', ' '])))
        })
    };
    list(metadata, "packages")
        .filter(|p| !p["license"].as_str().is_some_and(fine))
        .map(|p| format!("Cargo.lock: {} has the licence {}: not on the list", text(p, "name"), p["license"]))
        .collect()
}

/// Every direct dependency has its line in docs/dependencies.md.
pub(crate) fn documented(metadata: &Value) -> Result<Vec<String>> {
    let page = std::fs::read_to_string("docs/dependencies.md").context("docs/dependencies.md")?;
    let direct: BTreeSet<&str> = ours(metadata)
        .flat_map(|package| list(package, "dependencies"))
        .filter(|dependency| dependency["path"].is_null())
        .map(|dependency| text(dependency, "name"))
        .collect();
    Ok(direct
        .iter()
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .map(|name| format!("docs/dependencies.md: no line for {name}"))
        .collect())
}

fn normal_edges(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let normal = |dependency: &&Value| list(dependency, "dep_kinds").any(|kind| kind["kind"].is_null());
    list(&metadata["resolve"], "nodes")
        .map(|node| (text(node, "id"), list(node, "deps").filter(normal).map(|d| text(d, "pkg")).collect()))
        .collect()
}

fn ours(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(metadata, "packages").filter(|package| package["source"].is_null())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.strip_prefix("doled-").unwrap_or(name)
}
