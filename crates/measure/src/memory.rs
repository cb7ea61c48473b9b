//! Section memory: how many items and how much payload fit into what the process really uses.

use anyhow::{Result, bail};
use serde_json::json;

use crate::client::{Client, Item, key};
use crate::report::{Section, Table};
use crate::server::{Programs, RIVALS, Rival, Server, Setup};
use crate::{NodeArgs, Scale, connections, expiry, payload};

/// A day: an exptime that no run sees the end of.
const TTL_S: u32 = 86_400;

/// Length of the keys.
pub(crate) const KEY_LEN: usize = 16;

/// Sets between two looks at the evictions.
const STEP: u64 = 4000;

/// Value lengths, and the items per MiB that are asked for.
const VALUES: &[(usize, u64)] = &[(32, 13_000), (100, 6_900), (300, 2_900), (1000, 960)];

/// Measures the whole section.
pub(crate) fn run(programs: &Programs, scale: &Scale, args: &NodeArgs) -> Result<Section> {
    let mut section = Section::default();
    items(programs, scale, &mut section)?;
    payload::run(programs, scale, args, &mut section)?;
    expiry::run(programs, scale, &mut section)?;
    connections::run(programs, scale, &mut section)?;
    Ok(section)
}

/// What a full server holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    /// Keys that can be read.
    pub(crate) items: u64,
    pub(crate) rss_kib: u64,
}

impl Full {
    fn per_mib(self) -> f64 {
        self.items as f64 / (self.rss_kib as f64 / 1024.0)
    }
}

fn items(programs: &Programs, scale: &Scale, section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "Items per MiB of RSS",
        &format!(
            "16-byte keys, CAS on, an exptime set, one thread, `-m {}`; stored until evictions begin and 30 % more; \
             counted are the keys that can be read. RSS is the whole process; asked is also that it stays below \
             -m + 5 % + 8 MB.",
            scale.memory_mib
        ),
        &[
            "value",
            "doled",
            "memcached",
            "doled / memcached",
            "asked",
            "doled RSS, MiB",
            "memcached RSS, MiB",
        ],
    );
    for &(len, asked) in VALUES {
        let mut found = Vec::new();
        for rival in RIVALS {
            let server = Server::start(programs, &Setup::new(rival, scale.memory_mib))?;
            let full = fill(&server, len, TTL_S)?;
            section.raw(json!({
                "case": "items", "server": rival.name(), "value": len, "memory_mib": scale.memory_mib,
                "items": full.items, "rss_kib": full.rss_kib, "peak_kib": server.peak_kib()?,
                "per_mib": full.per_mib(),
            }));
            found.push(full);
        }
        let [doled, memcached] = found.as_slice() else { bail!("one figure for each rival") };
        table.row(vec![
            len.to_string(),
            format!("{:.0}", doled.per_mib()),
            format!("{:.0}", memcached.per_mib()),
            format!("{:.2}", doled.per_mib() / memcached.per_mib()),
            format!("≥ {asked}"),
            mib(doled.rss_kib),
            mib(memcached.rss_kib),
        ]);
    }
    section.table(table);
    Ok(())
}

/// MiB with one digit.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// Stores different keys until evictions begin, and 30 % more; counts what can be read.
pub(crate) fn fill(server: &Server, len: usize, ttl_s: u32) -> Result<Full> {
    let mut client = Client::connect(server)?;
    let mut stored = 0;
    let mut until = u64::MAX;
    while stored < until {
        for number in stored..stored + STEP.min(until - stored) {
            client.set(&Item { key: key(number, KEY_LEN), len, ttl_s })?;
        }
        stored += STEP.min(until - stored);
        if until == u64::MAX && client.stat("evictions")? > 0 {
            until = stored + stored * 3 / 10;
        }
    }
    let found = client.readable((0..stored).map(|number| key(number, KEY_LEN)))?;
    Ok(Full { items: found.items, rss_kib: server.rss_kib()? })
}

/// What a server of that size holds of such items.
pub(crate) fn capacity(programs: &Programs, rival: Rival, memory_kib: u64, len: usize) -> Result<Full> {
    let server = Server::start(programs, &Setup { memory_kib, ..Setup::new(rival, 0) })?;
    let mut full = fill(&server, len, 0)?;
    let empty = Server::start(programs, &Setup { memory_kib, ..Setup::new(rival, 0) })?;
    full.rss_kib = full.rss_kib.saturating_sub(empty.rss_kib()?);
    Ok(full)
}
