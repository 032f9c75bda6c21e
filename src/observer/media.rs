//! The media of all calls: streams by flow, endpoints learned from SDP, candidates on probation.
//!
//! ```text
//! SDP  -> targets (endpoint -> call, side, formats)
//! RTP  -> flow table -> stream            new flow: target? RTCP named it? else probation (MEAS 6.7)
//! RTCP -> streams by SSRC
//! call over -> streams closed 1 s later -> facts
//! ```

mod closing;
mod hops;
mod live;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU32;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::ahead::Known;
use super::feedback::Named;
use super::flow::{Flow, FlowV4};
use super::flow_index::FlowIndex;
use super::hearing::{Hearing, Visibility};
use super::relay::Relays;
use super::slab::Slab;
use crate::Stamp;
use crate::call::{CallKey, Side};
use crate::event::{self, CodecSource, Direction, Heard, Missing, Origin, Report, Sink, Why};
use crate::limits::Limits;
use crate::quality::Rating;
use crate::rtp::header::Header;
use crate::rtp::packet::Packet;
use crate::rtp::payload::{Class, Codec, Format};
use crate::rtp::probation::{Probation, Seen};
use crate::rtp::report::Reported;
use crate::rtp::round_trip::RoundTrips;
use crate::rtp::stream::{Formats, Stream};
use crate::rtp::window::Closed;
use crate::sip::sdp;
use crate::wire::{Endpoint, Frame};

/// All media state.
pub(crate) struct Media {
    streams: Slab<Slot>,
    flows: FlowIndex,
    hasher: RandomState,
    /// Newest stream of each SSRC.
    by_ssrc: HashMap<u32, u32, RandomState>,
    targets: HashMap<Endpoint, Target, RandomState>,
    /// Streams without a call by destination, for SDP that comes after its media.
    unclaimed: HashMap<Endpoint, Vec<u32>, RandomState>,
    /// By call index.
    calls: Vec<Option<CallMedia>>,
    closing: VecDeque<(Stamp, CallKey)>,
    pub(crate) probation: Probation,
    pub(crate) named: Named,
    visibility: Visibility,
    relays: Relays,
    pub(crate) round_trips: RoundTrips,
    /// XR reports and the call of their stream, until the owner has told them.
    pub(crate) reports: Vec<(Option<CallKey>, Report)>,
    pub(crate) rating: Rating,
    serial: u32,
    /// Where the search for a stream to evict goes on.
    hand: u32,
    next_sweep: Stamp,
    max_streams: usize,
    max_targets: usize,
    closed: Vec<Closed>,
    /// Up to here packets are known to have been dropped at the tap.
    pub(crate) dropped_until: Stamp,
    /// Streams that are over, with their call, until the owner has told them.
    pub(crate) ended: Vec<(Option<CallKey>, event::Stream)>,
    /// Calls that carry the same media: perhaps legs of one (MEAS 5.9).
    pub(crate) joins: Vec<SameMedia>,
    pub(crate) counters: Counters,
}

/// What media state had to refuse or drop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) capture_duplicates: u64,
    pub(crate) streams_evicted: u64,
    pub(crate) targets_refused: u64,
}

/// A stream and what is known of it. In order of use, on cache lines of its own: a packet that comes as expected
/// touches the first two.
#[repr(C, align(64))]
pub(crate) struct Slot {
    flow: Flow,
    pub(crate) stream: Stream,
    hop: HopMatch,
    /// Its call was found by the sender's endpoint: formats are those of the sender's own description.
    by_source: bool,
    direction: Option<Direction>,
    origin: Origin,
    dscp: u8,
    pub(crate) ending: Option<Ending>,
    early: bool,
    /// Seconds for which it and its successor on the same 5-tuple both flowed (MEAS 1.9).
    overlap_seconds: u8,
    /// Found without SDP, and its pace is that of no clock; `None` until a window has shown it.
    implausible: Option<bool>,
    pub(crate) reported: Option<Box<Reported>>,
    pub(crate) call: Option<CallKey>,
    serial: u32,
    worst_window: f32,
}

