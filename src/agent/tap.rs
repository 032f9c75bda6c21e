//! The capture thread: frames from the taps into the observer, events out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;

use super::clock::now;
use super::hep::{Hep, Outlets};
use super::shared::{Fact, Shared};
use super::sources::Sources;
use crate::Stamp;
use crate::event::Live;
use crate::evidence::Recorder;
use crate::observer::{self, Observer};

/// Owns the taps and all call and stream state.
pub(super) struct Tap {
    sources: Sources,
    hep: Hep,
    observer: Observer,
    events: Sender<Fact>,
    evidence: Option<Recorder>,
    shared: Arc<Shared>,
    /// Packet time that was reached.
    reached: Stamp,
    next_look: Stamp,
    next_snapshot: Stamp,
}

impl Tap {
    pub(super) fn new(
        sources: Sources,
        hep: Hep,
        settings: observer::Settings,
        events: Sender<Fact>,
        evidence: Option<Recorder>,
        shared: Arc<Shared>,
    ) -> Self {
        let observer = Observer::new(settings);
        let never = Stamp(0);
        Self {
            sources,
            hep,
            observer,
            events,
            evidence,
            shared,
            reached: never,
            next_look: never,
            next_snapshot: never,
        }
    }

    /// Until it is told to stop; then everything open becomes final.
    pub(super) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            if !self.take() {
                self.sources.wait(self.hep.fd(), QUIET_MS);
            }
            self.look_up(now());
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
        }
        self.take();
        let Self { observer, hep, events, evidence, shared, .. } = &mut self;
        observer.finish(&mut Outlets { events, shared, evidence, outlet: &mut hep.outlet });
        evidence.iter_mut().for_each(Recorder::hand_over);
        self.publish();
    }

    /// Takes what the taps hold, and a share of the HEP that was sent to us; false when the taps held nothing.
    fn take(&mut self) -> bool {
        let Self { sources, hep, observer, events, evidence, shared, reached, .. } = self;
        let mut sink = Outlets { events, shared, evidence, outlet: &mut hep.outlet };
        let any = sources.poll(&mut |frames| {
            let last = frames.iter().map(|frame| frame.stamp).max();
            *reached = last.map_or(*reached, |last| last.max(*reached));
            observer.packets(frames, &mut sink);
        });
        hep.take(now(), observer, events, evidence, shared);
        any
    }

    /// What is to be done between packets: timers on a quiet wire, orders, snapshots, a look at drops and interfaces.
    fn look_up(&mut self, now: Stamp) {
        // Frames wait in the ring for a moment: time is not told to have passed before they are read.
        let now = now.plus_nanos(-RING_NANOS);
        if is_quiet(&mut self.reached, now) {
            let Self { observer, hep, events, evidence, shared, .. } = self;
            observer.tick(now, &mut Outlets { events, shared, evidence, outlet: &mut hep.outlet });
        }
        if let Some(evidence) = &mut self.evidence {
            evidence.tick(now);
        }
        if let Some(orders) = self.shared.orders() {
            self.observer.reconfigure(orders.observer);
            let refused = self.sources.change(&orders.interfaces).err();
            self.shared.interfaces_refused(refused.map(|error| error.to_string()));
        }
        // Who asks oftener waits a little: a storm of requests must not keep this thread from its packets.
        if self.shared.wanted.load(Ordering::Acquire) && is_due(&mut self.next_snapshot, now, SNAPSHOT_NANOS)
        {
            self.shared.wanted.store(false, Ordering::Release);
            self.publish();
        }
        if is_due(&mut self.next_look, now, LOOK_NANOS) {
            let look = self.sources.look();
            if look.dropped > 0 {
                self.observer.dropped(now.plus_nanos(RING_NANOS));
            }
            self.shared.away.store(look.away, Ordering::Relaxed);
            self.shared.forget_snapshot();
        }
    }

    /// The snapshot goes the way of the events, so that whoever sums up both sees them in order.
    fn publish(&mut self) {
        self.shared.hep.send_replace(self.hep.counts());
        self.shared.sources().clone_from(self.sources.counted());
        // Only this thread sends: a queue that has room now has it when the snapshot is made.
        let sent = !self.events.is_full() && {
            let live = Arc::new(self.live());
            self.events.try_send(Fact::Live(live)).is_ok()
        };
        if !sent {
            self.shared.wanted.store(true, Ordering::Release);
        }
    }

    fn live(&mut self) -> Live {
        let mut live = self.observer.live();
        if self.sources.cuts_media() {
            // Cut on purpose, and nothing measured is missing: no frame is truncated.
            live.totals.truncated = 0;
        }
        live
    }
}

/// Whether time has to be told to have come to `now`, for no packet has told it.
fn is_quiet(reached: &mut Stamp, now: Stamp) -> bool {
    // The second test is for a clock that was set back. Packets are ahead of `now` by what it is held back, no more.
    let quiet = now.nanos_since(*reached) > TICK_NANOS || reached.nanos_since(now) > AHEAD_NANOS;
    if quiet {
        *reached = now;
    }
    quiet
}

