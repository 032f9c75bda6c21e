//! RTP that no SDP announced (MEAS 6.7, 1.4): what must be seen before packets count as a stream, and what can be
//! inferred about it.
//!
//! ```text
//! packet -> ports, header -> candidate (source, destination, SSRC) -> 4 packets forward -> the run is credited
//!              | refused        | a jump: the proof begins anew
//! ```
//!
//! Honest streams begin with loss, reordered packets, copies, digits, or a video frame of many packets with one
//! timestamp. So copies and late packets prove nothing and disprove nothing, the payload type may change to an
//! event or comfort noise, a run waits for a second timestamp, and what came before a gap is still credited with
//! what comes after it, as long as both can be one stream (MEAS 1.2). The table is bounded. When it is full the
//! oldest candidate that has made no progress is evicted: a flood of single packets cannot push out a stream
//! that has begun.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::dtmf;
use super::header::Header;
use super::payload::Codec;
use crate::Stamp;
use crate::wire::{Endpoint, Packet};

/// Candidates, and what became of them.
#[derive(Debug)]
pub struct Probation {
    candidates: HashMap<Key, u32, RandomState>,
    slots: Vec<Candidate>,
    /// Slots of accepted candidates, to be used again.
    free: Vec<u32>,
    /// Next slot to be looked at for eviction: slots are filled in this order.
    hand: u32,
    limit: u32,
    excluded_ports: Vec<u16>,
    counters: Counters,
}

/// One packet of a candidate: all that a stream needs to be credited with it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When the tap saw it.
    pub stamp: Stamp,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// Payload type.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// RTP payload bytes on the wire.
    pub payload_len: u32,
    /// UDP payload bytes on the wire.
    pub datagram_len: u32,
    /// First bytes of the payload as captured, zero-filled: enough for an event (RFC 4733) and to recognise a
    /// copy (MEAS 1.11).
    pub head: [u8; 16],
    /// IPv4 identification.
    pub ip_id: Option<u16>,
    /// Differentiated services code point.
    pub dscp: u8,
    /// Capture interface.
    pub interface: u32,
}

/// What probation decided, packets unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Refused: a port no media uses.
    pub ports: u64,
    /// Refused: a payload type without SDP, or lengths that contradict each other.
    pub header: u64,
    /// Runs that broke and began anew.
    pub restarted: u64,
    /// Candidates evicted to keep the limit.
    pub evicted: u64,
    /// Candidates that became streams.
    pub accepted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: Endpoint,
    destination: Endpoint,
    ssrc: u32,
}

#[derive(Debug)]
struct Candidate {
    key: Key,
    run: Vec<Seen>,
    /// Newest packet in order; what the next one is compared with.
    last: Seen,
    /// Payload type of the audio or video, once one was seen.
    main_type: Option<u8>,
    /// Packets in order.
    forward: u32,
    /// A second timestamp was seen, or an event that went on.
    moved: bool,
    /// It grew since the hand last passed.
    progress: bool,
}

/// How a packet continues a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Forward,
    /// A copy, or late by a few: proof of nothing.
    Beside,
    /// After a loss or out of order: the same stream perhaps, but the proof begins anew.
    Gap,
    /// Not of the same stream.
    Foreign,
}

impl Probation {
    /// An empty table of at most `limit` candidates that takes no packets of the ports named.
    pub fn new(limit: usize, excluded_ports: &[u16]) -> Self {
        Self {
            candidates: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            limit: u32::try_from(limit).unwrap_or(u32::MAX).max(1),
            excluded_ports: excluded_ports.to_vec(),
            counters: Counters::default(),
        }
    }

