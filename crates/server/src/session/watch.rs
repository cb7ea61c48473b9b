//! `watch`: from here on the connection is told what others do, and nothing that it sends is read.

use proto::reply::text;
use proto::request::Watch;

use super::{Session, State, answer};
use crate::engine::Context;
use crate::watch::Kinds;

impl Session {
    /// The answer to a request that may be is its loop's, which knows whether there is room for one more watcher.
    pub(super) fn watch(&mut self, cx: &Context<'_>, watch: Watch<'_>, out: &mut Vec<u8>) {
        // There is nothing to be watched under that name, and no reply to who asks so.
        let noreply = watch.kinds.last() == Some(b"noreply");
        if !cx.engine.options.watch_enabled {
            return answer(out, noreply, text::WATCH_NOT_ALLOWED);
        }
        let mut words = watch.kinds.map(Kinds::named).peekable();
        let kinds = match words.peek() {
            None => Some(Kinds::FETCHERS),
            Some(_) => words.try_fold(Kinds::NONE, |all, kind| Some(all.with(kind?))),
        };
        match kinds {
            None => answer(out, noreply, text::ERROR),
            Some(kinds) => {
                self.watch = Some(kinds);
                self.state = State::Watching;
            }
        }
    }

    /// What the connection wants to watch from now on, once.
    pub(crate) fn take_watch(&mut self) -> Option<Kinds> {
        self.watch.take()
    }

    /// It may not: it goes on as before.
    pub(crate) fn stop_watching(&mut self) {
        self.state = State::Line;
    }

    /// The client ended the connection in words.
    pub(crate) fn has_quit(&self) -> bool {
        self.has_quit
    }
}
