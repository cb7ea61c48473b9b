//! Even shares, few moves, long runs.

use stdx::Prng;

use super::{rebalance, runs};

const BUCKETS: usize = 32_768;

/// Applies the moves and checks what always holds: even shares, and no move that even shares don't need.
#[track_caller]
fn check(owners: &mut [Option<usize>], candidates: &[usize]) -> usize {
    let before = owners.to_vec();
    let moves = rebalance(owners, candidates);
    for step in &moves {
        owners[step.first..step.first + step.count].fill(Some(step.to));
    }
    let (old, new) = (counts(&before), counts(owners));
    let floor = before.len() / candidates.len();
    let mut needed = before.iter().filter(|o| o.is_none_or(|o| !candidates.contains(&o))).count();
    for &node in candidates {
        assert!(new[node] == floor || new[node] == floor + 1, "node {node} has {}, not {floor}", new[node]);
        needed += old[node].saturating_sub(new[node]);
    }
    let moved: usize = moves.iter().map(|step| step.count).sum();
    assert_eq!(moved, needed, "more moved than had to");
    assert!(rebalance(owners, candidates).is_empty(), "a balanced cluster moves nothing");
    moved
}

fn counts(owners: &[Option<usize>]) -> Vec<usize> {
    let mut counts = vec![0; 1000];
    owners.iter().flatten().for_each(|&owner| counts[owner] += 1);
    counts
}

#[test]
fn nodes_join_leave_and_return() {
    let mut owners = vec![None; BUCKETS];
    assert_eq!(check(&mut owners, &[0]), BUCKETS);
    assert_eq!(check(&mut owners, &[0, 1]), BUCKETS / 2);
    assert_eq!(check(&mut owners, &[0, 1, 2]), BUCKETS / 3);
    assert_eq!(runs(&owners).len(), 4, "three nodes stay in few runs");
    assert_eq!(check(&mut owners, &[0, 2]), 10_923, "the dead one's buckets move and no others");
    let back = check(&mut owners, &[0, 1, 2]);
    assert!(back.abs_diff(BUCKETS / 3) <= 1);
    assert!(runs(&owners).len() <= 6, "{} runs", runs(&owners).len());
}

#[test]
fn without_candidates_nothing_moves() {
    assert!(rebalance(&[Some(0), None], &[]).is_empty());
}

#[test]
fn fewer_buckets_than_nodes_are_given_out_one_by_one() {
    let mut owners = vec![None; 3];
    check(&mut owners, &[4, 5, 6, 7, 8]);
}

#[test]
fn random_changes_keep_shares_even_moves_few_and_runs_long() {
    for seed in 0..8 {
        let mut prng = Prng::new(seed);
        let mut owners = vec![None; 2048];
        let mut candidates: Vec<usize> = vec![0, 1, 2];
        for _ in 0..40 {
            let node = prng.below(12) as usize;
            match candidates.iter().position(|&candidate| candidate == node) {
                Some(index) if candidates.len() > 1 => drop(candidates.remove(index)),
                Some(_) => {}
                None => candidates.push(node),
            }
            check(&mut owners, &candidates);
        }
        let count = runs(&owners).len();
        assert!(count < 200, "seed {seed}: {count} runs of 2048 buckets after 40 changes");
    }
}

#[test]
fn a_thousand_nodes_are_placed() {
    let mut owners = vec![None; 32_768];
    let candidates: Vec<usize> = (0..1000).collect();
    check(&mut owners, &candidates[..999]);
    assert!(check(&mut owners, &candidates) <= 33);
}
