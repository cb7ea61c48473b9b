//! The task of one socket: bytes from the driver to the server and back. It knows nothing of what they say.
//!
//! Reading goes on while a write is stuck, so that a server that must get rid of its replies first cannot block us.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::driver::{Closed, Event, LinkId};
use crate::limits::READ_CHUNK;

/// The driver's end of a connection's task. Dropping it ends the task and closes the socket.
#[derive(Debug)]
pub(crate) struct Connection {
    writes: mpsc::Sender<Vec<u8>>,
    task: tokio::task::AbortHandle,
}

impl Connection {
    /// Connects to `address` (`host:port`) and goes on until either side ends it.
    pub(crate) fn open(id: LinkId, address: String, events: mpsc::Sender<Event>) -> Self {
        let (writes, to_write) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let closed = match run(id, &address, to_write, &events).await {
                Ok(closed) => closed,
                Err(_) => Closed::Broken,
            };
            // The driver may be gone already.
            let _ = events.send(Event::Closed(id, closed)).await;
        });
        Self { writes, task: task.abort_handle() }
    }

    /// Hands bytes over; the driver waits for [`Event::Written`] before it hands over more.
    pub(crate) fn write(&self, bytes: Vec<u8>) {
        // There is room for one, and one is out at most. A task that has ended says so itself.
        let _ = self.writes.try_send(bytes);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    id: LinkId,
    address: &str,
    writes: mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<Event>,
) -> io::Result<Closed> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A failure means that the driver is gone; the next await ends this task.
    let _ = events.send(Event::Connected(id)).await;
    let (reader, writer) = stream.into_split();
    tokio::select! {
        ended = read(id, reader, events) => ended,
        failed = write(id, writer, writes, events) => failed,
    }
}

async fn read(id: LinkId, mut reader: OwnedReadHalf, events: &mpsc::Sender<Event>) -> io::Result<Closed> {
    let mut chunk = vec![0; READ_CHUNK];
    loop {
        let n = reader.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..n).filter(|bytes| !bytes.is_empty()) else { return Ok(Closed::Ended) };
        let _ = events.send(Event::Received(id, bytes.to_vec())).await;
    }
}

async fn write(
    id: LinkId,
    mut writer: OwnedWriteHalf,
    mut writes: mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<Event>,
) -> io::Result<Closed> {
    while let Some(bytes) = writes.recv().await {
        writer.write_all(&bytes).await?;
        let _ = events.send(Event::Written(id, bytes)).await;
    }
    Ok(Closed::Ended)
}
