//! The media of all calls: streams by flow, endpoints learned from SDP, candidates on probation.
//!
//! ```text
//! SDP  -> targets (endpoint -> call, side, formats)
//! RTP  -> flow table -> stream            new flow: target? RTCP named it? else probation (MEAS 6.7)
//! RTCP -> streams by SSRC
//! call over -> streams closed 1 s later -> facts
//! ```

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use super::Known;
use super::feedback::Named;
use super::flow::{Flow, FlowV4};
use super::hearing::{Hearing, Visibility};
use super::relay::{Relays, Verdict};
use super::slab::Slab;
use crate::Stamp;
use crate::call::{CallKey, Side};
use crate::event::{self, CodecSource, Direction, Event, Missing, Origin, Report, Sink, Why, why};
use crate::limits::Limits;
use crate::quality::Rating;
use crate::rtp::header::Header;
use crate::rtp::payload::{Class, Codec, Format};
use crate::rtp::probation::{Probation, Seen};
use crate::rtp::report::Reported;
use crate::rtp::round_trip::RoundTrips;
use crate::rtp::stream::{Closed, Formats, IDLE_NANOS, Packet, Stream};
use crate::rtp::summary::Context;
use crate::rtp::xr::{Concealment, VoipMetrics};
use crate::sip::sdp;
use crate::wire::{Endpoint, Frame};

/// All media state.
pub(crate) struct Media {
    streams: Slab<Slot>,
    flows: HashTable<Entry>,
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
    rating: Rating,
    serial: u32,
    /// Where the search for a stream to evict goes on.
    hand: u32,
    next_sweep: Stamp,
    max_streams: usize,
    max_targets: usize,
    closed: Vec<Closed>,
    /// Streams that are over, with their call, until the owner has told them.
    pub(crate) ended: Vec<(Option<CallKey>, event::Stream)>,
    /// Calls that carry the same media: legs of one (MEAS 5.9).
    pub(crate) joins: Vec<(CallKey, CallKey)>,
    pub(crate) counters: Counters,
}

/// What media state had to refuse or drop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) capture_duplicates: u64,
    pub(crate) streams_evicted: u64,
    pub(crate) targets_refused: u64,
}

/// A stream as the flow table knows it: so many bits of the hash that it is nearly always the right one, and
/// that looking it up need not wait for the stream's own state.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    index: u32,
}

#[repr(C)]
pub(crate) struct Slot {
    flow: Flow,
    hop: HopMatch,
    /// Its call was found by the sender's endpoint: formats are those of the sender's own description.
    by_source: bool,
    direction: Option<Direction>,
    origin: Origin,
    dscp: u8,
    pub(crate) stream: Stream,
    pub(crate) reported: Option<Box<Reported>>,
    pub(crate) call: Option<CallKey>,
    serial: u32,
    worst_window: f32,
    pub(crate) ending: Option<Ending>,
    early: bool,
    /// Seconds for which it and its successor on the same 5-tuple both flowed (MEAS 1.9).
    overlap_seconds: u8,
    /// Found without SDP, and its pace is that of no clock; `None` until a window has shown it.
    implausible: Option<bool>,
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
    /// Stream of the same SSRC that may be an earlier hop; NONE = not looking, BY_PAYLOAD = one of any SSRC.
    candidate: u32,
    looked: u8,
    equal: u8,
    /// Place behind the first hop, and the first hop's serial.
    place: u8,
    first: u32,
}

/// An endpoint that SDP named.
struct Target {
    call: CallKey,
    /// Who receives here.
    side: Side,
    secure: bool,
    formats: Box<[Format]>,
}

