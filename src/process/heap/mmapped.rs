//! Chunks with a mapping of their own: those that were too large for an arena.

use super::Failure;
use super::globals::{Globals, MMAPPED_MEM};
use super::reading::Reading;
use crate::process::elf::word;
use crate::process::maps::Maps;
use crate::process::memory::{Memory, page_bytes};

/// Their bytes: by malloc's own count, or where that was not found, by the mappings that look like one.
pub(super) fn bytes<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    globals: &Globals,
) -> Result<u64, Failure> {
    if let Some(parameters) = globals.parameters {
        return reading.word(parameters + MMAPPED_MEM as u64);
    }
    let mut sum = 0_u64;
    each(reading, maps, |_, size| {
        sum = sum.saturating_add(size);
        Ok(())
    })?;
    Ok(sum)
}

/// How many of their bytes are in memory; none where others were found than malloc counts.
pub(super) fn resident<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    bytes: u64,
) -> Result<Option<u64>, Failure> {
    let (mut found, mut resident) = (0_u64, 0);
    if bytes > 0 {
        each(reading, maps, |at, size| {
            found = found.saturating_add(size);
            if found <= bytes {
                resident += reading.resident_bytes(at, size)?;
            }
            Ok(())
        })?;
    }
    Ok((found == bytes).then_some(resident))
}

/// The mappings that begin with such a chunk. The kernel makes one of neighbours.
fn each<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    mut tell: impl FnMut(u64, u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for mapping in maps.iter().filter(|mapping| mapping.is_anonymous() && mapping.read && mapping.write) {
        let mut at = mapping.start;
        while mapping.end.saturating_sub(at) >= 16 {
            let head = match reading.block::<16>(at) {
                Ok(head) => head,
                Err(Failure::Incoherent(_) | Failure::Swapped) => break,
                Err(failure) => return Err(failure),
            };
            let size_and_flags = word(&head, 8);
            let size = size_and_flags & !7;
            let fits = size_and_flags & 7 == MMAPPED && size > 0 && size.is_multiple_of(page_bytes());
            if !fits || size > mapping.end - at {
                break;
            }
            tell(at, size)?;
            at += size;
        }
    }
    Ok(())
}

/// Flag of a chunk.
const MMAPPED: u64 = 2;