    /// Takes a packet of an unannounced SSRC. When it completes the proof, returns the packets of the run in
    /// order of arrival, this one last; the candidate is then forgotten and the stream is the caller's.
    pub fn packet(
        &mut self,
        source: Endpoint,
        destination: Endpoint,
        header: &Header,
        seen: Seen,
    ) -> Option<&[Seen]> {
        if !self.is_media_port(source.port) || !self.is_media_port(destination.port) {
            self.counters.ports += 1;
            return None;
        }
        if !is_type_without_sdp(seen.payload_type) || !header.is_sound() {
            self.counters.header += 1;
            return None;
        }
        let key = Key { source, destination, ssrc: header.fixed.ssrc };
        let Some(&index) = self.candidates.get(&key) else {
            let index = self.vacate();
            if let Some(slot) = self.slots.get_mut(index as usize) {
                slot.begin(key, seen);
            } else {
                self.slots.push(Candidate::new(key, seen));
            }
            self.candidates.insert(key, index);
            return None;
        };
        let candidate = self.slots.get_mut(index as usize)?;
        match candidate.step(&seen) {
            Step::Forward => candidate.forward(seen),
            Step::Beside => candidate.push(seen),
            Step::Gap => candidate.resume(seen),
            Step::Foreign => {
                self.counters.restarted += 1;
                candidate.begin(key, seen);
            }
        }
        if !candidate.is_proven() {
            return None;
        }
        self.candidates.remove(&key);
        self.free.push(index);
        self.counters.accepted += 1;
        Some(&candidate.run)
    }

    /// Forgets a candidate that became known otherwise, and returns what it had been seen to send.
    pub fn release(&mut self, source: Endpoint, destination: Endpoint, ssrc: u32) -> Vec<Seen> {
        let Some(index) = self.candidates.remove(&Key { source, destination, ssrc }) else {
            return Vec::new();
        };
        self.free.push(index);
        self.slots.get_mut(index as usize).map(|slot| std::mem::take(&mut slot.run)).unwrap_or_default()
    }

    /// Candidates waiting.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// No candidate is waiting.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// What became of packets and candidates so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn is_media_port(&self, port: u16) -> bool {
        port >= 1024 && !self.excluded_ports.contains(&port)
    }

    /// A slot for a new candidate: an unused one, or that of the oldest without progress. Progress buys one
    /// round, so the hand stops within two.
    fn vacate(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        if self.slots.len() < self.limit as usize {
            return self.slots.len() as u32;
        }
        loop {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.limit;
            match self.slots.get_mut(index as usize) {
                Some(candidate) if candidate.progress => candidate.progress = false,
                Some(candidate) => {
                    self.candidates.remove(&candidate.key);
                    self.counters.evicted += 1;
                    return index;
                }
                None => return index,
            }
        }
    }
}

impl Seen {
    /// What to remember of a packet that was read as RTP.
    pub fn new(stamp: Stamp, header: &Header, packet: &Packet<'_>) -> Self {
        let mut head = [0; 16];
        for (to, from) in head.iter_mut().zip(header.payload(packet.payload)) {
            *to = *from;
        }
        Self {
            stamp,
            timestamp: header.fixed.timestamp,
            sequence: header.fixed.sequence,
            payload_type: header.fixed.payload_type,
            marker: header.fixed.marker,
            payload_len: header.payload_len,
            datagram_len: header.payload_offset + header.payload_len + u32::from(header.padding),
            head,
            ip_id: packet.ip_id,
            dscp: packet.dscp,
            interface: packet.interface,
        }
    }
}

impl Seen {
    /// Does an event go on: the same timestamp and key, a longer duration (RFC 4733 2.5.1.2)?
    fn goes_on_with(&self, last: &Self) -> bool {
        let [key, _, duration @ ..] = self.head;
        let [last_key, _, last_duration @ ..] = last.head;
        dtmf::is_event(self.payload_type, self.payload_len, &self.head)
            && dtmf::is_event(last.payload_type, last.payload_len, &last.head)
            && key == last_key
            && duration.first_chunk::<2>() > last_duration.first_chunk::<2>()
    }
}

impl Candidate {
    fn new(key: Key, seen: Seen) -> Self {
        let mut candidate = Self {
            key,
            run: Vec::with_capacity(PROOF),
            last: seen,
            main_type: None,
            forward: 0,
            moved: false,
            progress: false,
        };
        candidate.begin(key, seen);
        candidate
    }

