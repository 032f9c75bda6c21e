//! One capture: reads 64 KiB at a time and walks the records in the buffer without copying them.

use std::io::{self, Read};

use super::fault::Damage;
use super::input::{CHUNK, Input};
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::{BATCH, FaultKind, Take, foreign};
use crate::Stamp;
use crate::wire::{Frame, LinkType};

/// A capture being read.
pub(crate) struct Reader {
    input: Input,
    buffer: Vec<u8>,
    /// First byte not walked yet.
    start: usize,
    /// End of what was read.
    end: usize,
    /// Place of `start` in the capture.
    offset: u64,
    /// The input has no more bytes, or broke.
    exhausted: bool,
    format: Format,
    /// Why the input has no more bytes, where that is not simply its end.
    broken: Option<Damage>,
    damage: Option<Damage>,
}

impl Reader {
    /// Reads the beginning and recognises the format; what is wrong shows up as [`Reader::damage`].
    pub(crate) fn new(input: Input) -> Self {
        let mut reader = Self {
            input,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            offset: 0,
            exhausted: false,
            format: Format::Pcapng(Pcapng::new()),
            broken: None,
            damage: None,
        };
        reader.recognise();
        reader
    }

    /// Time of the next frame; `None` at the end or at the damage.
    pub(crate) fn head(&mut self) -> Option<Stamp> {
        while self.damage.is_none() {
            let mut frame = NO_FRAME;
            match self.format.step(self.buffer.get(self.start..self.end)?, &mut frame) {
                Step::Frame(_) => return Some(frame.stamp),
                Step::Skip(length) => self.advance(length),
                Step::Need(length) => {
                    if !self.fill(length) {
                        return None;
                    }
                }
                Step::Damaged(damage) => self.damage = Some(damage),
            }
        }
        None
    }

    /// Hands over what is in the buffer as long as `due` says yes to its time.
    pub(crate) fn deliver(&mut self, due: impl Fn(Stamp) -> bool, take: &mut Take<'_>) {
        let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
        let walked = match &mut self.format {
            Format::Pcap(pcap) => walk(bytes, |bytes, frame| pcap.step(bytes, frame), due, take),
            Format::Pcapng(pcapng) => walk(bytes, |bytes, frame| pcapng.step(bytes, frame), due, take),
        };
        self.advance(walked);
    }

