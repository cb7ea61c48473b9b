//! Commands about the server: `flush_all`, `stats`, `verbosity`, `cache_memlimit`, `shutdown`, `config get`.

use super::{Refusal, Request, is_noreply, needed};
use crate::reply::text;
use crate::tokens::{self, Tokens, unsigned_plus};

/// `flush_all [exptime] [noreply]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushAll {
    /// When, as an exptime on the wire; 0 is at once.
    pub exptime: i64,
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

pub(super) fn decode_flush_all(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let noreply = is_noreply(tokens);
    let exptime = match tokens.next() {
        None | Some(b"noreply") => 0,
        Some(word) => tokens::exptime(word).ok_or(Refusal::unless(noreply, text::INVALID_EXPTIME))?,
    };
    Ok(Request::FlushAll(FlushAll { exptime, noreply }))
}

/// `stats [what …]`; always answered.
#[derive(Clone, Copy, Debug)]
pub struct Stats<'a> {
    /// The words behind `stats`; none asks for the general ones.
    pub args: Tokens<'a>,
}

impl<'a> Stats<'a> {
    pub(super) const fn new(args: Tokens<'a>) -> Self {
        Self { args }
    }
}

impl PartialEq for Stats<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.args.eq(other.args)
    }
}

impl Eq for Stats<'_> {}

/// `watch [kind …]`; always answered.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The words behind `watch`, not yet checked.
    pub kinds: Tokens<'a>,
}

impl PartialEq for Watch<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.kinds.eq(other.kinds)
    }
}

impl Eq for Watch<'_> {}

/// `verbosity <level> [noreply]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbosity {
    /// Higher says more; memcached takes everything above 2 as 2.
    pub level: u64,
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

pub(super) fn decode_verbosity(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let noreply = is_noreply(tokens);
    let level = needed(&mut tokens)?;
    let level = unsigned_plus(level).ok_or(Refusal::unless(noreply, text::BAD_FORMAT))?;
    Ok(Request::Verbosity(Verbosity { level, noreply }))
}

/// `cache_memlimit <megabytes> [noreply]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMemlimit {
    /// The new limit in MiB, not yet checked against anything.
    pub limit_mb: u64,
    /// No reply is wanted, errors included.
    pub noreply: bool,
}

pub(super) fn decode_cache_memlimit(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let noreply = is_noreply(tokens);
    let limit_mb = tokens.next().ok_or(Refusal::line(text::ERROR))?;
    let limit_mb = unsigned_plus(limit_mb).ok_or(Refusal::unless(noreply, text::ERROR))?;
    Ok(Request::CacheMemlimit(CacheMemlimit { limit_mb, noreply }))
}

/// `shutdown [graceful]`; never answered when it is allowed, the connection just ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How.
    pub mode: ShutdownMode,
}

/// How to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// At once.
    Now,
    /// After saving what is to be saved.
    Graceful,
    /// Neither: answered [`text::INVALID_SHUTDOWN_MODE`], but only where shutdown is enabled at all.
    Unknown,
}

pub(super) fn decode_shutdown(mut tokens: Tokens<'_>) -> Request<'_> {
    let mode = match (tokens.next(), tokens.next()) {
        (None, _) => ShutdownMode::Now,
        (Some(b"graceful"), None) => ShutdownMode::Graceful,
        _ => ShutdownMode::Unknown,
    };
    Request::Shutdown(Shutdown { mode })
}

/// `debugtime <seconds>`; memcached has it in builds for its own tests.
pub(super) fn decode_debug_time(mut tokens: Tokens<'_>) -> Request<'_> {
    let seconds = tokens.next().and_then(tokens::unsigned);
    Request::DebugTime(seconds.filter(|_| tokens.next().is_none()))
}

/// `config get <what>`; hosted memcacheds also have `config set` for their operators.
pub(super) fn decode_config(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    match (tokens.next(), tokens.next()) {
        (Some(b"get"), Some(what)) => Ok(Request::ConfigGet(what)),
        _ => Err(Refusal::line(text::ERROR)),
    }
}
