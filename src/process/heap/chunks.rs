//! A row of chunks, read through a window that moves over it.
//!
//! ```text
//! prev_size | size|flags | ... | prev_size | size|flags | ...      flags: 1 previous in use, 2 mmapped, 4 not the main arena
//! ```
//!
//! Whether a chunk is in use stands in the next one. A free chunk has its size at its end too, those in use carry the mark
//! of their arena: what was torn while it was read rarely passes both. Only heads matter, so that what lies behind a large
//! one is not read.

use super::arena::Segment;
use super::reading::{Reading, refuse};
use super::{Failure, tcache};
use crate::process::elf::word;
use crate::process::maps::Maps;
use crate::process::memory::{Memory, Residency, page_bytes};

/// Bytes of a row, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// In use, or in a tcache or fastbin.
    pub(super) used: u64,
    /// In bins.
    pub(super) free: u64,
    pub(super) top: u64,
    /// Headers of heaps and arenas, fenceposts.
    pub(super) overhead: u64,
    pub(super) chunks: u64,
    pub(super) free_chunks: u64,
    pub(super) largest_free: u64,
}

impl Sums {
    pub(super) fn bytes(&self) -> u64 {
        self.used + self.free + self.top + self.overhead
    }
}

/// What a chunk is, for who wants to see each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Used,
    Free,
}

/// One buffer for all rows.
pub(super) struct Walker<'a, 'm, M> {
    reading: &'a Reading<'m, M>,
    maps: &'a Maps,
    window: Vec<u8>,
    residency: Vec<Residency>,
    /// Chunks that may be the tcache of a thread: address and size.
    pub(super) tcaches: Vec<(u64, u64)>,
    /// Rows that were walked: start and end.
    rows: Vec<(u64, u64)>,
    /// Told of each chunk, some of them twice.
    pub(super) tell: Option<&'a mut dyn FnMut(u64, u64, Kind)>,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The head that is looked at next.
    at: u64,
    /// The chunk before, of which it is not yet known whether it is in use: address, size, flags.
    pending: Option<(u64, u64, u64)>,
    sums: Sums,
    tcaches: usize,
}

impl<'a, 'm, M: Memory> Walker<'a, 'm, M> {
    pub(super) fn new(reading: &'a Reading<'m, M>, maps: &'a Maps) -> Self {
        Self {
            reading,
            maps,
            window: Vec::new(),
            residency: Vec::new(),
            tcaches: Vec::new(),
            rows: Vec::new(),
            tell: None,
        }
    }

