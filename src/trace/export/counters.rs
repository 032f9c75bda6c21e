//! What became of spans and of the requests that carried them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counted on both sides of the queue.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_refused: AtomicU64,
    pub(super) dropped_rejected: AtomicU64,
    pub(super) dropped_late: AtomicU64,
    pub(super) dropped_at_stop: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) failing: AtomicBool,
    pub(super) problem: Mutex<String>,
}

/// All of them at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Spans that the collector took.
    pub sent: u64,
    /// Found the queue full.
    pub dropped_full: u64,
    /// The collector will never take the batch they were in.
    pub dropped_refused: u64,
    /// The collector took their batch, but not them.
    pub dropped_rejected: u64,
    /// Given up after a long time of trying.
    pub dropped_late: u64,
    /// Could not be sent before the end.
    pub dropped_at_stop: u64,
    /// Requests, repeated ones too.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Spans that wait.
    pub waiting: usize,
    /// Why the last request failed, if it did.
    pub problem: Option<String>,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, why: &str) {
        Self::add(&self.failures, 1);
        self.failing.store(true, Ordering::Relaxed);
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.clear();
        problem.extend(why.chars().take(MAX_PROBLEM));
    }

    pub(super) fn snapshot(&self, waiting: usize) -> Snapshot {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            sent: of(&self.sent),
            dropped_full: of(&self.dropped_full),
            dropped_refused: of(&self.dropped_refused),
            dropped_rejected: of(&self.dropped_rejected),
            dropped_late: of(&self.dropped_late),
            dropped_at_stop: of(&self.dropped_at_stop),
            requests: of(&self.requests),
            failures: of(&self.failures),
            waiting,
            problem: self.failing.load(Ordering::Relaxed).then(|| problem.clone()),
        }
    }
}

impl Snapshot {
    /// Spans that were lost, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_full
            + self.dropped_refused
            + self.dropped_rejected
            + self.dropped_late
            + self.dropped_at_stop
    }
}

/// Of what a collector says, as much as is shown.
const MAX_PROBLEM: usize = 300;
