//! Arenas: their ring, and the segments of memory of each.
//!
//! ```text
//! malloc_state   0 flags   8 have_fastchunks   0x10 fastbinsY[10]   0x60 top   0x70 bins[254]   0x870 next
//!                0x888 system_mem   0x890 max_system_mem
//! heap_info      0 ar_ptr   8 prev   0x10 size          at each multiple of 64 MiB; the first one carries its arena
//! ```

use std::collections::BTreeSet;

use super::Failure;
use super::chunks::{Sums, Walker};
use super::globals::Globals;
use super::reading::Reading;
use crate::process::elf::{int, word};
use crate::process::maps::Maps;
use crate::process::memory::{Memory, page_bytes};

/// One arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arena {
    pub(super) address: u64,
    pub(super) is_main: bool,
    /// What it has from the kernel, by its own account.
    pub(super) system_bytes: u64,
    contiguous: bool,
}

/// A row of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it starts; what lies before the first chunk is malloc's own.
    pub(super) start: u64,
    pub(super) first: u64,
    pub(super) end: u64,
    /// Chunks of other arenas are marked as such.
    pub(super) is_main: bool,
    /// Nothing says that there is one, but there may be.
    pub(super) guessed: bool,
}

impl Arena {
    /// The ring of arenas, from the main one on.
    pub(super) fn all<M: Memory>(
        reading: &Reading<'_, M>,
        maps: &Maps,
        main: u64,
    ) -> Result<Vec<Self>, Failure> {
        let mut arenas = Vec::new();
        let mut seen = BTreeSet::new();
        let mut address = main;
        while seen.insert(address) {
            if arenas.len() >= MOST_ARENAS {
                return Err(Failure::Incoherent("the ring of arenas does not end"));
            }
            if !maps.is_writable(address) {
                return Err(Failure::Incoherent("an arena lies outside of writable memory"));
            }
            let state: [u8; STATE] = reading.block(address)?;
            let system_bytes = word(&state, SYSTEM_MEM);
            let contiguous = int(&state, 0) & NONCONTIGUOUS == 0;
            arenas.push(Self { address, is_main: address == main, system_bytes, contiguous });
            address = word(&state, NEXT);
        }
        // A ring comes back to where it began, and nowhere else.
        if address == main { Ok(arenas) } else { Err(Failure::Incoherent("the arenas are no ring")) }
    }

