//! HEP, the encapsulation in which proxies mirror what they see: version 3 both ways, 1 and 2 read only.
//!
//! ```text
//! "HEP3" | total length 16 | chunks: vendor 16, type 16, length 16 (with these 6 bytes), value
//! version 1, 2: version, length, family, protocol, ports, addresses [, seconds, microseconds, agent] payload
//! ```
//!
//! Chunks of vendor 0 are generic (types below), others are passed over. The payload is borrowed; a compressed
//! one (chunk 16, zlib) is unpacked into the caller's buffer, at most [`MAX_PAYLOAD`] bytes.

mod key;
pub mod retold;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

pub use self::key::Key;
use crate::Stamp;
use crate::wire::Endpoint;

/// One mirrored packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hep<'a> {
    /// Sender of the mirrored packet.
    pub source: Endpoint,
    /// Receiver of the mirrored packet.
    pub destination: Endpoint,
    /// IP protocol that carried it: 17 UDP, 6 TCP, 132 SCTP.
    pub protocol: u8,
    /// When the agent saw it; `None` in version 1.
    pub stamp: Option<Stamp>,
    /// What the payload is.
    pub kind: Kind,
    /// Number of the capture agent; 0 when absent.
    pub agent: u32,
    /// Name of the capture agent's node; empty when absent.
    pub node: &'a [u8],
    /// Authentication key; empty when absent.
    pub auth_key: &'a [u8],
    /// Correlation id, a Call-ID for RTCP and logs; empty when absent.
    pub correlation: &'a [u8],
    /// The payload; empty in a keep-alive.
    pub payload: &'a [u8],
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A SIP message (type 1).
    Sip,
    /// An RTP packet (type 4).
    Rtp,
    /// RTCP as it was on the wire (type 5).
    Rtcp,
    /// RTCP retold as JSON (type 5 too: told by its first byte).
    RtcpJson,
    /// A log line (type 100).
    Log,
    /// Another type.
    Other(u8),
}

/// What carries HEP itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// One record a datagram.
    Udp,
    /// Records back to back.
    Tcp,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither version 3 by its magic nor 1 or 2 by their headers.
    #[error("not HEP")]
    NotHep,
    /// The record is shorter than its length says.
    #[error("{actual} bytes of a HEP record of {expected}")]
    Truncated {
        /// Length as written.
        expected: usize,
        /// Bytes there are.
        actual: usize,
    },
    /// A chunk does not fit into its record.
    #[error("chunk {kind} of {len} bytes does not fit")]
    BadChunk {
        /// Chunk type.
        kind: u16,
        /// Length as written.
        len: u16,
    },
    /// An address is missing, or is not of the family that was named.
    #[error("no addresses")]
    NoAddresses,
    /// The compressed payload is damaged.
    #[error("damaged compressed payload")]
    Damaged,
    /// The unpacked payload is longer than the bound.
    #[error("compressed payload of more than {MAX_PAYLOAD} bytes")]
    TooLong,
}

/// Reads one record; `scratch` takes an unpacked payload.
pub fn decode<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Hep<'a>, Error> {
    match bytes {
        [b'H', b'E', b'P', b'3', rest @ ..] => {
            let (len, chunks) = rest.split_first_chunk().ok_or(Error::NotHep)?;
            let expected = usize::from(u16::from_be_bytes(*len));
            let chunks_len = expected.checked_sub(HEADER).ok_or(Error::NotHep)?;
            let truncated = Error::Truncated { expected, actual: bytes.len() };
            version_3(chunks.get(..chunks_len).ok_or(truncated)?, scratch)
        }
        [version @ (1 | 2), _, family, protocol, rest @ ..] => old(*version, *family, *protocol, rest),
        _ => Err(Error::NotHep),
    }
}

