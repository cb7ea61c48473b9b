//! When to ask for a newer map: coalesced, jittered, never more than one question at a time.

use stdx::{Instant, Prng};

use crate::limits::{MAP_UNCONFIRMED_MAX, REFRESH_INTERVAL, REFRESH_PAUSE_MIN};

/// The timer of map questions.
#[derive(Clone, Debug)]
pub struct Refresh {
    asked_at: Option<Instant>,
    due: Instant,
    /// When somebody last answered, with a newer map or with the word that there is none.
    confirmed_at: Option<Instant>,
}

impl Refresh {
    /// Due at once.
    pub fn new() -> Self {
        Self { asked_at: None, due: Instant::ZERO, confirmed_at: None }
    }

    /// Somebody needs a newer map: ask soon, whoever else needs it too.
    pub fn handle_need(&mut self, now: Instant, prng: &mut Prng) {
        let pause = REFRESH_PAUSE_MIN.as_nanos() as u64;
        let soon = Instant(now.0 + prng.below(pause));
        self.due = self.due.min(soon);
    }

    /// When to ask, unless a question is out.
    pub fn due(&self) -> Option<Instant> {
        self.asked_at.is_none().then_some(self.due)
    }

    /// A question is out.
    pub fn handle_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// It was answered.
    pub fn handle_answered(&mut self, now: Instant, prng: &mut Prng) {
        self.confirmed_at = Some(now);
        self.settle(now, prng, REFRESH_INTERVAL.as_nanos() as u64);
    }

    /// It was not: ask somebody else after a pause.
    pub fn handle_failed(&mut self, now: Instant, prng: &mut Prng) {
        self.settle(now, prng, 2 * REFRESH_PAUSE_MIN.as_nanos() as u64);
    }

    /// True while the map may be trusted (T2: a client that was suspended must not trust what it knew).
    pub fn is_confirmed(&self, now: Instant) -> bool {
        self.confirmed_at.is_some_and(|at| now.since(at) < MAP_UNCONFIRMED_MAX)
    }

    fn settle(&mut self, now: Instant, prng: &mut Prng, pause_ns: u64) {
        self.asked_at = None;
        self.due = Instant(now.0 + pause_ns / 2 + prng.below(pause_ns / 2 + 1));
    }
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
        assert!(refresh.due().expect("no question is out").since(now) <= REFRESH_PAUSE_MIN);
        assert!(!refresh.is_confirmed(now + MAP_UNCONFIRMED_MAX));
    }
}
