//! epoll, level-triggered: a connection is read once per event and the kernel says again what is left.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::limits::EVENTS_PER_TURN;

/// What is asked for; errors and hang-ups are always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// As given to `add`.
    pub(crate) token: u64,
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// The stream failed or both sides ended.
    pub(crate) broken: bool,
}

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Ready>,
}

impl Poller {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_PER_TURN) })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags(interest))
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> rustix::io::Result<()> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags(interest))
    }

    /// Waits for events or the time-out (`None`: for ever) and returns how many came; an interrupted wait is
    /// no events.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> rustix::io::Result<usize> {
        let timeout = timeout.map(timespec);
        let mut raw = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS_PER_TURN];
        let count = match epoll::wait(&self.epoll, &mut raw, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error),
        };
        self.events.clear();
        self.events.extend(raw.iter().take(count).map(ready));
        Ok(count)
    }

    /// The event at `index`, below what `wait` returned.
    pub(crate) fn event(&self, index: usize) -> Option<Ready> {
        self.events.get(index).copied()
    }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.read);
    flags.set(EventFlags::OUT, interest.write);
    flags
}

fn ready(event: &Event) -> Ready {
    let Event { flags, data } = *event;
    Ready {
        token: data.u64(),
        read: flags.contains(EventFlags::IN),
        write: flags.contains(EventFlags::OUT),
        broken: flags.intersects(EventFlags::ERR | EventFlags::HUP),
    }
}

/// Rounded up to whole milliseconds' worth of nanoseconds never: the kernel takes nanoseconds.
fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