/// The authentication key of a record whose chunks are sound; empty when it has none, as in versions 1 and 2. The
/// payload is not looked at.
pub fn auth_key(bytes: &[u8]) -> Result<&[u8], Error> {
    let [b'H', b'E', b'P', b'3', rest @ ..] = bytes else {
        return match bytes {
            [1 | 2, ..] => Ok(&[]),
            _ => Err(Error::NotHep),
        };
    };
    let (len, chunks) = rest.split_first_chunk().ok_or(Error::NotHep)?;
    let expected = usize::from(u16::from_be_bytes(*len));
    let chunks_len = expected.checked_sub(HEADER).ok_or(Error::NotHep)?;
    let truncated = Error::Truncated { expected, actual: bytes.len() };
    let mut key: &[u8] = &[];
    for chunk in Chunks(chunks.get(..chunks_len).ok_or(truncated)?) {
        if let (GENERIC, AUTH_KEY, value) = chunk? {
            key = value;
        }
    }
    Ok(key)
}

/// What a byte stream of records holds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A record of so many bytes, all of them there or not.
    Record(usize),
    /// A record, of which too little is there to tell its length.
    Unknown,
    /// No record.
    Garbage,
}

/// What begins at the first of these bytes of a stream: version 3 only, which alone tells its length.
pub fn next(bytes: &[u8]) -> Next {
    match bytes {
        [b'H', b'E', b'P', b'3', high, low, ..] => match u16::from_be_bytes([*high, *low]) {
            len if usize::from(len) >= HEADER => Next::Record(usize::from(len)),
            _ => Next::Garbage,
        },
        _ if bytes.len() < HEADER && bytes.iter().zip(MAGIC).all(|(byte, magic)| byte == magic) => {
            Next::Unknown
        }
        _ => Next::Garbage,
    }
}

/// Writes records with compressed payloads. Not every receiver can read them.
#[derive(Debug)]
pub struct Packer {
    zlib: Compress,
    packed: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        Self { zlib: Compress::new(Compression::fast(), true), packed: Vec::new() }
    }
}

impl Packer {
    /// Like [`encode`], with the payload compressed where that makes it shorter.
    pub fn encode(&mut self, hep: &Hep<'_>, out: &mut Vec<u8>) {
        self.packed.clear();
        self.packed.reserve(hep.payload.len());
        self.zlib.reset();
        let packed = self.zlib.compress_vec(hep.payload, &mut self.packed, FlushCompress::Finish);
        let whole = matches!(packed, Ok(Status::StreamEnd));
        if whole && self.packed.len() < hep.payload.len() && hep.payload.len() <= MAX_PAYLOAD {
            head(hep, out);
            if u16::try_from(out.len() + CHUNK_HEADER + self.packed.len()).is_ok() {
                chunk(out, PACKED_PAYLOAD, &self.packed);
                return set_len(out);
            }
        }
        encode(hep, out);
    }
}

/// Writes one version 3 record over what `out` holds; the payload is not compressed. What does not fit into the
/// 16-bit length is cut off the payload.
pub fn encode(hep: &Hep<'_>, out: &mut Vec<u8>) {
    head(hep, out);
    let room = usize::from(u16::MAX).saturating_sub(out.len() + CHUNK_HEADER);
    chunk(out, PAYLOAD, hep.payload.get(..room).unwrap_or(hep.payload));
    set_len(out);
}

/// Everything before the payload.
fn head(hep: &Hep<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[0, 0]);
    match (hep.source.ip, hep.destination.ip) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            chunk(out, FAMILY, &[AF_INET]);
            chunk(out, PROTOCOL, &[hep.protocol]);
            chunk(out, SOURCE_V4, &source.octets());
            chunk(out, DESTINATION_V4, &destination.octets());
        }
        // A record has one family: a mixed pair is written as version 6, the other one mapped.
        (source, destination) => {
            chunk(out, FAMILY, &[AF_INET6]);
            chunk(out, PROTOCOL, &[hep.protocol]);
            chunk(out, SOURCE_V6, &mapped(source).octets());
            chunk(out, DESTINATION_V6, &mapped(destination).octets());
        }
    }
    chunk(out, SOURCE_PORT, &hep.source.port.to_be_bytes());
    chunk(out, DESTINATION_PORT, &hep.destination.port.to_be_bytes());
    if let Some(Stamp(nanos)) = hep.stamp {
        chunk(out, SECONDS, &((nanos / 1_000_000_000) as u32).to_be_bytes());
        chunk(out, MICROSECONDS, &((nanos / 1_000 % 1_000_000) as u32).to_be_bytes());
    }
    chunk(out, KIND, &[hep.kind.number()]);
    chunk(out, AGENT, &hep.agent.to_be_bytes());
    for (kind, value) in [(AUTH_KEY, hep.auth_key), (NODE, hep.node), (CORRELATION, hep.correlation)] {
        if !value.is_empty() {
            chunk(out, kind, value.get(..MAX_TEXT).unwrap_or(value));
        }
    }
}