#[derive(Default)]
struct CallMedia {
    generation: u32,
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
    pub(crate) fn new(limits: &Limits, rating: Rating) -> Self {
        Self {
            streams: Slab::new(),
            flows: HashTable::new(),
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
            ended: Vec::new(),
            joins: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// The number of the stream that this flow most probably is; [`Self::offer`] makes sure.
    #[inline]
    pub(crate) fn guess(&self, flow: FlowV4) -> Option<u32> {
        let hash = flow.hash_with(&self.hasher);
        self.flows.find(hash, |entry| entry.tag == hash as u32).map(|entry| entry.index)
    }

    /// The number of a live stream.
    #[inline]
    pub(crate) fn find(&self, flow: &Flow) -> Option<u32> {
        let hash = flow.hash_with(&self.hasher);
        let same = |entry: &Entry| self.streams.get(entry.index).is_some_and(|slot| slot.flow == *flow);
        self.flows.find(hash, same).map(|entry| entry.index)
    }

    /// Draws a stream's state into the cache; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self, index: u32) -> u64 {
        self.streams.get(index).map_or(0, |slot| slot.stream.touch())
    }

    /// Takes a packet if it belongs to the stream that was guessed.
    #[inline]
    pub(crate) fn offer(&mut self, known: &Known<'_>, frame: &Frame<'_>, sink: &mut impl Sink) -> bool {
        let Some(slot) = self.streams.get_mut(known.guess) else { return false };
        if slot.flow != Flow::V4(known.flow) {
            return false;
        }
        let Some(packet) = Packet::read(frame.stamp, known.payload, known.cut, known.ip_id, frame.interface)
        else {
            return false;
        };
        let formats = Lookup { targets: &self.targets, flow: &slot.flow, by_source: slot.by_source };
        slot.stream.push(&packet, &formats, &mut self.closed);
        if slot.hop.candidate != NONE {
            self.look_for_earlier_hop(known.guess, &packet);
        }
        if !self.closed.is_empty() {
            self.tell_windows(known.guess, sink);
        }
        true
    }

    /// One packet of a live stream.
    pub(crate) fn push(&mut self, index: u32, packet: &Packet<'_>, sink: &mut impl Sink) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        let formats = Lookup { targets: &self.targets, flow: &slot.flow, by_source: slot.by_source };
        slot.stream.push(packet, &formats, &mut self.closed);
        if slot.hop.candidate != NONE {
            self.look_for_earlier_hop(index, packet);
        }
        if !self.closed.is_empty() {
            self.tell_windows(index, sink);
        }
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
        let by_source = !self.targets.contains_key(&destination);
        let target = if by_source { self.targets.get(&source) } else { self.targets.get(&destination) };
        let announced = target.is_some();
        if announced || self.named.contains(&flow) {
            let origin = if announced { Origin::Sdp } else { Origin::Rtcp };
            let mut run = self.probation.release(source, destination, header.fixed.ssrc);
            run.push(packet.seen(header.fixed.marker, dscp));
            self.open(flow, &run, origin, by_source, sink);
        } else {
            let seen = packet.seen(header.fixed.marker, dscp);
            if let Some(run) = self.probation.packet(source, destination, header, seen).map(<[Seen]>::to_vec)
            {
                self.open(flow, &run, Origin::Heuristic, by_source, sink);
            }
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
        let same_ssrc = self.by_ssrc.get(&ssrc).copied().unwrap_or(NONE);
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
            hop: HopMatch {
                candidate: if same_ssrc == NONE { BY_PAYLOAD } else { same_ssrc },
                looked: 0,
                equal: 0,
                place: 0,
                first: self.serial,
            },
            ending: None,
            reported: None,
            worst_window: f32::INFINITY,
            implausible: None,
        });
        let Self { streams, hasher, .. } = self;
        self.flows.insert_unique(hash, Entry { tag: hash as u32, index }, |entry| {
            streams.get(entry.index).map_or(0, |slot| slot.flow.hash_with(hasher))
        });
        self.by_ssrc.insert(ssrc, index);
        match call {
            Some(call) => self.adopt(index, call),
            None => self.wait_for_sdp(index, destination),
        }
        for seen in rest {
            self.push(index, &Packet::of(seen), sink);
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
            let target =
                Target { call, side, secure: media.secure, formats: media.formats.as_slice().into() };
            let direction = target.direction(false);
            let known = self.targets.insert(endpoint, target).is_some_and(|old| old.call == call);
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

    /// Works off what time brings: streams and calls that are over, directions that are silent. Once every
    /// tick; the calls whose media are closed are pushed to `done`.
    pub(crate) fn sweep(&mut self, now: Stamp, done: &mut Vec<CallKey>, sink: &mut impl Sink) {
        while let Some(&(due, call)) = self.closing.front() {
            if due > now {
                break;
            }
            self.closing.pop_front();
            if self.is_flowing(call, now) {
                self.closing.push_back((now.plus_nanos(LINGER_NANOS), call));
            } else {
                self.close_call(call, sink);
                done.push(call);
            }
        }
    }

    /// The capture is over: everything is.
    pub(crate) fn finish(&mut self, done: &mut Vec<CallKey>, sink: &mut impl Sink) {
        while let Some((_, call)) = self.closing.pop_front() {
            self.close_call(call, sink);
            done.push(call);
        }
        let rest: Vec<u32> = self.streams.iter().map(|(index, _)| index).collect();
        for index in rest {
            self.close(index, sink);
        }
    }

    /// Looks at every stream, once a second; true when it was time to.
    pub(crate) fn look_around(&mut self, now: Stamp, sink: &mut impl Sink) -> bool {
        if now < self.next_sweep {
            return false;
        }
        self.next_sweep = now.plus_seconds(1);
        let (mut over, mut overlapping) = (Vec::new(), Vec::new());
        for (index, slot) in self.streams.iter() {
            let silent = now.nanos_since(slot.stream.last());
            if slot.ending == Some(Ending::Succeeded) && silent < LINGER_NANOS {
                overlapping.push(index);
            }
            if slot.ending.is_some() && silent >= LINGER_NANOS
                || slot.call.is_none() && silent >= FORGET_NANOS
            {
                over.push(index);
            } else if let Some(call) = slot.call
                && let Some(media) = call_media(&mut self.calls, call)
            {
                let (source, destination) = (slot.flow.source(), slot.flow.destination());
                media.hearing.heard(slot.direction, &slot.stream, source, destination, &mut self.visibility);
            }
        }
        for index in over {
            self.close(index, sink);
        }
        for index in overlapping {
            self.overlap(index);
        }
        for media in self.calls.iter_mut().flatten() {
            if let Some(answered) = media.answered
                && media.ended.is_none()
                && !media.on_hold
            {
                media.hearing.judge(now, answered, &self.visibility);
            }
        }
        true
    }

    /// One more second in which a stream and its successor flow both: mixing, or a collision.
    fn overlap(&mut self, index: u32) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        slot.overlap_seconds = slot.overlap_seconds.saturating_add(1);
        if slot.overlap_seconds < OVERLAP_SECONDS {
            return;
        }
        // It is not over at all, then.
        slot.ending = None;
        let (source, destination, call) = (slot.flow.source(), slot.flow.destination(), slot.call);
        let Some(media) = call.and_then(|call| call_media(&mut self.calls, call)) else { return };
        for &other in &media.streams {
            if let Some(slot) = self.streams.get_mut(other)
                && slot.flow.source() == source
                && slot.flow.destination() == destination
            {
                slot.overlap_seconds = OVERLAP_SECONDS;
            }
        }
    }

    /// Packet time goes on from here, although it was later before.
    pub(crate) fn clock_set_back(&mut self, now: Stamp) {
        self.next_sweep = self.next_sweep.min(now);
    }

    /// Calls with media, and when it was last heard.
    pub(crate) fn last_heard(&self) -> impl Iterator<Item = (CallKey, Stamp)> {
        self.calls.iter().enumerate().filter_map(|(index, media)| {
            let media = media.as_ref()?;
            Some((CallKey { index: index as u32, generation: media.generation }, media.hearing.last()?))
        })
    }

    /// What the media of a call add to its record; its slot is free afterwards.
    pub(crate) fn take(&mut self, call: CallKey) -> Outcome {
        let slot = self.calls.get_mut(call.index as usize);
        let Some(media) = slot.and_then(|slot| slot.take_if(|media| media.generation == call.generation))
        else {
            return Outcome::default();
        };
        while self.calls.pop_if(|slot| slot.is_none()).is_some() {}
        let one_way = media.hearing.unjudged(media.on_hold).filter(|_| media.answered.is_some());
        let mut why = media.why;
        why.extend(one_way.map(|reason| ("one_way", reason)));
        if media.worst_mos.is_some() {
            why.remove("mos");
        }
        if media.hearing.dead_air.is_some() {
            why.remove("dead_air");
        } else if !media.ids.is_empty() {
            why.entry("dead_air").or_insert(why::ONE_DIRECTION);
        }
        Outcome {
            streams: media.ids.iter().map(|&serial| stream_id(serial)).collect(),
            codec: media.codec.map(|(_, codec)| codec),
            mos: media.worst_mos,
            one_way: media.hearing.one_way,
            dead_air: media.hearing.dead_air,
            why,
        }
    }

    fn tell_windows(&mut self, index: u32, sink: &mut impl Sink) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        let unproven = slot.origin == Origin::Heuristic && slot.call.is_none();
        if *slot.implausible.get_or_insert_with(|| unproven && !slot.stream.keeps_pace()) {
            self.closed.clear();
        }
        for closed in self.closed.drain(..) {
            if let Some(window) = slot.stream.window_fact(&closed, &self.rating, slot.direction) {
                slot.worst_window = slot.worst_window.min(window.mos_lq as f32);
                sink.event(Event::Window(window));
            }
        }
    }

