//! Calls in the order of a time each: when they are to be looked at again, or when they were last heard of.
//!
//! A deadline that moves away costs nothing: the entry stays, and when it comes up the call is asked for its
//! real deadline and entered anew. One that comes nearer is entered beside the old entry, which is then
//! recognised as outdated because the call remembers the entry it is armed with. Entries never lie further
//! ahead than [`HORIZON`], and are swept when most are outdated: at most about two a call.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::CallKey;
use crate::Stamp;

/// Entries in order of (deadline, slot).
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Stamp, CallKey)>>,
}

impl Timers {
    /// Enters a look at `key` right after `at`.
    pub(super) fn arm(&mut self, at: Stamp, key: CallKey) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next entry that lies before `now`.
    #[inline]
    pub(super) fn due(&mut self, now: Stamp) -> Option<(Stamp, CallKey)> {
        match self.heap.peek() {
            Some(&Reverse((at, _))) if at < now => self.heap.pop().map(|Reverse(entry)| entry),
            _ => None,
        }
    }

    /// The first entry.
    pub(super) fn pop(&mut self) -> Option<(Stamp, CallKey)> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Forgets outdated entries once there are more than two a call.
    pub(super) fn sweep(&mut self, calls: usize, mut current: impl FnMut(Stamp, CallKey) -> bool) {
        if self.heap.len() > 2 * calls + SLACK {
            self.heap.retain(|&Reverse((at, key))| current(at, key));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<(Stamp, CallKey)>()
    }
}

/// Furthest entry ahead, in seconds: how long an entry outlives its call.
pub(super) const HORIZON: u64 = 32;

const SLACK: usize = 1024;