fn set_len(out: &mut [u8]) {
    let len = (out.len() as u16).to_be_bytes();
    if let Some(place) = out.get_mut(MAGIC.len()..HEADER) {
        place.copy_from_slice(&len);
    }
}

impl Kind {
    fn of(number: u8, payload: &[u8]) -> Self {
        match number {
            1 => Self::Sip,
            4 => Self::Rtp,
            5 if payload.trim_ascii_start().starts_with(b"{") => Self::RtcpJson,
            5 => Self::Rtcp,
            100 => Self::Log,
            number => Self::Other(number),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Sip => 1,
            Self::Rtp => 4,
            Self::Rtcp | Self::RtcpJson => 5,
            Self::Log => 100,
            Self::Other(number) => number,
        }
    }
}

/// The chunks of a version 3 record: vendor, type, value.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<(u16, u16, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // What is left after the last chunk and is too short for one is padding.
        let (header, _) = self.0.split_first_chunk::<CHUNK_HEADER>()?;
        let &[vendor_high, vendor_low, kind_high, kind_low, len_high, len_low] = header;
        let vendor = u16::from_be_bytes([vendor_high, vendor_low]);
        let kind = u16::from_be_bytes([kind_high, kind_low]);
        let len = u16::from_be_bytes([len_high, len_low]);
        let Some(value) = self.0.get(CHUNK_HEADER..usize::from(len)) else {
            self.0 = &[];
            return Some(Err(Error::BadChunk { kind, len }));
        };
        self.0 = self.0.get(usize::from(len)..).unwrap_or_default();
        Some(Ok((vendor, kind, value)))
    }
}

fn version_3<'a>(chunks: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Hep<'a>, Error> {
    let (mut v4, mut v6) = ([None; 2], [None; 2]);
    let mut ports = [0_u16; 2];
    let (mut family, mut protocol, mut number, mut agent) = (0, 0, 0, 0);
    let (mut seconds, mut micros) = (None, 0);
    let (mut node, mut auth_key, mut correlation): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut plain, mut packed): (&[u8], Option<&[u8]>) = (&[], None);
    for chunk in Chunks(chunks) {
        let (vendor, kind, value) = chunk?;
        if vendor != GENERIC {
            continue;
        }
        match kind {
            FAMILY => family = byte(value).unwrap_or(family),
            PROTOCOL => protocol = byte(value).unwrap_or(protocol),
            SOURCE_V4 => v4[0] = address_v4(value),
            DESTINATION_V4 => v4[1] = address_v4(value),
            SOURCE_V6 => v6[0] = address_v6(value),
            DESTINATION_V6 => v6[1] = address_v6(value),
            SOURCE_PORT => ports[0] = word(value).unwrap_or(0),
            DESTINATION_PORT => ports[1] = word(value).unwrap_or(0),
            SECONDS => seconds = long(value),
            MICROSECONDS => micros = long(value).unwrap_or(0),
            KIND => number = byte(value).unwrap_or(number),
            AGENT => agent = long(value).unwrap_or(0),
            AUTH_KEY => auth_key = value,
            PAYLOAD => plain = value,
            PACKED_PAYLOAD => packed = Some(value),
            CORRELATION => correlation = value,
            NODE => node = value,
            _ => {}
        }
    }
    let (v4, v6) = (v4[0].zip(v4[1]), v6[0].zip(v6[1]));
    // Some agents leave the family out or name it by another system's number: then the addresses speak.
    let addresses = if family == AF_INET { v4.or(v6) } else { v6.or(v4) };
    let (source, destination) = addresses.ok_or(Error::NoAddresses)?;
    let payload = match packed {
        Some(packed) => {
            unpack(packed, scratch)?;
            scratch.as_slice()
        }
        None => plain,
    };
    Ok(Hep {
        source: Endpoint { ip: source, port: ports[0] },
        destination: Endpoint { ip: destination, port: ports[1] },
        protocol,
        stamp: seconds.map(|seconds| stamp(seconds, micros)),
        kind: Kind::of(number, payload),
        agent,
        node,
        auth_key,
        correlation,
        payload,
    })
}

