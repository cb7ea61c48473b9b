//! Payload share of RSS on mixed sizes, after everything was overwritten several times, and with deletes.

use std::path::Path;

use anyhow::{Context, Result};
use bench::{Cachebench, Histogram, Sizes};
use serde_json::json;
use stdx::Prng;

use crate::client::{Client, Item, Readable, key};
use crate::memory::mib;
use crate::report::{Section, Table};
use crate::server::{Programs, RIVALS, Rival, Server, Setup};
use crate::{NodeArgs, Scale};

/// A day.
const TTL_S: u32 = 86_400;

/// How often everything is overwritten.
const OVERWRITES: u64 = 3;

/// Payload that is written, as a share of the memory: more than fits, so that the servers are full.
const WRITTEN: f64 = 1.3;

/// Keys that sizes are averaged over.
const SAMPLE: u64 = 100_000;

/// Length of the keys of mixes whose config does not matter here (unique numbers, short).
const KEY_LEN: usize = 24;

/// Longest value, as a share of the memory: a handful of values of 1 MB would fill a small server.
const VALUE_PART: u64 = 256;

/// Value sizes with names.
struct SizeMix {
    name: String,
    sizes: Sizes,
}

/// What is done after the memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Churn {
    /// All keys again and again, each time with another size.
    Overwrite,
    /// New keys; one request in five overwrites or deletes an older one.
    OverwriteAndDelete,
}

/// Adds the table.
pub(crate) fn run(programs: &Programs, scale: &Scale, args: &NodeArgs, section: &mut Section) -> Result<()> {
    let mut table = Table::new(
        "Payload share of RSS on mixed sizes",
        &format!(
            "Keys of {KEY_LEN} bytes, `-m {}`. Overwritten: {OVERWRITES} times as much as fits, {:.0} % more keys than \
             fit, all of them again in another order with another size. Deletes: as many new keys, and one request in \
             five overwrites (half) or deletes (half) an older one. Payload is keys and values that can be read.",
            scale.memory_mib,
            (WRITTEN - 1.0) * 100.0
        ),
        &["sizes", "load", "doled", "memcached", "asked", "doled items / memcached's", "doled peak RSS, MiB"],
    );
    for mix in mixes(args, scale)? {
        for (churn, name, asked) in [
            (Churn::Overwrite, "overwritten", "≥ 88 %"),
            (Churn::OverwriteAndDelete, "20 % overwrites and deletes", "≥ 85 %"),
        ] {
            let mut found = Vec::new();
            for rival in RIVALS {
                let one = one(programs, scale, rival, &mix, churn)?;
                section.raw(json!({
                    "case": "payload", "mix": mix.name, "load": name, "server": rival.name(),
                    "memory_mib": scale.memory_mib, "items": one.readable.items,
                    "payload": one.readable.payload, "rss_kib": one.rss_kib, "peak_kib": one.peak_kib,
                }));
                found.push(one);
            }
            table.row(vec![
                mix.name.clone(),
                name.to_owned(),
                format!("{:.1} %", found[0].share()),
                format!("{:.1} %", found[1].share()),
                asked.to_owned(),
                format!("{:.2}", found[0].readable.items as f64 / found[1].readable.items.max(1) as f64),
                mib(found[0].peak_kib),
            ]);
        }
    }
    section.table(table);
    Ok(())
}

fn mixes(args: &NodeArgs, scale: &Scale) -> Result<Vec<SizeMix>> {
    let value_max = ((scale.memory_mib << 20) / VALUE_PART) as usize;
    if args.cachebench.is_empty() {
        return Ok(built_in());
    }
    args.cachebench
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let sizes =
                Cachebench::read(Path::new(path)).context("--cachebench")?.value_size.capped(value_max);
            Ok(SizeMix { name, sizes })
        })
        .collect()
}

/// Doubling ranges from 16 bytes on, with falling weights.
fn built_in() -> Vec<SizeMix> {
    let bounds: Vec<usize> = (4..=16).map(|power| 1 << power).collect();
    [
        ("small (16 B to 2 KB)", &[10.0, 25.0, 30.0, 20.0, 10.0, 4.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ("wide (16 B to 64 KB)", &[10.0, 16.0, 18.0, 16.0, 12.0, 9.0, 7.0, 5.0, 3.5, 2.0, 1.0, 0.5]),
    ]
    .into_iter()
    .filter_map(|(name, weights)| {
        let sizes = Sizes::Histogram(Histogram::new(&bounds, weights)?);
        Some(SizeMix { name: name.to_owned(), sizes })
    })
    .collect()
}

struct Found {
    readable: Readable,
    rss_kib: u64,
    peak_kib: u64,
}

impl Found {
    /// Per cent.
    fn share(&self) -> f64 {
        self.readable.payload as f64 / (self.rss_kib << 10) as f64 * 100.0
    }
}

fn one(programs: &Programs, scale: &Scale, rival: Rival, mix: &SizeMix, churn: Churn) -> Result<Found> {
    let server = Server::start(programs, &Setup::new(rival, scale.memory_mib))?;
    let mut client = Client::connect(&server)?;
    let mean = (0..SAMPLE).map(|number| mix.sizes.of(number) + KEY_LEN).sum::<usize>() as f64 / SAMPLE as f64;
    let keys = ((scale.memory_mib << 20) as f64 * WRITTEN / mean) as u64;
    let item = |number: u64, pass: u64| Item {
        key: key(number, KEY_LEN),
        len: mix.sizes.of(number.wrapping_mul(0x9e37_79b9).wrapping_add(pass << 48)),
        ttl_s: TTL_S,
    };
    let written = match churn {
        Churn::Overwrite => {
            for pass in 0..=OVERWRITES {
                // A stride without a common divisor with the number of keys visits each once.
                let stride = stride(keys, pass);
                for step in 0..keys {
                    let number = (u128::from(step) * u128::from(stride) % u128::from(keys)) as u64;
                    client.set(&item(number, pass))?;
                }
            }
            0..keys
        }
        Churn::OverwriteAndDelete => {
            let mut prng = Prng::new(1);
            let mut next = 0;
            for step in 0..keys * (OVERWRITES + 1) {
                let older = next - prng.below(next.min(keys * 3 / 4));
                match prng.below(10) {
                    0 if next > 0 => client.set(&item(older, step))?,
                    1 if next > 0 => client.delete(&key(older, KEY_LEN))?,
                    _ => {
                        client.set(&item(next, 0))?;
                        next += 1;
                    }
                }
            }
            next.saturating_sub(keys * 2)..next
        }
    };
    let readable = client.readable(written.map(|number| key(number, KEY_LEN)))?;
    Ok(Found { readable, rss_kib: server.rss_kib()?, peak_kib: server.peak_kib()? })
}

fn stride(keys: u64, pass: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = if pass == 0 { 1 } else { keys / 3 + pass };
    (start..).find(|stride| gcd(*stride, keys) == 1).unwrap_or(1)
}
