//! Round-trip time seen from the middle of the path (MEAS 2.4, appendix C.5).
//!
//! ```text
//!    A                   tap                    B
//!    |--- SR (NTP n) ---->| t1 ---------------->|
//!    |                    |                     | waits DLSR
//!    |<-------------------| t2 <-- RR (LSR n) --|
//!                         rtt(tap <-> B) = t2 - t1 - DLSR
//! ```
//!
//! The tap's clock alone is used: LSR is only a name of an SR, never a time. The two halves, tap to A and tap to
//! B, make the whole when both are fresh. XR reference times and their DLRR answers (RFC 3611 4.4, 4.5) do the
//! same for parties that send no media. The table is bounded; the leg idle for longest is evicted.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::rtcp::Ntp;
use crate::Stamp;
use crate::wire::Endpoint;

/// The clocks told and the halves measured, by pair of RTCP endpoints.
#[derive(Debug)]
pub struct RoundTrips {
    legs: HashMap<Pair, Leg, RandomState>,
    /// Eviction order; a leg used since it was queued gets another turn.
    queue: VecDeque<Pair>,
    limit: usize,
    evicted: u64,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Between the tap and the reporter, seconds.
    pub half: f64,
    /// Between both ends, when the other half is known and fresh, seconds.
    pub end_to_end: Option<f64>,
}

/// Two endpoints, smaller one first: one key for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pair(Endpoint, Endpoint);

#[derive(Debug, Default)]
struct Leg {
    clocks: Vec<Clock>,
    /// Latest half to each endpoint of the pair, and when it was measured.
    halves: [Option<(Stamp, f64)>; 2],
    /// Since it was made or last spared.
    used: bool,
}

/// What one SSRC said its time was, and when it passed.
#[derive(Debug)]
struct Clock {
    ssrc: u32,
    told: [(u32, Stamp); RING],
    /// Number ever told; the next one goes to its remainder.
    count: usize,
}

impl RoundTrips {
    /// An empty table of at most `limit` legs.
    pub fn new(limit: usize) -> Self {
        Self { legs: HashMap::default(), queue: VecDeque::new(), limit: limit.max(1), evicted: 0 }
    }

    /// An SR, or an XR with a receiver reference time, passed the tap.
    pub fn told(&mut self, at: Stamp, from: Endpoint, to: Endpoint, ssrc: u32, ntp: Ntp) {
        let pair = Pair::new(from, to);
        if let Some(leg) = self.legs.get_mut(&pair) {
            leg.used = true;
            leg.told(at, ssrc, ntp.middle());
            return;
        }
        self.make_room();
        self.queue.push_back(pair);
        self.legs.entry(pair).or_default().told(at, ssrc, ntp.middle());
    }

    /// A report block, or a DLRR answer, about `subject` passed the tap: `last` is its LSR (LRR), `delay` its
    /// DLSR (DLRR). `None` when it names no time that was seen, or the result cannot be true.
    pub fn answered(
        &mut self,
        at: Stamp,
        from: Endpoint,
        to: Endpoint,
        subject: u32,
        last: u32,
        delay: u32,
    ) -> Option<Sample> {
        if last == 0 {
            return None;
        }
        let pair = Pair::new(from, to);
        let leg = self.legs.get_mut(&pair)?;
        leg.used = true;
        let told = leg.when(subject, last)?;
        let seconds = at.seconds_since(told) - f64::from(delay) / 65536.0;
        // DLSR has a resolution of 15 us, and some stacks round it up.
        if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
            return None;
        }
        let half = seconds.max(0.0);
        let [first, second] = &mut leg.halves;
        let (own, other) = if from == pair.0 { (first, second) } else { (second, first) };
        *own = Some((at, half));
        let fresh = other.filter(|(measured, _)| at.seconds_since(*measured) <= FRESH_SECONDS);
        Some(Sample { half, end_to_end: fresh.map(|(_, other)| half + other) })
    }

    /// Legs in the table.
    pub fn len(&self) -> usize {
        self.legs.len()
    }

    /// No leg is in the table.
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    /// Legs evicted to keep the limit.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Each turn given back was paid for by a packet since, so the walk is short on average.
    fn make_room(&mut self) {
        while self.legs.len() >= self.limit {
            let Some(oldest) = self.queue.pop_front() else {
                return;
            };
            match self.legs.get_mut(&oldest) {
                Some(leg) if leg.used => {
                    leg.used = false;
                    self.queue.push_back(oldest);
                }
                _ => {
                    self.legs.remove(&oldest);
                    self.evicted += 1;
                }
            }
        }
    }
}