    fn begin(&mut self, key: Key, seen: Seen) {
        self.key = key;
        self.run.clear();
        self.run.push(seen);
        self.last = seen;
        self.main_type = main_type(seen.payload_type);
        self.forward = 1;
        self.moved = false;
        self.progress = false;
    }

    fn step(&self, seen: &Seen) -> Step {
        let step = seen.sequence.wrapping_sub(self.last.sequence).cast_signed();
        let ticks = seen.timestamp.wrapping_sub(self.last.timestamp).cast_signed();
        let switched = seen.payload_type != self.last.payload_type;
        if switched && !self.may_switch(seen.payload_type) {
            return Step::Foreign;
        }
        match step {
            // An event has the timestamp of its beginning, which audio may have passed already.
            1..=MAX_STEP if ticks >= 0 || switched => Step::Forward,
            0 if ticks == 0 && !switched => Step::Beside,
            MIN_STEP..=-1 if ticks <= 0 || switched => Step::Beside,
            MIN_GAP..=MAX_GAP => Step::Gap,
            _ => Step::Foreign,
        }
    }

    /// To or from comfort noise and dynamic types, of which telephone-event is one; not from one static codec
    /// to another.
    fn may_switch(&self, payload_type: u8) -> bool {
        match (self.main_type, main_type(payload_type)) {
            (Some(had), Some(has)) => had == has,
            _ => true,
        }
    }

    fn forward(&mut self, seen: Seen) {
        self.moved |= seen.timestamp != self.last.timestamp || seen.goes_on_with(&self.last);
        self.forward += 1;
        self.progress = true;
        self.go_on(seen);
    }

    fn resume(&mut self, seen: Seen) {
        self.moved |= seen.timestamp.wrapping_sub(self.last.timestamp).cast_signed() > 0;
        self.forward = 1;
        self.go_on(seen);
    }

    fn go_on(&mut self, seen: Seen) {
        self.main_type = self.main_type.or(main_type(seen.payload_type));
        self.last = seen;
        self.push(seen);
    }

    /// Of a run longer than is kept, as a very large frame is, the head is not credited: as if the capture had
    /// begun later.
    fn push(&mut self, seen: Seen) {
        if self.run.len() >= MAX_RUN {
            self.run.remove(0);
        }
        self.run.push(seen);
    }

    fn is_proven(&self) -> bool {
        self.forward as usize >= PROOF && self.moved
    }
}

/// The RTP clock rate, in Hz, of a run of packets that took `seconds` and moved the timestamp by `ticks`
/// (MEAS 6.7.4). `None` for less than 20 packets, or when the slope is not within 10 % of a usual rate: then
/// it is not known to be RTP at all.
pub fn clock_rate(seconds: f64, ticks: u32, packets: u64) -> Option<u32> {
    if packets < MIN_SLOPE_PACKETS || seconds <= 0.0 {
        return None;
    }
    let slope = f64::from(ticks) / seconds;
    let off = |rate: u32| (slope / f64::from(rate) - 1.0).abs();
    CLOCK_RATES.into_iter().filter(|&rate| off(rate) <= 0.1).min_by(|&a, &b| off(a).total_cmp(&off(b)))
}

