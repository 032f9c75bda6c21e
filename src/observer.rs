//! Owns all call and stream state, on packet time alone, and tells facts as they become final.
//!
//! ```text
//! Frame -> slice / Decoder -> UDP --> RTP of a known flow -> Media          (nearly every packet)
//!                                 \-> SIP | RTCP | HEP | new RTP flow       (Desk)
//!                         -> TCP, SCTP -> messages -----------/
//! ```
//!
//! The contract:
//!
//! 1. [`Observer::packets`] with the frames of a capture, in order, in batches of any size;
//! 2. [`Observer::tick`] when the wire is quiet (a replay needs none);
//! 3. [`Observer::finish`] once, at the end.
//!
//! The same frames give the same facts, however they are batched: time is that of the packets, and what time
//! brings is worked off on a fixed grid of 100 ms.

mod ahead;
mod desk;
mod feedback;
mod flow;
mod flow_index;
mod hearing;
mod media;
mod relay;
mod repeat;
mod slab;

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;

use self::ahead::{Known, Messages};
use self::desk::{Desk, Read};
use crate::Stamp;
use crate::call;
use crate::event::{Live, Sink, Totals};
use crate::limits::Limits;
use crate::quality::Rating;
use crate::wire::fast;
use crate::wire::{Decoder, Frame, LinkType, Skip};

/// What an observer is told before it begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds of all tables.
    pub limits: Limits,
    /// What opinion scores rest on.
    pub rating: Rating,
    /// How the legs of a call find one another, and the like.
    pub calls: call::Settings,
    /// HEP inside the captured traffic is read. On a live wire it would be the agent's own, or doubles.
    pub decode_hep: bool,
    /// SIP and RTCP off the wire go to [`Sink::message`].
    pub mirror: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            rating: Rating::default(),
            calls: call::Settings::default(),
            decode_hep: true,
            mirror: false,
        }
    }
}

/// The measuring core.
pub struct Observer {
    decoder: Decoder,
    desk: Desk,
    ahead: Box<[Known; AHEAD]>,
    capture: CaptureTotals,
    next_tick: Stamp,
    /// Room for messages that are read ahead; empty between two batches.
    messages: Vec<Read<'static>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("packets", &self.capture.packets).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct CaptureTotals {
    packets: u64,
    bytes: u64,
    truncated: u64,
    span: Option<(Stamp, Stamp)>,
    skipped: BTreeMap<&'static str, u64>,
    undecoded: u64,
}

