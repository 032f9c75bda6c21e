//! Caches of threads: chunks that are free for their thread and in use for everybody else.
//!
//! ```text
//! until 2.29   u8 counts[64],  entry *entries[64]     a chunk of 0x250
//! until 2.41   u16 counts[64], entry *entries[64]     a chunk of 0x290
//! since 2.42   u16 slots[76],  entry *entries[76]     a chunk of 0x300; slots that are left
//! ```
//!
//! A thread's cache is itself a chunk in its arena. It is known by its size, by counts that agree with its entries, and by
//! entries that lead to chunks of the right sizes.

use super::Failure;
use super::reading::Reading;
use crate::process::elf::{half, word};
use crate::process::maps::Maps;
use crate::process::memory::Memory;

/// One cache: of each size that it holds, how many, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tcache(pub(super) Vec<Bin>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    /// Size of its chunks; that of large ones varies.
    pub(super) size: Option<u64>,
    pub(super) count: u64,
    /// Behind the head of the first one.
    pub(super) first: u64,
}

/// Whether a chunk of this size could be one.
pub(super) fn may_be(size: u64) -> bool {
    matches!(size, SIZE_OF_BYTES | SIZE_OF_HALVES | SIZE_OF_SLOTS)
}

impl Tcache {
    /// Looks at a chunk of that size, from behind its head on. None if it is no cache, or an empty one.
    pub(super) fn parse(size: u64, bytes: &[u8]) -> Option<Self> {
        let bins = if size == SIZE_OF_SLOTS { 76 } else { 64 };
        let count = |bin: usize| match size {
            SIZE_OF_BYTES => bytes.get(bin).copied().map_or(0, u64::from),
            _ => u64::from(half(bytes, 2 * bin)),
        };
        let entries = if size == SIZE_OF_BYTES { 64 } else { 2 * bins };
        let most = (0..bins).map(count).max()?;
        let mut held = Vec::new();
        let mut odd = 0;
        for bin in 0..bins {
            let first = word(bytes, entries + 8 * bin);
            // Of slots the most that is left anywhere is what an empty bin has.
            let count = if size == SIZE_OF_SLOTS { most - count(bin) } else { count(bin) };
            if (count == 0) != (first == 0) || !first.is_multiple_of(16) || count > MOST_COUNT {
                odd += 1;
                continue;
            }
            if count > 0 {
                let size = (bin < 64).then_some(0x20 + 16 * bin as u64);
                held.push(Bin { size, count, first });
            }
        }
        // Its thread may be about to change one of them.
        (odd <= 1 && !held.is_empty()).then_some(Self(held))
    }
}

/// What the cache in a chunk holds, bytes; 0 if it is none.
pub(super) fn bytes<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    address: u64,
    size: u64,
    most: u64,
) -> Result<u64, Failure> {
    let Some(Tcache(bins)) = read(reading, address, size)? else { return Ok(0) };
    let (mut sum, mut right, mut wrong) = (0_u64, 0, 0);
    for Bin { size, count, first } in bins {
        if count > most || !maps.is_writable(first) {
            return Ok(0);
        }
        let Some(head) = unless_gone(reading.word(first - 8))? else { continue };
        let found = head & !7;
        if size.map_or(found >= 0x400, |size| size == found) {
            right += 1;
            sum = sum.saturating_add(count * found);
        } else {
            wrong += 1;
        }
    }
    Ok(if right > 0 && wrong <= 1 { sum } else { 0 })
}

/// The cache in a chunk, if it is one.
pub(super) fn read<M: Memory>(
    reading: &Reading<'_, M>,
    address: u64,
    size: u64,
) -> Result<Option<Tcache>, Failure> {
    let body = address + 16;
    let body = match size {
        SIZE_OF_BYTES => reading.block::<0x240>(body).map(Vec::from),
        SIZE_OF_HALVES => reading.block::<0x280>(body).map(Vec::from),
        _ => reading.block::<0x2f8>(body).map(Vec::from),
    };
    Ok(unless_gone(body)?.and_then(|body| Tcache::parse(size, &body)))
}

/// A place that no longer is what it was does not spoil the walk.
fn unless_gone<T>(read: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Failure::Incoherent(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

const SIZE_OF_BYTES: u64 = 0x250;
const SIZE_OF_HALVES: u64 = 0x290;
const SIZE_OF_SLOTS: u64 = 0x300;
/// More than any tunable allows in practice.
const MOST_COUNT: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(counts: &[(usize, u16, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 0x280];
        for (bin, count, first) in counts {
            bytes[2 * bin..2 * bin + 2].copy_from_slice(&count.to_le_bytes());
            bytes[128 + 8 * bin..136 + 8 * bin].copy_from_slice(&first.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn counts_and_entries_agree_in_a_cache() {
        let cache = Tcache::parse(SIZE_OF_HALVES, &halves(&[(0, 7, 0x1000), (3, 2, 0x2000)])).unwrap();
        assert_eq!(cache.0.len(), 2);
        assert_eq!(cache.0[1], Bin { size: Some(0x50), count: 2, first: 0x2000 });
        assert_eq!(Tcache::parse(SIZE_OF_HALVES, &halves(&[(0, 7, 0), (3, 2, 0), (4, 1, 0x10)])), None);
        assert_eq!(Tcache::parse(SIZE_OF_HALVES, &halves(&[])), None);
        assert_eq!(Tcache::parse(SIZE_OF_HALVES, &[0xff; 0x280]), None);
        assert_eq!(Tcache::parse(SIZE_OF_BYTES, &[]), None);
    }

    #[test]
    fn slots_that_are_left_are_counted_down_from_those_of_an_empty_bin() {
        let mut bytes = vec![0; 0x2f8];
        for bin in 0..76 {
            bytes[2 * bin..2 * bin + 2].copy_from_slice(&16_u16.to_le_bytes());
        }
        bytes[4..6].copy_from_slice(&13_u16.to_le_bytes());
        bytes[152 + 16..152 + 24].copy_from_slice(&0x5000_u64.to_le_bytes());
        let cache = Tcache::parse(SIZE_OF_SLOTS, &bytes).unwrap();
        assert_eq!(cache.0, [Bin { size: Some(0x40), count: 3, first: 0x5000 }]);
    }
}
