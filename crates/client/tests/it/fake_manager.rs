//! A manager that the test plays: it hands out one map, and answers dirty reports as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use proto::control::{Dirty, Message, codec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What becomes of a dirty report.
pub(crate) enum Said {
    Done,
    Refused,
    /// The connection is ended instead.
    Nothing,
}

pub(crate) struct FakeManager {
    pub(crate) address: String,
    /// The dirty reports, as they come.
    pub(crate) reports: mpsc::UnboundedReceiver<Dirty>,
}

impl FakeManager {
    /// Answers reports with `said` in turn, and `Done` after those.
    pub(crate) async fn start(map: String, said: impl IntoIterator<Item = Said>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let said: Arc<Mutex<VecDeque<Said>>> = Arc::new(Mutex::new(said.into_iter().collect()));
        let (sender, reports) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, map.clone(), Arc::clone(&said), sender.clone()));
            }
        });
        Self { address, reports }
    }
}

async fn serve(
    mut stream: TcpStream,
    map: String,
    said: Arc<Mutex<VecDeque<Said>>>,
    reports: mpsc::UnboundedSender<Dirty>,
) {
    let mut input = Vec::new();
    loop {
        while let Some((message, consumed)) = codec::decode(&input).unwrap() {
            input.drain(..consumed);
            let answer = match message {
                Message::MapGet(known) if known.0 > 0 => Message::MapIs(Vec::new()),
                Message::MapGet(_) => Message::MapIs(map.clone().into_bytes()),
                Message::Dirty(dirty) => {
                    // The test may have seen enough of them.
                    let _ = reports.send(dirty);
                    match said.lock().unwrap().pop_front().unwrap_or(Said::Done) {
                        Said::Done => Message::Done,
                        Said::Refused => Message::Refused("not the leader".to_owned()),
                        Said::Nothing => return,
                    }
                }
                other => panic!("a client does not send {other:?}"),
            };
            let mut frame = Vec::new();
            codec::encode(&answer, &mut frame);
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            return;
        }
    }
}