impl Pair {
    fn new(one: Endpoint, other: Endpoint) -> Self {
        if one <= other { Self(one, other) } else { Self(other, one) }
    }
}

impl Leg {
    fn told(&mut self, at: Stamp, ssrc: u32, middle: u32) {
        if let Some(place) = self.clocks.iter().position(|clock| clock.ssrc == ssrc) {
            // Most recently told last: the front is the one to go.
            self.clocks[place..].rotate_left(1);
        } else {
            if self.clocks.len() >= CLOCKS {
                self.clocks.remove(0);
            } else if self.clocks.len() < 2 {
                // Nearly all legs have one clock or two.
                self.clocks.reserve_exact(1);
            }
            self.clocks.push(Clock { ssrc, told: [(0, Stamp(0)); RING], count: 0 });
        }
        if let Some(clock) = self.clocks.last_mut() {
            clock.told(at, middle);
        }
    }

    fn when(&self, ssrc: u32, middle: u32) -> Option<Stamp> {
        self.clocks.iter().find(|clock| clock.ssrc == ssrc)?.when(middle)
    }
}

impl Clock {
    fn told(&mut self, at: Stamp, middle: u32) {
        // A second copy of the same SR (captured twice, or relayed) must not move t1.
        if middle == 0 || self.when(middle).is_some() {
            return;
        }
        if let Some(slot) = self.told.get_mut(self.count % RING) {
            *slot = (middle, at);
            self.count += 1;
        }
    }

    fn when(&self, middle: u32) -> Option<Stamp> {
        self.told.iter().find(|(told, _)| *told == middle).map(|(_, at)| *at)
    }
}

