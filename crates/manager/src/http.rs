//! The HTTP API: JSON under `/v1/`, Prometheus text at `/metrics`, a page that points to them at `/`.
//!
//! Handlers look at the machine through the driver, between two of its events, or put a command to it; they
//! hold no state. Ids, generations and versions are decimal strings in JSON: they are 64-bit numbers, which
//! many JSON readers round. Errors are `{"error": "..."}`.

mod buckets;
mod metrics;
mod nodes;
mod status;

use std::fmt;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cluster::manager::{Command, Refusal};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::handle::{Answer, Handle, Request, Stopping};
use crate::limits::{
    COMMAND_TIMEOUT, HTTP_BODY_BYTES_MAX, HTTP_CONNECTION_TIMEOUT, HTTP_HEADER_BYTES_MAX,
    HTTP_HEADER_TIMEOUT, WRITE_TIMEOUT,
};

/// What the API tells besides the machine's state.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Where the state is.
    pub(crate) store: String,
    /// L.
    pub(crate) lease: Duration,
}

/// What every handler gets.
#[derive(Clone, Debug)]
struct Api {
    handle: Handle,
    facts: Facts,
}

/// All routes.
pub(crate) fn router(handle: Handle, facts: Facts) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/map", get(buckets::map))
        .route("/v1/buckets", get(buckets::buckets))
        .route("/v1/nodes", get(nodes::list).post(nodes::add))
        .route("/v1/nodes/{name}", delete(nodes::remove))
        .route("/v1/nodes/{name}/drain", post(nodes::drain))
        .route("/v1/nodes/{name}/undrain", post(nodes::undrain))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .with_state(Api { handle, facts })
}

/// Serves one connection until it ends, or has lasted long enough.
pub(crate) async fn serve(stream: TcpStream, router: Router) -> Result<(), hyper::Error> {
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEADER_TIMEOUT)
            .max_buf_size(HTTP_HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    if let Ok(ended) = timeout(HTTP_CONNECTION_TIMEOUT, connection.as_mut()).await {
        return ended;
    }
    // The request that is being served is finished, if its client reads the answer.
    connection.as_mut().graceful_shutdown();
    timeout(WRITE_TIMEOUT, connection).await.unwrap_or(Ok(()))
}

/// An answer that is no success.
#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    /// What is wrong, and what to do.
    text: String,
}

impl ApiError {
    fn new(status: StatusCode, text: impl fmt::Display) -> Self {
        Self { status, text: text.to_string() }
    }

    fn bad_request(text: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.text }))).into_response()
    }
}

impl From<Stopping> for ApiError {
    fn from(_: Stopping) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the manager is stopping; ask again when it is back")
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NoMember(_) => StatusCode::NOT_FOUND,
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::Busy(_) | Refusal::NotLeading(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, refusal)
    }
}

impl Api {
    /// Puts a command to the machine; `Ok` when it is durable.
    async fn command(&self, command: Command) -> Result<(), ApiError> {
        let waiting = self.handle.request(Request::Command(command)).await?;
        let Ok(answer) = timeout(COMMAND_TIMEOUT, waiting.answer).await else {
            let text = "not durable yet, and it may still be done: look at /v1/nodes before asking again";
            return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, text));
        };
        match answer.map_err(|_| Stopping)? {
            Answer::Done(done) => Ok(done?),
            Answer::Reply(_) => {
                Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "a command was answered as a poll"))
            }
        }
    }
}

/// The query string as a struct; what it does not know or cannot read is answered 400.
struct Query<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                Err(ApiError::bad_request(format_args!("the query string: {}", rejection.body_text())))
            }
        }
    }
}

async fn unknown_path() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no such path: see / for those that there are")
}

async fn unknown_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take that method: see / for what it takes",
    )
}

async fn page() -> Html<&'static str> {
    Html(include_str!("http/page.html"))
}