/// The codec that packs `payload_len` bytes into `ticks` of a clock of `clock_rate` Hz, for payload types that
/// neither SDP nor RFC 3551 name. PCMU stands for both laws of G.711. 90 kHz is video, of no known codec.
pub fn codec(clock_rate: u32, payload_len: u32, ticks: u32) -> Option<Codec> {
    if ticks == 0 || payload_len == 0 || ticks > clock_rate {
        return None;
    }
    // Whole frames: so many bytes in so many ticks.
    let frames = |bytes: u32, span: u32| ticks.is_multiple_of(span) && payload_len == ticks / span * bytes;
    match clock_rate {
        8_000 if frames(40, 40) => Some(Codec::Pcmu),
        8_000 if frames(10, 80) => Some(Codec::G729),
        8_000 if frames(24, 240) || frames(20, 240) => Some(Codec::G723),
        8_000 if frames(33, 160) => Some(Codec::Gsm),
        8_000 if frames(38, 160) || frames(50, 240) => Some(Codec::Ilbc),
        8_000 | 16_000 | 44_100 if payload_len == 2 * ticks => Some(Codec::L16),
        16_000 if frames(60, 320) || frames(80, 320) => Some(Codec::G7221),
        // Frames of 2.5 to 120 ms, none longer than 1275 bytes (RFC 6716 3).
        48_000 if ticks.is_multiple_of(120) && ticks <= 5_760 && payload_len <= 1_276 => Some(Codec::Opus),
        _ => None,
    }
}

/// Payload types that need no SDP to be believed (MEAS 6.7.2); 19 is the old comfort noise.
fn is_type_without_sdp(payload_type: u8) -> bool {
    matches!(payload_type, 0 | 3..=19 | 25 | 26 | 28 | 31..=34 | 96..=127)
}

/// A type that names a static codec; comfort noise and dynamic types do not.
fn main_type(payload_type: u8) -> Option<u8> {
    (!matches!(payload_type, 13 | 19 | 96..=127)).then_some(payload_type)
}

/// Ports above 1023 of UDP protocols that are not media, and may begin with bits 10: IPsec NAT-T (a random SPI),
/// mDNS and LLMNR (a random id), SIP. The configured SIP ports come on top.
pub const EXCLUDED_PORTS: [u16; 5] = [4500, 5060, 5061, 5353, 5355];

