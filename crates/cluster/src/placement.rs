//! Who should own which bucket: even shares, as few moves as possible, neighbours together where possible.
//!
//! A pure function of the present owners and of the nodes that may own. A share is the floor or the ceiling of an
//! equal part; the larger shares go to those who have most already, so that a balanced cluster never moves
//! anything. What moves is only what has no candidate as its owner and what is above its owner's share: fewer
//! moves cannot lead to even shares. Buckets are given away from small runs first, and taken next to buckets that
//! the taker has, so that the map stays a short list of runs.

use std::collections::BTreeMap;

/// Buckets that should get another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// First bucket, as an index into the owners.
    pub first: usize,
    /// Number of buckets, at least 1.
    pub count: usize,
    /// The new owner.
    pub to: usize,
}

/// The moves that give each of `candidates` an even share of the buckets whose owners are given. Without
/// candidates nothing moves. Moves are in the order of their buckets and don't overlap.
pub fn rebalance(owners: &[Option<usize>], candidates: &[usize]) -> Vec<Move> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let mut plan = Plan::new(owners, candidates);
    plan.release_surplus();
    plan.extend_neighbours();
    plan.fill_in_order();
    plan.moves()
}

#[derive(Debug)]
struct Plan<'a> {
    before: &'a [Option<usize>],
    /// `None`: to be placed.
    owners: Vec<Option<usize>>,
    /// How many buckets each candidate should still take; negative: give away.
    wanted: BTreeMap<usize, i64>,
}

impl<'a> Plan<'a> {
    fn new(before: &'a [Option<usize>], candidates: &[usize]) -> Self {
        let mut counts: BTreeMap<usize, i64> = candidates.iter().map(|&candidate| (candidate, 0)).collect();
        let mut owners = before.to_vec();
        for owner in &mut owners {
            match owner.and_then(|owner| counts.get_mut(&owner)) {
                Some(count) => *count += 1,
                None => *owner = None,
            }
        }
        let share = (before.len() / counts.len()) as i64;
        let larger = before.len() % counts.len();
        let mut by_count: Vec<(usize, i64)> = counts.into_iter().collect();
        by_count.sort_by_key(|&(candidate, count)| (-count, candidate));
        let quota = |rank: usize| share + i64::from(rank < larger);
        let wanted =
            by_count.iter().enumerate().map(|(rank, &(id, count))| (id, quota(rank) - count)).collect();
        Self { before, owners, wanted }
    }

    /// Takes from each owner what is above its share: its smallest runs first, the last one from its end.
    fn release_surplus(&mut self) {
        let mut runs = runs(&self.owners);
        runs.sort_by_key(|run| (run.count, run.first));
        for run in runs {
            let Some(wanted) = run.owner.and_then(|owner| self.wanted.get_mut(&owner)) else {
                continue;
            };
            let surplus = (-*wanted).clamp(0, run.count as i64);
            *wanted += surplus;
            let end = run.first + run.count;
            self.owners[end - surplus as usize..end].fill(None);
        }
    }

    /// Lets what is free go to the owner of the bucket beside it, from the left and from the right.
    fn extend_neighbours(&mut self) {
        for index in 1..self.owners.len() {
            self.extend(index - 1, index);
        }
        for index in (1..self.owners.len()).rev() {
            self.extend(index, index - 1);
        }
    }

    fn extend(&mut self, from: usize, to: usize) {
        if self.owners[to].is_some() {
            return;
        }
        let wanted = self.owners[from].and_then(|owner| self.wanted.get_mut(&owner));
        if let Some(wanted) = wanted.filter(|wanted| **wanted > 0) {
            *wanted -= 1;
            self.owners[to] = self.owners[from];
        }
    }

    /// Gives what is still free to those who want most, one after the other.
    fn fill_in_order(&mut self) {
        let mut takers: Vec<(usize, i64)> = self
            .wanted
            .iter()
            .filter(|&(_, &wanted)| wanted > 0)
            .map(|(&id, &wanted)| (id, wanted))
            .collect();
        takers.sort_by_key(|&(id, wanted)| (-wanted, id));
        let mut takers = takers.into_iter().flat_map(|(id, wanted)| (0..wanted).map(move |_| id));
        for owner in self.owners.iter_mut().filter(|owner| owner.is_none()) {
            *owner = takers.next();
        }
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves: Vec<Move> = Vec::new();
        for (index, (before, after)) in self.before.iter().zip(&self.owners).enumerate() {
            let Some(to) = after.filter(|_| before != after) else {
                continue;
            };
            match moves.last_mut() {
                Some(last) if last.to == to && last.first + last.count == index => last.count += 1,
                _ => moves.push(Move { first: index, count: 1, to }),
            }
        }
        moves
    }
}

struct OwnerRun {
    first: usize,
    count: usize,
    owner: Option<usize>,
}

fn runs(owners: &[Option<usize>]) -> Vec<OwnerRun> {
    let mut runs: Vec<OwnerRun> = Vec::new();
    for (index, &owner) in owners.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.owner == owner => run.count += 1,
            _ => runs.push(OwnerRun { first: index, count: 1, owner }),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
