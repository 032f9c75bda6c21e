//! SCTP: user messages out of DATA chunks (RFC 9260 section 3.3.1), for SIP over SCTP (RFC 4168).
//!
//! ```text
//! type 0 | flags U B E | length || TSN || stream id | stream seq || payload protocol || user data, padding
//! ```
//!
//! A message in one chunk is handed on from the packet. Fragments (B first, E last, consecutive TSNs) wait for
//! each other in a small store; the oldest ones give way. A chunk seen again within [`AGAIN_NANOS`] is passed
//! over. Associations are not followed: chunks speak for themselves.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;

use crate::Stamp;
use crate::wire::{Endpoint, Packet, Transport};

/// One user message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
    /// Payload protocol identifier; 0 for SIP (RFC 4168 section 5.1 leaves it unspecified).
    pub payload_protocol: u32,
    /// The user data.
    pub bytes: &'a [u8],
    /// When the packet was seen that completed it.
    pub stamp: Stamp,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// User messages handed on.
    pub messages: u64,
    /// Chunks whose length does not fit; the rest of their packet is passed over.
    pub malformed: u64,
    /// DATA chunks seen again.
    pub repeated: u64,
    /// Fragments that gave way.
    pub evicted: u64,
}

/// User messages in the making.
#[derive(Debug, Default)]
pub struct Chunks {
    fragments: BTreeMap<Key, Fragment>,
    arrival: VecDeque<Key>,
    bytes: usize,
    hasher: foldhash::fast::FixedState,
    seen: Vec<(u64, Stamp)>,
    scratch: Vec<u8>,
    counters: Counters,
}

impl Chunks {
    /// Takes the chunks of one SCTP packet; any other packet is passed over.
    pub fn packet(&mut self, stamp: Stamp, packet: &Packet<'_>, out: &mut impl FnMut(Message<'_>)) {
        if packet.transport != Transport::Sctp {
            return;
        }
        let mut rest = packet.payload;
        while let Some((&[kind, flags, high, low], _)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(value) = rest.get(CHUNK_HEADER..len) else {
                self.counters.malformed += 1;
                return;
            };
            if kind == DATA {
                match Data::parse(flags, value) {
                    Some(data) => self.data(stamp, packet, &data, out),
                    None => self.counters.malformed += 1,
                }
            }
            // The padding after the last chunk may be missing.
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn data(
        &mut self,
        stamp: Stamp,
        packet: &Packet<'_>,
        data: &Data<'_>,
        out: &mut impl FnMut(Message<'_>),
    ) {
        let (source, destination) = (packet.source, packet.destination);
        let key = Key { source, destination, tsn: data.tsn };
        if self.is_repeated(&key, data, stamp) {
            self.counters.repeated += 1;
            return;
        }
        let payload_protocol = data.payload_protocol;
        if data.begins && data.ends {
            self.counters.messages += 1;
            out(Message { source, destination, payload_protocol, bytes: data.bytes, stamp });
            return;
        }
        self.hold(key, data);
        let Some((first, count)) = self.run(key) else { return };
        let mut message = std::mem::take(&mut self.scratch);
        message.clear();
        let mut payload_protocol = payload_protocol;
        for offset in 0..count {
            let key = Key { tsn: first.wrapping_add(offset), ..key };
            if let Some(fragment) = self.fragments.remove(&key) {
                self.bytes -= fragment.cost();
                message.extend_from_slice(&fragment.bytes);
                if fragment.begins {
                    payload_protocol = fragment.payload_protocol;
                }
            }
        }
        self.arrival.retain(|key| self.fragments.contains_key(key));
        self.counters.messages += 1;
        out(Message { source, destination, payload_protocol, bytes: &message, stamp });
        self.scratch = message;
    }

    /// Remembers chunks by their fingerprint in a table of fixed size.
    fn is_repeated(&mut self, key: &Key, data: &Data<'_>, stamp: Stamp) -> bool {
        self.seen.resize(SEEN, (0, Stamp(0)));
        let print = self.hasher.hash_one((key, data.begins, data.ends, data.bytes.len()));
        let Some(entry) = self.seen.get_mut(print as usize % SEEN) else { return false };
        let repeated = entry.0 == print && stamp.nanos_since(entry.1) < AGAIN_NANOS;
        *entry = (print, stamp);
        repeated
    }

    fn hold(&mut self, key: Key, data: &Data<'_>) {
        let fragment = Fragment {
            begins: data.begins,
            ends: data.ends,
            payload_protocol: data.payload_protocol,
            bytes: data.bytes.into(),
        };
        self.bytes += fragment.cost();
        match self.fragments.insert(key, fragment) {
            Some(old) => self.bytes -= old.cost(),
            None => self.arrival.push_back(key),
        }
        while self.fragments.len() > MAX_FRAGMENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.arrival.pop_front() else { break };
            if let Some(fragment) = self.fragments.remove(&oldest) {
                self.bytes -= fragment.cost();
                self.counters.evicted += 1;
            }
        }
    }

    /// First TSN and number of the fragments around `key`, if they run from B to E.
    fn run(&self, key: Key) -> Option<(u32, u32)> {
        let at = |tsn: u32| self.fragments.get(&Key { tsn, ..key });
        let back = (0..MAX_RUN).find(|&back| {
            at(key.tsn.wrapping_sub(back)).is_none_or(|fragment| fragment.begins || back > 0 && fragment.ends)
        })?;
        let first = key.tsn.wrapping_sub(back);
        at(first).filter(|fragment| fragment.begins)?;
        let last = (0..MAX_RUN).find(|&offset| {
            at(first.wrapping_add(offset))
                .is_none_or(|fragment| fragment.ends || offset > 0 && fragment.begins)
        })?;
        at(first.wrapping_add(last)).filter(|fragment| fragment.ends)?;
        Some((first, last + 1))
    }
}

/// A DATA chunk.
struct Data<'a> {
    begins: bool,
    ends: bool,
    tsn: u32,
    payload_protocol: u32,
    bytes: &'a [u8],
}