/// K: packets in order that make a stream.
const PROOF: usize = 4;
const MAX_STEP: i16 = 3;
const MIN_STEP: i16 = -3;
/// What MEAS 1.2 takes for one sequence.
const MAX_GAP: i16 = 2_999;
const MIN_GAP: i16 = -99;
/// Packets kept of one candidate: those of a large video frame.
const MAX_RUN: usize = 32;
const MIN_SLOPE_PACKETS: u64 = 20;
const CLOCK_RATES: [u32; 7] = [8_000, 16_000, 24_000, 32_000, 44_100, 48_000, 90_000];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Transport;

    use std::net::Ipv4Addr;

    use serde_json::Value;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint { ip: Ipv4Addr::LOCALHOST.into(), port }
    }

    /// (sequence, timestamp, payload type) of one SSRC, 20 ms apart.
    fn offer(probation: &mut Probation, ssrc: u32, packets: &[(u16, u32, u8)]) -> Vec<Vec<u16>> {
        let mut accepted = Vec::new();
        for &(sequence, timestamp, payload_type) in packets {
            let mut bytes = vec![0x80, payload_type];
            bytes.extend_from_slice(&sequence.to_be_bytes());
            bytes.extend_from_slice(&timestamp.to_be_bytes());
            bytes.extend_from_slice(&ssrc.to_be_bytes());
            bytes.extend_from_slice(&[0xd5; 160]);
            let packet = Packet {
                source: endpoint(10_000),
                destination: endpoint(20_000),
                transport: Transport::Udp,
                payload: &bytes,
                cut: 0,
                ip_id: None,
                dscp: 46,
                interface: 0,
            };
            let header = Header::read(&bytes, 0).unwrap();
            let seen = Seen::new(Stamp(0), &header, &packet);
            if let Some(run) = probation.packet(packet.source, packet.destination, &header, seen) {
                accepted.push(run.iter().map(|seen| seen.sequence).collect());
            }
        }
        accepted
    }

    fn one(packets: &[(u16, u32, u8)]) -> Vec<Vec<u16>> {
        offer(&mut Probation::new(16, &[]), 7, packets)
    }

    #[test]
    fn four_packets_in_order_are_a_stream_and_all_are_credited() {
        assert_eq!(one(&[(65_534, 0, 0), (65_535, 160, 0), (0, 320, 0)]), [[0; 0]; 0]);
        let run = one(&[(65_534, 0, 0), (65_535, 160, 0), (0, 320, 0), (1, 480, 0)]);
        assert_eq!(run, [[65_534, 65_535, 0, 1]]);
    }

    #[test]
    fn the_proof_begins_anew_after_a_gap_but_what_was_before_is_credited() {
        let packets =
            [(1, 0, 0), (2, 160, 0), (3, 320, 0), (9, 480, 0), (10, 640, 0), (11, 800, 0), (14, 960, 0)];
        assert_eq!(one(&packets[..6]).len(), 0);
        assert_eq!(one(&packets), [[1, 2, 3, 9, 10, 11, 14]]);
        assert_eq!(one(&[(1, 900, 0), (2, 800, 0), (3, 700, 0), (4, 600, 0), (5, 500, 0)]).len(), 0);
    }

    #[test]
    fn what_cannot_be_the_same_stream_is_not_credited() {
        let jump =
            [(1, 0, 0), (2, 160, 0), (5_000, 320, 0), (5_001, 480, 0), (5_002, 640, 0), (5_003, 800, 0)];
        assert_eq!(one(&jump), [[5_000, 5_001, 5_002, 5_003]]);
    }

    #[test]
    fn one_timestamp_is_not_enough() {
        let mut frame: Vec<_> = (0..40).map(|n| (n, 9_000, 96)).collect();
        assert_eq!(one(&frame).len(), 0);
        frame.push((40, 12_000, 96));
        let run = one(&frame);
        assert_eq!((run[0].len(), run[0][0], run[0][31]), (MAX_RUN, 9, 40));
    }

    #[test]
    fn reordered_and_copied_packets_do_not_break_the_run() {
        let run =
            one(&[(2, 320, 8), (1, 160, 8), (3, 480, 8), (3, 480, 8), (5, 800, 8), (4, 640, 8), (6, 960, 8)]);
        assert_eq!(run, [[2, 1, 3, 3, 5, 4, 6]]);
        assert_eq!(one(&[(2, 320, 8); 50]).len(), 0);
    }

    #[test]
    fn digits_and_comfort_noise_may_begin_a_stream() {
        assert_eq!(one(&[(1, 160, 0), (2, 80, 101), (3, 80, 101), (4, 800, 0)]).len(), 1);
        assert_eq!(one(&[(1, 160, 13), (2, 320, 13), (3, 480, 8), (4, 640, 8)]).len(), 1);
        assert_eq!(one(&[(1, 160, 0), (2, 320, 8), (3, 480, 0), (4, 640, 8), (5, 800, 0)]).len(), 0);
    }

    #[test]
    fn refuses_types_ports_and_contradictions() {
        assert_eq!(one(&[(1, 0, 72), (2, 160, 72), (3, 320, 72), (4, 480, 72)]).len(), 0);
        let mut probation = Probation::new(16, &[20_000]);
        offer(&mut probation, 7, &[(1, 0, 0); 3]);
        assert_eq!((probation.counters().ports, probation.len()), (3, 0));
    }

    #[test]
    fn an_accepted_candidate_leaves_the_table() {
        let mut probation = Probation::new(2, &[]);
        for ssrc in 0..1_000 {
            let run = offer(&mut probation, ssrc, &[(1, 0, 0), (2, 160, 0), (3, 320, 0), (4, 480, 0)]);
            assert_eq!(run.len(), 1);
        }
        assert_eq!((probation.len(), probation.slots.len()), (0, 1));
        assert_eq!((probation.counters().accepted, probation.counters().evicted), (1_000, 0));
    }

    #[test]
    fn a_flood_of_sources_is_bounded_and_spares_a_stream_that_has_begun() {
        let mut probation = Probation::new(1_024, &[]);
        let mut accepted = 0;
        for n in 0..2_000_000_u32 {
            offer(&mut probation, n | 1 << 31, &[(1, 0, 0)]);
            if n.is_multiple_of(500) {
                let tick = n / 500;
                accepted += offer(&mut probation, 7, &[(tick as u16, tick * 160, 0)]).len();
            }
        }
        assert_eq!((probation.len(), probation.slots.len()), (1_024, 1_024));
        assert_eq!(accepted, 1_000);
        let counters = probation.counters();
        assert_eq!(counters.evicted, 2_000_000 - probation.len() as u64);
        assert_eq!(counters.accepted, 1_000);
    }

    #[test]
    fn eviction_takes_the_oldest() {
        let mut probation = Probation::new(3, &[]);
        for ssrc in [1, 2, 3, 4] {
            offer(&mut probation, ssrc, &[(1, 0, 0)]);
        }
        let continued = |probation: &mut Probation, ssrc| {
            !offer(probation, ssrc, &[(2, 160, 0), (3, 320, 0), (4, 480, 0)]).is_empty()
        };
        assert!(continued(&mut probation, 4) && continued(&mut probation, 3) && continued(&mut probation, 2));
        assert!(!continued(&mut probation, 1));
    }

    #[test]
    fn clock_rates_come_from_the_slope() {
        assert_eq!(clock_rate(1.0, 8_000, 50), Some(8_000));
        assert_eq!(clock_rate(2.0, 96_500, 100), Some(48_000));
        assert_eq!(clock_rate(1.0, 44_300, 50), Some(44_100));
        assert_eq!(clock_rate(1.0, 8_790, 50), Some(8_000));
        assert_eq!(clock_rate(1.0, 12_000, 50), None);
        assert_eq!(clock_rate(1.0, 8_000, 19), None);
        assert_eq!(clock_rate(0.0, 8_000, 50), None);
    }

    #[test]
    fn payload_sizes_suggest_codecs() {
        let cases = [
            (8_000, 160, 160, Some(Codec::Pcmu)),
            (8_000, 240, 240, Some(Codec::Pcmu)),
            (8_000, 20, 160, Some(Codec::G729)),
            (8_000, 24, 240, Some(Codec::G723)),
            (8_000, 33, 160, Some(Codec::Gsm)),
            (8_000, 38, 160, Some(Codec::Ilbc)),
            (8_000, 320, 160, Some(Codec::L16)),
            (16_000, 60, 320, Some(Codec::G7221)),
            (48_000, 77, 960, Some(Codec::Opus)),
            (90_000, 1_200, 3_000, None),
            (8_000, 171, 160, None),
            (8_000, 0, 160, None),
        ];
        for (rate, len, ticks, expected) in cases {
            assert_eq!(codec(rate, len, ticks), expected, "{len} bytes in {ticks} of {rate} Hz");
        }
    }

    /// MEAS 6.7: the chance that random bytes pass, by the rules as they are applied to payload types alone.
    #[test]
    fn the_chance_of_a_false_stream_is_that_of_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../fixtures/vectors/rtp_heuristic.json")).unwrap();
        // 19, the comfort noise of old gateways, is the 57th.
        let types = (0..128_u8).filter(|&payload_type| is_type_without_sdp(payload_type)).count() - 1;
        assert_eq!(types, 56);
        let first = 0.25 * types as f64 / 128.0;
        let next = 0.25 / 128.0 / 2_f64.powi(32) * f64::from(MAX_STEP) / 65_536.0;
        let check = |name: &str, packets: &str, got: f64| {
            let want = vectors[name][packets].as_f64().unwrap();
            assert!((got / want - 1.0).abs() < 1e-9, "{name} {packets}: {got} is not {want}");
        };
        for packets in ["1", "2", "3", "4", "5"] {
            let n: i32 = packets.parse().unwrap();
            check("strict", packets, first * next.powi(n - 1));
        }
        for packets in ["1", "2", "4", "8"] {
            let n: i32 = packets.parse().unwrap();
            check("weak_version_and_pt", packets, first.powi(n));
        }
    }
}