    /// What [`back_to`](Self::back_to) takes.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.tcaches.len(), self.rows.len())
    }

    /// Forgets what was found since.
    pub(super) fn back_to(&mut self, (tcaches, rows): (usize, usize)) {
        self.tcaches.truncate(tcaches);
        self.rows.truncate(rows);
    }

    /// Adds up a row. A window that does not fit together is read again, first from its last chunk on, then from the one
    /// before.
    pub(super) fn walk(&mut self, segment: &Segment, sums: &mut Sums) -> Result<(), Failure> {
        if segment.end.saturating_sub(segment.first) < CHUNK_LEAST {
            let nothing = Failure::Incoherent("a row of chunks is too short");
            return if segment.guessed { Ok(()) } else { Err(nothing) };
        }
        let found = self.tcaches.len();
        let mut here = Place { at: segment.first, pending: None, sums: *sums, tcaches: self.tcaches.len() };
        here.sums.overhead += segment.first - segment.start;
        let mut before = here;
        let mut tears = 0;
        let mut length = WINDOW_LEAST;
        loop {
            match self.window(segment, here, length) {
                Ok((place, true)) => {
                    *sums = place.sums;
                    self.rows.push((segment.start, segment.end));
                    return Ok(());
                }
                Ok((place, false)) => {
                    // Heads close together: more of them at once.
                    length = if place.at - here.at < 2 * length {
                        (2 * length).min(WINDOW_MOST)
                    } else {
                        WINDOW_LEAST
                    };
                    before = here;
                    here = place;
                }
                Err(Failure::Incoherent(_)) if segment.guessed => {
                    self.tcaches.truncate(found);
                    return Ok(());
                }
                Err(Failure::Incoherent(_)) if tears < MOST_TEARS => {
                    tears += 1;
                    if tears.is_multiple_of(4) {
                        here = before;
                    }
                    if let Some((address, ..)) = here.pending.take() {
                        here.at = address;
                    }
                    self.tcaches.truncate(here.tcaches);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Goes on until the window or the row ends; true = the row.
    fn window(&mut self, segment: &Segment, mut place: Place, length: u64) -> Result<(Place, bool), Failure> {
        let base = place.at;
        let length = length.min(segment.end - base) as usize;
        self.window.resize(length, 0);
        self.reading.resident(base, &mut self.window, &mut self.residency)?;
        let skew = base % page_bytes();
        while let Some(head) =
            self.window.get((place.at - base) as usize..).and_then(<[u8]>::first_chunk::<16>)
        {
            let page = (place.at - base + skew) / page_bytes();
            refuse(self.residency.get(page as usize).copied().unwrap_or_default())?;
            let (previous_size, size_and_flags) = (word(head, 0), word(head, 8));
            let (size, flags) = (size_and_flags & !7, size_and_flags & 7);
            if let Some((address, pending, pending_flags)) = place.pending.take() {
                let used = flags & PREVIOUS_IN_USE != 0;
                self.count(&mut place.sums, base, (address, pending), used);
                let marked = pending_flags & NOT_MAIN != 0;
                if used && marked == segment.is_main {
                    return Err(Failure::Incoherent("a chunk is marked as of another arena"));
                }
                if !used && previous_size != pending {
                    return Err(Failure::Incoherent("a free chunk has two sizes"));
                }
            }
            place.tcaches = self.tcaches.len();
            if size < CHUNK_LEAST {
                return self.fence(segment, place, size);
            }
            let next = place.at.checked_add(size).filter(|next| *next <= segment.end);
            let Some(next) = next.filter(|_| size.is_multiple_of(16) && flags & MMAPPED == 0) else {
                return Err(Failure::Incoherent("a chunk has a size that cannot be"));
            };
            if next == segment.end {
                if flags != PREVIOUS_IN_USE {
                    return Err(Failure::Incoherent("the last chunk is no top"));
                }
                place.sums.top += size;
                return Ok((place, true));
            }
            if segment.end - next < 16 {
                return Err(Failure::Incoherent("a chunk ends short of the end"));
            }
            place.pending = Some((place.at, size, flags));
            place.at = next;
        }
        Ok((place, false))
    }

    /// Segments that were left end in chunks too small to be any.
    fn fence(&self, segment: &Segment, mut place: Place, size: u64) -> Result<(Place, bool), Failure> {
        let left = segment.end - place.at;
        let second = self.reading.word(place.at + size + 8)? & !7;
        let closed = if segment.is_main {
            segment.guessed && second == FENCE
        } else {
            left == 2 * FENCE && second == 0
        };
        if size != FENCE || !closed {
            return Err(Failure::Incoherent("a chunk is too small"));
        }
        place.sums.overhead += 2 * FENCE;
        Ok((place, true))
    }

    fn count(&mut self, sums: &mut Sums, base: u64, (address, size): (u64, u64), used: bool) {
        if let Some(tell) = &mut self.tell {
            tell(address, size, if used { Kind::Used } else { Kind::Free });
        }
        if !used {
            sums.free += size;
            sums.free_chunks += 1;
            sums.largest_free = sums.largest_free.max(size);
            return;
        }
        sums.used += size;
        sums.chunks += 1;
        if tcache::may_be(size) && self.tcaches.len() < MOST_TCACHES {
            let from = address.checked_sub(base).map(|offset| offset as usize + 16);
            let seen = from.and_then(|from| self.window.get(from..from + size as usize - 16));
            if seen.is_none_or(|bytes| tcache::Tcache::parse(size, bytes).is_some()) {
                self.tcaches.push((address, size));
            }
        }
    }

    /// How much of the rows is in memory, of so many bytes in all.
    pub(super) fn resident(&self, bytes: u64) -> Result<Option<u64>, Failure> {
        let all = self.rows.iter().fold(0_u64, |sum, (start, end)| sum.saturating_add(end - start));
        // What was only guessed may be longer than what was seen of it.
        if all > bytes.saturating_mul(2) {
            return Ok(None);
        }
        let mut resident = 0;
        for (start, end) in &self.rows {
            resident += self.reading.resident_bytes(*start, end - start)?;
        }
        Ok(Some(resident))
    }

    /// What the tcaches among the chunks hold, bytes.
    pub(super) fn cached(&self, most: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for (address, size) in &self.tcaches {
            bytes += tcache::bytes(self.reading, self.maps, *address, *size, most)?;
        }
        Ok(bytes)
    }
}

const PREVIOUS_IN_USE: u64 = 1;
const MMAPPED: u64 = 2;
const NOT_MAIN: u64 = 4;
/// The smallest chunk that can be handed out.
const CHUNK_LEAST: u64 = 0x20;
/// Size of a fencepost.
const FENCE: u64 = 0x10;
const WINDOW_LEAST: u64 = 16 << 10;
const WINDOW_MOST: u64 = 256 << 10;
/// Windows of one row that may be read again.
const MOST_TEARS: u32 = 64;
/// More threads than that are not looked for.
const MOST_TCACHES: usize = 16_384;
