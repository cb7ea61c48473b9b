//! Some hundred seeds of the simulated cluster; no violation in any. `DOLED_SIM_SEEDS` and `DOLED_SIM_START` choose
//! how many and which; a failing seed is printed with what happened before.

use std::sync::atomic::{AtomicU64, Ordering};

use doled_sim::{Report, run};

/// Seeds of a normal test run.
const SEEDS: u64 = 300;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn no_seed_shows_a_violation() {
    let start = from_env("DOLED_SIM_START", 1);
    let end = start + from_env("DOLED_SIM_SEEDS", SEEDS);
    let next = AtomicU64::new(start);
    let run_some = || {
        let mut total = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return total;
            }
            let report = run(seed, None, false);
            if let Some(violation) = &report.violation {
                let traced = run(seed, None, true);
                next.store(end, Ordering::Relaxed);
                panic!(
                    "seed {seed}: {violation}\n{}\nagain: DOLED_SIM_START={seed} DOLED_SIM_SEEDS=1 cargo test -p \
                     doled-sim --test seeds",
                    traced.trace.join("\n")
                );
            }
            total.events += report.events;
            total.faults += report.faults;
            total.hits += report.hits;
            total.acknowledged += report.acknowledged;
            total.dirty += report.dirty;
            total.grants += report.grants;
            total.terms += report.terms;
        }
    };
    let totals: Vec<Report> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(run_some)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a violation was printed")).collect()
    });
    let sum = |of: fn(&Report) -> u64| totals.iter().map(of).sum::<u64>();
    println!(
        "{} seeds: {} events, {} faults, {} hits, {} acknowledged, {} dirty, {} grants, {} terms, 0 violations",
        end - start,
        sum(|r| r.events),
        sum(|r| r.faults),
        sum(|r| r.hits),
        sum(|r| r.acknowledged),
        sum(|r| r.dirty),
        sum(|r| r.grants),
        sum(|r| r.terms),
    );
    assert!(sum(|r| r.hits) > 0 && sum(|r| r.grants) > 0, "nothing happened: the simulator is broken");
}

#[test]
fn a_seed_repeats_exactly() {
    let (a, b) = (run(5, None, true), run(5, None, true));
    assert_eq!(a.trace, b.trace);
    assert_eq!((a.events, a.hits, a.grants), (b.events, b.hits, b.grants));
}