const RING: usize = 8;
/// SSRCs remembered on one leg: both sides, audio and video, and a few that changed.
const CLOCKS: usize = 16;
const MIN_SECONDS: f64 = -0.005;
const MAX_SECONDS: f64 = 10.0;
const FRESH_SECONDS: f64 = 30.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp::{Compound, Packet};

    use std::net::Ipv4Addr;

    use serde_json::Value;

    fn endpoint(host: u32, port: u16) -> Endpoint {
        Endpoint { ip: Ipv4Addr::from_bits(host).into(), port }
    }

    fn ntp(middle: u32) -> Ntp {
        Ntp { seconds: middle >> 16, fraction: middle << 16 }
    }

    fn at(seconds: f64) -> Stamp {
        Stamp(1_000_000_000_000 + (seconds * 1e9) as u64)
    }

    const SECOND: u32 = 65536;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn vector_agrees_and_the_halves_add_up() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../fixtures/vectors/rtcp_packets.json")).unwrap();
        let (a, b) = (endpoint(1, 5001), endpoint(2, 6001));
        let mut trips = RoundTrips::new(4);
        let mut samples = Vec::new();
        for packet in vectors["packets"].as_array().unwrap() {
            let stamp = Stamp(packet["t_ns"].as_u64().unwrap());
            let bytes = unhex(packet["hex"].as_str().unwrap());
            for packet in Compound::new(&bytes, 0).flatten() {
                let Packet::Report(report) = packet else { continue };
                let (from, to) = if report.ssrc == 10 { (a, b) } else { (b, a) };
                if let Some(sender) = report.sender {
                    trips.told(stamp, from, to, report.ssrc, sender.ntp);
                }
                for block in report.blocks {
                    let (last, delay) = (block.last_sr, block.delay_since_last_sr);
                    if let Some(sample) = trips.answered(stamp, from, to, block.ssrc, last, delay) {
                        samples.push((report.ssrc, block.ssrc, sample));
                    }
                }
            }
        }
        let expected = vectors["midpoint_rtt"].as_array().unwrap();
        assert_eq!(samples.len(), expected.len());
        for (got, want) in samples.iter().zip(expected) {
            assert_eq!(u64::from(got.0), want["reporter"].as_u64().unwrap());
            assert_eq!(u64::from(got.1), want["about"].as_u64().unwrap());
            assert!((got.2.half - want["rtt_s"].as_f64().unwrap()).abs() < 1e-6);
        }
        assert_eq!(samples[1].2.end_to_end, None);
        assert!((samples[2].2.end_to_end.unwrap() - 0.105).abs() < 1e-6);
    }

    #[test]
    fn no_last_sr_is_no_sample_and_no_delay_is_legal() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(4);
        trips.told(at(0.0), a, b, 10, ntp(0));
        trips.told(at(0.0), a, b, 10, ntp(77));
        assert_eq!(trips.answered(at(0.04), b, a, 10, 0, 0), None);
        assert_eq!(trips.answered(at(0.04), b, a, 10, 78, 0), None);
        assert!((trips.answered(at(0.04), b, a, 10, 77, 0).unwrap().half - 0.04).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_true_is_no_sample() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(4);
        trips.told(at(0.0), a, b, 10, ntp(77));
        assert_eq!(trips.answered(at(1.0), b, a, 10, 77, SECOND + 400), None);
        assert!(trips.answered(at(1.0), b, a, 10, 77, SECOND + 200).unwrap().half.abs() < 1e-12);
        assert_eq!(trips.answered(at(12.0), b, a, 10, 77, SECOND), None);
    }

    #[test]
    fn an_old_half_is_not_added() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(4);
        trips.told(at(0.0), a, b, 10, ntp(77));
        trips.answered(at(0.03), b, a, 10, 77, 0).unwrap();
        trips.told(at(31.0), b, a, 11, ntp(99));
        assert_eq!(trips.answered(at(31.02), a, b, 11, 99, 0).unwrap().end_to_end, None);
        trips.told(at(31.0), a, b, 10, ntp(78));
        assert!(trips.answered(at(31.05), b, a, 10, 78, 0).unwrap().end_to_end.is_some());
    }

    #[test]
    fn the_same_ssrc_on_two_legs_is_kept_apart() {
        let (a, b, c) = (endpoint(1, 1), endpoint(2, 2), endpoint(2, 4));
        let mut trips = RoundTrips::new(4);
        trips.told(at(0.0), a, b, 10, ntp(77));
        trips.told(at(1.0), a, c, 10, ntp(77));
        assert!((trips.answered(at(1.02), c, a, 10, 77, 0).unwrap().half - 0.02).abs() < 1e-9);
    }

    #[test]
    fn a_copy_of_a_report_does_not_move_its_time() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(4);
        trips.told(at(0.0), a, b, 10, ntp(77));
        trips.told(at(0.01), a, b, 10, ntp(77));
        assert!((trips.answered(at(0.05), b, a, 10, 77, 0).unwrap().half - 0.05).abs() < 1e-9);
    }

    #[test]
    fn eight_reports_are_remembered() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(4);
        for n in 1..=9_u32 {
            trips.told(at(f64::from(n)), a, b, 10, ntp(n));
        }
        assert_eq!(trips.answered(at(9.1), b, a, 10, 1, 0), None);
        assert!(trips.answered(at(9.1), b, a, 10, 2, 0).is_some());
    }

    #[test]
    fn many_sources_on_one_leg_are_bounded() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(4);
        for ssrc in 1..=100_000 {
            trips.told(at(0.0), a, b, ssrc, ntp(7));
            trips.told(at(0.0), a, b, 0xffff_ffff, ntp(7));
        }
        assert_eq!(trips.legs.values().map(|leg| leg.clocks.len()).max(), Some(CLOCKS));
        assert!(trips.answered(at(0.1), b, a, 0xffff_ffff, 7, 0).is_some());
    }

    #[test]
    fn a_flood_of_legs_is_bounded_and_spares_those_in_use() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 2));
        let mut trips = RoundTrips::new(100);
        trips.told(at(0.0), a, b, 10, ntp(1));
        for n in 0..50_000_u32 {
            trips.told(at(0.0), endpoint(1_000 + n, 1), b, n, ntp(7));
            if n % 50 == 0 {
                trips.told(at(0.0), a, b, 10, ntp(2 + n));
            }
        }
        assert_eq!((trips.len(), trips.queue.len()), (100, 100));
        assert_eq!(trips.evicted(), 50_001 - 100);
        assert!(trips.answered(at(0.1), b, a, 10, 2 + 49_950, 0).is_some());
    }
}
