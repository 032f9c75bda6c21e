//! What the fuzz targets share with the program that writes their seeds: scripts of frames, of TCP segments and
//! of RTP packets as plain bytes, so that any bytes are a script.
//!
//! ```text
//! frames:   start | (link, delay, length 16, bytes)*
//! segments: start | (flow and flags, delay, sequence step 16, length 16, bytes)*
//! packets:  start | (kind, delay, sequence step, tick step, payload type, length)*
//! ```

use sidetone::Stamp;
use sidetone::limits::Limits;
use sidetone::wire::{Frame, LinkType};

/// Tables so small that a few packets fill them.
pub fn tiny_limits() -> Limits {
    Limits {
        calls: 3,
        transactions: 6,
        registrations: 2,
        streams: 3,
        endpoints: 3,
        candidates: 2,
        fragments: 2,
        fragment_bytes: 4_096,
        tcp_flows: 3,
        tcp_flow_bytes: 2_048,
        tcp_bytes: 4_096,
    }
}

/// Reads a script from the front of some bytes.
pub struct Script<'a> {
    rest: &'a [u8],
    now: u64,
}

impl<'a> Script<'a> {
    /// The first byte chooses when it begins.
    pub fn new(bytes: &'a [u8]) -> Self {
        let (start, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let now = match start {
            0xff => u64::MAX - 3_000_000_000,
            0xfe => 0,
            day => 1_700_000_000_000_000_000 + u64::from(*day) * 86_399_999_999_999,
        };
        Self { rest, now }
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// The next two bytes as a number.
    pub fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The next bytes, at most `len`.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// Time goes on by the next byte: 0 to 15 times 10 us to 100 s, backwards when its high bit is set.
    pub fn time(&mut self) -> Option<Stamp> {
        let delay = self.byte()?;
        let nanos = u64::from(delay & 15) * 10_000 * 10_u64.pow(u32::from(delay >> 4 & 7));
        self.now = if delay & 0x80 == 0 {
            self.now.saturating_add(nanos)
        } else {
            self.now.saturating_sub(nanos / 1_000)
        };
        Some(Stamp(self.now))
    }

    /// The next frame.
    pub fn frame(&mut self) -> Option<Frame<'a>> {
        let (kind, stamp, len) = (self.byte()?, self.time()?, self.word()?);
        let bytes = self.bytes(usize::from(len));
        Some(Frame {
            stamp,
            link: LINKS[usize::from(kind & 15)],
            interface: u32::from(kind >> 4 & 1),
            wire_len: bytes.len() as u32 + u32::from(kind >> 5) * 100,
            bytes,
        })
    }
}

/// Writes what [`Script`] reads.
#[derive(Default)]
pub struct Writer {
    /// The script so far.
    pub bytes: Vec<u8>,
    now: u64,
}

impl Writer {
    /// A script that begins on some ordinary day.
    pub fn new() -> Self {
        Self { bytes: vec![7], now: 0 }
    }

    /// The next frame, `nanos` after the beginning; its delay is rounded to one digit.
    pub fn frame(&mut self, link: LinkType, nanos: u64, bytes: &[u8]) {
        let kind = LINKS.iter().position(|known| *known == link).unwrap_or(0);
        let delay = self.delay(nanos);
        self.bytes.extend_from_slice(&[kind as u8, delay]);
        self.bytes.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// The next TCP segment, see `targets/tcp.rs`.
    pub fn segment(&mut self, flow: u8, flags: u8, step: u16, bytes: &[u8]) {
        self.bytes.extend_from_slice(&[flow & 3 | flags << 2, 0x11]);
        self.bytes.extend_from_slice(&step.to_be_bytes());
        self.bytes.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    fn delay(&mut self, nanos: u64) -> u8 {
        let mut digits = nanos.saturating_sub(self.now) / 10_000;
        let mut power = 0;
        while digits > 15 && power < 7 {
            digits /= 10;
            power += 1;
        }
        let digits = digits.min(15);
        self.now += digits * 10_000 * 10_u64.pow(power);
        digits as u8 | (power as u8) << 4
    }
}

const LINKS: [LinkType; 16] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL,
    LinkType::LINUX_SLL2,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::PPP,
    LinkType::PPP_HDLC,
    LinkType::PPP_ETHER,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::DLT_RAW,
    LinkType::DLT_RAW_OPENBSD,
    LinkType(147),
    LinkType::ETHERNET,
    LinkType::ETHERNET,
];
