//! The capture thread: frames from the rings into the observer, events out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crossbeam_channel::Sender;

use super::shared::{Fact, Shared};
use crate::Stamp;
use crate::capture::ring::{Ring, wait};
use crate::event::Event;
use crate::observer::{self, Observer};

/// Owns the rings and all call and stream state.
pub(super) struct Tap {
    rings: Vec<Ring>,
    observer: Observer,
    events: Sender<Fact>,
    shared: Arc<Shared>,
    /// Packet time that was reached.
    reached: Stamp,
    next_look: Stamp,
    next_snapshot: Stamp,
}

impl Tap {
    pub(super) fn new(
        rings: Vec<Ring>,
        settings: observer::Settings,
        events: Sender<Fact>,
        shared: Arc<Shared>,
    ) -> Self {
        let observer = Observer::new(settings);
        let never = Stamp(0);
        Self { rings, observer, events, shared, reached: never, next_look: never, next_snapshot: never }
    }

    /// Until it is told to stop; then everything open becomes final.
    pub(super) fn run(mut self) {
        let fds: Vec<_> = self.rings.iter().map(Ring::fd).collect();
        while !self.shared.stop.load(Ordering::Acquire) {
            if !self.take() {
                wait(&fds, QUIET_MS);
            }
            self.look_up();
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
        }
        self.take();
        let Self { observer, events, shared, .. } = &mut self;
        observer.finish(&mut |event| tell(events, shared, event));
        self.publish();
    }

    /// Takes what the rings hold; false when that is nothing.
    fn take(&mut self) -> bool {
        let Self { rings, observer, events, shared, reached, .. } = self;
        let mut sink = |event| tell(events, shared, event);
        let mut any = false;
        for ring in rings {
            any |= ring.poll(&mut |frames| {
                let last = frames.iter().map(|frame| frame.stamp).max();
                *reached = last.map_or(*reached, |last| last.max(*reached));
                observer.packets(frames, &mut sink);
            });
        }
        any
    }

    /// What is to be done between packets: timers on a quiet wire, snapshots, a look at drops and interfaces.
    fn look_up(&mut self) {
        // Frames wait in the ring for a moment: time is not told to have passed before they are read.
        let now = now().plus_nanos(-RING_NANOS);
        if now.nanos_since(self.reached) > TICK_NANOS {
            self.reached = now;
            let Self { observer, events, shared, .. } = self;
            observer.tick(now, &mut |event| tell(events, shared, event));
        }
        if self.shared.is_reconfigured.load(Ordering::Acquire) {
            self.shared.is_reconfigured.store(false, Ordering::Release);
            let settings = self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(settings) = settings {
                self.observer.reconfigure(settings);
            }
        }
        // Who asks oftener waits a little: a storm of requests must not keep this thread from its packets.
        if self.shared.wanted.load(Ordering::Acquire) && is_due(&mut self.next_snapshot, now, SNAPSHOT_NANOS)
        {
            self.shared.wanted.store(false, Ordering::Release);
            self.publish();
        }
        if is_due(&mut self.next_look, now, LOOK_NANOS) {
            let dropped: u64 = self.rings.iter().map(Ring::dropped).sum();
            if dropped > 0 {
                self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
                self.observer.dropped(now.plus_nanos(RING_NANOS));
            }
            let away = self.rings.iter_mut().filter_map(|ring| (!ring.follow()).then_some(())).count();
            self.shared.away.store(away as u64, Ordering::Relaxed);
        }
    }

    /// The snapshot goes the way of the events, so that whoever sums up both sees them in order.
    fn publish(&self) {
        // Only this thread sends: a queue that has room now has it when the snapshot is made.
        if self.events.is_full() || self.events.try_send(Fact::Live(Arc::new(self.observer.live()))).is_err()
        {
            self.shared.wanted.store(true, Ordering::Release);
        }
    }
}

/// Whether it is time, and when it will be again.
fn is_due(next: &mut Stamp, now: Stamp, every_nanos: i64) -> bool {
    // The second test is for a clock that was set back.
    let due = now >= *next || next.nanos_since(now) > 2 * every_nanos;
    if due {
        *next = now.plus_nanos(every_nanos);
    }
    due
}

/// Never waits: what finds no room is counted.
fn tell(events: &Sender<Fact>, shared: &Shared, event: Event) {
    if events.try_send(Fact::Event(event)).is_err() {
        shared.lost_events.fetch_add(1, Ordering::Relaxed);
    }
}

/// The clock that the kernel stamps packets with.
#[allow(clippy::disallowed_types, reason = "the shell tells the core the time when the wire is quiet")]
pub(super) fn now() -> Stamp {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(Stamp(0), |since| Stamp(since.as_nanos() as u64))
}

/// Longest wait for packets, in milliseconds: how long a scrape may wait for its snapshot on a quiet wire.
const QUIET_MS: i32 = 50;
/// The retire time of a block, and some more.
const RING_NANOS: i64 = 100_000_000;
/// A quiet wire is told the time this often.
const TICK_NANOS: i64 = 100_000_000;
/// From one snapshot to the next at least: it walks all calls and streams.
const SNAPSHOT_NANOS: i64 = 100_000_000;
/// From one look at drops and interfaces to the next.
const LOOK_NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_not_due_again_until_its_time() {
        let mut next = Stamp(0);
        let due = |next: &mut Stamp, at| is_due(next, Stamp(at), 100);
        assert!(due(&mut next, 1_000));
        assert!(!due(&mut next, 1_000));
        assert!(!due(&mut next, 1_099));
        assert!(due(&mut next, 1_100));
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let mut next = Stamp(0);
        assert!(is_due(&mut next, Stamp(1_000_000), 100));
        assert!(is_due(&mut next, Stamp(5_000), 100));
        assert!(!is_due(&mut next, Stamp(5_050), 100));
    }
}