/// Why a stream is over as soon as it is silent for 1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// RTCP BYE named its SSRC.
    Bye,
    /// Another SSRC began on its 5-tuple (MEAS 1.9).
    Succeeded,
}

/// The search for the same media on another 5-tuple (MEAS 1.11.4).
#[derive(Clone, Copy, Debug)]
struct HopMatch {
    /// While it goes on, the stream of the same SSRC that may be an earlier hop, or `BY_PAYLOAD` = one of any SSRC;
    /// afterwards the serial of the first hop.
    of: u32,
    looking: bool,
    looked: u8,
    equal: u8,
    /// Place behind the first hop.
    place: u8,
}

/// A stream that carries on one of another call, if calls agree that both are legs of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SameMedia {
    pub(crate) calls: (CallKey, CallKey),
    /// The host that took the packets in and gave them out, if it was one.
    pub(crate) relay: Option<IpAddr>,
    stream: u32,
    serial: u32,
    /// Serial of the first hop, and the place behind it of the hop before.
    before: (u32, u8),
}

/// An endpoint that SDP named.
struct Target {
    call: CallKey,
    /// Who receives here.
    side: Side,
    secure: bool,
    /// Several calls that are up have named it; this is the newest of them.
    shared: bool,
    formats: Box<[Format]>,
}

#[derive(Default)]
struct CallMedia {
    generation: Option<NonZeroU32>,
    on_hold: bool,
    targets: Vec<Endpoint>,
    streams: Vec<u32>,
    answered: Option<Stamp>,
    ended: Option<Stamp>,
    /// One-way delay by SIP, seconds.
    delay: Option<f64>,
    hearing: Hearing,
    /// What ended streams leave behind.
    ids: Vec<u32>,
    /// Why their figures are absent.
    why: Why,
    worst_mos: Option<f64>,
    /// Packets of the codec that carried most audio.
    codec: Option<(u64, Codec)>,
}

/// What the media of a call add to its record.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) streams: Vec<String>,
    pub(crate) codec: Option<Codec>,
    pub(crate) mos: Option<f64>,
    pub(crate) one_way: Option<Missing>,
    pub(crate) dead_air: Option<bool>,
    /// Why some of it is absent.
    pub(crate) why: Why,
}

impl Media {
    /// Whether packets were dropped at the tap since `start`: what is missing may be our own loss (MEAS 0.4).
    fn is_tainted_since(&self, start: Stamp) -> bool {
        start <= self.dropped_until
    }

    pub(crate) fn new(limits: &Limits, rating: Rating) -> Self {
        Self {
            streams: Slab::new(),
            flows: FlowIndex::new(),
            hasher: RandomState::default(),
            by_ssrc: HashMap::default(),
            targets: HashMap::default(),
            unclaimed: HashMap::default(),
            calls: Vec::new(),
            closing: VecDeque::new(),
            probation: Probation::new(limits.candidates, &[]),
            named: Named::default(),
            visibility: Visibility::default(),
            relays: Relays::default(),
            round_trips: RoundTrips::new(limits.streams.div_ceil(2)),
            reports: Vec::new(),
            rating,
            serial: 0,
            hand: 0,
            next_sweep: Stamp(0),
            max_streams: limits.streams,
            max_targets: limits.endpoints,
            closed: Vec::new(),
            dropped_until: Stamp(0),
            ended: Vec::new(),
            joins: Vec::new(),
            counters: Counters::default(),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, flow: FlowV4) -> u64 {
        flow.hash_with(&self.hasher)
    }

    /// Draws the place of a flow in the table into the cache; the value means nothing.
    #[inline]
    pub(crate) fn touch_place(&self, hash: u64) -> u64 {
        self.flows.touch(hash)
    }

    /// The number of the stream that a flow of this hash most probably is; [`Self::offer`] makes sure.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> u32 {
        self.flows.find(hash, |_| true).unwrap_or(NONE)
    }