/// Whether it is time, and when it will be again.
pub(super) fn is_due(next: &mut Stamp, now: Stamp, every_nanos: i64) -> bool {
    // The second test is for a clock that was set back.
    let due = now >= *next || next.nanos_since(now) > 2 * every_nanos;
    if due {
        *next = now.plus_nanos(every_nanos);
    }
    due
}

/// Never waits: what finds no room is counted.
pub(super) fn send(events: &Sender<Fact>, shared: &Shared, fact: Fact) {
    if events.try_send(fact).is_err() {
        shared.lost_events.fetch_add(1, Ordering::Relaxed);
    }
}

/// Longest wait for packets, in milliseconds: how long a scrape may wait for its snapshot on a quiet wire.
const QUIET_MS: i32 = 50;
/// The retire time of a block, and some more.
const RING_NANOS: i64 = 100_000_000;
/// No packet is stamped later than this after the time it is looked up at, but by a clock that was set back since.
const AHEAD_NANOS: i64 = 2 * (RING_NANOS + TICK_NANOS);
/// A quiet wire is told the time this often.
const TICK_NANOS: i64 = 100_000_000;
/// From one snapshot to the next at least: it walks all calls and streams.
pub(super) const SNAPSHOT_NANOS: i64 = 100_000_000;
/// From one look at drops and interfaces to the next.
const LOOK_NANOS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::os::fd::RawFd;

    use super::*;
    use crate::agent::shipping::Told;
    use crate::agent::{HepSettings, sources};
    use crate::capture::live::Interface;
    use crate::capture::ring::Socket;
    use crate::capture::{self, Take};
    use crate::event::Event;
    use crate::export::prometheus::Metrics;
    use crate::log::Logs;
    use crate::wire::{Frame, LinkType};

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
    fn a_quiet_wire_is_told_the_time_also_by_a_clock_set_back() {
        let mut reached = Stamp(10_000_000_000);
        let mut quiet = |nanos| is_quiet(&mut reached, Stamp(nanos));
        assert!(!quiet(9_900_000_000), "packets are ahead");
        assert!(!quiet(10_050_000_000));
        assert!(quiet(10_200_000_000));
        assert!(!quiet(10_250_000_000));
        assert!(quiet(5_000_000_000), "set back");
        assert!(!quiet(5_050_000_000));
        assert!(quiet(5_150_000_000));
    }

    /// Frames with the stamps of a clock that the test sets.
    #[derive(Debug)]
    struct Scripted(Vec<(Stamp, Vec<u8>)>);

    impl capture::live::Live for Scripted {
        fn interface(&self) -> &Interface {
            &Interface::Any
        }

        fn fd(&self) -> RawFd {
            -1
        }

        fn poll(&mut self, take: &mut Take<'_>) -> bool {
            for (stamp, bytes) in &self.0 {
                let wire_len = bytes.len() as u32;
                take(&[Frame { stamp: *stamp, link: LinkType::ETHERNET, interface: 0, wire_len, bytes }]);
            }
            !std::mem::take(&mut self.0).is_empty()
        }

        fn dropped(&mut self) -> u64 {
            0
        }

        fn follow(&mut self) -> bool {
            true
        }

        fn release(self: Box<Self>) -> Option<Socket> {
            None
        }
    }

    /// Ethernet / IPv4 / UDP / an INVITE.
    fn invite(call_id: &str) -> Vec<u8> {
        let text = format!(
            "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{call_id}\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((28 + text.len() as u16).to_be_bytes());
        frame.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x13, 0xc4, 0x13, 0xc4]);
        frame.extend((8 + text.len() as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(text.bytes());
        frame
    }

    #[test]
    fn calls_end_by_their_timers_on_a_quiet_wire_after_the_clock_was_set_back() {
        let second = |seconds: u64| Stamp(seconds * 1_000_000_000);
        let (events, facts) = crossbeam_channel::bounded(100);
        let script = |at, name| Box::new(Scripted(vec![(at, invite(name))]));
        let mut tap = Tap::new(
            Sources::of(sources::Settings::default(), vec![script(second(1_000_000), "before")]),
            HepSettings::default().open().unwrap().0,
            observer::Settings::default(),
            events,
            None,
            Arc::new(Shared::new(Metrics::new(), Logs::off(), Told::default())),
        );
        tap.take();
        tap.look_up(second(1_000_000));
        tap.sources = Sources::of(sources::Settings::default(), vec![script(second(500_000), "after")]);
        tap.take();
        for tenth in 0..400 {
            tap.look_up(second(500_000).plus_nanos(tenth * 100_000_000));
        }
        let ended: Vec<String> = facts
            .try_iter()
            .filter_map(|fact| match fact {
                Fact::Event(event) => match *event {
                    Event::Call(call) => Some(call.call_id),
                    _ => None,
                },
                Fact::Live(_) | Fact::Described(_) => None,
            })
            .collect();
        assert_eq!(ended, ["after"]);
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let mut next = Stamp(0);
        assert!(is_due(&mut next, Stamp(1_000_000), 100));
        assert!(is_due(&mut next, Stamp(5_000), 100));
        assert!(!is_due(&mut next, Stamp(5_050), 100));
    }
}
