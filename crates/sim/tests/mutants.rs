//! Each rule of the promise is taken away once, and the simulator must see it within its budget of seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use doled_sim::{Mutant, run};

/// Seeds that a mutant may take to be found.
const BUDGET: u64 = 400;

#[test]
fn every_mutant_is_found() {
    let next = AtomicUsize::new(0);
    let search = || {
        let mut found = Vec::new();
        while let Some(&mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let hit = (1..=BUDGET).find_map(|seed| Some((seed, run(seed, Some(mutant), false).violation?)));
            found.push((mutant, hit));
        }
        found
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(search)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    for (mutant, hit) in &found {
        match hit {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}: {violation}"),
            None => println!("{mutant:?}: NOT FOUND"),
        }
    }
    let missed: Vec<_> = found.iter().filter(|(_, hit)| hit.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(missed.is_empty(), "not found within {BUDGET} seeds: {missed:?}");
}
