//! get, gat and touch in their forms with the key and without a word.

use proto::binary::{Echo, Reply, Request, Status};
use store::ItemView;

use crate::engine::{Context, mutation};
use crate::exptime::to_store_ms;
use crate::session::get::{count_get, count_touch};
use crate::watch::events;

pub(super) fn get(cx: &Context<'_>, request: &Request<'_>, with_key: bool, out: &mut Vec<u8>) {
    cx.counters.cmd_get.count();
    let found = cx.engine.store.get(mutation::hashed(request.key), cx.now.store_ms, true, |item| {
        put_item(request.echo, with_key, &item, out);
        item.value.len()
    });
    events::fetch(cx, request.key, found);
    count_get(cx, found.err());
    if found.is_err() {
        put_miss(request, with_key, out);
    }
}

pub(super) fn gat(cx: &Context<'_>, request: &Request<'_>, with_key: bool, exptime: u32, out: &mut Vec<u8>) {
    let found = touch_item(cx, request, exptime, true, |item| {
        put_item(request.echo, with_key, &item, out);
    });
    if !found {
        put_miss(request, with_key, out);
    }
}

pub(super) fn touch(cx: &Context<'_>, request: &Request<'_>, exptime: u32, out: &mut Vec<u8>) {
    let found = touch_item(cx, request, exptime, false, |item| {
        Reply { extras: &item.flags.to_be_bytes(), ..Reply::done(item.cas) }.put(request.echo, out);
    });
    if !found {
        put_miss(request, false, out);
    }
}

/// Sets the exptime of an item and hands it to `read`; false when there is none.
fn touch_item(
    cx: &Context<'_>,
    request: &Request<'_>,
    exptime: u32,
    is_fetch: bool,
    read: impl FnOnce(ItemView<'_>),
) -> bool {
    cx.counters.cmd_touch.count();
    let now_ms = cx.now.store_ms;
    let exptime_ms = to_store_ms(i64::from(exptime), &cx.now);
    let found = super::change(cx, request, |guard, key| {
        events::look_up(cx, guard, key);
        read(guard.find(key, now_ms).map_err(|_| Status::NotFound)?);
        if is_fetch {
            guard.bump(key, now_ms);
        }
        guard.set_exptime(key, now_ms, exptime_ms).map_err(|_| Status::NotFound.into())
    });
    count_touch(cx, found.is_ok());
    found.is_ok()
}

#[inline]
fn put_item(echo: Echo, with_key: bool, item: &ItemView<'_>, out: &mut Vec<u8>) {
    let key = if with_key { item.key } else { &[] };
    let extras = &item.flags.to_be_bytes();
    Reply { status: Status::Ok, cas: item.cas, extras, key, value: item.value }.put(echo, out);
}

/// A miss says its key where a hit would, and else its text.
fn put_miss(request: &Request<'_>, with_key: bool, out: &mut Vec<u8>) {
    if request.quiet {
        return;
    }
    let reply = if with_key {
        Reply { key: request.key, value: &[], ..Reply::error(Status::NotFound) }
    } else {
        Reply::error(Status::NotFound)
    };
    reply.put(request.echo, out);
}
