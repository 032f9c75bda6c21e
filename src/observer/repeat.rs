//! SIP and RTCP datagrams captured twice (MEAS 1.11.1): the same datagram on a second interface, or mirrored twice into
//! one. A retransmission has an IP identification of its own.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::Stamp;
use crate::wire::Packet;

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
        let hash = self.hasher.hash_one((packet.source, packet.destination, payload.len(), head, tail));
        let Some(seen) = self.slots.get_mut(hash as usize % SLOTS) else { return false };
        let apart = stamp.nanos_since(seen.stamp);
        let id = packet.ip_id.unwrap_or(0);
        let by_id = if id == 0 { apart < INSTANT_NANOS } else { seen.ip_id == packet.ip_id };
        let twice = seen.hash == hash && apart < COPY_NANOS && (seen.interface != packet.interface || by_id);
        *seen = Seen { hash, stamp, ip_id: packet.ip_id, interface: packet.interface };
        twice
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