impl<'a> Data<'a> {
    fn parse(flags: u8, value: &'a [u8]) -> Option<Self> {
        let (tsn, rest) = value.split_first_chunk()?;
        let (_stream, rest) = rest.split_first_chunk::<4>()?;
        let (payload_protocol, bytes) = rest.split_first_chunk()?;
        // No user data is a protocol violation (section 3.3.1), but harmless here.
        Some(Self {
            begins: flags & 0b010 != 0,
            ends: flags & 0b001 != 0,
            tsn: u32::from_be_bytes(*tsn),
            payload_protocol: u32::from_be_bytes(*payload_protocol),
            bytes,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    source: Endpoint,
    destination: Endpoint,
    tsn: u32,
}

#[derive(Debug)]
struct Fragment {
    begins: bool,
    ends: bool,
    payload_protocol: u32,
    bytes: Box<[u8]>,
}

impl Fragment {
    fn cost(&self) -> usize {
        self.bytes.len() + FRAGMENT_OVERHEAD
    }
}

const DATA: u8 = 0;
const CHUNK_HEADER: usize = 4;
/// Chunks that are remembered so as to know them again.
const SEEN: usize = 4096;
/// Longer than a retransmission takes: RTO.Max is 60 s (RFC 9260 section 16).
const AGAIN_NANOS: i64 = 60_000_000_000;
/// Fragments that may wait.
const MAX_FRAGMENTS: usize = 256;
/// Bytes that may wait.
const MAX_BYTES: usize = 512 << 10;
/// Fragments of one message.
const MAX_RUN: u32 = 64;
const FRAGMENT_OVERHEAD: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    const B: u8 = 0b010;
    const E: u8 = 0b001;

    fn chunk(flags: u8, tsn: u32, bytes: &[u8]) -> Vec<u8> {
        let mut chunk = vec![DATA, flags];
        chunk.extend((16 + bytes.len() as u16).to_be_bytes());
        chunk.extend(tsn.to_be_bytes());
        chunk.extend([0, 1, 0, 7, 0, 0, 0, 0]);
        chunk.extend(bytes);
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    fn packet(payload: &[u8]) -> Packet<'_> {
        let end = |last| Endpoint { ip: [10, 0, 0, last].into(), port: 5060 };
        Packet {
            source: end(1),
            destination: end(2),
            transport: Transport::Sctp,
            payload,
            cut: 0,
            ip_id: None,
            dscp: 0,
            interface: 0,
        }
    }

    fn messages(chunks: &mut Chunks, payload: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        chunks.packet(Stamp(1), &packet(payload), &mut |message: Message<'_>| {
            found.push(String::from_utf8_lossy(message.bytes).into_owned());
        });
        found
    }

    #[test]
    fn several_messages_of_one_packet_are_told_apart() {
        let sack = [3, 0, 0, 16, 0, 0, 0, 1, 0, 0, 255, 255, 0, 0, 0, 0];
        let payload = [sack.to_vec(), chunk(B | E, 1, b"INVITE"), chunk(B | E, 2, b"BYE")].concat();
        let mut chunks = Chunks::default();
        assert_eq!(messages(&mut chunks, &payload), ["INVITE", "BYE"]);
        assert!(messages(&mut chunks, &payload).is_empty());
        assert_eq!(chunks.counters(), Counters { messages: 2, repeated: 2, ..Counters::default() });
    }

    #[test]
    fn fragments_are_put_together_in_any_order_and_across_the_wrap() {
        let parts = [
            chunk(B, u32::MAX - 1, b"one "),
            chunk(0, u32::MAX, b"two "),
            chunk(E, 0, b"three"),
            chunk(B, 1, b"four "),
            chunk(E, 2, b"five"),
        ];
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 3, 0, 4, 2]] {
            let mut chunks = Chunks::default();
            let mut found: Vec<_> =
                order.iter().flat_map(|&at: &usize| messages(&mut chunks, &parts[at])).collect();
            found.sort();
            assert_eq!(found, ["four five", "one two three"]);
            assert!(chunks.fragments.is_empty() && chunks.arrival.is_empty() && chunks.bytes == 0);
        }
    }

    #[test]
    fn bad_lengths_end_the_packet_and_nothing_else() {
        let mut chunks = Chunks::default();
        let mut payload = chunk(B | E, 1, b"INVITE");
        payload.extend([0, 3, 0, 3, 0, 0]);
        assert_eq!(messages(&mut chunks, &payload), ["INVITE"]);
        assert!(messages(&mut chunks, &[0, 3, 0xff, 0xff, 1, 2]).is_empty());
        assert!(messages(&mut chunks, &[0, 3, 0, 8, 1, 2, 3, 4]).is_empty());
        assert_eq!(chunks.counters().malformed, 3);
    }

    #[test]
    fn lone_fragments_stay_within_their_bound() {
        let mut chunks = Chunks::default();
        for tsn in 0..10_000_u32 {
            assert!(messages(&mut chunks, &chunk(0, tsn * 2, &[b'x'; 1400])).is_empty());
            assert!(chunks.fragments.len() <= MAX_FRAGMENTS && chunks.arrival.len() <= MAX_FRAGMENTS);
            assert!(chunks.bytes <= MAX_BYTES);
        }
        assert_eq!(chunks.counters().evicted as usize, 10_000 - chunks.fragments.len());
    }

    proptest::proptest! {
        /// forall bytes: no panic, and what is held stays bounded.
        #[test]
        fn any_bytes_are_survived(payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut chunks = Chunks::default();
            messages(&mut chunks, &payload);
        }
    }
}
