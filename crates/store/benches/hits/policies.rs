//! Caches of so many items that only count their misses: what a trace can give at all.

use std::collections::BTreeMap;

use crate::trace::Trace;

/// Misses of a policy with room for so many items.
pub(crate) type Policy = fn(&Trace, usize) -> u64;

pub(crate) const POLICIES: [(&str, Policy); 7] = [
    ("memcached", memcached),
    ("LRU", lru),
    ("SIEVE", sieve),
    ("ARC", arc),
    ("W-TinyLFU", tiny_lfu),
    ("S3-FIFO", |trace, capacity| s3_fifo(trace, capacity, 10, 90)),
    ("optimum", optimum),
];

/// Queues of keys, each in one queue or none: doubly linked lists over one array.
struct Lists {
    next: Vec<[u32; 2]>,
    /// The list of each key.
    of: Vec<u8>,
    lens: Vec<usize>,
    unique: usize,
}

const NONE: u8 = u8::MAX;

impl Lists {
    fn new(unique: usize, lists: usize) -> Self {
        let mut next = vec![[0, 0]; unique];
        next.extend((unique..unique + lists).map(|head| [head as u32; 2]));
        Self { next, of: vec![NONE; unique], lens: vec![0; lists], unique }
    }

    /// Puts a key at the young end of a list, out of the one that it is in.
    fn put(&mut self, list: usize, key: u32) {
        self.take(key);
        let head = (self.unique + list) as u32;
        let young = self.next[head as usize][1];
        self.next[key as usize] = [head, young];
        self.next[young as usize][0] = key;
        self.next[head as usize][1] = key;
        self.of[key as usize] = list as u8;
        self.lens[list] += 1;
    }

    fn take(&mut self, key: u32) {
        if self.of[key as usize] == NONE {
            return;
        }
        self.lens[self.of[key as usize] as usize] -= 1;
        let [after, before] = self.next[key as usize];
        self.next[before as usize][0] = after;
        self.next[after as usize][1] = before;
        self.of[key as usize] = NONE;
    }

    fn oldest(&self, list: usize) -> Option<u32> {
        let key = self.next[self.unique + list][0];
        ((key as usize) < self.unique).then_some(key)
    }

    fn pop(&mut self, list: usize) -> Option<u32> {
        let key = self.oldest(list)?;
        self.take(key);
        Some(key)
    }

    fn is_in(&self, list: usize, key: u32) -> bool {
        self.of[key as usize] == list as u8
    }
}

fn lru(trace: &Trace, capacity: usize) -> u64 {
    let mut lists = Lists::new(trace.unique, 1);
    let mut misses = 0;
    for key in &trace.keys {
        misses += u64::from(!lists.is_in(0, *key));
        lists.put(0, *key);
        if lists.lens[0] > capacity {
            lists.pop(0);
        }
    }
    misses
}

/// memcached's HOT, WARM and COLD queues: 20 % and 40 % at most; two uses make an item active.
fn memcached(trace: &Trace, capacity: usize) -> u64 {
    const HOT: usize = 0;
    const WARM: usize = 1;
    const COLD: usize = 2;
    let mut lists = Lists::new(trace.unique, 3);
    let mut uses = vec![0u8; trace.unique];
    let mut misses = 0;
    let juggle = |lists: &mut Lists, uses: &mut [u8]| {
        for (queue, share) in [(HOT, 20), (WARM, 40)] {
            while lists.lens[queue] * 100 > capacity * share {
                let Some(key) = lists.pop(queue) else { break };
                let active = uses[key as usize] == 2;
                uses[key as usize] -= u8::from(active);
                lists.put(if active { WARM } else { COLD }, key);
            }
        }
    };
    for key in trace.keys.iter().copied() {
        if lists.of[key as usize] == NONE {
            misses += 1;
            while lists.lens.iter().sum::<usize>() >= capacity {
                juggle(&mut lists, &mut uses);
                let _ = lists.pop(COLD).or_else(|| lists.pop(WARM)).or_else(|| lists.pop(HOT));
            }
            uses[key as usize] = 0;
            lists.put(HOT, key);
        } else {
            uses[key as usize] = (uses[key as usize] + 1).min(2);
            if uses[key as usize] == 2 && lists.is_in(COLD, key) {
                uses[key as usize] = 1;
                lists.put(WARM, key);
            }
        }
        juggle(&mut lists, &mut uses);
    }
    misses
}

fn sieve(trace: &Trace, capacity: usize) -> u64 {
    let mut lists = Lists::new(trace.unique, 1);
    let mut used = vec![false; trace.unique];
    let mut hand: Option<u32> = None;
    let mut misses = 0;
    for key in trace.keys.iter().copied() {
        if lists.is_in(0, key) {
            used[key as usize] = true;
            continue;
        }
        misses += 1;
        if lists.lens[0] >= capacity {
            let younger = |lists: &Lists, key: u32| {
                let next = lists.next[key as usize][0];
                ((next as usize) < trace.unique).then_some(next)
            };
            // The list's order: `next[0]` of a key leads to the younger one.
            let mut at = hand.or_else(|| lists.oldest(0)).expect("full");
            while std::mem::take(&mut used[at as usize]) {
                at = younger(&lists, at).or_else(|| lists.oldest(0)).expect("full");
            }
            hand = younger(&lists, at);
            lists.take(at);
        }
        used[key as usize] = false;
        lists.put(0, key);
    }
    misses
}

