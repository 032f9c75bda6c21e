//! RTCP compound packets (RFC 3550 6, RFC 4585, RFC 5506; MEAS 2.2, 2.7), borrowed from the datagram.
//!
//! ```text
//! Compound: | SR or RR | SDES | BYE, APP, feedback, XR ... |     any order, any number (reduced size)
//! packet:   |V=2|P| count | type 192..223 | words - 1 | body ... |
//! ```
//!
//! A malformed sub-packet is an `Err` of the iterator; what was read before it stands. Of a compound that is
//! SRTCP only the first eight bytes are clear, and only those are yielded.

use crate::demux::is_rtcp_type;
use crate::rtp::xr;

/// The sub-packets of one datagram, in order.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
    cut: u32,
    encrypted: bool,
}

/// One sub-packet.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    /// SR (200) or RR (201).
    Report(Report<'a>),
    /// SDES (202).
    Description(Description<'a>),
    /// BYE (203).
    Goodbye(Goodbye<'a>),
    /// APP (204).
    Application {
        /// Sender.
        ssrc: u32,
        /// Four characters.
        name: [u8; 4],
    },
    /// RTPFB (205): NACK, TMMBR, transport-wide congestion control.
    TransportFeedback(Feedback<'a>),
    /// PSFB (206): PLI, FIR, REMB.
    PayloadFeedback(Feedback<'a>),
    /// XR (207).
    Extended {
        /// Reporter.
        ssrc: u32,
        /// Its blocks.
        blocks: xr::Blocks<'a>,
    },
    /// A well-formed packet of another type.
    Other {
        /// Packet type.
        packet_type: u8,
    },
    /// SRTCP: the rest of the datagram is not readable.
    Encrypted {
        /// Type of the first packet.
        packet_type: u8,
        /// Its sender.
        ssrc: u32,
    },
}

/// A sender or receiver report.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Who reports.
    pub ssrc: u32,
    /// What it sent itself; `None` in a receiver report.
    pub sender: Option<SenderInfo>,
    /// What it heard of others, as many whole blocks as are there.
    pub blocks: ReportBlocks<'a>,
    /// The count field promised more blocks than are there.
    pub truncated: bool,
}

/// Sender information (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Sender's clock at the moment of sending.
    pub ntp: Ntp,
    /// The same moment on the stream's media clock, in ticks.
    pub rtp_timestamp: u32,
    /// Packets sent since the stream began.
    pub packets: u32,
    /// Payload octets sent since the stream began.
    pub octets: u32,
}

/// An NTP timestamp. Many endpoints count from their own start: never compare it with another clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntp {
    /// Seconds since 1900, or since anything.
    pub seconds: u32,
    /// 1/2^32 seconds.
    pub fraction: u32,
}

/// One report block (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream reported *on*.
    pub ssrc: u32,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Expected less received since the beginning; negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended by the reporter's count of cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter, in ticks of the stream's clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last SR heard; 0 = none.
    pub last_sr: u32,
    /// Time since that SR was heard, in 1/65536 seconds.
    pub delay_since_last_sr: u32,
}

/// Iterator over report blocks.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    bytes: &'a [u8],
}

/// A source description.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    chunks: &'a [u8],
}

/// A goodbye.
#[derive(Clone, Copy, Debug)]
pub struct Goodbye<'a> {
    sources: &'a [u8],
    /// Why, in the sender's words; empty when it did not say.
    pub reason: &'a [u8],
}

/// A feedback message (RFC 4585 6.1).
#[derive(Clone, Copy, Debug)]
pub struct Feedback<'a> {
    /// FMT field.
    pub format: u8,
    /// Sender of the feedback.
    pub ssrc: u32,
    /// Stream it is about; 0 where the format names streams itself.
    pub media_ssrc: u32,
    /// Feedback control information.
    pub control: &'a [u8],
}

/// Why a sub-packet could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Less than a header is left.
    Short,
    /// Version is not 2, or the type is not one of RTCP (RFC 5761 4).
    Header,
    /// It is longer than what is left.
    Length,
    /// Its body is shorter than its type demands.
    Body,
}

impl<'a> Compound<'a> {
    /// Sub-packets of a datagram of which `cut` bytes at the end were not captured.
    pub fn new(datagram: &'a [u8], cut: u32) -> Self {
        Self { rest: datagram, cut, encrypted: cut == 0 && is_srtcp(datagram) }
    }

