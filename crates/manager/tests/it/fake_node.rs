//! A node without a store: the real ownership machine, polling a manager over a socket in a thread of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cluster::node::{Node, NodeOptions};
use cluster::{Lease, Map};
use proto::control::{Life, LockIdentity, Message, Owned, Reply, codec};
use proto::{ClusterId, Incarnation, Term};
use stdx::clock;

use crate::ledger::Ledger;

/// Longest wait for anything in a test; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A control connection that sends and receives whole messages.
pub(crate) struct Control {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Control {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn send(&mut self, message: &Message) -> std::io::Result<()> {
        let mut frame = Vec::new();
        codec::encode(message, &mut frame);
        self.stream.write_all(&frame)
    }

    /// The next message; `None` when the manager has closed.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some((message, consumed)) = codec::decode(&self.read).unwrap() {
                self.read.drain(..consumed);
                return Some(message);
            }
            let mut chunk = [0; 8192];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.read.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer: {error}"),
                Err(_) => return None,
            }
        }
    }

    pub(crate) fn ask(&mut self, message: &Message) -> Message {
        self.send(message).unwrap();
        self.receive().expect("an answer")
    }
}

/// Asks one thing on a connection of its own.
pub(crate) fn ask(address: SocketAddr, message: &Message) -> Message {
    Control::connect(address).ask(message)
}

/// Where the manager is; it moves when it is started again.
#[derive(Debug)]
pub(crate) struct Target(Mutex<SocketAddr>);

impl Target {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(Mutex::new(address))
    }

    pub(crate) fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap() = address;
    }

    fn get(&self) -> SocketAddr {
        *self.0.lock().unwrap()
    }
}

/// A life of a node, polling.
pub(crate) struct FakeNode {
    pub(crate) incarnation: Incarnation,
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    thread: Option<JoinHandle<()>>,
}

/// What a test sees of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) owned: Vec<Owned>,
    pub(crate) count: usize,
    pub(crate) lease: Lease,
    pub(crate) term: Term,
    pub(crate) replies: u64,
    pub(crate) life: Option<Life>,
    pub(crate) map: Option<Map>,
    /// The manager's words, if it refused the last poll.
    pub(crate) refused: Option<String>,
}

#[derive(Default)]
struct Shared {
    view: Mutex<View>,
    changed: Condvar,
    /// The connection, for ending it from outside; `None` between two.
    socket: Mutex<Option<TcpStream>>,
    stopping: AtomicBool,
}

impl FakeNode {
    /// A new life of `name`, without a lock, which believes to belong to `cluster` (zero: to any).
    pub(crate) fn start(target: &Arc<Target>, name: &str, ledger: &Arc<Ledger>, cluster: ClusterId) -> Self {
        let options = NodeOptions {
            node: name.parse().unwrap(),
            incarnation: Incarnation(clock::random_u64()),
            cluster,
            address: format!("{name}.test:11211"),
            lock: LockIdentity::default(),
            pid: 4711,
        };
        let (incarnation, shared) = (options.incarnation, Arc::new(Shared::default()));
        let life = Polling {
            node: Node::new(options),
            map: Map::empty(ClusterId(0)),
            shared: Arc::clone(&shared),
            ledger: Arc::clone(ledger),
        };
        let target = Arc::clone(target);
        let thread = thread::spawn(move || life.run(&target));
        Self { incarnation, shared, ledger: Arc::clone(ledger), thread: Some(thread) }
    }

    /// Waits until the node is as wanted.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&View) -> bool) -> View {
        let give_up = Instant::now() + PATIENCE;
        let mut view = self.shared.view.lock().unwrap();
        while !wanted(&view) {
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never {what}: {view:?}");
            view = self.shared.changed.wait_timeout(view, left).unwrap().0;
        }
        view.clone()
    }

    /// Waits until it owns that many buckets.
    #[track_caller]
    pub(crate) fn wait_count(&self, count: usize) -> View {
        self.wait(&format!("{count} buckets"), |view| view.count == count)
    }

    /// Stops polling, as a process that hangs: what it owns it may serve until its lease ends.
    pub(crate) fn hang(mut self) -> View {
        self.stop()
    }

    /// Ends the process: nothing is served from now on. The manager is not told.
    pub(crate) fn kill(mut self) -> View {
        let view = self.stop();
        self.ledger.end(self.incarnation);
        view
    }

    fn stop(&mut self) -> View {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(socket) = &*self.shared.socket.lock().unwrap() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "a node found a broken rule");
        }
        self.shared.view.lock().unwrap().clone()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread of a node owns.
struct Polling {
    node: Node,
    map: Map,
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
}

impl Polling {
    /// Polls over one connection after the other until it is stopped.
    fn run(mut self, target: &Target) {
        while !self.shared.stopping.load(Ordering::SeqCst) {
            match TcpStream::connect(target.get()) {
                Ok(stream) => self.poll_until_closed(Control::over(stream)),
                // The manager is between two lives.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn poll_until_closed(&mut self, mut control: Control) {
        *self.shared.socket.lock().unwrap() = Some(control.stream.try_clone().unwrap());
        self.node.connected();
        while !self.shared.stopping.load(Ordering::SeqCst) {
            let poll = self.node.poll(clock::lease_now(), clock::random_u64(), self.map.version()).unwrap();
            let Some(answer) = control.send(&Message::Poll(poll)).ok().and_then(|()| control.receive())
            else {
                break;
            };
            match answer {
                Message::Reply(reply) => {
                    self.apply(&reply);
                    self.show(None);
                }
                Message::Refused(reason) => {
                    self.show(Some(reason));
                    // As a node does: it asks again after a pause.
                    thread::sleep(Duration::from_millis(20));
                }
                other => panic!("a poll was answered by {other:?}"),
            }
        }
    }

    /// In the order that `cluster::node` asks for: effects, lease, map.
    fn apply(&mut self, reply: &Reply) {
        let step = self.node.handle_reply(reply).unwrap();
        for effect in &step.effects {
            self.ledger.set(reply.incarnation, effect.bucket, effect.generation);
        }
        if let Some(lease) = step.lease {
            self.ledger.set_lease(reply.incarnation, lease);
        }
        if !reply.map.is_empty() {
            self.map.apply(&reply.map).unwrap();
        }
    }

    fn show(&self, refused: Option<String>) {
        let mut view = self.shared.view.lock().unwrap();
        view.owned = self.node.owned();
        view.count = self.node.owned_count();
        view.lease = self.node.lease();
        view.term = self.node.term();
        view.replies += u64::from(refused.is_none());
        view.life = Some(self.node.life());
        view.map = Some(self.map.clone());
        view.refused = refused;
        self.shared.changed.notify_all();
    }
}
