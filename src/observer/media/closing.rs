//! What time brings: streams and calls that are over, the facts they leave, and who gives way when a table is full.

use super::{CallMedia, Ending, MAX_CALL_STREAMS, Media, Outcome, Slot, call_media, stream_id};
use crate::Stamp;
use crate::call::CallKey;
use crate::event::{self, Event, Origin, Sink, why};
use crate::rtp::stream::IDLE_NANOS;
use crate::rtp::summary::Context;
use crate::rtp::xr::{Concealment, VoipMetrics};

impl Media {
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
    pub(super) fn overlap(&mut self, index: u32) {
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
            Some((CallKey { index: index as u32, generation: media.generation? }, media.hearing.last()?))
        })
    }

    /// What the media of a call add to its record; its slot is free afterwards.
    pub(crate) fn take(&mut self, call: CallKey) -> Outcome {
        let slot = self.calls.get_mut(call.index as usize);
        let Some(media) =
            slot.and_then(|slot| slot.take_if(|media| media.generation == Some(call.generation)))
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
            why.or_insert("dead_air", why::ONE_DIRECTION);
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

    pub(super) fn tell_windows(&mut self, index: u32, sink: &mut impl Sink) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        let unproven = slot.origin == Origin::Heuristic && slot.call.is_none();
        if *slot.implausible.get_or_insert_with(|| unproven && !slot.stream.keeps_pace()) {
            self.closed.clear();
        }
        for closed in self.closed.drain(..) {
            if let Some(mut window) = slot.stream.window_fact(&closed, &self.rating, slot.direction) {
                window.stream = slot.serial;
                window.tainted = window.start <= self.dropped_until;
                if !window.tainted {
                    slot.worst_window = slot.worst_window.min(window.mos_lq as f32);
                }
                sink.event(Event::Window(window));
            }
        }
    }

    pub(super) fn fact(&self, slot: &Slot, call: Option<&CallMedia>) -> event::Stream {
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
                .then(|| event::Hop { of: stream_id(slot.hop.of), place: u32::from(slot.hop.place) }),
            early: slot.early,
            rtcp: figures,
            flow: event::FlowName::of(slot.flow.hash_with(&self.hasher)),
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
            tainted: self.is_tainted_since(slot.stream.first()),
            worst_window: slot.worst_window.is_finite().then_some(f64::from(slot.worst_window)),
        })
    }

    pub(super) fn is_flowing(&self, call: CallKey, now: Stamp) -> bool {
        let Some(Some(media)) = self.calls.get(call.index as usize) else { return false };
        media.streams.iter().any(|&index| {
            self.streams.get(index).is_some_and(|slot| now.nanos_since(slot.stream.last()) < LINGER_NANOS)
        })
    }

    pub(super) fn close_call(&mut self, call: CallKey, sink: &mut impl Sink) {
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
    pub(super) fn close(&mut self, index: u32, sink: &mut impl Sink) {
        let Some(slot) = self.streams.get_mut(index) else { return };
        slot.stream.finish(&mut self.closed);
        self.counters.capture_duplicates += slot.stream.counts().capture_duplicates;
        self.tell_windows(index, sink);
        let Some(slot) = self.streams.remove(index) else { return };
        let hash = slot.flow.hash_with(&self.hasher);
        self.flows.remove(hash, index);
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

    /// One call must not fill the table: of its streams the one that is silent for longest gives way.
    pub(super) fn make_room_in(&mut self, call: CallKey, sink: &mut impl Sink) {
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
    pub(super) fn evict(&mut self, sink: &mut impl Sink) {
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

/// DESIGN 1: a stream closes 1 s after the end of its call.
const LINGER_NANOS: i64 = 1_000_000_000;
/// MEAS 1.9: two SSRCs interleaved for more than 2 s.
const OVERLAP_SECONDS: u8 = 3;
/// A stream without a call is forgotten after this silence; until then it may come back.
const FORGET_NANOS: i64 = 10 * IDLE_NANOS;
/// Streams looked at to find one worth evicting.
const EVICTION_SAMPLE: usize = 32;