    fn fact(&self, slot: &Slot, call: Option<&CallMedia>) -> event::Stream {
        let figures = slot.reported.as_ref().map(|reported| reported.figures(slot.stream.clock_rate()));
        let voip = slot.reported.as_ref().and_then(|reported| reported.last_voip());
        let halved = |rtt: Option<f64>, source| rtt.map(|rtt| (rtt / 2.0, source));
        let delay = halved(figures.and_then(|figures| figures.rtt), "rtcp")
            .or_else(|| halved(voip.and_then(VoipMetrics::round_trip), "rtcp_xr"))
            .or_else(|| Some((call?.delay?, "sip")))
            .or_else(|| self.rating.assumed_delay_ms.map(|ms| (ms / 1e3, "assumed")));
        let last = slot.stream.last();
        let ended = call.and_then(|call| call.ended);
        let tail_missing = ended.is_some_and(|ended| {
            ended.nanos_since(last) > LINGER_NANOS
                && slot.direction.is_some_and(|direction| {
                    call.is_some_and(|call| {
                        call.hearing.only_other_after(direction, ended.plus_nanos(-LINGER_NANOS))
                    })
                })
        });
        let identity = event::Stream {
            id: stream_id(slot.serial),
            ssrc: format!("0x{:08x}", slot.flow.ssrc()),
            source: slot.flow.source(),
            destination: slot.flow.destination(),
            call_id: None,
            direction: slot.direction,
            origin: slot.origin,
            srtp: slot.stream.is_secure(),
            ssrc_overlap: slot.overlap_seconds >= OVERLAP_SECONDS,
            tail_missing,
            dscp: slot.dscp,
            hop: (slot.hop.place > 0)
                .then(|| event::Hop { of: stream_id(slot.hop.first), place: u32::from(slot.hop.place) }),
            early: slot.early,
            rtcp: figures,
            ..event::Stream::blank(slot.flow.source(), slot.flow.destination())
        };
        slot.stream.fact(Context {
            identity,
            rating: &self.rating,
            delay,
            concealment: voip.and_then(|voip| match voip.concealment() {
                Concealment::Unspecified => None,
                Concealment::Disabled => Some(false),
                Concealment::Enhanced | Concealment::Standard => Some(true),
            }),
            receiver_delay: voip
                .filter(|voip| voip.end_system_ms > 0)
                .map(|voip| f64::from(voip.end_system_ms) / 1e3),
            implausible: slot.implausible.unwrap_or(false),
            worst_window: slot.worst_window.is_finite().then_some(f64::from(slot.worst_window)),
        })
    }

