//! A manager that says what a test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use proto::control::{Message, Poll, Reply, codec};
use proto::{ClusterId, Term};

pub(crate) struct FakeManager {
    listener: TcpListener,
}

pub(crate) struct Talk {
    stream: TcpStream,
    input: Vec<u8>,
}

impl FakeManager {
    pub(crate) fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    pub(crate) fn accept(&self) -> Talk {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Talk { stream, input: Vec::new() }
    }
}

impl Talk {
    /// The next message; `None` when the node has closed the connection.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((message, consumed)) = codec::decode(&self.input).unwrap() {
                self.input.drain(..consumed);
                return Some(message);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the node says nothing: {error}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn poll(&mut self) -> Poll {
        match self.next() {
            Some(Message::Poll(poll)) => poll,
            other => panic!("not a poll: {other:?}"),
        }
    }

    pub(crate) fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn reply(&mut self, reply: Reply) {
        self.send(&Message::Reply(reply));
    }
}

/// A reply that grants a lease and changes nothing.
pub(crate) fn renew(poll: &Poll) -> Reply {
    Reply {
        cluster: ClusterId(5),
        incarnation: poll.incarnation,
        nonce: poll.nonce,
        term: Term(1),
        lease: true,
        lease_ms: 10_000,
        list_owned: false,
        changes: Vec::new(),
        map: Vec::new(),
    }
}
