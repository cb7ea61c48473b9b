//! Dirty reports: which buckets wait to be reported, who waits for them, and the threads that report.
//!
//! A report that is out has a thread and a connection of its own: a bucket whose owner is lost is fenced only when
//! its lease is over, and neither other buckets nor the map must wait for that. A delete joins a report of its bucket
//! that has not left yet, never one that is out, for that one's wipe may be older (hazard c). A report is repeated
//! until a manager acknowledges it, whether or not its client still waits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use net::Mailbox;
use proto::Bucket;
use proto::control::{Dirty, Message};
use stdx::Instant;

use crate::control::{News, connect, exchange};
use crate::limits::{FENCE_TIMEOUT, MANAGER_PAUSE, REPORT_WAIT, REPORTS_AT_ONCE, WAITERS_SLACK};
use crate::proxy::Shared;

/// Who is told, if it is not too late by then.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    worker: usize,
    report: u64,
    until: Instant,
}

/// All reports of a proxy; owned by its control thread.
pub(crate) struct Reports {
    reporter: Arc<Reporter>,
    waiting: BTreeMap<Bucket, Vec<Waiter>>,
    /// The bucket that was reported last: the next one in order is next.
    last: Option<Bucket>,
}

/// What the reporting threads share.
struct Reporter {
    managers: Vec<String>,
    workers: Vec<Mailbox<News>>,
    shared: Arc<Shared>,
    /// Reports that are out.
    out: AtomicUsize,
    /// The proxy has stopped.
    ended: AtomicBool,
}

impl Reports {
    pub(crate) fn new(managers: Vec<String>, workers: Vec<Mailbox<News>>, shared: Arc<Shared>) -> Self {
        let (out, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        let reporter = Arc::new(Reporter { managers, workers, shared, out, ended });
        Self { reporter, waiting: BTreeMap::new(), last: None }
    }

    /// A delete wants that bucket wiped. Who has given up meanwhile is forgotten, so that there are never many more
    /// than the workers wait for, however long no manager is there.
    pub(crate) fn add(&mut self, bucket: Bucket, worker: usize, report: u64, now: Instant) {
        let waiters = self.waiting.entry(bucket).or_default();
        if waiters.len() >= WAITERS_SLACK && waiters.len().is_power_of_two() {
            waiters.retain(|waiter| waiter.until > now);
        }
        waiters.push(Waiter { worker, report, until: now + REPORT_WAIT });
    }

    /// True when some wait to be sent.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits, as far as not too many are out.
    pub(crate) fn send(&mut self) {
        while self.reporter.out.load(Ordering::Relaxed) < REPORTS_AT_ONCE {
            let Some((bucket, waiters)) = self.next() else { return };
            self.reporter.out.fetch_add(1, Ordering::Relaxed);
            let (reporter, told) = (Arc::clone(&self.reporter), waiters.clone());
            let report = move || {
                reporter.report(bucket, &told);
                reporter.out.fetch_sub(1, Ordering::Relaxed);
            };
            if thread::Builder::new().name("proxy-report".to_owned()).spawn(report).is_err() {
                // No thread to be had: later.
                self.reporter.out.fetch_sub(1, Ordering::Relaxed);
                self.waiting.insert(bucket, waiters);
                return;
            }
        }
    }

    /// Every bucket gets its turn.
    fn next(&mut self) -> Option<(Bucket, Vec<Waiter>)> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.waiting.range((after, Bound::Unbounded)).next().or(self.waiting.first_key_value());
        let bucket = *next?.0;
        self.last = Some(bucket);
        self.waiting.remove_entry(&bucket)
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.reporter.ended.store(true, Ordering::Relaxed);
    }
}

impl Reporter {
    /// Tells one manager after the other until one has fenced the bucket, then whoever waits.
    fn report(&self, bucket: Bucket, waiters: &[Waiter]) {
        for manager in self.managers.iter().cycle() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let message = Message::Dirty(Dirty { cluster: self.shared.cluster(), bucket });
            let answer =
                connect(manager).and_then(|mut stream| exchange(&mut stream, &message, FENCE_TIMEOUT));
            if matches!(answer, Ok(Message::Done)) {
                break;
            }
            self.shared.log(format_args!("the dirty report of bucket {bucket} was answered {answer:?}"));
            thread::sleep(MANAGER_PAUSE);
        }
        for waiter in waiters {
            // A worker whose mailbox is full tells its client that the outcome is unknown.
            if let Some(mailbox) = self.workers.get(waiter.worker) {
                let _ = mailbox.post(News::Fenced { report: waiter.report });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use proto::control::{decode, encode};

    use super::*;
    use crate::options::{ProxyOptions, Target};

    fn bucket(number: u16) -> Bucket {
        Bucket::new(number).unwrap()
    }

    fn reports(manager: String) -> Reports {
        let options = ProxyOptions {
            listen: Vec::new(),
            backlog: 1,
            threads: 1,
            max_connections: 1,
            target: Target::Managed { managers: vec![manager.clone()] },
            route: route::RouteOptions::default(),
            verbosity: 0,
        };
        Reports::new(vec![manager], Vec::new(), Arc::new(Shared::new(&options)))
    }

    /// Takes a report of bucket 0 and never answers it; answers all others.
    fn serve(mut stream: TcpStream) {
        let (mut input, mut buffer) = (Vec::new(), [0; 1024]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            input.extend_from_slice(&buffer[..n]);
            while let Some((Message::Dirty(dirty), consumed)) = decode(&input).unwrap() {
                input.drain(..consumed);
                let mut out = Vec::new();
                if dirty.bucket != bucket(0) {
                    encode(&Message::Done, &mut out);
                }
                stream.write_all(&out).unwrap();
            }
        }
    }

    #[test]
    fn a_bucket_that_is_not_fenced_holds_up_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut reports = reports(listener.local_addr().unwrap().to_string());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(stream));
            }
        });
        for number in 0..REPORTS_AT_ONCE as u16 * 2 {
            reports.add(bucket(number), 0, 1, Instant::ZERO);
        }
        while reports.is_waiting() || reports.reporter.out.load(Ordering::Relaxed) > 1 {
            reports.send();
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(reports.reporter.out.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn waiters_are_few_however_long_no_manager_is_there() {
        let mut reports = reports("127.0.0.1:1".to_owned());
        for number in 0..100_000 {
            reports.add(bucket(7), 0, number, Instant::from_millis(1000 + number));
        }
        let living = REPORT_WAIT.as_millis() as usize;
        assert!(reports.waiting[&bucket(7)].len() <= 2 * living + WAITERS_SLACK);
    }

    #[test]
    fn every_bucket_gets_its_turn() {
        let mut reports = reports("127.0.0.1:1".to_owned());
        let mut turns = Vec::new();
        for _ in 0..6 {
            for number in [3, 5, 9] {
                reports.add(bucket(number), 0, 1, Instant::ZERO);
            }
            turns.extend(reports.next().map(|(bucket, _)| bucket.number()));
        }
        assert_eq!(turns, [3, 5, 9, 3, 5, 9]);
    }
}