    pub(crate) fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        self.streams.get_mut(index)
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

    fn is_flowing(&self, call: CallKey, now: Stamp) -> bool {
        let Some(Some(media)) = self.calls.get(call.index as usize) else { return false };
        media.streams.iter().any(|&index| {
            self.streams.get(index).is_some_and(|slot| now.nanos_since(slot.stream.last()) < LINGER_NANOS)
        })
    }

    fn close_call(&mut self, call: CallKey, sink: &mut impl Sink) {
        let Some(Some(media)) = self.calls.get_mut(call.index as usize) else { return };
        let streams = std::mem::take(&mut media.streams);
        for endpoint in std::mem::take(&mut media.targets) {
            if self.targets.get(&endpoint).is_some_and(|target| target.call == call) {
                self.targets.remove(&endpoint);
            }
        }
        for index in streams {
            self.close(index, sink);
        }
    }

    /// Ends a stream and tells what it was.
    fn close(&mut self, index: u32, sink: &mut impl Sink) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        slot.stream.finish(&mut self.closed);
        self.counters.capture_duplicates += slot.stream.counts().capture_duplicates;
        self.tell_windows(index, sink);
        let Some(slot) = self.streams.remove(index) else { return };
        let hash = slot.flow.hash_with(&self.hasher);
        if let Ok(entry) = self.flows.find_entry(hash, |entry| entry.index == index) {
            entry.remove();
        }
        let ssrc = slot.flow.ssrc();
        if self.by_ssrc.get(&ssrc) == Some(&index) {
            self.by_ssrc.remove(&ssrc);
        }
        self.relays.forget(index);
        match slot.call {
            Some(call) => {
                if let Some(media) = call_media(&mut self.calls, call) {
                    media.streams.retain(|&other| other != index);
                }
            }
            None => self.unclaim(index, slot.flow.destination()),
        }
        let call = slot.call.and_then(|call| self.calls.get(call.index as usize)).and_then(Option::as_ref);
        let fact = self.fact(&slot, call);
        if let Some(call) = slot.call
            && let Some(media) = call_media(&mut self.calls, call)
        {
            let (source, destination) = (slot.flow.source(), slot.flow.destination());
            media.hearing.heard(slot.direction, &slot.stream, source, destination, &mut self.visibility);
            media.leave(&slot, &fact);
        }
        self.ended.push((slot.call, fact));
    }

    /// Does an earlier hop carry the same packets (MEAS 1.11.4)? Three of the first five decide; where no other
    /// stream has its SSRC, the payload does.
    #[cold]
    fn look_for_earlier_hop(&mut self, index: u32, packet: &Packet<'_>) {
        let Self { streams, relays, .. } = self;
        let Some(slot) = streams.get(index) else { return };
        let HopMatch { candidate, mut looked, mut equal, .. } = slot.hop;
        let verdict = if candidate == BY_PAYLOAD {
            let may_be = |other| streams.get(other).is_some_and(|other| other.may_precede(slot));
            relays.look(index, packet, may_be)
        } else {
            looked += 1;
            equal += u8::from(streams.get(candidate).is_some_and(|other| other.stream.carried(packet)));
            match (equal >= HOP_EQUAL, looked >= HOP_LOOKS) {
                (true, _) => Verdict::Relayed(candidate),
                (false, true) => Verdict::Alone,
                (false, false) => Verdict::Open,
            }
        };
        let Some(slot) = self.streams.get_mut(index) else { return };
        (slot.hop.looked, slot.hop.equal) = (looked, equal);
        match verdict {
            Verdict::Open => {}
            Verdict::Alone => slot.hop.candidate = NONE,
            Verdict::Relayed(before) => {
                slot.hop.candidate = NONE;
                self.follows(index, before);
            }
        }
    }

    /// A stream carries on what another one brought: it is the next hop, and of the same call.
    fn follows(&mut self, index: u32, before: u32) {
        let Some(before) = self.streams.get(before) else { return };
        let (hop, call, direction) = (before.hop, before.call, before.direction);
        let Some(slot) = self.streams.get_mut(index) else { return };
        (slot.hop.first, slot.hop.place) = (hop.first, hop.place.saturating_add(1));
        match (call, slot.call) {
            (Some(call), Some(own)) if own != call => self.joins.push((call, own)),
            (Some(call), None) => {
                slot.call = Some(call);
                slot.direction = direction;
                let destination = slot.flow.destination();
                self.unclaim(index, destination);
                self.adopt(index, call);
            }
            _ => {}
        }
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

    /// One call must not fill the table: of its streams the one that is silent for longest gives way.
    fn make_room_in(&mut self, call: CallKey, sink: &mut impl Sink) {
        let Some(media) = call_media(&mut self.calls, call) else { return };
        if media.streams.len() < MAX_CALL_STREAMS {
            return;
        }
        let last = |index: &u32| self.streams.get(*index).map(|slot| slot.stream.last());
        let Some(oldest) = media.streams.iter().copied().min_by_key(last) else { return };
        self.counters.streams_evicted += 1;
        self.close(oldest, sink);
    }

    /// Makes room: of the next few streams around, the one that is silent for longest.
    fn evict(&mut self, sink: &mut impl Sink) {
        let oldest = self.streams.around(&mut self.hand, EVICTION_SAMPLE, |slot| slot.stream.last());
        let Some(index) = oldest else { return };
        self.counters.streams_evicted += 1;
        self.close(index, sink);
    }

    /// Signalling of a call is over: its media are, as soon as nothing was heard for 1 s (DESIGN 1).
    pub(crate) fn end(&mut self, call: CallKey, stamp: Stamp, delay: Option<f64>) {
        if let Some(media) = call_media(&mut self.calls, call) {
            media.ended = Some(stamp);
            media.delay = delay;
        }
        self.closing.push_back((stamp.plus_nanos(LINGER_NANOS), call));
    }
}

