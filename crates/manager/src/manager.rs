//! One running manager: started when its term is durable, until it is stopped or halts.
//!
//! Owns the runtime, the driver's task and the store's thread. What is asked of a `Manager` may block; it is
//! for a program's main thread.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::limits::{LEASE_MAX, POLL_HOLD};
use cluster::manager::{Halt, Options};
use stdx::clock;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;

use crate::driver::Driver;
use crate::handle::Handle;
use crate::limits::{EVENTS_WAITING_MAX, HOLDS_IN_LEASE_MIN, LEAD_TIMEOUT, LEASE_MIN, WORKER_THREADS};
use crate::log::Log;
use crate::log::Verbosity::Changes;
use crate::options::ManagerOptions;
use crate::state::{self, StateError};
use crate::store_thread::StoreThread;
use crate::{http, listener};

/// A running manager. Dropping it stops it and waits for that.
#[derive(Debug)]
pub struct Manager {
    local_address: SocketAddr,
    stop: watch::Sender<bool>,
    /// These three are `None` once it has ended.
    driver: Option<task::JoinHandle<Result<(), ManagerError>>>,
    runtime: Option<Runtime>,
    store: Option<JoinHandle<()>>,
}

/// Stops a manager from anywhere, a signal's thread for example.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// Why a manager was not started. The state has not been changed, but for the number of its term.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines would reach it.
    #[error(
        "listening on {0} would let others reach the manager, and control messages are not authenticated yet: \
         listen on a loopback address such as 127.0.0.1, or allow it (--insecure-listen) in a network \
         in which you trust everybody"
    )]
    PublicListen(SocketAddr),
    /// A lease nobody can keep.
    #[error("a lease of {} ms is not between {} ms and {} ms", .0.as_millis(), LEASE_MIN.as_millis(), LEASE_MAX.as_millis())]
    Lease(Duration),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// No state to start with.
    #[error(transparent)]
    State(#[from] StateError),
    /// It ended before it led.
    #[error(transparent)]
    Ended(#[from] ManagerError),
    /// The store does not take the new term.
    #[error("the store has not taken the new term within {} s; see the log for what it says", LEAD_TIMEOUT.as_secs())]
    NotLeading,
    /// Threads or timers are not to be had.
    #[error("the system gives no threads: {0}")]
    System(std::io::Error),
}

/// Why a manager ended by itself. Nodes serve on until their leases end.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// What it knows is not what is true.
    #[error(transparent)]
    Halted(Halt),
    /// The state is damaged.
    #[error(transparent)]
    Store(mapstore::LoadError),
    /// A bug in the store.
    #[error("the store's thread has ended")]
    StoreLost,
    /// A bug in the driver.
    #[error("the manager has panicked: {0}")]
    Panicked(String),
}

impl Manager {
    /// Opens the state, begins a new term durably, and serves. `Ok` means that it leads.
    pub fn start(options: ManagerOptions) -> Result<Self, StartError> {
        check(&options)?;
        // Before the state is touched, so that a taken port changes nothing.
        let listener = listen(options.listen)?;
        let local_address = listener.local_addr().map_err(StartError::System)?;
        let log = Log::start(options.verbosity).map_err(StartError::System)?;
        let (lease, machine_options) = (options.lease, machine_options(&options));
        let (store, state) = state::open(options.storage, options.bootstrap)?;
        let http = http::Facts { store: store.describe(), lease };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("doled-manager")
            .enable_all()
            .build()
            .map_err(StartError::System)?;

        let (store, store_thread) = StoreThread::start(store).map_err(StartError::System)?;
        let machine = cluster::Manager::lead(state, machine_options, clock::lease_now());
        let (stop, stopped) = watch::channel(false);
        let (events, waiting) = mpsc::channel(EVENTS_WAITING_MAX);
        let (leading, leads) = oneshot::channel();
        let driver = Driver::new(machine, store, waiting, stopped, log.clone(), leading);
        let driver = runtime.spawn(driver.run());
        let mut manager = Self {
            local_address,
            stop,
            driver: Some(driver),
            runtime: Some(runtime),
            store: Some(store_thread),
        };
        manager.wait_until_leading(leads)?;
        log.line(Changes, "listening", format_args!("address={local_address}"));
        manager.serve(listener, Handle::new(events), http, log)?;
        Ok(manager)
    }

    /// Where it listens, with the port that was found for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// A way to stop it from elsewhere.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.stop.clone())
    }

    /// Stops it and waits for that.
    pub fn stop(self) -> Result<(), ManagerError> {
        self.stop_handle().stop();
        self.wait()
    }

    /// Blocks until it was stopped (`Ok`) or has ended by itself; then everything is closed, the store too.
    pub fn wait(mut self) -> Result<(), ManagerError> {
        self.end()
    }

    fn wait_until_leading(&mut self, leads: oneshot::Receiver<()>) -> Result<(), StartError> {
        let runtime = self.runtime.as_ref().expect("the manager has not ended");
        let led = runtime.block_on(async { tokio::time::timeout(LEAD_TIMEOUT, leads).await });
        match led {
            Ok(Ok(())) => Ok(()),
            // The driver is gone, and says why.
            Ok(Err(_)) => Err(self.end().err().map_or(StartError::NotLeading, StartError::Ended)),
            Err(_) => Err(StartError::NotLeading),
        }
    }

    fn serve(
        &self,
        listener: TcpListener,
        handle: Handle,
        http: http::Facts,
        log: Log,
    ) -> Result<(), StartError> {
        let runtime = self.runtime.as_ref().expect("the manager has not ended");
        let _inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::System)?;
        runtime.spawn(listener::serve(listener, handle, http, log));
        Ok(())
    }

    /// Waits for the driver, then closes everything. The second time there is nothing left to do.
    fn end(&mut self) -> Result<(), ManagerError> {
        let (Some(runtime), Some(driver)) = (self.runtime.take(), self.driver.take()) else { return Ok(()) };
        let result = runtime.block_on(driver);
        // Connections end in the middle of whatever they do: their peers ask again.
        runtime.shutdown_background();
        if let Some(store) = self.store.take() {
            // A panic in there was reported by the driver, as a lost store.
            let _ = store.join();
        }
        result.unwrap_or_else(|error| Err(ManagerError::Panicked(error.to_string())))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // Nobody is left to tell.
        let _ = self.end();
    }
}

impl StopHandle {
    /// Asks the manager to stop; returns at once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

fn check(options: &ManagerOptions) -> Result<(), StartError> {
    if !options.insecure_listen && !options.listen.ip().is_loopback() {
        return Err(StartError::PublicListen(options.listen));
    }
    if !(LEASE_MIN..=LEASE_MAX).contains(&options.lease) {
        return Err(StartError::Lease(options.lease));
    }
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| StartError::Listen { address, source })
}

fn machine_options(options: &ManagerOptions) -> Options {
    Options {
        lease: options.lease,
        wait: cluster::lease::waiting_time(options.lease),
        // A lease counts from the send time of its poll: one that is held for long comes back used up.
        hold: POLL_HOLD.min(options.lease / HOLDS_IN_LEASE_MIN),
        join: options.auto_add,
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_poll_leaves_most_of_its_lease() {
        for lease in [LEASE_MIN, Duration::from_secs(1), Duration::from_millis(2500), LEASE_MAX] {
            let options =
                ManagerOptions { lease, ..ManagerOptions::new(([127, 0, 0, 1], 0).into(), "/".into()) };
            let options = machine_options(&options);
            assert!(options.hold <= lease / 4 && !options.hold.is_zero(), "{lease:?}: {:?}", options.hold);
            assert!(options.wait > lease);
        }
    }
}
