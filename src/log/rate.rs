//! How many lines a cause may have: a flood of one kind must not fill a disk, nor hide the other kinds.
//!
//! Each cause has a bucket of its own. What finds it empty is suppressed and counted, and a line says so once there is
//! something to say, at most every ten seconds. Lines of the audit are never suppressed.

use std::collections::BTreeMap;

use crate::Stamp;

/// Lines of one cause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once.
    pub burst: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 200.0, burst: 2000.0 }
    }
}

/// The buckets. Causes are words of this program, so that there are few.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<&'static str, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Stamp,
    suppressed: u64,
    /// When the first of them was, and when they were last told.
    since: Stamp,
    told: Stamp,
}

/// Lines that were suppressed, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub(super) cause: &'static str,
    pub(super) lines: u64,
    pub(super) since: Stamp,
}

impl Rates {
    /// Whether one more line may pass.
    pub(super) fn admits(&mut self, cause: &'static str, rate: Rate, now: Stamp) -> bool {
        let full = Bucket { tokens: rate.burst, at: now, suppressed: 0, since: now, told: Stamp(0) };
        let bucket = self.0.entry(cause).or_insert(full);
        // A clock that was set back gives nothing.
        let passed = now.seconds_since(bucket.at).max(0.0);
        bucket.tokens = (bucket.tokens + passed * rate.per_second).min(rate.burst);
        bucket.at = now;
        let admits = bucket.tokens >= 1.0;
        if admits {
            bucket.tokens -= 1.0;
        } else {
            if bucket.suppressed == 0 {
                bucket.since = now;
            }
            bucket.suppressed += 1;
        }
        admits
    }

    /// What is to be told by now; at the end, all.
    pub(super) fn due(&mut self, now: Stamp, is_end: bool) -> Vec<Suppressed> {
        let mut due = Vec::new();
        for (cause, bucket) in &mut self.0 {
            let waits = now.nanos_since(bucket.told).unsigned_abs() < PAUSE_NANOS && !is_end;
            if bucket.suppressed > 0 && !waits {
                due.push(Suppressed { cause, lines: bucket.suppressed, since: bucket.since });
                bucket.suppressed = 0;
                bucket.told = now;
            }
        }
        due
    }
}

const PAUSE_NANOS: u64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_its_rate_and_told() {
        let rate = Rate { per_second: 10.0, burst: 5.0 };
        let mut rates = Rates::default();
        let at = |millis: u64| Stamp(1_000_000_000_000 + millis * 1_000_000);
        let passed = (0..10_000).filter(|&millis| rates.admits("flood", rate, at(millis))).count();
        assert_eq!(passed, 5 + 99);
        assert!(rates.admits("other", rate, at(10_000)));
        let told = rates.due(at(10_000), false);
        assert_eq!(
            told.iter().map(|told| (told.cause, told.lines)).collect::<Vec<_>>(),
            [("flood", 10_000 - 104)]
        );
        assert!(rates.due(at(20_000), false).is_empty());
    }

    #[test]
    fn it_is_not_told_all_the_time_but_at_the_end() {
        let rate = Rate { per_second: 0.001, burst: 1.0 };
        let mut rates = Rates::default();
        for _ in 0..3 {
            rates.admits("flood", rate, Stamp(1 << 40));
        }
        assert_eq!(rates.due(Stamp(1 << 40), false).len(), 1);
        rates.admits("flood", rate, Stamp((1 << 40) + 1));
        assert_eq!(rates.due(Stamp((1 << 40) + 2), false), []);
        assert_eq!(rates.due(Stamp((1 << 40) + 2), true).len(), 1);
    }
}