    /// It is SRTCP: no report can be read.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        if self.encrypted {
            let packet_type = rest.get(1).copied().unwrap_or_default();
            return be32(rest, 4).map(|ssrc| Ok(Packet::Encrypted { packet_type, ssrc }));
        }
        let (header, length) = match common_header(rest) {
            Ok(header) => header,
            Err(malformed) => return Some(Err(malformed)),
        };
        let Some((packet, after)) = rest.split_at_checked(length) else {
            // The snap length cut this one: its whole blocks are still good.
            let wire = rest.len().saturating_add(self.cut as usize);
            return Some(if length <= wire { read(header, rest) } else { Err(Malformed::Length) });
        };
        self.rest = after;
        Some(read(header, packet))
    }
}

impl SenderInfo {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            ntp: Ntp { seconds: be32(bytes, 0)?, fraction: be32(bytes, 4)? },
            rtp_timestamp: be32(bytes, 8)?,
            packets: be32(bytes, 12)?,
            octets: be32(bytes, 16)?,
        })
    }
}

impl Ntp {
    /// The middle 32 bits, as LSR and LRR repeat them: 16 bits of seconds, 16 bits of fraction.
    pub fn middle(self) -> u32 {
        self.seconds << 16 | self.fraction >> 16
    }
}

impl ReportBlock {
    /// Reads one block of 24 bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let loss = be32(bytes, 4)?;
        Some(Self {
            ssrc: be32(bytes, 0)?,
            fraction_lost: (loss >> 24) as u8,
            // Signed 24 bits: moved to the top, then shifted back with the sign.
            cumulative_lost: (loss << 8).cast_signed() >> 8,
            highest_sequence: be32(bytes, 8)?,
            jitter: be32(bytes, 12)?,
            last_sr: be32(bytes, 16)?,
            delay_since_last_sr: be32(bytes, 20)?,
        })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.bytes.split_at_checked(REPORT_BLOCK)?;
        self.bytes = rest;
        ReportBlock::read(block)
    }
}

impl<'a> Description<'a> {
    /// CNAME of each source: (SSRC, `user@host`).
    pub fn canonical_names(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut rest = self.chunks;
        std::iter::from_fn(move || {
            loop {
                let chunk = split_chunk(rest)?;
                rest = chunk.rest;
                if let Some(name) = chunk.name {
                    return Some((chunk.ssrc, name));
                }
            }
        })
    }
}

impl<'a> Goodbye<'a> {
    /// The sources that leave.
    pub fn sources(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.sources.chunks_exact(4).filter_map(|source| be32(source, 0))
    }
}

/// What the common header says besides the length.
#[derive(Clone, Copy)]
struct CommonHeader {
    padded: bool,
    count: u8,
    packet_type: u8,
}

/// Header and length in bytes of the packet at the front.
fn common_header(bytes: &[u8]) -> Result<(CommonHeader, usize), Malformed> {
    let Some(&[first, packet_type, l0, l1]) = bytes.first_chunk() else {
        return Err(Malformed::Short);
    };
    if first >> 6 != 2 || !is_rtcp_type(packet_type) {
        return Err(Malformed::Header);
    }
    let header = CommonHeader { padded: first & 0b0010_0000 != 0, count: first & 0b0001_1111, packet_type };
    Ok((header, 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]))))
}

fn read(header: CommonHeader, packet: &[u8]) -> Result<Packet<'_>, Malformed> {
    let packet = if header.padded { without_padding(packet) } else { packet };
    let body = packet.get(4..).unwrap_or_default();
    let read = match header.packet_type {
        200 => read_report(header.count, body, true),
        201 => read_report(header.count, body, false),
        202 => Some(Packet::Description(Description { chunks: body })),
        203 => read_goodbye(header.count, body),
        204 => be32(body, 0)
            .zip(body.get(4..).and_then(<[u8]>::first_chunk).copied())
            .map(|(ssrc, name)| Packet::Application { ssrc, name }),
        205 => read_feedback(header.count, body).map(Packet::TransportFeedback),
        206 => read_feedback(header.count, body).map(Packet::PayloadFeedback),
        207 => be32(body, 0).map(|ssrc| Packet::Extended {
            ssrc,
            blocks: xr::Blocks::new(body.get(4..).unwrap_or_default()),
        }),
        packet_type => Some(Packet::Other { packet_type }),
    };
    read.ok_or(Malformed::Body)
}

