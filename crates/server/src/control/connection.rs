//! A blocking control connection to one manager: one request, one answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use cluster::node::RefuseReply;
use proto::control::Message;
use proto::control::codec::{self, DecodeError};

/// How much is read at a time.
const READ_LEN: usize = 64 << 10;

/// Open, with time-outs.
#[derive(Debug)]
pub(crate) struct Connection {
    /// As configured, for people.
    manager: String,
    stream: TcpStream,
    /// Received and not decoded yet.
    input: Vec<u8>,
    output: Vec<u8>,
    reply_timeout: Duration,
}

/// Ends a connection from another thread.
#[derive(Debug)]
pub(crate) struct Hangup(TcpStream);

/// Why a conversation with a manager ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    /// The name has no address.
    #[error("cannot be resolved: {0}")]
    Resolve(io::Error),
    /// Nobody there.
    #[error("cannot be reached: {0}")]
    Connect(io::Error),
    /// The connection broke, or no answer came in time.
    #[error("does not answer: {0}")]
    Io(#[from] io::Error),
    /// It is no manager, or one of another release.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It refuses this node.
    #[error("refuses: {0}")]
    Refused(String),
    /// An answer to another question.
    #[error("answered with {0}")]
    Unexpected(String),
    /// Its reply breaks a rule.
    #[error(transparent)]
    Reply(#[from] RefuseReply),
    /// The node has given everything back.
    #[error("the node is stopping")]
    Released,
}

impl Connection {
    /// Connects to the first address of `manager` that answers within the time-out. `reply_timeout` is for each
    /// later answer.
    pub(crate) fn open(
        manager: &str,
        connect_timeout: Duration,
        reply_timeout: Duration,
    ) -> Result<Self, TalkError> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in manager.to_socket_addrs().map_err(TalkError::Resolve)? {
            match TcpStream::connect_timeout(&address, connect_timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(reply_timeout))?;
                    return Ok(Self {
                        manager: manager.to_owned(),
                        stream,
                        input: Vec::new(),
                        output: Vec::new(),
                        reply_timeout,
                    });
                }
                Err(error) => failure = error,
            }
        }
        Err(TalkError::Connect(failure))
    }

    /// Whom it leads to, as configured.
    pub(crate) fn manager(&self) -> &str {
        &self.manager
    }

    /// The time-out of later answers.
    pub(crate) fn set_reply_timeout(&mut self, timeout: Duration) {
        self.reply_timeout = timeout;
    }

    pub(crate) fn hangup(&self) -> io::Result<Hangup> {
        self.stream.try_clone().map(Hangup)
    }

    /// Sends a message and waits for the answer.
    pub(crate) fn ask(&mut self, message: &Message) -> Result<Message, TalkError> {
        self.output.clear();
        codec::encode(message, &mut self.output);
        self.stream.write_all(&self.output)?;
        let until = Instant::now() + self.reply_timeout;
        loop {
            if let Some((answer, consumed)) = codec::decode(&self.input)? {
                self.input.drain(..consumed);
                return Ok(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            self.stream.set_read_timeout(Some(left))?;
            self.read_some()?;
        }
    }

    fn read_some(&mut self) -> io::Result<()> {
        let start = self.input.len();
        self.input.resize(start + READ_LEN, 0);
        let result = self.stream.read(&mut self.input[start..]);
        self.input.truncate(start + result.as_ref().copied().unwrap_or(0));
        match result {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the manager closed the connection")),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Hangup {
    pub(crate) fn hang_up(&self) {
        // A connection that is closed already is what was wanted.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
