//! Classic pcap files (`pcap-savefile(5)`).
//!
//! ```text
//! 0  magic a1b2c3d4 us | a1b23c4d ns | a1b2cd34 us, long records; in the writer's byte order
//! 4  version 2.4   8 zone, ignored   12 accuracy, ignored   16 snap length   20 link type (low 16 bits)
//! then records: seconds, fraction, captured length, wire length, [8 bytes more], bytes
//! ```
//!
//! A captured length above the snap length (at least 256 KiB, at most 16 MiB) is damage.

use std::io::{self, Write};

use super::fault::Damage;
use super::reader::{ByteOrder, Step};
use crate::Stamp;
use crate::wire::{Frame, LinkType};

/// State of the walk over one file.
#[derive(Clone, Debug)]
pub(crate) struct Pcap {
    order: ByteOrder,
    nanos_per_tick: u64,
    record_header: usize,
    longest: usize,
    link: LinkType,
}

impl Pcap {
    /// Reads the file header.
    pub(crate) fn new(header: &[u8; HEADER]) -> Option<Self> {
        let magic = header.first_chunk::<4>().copied()?;
        let (order, magic) = [ByteOrder::Little, ByteOrder::Big]
            .map(|order| (order, order.u32(magic)))
            .into_iter()
            .find(|(_, magic)| matches!(*magic, MICROSECONDS | NANOSECONDS | MODIFIED))?;
        let snap_length = order.u32_at(header, 16)? as usize;
        Some(Self {
            order,
            nanos_per_tick: if magic == NANOSECONDS { 1 } else { 1_000 },
            record_header: if magic == MODIFIED { MODIFIED_RECORD_HEADER } else { RECORD_HEADER },
            longest: snap_length.clamp(SNAP_LENGTH as usize, LONGEST_RECORD),
            link: LinkType(order.u32_at(header, 20)? as u16),
        })
    }

    #[inline]
    pub(crate) fn step<'b>(&self, bytes: &'b [u8], frame: &mut Frame<'b>) -> Step {
        let Some((header, body)) = bytes.split_at_checked(self.record_header) else {
            return Step::Need(self.record_header);
        };
        let Some(fields) = header.first_chunk::<RECORD_HEADER>() else { return Step::Need(RECORD_HEADER) };
        let field = |i: usize| u32::from_le_bytes([fields[i], fields[i + 1], fields[i + 2], fields[i + 3]]);
        let mut fields = [field(0), field(4), field(8), field(12)];
        if self.order == ByteOrder::Big {
            fields = fields.map(u32::swap_bytes);
        }
        let [seconds, fraction, captured, wire_len] = fields;
        let captured = captured as usize;
        if captured > self.longest {
            return too_long(captured, self.longest);
        }
        let Some(captured_bytes) = body.get(..captured) else {
            return Step::Need(self.record_header + captured);
        };
        let stamp = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.nanos_per_tick;
        *frame = Frame {
            stamp: Stamp(stamp),
            link: self.link,
            interface: self.order.u32_at(header, RECORD_HEADER).unwrap_or(0),
            wire_len: wire_len.max(captured as u32),
            bytes: captured_bytes,
        };
        Step::Frame(self.record_header + captured)
    }
}

#[cold]
fn too_long(captured: usize, longest: usize) -> Step {
    Step::Damaged(Damage::corrupt(format!(
        "a packet claims {captured} captured bytes where {longest} is the limit; the file is damaged from here on"
    )))
}

/// Writes pcap files with nanosecond stamps, little-endian. Buffers nothing: give it a `BufWriter`.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    pub fn new(mut to: W, link: LinkType) -> io::Result<Self> {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&NANOSECONDS.to_le_bytes());
        header[4] = 2;
        header[6] = 4;
        header[16..20].copy_from_slice(&SNAP_LENGTH.to_le_bytes());
        header[20..22].copy_from_slice(&link.0.to_le_bytes());
        to.write_all(&header)?;
        Ok(Self { to })
    }

    /// Writes one frame that was captured whole.
    pub fn frame(&mut self, stamp: Stamp, bytes: &[u8]) -> io::Result<()> {
        let length = (bytes.len() as u32).to_le_bytes();
        let mut header = [0; RECORD_HEADER];
        header[..4].copy_from_slice(&((stamp.0 / 1_000_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((stamp.0 % 1_000_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&length);
        header[12..].copy_from_slice(&length);
        self.to.write_all(&header)?;
        self.to.write_all(bytes)
    }

    /// Flushes and returns the destination.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Length of the file header.
pub(crate) const HEADER: usize = 24;
/// The first bytes of a file, in either byte order.
pub(crate) const MAGICS: [[u8; 4]; 6] = [
    MICROSECONDS.to_le_bytes(),
    MICROSECONDS.to_be_bytes(),
    NANOSECONDS.to_le_bytes(),
    NANOSECONDS.to_be_bytes(),
    MODIFIED.to_le_bytes(),
    MODIFIED.to_be_bytes(),
];

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Linux 2.x patch: record headers carry ifindex, protocol and packet type too.
const MODIFIED: u32 = 0xa1b2_cd34;
const RECORD_HEADER: usize = 16;
const MODIFIED_RECORD_HEADER: usize = 24;
const SNAP_LENGTH: u32 = 256 << 10;
const LONGEST_RECORD: usize = 16 << 20;
