//! The same media on another 5-tuple: before and behind a relay (MEAS 1.11.4).

use super::{BY_PAYLOAD, HopMatch, Media, NONE, SameMedia, Slot};
use crate::call::CallKey;
use crate::observer::flow::Flow;
use crate::observer::relay::Verdict;
use crate::rtp::packet::Packet;

impl Media {
    /// The stream of the same SSRC that a new one may carry on: one of its own call rather than the newest of all,
    /// for not every sender draws its SSRC at random (RFC 3550 8.1).
    pub(super) fn earlier_hop_of(&self, flow: &Flow, call: Option<CallKey>) -> u32 {
        let newest = self.by_ssrc.get(&flow.ssrc()).copied();
        let Some(newest) = newest else { return BY_PAYLOAD };
        let fits = |index: &u32| {
            self.streams
                .get(*index)
                .is_some_and(|slot| slot.flow.ssrc() == flow.ssrc() && carries_on(&slot.flow, flow))
        };
        let own = call.and_then(|call| self.calls.get(call.index as usize)?.as_ref());
        let own = own.and_then(|own| own.streams.iter().rev().copied().find(fits));
        own.or(Some(newest).filter(fits)).unwrap_or(NONE)
    }

    /// Does an earlier hop carry the same packets (MEAS 1.11.4)? Three of the first five decide; where no other
    /// stream has its SSRC, the payload does.
    #[cold]
    pub(super) fn look_for_earlier_hop(&mut self, index: u32, packet: &Packet<'_>) {
        let Self { streams, relays, .. } = self;
        let Some(slot) = streams.get(index) else { return };
        let HopMatch { of: candidate, mut looked, mut equal, .. } = slot.hop;
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
            Verdict::Alone => slot.hop = HopMatch::new(NONE, slot.serial),
            Verdict::Relayed(before) => {
                slot.hop = HopMatch::new(NONE, slot.serial);
                self.follows(index, before);
            }
        }
    }

    /// A stream carries on what another one brought: it is the next hop, and of the same call.
    pub(super) fn follows(&mut self, index: u32, before: u32) {
        let Some(before) = self.streams.get(before) else { return };
        let hop = (before.first_hop(), before.hop.place);
        let (call, direction, into) = (before.call, before.direction, before.flow.destination().ip);
        let Some(slot) = self.streams.get_mut(index) else { return };
        match (call, slot.call) {
            (Some(call), Some(own)) if own != call => {
                let relay = Some(into).filter(|&into| into == slot.flow.source().ip);
                let serial = slot.serial;
                self.joins.push(SameMedia { calls: (call, own), relay, stream: index, serial, before: hop });
                return;
            }
            (Some(call), None) => {
                slot.call = Some(call);
                slot.direction = direction;
                let destination = slot.flow.destination();
                self.unclaim(index, destination);
                self.adopt(index, call);
            }
            _ => {}
        }
        self.place_behind(index, hop);
    }

    /// Two calls are legs of one, so the media they share are hops.
    pub(crate) fn confirm(&mut self, same: &SameMedia) {
        if self.streams.get(same.stream).is_some_and(|slot| slot.serial == same.serial) {
            self.place_behind(same.stream, same.before);
        }
    }

    fn place_behind(&mut self, index: u32, (first, place): (u32, u8)) {
        if let Some(slot) = self.streams.get_mut(index) {
            (slot.hop.of, slot.hop.place) = (first, place.saturating_add(1));
        }
    }
}

impl HopMatch {
    /// `candidate` is what to look at first; `NONE` = nothing can be an earlier hop of this stream, whose serial it is.
    pub(super) fn new(candidate: u32, serial: u32) -> Self {
        let looking = candidate != NONE;
        Self { of: if looking { candidate } else { serial }, looking, looked: 0, equal: 0, place: 0 }
    }
}

impl Slot {
    /// Serial of the first hop of what it carries: its own, as long as none is known.
    fn first_hop(&self) -> u32 {
        if self.hop.looking { self.serial } else { self.hop.of }
    }

    /// Whether it can be an earlier hop of another stream: it goes where that one comes from, or both are of one
    /// call already. Who plays the same music to many listeners relays nothing, nor does a hop that is behind.
    fn may_precede(&self, other: &Self) -> bool {
        let (from, to) = (self.flow.source().ip, self.flow.destination().ip);
        let relay = other.flow.source().ip;
        let meet = to == relay || self.call.is_some() && self.call == other.call;
        meet && from != relay && to != other.flow.destination().ip && self.first_hop() != other.serial
    }
}

/// Whether the second flow can be the first one on a later hop, by its addresses: behind a relay with one address or
/// two, or with one end rewritten by NAT. Two that go into one host or come out of one are two.
fn carries_on(before: &Flow, behind: &Flow) -> bool {
    let (from, into) = (before.source(), before.destination());
    let (out_of, to) = (behind.source(), behind.destination());
    if from == to {
        // An echo.
        return false;
    }
    let relay = into.ip == out_of.ip;
    let nat = (into == to) != (from == out_of);
    relay || nat || (from.ip != out_of.ip && into.ip != to.ip && from.ip != to.ip)
}

/// MEAS 1.11.4: equal packets that make two streams hops of one, and packets looked at.
const HOP_EQUAL: u8 = 3;
const HOP_LOOKS: u8 = 5;
