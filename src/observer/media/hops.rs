//! The same media on another 5-tuple: before and behind a relay (MEAS 1.11.4).

use super::{BY_PAYLOAD, HopMatch, Media, NONE, Slot};
use crate::observer::relay::Verdict;
use crate::rtp::packet::Packet;

impl Media {
    /// Does an earlier hop carry the same packets (MEAS 1.11.4)? Three of the first five decide; where no other
    /// stream has its SSRC, the payload does.
    #[cold]
    pub(super) fn look_for_earlier_hop(&mut self, index: u32, packet: &Packet<'_>) {
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
    pub(super) fn follows(&mut self, index: u32, before: u32) {
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

/// MEAS 1.11.4: equal packets that make two streams hops of one, and packets looked at.
const HOP_EQUAL: u8 = 3;
const HOP_LOOKS: u8 = 5;
