//! The health of one backend as one client sees it: up, suspect, down.
//!
//! A refused or broken connection marks it down at once; silence does after several time-outs in a row. A down
//! backend is not asked, so its keys miss at once, and is probed after pauses that double, with jitter. One good
//! answer makes it up; if it goes down again soon, the pauses go on where they were.

use std::time::Duration;

use stdx::{Instant, Prng};

use crate::options::RouteOptions;

/// What a client thinks of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Answers, or has not been asked yet.
    Up,
    /// Was silent lately; still asked.
    Suspect,
    /// Not asked; probed now and then.
    Down,
}

/// The health of one backend.
#[derive(Clone, Debug)]
pub struct Health {
    state: HealthState,
    /// Time-outs in a row.
    timeouts: u32,
    /// Of the next probe after this one.
    pause: Duration,
    /// When a down backend may be probed.
    probe_at: Instant,
    /// When it last became up.
    up_since: Instant,
    /// Times it went down.
    falls: u64,
}

impl Health {
    /// A backend that was never asked counts as up.
    pub fn new(options: &RouteOptions) -> Self {
        Self {
            state: HealthState::Up,
            timeouts: 0,
            pause: options.probe_pause_min,
            probe_at: Instant::ZERO,
            up_since: Instant::ZERO,
            falls: 0,
        }
    }

    /// The state.
    pub fn state(&self) -> HealthState {
        self.state
    }

    /// How often it went down.
    pub fn falls(&self) -> u64 {
        self.falls
    }

    /// It answered.
    pub fn handle_answer(&mut self, now: Instant, options: &RouteOptions) {
        if self.state == HealthState::Down {
            self.up_since = now;
        } else if now.since(self.up_since) > options.probe_pause_max {
            // It has stood long enough for its earlier falls to be forgotten.
            self.pause = options.probe_pause_min;
        }
        self.state = HealthState::Up;
        self.timeouts = 0;
    }

    /// It was silent for a whole time-out.
    pub fn handle_timeout(&mut self, now: Instant, options: &RouteOptions, prng: &mut Prng) {
        self.timeouts += 1;
        if self.timeouts >= options.timeouts_until_down {
            self.fall(now, options, prng);
        } else if self.state == HealthState::Up {
            self.state = HealthState::Suspect;
        }
    }

    /// A connection was refused, or broke.
    pub fn handle_broken(&mut self, now: Instant, options: &RouteOptions, prng: &mut Prng) {
        self.fall(now, options, prng);
    }

    /// When a down backend wants to be probed; `None` while it is not down.
    pub fn probe_at(&self) -> Option<Instant> {
        (self.state == HealthState::Down).then_some(self.probe_at)
    }

    /// A probe has been started: the next one is due after its pause, whatever becomes of this.
    pub fn handle_probe_sent(&mut self, now: Instant, options: &RouteOptions, prng: &mut Prng) {
        self.schedule(now, options, prng);
    }

    /// There is reason to think that it is back: probe it soon, however long the pause has become.
    pub fn handle_hint(&mut self, now: Instant, options: &RouteOptions, prng: &mut Prng) {
        let soon = Duration::from_nanos(prng.below(options.probe_pause_min.as_nanos() as u64 + 1));
        self.probe_at = self.probe_at.min(now + soon);
    }

    fn fall(&mut self, now: Instant, options: &RouteOptions, prng: &mut Prng) {
        if self.state == HealthState::Down {
            return;
        }
        self.state = HealthState::Down;
        self.falls += 1;
        self.schedule(now, options, prng);
    }

    /// Half of the pause is jitter, so that clients do not probe in step.
    fn schedule(&mut self, now: Instant, options: &RouteOptions, prng: &mut Prng) {
        let half = self.pause / 2;
        let jitter = Duration::from_nanos(prng.below(half.as_nanos() as u64 + 1));
        self.probe_at = now + half + jitter;
        self.pause = (self.pause * 2).min(options.probe_pause_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (RouteOptions, Health, Prng) {
        let options = RouteOptions::default();
        (options, Health::new(&options), Prng::new(1))
    }

    #[test]
    fn a_broken_connection_is_down_at_once_and_silence_after_three() {
        let (options, mut health, mut prng) = setup();
        let now = Instant::from_millis(1000);
        health.handle_timeout(now, &options, &mut prng);
        assert_eq!(health.state(), HealthState::Suspect);
        health.handle_answer(now, &options);
        assert_eq!(health.state(), HealthState::Up);
        for _ in 0..3 {
            health.handle_timeout(now, &options, &mut prng);
        }
        assert_eq!(health.state(), HealthState::Down);
        let (_, mut health, _) = setup();
        health.handle_broken(now, &options, &mut prng);
        assert_eq!(health.state(), HealthState::Down);
    }

    #[test]
    fn probes_back_off_and_flapping_does_not_reset_them() {
        let (options, mut health, mut prng) = setup();
        let mut now = Instant::from_millis(1000);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            health.handle_broken(now, &options, &mut prng);
            let at = health.probe_at().expect("down");
            pauses.push(at.since(now));
            now = at;
            health.handle_answer(now, &options);
        }
        assert!(pauses[0] <= options.probe_pause_min);
        assert!(pauses[9] >= options.probe_pause_max / 2, "{pauses:?}");
        now = now + options.probe_pause_max * 2;
        health.handle_answer(now, &options);
        health.handle_broken(now, &options, &mut prng);
        assert!(health.probe_at().expect("down").since(now) <= options.probe_pause_min);
    }
}
