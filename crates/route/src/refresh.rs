//! When to ask for a newer map: coalesced, jittered, never more than one question at a time.

use std::time::Duration;

use stdx::{Instant, Prng};

use crate::limits::{MAP_UNCONFIRMED_MAX, REFRESH_INTERVAL, REFRESH_PAUSE_MAX, REFRESH_PAUSE_MIN};

/// The timer of map questions.
#[derive(Clone, Debug)]
pub struct Refresh {
    asked_at: Option<Instant>,
    due: Instant,
    /// Not to be asked before, whoever needs it.
    not_before: Instant,
    /// Somebody has needed a newer map since the last question was asked.
    needed: bool,
    /// The last question was asked because somebody needed it.
    was_needed: bool,
    /// Least time to the next question; doubles while a newer map is needed and there is none.
    pause: Duration,
    /// When the last question was asked that somebody answered, with a newer map or with the word that there is none.
    confirmed_at: Option<Instant>,
}

impl Refresh {
    /// Due at once.
    pub fn new() -> Self {
        Self {
            asked_at: None,
            due: Instant::ZERO,
            not_before: Instant::ZERO,
            needed: false,
            was_needed: false,
            pause: REFRESH_PAUSE_MIN,
            confirmed_at: None,
        }
    }

    /// Somebody needs a newer map: ask soon, whoever else needs it too.
    pub fn handle_need(&mut self, now: Instant, prng: &mut Prng) {
        if self.needed {
            return;
        }
        self.needed = true;
        self.due = self.due.min(now.max(self.not_before) + jitter(REFRESH_PAUSE_MIN, prng));
    }

    /// When to ask, unless a question is out.
    pub fn due(&self) -> Option<Instant> {
        self.asked_at.is_none().then_some(self.due)
    }

    /// A question is out.
    pub fn handle_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
        self.was_needed = std::mem::take(&mut self.needed);
    }

    /// It was answered: there is nothing newer. That held when the question was asked; the answer may have lain in a
    /// buffer of ours for long, while we were suspended.
    pub fn handle_answered(&mut self, now: Instant, prng: &mut Prng) {
        self.confirmed_at = Some(self.asked_at.unwrap_or(now));
        if !self.was_needed {
            self.pause = REFRESH_PAUSE_MIN;
        }
        self.settle(now, REFRESH_INTERVAL / 2, prng);
    }

    /// It was answered with a newer map, which may be what was needed.
    pub fn handle_newer(&mut self, now: Instant, prng: &mut Prng) {
        self.was_needed = false;
        self.handle_answered(now, prng);
    }

    /// It was not answered: ask somebody else after a pause.
    pub fn handle_failed(&mut self, now: Instant, prng: &mut Prng) {
        self.was_needed = true;
        self.settle(now, self.pause, prng);
    }

    /// True while the map may be trusted (T2: a client that was suspended must not trust what it knew).
    pub fn is_confirmed(&self, now: Instant) -> bool {
        self.confirmed_at.is_some_and(|at| now.since(at) < MAP_UNCONFIRMED_MAX)
    }

    /// The question is over. The next is due after once to twice `interval`, sooner if somebody needs it, but not
    /// within the pause.
    fn settle(&mut self, now: Instant, interval: Duration, prng: &mut Prng) {
        self.asked_at = None;
        self.not_before = now + self.pause;
        let interval = if self.needed { self.pause } else { interval };
        self.due = now + interval + jitter(interval, prng);
        if std::mem::take(&mut self.was_needed) {
            self.pause = (self.pause * 2).min(REFRESH_PAUSE_MAX);
        }
    }
}

fn jitter(most: Duration, prng: &mut Prng) -> Duration {
    Duration::from_nanos(prng.below(most.as_nanos() as u64 + 1))
}

impl Default for Refresh {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_coalesced_and_answers_confirm() {
        let (mut refresh, mut prng) = (Refresh::new(), Prng::new(1));
        let now = Instant::from_millis(50_000);
        assert!(!refresh.is_confirmed(now));
        refresh.handle_asked(now);
        assert_eq!(refresh.due(), None);
        refresh.handle_answered(now, &mut prng);
        assert!(refresh.is_confirmed(now));
        let quiet = refresh.due().expect("no question is out").since(now);
        assert!(quiet >= REFRESH_INTERVAL / 2);
        refresh.handle_need(now, &mut prng);
        refresh.handle_need(now, &mut prng);
        assert!(refresh.due().expect("no question is out").since(now) <= REFRESH_PAUSE_MIN * 2);
        assert!(refresh.due().expect("no question is out") >= now + REFRESH_PAUSE_MIN, "needed or not");
        assert!(!refresh.is_confirmed(now + MAP_UNCONFIRMED_MAX));
    }
}
