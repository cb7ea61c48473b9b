//! What all workers of a node share.

mod delayed_flush;
pub mod mutation;
mod spares;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use net::{ConnectionStats, LoopStats, Mailbox};
use stdx::{ByteSize, LeaseTime, clock};
use store::limits::EXPTIME_STEP_MS;
use store::{Store, StoreOptions};

use crate::clock::{Now, Start};
use crate::counters::Counters;
use crate::limits::DEBUG_TIME_MAX_S;
use crate::managed::Managed;
use crate::options::ServerOptions;
use crate::stats::connections::Registry;
use crate::stats::prefixes::Prefixes;
use crate::stop::StopHandle;
use crate::watch::{Kinds, Log, Watch, Watcher, events};
use delayed_flush::DelayedFlush;
use spares::Spares;

/// The shared state of a node.
#[derive(Debug)]
pub struct Engine {
    /// The items.
    pub store: Store,
    /// The options that the node was started with.
    pub options: ServerOptions,
    /// One for each worker, and one for the thread that serves UDP, if there is one.
    pub counters: Box<[Counters]>,
    /// `None` on a plain memcached.
    pub managed: Option<Managed>,
    /// Ends the node.
    pub stop: StopHandle,
    pub(crate) start: Start,
    pub(crate) verbosity: AtomicU64,
    pub(crate) flush: DelayedFlush,
    pub(crate) spares: Spares,
    pub(crate) registry: Registry,
    pub(crate) prefixes: Prefixes,
    pub(crate) watch: Watch,
    /// `stats sizes` is answered.
    pub(crate) tracks_sizes: AtomicBool,
    /// What `debugtime` added to the store's clock, in milliseconds.
    debug_time_ms: AtomicU64,
    network: OnceLock<Network>,
}

/// What the event loops count; absent in tests that drive sessions in memory.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) connections: Arc<ConnectionStats>,
    pub(crate) loops: Vec<Arc<LoopStats>>,
    pub(crate) ports: Vec<SocketAddr>,
    pub(crate) udp_ports: Vec<SocketAddr>,
    /// To wake the loops whose connections watch.
    pub(crate) mailboxes: Vec<Mailbox<WatchNews>>,
}

/// Says to a loop: watchers of yours have lines to be sent.
#[derive(Debug)]
pub(crate) struct WatchNews;

/// What a session is told with each batch of bytes.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The node.
    pub engine: &'a Engine,
    /// The worker's.
    pub counters: &'a Counters,
    /// Read after the bytes were received.
    pub now: Now,
    /// Reads the clock again, for what has to be checked after it was done.
    pub read_clock: &'a dyn Fn() -> LeaseTime,
    /// The worker's, for who watches.
    pub log: &'a Log,
}

impl Engine {
    /// A node without items. `managed`: see [`Managed::new`].
    pub fn new(options: ServerOptions, managed: Option<Managed>, start: Start, seed: u64) -> Self {
        let store = Store::new(&store_options(&options, seed));
        Self::with_store(options, managed, start, store)
    }

    /// A node with these items, by whose clock it starts.
    pub(crate) fn with_store(
        options: ServerOptions,
        managed: Option<Managed>,
        start: Start,
        store: Store,
    ) -> Self {
        let writers = options.threads.max(1) + usize::from(!options.udp.is_empty());
        let watch = Watch::default();
        watch.set_verbosity(options.verbosity.into());
        Self {
            store,
            watch,
            tracks_sizes: AtomicBool::new(options.track_sizes),
            counters: (0..writers).map(|_| Counters::default()).collect(),
            managed,
            stop: StopHandle::default(),
            start,
            verbosity: AtomicU64::new(u64::from(options.verbosity)),
            flush: DelayedFlush::default(),
            spares: Spares::default(),
            registry: Registry::default(),
            prefixes: Prefixes::new(options.prefix_delimiter),
            debug_time_ms: AtomicU64::new(0),
            network: OnceLock::new(),
            options,
        }
    }

    pub(crate) fn set_network(&self, network: Network) {
        assert!(self.network.set(network).is_ok(), "a node starts its loops once");
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.get()
    }

    /// Reads the clocks. To be called after the bytes to be handled were received.
    #[inline]
    pub(crate) fn now(&self) -> Now {
        let now = self.start.when(clock::lease_now());
        Now { store_ms: now.store_ms + self.debug_time_ms(), ..now }
    }

    /// How far the store's clock is ahead of the clock that it goes by. Leases and deadlines are not.
    #[inline]
    pub fn debug_time_ms(&self) -> u64 {
        self.debug_time_ms.load(Ordering::Relaxed)
    }

    /// Moves the store's clock forward, for what is received from now on, and on to the next step of exptimes: what
    /// had that many seconds to live is over then. `now_ms` is the store's time of who asks. False where the clock
    /// would leave its limit.
    pub(crate) fn add_debug_time(&self, seconds: u64, now_ms: u64) -> bool {
        let base_ms = now_ms.saturating_sub(self.debug_time_ms());
        let add = |sum: u64| {
            let sum = (base_ms + sum + seconds * 1000).next_multiple_of(EXPTIME_STEP_MS) - base_ms;
            Some(sum).filter(|sum| *sum <= DEBUG_TIME_MAX_S * 1000)
        };
        seconds <= DEBUG_TIME_MAX_S
            && self.debug_time_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn set_memory_mib(&self, mib: u64) {
        self.store.set_memory(ByteSize::mib(mib));
    }

    pub(crate) fn set_verbosity(&self, level: u64) {
        self.verbosity.store(level, Ordering::Relaxed);
        self.watch.set_verbosity(level);
    }

    /// A connection of this worker watches from now on; `None` when there are as many watchers as may be.
    pub(crate) fn add_watcher(&self, kinds: Kinds, worker: usize) -> Option<Arc<Watcher>> {
        let len_max = usize::try_from(self.options.watcher_log_len.0).unwrap_or(usize::MAX);
        let added = self.watch.add(kinds, worker, len_max).ok();
        self.store.note_evicted(self.watch.wanted().has(Kinds::EVICTIONS));
        added
    }

    pub(crate) fn remove_watcher(&self, watcher: &Arc<Watcher>) {
        self.watch.remove(watcher);
        self.store.note_evicted(self.watch.wanted().has(Kinds::EVICTIONS));
    }

    /// A log for one more thread that executes commands.
    pub(crate) fn new_log(&self) -> Log {
        Log::new(usize::try_from(self.options.worker_log_len.0).unwrap_or(usize::MAX))
    }

    /// Hands what a thread logged, and what was evicted, to those who watch.
    #[inline]
    pub(crate) fn flush_log(&self, log: &Log) {
        if !log.kinds().is_empty() {
            self.distribute(log);
        }
    }

    #[cold]
    fn distribute(&self, log: &Log) {
        if log.kinds().has(Kinds::EVICTIONS) {
            events::evictions(&self.watch, log, &self.store, self.now().store_ms);
        }
        if log.is_empty() {
            return;
        }
        let mailboxes = self.network().map_or(&[][..], |network| &network.mailboxes);
        let wake =
            |worker: usize| mailboxes.get(worker).is_some_and(|mailbox| mailbox.post(WatchNews).is_ok());
        self.watch.distribute(log, wake);
    }
}

/// What a node's store is like; see [`StoreOptions::seed`].
pub(crate) fn store_options(options: &ServerOptions, seed: u64) -> StoreOptions {
    StoreOptions { memory: options.memory, item_size_max: options.item_size_max, evict: options.evict, seed }
}