    /// The call that RTCP between these endpoints is about: its media use the same ports, or those just below
    /// (RFC 3550 11, RFC 5761).
    pub(crate) fn call_of_rtcp(&self, from: Endpoint, to: Endpoint) -> Option<CallKey> {
        let below = |at: Endpoint| Endpoint { port: at.port.wrapping_sub(1), ..at };
        let target = [to, below(to), from, below(from)].iter().find_map(|at| self.targets.get(at));
        target.map(|target| target.call)
    }

    /// The number of a live stream.
    #[inline]
    pub(crate) fn find(&self, flow: &Flow) -> Option<u32> {
        let hash = flow.hash_with(&self.hasher);
        self.flows.find(hash, |index| self.streams.get(index).is_some_and(|slot| slot.flow == *flow))
    }

    /// Draws a stream's state into the cache; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self, index: u32, seq: u16, stamp: Stamp) -> u64 {
        self.streams.get(index).map_or(0, |slot| slot.stream.touch(seq, stamp))
    }

    /// Takes a packet if it belongs to the stream that was guessed.
    #[inline]
    pub(crate) fn offer(&mut self, frame: &Frame<'_>, known: &Known, sink: &mut impl Sink) -> bool {
        let Some(slot) = self.streams.get_mut(known.guess) else { return false };
        if slot.flow != Flow::V4(known.flow) {
            return false;
        }
        let Some(packet) = known.packet(frame) else { return false };
        if sink.wants_headers() {
            sink.header(&Heard::of(known.hash, &packet));
        }
        if !slot.stream.note(&packet) {
            self.push(known.guess, &packet, sink);
        }
        true
    }

    /// One packet of a live stream, with all that it brings.
    #[inline(never)]
    pub(crate) fn push(&mut self, index: u32, packet: &Packet<'_>, sink: &mut impl Sink) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        let formats = Lookup { targets: &self.targets, flow: &slot.flow, by_source: slot.by_source };
        slot.stream.push(packet, &formats, &mut self.closed);
        if slot.hop.looking {
            self.look_for_earlier_hop(index, packet);
        } else {
            slot.stream.expect();
        }
        if !self.closed.is_empty() {
            self.tell_windows(index, sink);
        }
    }

    /// One packet of a live stream that was not looked at ahead.
    pub(crate) fn take_late(&mut self, index: u32, packet: &Packet<'_>, sink: &mut impl Sink) {
        if sink.wants_headers()
            && let Some(slot) = self.streams.get(index)
        {
            sink.header(&Heard::of(slot.flow.hash_with(&self.hasher), packet));
        }
        self.push(index, packet, sink);
    }

    /// A packet of a flow that is not known: a new stream, or a candidate for one.
    #[cold]
    pub(crate) fn unknown(
        &mut self,
        flow: Flow,
        header: &Header,
        packet: &Packet<'_>,
        dscp: u8,
        sink: &mut impl Sink,
    ) {
        let (source, destination) = (flow.source(), flow.destination());
        let by_source = self.sender_tells_more(&flow);
        let announced = self.targets.contains_key(if by_source { &source } else { &destination });
        if announced || self.named.contains(&flow) {
            let origin = if announced { Origin::Sdp } else { Origin::Rtcp };
            let mut run = self.probation.release(source, destination, header.fixed.ssrc);
            run.push(packet.seen(dscp));
            self.open(flow, &run, origin, by_source, sink);
        } else {
            let seen = packet.seen(dscp);
            if let Some(run) = self.probation.packet(source, destination, header, seen).map(<[Seen]>::to_vec)
            {
                self.open(flow, &run, Origin::Heuristic, by_source, sink);
            }
        }
    }

    /// Whether the call of a flow is found by where it comes from: where it goes nobody announced, or several calls
    /// did, and of the sender's endpoint only one.
    fn sender_tells_more(&self, flow: &Flow) -> bool {
        let of_one = |endpoint| self.targets.get(&endpoint).is_some_and(|target| !target.shared);
        match self.targets.get(&flow.destination()) {
            None => true,
            Some(target) => target.shared && of_one(flow.source()),
        }
    }

    /// Opens a stream with the packets seen of it so far.
    fn open(&mut self, flow: Flow, run: &[Seen], origin: Origin, by_source: bool, sink: &mut impl Sink) {
        let Some((first, rest)) = run.split_first() else { return };
        while self.streams.len() >= self.max_streams {
            self.evict(sink);
        }
        let (source, destination) = (flow.source(), flow.destination());
        let target = if by_source { self.targets.get(&source) } else { self.targets.get(&destination) };
        let (call, direction, secure) = match target {
            Some(target) => (Some(target.call), Some(target.direction(by_source)), target.secure),
            None => (None, None, false),
        };
        if let Some(call) = call {
            self.make_room_in(call, sink);
        }
        let formats = Lookup { targets: &self.targets, flow: &flow, by_source };
        let stream = Stream::open(&Packet::of(first), secure, &formats);
        self.serial += 1;
        let ssrc = flow.ssrc();
        let candidate = self.earlier_hop_of(&flow, call);
        let hash = flow.hash_with(&self.hasher);
        let index = self.streams.insert(Slot {
            stream,
            flow,
            serial: self.serial,
            call,
            direction,
            origin,
            dscp: first.dscp,
            by_source,
            early: false,
            overlap_seconds: 0,
            hop: HopMatch::new(candidate, self.serial),
            ending: None,
            reported: None,
            worst_window: f32::INFINITY,
            implausible: None,
        });
        self.flows.insert(hash, index);
        self.by_ssrc.insert(ssrc, index);
        match call {
            Some(call) => self.adopt(index, call),
            None => self.wait_for_sdp(index, destination),
        }
        if sink.wants_headers() {
            sink.header(&Heard::of(hash, &Packet::of(first)));
        }
        for seen in rest {
            self.take_late(index, &Packet::of(seen), sink);
        }
    }

    /// Books a stream with its call and ends its predecessor on the same 5-tuple (MEAS 1.9).
    fn adopt(&mut self, index: u32, call: CallKey) {
        let Some(media) = call_media(&mut self.calls, call) else { return };
        let Some(slot) = self.streams.get(index) else { return };
        let (source, destination) = (slot.flow.source(), slot.flow.destination());
        let early = media.answered.is_none();
        for &other in &media.streams {
            if let Some(old) = self.streams.get_mut(other)
                && old.ending.is_none()
                && old.flow.source() == source
                && old.flow.destination() == destination
            {
                old.ending = Some(Ending::Succeeded);
            }
        }
        media.streams.push(index);
        if let Some(slot) = self.streams.get_mut(index) {
            slot.early = early;
        }
    }

    /// SDP named where `side` of `call` wants its media (MEAS 5.6, 6.1).
    pub(crate) fn announce(&mut self, call: CallKey, side: Side, session: &sdp::Session) {
        let talks = |media: &sdp::Media| {
            media.kind == sdp::Kind::Audio && media.port != 0 && media.direction == sdp::Direction::SendRecv
        };
        if let Some(own) = call_media(&mut self.calls, call)
            && !session.media.is_empty()
        {
            own.on_hold = !session.media.iter().any(talks);
        }
        for media in &session.media {
            let (Some(ip), Some(own)) = (media.address, call_media(&mut self.calls, call)) else { continue };
            if media.port == 0 || media.kind == sdp::Kind::Other {
                continue;
            }
            let endpoint = Endpoint { ip, port: media.port };
            if self.targets.len() >= self.max_targets && !self.targets.contains_key(&endpoint) {
                self.counters.targets_refused += 1;
                continue;
            }
            let old = self.targets.get(&endpoint);
            let known = old.is_some_and(|old| old.call == call);
            let target = Target {
                call,
                side,
                secure: media.secure,
                shared: old.is_some_and(|old| old.shared || !known),
                formats: media.formats.as_slice().into(),
            };
            let direction = target.direction(false);
            self.targets.insert(endpoint, target);
            if known {
                self.learn(call, endpoint);
            } else if !own.targets.contains(&endpoint) {
                own.targets.push(endpoint);
                if own.targets.len() > MAX_CALL_TARGETS {
                    // Whoever moves its media that often has left the first ones long ago.
                    let first = own.targets.remove(0);
                    if self.targets.get(&first).is_some_and(|target| target.call == call) {
                        self.targets.remove(&first);
                        self.counters.targets_refused += 1;
                    }
                }
            }
            for index in self.unclaimed.remove(&endpoint).unwrap_or_default() {
                if let Some(slot) = self.streams.get_mut(index) {
                    slot.call = Some(call);
                    slot.direction = Some(direction);
                    slot.by_source = false;
                    let formats = Lookup { targets: &self.targets, flow: &slot.flow, by_source: false };
                    slot.stream.learn(&formats);
                    self.adopt(index, call);
                }
            }
        }
    }

    /// Tells the streams of a call that its formats changed.
    fn learn(&mut self, call: CallKey, endpoint: Endpoint) {
        let Some(media) = call_media(&mut self.calls, call) else { return };
        for &index in &media.streams {
            if let Some(slot) = self.streams.get_mut(index)
                && slot.flow.destination() == endpoint
            {
                let formats = Lookup { targets: &self.targets, flow: &slot.flow, by_source: slot.by_source };
                slot.stream.learn(&formats);
            }
        }
    }

    pub(crate) fn answered(&mut self, call: CallKey, stamp: Stamp) {
        if let Some(media) = call_media(&mut self.calls, call) {
            media.answered.get_or_insert(stamp);
        }
    }

    /// Two calls turned out to be legs of one: all media goes to `kept`.
    pub(crate) fn join(&mut self, kept: CallKey, absorbed: CallKey) {
        let Some(from) = self.calls.get_mut(absorbed.index as usize).and_then(Option::take) else { return };
        for endpoint in &from.targets {
            if let Some(target) = self.targets.get_mut(endpoint) {
                target.call = kept;
            }
        }
        for &index in &from.streams {
            if let Some(slot) = self.streams.get_mut(index) {
                slot.call = Some(kept);
            }
        }
        if let Some(media) = call_media(&mut self.calls, kept) {
            media.targets.extend(from.targets);
            media.streams.extend(from.streams);
            media.ids.extend(from.ids);
        }
    }

    /// A stream, with every packet of it worked off.
    pub(crate) fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        let slot = self.streams.get_mut(index)?;
        slot.stream.settle();
        Some(slot)
    }

    /// The newest stream of an SSRC.
    pub(crate) fn newest(&self, ssrc: u32) -> Option<u32> {
        self.by_ssrc.get(&ssrc).copied()
    }

    pub(crate) fn flows_between(&self, index: u32, from: Endpoint, to: Endpoint) -> bool {
        self.streams
            .get(index)
            .is_some_and(|slot| slot.flow.source().ip == from.ip && slot.flow.destination().ip == to.ip)
    }

    /// A stream without a call, to be found by SDP that names where it goes; of many the newest.
    fn wait_for_sdp(&mut self, index: u32, destination: Endpoint) {
        let waiting = self.unclaimed.entry(destination).or_default();
        if waiting.len() >= MAX_CALL_STREAMS {
            waiting.remove(0);
        }
        waiting.push(index);
    }

    fn unclaim(&mut self, index: u32, destination: Endpoint) {
        if let Some(waiting) = self.unclaimed.get_mut(&destination) {
            waiting.retain(|&other| other != index);
            if waiting.is_empty() {
                self.unclaimed.remove(&destination);
            }
        }
    }
}

