//! Whether the memory of expired items is used again before living ones are evicted.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::Scale;
use crate::client::{Client, Item, key};
use crate::memory::{KEY_LEN, fill};
use crate::report::{Section, Table};
use crate::server::{Programs, RIVALS, Rival, Server, Setup};

/// exptime of the short-lived half, and how long after it the memory must be free.
const SHORT_S: u32 = 4;
const AFTER_S: u32 = 2;

/// exptime of the rest.
const LONG_S: u32 = 86_400;

/// Length of the values.
const VALUE: usize = 300;

/// How full the servers are, of what they can hold, before items expire.
const FULL: f64 = 0.9;

/// Adds the table.
pub(crate) fn run(programs: &Programs, scale: &Scale, section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "Expired memory",
        &format!(
            "The server is filled to {:.0} % with {VALUE}-byte values, every other one with an exptime of {SHORT_S} s; \
             {AFTER_S} s after the last of these has expired, as many new ones are stored. Nothing that lives need go.",
            FULL * 100.0
        ),
        &["server", "long-lived still there", "new ones there", "evictions"],
    );
    for rival in RIVALS {
        let [old, new, evictions] = one(programs, scale, rival)?;
        section.raw(json!({
            "case": "expiry", "server": rival.name(), "old_share": old, "new_share": new, "evictions": evictions,
        }));
        table.row(vec![
            rival.name().to_owned(),
            format!("{:.1} %", old * 100.0),
            format!("{:.1} %", new * 100.0),
            format!("{evictions:.0}"),
        ]);
    }
    section.table(table);
    Ok(())
}

fn one(programs: &Programs, scale: &Scale, rival: Rival) -> Result<[f64; 3]> {
    // Small, so that everything is stored within the short exptime.
    let setup = Setup::new(rival, scale.memory_mib.min(64));
    let fits = fill(&Server::start(programs, &setup)?, VALUE, LONG_S)?.items;
    let pairs = (fits as f64 * FULL / 2.0) as u64;
    let server = Server::start(programs, &setup)?;
    let mut client = Client::connect(&server)?;
    let item = |number: u64, ttl_s| Item { key: key(number, KEY_LEN), len: VALUE, ttl_s };
    for number in 0..pairs {
        client.set(&item(number, LONG_S))?;
        client.set(&item(pairs + number, SHORT_S))?;
    }
    client.flush()?;
    std::thread::sleep(Duration::from_secs(u64::from(SHORT_S + AFTER_S)));
    let before = client.stat("evictions")?;
    for number in 0..pairs {
        client.set(&item(2 * pairs + number, LONG_S))?;
    }
    client.flush()?;
    let evictions = client.stat("evictions")? - before;
    let mut share = |first: u64| -> Result<f64> {
        let found = client.readable((first..first + pairs).map(|number| key(number, KEY_LEN)))?;
        Ok(found.items as f64 / pairs.max(1) as f64)
    };
    Ok([share(0)?, share(2 * pairs)?, evictions as f64])
}