    /// Adds up its segments. Their bounds move: one that does not come out is looked up again.
    pub(super) fn walk<M: Memory>(
        &self,
        reading: &Reading<'_, M>,
        maps: &Maps,
        globals: &Globals,
        walker: &mut Walker<'_, '_, M>,
        sums: &mut Sums,
    ) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            let kept = *sums;
            let mark = walker.mark();
            let walked = match self.segments(reading, maps, globals) {
                Ok(segments) => segments.iter().try_for_each(|segment| walker.walk(segment, sums)),
                Err(failure) => Err(failure),
            };
            match walked {
                Err(Failure::Incoherent(_)) if tries < MOST_TRIES => {
                    tries += 1;
                    *sums = kept;
                    walker.back_to(mark);
                }
                walked => return walked,
            }
        }
    }

    /// Where its chunks are now.
    pub(super) fn segments<M: Memory>(
        &self,
        reading: &Reading<'_, M>,
        maps: &Maps,
        globals: &Globals,
    ) -> Result<Vec<Segment>, Failure> {
        if self.is_main { self.of_main(reading, maps, globals) } else { self.heaps(reading) }
    }

    fn of_main<M: Memory>(
        &self,
        reading: &Reading<'_, M>,
        maps: &Maps,
        globals: &Globals,
    ) -> Result<Vec<Segment>, Failure> {
        let Some((top, end)) = self.top(reading)? else { return Ok(Vec::new()) };
        let segment = |start: u64, end, guessed| {
            let first = start.next_multiple_of(16);
            Segment { start, first, end, is_main: true, guessed }
        };
        let start = globals.heap_start;
        let in_heap =
            start.filter(|start| (*start..end).contains(&top) && maps.writable_until(*start) >= end);
        if let Some(start) = in_heap {
            return Ok(vec![segment(skip_zeros(reading, start, end)?, end, false)]);
        }
        // Where the program break could not be moved, parts are mappings of their own.
        let mut segments: Vec<_> =
            start.map(|start| segment(start, maps.writable_until(start), true)).into_iter().collect();
        if !self.contiguous || start.is_none() {
            let anonymous =
                maps.iter().filter(|mapping| mapping.is_anonymous() && mapping.read && mapping.write);
            for mapping in anonymous.take(MOST_GUESSES) {
                let has_top = (mapping.start..mapping.end).contains(&top);
                segments.push(segment(mapping.start, if has_top { end } else { mapping.end }, !has_top));
            }
        }
        Ok(segments)
    }

    /// The top chunk and its end; none of an arena that has nothing yet. Both move while they are read: the end of a top
    /// is the end of a page.
    fn top<M: Memory>(&self, reading: &Reading<'_, M>) -> Result<Option<(u64, u64)>, Failure> {
        for _ in 0..MOST_TRIES {
            let top = reading.word(self.address + TOP as u64)?;
            if top == self.address + TOP as u64 {
                return Ok(None);
            }
            let head = reading.word(top.wrapping_add(8))?;
            let end = top.wrapping_add(head & !7);
            let fits = end > top && end.is_multiple_of(page_bytes()) && head & 7 == 1;
            if fits && top.is_multiple_of(16) {
                return Ok(Some((top, end)));
            }
        }
        Err(Failure::Incoherent("the top of the main arena lies nowhere"))
    }

    /// The heaps of an arena that is not the main one, the newest first.
    fn heaps<M: Memory>(&self, reading: &Reading<'_, M>) -> Result<Vec<Segment>, Failure> {
        let header = self.address & (HEAP_MAX - 1);
        if header == 0 || header > MOST_HEADER || !header.is_multiple_of(16) {
            return Err(Failure::Incoherent("an arena does not lie at the start of its heap"));
        }
        let carrier = self.address - header;
        let top = reading.word(self.address + TOP as u64)?;
        let mut heap = self.heap_of(reading, top)?;
        let mut segments: Vec<Segment> = Vec::new();
        let mut seen = BTreeSet::new();
        while heap != 0 {
            if !seen.insert(heap) || segments.len() >= MOST_HEAPS || heap & (HEAP_MAX - 1) != 0 {
                return Err(Failure::Incoherent("the heaps of an arena do not end"));
            }
            let info: [u8; 24] = reading.block(heap)?;
            let (owner, previous, size) = (word(&info, 0), word(&info, 8), word(&info, 16));
            let end = heap.wrapping_add(size);
            let first = if heap == carrier {
                (self.address + STATE as u64).next_multiple_of(16)
            } else {
                heap + header
            };
            let fits = owner == self.address && size.is_multiple_of(page_bytes()) && end > first;
            if !fits || size > MOST_HEAP {
                return Err(Failure::Incoherent("a heap of an arena does not fit"));
            }
            segments.push(Segment { start: heap, first, end, is_main: false, guessed: false });
            heap = previous;
        }
        Ok(segments)
    }

    /// The heap in which an address of this arena lies. Huge pages make heaps larger than usual.
    fn heap_of<M: Memory>(&self, reading: &Reading<'_, M>, address: u64) -> Result<u64, Failure> {
        for shift in 0..HEAP_SIZES {
            let heap = address & !((HEAP_MAX << shift) - 1);
            if reading.word(heap).is_ok_and(|owner| owner == self.address) {
                return Ok(heap);
            }
        }
        Err(Failure::Incoherent("the top of an arena lies in no heap of it"))
    }
}

/// The program break may have been moved before malloc did so the first time.
fn skip_zeros<M: Memory>(reading: &Reading<'_, M>, start: u64, end: u64) -> Result<u64, Failure> {
    let mut first = start.next_multiple_of(16);
    while first + 16 < end && first - start < MOST_ZEROS && reading.word(first + 8)? == 0 {
        first += 16;
    }
    Ok(first)
}

pub(super) const FASTBINS: usize = 0x10;
pub(super) const TOP: usize = 0x60;
pub(super) const BINS: usize = 0x70;
pub(super) const NEXT: usize = 0x870;
pub(super) const SYSTEM_MEM: usize = 0x888;
/// Size of a malloc_state.
pub(super) const STATE: usize = 0x898;
/// Flag: the main arena does not grow by the program break alone.
const NONCONTIGUOUS: u32 = 2;
/// Heaps lie at multiples of this.
const HEAP_MAX: u64 = 64 << 20;
const HEAP_SIZES: u32 = 7;
const MOST_HEAP: u64 = HEAP_MAX << (HEAP_SIZES - 1);
/// sizeof(heap_info): 0x20, since 2.35 0x30.
const MOST_HEADER: u64 = 0x100;
const MOST_ZEROS: u64 = 0x2000;
/// glibc makes at most eight arenas a processor.
const MOST_ARENAS: usize = 16_384;
const MOST_HEAPS: usize = 65_536;
const MOST_GUESSES: usize = 4096;
const MOST_TRIES: u32 = 4;
