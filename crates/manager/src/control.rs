//! One control connection: requests in, exactly one answer for each, in order.
//!
//! One task serves it. While an answer is waited for it goes on reading, to notice that the peer is gone; what
//! it reads then waits, up to a limit. A frame that is none ends the connection after the answers before it.

use std::io;

use cluster::manager::Refusal;
use proto::MapVersion;
use proto::control::Message;
use proto::control::codec::{self, DecodeError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::handle::{Answer, Handle, Request, Stopping};
use crate::limits::{FRAME_TIMEOUT, READ_AHEAD_MAX, READ_CHUNK, WRITE_TIMEOUT};

/// Why a connection was ended before its peer ended it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a message that only a manager sends")]
    NotARequest,
    #[error("no whole frame within {} s", FRAME_TIMEOUT.as_secs())]
    Slow,
    #[error("the answer was not read within {} s", WRITE_TIMEOUT.as_secs())]
    NotReading,
    #[error("the manager stops")]
    Stopping,
}

impl From<Stopping> for ControlError {
    fn from(_: Stopping) -> Self {
        Self::Stopping
    }
}

/// Serves until the peer closes.
pub(crate) async fn serve(stream: TcpStream, handle: &Handle) -> Result<(), ControlError> {
    let mut connection = Connection { stream, read: Vec::new(), handle };
    while let Some(message) = connection.next_message().await? {
        let Some(answer) = connection.answer(message).await? else { return Ok(()) };
        connection.write(&answer).await?;
    }
    Ok(())
}

struct Connection<'a> {
    stream: TcpStream,
    /// Received and not yet decoded.
    read: Vec<u8>,
    handle: &'a Handle,
}

impl Connection<'_> {
    /// The next whole message; `None` when the peer has closed.
    async fn next_message(&mut self) -> Result<Option<Message>, ControlError> {
        timeout(FRAME_TIMEOUT, self.read_message()).await.map_err(|_| ControlError::Slow)?
    }

    async fn read_message(&mut self) -> Result<Option<Message>, ControlError> {
        loop {
            if let Some((message, consumed)) = codec::decode(&self.read)? {
                self.read.drain(..consumed);
                return Ok(Some(message));
            }
            if !self.receive().await? {
                return Ok(None);
            }
        }
    }

    /// Reads more, however little; false at the end. Nothing is lost when it is cancelled.
    async fn receive(&mut self) -> io::Result<bool> {
        self.read.reserve(READ_CHUNK);
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    /// What to answer; `None`: the peer is gone.
    async fn answer(&mut self, message: Message) -> Result<Option<Message>, ControlError> {
        match message {
            Message::Poll(poll) => self.request(Request::Poll(poll)).await,
            Message::Dead(life) => self.request(Request::Dead(life)).await,
            Message::Release(life) => self.request(Request::Release(life)).await,
            Message::Dirty(dirty) => self.request(Request::Dirty(dirty)).await,
            Message::MapGet(since) => Ok(Some(self.map_since(since).await?)),
            Message::Reply(_) | Message::Done | Message::Refused(_) | Message::MapIs(_) => {
                Err(ControlError::NotARequest)
            }
        }
    }

    async fn map_since(&self, since: MapVersion) -> Result<Message, Stopping> {
        let text = self.handle.look(move |driver, _| {
            driver.counters.map_requests += 1;
            driver.machine.map().encode_since(since)
        });
        Ok(Message::MapIs(text.await?))
    }

    async fn request(&mut self, request: Request) -> Result<Option<Message>, ControlError> {
        let mut waiting = self.handle.request(request).await?;
        loop {
            let may_read = self.read.len() < READ_AHEAD_MAX;
            tokio::select! {
                answer = &mut waiting.answer => return Ok(Some(message_of(answer.map_err(|_| Stopping)?))),
                received = self.receive(), if may_read => {
                    if !matches!(received, Ok(true)) {
                        self.handle.give_up(waiting).await;
                        return received.map(|_| None).map_err(ControlError::Io);
                    }
                }
            }
        }
    }

    async fn write(&mut self, message: &Message) -> Result<(), ControlError> {
        let mut frame = Vec::new();
        codec::encode(message, &mut frame);
        timeout(WRITE_TIMEOUT, self.stream.write_all(&frame))
            .await
            .map_err(|_| ControlError::NotReading)??;
        Ok(())
    }
}

fn message_of(answer: Answer) -> Message {
    match answer {
        Answer::Reply(Ok(reply)) => Message::Reply(*reply),
        Answer::Done(Ok(())) => Message::Done,
        Answer::Reply(Err(refusal)) | Answer::Done(Err(refusal)) => Message::Refused(advice(&refusal)),
    }
}

/// A refusal with what to do about it, where the machine cannot know that.
fn advice(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoMember(node) => format!(
            "{refusal} (doled ctl add-node {node} HOST:PORT), or start the manager so that it lets \
             unknown nodes in (--auto-add)"
        ),
        Refusal::Cluster { .. } => format!(
            "{refusal}: name the right manager, or, if the old cluster is gone, restart this one to join anew"
        ),
        _ => refusal.to_string(),
    }
}
