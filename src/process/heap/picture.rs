//! How the heap lies in the address space: a bar for each row of chunks.

use super::arena::{Arena, Segment};
use super::chunks::{Kind, Walker};
use super::reading::Reading;
use super::tcache::{self, Tcache};
use super::{Failure, allocator, fastbins, globals};
use crate::process::maps::Maps;
use crate::process::memory::{Memory, Residency, page_bytes};

/// A row of chunks: the main arena, or one heap of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which arena, the main one is 0.
    pub arena: usize,
    /// Its first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// What lies in each part of it, in the order of addresses.
    pub cells: Vec<Cell>,
}

/// What lies in one part of a row, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Handed out.
    pub in_use: u64,
    /// In a tcache.
    pub cached: u64,
    /// Free and in memory.
    pub free: u64,
    /// Free, and given back to the kernel.
    pub unmapped: u64,
}

/// Draws the heap, `cells` to a row. It is walked anew, so that it may differ a little from figures of the same moment.
pub fn draw(memory: &impl Memory, cells: usize) -> Result<Vec<Row>, Failure> {
    let reading = Reading::of(memory);
    let maps = memory.maps()?;
    let libc = allocator::find(memory, &maps)?;
    let globals = globals::find(&reading, &maps, &libc)?;
    let mut rows = Vec::new();
    for (nth, arena) in Arena::all(&reading, &maps, globals.main_arena)?.iter().enumerate() {
        let mut segments = arena.segments(&reading, &maps, &globals)?;
        segments.sort_by_key(|segment| segment.start);
        for segment in segments.iter().take(MOST_ROWS) {
            let Segment { start, end, guessed, .. } = *segment;
            let mut row = Row { arena: nth, start, end, cells: vec![Cell::default(); cells] };
            let mut tell =
                |address, size, kind| {
                    row.add(address, size, |cell| {
                        if kind == Kind::Used { &mut cell.in_use } else { &mut cell.free }
                    });
                };
            let mut walker = Walker::new(&reading, &maps);
            walker.tell = Some(&mut tell);
            let mut sums = super::Sums::default();
            match walker.walk(segment, &mut sums) {
                // Torn: what was seen of it is still a picture.
                Ok(()) | Err(Failure::Incoherent(_)) => {}
                Err(failure) => return Err(failure),
            }
            if guessed && sums.bytes() == 0 {
                continue;
            }
            let caches = std::mem::take(&mut walker.tcaches);
            row.add(end - sums.top.min(end - start), sums.top, |cell| &mut cell.free);
            row.cache(&reading, &maps, caches)?;
            row.give_back(memory)?;
            rows.push(row);
        }
    }
    Ok(rows)
}

impl Row {
    /// Adds bytes from an address on to the cells in which they lie.
    fn add(&mut self, address: u64, size: u64, field: impl Fn(&mut Cell) -> &mut u64) {
        for (cell, bytes) in self.shares(address, size) {
            *field(cell) += bytes;
        }
    }

    /// The cells over which a range stretches, and how much of it lies in each.
    fn shares(&mut self, address: u64, size: u64) -> impl Iterator<Item = (&mut Cell, u64)> {
        let whole = u128::from(self.end - self.start).max(1);
        let count = self.cells.len() as u128;
        let from = u128::from(address.saturating_sub(self.start));
        let to = (from + u128::from(size)).min(whole);
        let first = (from * count / whole) as usize;
        let bound = move |nth: usize| nth as u128 * whole / count;
        let cells = self.cells.iter_mut().enumerate().skip(first);
        cells.take_while(move |(nth, _)| bound(*nth) < to).map(move |(nth, cell)| {
            (cell, to.min(bound(nth + 1)).saturating_sub(from.max(bound(nth))) as u64)
        })
    }

    /// Moves what tcaches hold from in use to cached, each where it lies.
    fn cache<M: Memory>(
        &mut self,
        reading: &Reading<'_, M>,
        maps: &Maps,
        caches: Vec<(u64, u64)>,
    ) -> Result<(), Failure> {
        for (address, size) in caches {
            let Some(Tcache(bins)) = tcache::read(reading, address, size)? else { continue };
            for bin in bins {
                let (Some(size), mut entry) = (bin.size, bin.first) else { continue };
                for _ in 0..bin.count.min(MOST_CACHED) {
                    if !maps.is_writable(entry) || !entry.is_multiple_of(16) {
                        break;
                    }
                    for (cell, bytes) in self.shares(entry - 16, size) {
                        let bytes = bytes.min(cell.in_use);
                        cell.in_use -= bytes;
                        cell.cached += bytes;
                    }
                    let Ok(link) = reading.word(entry) else { break };
                    entry = fastbins::follow(entry, link, maps);
                }
            }
        }
        Ok(())
    }

    /// Free pages that are not in memory.
    fn give_back(&mut self, memory: &impl Memory) -> Result<(), Failure> {
        let page = page_bytes();
        let mut residency =
            vec![Residency::Present; ((self.end - self.start) / page).min(MOST_PAGES) as usize];
        memory.residency(self.start, &mut residency)?;
        for (nth, _) in residency.iter().enumerate().filter(|(_, state)| **state == Residency::Absent) {
            for (cell, bytes) in self.shares(self.start + nth as u64 * page, page) {
                let bytes = bytes.min(cell.free);
                cell.free -= bytes;
                cell.unmapped += bytes;
            }
        }
        Ok(())
    }
}

const MOST_ROWS: usize = 1024;
const MOST_CACHED: u64 = 1024;
/// 8 GiB in small pages.
const MOST_PAGES: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shared_out_to_the_cells_in_which_they_lie() {
        let mut row = Row { arena: 0, start: 0x1000, end: 0x2000, cells: vec![Cell::default(); 4] };
        row.add(0x1300, 0x200, |cell| &mut cell.in_use);
        row.add(0x1f00, 0x1000, |cell| &mut cell.free);
        assert_eq!(row.cells.iter().map(|cell| cell.in_use).collect::<Vec<_>>(), [0x100, 0x100, 0, 0]);
        assert_eq!(row.cells[3].free, 0x100);
    }
}
