//! The one listener: whoever starts with a control frame's byte speaks control, everybody else HTTP.
//!
//! One task accepts, one serves each connection. Invariant: at most `CONNECTIONS_MAX` at a time.

use std::sync::Arc;

use proto::control::codec::FRAME_START;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::handle::Handle;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, FIRST_BYTE_TIMEOUT};
use crate::log::Verbosity::{Everything, Quiet};
use crate::log::{Log, quoted};
use crate::{control, http};

/// Accepts until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, handle: Handle, facts: http::Facts, log: Log) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let router = http::router(handle.clone(), facts);
    // The semaphore is never closed, so this ends with the task only.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, handle.clone(), router.clone(), log.clone(), place));
            }
            Err(error) => {
                log.line(Quiet, "accept-failed", format_args!("reason={}", quoted(&error)));
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    handle: Handle,
    router: axum::Router,
    log: Log,
    place: OwnedSemaphorePermit,
) {
    let peer = stream.peer_addr().map_or_else(|_| "-".to_owned(), |peer| peer.to_string());
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    let ended = match timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [FRAME_START] => {
            control::serve(stream, &handle).await.map_err(|e| e.to_string())
        }
        Ok(Ok(1)) => http::serve(stream, router).await.map_err(|e| e.to_string()),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("silent since it was opened".to_owned()),
    };
    if let Err(reason) = ended {
        log.line(Everything, "connection-ended", format_args!("peer={peer} reason={}", quoted(&reason)));
    }
    drop(place);
}
