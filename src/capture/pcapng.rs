//! pcapng files (draft-ietf-opsawg-pcapng): a row of blocks, each with its length at both ends.
//!
//! ```text
//! 0a0d0d0a section  1 interface  2 packet (old)  3 simple packet  6 enhanced packet  others: skipped
//! type | length | body, padded to 4 | length
//! ```
//!
//! A section has its own byte order and its own interfaces, each with its own link type and clock. A block
//! above 16 MiB is damage, and so are more than 65,536 interfaces in one section.

use super::fault::Damage;
use super::reader::{ByteOrder, Step};
use crate::Stamp;
use crate::wire::{Frame, LinkType};

/// State of the walk over one file.
#[derive(Clone, Debug)]
pub(crate) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Simple packets carry no time: they take that of the packet before them.
    latest: Stamp,
}

impl Pcapng {
    /// The state before the first section header.
    pub(crate) fn new() -> Self {
        Self { order: ByteOrder::Little, interfaces: Vec::new(), latest: Stamp(0) }
    }

    #[inline]
    pub(crate) fn step<'b>(&mut self, bytes: &'b [u8], frame: &mut Frame<'b>) -> Step {
        let Some(head) = bytes.first_chunk::<MIN_BLOCK>() else { return Step::Need(MIN_BLOCK) };
        if head[..4] == SECTION {
            match [ByteOrder::Little, ByteOrder::Big]
                .into_iter()
                .find(|o| o.u32_at(head, 8) == Some(BYTE_ORDER))
            {
                Some(order) => self.order = order,
                None => return Step::Damaged(Damage::corrupt("a section header without byte-order magic")),
            }
        }
        let order = self.order;
        let field = |i: usize| order.u32([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let (kind, length) = (field(0), field(4) as usize);
        if !(MIN_BLOCK..=LONGEST_BLOCK).contains(&length) || !length.is_multiple_of(4) {
            return damaged(kind, &format!("has the impossible length {length}"));
        }
        let Some((block, _)) = bytes.split_at_checked(length) else { return Step::Need(length) };
        if order.u32_at(block, length - 4) != Some(length as u32) {
            return damaged(kind, "has different lengths at its two ends");
        }
        let body = block.get(8..length - 4).unwrap_or_default();
        let read = match kind {
            ENHANCED_PACKET => self.enhanced(body),
            PACKET => self.old(body),
            SIMPLE_PACKET => self.simple(body),
            INTERFACE if self.interfaces.len() >= MAX_INTERFACES => {
                return damaged(kind, &format!("is one of more than {MAX_INTERFACES}"));
            }
            INTERFACE => {
                return self.interface(body).map_or_else(|| too_short(kind), |()| Step::Skip(length));
            }
            SECTION_HEADER => {
                self.interfaces.clear();
                return match order.u16_at(body, 4) {
                    Some(1) => Step::Skip(length),
                    Some(major) => damaged(kind, &format!("is of version {major}, only 1 is known")),
                    None => too_short(kind),
                };
            }
            _ => return Step::Skip(length),
        };
        match read {
            Ok(read) => {
                self.latest = read.stamp;
                *frame = read;
                Step::Frame(length)
            }
            Err(None) => too_short(kind),
            Err(Some(interface)) => {
                damaged(kind, &format!("names interface {interface}, which was never described"))
            }
        }
    }

    fn enhanced<'b>(&self, body: &'b [u8]) -> Result<Frame<'b>, Option<u32>> {
        let Some((fields, data)) = body.split_first_chunk::<20>() else { return Err(None) };
        let field = |i: usize| self.order.u32([fields[i], fields[i + 1], fields[i + 2], fields[i + 3]]);
        self.frame(field(0), field(4), field(8), field(12), field(16), data)
    }

    fn old<'b>(&self, body: &'b [u8]) -> Result<Frame<'b>, Option<u32>> {
        let Some((fields, data)) = body.split_first_chunk::<20>() else { return Err(None) };
        let field = |i: usize| self.order.u32([fields[i], fields[i + 1], fields[i + 2], fields[i + 3]]);
        let interface = u32::from(self.order.u16([fields[0], fields[1]]));
        self.frame(interface, field(4), field(8), field(12), field(16), data)
    }

    fn simple<'b>(&self, body: &'b [u8]) -> Result<Frame<'b>, Option<u32>> {
        let (Some(interface), Some((wire_len, data))) =
            (self.interfaces.first(), body.split_first_chunk::<4>())
        else {
            return Err(self.interfaces.is_empty().then_some(0));
        };
        let wire_len = self.order.u32(*wire_len);
        let snap_length = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
        // The captured length is not written down; what the block has room for includes its padding.
        let captured = wire_len.min(snap_length) as usize;
        Ok(Frame {
            stamp: self.latest,
            link: interface.link,
            interface: 0,
            wire_len,
            bytes: data.get(..captured).unwrap_or(data),
        })
    }

    #[inline]
    fn frame<'b>(
        &self,
        interface: u32,
        high: u32,
        low: u32,
        captured: u32,
        wire_len: u32,
        data: &'b [u8],
    ) -> Result<Frame<'b>, Option<u32>> {
        let described = self.interfaces.get(interface as usize).ok_or(Some(interface))?;
        Ok(Frame {
            stamp: described.stamp(u64::from(high) << 32 | u64::from(low)),
            link: described.link,
            interface,
            wire_len: wire_len.max(captured),
            bytes: data.get(..captured as usize).ok_or(None)?,
        })
    }

    fn interface(&mut self, body: &[u8]) -> Option<()> {
        let (fields, mut options) = body.split_first_chunk::<8>()?;
        let mut interface = Interface {
            link: LinkType(self.order.u16([fields[0], fields[1]])),
            snap_length: self.order.u32([fields[4], fields[5], fields[6], fields[7]]),
            tick: Tick::Nanos(1_000),
            offset_seconds: 0,
        };
        while let Some((head, rest)) = options.split_first_chunk::<4>() {
            let code = self.order.u16([head[0], head[1]]);
            let length = usize::from(self.order.u16([head[2], head[3]]));
            let Some(value) = rest.get(..length) else { break };
            match (code, value) {
                (END_OF_OPTIONS, _) => break,
                (IF_TSRESOL, &[resolution]) => interface.tick = Tick::new(resolution),
                (IF_TSOFFSET, value) => {
                    interface.offset_seconds = value.first_chunk().map_or(0, |&v| self.order.u64(v) as i64);
                }
                _ => {}
            }
            options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Some(())
    }
}