/// Versions 1 and 2 carry SIP only. Their length field counts differently from sender to sender, so the family
/// decides where the addresses end.
fn old(version: u8, family: u8, protocol: u8, rest: &[u8]) -> Result<Hep<'_>, Error> {
    let (ports, rest) = rest.split_first_chunk::<4>().ok_or(Error::NotHep)?;
    let [source_high, source_low, destination_high, destination_low] = *ports;
    let address_len = match family {
        AF_INET => 4,
        AF_INET6 => 16,
        _ => return Err(Error::NotHep),
    };
    let (source, rest) = rest.split_at_checked(address_len).ok_or(Error::NoAddresses)?;
    let (destination, rest) = rest.split_at_checked(address_len).ok_or(Error::NoAddresses)?;
    let (stamp, agent, payload) = if version == 1 {
        (None, 0, rest)
    } else {
        let (time, payload) = rest.split_first_chunk().ok_or(Error::NotHep)?;
        let (stamp, agent) = old_time(time);
        (Some(stamp), agent, payload)
    };
    let address = |bytes| address_v4(bytes).or_else(|| address_v6(bytes)).ok_or(Error::NoAddresses);
    Ok(Hep {
        source: Endpoint { ip: address(source)?, port: u16::from_be_bytes([source_high, source_low]) },
        destination: Endpoint {
            ip: address(destination)?,
            port: u16::from_be_bytes([destination_high, destination_low]),
        },
        protocol,
        stamp,
        kind: Kind::Sip,
        agent,
        node: &[],
        auth_key: &[],
        correlation: &[],
        payload,
    })
}

/// Version 2 sends its time as the sender's memory has it: the order that gives less than a second of
/// microseconds is taken, and the little one if both do.
fn old_time(time: &[u8; 12]) -> (Stamp, u32) {
    let &[s0, s1, s2, s3, u0, u1, u2, u3, a0, a1, _, _] = time;
    let micros = u32::from_le_bytes([u0, u1, u2, u3]);
    if micros < 1_000_000 {
        let agent = u16::from_le_bytes([a0, a1]);
        (stamp(u32::from_le_bytes([s0, s1, s2, s3]), micros), u32::from(agent))
    } else {
        let micros = u32::from_be_bytes([u0, u1, u2, u3]);
        (stamp(u32::from_be_bytes([s0, s1, s2, s3]), micros), u32::from(u16::from_be_bytes([a0, a1])))
    }
}

fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.clear();
    out.reserve_exact(MAX_PAYLOAD);
    let mut zlib = Decompress::new(true);
    // Room is made once and never grown: that is the bound.
    match zlib.decompress_vec(packed, out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if out.len() <= MAX_PAYLOAD => Ok(()),
        Ok(_) if out.len() >= MAX_PAYLOAD => Err(Error::TooLong),
        _ => Err(Error::Damaged),
    }
}

fn stamp(seconds: u32, micros: u32) -> Stamp {
    Stamp(u64::from(seconds) * 1_000_000_000 + u64::from(micros) * 1_000)
}

fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&GENERIC.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&((CHUNK_HEADER + value.len()) as u16).to_be_bytes());
    out.extend_from_slice(value);
}

fn byte(value: &[u8]) -> Option<u8> {
    value.first().copied()
}