/// Padding is counted by the last byte. A count that cannot be right is ignored: the blocks have their own
/// lengths.
fn without_padding(packet: &[u8]) -> &[u8] {
    let count = usize::from(packet.last().copied().unwrap_or(0));
    match packet.len().checked_sub(count).and_then(|len| packet.get(..len)) {
        Some(kept) if kept.len() >= 4 => kept,
        _ => packet,
    }
}

fn read_report(count: u8, body: &[u8], sender: bool) -> Option<Packet<'_>> {
    let ssrc = be32(body, 0)?;
    let (info, rest) = if sender {
        let (info, rest) = body.get(4..)?.split_at_checked(SENDER_INFO)?;
        (Some(SenderInfo::read(info)?), rest)
    } else {
        (None, body.get(4..)?)
    };
    let promised = usize::from(count) * REPORT_BLOCK;
    Some(Packet::Report(Report {
        ssrc,
        sender: info,
        blocks: ReportBlocks { bytes: rest.get(..promised).unwrap_or(rest) },
        truncated: rest.len() < promised,
    }))
}

fn read_goodbye(count: u8, body: &[u8]) -> Option<Packet<'_>> {
    let (sources, rest) = body.split_at_checked(4 * usize::from(count))?;
    let reason = match rest.split_first() {
        Some((&length, text)) => text.get(..usize::from(length)).unwrap_or(text),
        None => &[],
    };
    Some(Packet::Goodbye(Goodbye { sources, reason }))
}

fn read_feedback(format: u8, body: &[u8]) -> Option<Feedback<'_>> {
    Some(Feedback {
        format,
        ssrc: be32(body, 0)?,
        media_ssrc: be32(body, 4)?,
        control: body.get(8..).unwrap_or_default(),
    })
}

/// An SDES chunk, and what follows it.
struct Chunk<'a> {
    ssrc: u32,
    name: Option<&'a [u8]>,
    rest: &'a [u8],
}

/// The SDES chunk at the front (RFC 3550 6.5).
fn split_chunk(chunks: &[u8]) -> Option<Chunk<'_>> {
    let ssrc = be32(chunks, 0)?;
    let mut name = None;
    let mut at = 4;
    while let Some(&kind) = chunks.get(at)
        && kind != 0
    {
        let length = usize::from(*chunks.get(at + 1)?);
        let text = chunks.get(at + 2..at + 2 + length)?;
        if kind == CNAME {
            name = name.or(Some(text));
        }
        at += 2 + length;
    }
    // The list ends with at least one zero, filled up to the next word.
    Some(Chunk { ssrc, name, rest: chunks.get((at / 4 + 1) * 4..).unwrap_or_default() })
}

/// SRTCP (RFC 3711 3.4): the first eight bytes are clear, then comes cipher text, and a trailer whose first
/// bit says "encrypted".
///
/// ```text
/// HMAC:  | clear 8 | cipher text ...       |E| index | MKI | tag 10 or 4 |
/// GCM:   | clear 8 | cipher text ... | tag |E| index | MKI |     tag 16 or 8
/// ```
///
/// So the first packet must be followed by something that is not RTCP, and one of the places where the
/// trailer can be must hold E and a young index. The index begins at 0 and counts packets: 2^24 take years.
/// A whole clear compound is never taken for SRTCP; a clear one with a random tail is, once in about 30.
fn is_srtcp(datagram: &[u8]) -> bool {
    let Ok((_, first)) = common_header(datagram) else {
        return false;
    };
    let clear = match datagram.get(first..) {
        Some(tail) => tail.is_empty() || common_header(tail).is_ok_and(|(_, second)| second <= tail.len()),
        // With a truncated first packet there is no trailer to look at.
        None => true,
    };
    if clear {
        return false;
    }
    let index_at = |from_end: usize| {
        let word = be32(datagram, datagram.len().checked_sub(from_end).filter(|&at| at >= first)?)?;
        Some(word)
    };
    let young = |word: u32| word >> 24 == 0x80;
    TRAILERS.iter().any(|tag| MKI_LENGTHS.iter().any(|mki| index_at(4 + tag + mki).is_some_and(young)))
}