impl CallMedia {
    /// Books what an ended stream was. Only the first hop of the same media rates the call (MEAS 1.11.4).
    fn leave(&mut self, slot: &Slot, fact: &event::Stream) {
        if self.ids.len() < MAX_CALL_IDS {
            self.ids.push(slot.serial);
        }
        if slot.hop.place > 0 {
            return;
        }
        for field in ["mos", "dead_air"] {
            if let Some(reason) = fact.why.get(field) {
                self.why.or_insert(field, reason);
            }
        }
        if let Some(mos) = fact.mos {
            self.worst_mos = Some(self.worst_mos.map_or(mos.lq, |worst| worst.min(mos.lq)));
        }
        if fact.codec.class() == Class::Audio && self.codec.is_none_or(|(packets, _)| fact.packets > packets)
        {
            self.codec = Some((fact.packets, fact.codec));
        }
    }
}

/// Name of a stream in one report.
fn stream_id(serial: u32) -> String {
    format!("s{serial}")
}

impl Target {
    /// Media that arrives here flows towards the side that described it; media sent from here, away from it.
    fn direction(&self, by_source: bool) -> Direction {
        match (self.side, by_source) {
            (Side::Caller, false) | (Side::Callee, true) => Direction::ToCaller,
            (Side::Callee, false) | (Side::Caller, true) => Direction::ToCallee,
        }
    }
}

