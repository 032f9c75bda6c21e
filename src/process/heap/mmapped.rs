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
    for mapping in maps.iter().filter(|mapping| mapping.is_anonymous() && mapping.read && mapping.write) {
        let mut at = mapping.start;
        while at + 16 <= mapping.end {
            let Ok(head) = reading.block::<16>(at) else { break };
            let size_and_flags = word(&head, 8);
            let size = size_and_flags & !7;
            let fits = size_and_flags & 7 == MMAPPED && size > 0 && size % page_bytes() == 0;
            if !fits || size > mapping.end - at {
                break;
            }
            sum = sum.saturating_add(size);
            at += size;
        }
    }
    Ok(sum)
}

/// Flag of a chunk.
const MMAPPED: u64 = 2;
