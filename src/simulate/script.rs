//! One stream packet by packet, for the streams no well-behaved sender sends: strays, restarts, time stamps
//! that jump, digits, packets captured twice. It comes with the signalling of an answered call around it.
//!
//! ```
//! use sidetone::rtp::payload::Codec;
//! use sidetone::simulate::script::Script;
//!
//! let mut script = Script::new(Codec::Pcmu, 500).unwrap();
//! script.packets[250].sequence = script.packets[250].sequence.wrapping_add(10_000); // a stray
//! script.packets.remove(100);                                                       // a loss
//! let pcap = script.capture();
//! # assert!(pcap.len() > 499 * 214);
//! ```

use std::sync::Arc;

use super::Outcome;
use super::packet::Flow;
use super::signalling::{Course, EVENT, Parties};
use super::sound::Sound;
use super::{ETHERNET, START};
use crate::Stamp;
use crate::capture::pcap::Writer;
use crate::random::Random;
use crate::rtp::payload::Codec;

/// A call with a scripted stream from caller to callee.
#[derive(Clone, Debug)]
pub struct Script {
    /// The stream, in any order: it is written by `at`.
    pub packets: Vec<Packet>,
    /// SIP and SDP come with it. Without, only RTP says what it is.
    pub announced: bool,
    /// Times each frame is captured, 15 microseconds apart, all bytes equal.
    pub captured: u32,
    sound: Arc<Sound>,
}

/// One RTP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Arrival, nanoseconds after the answer.
    pub at: i64,
    /// Sequence number.
    pub sequence: u16,
    /// RTP time stamp.
    pub timestamp: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Script {
    /// `count` evenly paced packets of a codec, from sequence number 1000 and time stamp 160000 on; edit them
    /// at will. `None` for codecs that are not simulated.
    pub fn new(codec: Codec, count: u16) -> Option<Self> {
        let sound = Arc::new(Sound::new(codec, None)?);
        let spacing = i64::from(sound.ptime_ms) * 1_000_000;
        let mut random = Random::new(0, 0);
        let packets = (0..count).map(|i| {
            let timestamp = FIRST_TIMESTAMP.wrapping_add(u32::from(i).wrapping_mul(sound.ticks()));
            let mut payload = Vec::new();
            sound.payload(timestamp, &mut random, &mut payload);
            Packet {
                at: FIRST_AT + i64::from(i) * spacing,
                sequence: FIRST_SEQUENCE.wrapping_add(i),
                timestamp,
                payload_type: sound.payload_type,
                marker: i == 0,
                ssrc: SSRC,
                payload,
            }
        });
        Some(Self { packets: packets.collect(), announced: true, captured: 1, sound })
    }

    /// The capture as a pcap file. The call is hung up a second after the last packet.
    pub fn capture(&self) -> Vec<u8> {
        let mut random = Random::new(0, 1);
        let parties = Parties::new(0, &mut random);
        let last = self.packets.iter().map(|packet| packet.at).max().unwrap_or(0);
        let course = Course::new(Outcome::Answered, START, last + 1_000_000_000, random);
        let answered = course.answered.unwrap_or(START);
        let (caller, callee) = (parties.caller, parties.callee);
        let (mut frames, mut payload): (Vec<(Stamp, Vec<u8>)>, Vec<u8>) = (Vec::new(), Vec::new());
        for step in course.steps.iter().filter(|_| self.announced) {
            parties.render(step, &self.sound, &mut payload);
            let (source, destination) = if step.from_caller { (caller, callee) } else { (callee, caller) };
            let mut frame = Vec::new();
            Flow { source, destination, dscp: 0 }.frame(frames.len() as u16 + 1, &payload, &mut frame);
            frames.push((step.at, frame));
        }
        let (mut source, mut destination) = (caller, callee);
        source.set_port(parties.caller_media);
        destination.set_port(parties.callee_media);
        for (packet, ip_id) in self.packets.iter().zip(1_000..) {
            packet.write(&mut payload);
            let mut frame = Vec::new();
            Flow { source, destination, dscp: 0 }.frame(ip_id, &payload, &mut frame);
            frames.push((answered.plus_nanos(packet.at), frame));
        }
        let copies = (0..i64::from(self.captured)).flat_map(|copy| {
            frames.iter().map(move |(at, frame)| (at.plus_nanos(copy * COPY_BEHIND), frame))
        });
        let mut copies: Vec<_> = copies.collect();
        copies.sort_by_key(|(at, _)| *at);
        let written = Writer::new(Vec::new(), ETHERNET).and_then(|mut writer| {
            for (at, frame) in copies {
                writer.frame(at, frame)?;
            }
            writer.finish()
        });
        written.unwrap_or_default()
    }
}

impl Packet {
    /// A telephone event of 100 ms (RFC 4733 2.5): five packets 20 ms apart, then the end three times, all with
    /// the time stamp of the beginning, numbered from `sequence` on.
    pub fn digit(event: u8, at: i64, sequence: u16, timestamp: u32) -> Vec<Self> {
        (0..8_u16)
            .map(|i| {
                let [high, low] = (160 * (i.min(4) + 1)).to_be_bytes();
                Self {
                    at: at + i64::from(i) * 20_000_000,
                    sequence: sequence.wrapping_add(i),
                    timestamp,
                    payload_type: EVENT,
                    marker: i == 0,
                    ssrc: SSRC,
                    payload: vec![event, if i > 4 { END } else { 0 } | VOLUME, high, low],
                }
            })
            .collect()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend([0x80, u8::from(self.marker) << 7 | self.payload_type]);
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.payload);
    }
}

/// Bit and level of RFC 4733 2.3, -10 dBm0.
const END: u8 = 0x80;
const VOLUME: u8 = 0x0a;
const FIRST_AT: i64 = 100_000_000;
const FIRST_SEQUENCE: u16 = 1_000;
const FIRST_TIMESTAMP: u32 = 160_000;
const SSRC: u32 = 0x5151_de70;
const COPY_BEHIND: i64 = 15_000;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::capture::Source;
    use crate::capture::file::Files;

    fn frames(capture: Vec<u8>) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut files = Files::from_reader("script", Cursor::new(capture));
        while files.poll(&mut |batch| frames.extend(batch.iter().map(|f| f.bytes.to_vec()))).unwrap()
            == crate::capture::Progress::More
        {}
        frames
    }

    #[test]
    fn packets_are_written_by_time_with_the_signalling_around_them() {
        let mut script = Script::new(Codec::Pcmu, 3).unwrap();
        script.packets[0].at = script.packets[1].at + 5;
        let digit = Packet::digit(5, script.packets[2].at + 20_000_000, 1_003, 160_480);
        script.packets.extend(digit);
        let written = frames(script.capture());
        let rtp: Vec<u16> = written
            .iter()
            .filter(|frame| frame[42] == 0x80)
            .map(|frame| u16::from_be_bytes([frame[44], frame[45]]))
            .collect();
        assert_eq!(rtp, [1_001, 1_000, 1_002, 1_003, 1_004, 1_005, 1_006, 1_007, 1_008, 1_009, 1_010]);
        assert!(
            written[0][42..].starts_with(b"INVITE ")
                && written.last().unwrap()[42..].starts_with(b"SIP/2.0 200")
        );
    }

    #[test]
    fn unannounced_and_captured_twice() {
        let mut script = Script::new(Codec::Opus, 4).unwrap();
        script.announced = false;
        script.captured = 2;
        let written = frames(script.capture());
        assert_eq!(written.len(), 8);
        assert!(written.chunks(2).all(|pair| pair[0] == pair[1]));
    }
}