    /// All that is left is in the buffer and not later than `limit`.
    pub(crate) fn ends_by(&mut self, limit: Stamp) -> bool {
        while !self.exhausted && self.end - self.start < CHUNK {
            self.fill(CHUNK);
        }
        let mut format = self.format.clone();
        let mut rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let mut frame = NO_FRAME;
        loop {
            let length = match format.step(rest, &mut frame) {
                Step::Frame(_) if frame.stamp > limit => return false,
                Step::Frame(length) | Step::Skip(length) => length,
                Step::Need(_) | Step::Damaged(_) => return self.exhausted,
            };
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    /// What stopped it, and at which byte of the capture.
    pub(crate) fn damage(&self) -> Option<(&Damage, u64)> {
        self.damage.as_ref().map(|damage| (damage, self.offset))
    }

    /// The input is being decompressed.
    pub(crate) fn compressed(&self) -> bool {
        self.input.compressed
    }

    fn recognise(&mut self) {
        while self.end < pcap::HEADER && !self.exhausted {
            self.fill(pcap::HEADER);
        }
        let head = self.buffer.get(..self.end).unwrap_or_default();
        if let Some(pcap) = head.first_chunk().and_then(Pcap::new) {
            self.format = Format::Pcap(pcap);
            self.advance(pcap::HEADER);
        } else if !head.starts_with(&pcapng::SECTION) {
            // What it is said to be must not depend on how much of it came first.
            while self.end < foreign::ENOUGH && !self.exhausted {
                self.fill(foreign::ENOUGH);
            }
            let head = self.buffer.get(..self.end.min(foreign::ENOUGH)).unwrap_or_default();
            let begins_like_pcap = head.len() < pcap::HEADER
                && pcap::MAGICS.iter().any(|m| m.iter().zip(head).all(|(m, h)| m == h));
            self.damage = Some(match self.broken.take() {
                Some(broken) => broken,
                None if head.is_empty() => {
                    Damage { kind: FaultKind::Empty, message: "0 bytes: nothing was captured".into() }
                }
                None if begins_like_pcap => cut_short("its header"),
                None => Damage { kind: FaultKind::Foreign, message: foreign::hint(head) },
            });
        }
    }

    fn advance(&mut self, length: usize) {
        self.start += length;
        self.offset += length as u64;
    }

    /// Reads on so that `length` bytes may be there; false when there is nothing more to read.
    fn fill(&mut self, length: usize) -> bool {
        if self.exhausted {
            self.damage =
                self.broken.take().or_else(|| (self.start < self.end).then(|| cut_short("a packet")));
            return false;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let Some(room) = self.buffer.get_mut(self.end..) else { return false };
        match self.input.read(room) {
            Ok(0) => self.exhausted = true,
            Ok(n) => self.end += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.exhausted = true;
                self.broken = Some(match error.kind() {
                    io::ErrorKind::UnexpectedEof => cut_short("the compressed data"),
                    _ if self.input.compressed => {
                        Damage::corrupt(format!("cannot be decompressed further: {error}"))
                    }
                    _ => Damage {
                        kind: FaultKind::Truncated,
                        message: format!("cannot be read further: {error}"),
                    },
                });
            }
        }
        true
    }
}

/// Walks records until one is not due, incomplete or damaged; returns the bytes that are done with. Damage is
/// found again, and kept, by the next look at the head.
#[inline]
fn walk<'b>(
    bytes: &'b [u8],
    mut step: impl FnMut(&'b [u8], &mut Frame<'b>) -> Step,
    due: impl Fn(Stamp) -> bool,
    take: &mut Take<'_>,
) -> usize {
    let mut rest = bytes;
    let mut batch = [NO_FRAME; BATCH];
    let mut filled = 0;
    loop {
        if filled == BATCH {
            take(&batch);
            filled = 0;
        }
        let length = match step(rest, &mut batch[filled]) {
            Step::Frame(length) if due(batch[filled].stamp) => {
                filled += 1;
                length
            }
            Step::Skip(length) => length,
            Step::Frame(_) | Step::Need(_) | Step::Damaged(_) => break,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    if let Some(batch) = batch.get(..filled).filter(|batch| !batch.is_empty()) {
        take(batch);
    }
    bytes.len() - rest.len()
}

fn cut_short(inside: &str) -> Damage {
    let message = format!("cut short inside {inside}; what came before is kept");
    Damage { kind: FaultKind::Truncated, message }
}

/// What the walk finds at the beginning of the bytes it is given.
pub(crate) enum Step {
    /// A frame, written to the place that was given for it; the length of its record.
    Frame(usize),
    /// So many bytes that hold no frame.
    Skip(usize),
    /// Cannot tell before so many bytes are there.
    Need(usize),
    /// Cannot go on.
    Damaged(Damage),
}

/// Byte order of a file, known from its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    #[inline]
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(crate) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(crate) fn u16_at(self, bytes: &[u8], at: usize) -> Option<u16> {
        Some(self.u16(*bytes.get(at..)?.first_chunk()?))
    }

    #[inline]
    pub(crate) fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.u32(*bytes.get(at..)?.first_chunk()?))
    }
}

#[derive(Clone)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl Format {
    #[inline]
    fn step<'b>(&mut self, bytes: &'b [u8], frame: &mut Frame<'b>) -> Step {
        match self {
            Self::Pcap(pcap) => pcap.step(bytes, frame),
            Self::Pcapng(pcapng) => pcapng.step(bytes, frame),
        }
    }
}

const NO_FRAME: Frame<'static> =
    Frame { stamp: Stamp(0), link: LinkType(0), interface: 0, wire_len: 0, bytes: &[] };
