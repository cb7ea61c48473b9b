//! flush and stat.

use proto::binary::{Reply, Request, Status};
use proto::reply::text;
use proto::tokens::Tokens;

use super::Refusal;
use crate::engine::Context;
use crate::session::admin::flush_at;
use crate::stats;

pub(super) fn flush(cx: &Context<'_>, exptime: u32) -> Result<u64, Refusal> {
    if !cx.engine.options.flush_enabled {
        return Err(Status::AuthFailure.into());
    }
    flush_at(cx, i64::from(exptime));
    Ok(0)
}

/// One reply for each line of the text protocol's `stats`, and one with neither name nor value.
pub(super) fn stat(cx: &Context<'_>, request: &Request<'_>, out: &mut Vec<u8>) {
    let mut lines = Vec::new();
    stats::write(cx, Tokens::new(request.key), &mut lines);
    if lines == text::ERROR {
        return Reply::error(Status::NotFound).put(request.echo, out);
    }
    for line in lines.split(|&byte| byte == b'\n') {
        if let Some((key, value)) = name_and_value(line) {
            Reply { key, value, ..Reply::default() }.put(request.echo, out);
        }
    }
    Reply::done(0).put(request.echo, out);
}

/// Of a line `STAT <name> <value>`.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_prefix(b"STAT ")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let space = line.iter().position(|&byte| byte == b' ')?;
    let (name, value) = line.split_at_checked(space)?;
    Some((name, value.get(1..)?))
}