fn word(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn long(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn address_v4(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value).ok().map(|octets| Ipv4Addr::from(octets).into())
}

fn address_v6(value: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(value).ok().map(|octets| IpAddr::V6(octets.into()).to_canonical())
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Longest unpacked payload in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

const MAGIC: &[u8; 4] = b"HEP3";
const HEADER: usize = 6;
const CHUNK_HEADER: usize = 6;
const MAX_TEXT: usize = 1024;

/// Families go by the numbers of Linux.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const GENERIC: u16 = 0;
const FAMILY: u16 = 0x01;
const PROTOCOL: u16 = 0x02;
const SOURCE_V4: u16 = 0x03;
const DESTINATION_V4: u16 = 0x04;
const SOURCE_V6: u16 = 0x05;
const DESTINATION_V6: u16 = 0x06;
const SOURCE_PORT: u16 = 0x07;
const DESTINATION_PORT: u16 = 0x08;
const SECONDS: u16 = 0x09;
const MICROSECONDS: u16 = 0x0a;
const KIND: u16 = 0x0b;
const AGENT: u16 = 0x0c;
const AUTH_KEY: u16 = 0x0e;
const PAYLOAD: u16 = 0x0f;
const PACKED_PAYLOAD: u16 = 0x10;
const CORRELATION: u16 = 0x11;
const NODE: u16 = 0x13;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn example() -> Hep<'static> {
        Hep {
            source: Endpoint { ip: [192, 0, 2, 1].into(), port: 5060 },
            destination: Endpoint { ip: [192, 0, 2, 2].into(), port: 5080 },
            protocol: 17,
            stamp: Some(Stamp(1_795_250_983_027_611_000)),
            kind: Kind::Sip,
            agent: 2001,
            node: b"proxy1",
            auth_key: b"secret",
            correlation: b"a@b",
            payload: b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        }
    }

    /// Replaces the payload chunk, which is the last one.
    fn with_payload_chunk(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&example(), &mut bytes);
        bytes.truncate(bytes.len() - CHUNK_HEADER - example().payload.len());
        chunk(&mut bytes, kind, value);
        let len = bytes.len() as u16;
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// The example of the HEP3 specification (rev. 11): written by nobody here.
    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let bytes: &[u8] = b"HEP3\x00\x71\
            \x00\x00\x00\x01\x00\x07\x02\
            \x00\x00\x00\x02\x00\x07\x11\
            \x00\x00\x00\x03\x00\x0a\xd4\xca\x00\x01\
            \x00\x00\x00\x04\x00\x0a\x52\x74\x00\xd3\
            \x00\x00\x00\x07\x00\x08\x2e\xea\
            \x00\x00\x00\x08\x00\x08\x13\xc4\
            \x00\x00\x00\x09\x00\x0a\x4e\x49\x82\xcb\
            \x00\x00\x00\x0a\x00\x0a\x00\x01\xd4\xc0\
            \x00\x00\x00\x0b\x00\x07\x01\
            \x00\x00\x00\x0c\x00\x0a\x00\x00\x00\xe4\
            \x00\x00\x00\x0f\x00\x14INVITE sip:bob";
        let expected = Hep {
            source: Endpoint { ip: [212, 202, 0, 1].into(), port: 12_010 },
            destination: Endpoint { ip: [82, 116, 0, 211].into(), port: 5060 },
            protocol: 17,
            stamp: Some(Stamp(1_313_440_459_120_000_000)),
            kind: Kind::Sip,
            agent: 228,
            node: b"",
            auth_key: b"",
            correlation: b"",
            payload: b"INVITE sip:bob",
        };
        assert_eq!(decode(bytes, &mut Vec::new()), Ok(expected));
        // The order is the one of the specification, so that the bytes are the same.
        let mut written = Vec::new();
        encode(&expected, &mut written);
        assert_eq!(written, bytes);
    }

    #[test]
    fn chunks_of_other_vendors_and_unknown_ones_are_passed_over() {
        let mut bytes = Vec::new();
        encode(&example(), &mut bytes);
        // SIP's type under a vendor's number, a type nobody knows, and padding.
        for foreign in [b"\x00\x03\x00\x0b\x00\x07\x63".as_slice(), b"\x00\x00\x7f\x00\x00\x06", b"\x00\x00"]
        {
            bytes.extend_from_slice(foreign);
        }
        let len = bytes.len() as u16;
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        assert_eq!(decode(&bytes, &mut Vec::new()), Ok(example()));
    }

    #[test]
    fn reads_what_it_writes() {
        let v6 = |last| IpAddr::V6([0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into());
        let mut other = Hep { stamp: None, kind: Kind::Other(53), node: b"", ..example() };
        other.source.ip = v6(1);
        other.destination.ip = v6(2);
        let mixed = Hep { source: other.source, ..example() };
        let json = Hep { kind: Kind::RtcpJson, payload: b"{ }", ..example() };
        for hep in [example(), other, mixed, json, Hep { payload: b"", ..example() }] {
            let (mut bytes, mut scratch) = (b"old".to_vec(), Vec::new());
            encode(&hep, &mut bytes);
            assert_eq!(decode(&bytes, &mut scratch), Ok(hep));
        }
    }

    #[test]
    fn a_payload_too_long_for_the_length_field_is_cut() {
        let payload = vec![b'x'; 70_000];
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        encode(&Hep { payload: &payload, ..example() }, &mut bytes);
        assert_eq!(bytes.len(), 0xffff);
        assert!(decode(&bytes, &mut scratch).unwrap().payload.len() > 65_000);
    }

    #[test]
    fn a_compressed_payload_is_unpacked_to_a_bound() {
        let mut scratch = Vec::new();
        let plain = example().payload.repeat(100);
        let bytes = with_payload_chunk(PACKED_PAYLOAD, &zlib(&plain));
        assert_eq!(decode(&bytes, &mut scratch).unwrap().payload, plain);

        let exact = with_payload_chunk(PACKED_PAYLOAD, &zlib(&vec![0; MAX_PAYLOAD]));
        assert_eq!(decode(&exact, &mut scratch).unwrap().payload.len(), MAX_PAYLOAD);

        for len in [MAX_PAYLOAD + 1, 10 << 20] {
            let bomb = with_payload_chunk(PACKED_PAYLOAD, &zlib(&vec![0; len]));
            assert_eq!(decode(&bomb, &mut scratch), Err(Error::TooLong));
            assert!(scratch.capacity() <= 2 * MAX_PAYLOAD);
        }

        let packed = zlib(&plain);
        let half = with_payload_chunk(PACKED_PAYLOAD, &packed[..packed.len() / 2]);
        assert_eq!(decode(&half, &mut scratch), Err(Error::Damaged));
        let noise = with_payload_chunk(PACKED_PAYLOAD, b"not zlib");
        assert_eq!(decode(&noise, &mut scratch), Err(Error::Damaged));
    }

    #[test]
    fn says_what_is_wrong_with_a_record() {
        let mut bytes = Vec::new();
        encode(&example(), &mut bytes);
        let len = bytes.len();
        let refusal = |bytes: &[u8]| decode(bytes, &mut Vec::new()).map(|_| ()).unwrap_err();
        assert_eq!(refusal(b"HEP4"), Error::NotHep);
        assert_eq!(refusal(b"HEP3\x00"), Error::NotHep);
        assert_eq!(refusal(b"HEP3\x00\x05"), Error::NotHep);
        assert_eq!(refusal(b"HEP3\x00\x06"), Error::NoAddresses);
        assert_eq!(refusal(&bytes[..len - 1]), Error::Truncated { expected: len, actual: len - 1 });
        assert_eq!(refusal(b"HEP3\x00\x0c\x00\x00\x00\x01\x00\x05"), Error::BadChunk { kind: 1, len: 5 });
        assert_eq!(refusal(b"HEP3\x00\x0c\x00\x00\x00\x01\x00\x07"), Error::BadChunk { kind: 1, len: 7 });
    }

    #[test]
    fn a_packed_record_is_shorter_and_reads_the_same() {
        let payload = example().payload.repeat(40);
        let hep = Hep { payload: &payload, ..example() };
        let (mut plain, mut packed, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
        let mut packer = Packer::default();
        encode(&hep, &mut plain);
        for _ in 0..2 {
            packer.encode(&hep, &mut packed);
            assert!(packed.len() < plain.len() / 2);
            assert_eq!(decode(&packed, &mut scratch), Ok(hep));
        }
        // What does not shrink goes plain.
        let tiny = Hep { payload: b"BYE", ..example() };
        encode(&tiny, &mut plain);
        packer.encode(&tiny, &mut packed);
        assert_eq!(packed, plain);
    }

    #[test]
    fn the_key_is_found_without_the_payload() {
        let mut bytes = Vec::new();
        encode(&example(), &mut bytes);
        assert_eq!(auth_key(&bytes), Ok(b"secret".as_slice()));
        encode(&Hep { auth_key: b"", ..example() }, &mut bytes);
        assert_eq!(auth_key(&bytes), Ok(b"".as_slice()));
        assert_eq!(auth_key(b"\x01\x10"), Ok(b"".as_slice()));
        assert_eq!(auth_key(b"GET /"), Err(Error::NotHep));
        let len = bytes.len();
        assert_eq!(auth_key(&bytes[..9]), Err(Error::Truncated { expected: len, actual: 9 }));
        assert_eq!(
            auth_key(b"HEP3\x00\x0c\x00\x00\x00\x01\x00\x05"),
            Err(Error::BadChunk { kind: 1, len: 5 })
        );
    }

    #[test]
    fn a_stream_is_cut_by_the_length_field() {
        assert_eq!(next(b""), Next::Unknown);
        assert_eq!(next(b"HEP"), Next::Unknown);
        assert_eq!(next(b"HEP3\x01"), Next::Unknown);
        assert_eq!(next(b"HEP3\x01\x02"), Next::Record(258));
        assert_eq!(next(b"HEP3\x00\x05"), Next::Garbage);
        assert_eq!(next(b"HEQ"), Next::Garbage);
        assert_eq!(next(b"\x01\x10\x02"), Next::Garbage);
    }

    #[test]
    fn rtcp_is_binary_or_json() {
        let kind = |payload| {
            let mut bytes = Vec::new();
            encode(&Hep { kind: Kind::Rtcp, payload, ..example() }, &mut bytes);
            decode(&bytes, &mut Vec::new()).unwrap().kind
        };
        assert_eq!(kind(b"\x80\xc8\x00\x06"), Kind::Rtcp);
        assert_eq!(kind(b" {\"type\":200}"), Kind::RtcpJson);
    }

    #[test]
    fn versions_1_and_2_are_read() {
        let v1 = b"\x01\x10\x02\x11\x13\xc4\x13\xd8\xc0\x00\x02\x01\xc0\x00\x02\x02OPTIONS";
        let mut scratch = Vec::new();
        let hep = decode(v1, &mut scratch).unwrap();
        assert_eq!((hep.source, hep.destination), (example().source, example().destination));
        assert_eq!((hep.stamp, hep.protocol, hep.payload), (None, 17, b"OPTIONS".as_slice()));

        let mut v2 = v1[..16].to_vec();
        v2[0] = 2;
        let mut big = v2.clone();
        v2.extend([7_u32.to_le_bytes(), 999_999_u32.to_le_bytes()].concat());
        v2.extend(b"\x65\x00\x00\x00BYE");
        big.extend([7_u32.to_be_bytes(), 999_999_u32.to_be_bytes()].concat());
        big.extend(b"\x00\x65\x00\x00BYE");
        for bytes in [v2, big] {
            let mut scratch = Vec::new();
            let hep = decode(&bytes, &mut scratch).unwrap();
            assert_eq!((hep.stamp, hep.agent), (Some(Stamp(7_999_999_000)), 0x65));
            assert_eq!(hep.payload, b"BYE");
        }

        let v6 = [b"\x01\x28\x0a\x06\x13\xc4\x13\xd8".as_slice(), &[0; 15], &[1], &[0; 15], &[2]].concat();
        assert_eq!(decode(&v6, &mut Vec::new()).unwrap().source.to_string(), "[::1]:5060");
        assert_eq!(decode(&v6[..30], &mut Vec::new()), Err(Error::NoAddresses));
    }

    proptest! {
        /// forall bytes, also after a good beginning or with one byte changed: no panic.
        #[test]
        fn any_bytes_are_survived(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let mut bytes = Vec::new();
            encode(&example(), &mut bytes);
            for (place, byte) in bytes.iter_mut().skip(at).zip(&noise).take(2) {
                *place = *byte;
            }
            let _ = decode(&bytes, &mut Vec::new());
            let _ = decode(&noise, &mut Vec::new());
            let _ = decode(&[b"HEP3\x00\x40".as_slice(), &noise].concat(), &mut Vec::new());
            let _ = decode(&with_payload_chunk(PACKED_PAYLOAD, &noise), &mut Vec::new());
        }
    }
}