fn arc(trace: &Trace, capacity: usize) -> u64 {
    const T1: usize = 0;
    const T2: usize = 1;
    const B1: usize = 2;
    const B2: usize = 3;
    let mut lists = Lists::new(trace.unique, 4);
    let (mut target, mut misses) = (0usize, 0);
    let replace = |lists: &mut Lists, target: usize, in_b2: bool| {
        let len = lists.lens[T1];
        let from_t1 = len > 0 && (len > target || (in_b2 && len == target));
        let (from, to) = if from_t1 { (T1, B1) } else { (T2, B2) };
        if let Some(key) = lists.pop(from) {
            lists.put(to, key);
        }
    };
    for key in trace.keys.iter().copied() {
        if lists.is_in(T1, key) || lists.is_in(T2, key) {
            lists.put(T2, key);
            continue;
        }
        misses += 1;
        if lists.is_in(B1, key) {
            target = capacity.min(target + (lists.lens[B2] / lists.lens[B1]).max(1));
            replace(&mut lists, target, false);
            lists.put(T2, key);
        } else if lists.is_in(B2, key) {
            target = target.saturating_sub((lists.lens[B1] / lists.lens[B2]).max(1));
            replace(&mut lists, target, true);
            lists.put(T2, key);
        } else {
            if lists.lens[T1] + lists.lens[B1] >= capacity {
                if lists.lens[T1] < capacity {
                    lists.pop(B1);
                    replace(&mut lists, target, false);
                } else {
                    lists.pop(T1);
                }
            } else if lists.lens.iter().sum::<usize>() >= capacity {
                if lists.lens.iter().sum::<usize>() >= 2 * capacity {
                    lists.pop(B2);
                }
                replace(&mut lists, target, false);
            }
            lists.put(T1, key);
        }
    }
    misses
}

/// A window of 1 %, and a segmented LRU that a candidate enters when it was asked for more often than the
/// oldest there. The counts are exact, at most 15, and halved after ten times as many requests as items.
fn tiny_lfu(trace: &Trace, capacity: usize) -> u64 {
    const WINDOW: usize = 0;
    const TRIAL: usize = 1;
    const PROVEN: usize = 2;
    let window = (capacity / 100).max(1);
    let main = capacity - window;
    let mut lists = Lists::new(trace.unique, 3);
    let mut counts = vec![0u8; trace.unique];
    let (mut misses, mut asked) = (0, 0);
    for key in trace.keys.iter().copied() {
        counts[key as usize] = (counts[key as usize] + 1).min(15);
        asked += 1;
        if asked == 10 * capacity {
            asked /= 2;
            counts.iter_mut().for_each(|count| *count /= 2);
        }
        match usize::from(lists.of[key as usize]) {
            WINDOW => lists.put(WINDOW, key),
            TRIAL | PROVEN => {
                lists.put(PROVEN, key);
                if lists.lens[PROVEN] > main * 4 / 5 {
                    let oldest = lists.oldest(PROVEN).expect("long");
                    lists.put(TRIAL, oldest);
                }
            }
            _ => {
                misses += 1;
                lists.put(WINDOW, key);
            }
        }
        if lists.lens[WINDOW] > window {
            let candidate = lists.pop(WINDOW).expect("long");
            if lists.lens[TRIAL] + lists.lens[PROVEN] < main {
                lists.put(TRIAL, candidate);
            } else if let Some(rival) = lists.oldest(TRIAL).or_else(|| lists.oldest(PROVEN))
                && counts[candidate as usize] > counts[rival as usize]
            {
                lists.take(rival);
                lists.put(TRIAL, candidate);
            }
        }
    }
    misses
}

/// Shares of the small queue and of the ghosts in percent.
pub(crate) fn s3_fifo(trace: &Trace, capacity: usize, small: usize, ghosts: usize) -> u64 {
    const SMALL: usize = 0;
    const MAIN: usize = 1;
    const GHOST: usize = 2;
    let mut lists = Lists::new(trace.unique, 3);
    let mut uses = vec![0u8; trace.unique];
    let mut misses = 0;
    for key in trace.keys.iter().copied() {
        if lists.is_in(SMALL, key) || lists.is_in(MAIN, key) {
            uses[key as usize] = (uses[key as usize] + 1).min(3);
            continue;
        }
        misses += 1;
        while lists.lens[SMALL] + lists.lens[MAIN] >= capacity {
            let from_small = lists.lens[SMALL] * 100 >= capacity * small || lists.lens[MAIN] == 0;
            if let Some(old) = lists.pop(if from_small { SMALL } else { MAIN }) {
                let used = uses[old as usize];
                match from_small {
                    true if used > 0 => {
                        uses[old as usize] = 0;
                        lists.put(MAIN, old);
                    }
                    true => {
                        lists.put(GHOST, old);
                        if lists.lens[GHOST] * 100 > capacity * ghosts {
                            lists.pop(GHOST);
                        }
                    }
                    false if used > 0 => {
                        uses[old as usize] -= 1;
                        lists.put(MAIN, old);
                    }
                    false => {}
                }
            }
        }
        uses[key as usize] = 0;
        let list = if lists.is_in(GHOST, key) { MAIN } else { SMALL };
        lists.put(list, key);
    }
    misses
}

/// Belady's: what is asked for again last, goes.
fn optimum(trace: &Trace, capacity: usize) -> u64 {
    let mut next = vec![usize::MAX; trace.keys.len()];
    let mut seen = vec![usize::MAX; trace.unique];
    for (n, key) in trace.keys.iter().enumerate().rev() {
        next[n] = std::mem::replace(&mut seen[*key as usize], n);
    }
    let mut due: BTreeMap<(usize, u32), ()> = BTreeMap::new();
    let mut held = vec![usize::MAX - 1; trace.unique];
    let mut misses = 0;
    for (n, key) in trace.keys.iter().enumerate() {
        if due.remove(&(held[*key as usize], *key)).is_none() {
            misses += 1;
        }
        held[*key as usize] = next[n];
        due.insert((next[n], *key), ());
        if due.len() > capacity {
            due.pop_last();
        }
    }
    misses
}