impl Slot {
    /// Whether it can be an earlier hop of another stream: it goes where that one comes from, or both are of one
    /// call already. Who plays the same music to many listeners relays nothing, nor does a hop that is behind.
    fn may_precede(&self, other: &Self) -> bool {
        let (from, to) = (self.flow.source().ip, self.flow.destination().ip);
        let relay = other.flow.source().ip;
        let meet = to == relay || self.call.is_some() && self.call == other.call;
        meet && from != relay && to != other.flow.destination().ip && self.hop.first != other.serial
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
                self.why.entry(field).or_insert(reason);
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
    if slot.as_ref().is_none_or(|media| media.generation < call.generation) {
        *slot = Some(CallMedia { generation: call.generation, ..CallMedia::default() });
    }
    slot.as_mut().filter(|media| media.generation == call.generation)
}

const NONE: u32 = u32::MAX;
const BY_PAYLOAD: u32 = u32::MAX - 1;
/// DESIGN 1: a stream closes 1 s after the end of its call.
const LINGER_NANOS: i64 = 1_000_000_000;
/// MEAS 1.9: two SSRCs interleaved for more than 2 s.
const OVERLAP_SECONDS: u8 = 3;
/// A stream without a call is forgotten after this silence; until then it may come back.
const FORGET_NANOS: i64 = 10 * IDLE_NANOS;
/// Live streams of one call, and streams that wait at one endpoint for SDP: a conference has fewer.
const MAX_CALL_STREAMS: usize = 64;
/// Endpoints that one call has named.
const MAX_CALL_TARGETS: usize = 64;
/// Streams listed with one call, the first ones.
const MAX_CALL_IDS: usize = 256;
/// Streams looked at to find one worth evicting.
const EVICTION_SAMPLE: usize = 32;
/// MEAS 1.11.4: equal packets that make two streams hops of one, and packets looked at.
const HOP_EQUAL: u8 = 3;
const HOP_LOOKS: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_costs_no_more_than_its_share_of_memory() {
        // 700 bytes with its places in the tables: a flow entry of 9 and an SSRC entry of 9 bytes at 7/16 load
        // at worst, and one number in its call.
        let tables = (9 + 9) * 16 / 7 + 4;
        assert!(size_of::<Option<Slot>>() + tables <= 720, "{}", size_of::<Option<Slot>>());
    }
}
