//! Questions to the managers: the map when no node answers, and dirty reports. Both are rare, so each has a
//! connection of its own for as long as it lasts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proto::control::codec::{self, DecodeError};
use proto::control::{Dirty, Message};
use proto::limits::CONTROL_FRAME_LEN_MAX;
use proto::{Bucket, ClusterId, MapVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::driver::{Event, ReportId};
use crate::limits::{FENCE_TIMEOUT, MANAGER_TIMEOUT, READ_CHUNK, REPORT_PAUSE_MAX, REPORT_PAUSE_MIN};

/// The managers' addresses.
pub(crate) type Managers = Arc<[String]>;

/// Why a manager gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the connection was ended before the answer")]
    Ended,
    #[error("an answer to something else")]
    Unexpected,
    #[error("{0}")]
    Refused(String),
}

/// The first map that a manager gives, empty if none is newer than `version`; else what the last of them said.
pub(crate) async fn ask_map(managers: &Managers, version: MapVersion) -> Result<Vec<u8>, AskError> {
    let mut last = AskError::Ended;
    for address in managers.iter() {
        match ask(address, &Message::MapGet(version), MANAGER_TIMEOUT).await {
            Ok(Message::MapIs(text)) => return Ok(text),
            Ok(_) => last = AskError::Unexpected,
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reports a bucket dirty until a manager acknowledges it, then tells the driver; gives up when the client is gone.
pub(crate) async fn report(
    managers: Managers,
    report: ReportId,
    dirty: (ClusterId, Bucket),
    events: mpsc::Sender<Event>,
) {
    let message = Message::Dirty(Dirty { cluster: dirty.0, bucket: dirty.1 });
    let mut pause = REPORT_PAUSE_MIN;
    while !events.is_closed() {
        for address in managers.iter() {
            if matches!(ask(address, &message, FENCE_TIMEOUT).await, Ok(Message::Done)) {
                // When the driver is gone nobody waits any more.
                let _ = events.send(Event::Reported(report)).await;
                return;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(REPORT_PAUSE_MAX);
    }
}

async fn ask(address: &str, message: &Message, within: Duration) -> Result<Message, AskError> {
    match timeout(within, ask_once(address, message)).await {
        Ok(Ok(Message::Refused(why))) => Err(AskError::Refused(why)),
        Ok(answer) => answer,
        Err(_) => Err(AskError::Timeout(within)),
    }
}

async fn ask_once(address: &str, message: &Message) -> Result<Message, AskError> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut frame = Vec::new();
    codec::encode(message, &mut frame);
    stream.write_all(&frame).await?;
    let mut read = Vec::new();
    // Decode refuses what is longer than a frame may be, so this is bounded.
    while read.len() <= CONTROL_FRAME_LEN_MAX + READ_CHUNK {
        if let Some((message, _)) = codec::decode(&read)? {
            return Ok(message);
        }
        read.reserve(READ_CHUNK);
        if stream.read_buf(&mut read).await? == 0 {
            return Err(AskError::Ended);
        }
    }
    Err(AskError::Unexpected)
}
