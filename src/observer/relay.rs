//! The same media on another 5-tuple under another SSRC: a relay that writes its own (MEAS 1.11.4).
//!
//! ```text
//! phone --SSRC a, "...RTP payload 1 2 3 ..."--> relay --SSRC b, "...1 2 3 ..."--> phone
//! ```
//!
//! Only the payload is left to compare, so eight packets in a row must be equal, none of them silence. Looked at
//! are the first packets of each new stream: a relay begins with the first one it gets.

use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashMap;

use crate::Stamp;
use crate::rtp::packet::Packet;

/// Payloads of new streams.
pub(crate) struct Relays {
    /// The same in each process: what shares a place decides what is found.
    hasher: FixedState,
    recent: Vec<Seen>,
    young: HashMap<u32, Young, RandomState>,
}

/// The stream that carried a payload last, and when.
#[derive(Clone, Copy, Default)]
struct Seen {
    digest: u64,
    stamp: Stamp,
    stream: u32,
    ordinal: u8,
}

/// A stream in its first packets.
#[derive(Clone, Copy, Default)]
struct Young {
    /// Packets looked at, and those of them that were not silence.
    looked: u8,
    ordinal: u8,
    /// Stream that had the same payload, its packet, and how many in a row.
    of: u32,
    matched: u8,
    run: u8,
}

/// What one packet told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look at the next one too.
    Open,
    /// It carries what that stream carries.
    Relayed(u32),
    /// No stream before it carries the same.
    Alone,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            hasher: FixedState::default(),
            recent: vec![Seen::default(); PLACES],
            young: HashMap::default(),
        }
    }
}

impl Relays {
    /// Takes one of the first packets of a stream. `may_be` tells whether a stream can be an earlier hop of it.
    pub(crate) fn look(
        &mut self,
        stream: u32,
        packet: &Packet<'_>,
        may_be: impl FnOnce(u32) -> bool,
    ) -> Verdict {
        let young = self.young.entry(stream).or_default();
        young.looked += 1;
        if let Some(head) = packet.payload.get(..HEAD).filter(|head| !is_silence(head)) {
            young.ordinal += 1;
            let digest = self.hasher.hash_one((head, packet.payload_len));
            let place = digest as usize % PLACES;
            let Some(seen) = self.recent.get_mut(place) else { return Verdict::Alone };
            let before = *seen;
            *seen = Seen { digest, stamp: packet.stamp, stream, ordinal: young.ordinal };
            let equal = before.digest == digest
                && before.stream != stream
                && packet.stamp.nanos_since(before.stamp) < APART_NANOS
                && may_be(before.stream);
            let in_row = young.of == before.stream && before.ordinal == young.matched.wrapping_add(1);
            young.run = match (equal, in_row) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => young.run + 1,
            };
            (young.of, young.matched) = (before.stream, before.ordinal);
            if young.run >= IN_ROW {
                let of = young.of;
                self.forget(stream);
                return Verdict::Relayed(of);
            }
        }
        if young.looked < LOOKED {
            return Verdict::Open;
        }
        self.forget(stream);
        Verdict::Alone
    }

    /// The stream is over.
    pub(crate) fn forget(&mut self, stream: u32) {
        self.young.remove(&stream);
    }
}

/// Two values or fewer: the idle patterns of G.711, comfort noise in no hurry, a stuck sender.
fn is_silence(head: &[u8]) -> bool {
    let Some((&first, rest)) = head.split_first() else { return true };
    let other = rest.iter().copied().find(|&byte| byte != first);
    rest.iter().all(|&byte| byte == first || Some(byte) == other)
}

/// Bytes compared: those kept of packets that were on probation.
const HEAD: usize = 16;
/// MEAS 1.11.4.
const IN_ROW: u8 = 8;
const APART_NANOS: i64 = 500_000_000;
/// First packets of a stream that are looked at: most of a second.
const LOOKED: u8 = 40;
/// Payloads remembered: those of a second of 80 streams that begin.
const PLACES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(at_ms: u64, payload: &[u8]) -> Packet<'_> {
        Packet {
            stamp: Stamp(1_000_000_000 + at_ms * 1_000_000),
            seq: 0,
            ticks: 0,
            payload_type: 0,
            marker: false,
            payload,
            payload_len: payload.len() as u32,
            length: 0,
            ip_id: 0,
            interface: 0,
        }
    }

    fn payload(n: u32) -> Vec<u8> {
        (0..20).map(|i| (n.wrapping_mul(2_654_435_761) >> (i % 24)) as u8).collect()
    }

    /// The verdict on stream 2, whose packet n carries what `of(n)` of stream 1 carried, `delay_ms` later.
    fn verdict(delay_ms: u64, of: impl Fn(u32) -> u32) -> (Verdict, u32) {
        let mut relays = Relays::default();
        for n in 1..100 {
            let at = u64::from(n) * 20;
            relays.look(1, &packet(at, &payload(n)), |_| true);
            match relays.look(2, &packet(at + delay_ms, &payload(of(n))), |_| true) {
                Verdict::Open => {}
                verdict => return (verdict, n),
            }
        }
        (Verdict::Open, 100)
    }

    #[test]
    fn eight_equal_packets_in_a_row_make_a_hop() {
        assert_eq!(verdict(1, |n| n), (Verdict::Relayed(1), 8));
        assert_eq!(verdict(1, |n| if n == 5 { 9999 } else { n }), (Verdict::Relayed(1), 13));
        assert_eq!(verdict(1, |n| if n % 8 == 0 { 9999 } else { n }), (Verdict::Alone, 40));
        assert_eq!(verdict(600, |n| n), (Verdict::Alone, 40));
        assert_eq!(verdict(1, |n| n + 5000), (Verdict::Alone, 40));
    }

    #[test]
    fn silence_proves_nothing() {
        let mut relays = Relays::default();
        for (n, stream) in (0..80_u64).zip([1, 2].into_iter().cycle()) {
            let idle = [[0xff_u8; 160], [0x55; 160]][usize::from(n % 4 < 2)];
            assert!(!matches!(relays.look(stream, &packet(n * 10, &idle), |_| true), Verdict::Relayed(_)));
        }
    }

    #[test]
    fn what_is_no_young_stream_takes_no_room() {
        let mut relays = Relays::default();
        for stream in 0..1000 {
            for n in 0..u32::from(LOOKED) {
                relays.look(stream, &packet(0, &payload(stream * 100 + n)), |_| true);
            }
        }
        assert!(relays.young.is_empty());
        relays.look(7, &packet(0, &payload(1)), |_| true);
        relays.forget(7);
        assert_eq!((relays.young.len(), relays.recent.len()), (0, PLACES));
    }
}
