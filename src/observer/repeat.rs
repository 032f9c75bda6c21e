//! SIP and RTCP datagrams captured twice (MEAS 1.11.1): the same datagram on a second interface, or mirrored twice into
//! one. A retransmission has an IP identification of its own.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::fast::FixedState;

use crate::Stamp;
use crate::wire::{Endpoint, Packet};

/// The last datagrams, by the hash of what must be equal.
pub(crate) struct Repeats {
    /// The same in every run: two datagrams in one slot hide one another, which must not be left to chance.
    hasher: FixedState,
    slots: Vec<Seen>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    hash: u64,
    stamp: Stamp,
    ip_id: Option<u16>,
    interface: u32,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { hasher: FixedState::default(), slots: vec![Seen::default(); SLOTS] }
    }
}

impl Repeats {
    /// Was this very datagram captured before?
    pub(crate) fn captured_twice(&mut self, stamp: Stamp, packet: &Packet<'_>) -> bool {
        let payload = packet.payload;
        // Start line, top Via and the end of the body tell messages apart; all of it would cost more than it tells.
        let head = payload.get(..HEAD).unwrap_or(payload);
        let tail = payload.len().checked_sub(TAIL).and_then(|at| payload.get(at..)).unwrap_or_default();
        let mut hasher = self.hasher.build_hasher();
        for end in [packet.source, packet.destination] {
            match end.ip {
                IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
                IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
            }
            hasher.write_u16(end.port);
        }
        hasher.write_usize(payload.len());
        hasher.write(head);
        hasher.write(tail);
        let hash = hasher.finish();
        let Some(seen) = self.slots.get_mut(hash as usize % SLOTS) else { return false };
        let apart = stamp.nanos_since(seen.stamp);
        let id = packet.ip_id.unwrap_or(0);
        let by_id = if id == 0 { apart < INSTANT_NANOS } else { seen.ip_id == packet.ip_id };
        let twice = seen.hash == hash && apart < COPY_NANOS && (seen.interface != packet.interface || by_id);
        *seen = Seen { hash, stamp, ip_id: packet.ip_id, interface: packet.interface };
        twice
    }
}

/// Pairs of endpoints whose RTCP the tap sees itself. What HEP tells of them is told twice, and by another clock:
/// SIP has names for its messages by which the copy is found (MEAS 5.1), RTCP has none.
#[derive(Default)]
pub(crate) struct Overheard {
    hasher: FixedState,
    /// Last time on the wire, by the hash of the pair; made when the first is seen.
    slots: Vec<(u64, Stamp)>,
}

impl Overheard {
    /// RTCP passed on the wire.
    pub(crate) fn on_wire(&mut self, stamp: Stamp, from: Endpoint, to: Endpoint) {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, (0, Stamp(0)));
        }
        let hash = self.hasher.hash_one((from, to));
        if let Some(slot) = self.slots.get_mut(hash as usize % SLOTS) {
            *slot = (hash, stamp);
        }
    }

    /// Whether RTCP of these two passes on the wire these days.
    pub(crate) fn is_on_wire(&self, stamp: Stamp, from: Endpoint, to: Endpoint) -> bool {
        let hash = self.hasher.hash_one((from, to));
        let slot = self.slots.get(hash as usize % SLOTS);
        slot.is_some_and(|(known, last)| *known == hash && stamp.nanos_since(*last).abs() < PAIR_NANOS)
    }
}

const SLOTS: usize = 1024;
/// Bytes hashed of the beginning: start line and top Via with its branch.
const HEAD: usize = 128;
/// Bytes hashed of the end.
const TAIL: usize = 64;
/// T1 of RFC 3261: no retransmission comes sooner.
const COPY_NANOS: i64 = 500_000_000;
/// MEAS 1.11.1: without IP identification, closer than any sender repeats itself.
const INSTANT_NANOS: i64 = 100_000;
/// Some intervals of RTCP (RFC 3550 6.2: 5 s, halved to doubled).
const PAIR_NANOS: i64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtcp_of_a_pair_is_overheard_in_its_direction_and_for_a_minute() {
        let at = |port| Endpoint { ip: [192, 0, 2, 1].into(), port };
        let second = |seconds: u64| Stamp((1000 + seconds) * 1_000_000_000);
        let mut overheard = Overheard::default();
        assert!(!overheard.is_on_wire(second(0), at(1), at(2)));
        overheard.on_wire(second(0), at(1), at(2));
        assert!(overheard.is_on_wire(second(59), at(1), at(2)));
        assert!(!overheard.is_on_wire(second(59), at(2), at(1)));
        assert!(!overheard.is_on_wire(second(60), at(1), at(2)));
        for port in 0..u16::MAX {
            overheard.on_wire(second(0), at(port), at(3));
        }
        assert_eq!(overheard.slots.len(), SLOTS);
    }
}
