//! Streams that flow, as they stand.

use super::{Media, Slot};
use crate::call::CallKey;
use crate::event::{LiveStream, Missing, StreamCounts};
use crate::quality::score::score;
use crate::rtp::payload::{Class, Codec};

impl Media {
    /// Works off what all streams have written down, for whoever looks at them.
    pub(crate) fn settle(&mut self) {
        self.streams.iter_mut().for_each(|slot| slot.stream.settle());
    }

    /// Live streams.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Endpoints that SDP has named.
    pub(crate) fn endpoints(&self) -> usize {
        self.targets.len()
    }

    /// The streams of a call, which stands at `place`; the codec that carries most of its audio, and the direction
    /// that is missing.
    pub(crate) fn heard_of(
        &self,
        call: CallKey,
        into: &mut Vec<LiveStream>,
        place: u32,
    ) -> (Option<Codec>, Option<Missing>) {
        let Some(Some(media)) = self.calls.get(call.index as usize) else { return (None, None) };
        if media.generation != Some(call.generation) {
            return (None, None);
        }
        let mut most = media.codec;
        for slot in media.streams.iter().filter_map(|&index| self.streams.get(index)) {
            let stream = self.live(slot, Some(place));
            let packets = stream.counts.packets;
            if stream.codec.class() == Class::Audio && most.is_none_or(|(most, _)| packets > most) {
                most = Some((packets, stream.codec));
            }
            into.push(stream);
        }
        (most.map(|(_, codec)| codec), media.hearing.one_way)
    }

    /// The streams that belong to no call, or to one that is over: a stream is there until it is told, or what was
    /// counted of it so far would be forgotten.
    pub(crate) fn without_call(&self, is_up: impl Fn(CallKey) -> bool, into: &mut Vec<LiveStream>) {
        into.extend(
            self.streams
                .iter()
                .filter(|(_, slot)| !slot.call.is_some_and(&is_up))
                .map(|(_, slot)| self.live(slot, None)),
        );
    }

    fn live(&self, slot: &Slot, call: Option<u32>) -> LiveStream {
        let stream = &slot.stream;
        let format = stream.main_format().format;
        let counts = stream.counts();
        let tainted = self.is_tainted_since(stream.first());
        let rated = self
            .rating
            .impairments
            .impairment(&format, self.rating.concealment)
            .filter(|_| !tainted && !slot.implausible.unwrap_or(false));
        let opinion = rated.and_then(|impairment| score(counts.effective, &impairment, None));
        LiveStream {
            serial: slot.serial,
            ssrc: slot.flow.ssrc(),
            source: slot.flow.source(),
            destination: slot.flow.destination(),
            call,
            direction: slot.direction,
            codec: format.codec,
            early: slot.early,
            hop: slot.hop.place,
            first: stream.first(),
            last: stream.last(),
            jitter: stream.jitter().summary().map(|jitter| jitter.last),
            mos: opinion.map(|score| score.mos),
            band: opinion.and(rated).map(|impairment| impairment.band),
            counts: StreamCounts {
                packets: stream.packets(),
                bytes: counts.bytes,
                expected: counts.wire.expected(),
                lost: counts.wire.bad_packets(),
                duplicates: counts.duplicates,
                reordered: counts.reordered,
                rejected: counts.rejected,
                late50: counts.late50,
                late200: counts.late200,
                late_adaptive: counts.late_adaptive,
                restarts: counts.restarts,
                discontinuities: counts.discontinuities,
                stalls: counts.stalls,
            },
        }
    }
}