#[derive(Clone, Debug)]
struct Interface {
    link: LinkType,
    /// Bytes; 0 = no limit.
    snap_length: u32,
    tick: Tick,
    offset_seconds: i64,
}

impl Interface {
    #[inline]
    fn stamp(&self, ticks: u64) -> Stamp {
        let nanos = match self.tick {
            Tick::Nanos(nanos) => ticks.saturating_mul(nanos),
            Tick::PerNano(ticks_per_nano) => ticks / ticks_per_nano,
            Tick::Binary(shift) => {
                u64::try_from((u128::from(ticks) * 1_000_000_000) >> shift).unwrap_or(u64::MAX)
            }
        };
        Stamp(nanos).plus_nanos(self.offset_seconds.saturating_mul(1_000_000_000))
    }
}

/// Length of a clock tick.
#[derive(Clone, Copy, Debug)]
enum Tick {
    /// So many nanoseconds.
    Nanos(u64),
    /// So many of them in a nanosecond.
    PerNano(u64),
    /// 2^-n seconds.
    Binary(u32),
}

impl Tick {
    /// if_tsresol: the high bit chooses the base 2 or 10, the others are the negative exponent.
    fn new(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        match exponent {
            _ if resolution & 0x80 != 0 => Self::Binary(exponent),
            0..=9 => Self::Nanos(10_u64.pow(9 - exponent)),
            _ => Self::PerNano(10_u64.saturating_pow(exponent - 9)),
        }
    }
}

#[cold]
fn damaged(kind: u32, what: &str) -> Step {
    Step::Damaged(Damage::corrupt(format!("a block of type {kind} {what}; the file is damaged from here on")))
}

#[cold]
fn too_short(kind: u32) -> Step {
    damaged(kind, "is too short for what it should hold")
}

/// Reads the same in both byte orders.
pub(crate) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const END_OF_OPTIONS: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// Merged captures have an interface for each of their parts.
const MAX_INTERFACES: usize = 65_536;
const MIN_BLOCK: usize = 12;
const LONGEST_BLOCK: usize = 16 << 20;
