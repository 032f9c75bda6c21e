//! How often something expensive is done: not before its interval, and for no more than its share of a core, unless it would
//! be done hardly ever then.

#![allow(clippy::disallowed_types, reason = "the shell may look at a clock")]

use std::time::Instant;

/// When something is due next, on a clock of seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    due: f64,
}

impl Pace {
    /// Whether it may be done now.
    pub(super) fn is_due(self, now: f64) -> bool {
        now >= self.due
    }

    /// Begins to measure how long it takes.
    pub(super) fn begin() -> Begun {
        Begun(Instant::now())
    }

    /// It was done, and took so long.
    pub(super) fn took(&mut self, now: f64, interval_seconds: f64, seconds: f64) {
        // A poll that is a little early must not cost a whole one.
        let pause = (seconds / SHARE).clamp(interval_seconds, interval_seconds * MOST_INTERVALS);
        self.due = now + pause - EARLY_SECONDS;
    }
}

/// When something was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun(Instant);

impl Begun {
    /// Seconds since then.
    pub(super) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Of a core, for each of those.
const SHARE: f64 = 0.0005;
/// Wall time is what is measured, and a host that is too busy is when figures are wanted most.
const MOST_INTERVALS: f64 = 20.0;
const EARLY_SECONDS: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_done_seldom() {
        let mut pace = Pace::default();
        assert!(pace.is_due(0.0));
        pace.took(0.0, 15.0, 0.001);
        assert!(!pace.is_due(10.0) && pace.is_due(14.9));
        pace.took(0.0, 15.0, 0.1);
        assert!(!pace.is_due(190.0) && pace.is_due(200.0), "0.1 s every 200 s is 0.05 %");
        pace.took(0.0, 15.0, 10.0);
        assert!(!pace.is_due(290.0) && pace.is_due(300.0), "twenty times its interval at most");
    }
}