/// Where a stream looks up its payload types.
struct Lookup<'a> {
    targets: &'a HashMap<Endpoint, Target, RandomState>,
    flow: &'a Flow,
    by_source: bool,
}

impl Formats for Lookup<'_> {
    fn format(&self, payload_type: u8) -> Option<(Format, CodecSource)> {
        let endpoint = if self.by_source { self.flow.source() } else { self.flow.destination() };
        let negotiated = self
            .targets
            .get(&endpoint)
            .and_then(|target| target.formats.iter().find(|format| format.payload_type == payload_type));
        match negotiated {
            Some(format) => Some((*format, CodecSource::Sdp)),
            None => Format::of_static(payload_type).map(|format| (format, CodecSource::Static)),
        }
    }
}

/// The media of a call, made at first use.
fn call_media(calls: &mut Vec<Option<CallMedia>>, call: CallKey) -> Option<&mut CallMedia> {
    let index = call.index as usize;
    if index >= calls.len() {
        calls.resize_with(index + 1, || None);
    }
    let slot = calls.get_mut(index)?;
    // What an earlier call left in the slot is nobody's.
    let generation = Some(call.generation);
    if slot.as_ref().is_none_or(|media| media.generation < generation) {
        *slot = Some(CallMedia { generation, ..CallMedia::default() });
    }
    slot.as_mut().filter(|media| media.generation == generation)
}

const NONE: u32 = u32::MAX;
const BY_PAYLOAD: u32 = u32::MAX - 1;
/// Live streams of one call, and streams that wait at one endpoint for SDP: a conference has fewer.
const MAX_CALL_STREAMS: usize = 64;
/// Endpoints that one call has named.
const MAX_CALL_TARGETS: usize = 64;
/// Streams listed with one call, the first ones.
const MAX_CALL_IDS: usize = 256;

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_stream_costs_no_more_than_its_share_of_memory() {
        // With its places in the tables: a flow entry of 8 bytes at 3/8 load and an SSRC entry of 9 bytes at 7/16
        // load at worst, and one number in its call.
        let tables = 8 * 8 / 3 + 9 * 16 / 7 + 4;
        assert!(size_of::<Option<Slot>>() + tables <= 700, "{}", size_of::<Option<Slot>>());
    }

    #[test]
    fn what_every_packet_touches_lies_together() {
        let line = |offset: usize| (offset_of!(Slot, stream) + offset) / 64;
        let [whole_lines, first] = [size_of::<Slot>() % 64, offset_of!(Slot, flow)];
        assert_eq!((whole_lines, first, line(Stream::HOT_BYTES - 1)), (0, 0, 1));
    }
}