impl Observer {
    /// An observer that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            decoder: Decoder::new(&settings.limits),
            desk: Desk::new(settings),
            ahead: Box::new([Known::NOTHING; AHEAD]),
            capture: CaptureTotals::default(),
            next_tick: Stamp(0),
            messages: Vec::new(),
        }
    }

    /// Takes frames in capture order.
    pub fn packets(&mut self, frames: &[Frame<'_>], sink: &mut impl Sink) {
        let mut messages = Messages::reusing(std::mem::take(&mut self.messages));
        let mut rest = frames;
        while !rest.is_empty() {
            messages.clear();
            let media = &self.desk.media;
            let (mut touched, mut seen) = (0, 0);
            for (frame, known) in rest.iter().zip(self.ahead.iter_mut()) {
                seen += 1;
                if known.look(frame) {
                    known.hash = media.hash(known.flow);
                    touched ^= media.touch_place(known.hash);
                } else if messages.read(frame, known) {
                    break;
                }
            }
            let (frames, later) = rest.split_at(seen);
            rest = later;
            // Many streams do not fit into the cache: what all these frames need is on its way before the first of
            // them is worked on, their places in the table first, then the streams.
            let media_ahead = frames.iter().zip(self.ahead.iter_mut()).filter(|(_, known)| known.is_media());
            for (frame, known) in media_ahead {
                known.guess = media.guess(known.hash);
                touched ^= media.touch(known.guess, known.seq, frame.stamp);
            }
            black_box(touched);
            self.desk.look_ahead(&mut messages.0);
            let before = self.capture.packets;
            self.capture.count(frames);
            let check_clock = self.capture.packets / CLOCK_CHECK != before / CLOCK_CHECK;
            for (place, frame) in frames.iter().enumerate() {
                if frame.stamp >= self.next_tick {
                    self.tick(frame.stamp, sink);
                }
                if check_clock {
                    self.check_clock(frame.stamp);
                }
                let Some(known) = self.ahead.get(place) else { break };
                if known.is_media() && self.desk.media.offer(frame, known, sink) {
                    continue;
                }
                match messages.of(known) {
                    Some(read) => self.desk.message(frame.stamp, read, sink),
                    None => self.frame(frame, sink),
                }
            }
        }
        self.messages = messages.emptied();
    }

    /// Takes a HEP record that was sent to us: one packet of the capture, which arrived at `stamp`. It tells no
    /// time: frames that were captured before it may wait in their ring. Without frames, `tick` does.
    pub fn hep(&mut self, stamp: Stamp, record: &[u8], sink: &mut impl Sink) {
        self.capture.add(stamp, record.len() as u64);
        self.desk.hep(stamp, record, sink);
    }

    /// Time has come to `now`: works off what is due.
    pub fn tick(&mut self, now: Stamp, sink: &mut impl Sink) {
        let grid = Stamp(now.0 - now.0 % TICK_NANOS);
        self.next_tick = grid.plus_nanos(TICK_NANOS as i64);
        self.decoder.expire(grid);
        self.desk.tick(grid, sink);
    }

    /// The capture is over: what is open becomes final as it stands.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        self.desk.finish(self.capture.span.unwrap_or_default().1, sink);
    }

    /// Other settings from now on: how scores are made, how legs find one another, tenants and routes. What is up goes
    /// on and what was counted stays. The sizes of tables are those it began with.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.desk.reconfigure(settings);
    }

    /// Everything counted so far.
    pub fn totals(&self) -> Totals {
        let wire = self.decoder.counters();
        let mut totals = Totals {
            packets: self.capture.packets,
            bytes: self.capture.bytes,
            first: self.capture.span.map(|(first, _)| first),
            last: self.capture.span.map(|(_, last)| last),
            skipped: self.capture.skipped.clone(),
            undecoded: self.capture.undecoded,
            truncated: self.capture.truncated,
            fragments: wire.fragments,
            ..Totals::default()
        };
        if wire.evicted > 0 {
            totals.evicted.insert("fragments", wire.evicted);
        }
        self.desk.totals(&mut totals);
        totals
    }

    /// Everything that is up, as it stands. It walks all calls and streams: not for every packet. Whoever looks changes
    /// nothing of what is measured: streams work off what they have put off until somebody looks.
    pub fn live(&mut self) -> Live {
        let mut live = Live {
            at: self.capture.span.map_or(Stamp(0), |(_, last)| last),
            totals: self.totals(),
            streams: Vec::with_capacity(self.desk.media.len()),
            ..Live::default()
        };
        self.desk.live(&mut live);
        live
    }

    /// The kernel has dropped packets at the tap, up to `until`: what quality windows open then have lost was not
    /// lost on the way (MEAS 0.4).
    pub fn dropped(&mut self, until: Stamp) {
        self.desk.media.dropped_until = self.desk.media.dropped_until.max(until);
    }

    /// A clock that was set back, or one frame with a time far ahead, must not stop the timers for good. Looked at
    /// now and then only: else two clocks in one capture would make every frame a tick.
    #[cold]
    fn check_clock(&mut self, now: Stamp) {
        if self.next_tick.nanos_since(now) > SET_BACK_NANOS {
            self.next_tick = now;
            self.desk.media.clock_set_back(now);
        }
    }

    /// A frame of any kind.
    #[cold]
    fn frame(&mut self, frame: &Frame<'_>, sink: &mut impl Sink) {
        match fast::slice(frame.bytes).filter(|_| frame.link == LinkType::ETHERNET) {
            Some(datagram) => self.desk.packet(frame.stamp, &datagram.packet(frame.interface), sink),
            None => self.rare_shape(frame, sink),
        }
    }

    /// Everything that is not plain UDP in plain IP in plain Ethernet.
    #[cold]
    fn rare_shape(&mut self, frame: &Frame<'_>, sink: &mut impl Sink) {
        match self.decoder.decode(frame) {
            Ok(packet) => self.desk.packet(frame.stamp, &packet, sink),
            Err(skip) => self.capture.skip(skip),
        }
    }
}

impl CaptureTotals {
    fn count(&mut self, frames: &[Frame<'_>]) {
        let Some(any) = frames.first() else { return };
        let (mut first, mut last) = self.span.unwrap_or((any.stamp, any.stamp));
        let (mut bytes, mut truncated) = (0, 0);
        for frame in frames {
            bytes += u64::from(frame.wire_len);
            truncated += u64::from((frame.wire_len as usize) > frame.bytes.len());
            first = first.min(frame.stamp);
            last = last.max(frame.stamp);
        }
        self.packets += frames.len() as u64;
        self.bytes += bytes;
        self.truncated += truncated;
        self.span = Some((first, last));
    }

    fn add(&mut self, stamp: Stamp, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
        let (first, last) = self.span.unwrap_or((stamp, stamp));
        self.span = Some((first.min(stamp), last.max(stamp)));
    }

    fn skip(&mut self, skip: Skip) {
        *self.skipped.entry(skip.name()).or_default() += 1;
        self.undecoded += u64::from(skip.undecoded());
    }
}

/// Frames looked at ahead of the one that is worked on.
const AHEAD: usize = 64;
/// Frames from one look at the clock to the next.
const CLOCK_CHECK: u64 = 1024;
/// Time that goes back by more was set back; by less, frames are out of order.
const SET_BACK_NANOS: i64 = 60_000_000_000;
/// The grid of time on which timers run.
const TICK_NANOS: u64 = 100_000_000;
