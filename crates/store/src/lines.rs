//! Runs of lines for the index, cut out of whole segments: first fit, one bit for each line.

use crate::index::{LINE_LEN, Run};

#[derive(Debug)]
pub(crate) struct LinePool {
    lines_per_segment: usize,
    parts: Vec<Part>,
    /// Lines in use.
    pub(crate) used: u64,
}

/// A segment that holds lines.
#[derive(Debug)]
struct Part {
    id: u32,
    at: u64,
    /// A set bit is a line in use.
    bits: Box<[u64]>,
    used: usize,
    /// No free run is longer than this.
    longest: usize,
}

impl LinePool {
    pub(crate) fn new(segment_len: usize) -> Self {
        Self { lines_per_segment: segment_len / LINE_LEN, parts: Vec::new(), used: 0 }
    }

    /// The longest run that can be had.
    pub(crate) fn line_count_max(&self) -> usize {
        self.lines_per_segment.min(Run::LINE_COUNT_MAX)
    }

    pub(crate) fn add(&mut self, id: u32, at: u64) {
        let bits = vec![0; self.lines_per_segment.div_ceil(64)].into_boxed_slice();
        self.parts.push(Part { id, at, bits, used: 0, longest: self.lines_per_segment });
    }

    pub(crate) fn take(&mut self, line_count: usize) -> Option<Run> {
        let total = self.lines_per_segment;
        for part in self.parts.iter_mut().filter(|part| part.longest >= line_count) {
            if let Some(first) = part.find(line_count, total) {
                part.mark(first, line_count);
                part.used += line_count;
                self.used += line_count as u64;
                return Some(Run { at: part.at + (first * LINE_LEN) as u64, line_count });
            }
        }
        None
    }

    /// Frees a run; returns the segment when it was the last one in it.
    pub(crate) fn release(&mut self, run: Run) -> Option<u32> {
        let len = (self.lines_per_segment * LINE_LEN) as u64;
        let index = self.parts.iter().position(|part| (part.at..part.at + len).contains(&run.at))?;
        let part = &mut self.parts[index];
        part.mark((run.at - part.at) as usize / LINE_LEN, run.line_count);
        part.used -= run.line_count;
        part.longest = self.lines_per_segment;
        self.used -= run.line_count as u64;
        (part.used == 0).then(|| self.parts.swap_remove(index).id)
    }
}

impl Part {
    fn is_used(&self, line: usize) -> bool {
        self.bits[line / 64] >> (line % 64) & 1 == 1
    }

    fn mark(&mut self, first: usize, count: usize) {
        for line in first..first + count {
            self.bits[line / 64] ^= 1 << (line % 64);
        }
    }

    fn find(&mut self, count: usize, total: usize) -> Option<usize> {
        let (mut free, mut longest, mut line) = (0, 0, 0);
        while line < total {
            if line % 64 == 0 && self.bits[line / 64] == u64::MAX {
                free = 0;
                line += 64;
                continue;
            }
            free = if self.is_used(line) { 0 } else { free + 1 };
            line += 1;
            if free == count {
                return Some(line - count);
            }
            longest = longest.max(free);
        }
        self.longest = longest;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_do_not_overlap_and_free_ones_join() {
        let mut pool = LinePool::new(64 << 10);
        pool.add(3, 1 << 20);
        let runs: Vec<_> = (0..341).map(|_| pool.take(3).expect("room")).collect();
        assert_eq!(pool.take(3), None);
        assert!(runs.windows(2).all(|pair| pair[0].at + 192 == pair[1].at));
        assert_eq!(pool.release(runs[4]), None);
        assert_eq!(pool.release(runs[5]), None);
        assert_eq!(pool.take(6).map(|run| run.at), Some(runs[4].at));
        assert_eq!(pool.used, 341 * 3);
    }

    #[test]
    fn the_last_run_gives_the_segment_back() {
        let mut pool = LinePool::new(64 << 10);
        pool.add(3, 0);
        let run = pool.take(1024).expect("room");
        assert_eq!(pool.release(run), Some(3));
        assert_eq!(pool.take(1), None);
    }
}