/// Two bytes at an offset, network order.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// Four bytes at an offset, network order.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

const SENDER_INFO: usize = 20;
const REPORT_BLOCK: usize = 24;
const CNAME: u8 = 1;
/// Bytes of authentication tag behind the index; GCM has its tag before it.
const TRAILERS: [usize; 3] = [10, 0, 4];
const MKI_LENGTHS: [usize; 3] = [0, 1, 4];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::xr::Block;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../fixtures/vectors/rtcp_packets.json")).unwrap()
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn reports(datagram: &[u8]) -> Vec<Report<'_>> {
        Compound::new(datagram, 0)
            .filter_map(|packet| match packet {
                Ok(Packet::Report(report)) => Some(report),
                _ => None,
            })
            .collect()
    }

    fn blocks(datagram: &[u8], report: usize) -> Vec<ReportBlock> {
        reports(datagram)[report].blocks.clone().collect()
    }

    fn as_vector(packet: &Packet<'_>) -> Value {
        match packet {
            Packet::Report(report) => {
                let blocks: Vec<Value> = report
                    .blocks
                    .clone()
                    .map(|b| {
                        json!({"ssrc": b.ssrc, "fraction": b.fraction_lost, "cum_lost": b.cumulative_lost,
                               "ext_seq": b.highest_sequence, "jitter": b.jitter, "lsr": b.last_sr,
                               "dlsr": b.delay_since_last_sr})
                    })
                    .collect();
                let mut value = json!({"pt": 201, "ssrc": report.ssrc, "blocks": blocks});
                if let Some(sender) = report.sender {
                    value["pt"] = json!(200);
                    value["ntp_sec"] = json!(sender.ntp.seconds);
                    value["ntp_frac"] = json!(sender.ntp.fraction);
                    value["ntp_mid32"] = json!(sender.ntp.middle());
                    value["rtp_ts"] = json!(sender.rtp_timestamp);
                    value["packets"] = json!(sender.packets);
                    value["octets"] = json!(sender.octets);
                }
                value
            }
            Packet::Extended { ssrc, blocks } => {
                let blocks: Vec<Value> = blocks
                    .clone()
                    .map(|block| match block {
                        Block::ReceiverReferenceTime(ntp) => {
                            json!({"bt": 4, "ntp_sec": ntp.seconds, "ntp_frac": ntp.fraction})
                        }
                        Block::Voip(v) => {
                            json!({"bt": 7, "ssrc": v.ssrc, "loss_rate": v.loss_rate,
                                   "discard_rate": v.discard_rate, "burst_density": v.burst_density,
                                   "gap_density": v.gap_density, "burst_ms": v.burst_ms, "gap_ms": v.gap_ms,
                                   "rtd_ms": v.round_trip_ms, "esd_ms": v.end_system_ms,
                                   "signal_dbm": v.signal_dbm, "noise_dbm": v.noise_dbm, "rerl": v.rerl_db,
                                   "gmin": v.gmin, "r": v.r, "ext_r": v.external_r, "mos_lq": v.mos_lq,
                                   "mos_cq": v.mos_cq, "rx_config": v.rx_config, "jb_nom": v.buffer_nominal_ms,
                                   "jb_max": v.buffer_maximum_ms, "jb_abs": v.buffer_absolute_ms})
                        }
                        other => panic!("no such block in the vectors: {other:?}"),
                    })
                    .collect();
                json!({"pt": 207, "ssrc": ssrc, "xr": blocks})
            }
            other => panic!("no such packet in the vectors: {other:?}"),
        }
    }

    /// Lengths and reserved fields are the walker's business, not the facts'.
    fn without_framing(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["rc", "len", "words", "ts", "res"] {
                    fields.remove(name);
                }
                fields.values_mut().for_each(without_framing);
            }
            Value::Array(items) => items.iter_mut().for_each(without_framing),
            _ => {}
        }
    }

    #[test]
    fn vectors_agree_field_by_field() {
        for case in vectors()["packets"].as_array().unwrap() {
            let bytes = unhex(case["hex"].as_str().unwrap());
            let got: Vec<Value> = Compound::new(&bytes, 0).map(|p| as_vector(&p.unwrap())).collect();
            let mut expected = case["parsed"].clone();
            without_framing(&mut expected);
            assert_eq!(Value::Array(got), expected);
        }
    }

    #[test]
    fn a_compound_is_its_parts() {
        let bytes = unhex(vectors()["compound_hex"].as_str().unwrap());
        let reports = reports(&bytes);
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0].sender.unwrap().packets, 100);
        assert_eq!(blocks(&bytes, 1)[0].cumulative_lost, -3);
    }

    #[test]
    fn a_malformed_tail_does_not_spoil_the_prefix() {
        let whole = unhex(vectors()["compound_hex"].as_str().unwrap());
        for tail in [&[0x81][..], &[0; 9], &[0x81, 202, 0, 9, 1, 2, 3, 4], &[0x41, 201, 0, 0]] {
            let mut bytes = whole.clone();
            bytes.extend_from_slice(tail);
            assert_eq!(reports(&bytes).len(), 2, "{tail:?}");
            assert!(Compound::new(&bytes, 0).last().unwrap().is_err());
        }
    }

    #[test]
    fn a_bad_packet_inside_does_not_stop_the_next() {
        let mut bytes = vec![0x80, 200, 0, 1, 0, 0, 0, 1];
        bytes.extend_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, 2]);
        let packets: Vec<_> = Compound::new(&bytes, 0).collect();
        assert!(matches!(packets[..], [Err(Malformed::Body), Ok(Packet::Report(_))]));
    }

    #[test]
    fn fewer_blocks_than_promised_are_kept() {
        let mut bytes = unhex(vectors()["packets"][1]["hex"].as_str().unwrap());
        bytes[0] = 0x83;
        assert_eq!((blocks(&bytes, 0).len(), reports(&bytes)[0].truncated), (1, true));
    }

    #[test]
    fn a_packet_cut_by_the_snap_length_keeps_its_whole_blocks() {
        let mut bytes = unhex(vectors()["packets"][2]["hex"].as_str().unwrap());
        bytes[0] = 0x82;
        bytes[3] += 6;
        let Some(Ok(Packet::Report(report))) = Compound::new(&bytes, 24).next() else { panic!() };
        assert_eq!((report.truncated, report.blocks.count()), (true, 1));
        assert!(matches!(Compound::new(&bytes, 23).next(), Some(Err(Malformed::Length))));
    }

    #[test]
    fn padding_is_taken_off() {
        let mut bytes = vec![0xa1, 201, 0, 8];
        bytes.extend_from_slice(&unhex(vectors()["packets"][1]["hex"].as_str().unwrap())[4..]);
        bytes.extend_from_slice(&[0, 0, 0, 4]);
        assert_eq!(blocks(&bytes, 0).len(), 1);
        *bytes.last_mut().unwrap() = 250;
        assert_eq!(blocks(&bytes, 0).len(), 1);
    }

    #[test]
    fn reads_canonical_names_and_goodbyes() {
        let mut bytes = vec![0x82, 202, 0, 7];
        bytes.extend_from_slice(b"\0\0\0\x01\x01\x03a@b\x02\x01x\0\0\0\0");
        bytes.extend_from_slice(b"\0\0\0\x02\x01\x04cd@e\0\0");
        bytes.extend_from_slice(&[0x82, 203, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 3]);
        bytes.extend_from_slice(b"end");
        let packets: Vec<_> = Compound::new(&bytes, 0).map(Result::unwrap).collect();
        let [Packet::Description(description), Packet::Goodbye(goodbye)] = packets[..] else {
            panic!("{packets:?}");
        };
        let names: Vec<_> = description.canonical_names().collect();
        assert_eq!(names, [(1, &b"a@b"[..]), (2, b"cd@e")]);
        assert_eq!(goodbye.sources().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(goodbye.reason, b"end");
    }

    #[test]
    fn reduced_size_feedback_is_read() {
        let bytes = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        let packets: Vec<_> = Compound::new(&bytes, 0).map(Result::unwrap).collect();
        assert!(matches!(packets[..], [Packet::PayloadFeedback(Feedback { format: 1, media_ssrc: 2, .. })]));
    }

    fn srtcp(plain: &[u8], trailer: &[u8]) -> Vec<u8> {
        let mut bytes = plain.to_vec();
        for (n, byte) in bytes.iter_mut().enumerate().skip(8) {
            *byte ^= (n * 89 + 41) as u8;
        }
        bytes.extend_from_slice(trailer);
        bytes
    }

    #[test]
    fn srtcp_yields_only_its_clear_header() {
        let single = unhex(vectors()["packets"][2]["hex"].as_str().unwrap());
        let compound = unhex(vectors()["compound_hex"].as_str().unwrap());
        let hmac = [&[0x80, 0, 0, 1][..], &[0x55; 10]].concat();
        let gcm = [&[0x55; 16][..], &[0x80, 0, 0, 1]].concat();
        let mki = [&[0x80, 0, 1, 1][..], &[7], &[0x55; 10]].concat();
        for plain in [&single, &compound] {
            for trailer in [&hmac, &gcm, &mki] {
                let bytes = srtcp(plain, trailer);
                let packets: Vec<_> = Compound::new(&bytes, 0).collect();
                let ssrc = be32(plain, 4).unwrap();
                assert!(matches!(packets[..], [Ok(Packet::Encrypted { ssrc: s, .. })] if s == ssrc));
            }
        }
    }

    #[test]
    fn the_srtcp_example_of_rfc_7714_is_encrypted() {
        let bytes = unhex(
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be\
             8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        );
        assert!(Compound::new(&bytes, 0).is_encrypted());
    }

    #[test]
    fn authenticated_but_clear_srtcp_is_read() {
        let mut bytes = unhex(vectors()["compound_hex"].as_str().unwrap());
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(&[0x55; 10]);
        assert!(!Compound::new(&bytes, 0).is_encrypted());
        assert_eq!(reports(&bytes).len(), 2);
    }

    /// MEAS 1.3: what a receiver must write, and what is read back from it.
    #[test]
    fn report_fields_of_the_vectors_survive_the_wire() {
        let cases: Value =
            serde_json::from_str(include_str!("../../fixtures/vectors/rtcp_report_fields.json")).unwrap();
        let (mut expected_before, mut received_before) = (0, 0);
        for case in cases.as_array().unwrap() {
            let field = |name: &str| case[name].as_i64().unwrap();
            let (expected, received) = (field("expected"), field("received"));
            let interval = expected - expected_before;
            let lost = interval - (received - received_before);
            (expected_before, received_before) = (expected, received);
            let cumulative = (expected - received) as i32;
            let fraction = if interval > 0 && lost > 0 { (lost * 256 / interval) as u8 } else { 0 };
            let mut bytes = vec![0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, fraction];
            bytes.extend_from_slice(&cumulative.to_be_bytes()[1..]);
            bytes.extend_from_slice(&[0; 16]);
            let block = blocks(&bytes, 0)[0];
            assert_eq!(i64::from(block.cumulative_lost), field("cum_lost"));
            assert_eq!(i64::from(block.fraction_lost), field("fraction"));
        }
    }

    proptest! {
        /// For all bytes: iterating ends after at most len/4 + 1 items and never panics.
        #[test]
        fn any_bytes_terminate(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), 200_u8..208], 0..300),
            cut in 0_u32..100,
        ) {
            let compound = Compound::new(&bytes, cut);
            prop_assert!(compound.clone().count() <= bytes.len() / 4 + 1);
            for packet in compound.flatten() {
                match packet {
                    Packet::Report(report) => prop_assert!(report.blocks.count() <= 31),
                    Packet::Description(description) => {
                        prop_assert!(description.canonical_names().count() <= bytes.len() / 4);
                    }
                    Packet::Goodbye(goodbye) => prop_assert!(goodbye.sources().count() <= 31),
                    Packet::Extended { blocks, .. } => prop_assert!(blocks.count() <= bytes.len() / 4),
                    _ => {}
                }
            }
        }

        /// For every well-formed compound c and tail t: the packets of c are a prefix of those of c + t, unless
        /// t makes it SRTCP.
        #[test]
        fn tails_leave_the_prefix(tail in prop::collection::vec(any::<u8>(), 0..60)) {
            let whole = unhex(vectors()["compound_hex"].as_str().unwrap());
            let longer = [&whole[..], &tail].concat();
            prop_assert_eq!(blocks(&longer, 0), blocks(&whole, 0));
            prop_assert_eq!(blocks(&longer, 1), blocks(&whole, 1));
        }
    }
}
