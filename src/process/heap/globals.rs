//! Where glibc keeps the main arena and the parameters of malloc. Neither has a public name, so both are known by what
//! they must be: every bin points to itself or to writable memory, the program break starts where the heap does.

use super::arena::{BINS, NEXT, STATE, SYSTEM_MEM, TOP};
use super::reading::Reading;
use super::{Failure, Unsupported};
use crate::process::elf::{Object, int, word};
use crate::process::maps::Maps;
use crate::process::memory::{Memory, page_bytes};

/// What was found of glibc's own variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Globals {
    pub(super) main_arena: u64,
    /// `mp_.n_mmaps` and what follows it.
    pub(super) parameters: Option<u64>,
    /// Where the first program break was.
    pub(super) heap_start: Option<u64>,
    /// Most chunks of one size in a tcache.
    pub(super) tcache_count: u64,
}

/// Searches the writable data of the C library.
pub(super) fn find<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    libc: &Object,
) -> Result<Globals, Failure> {
    let heap = maps.iter().find(|mapping| mapping.name == "[heap]").map(|mapping| mapping.start);
    let mut best: Option<(u32, u64)> = None;
    let mut parameters = None;
    let own = maps.iter().filter(|mapping| mapping.write && mapping.file() == Some(&libc.path));
    for mapping in own.take(MOST_PARTS) {
        // What starts as 0 lies behind, without a file.
        let end = maps.writable_until(mapping.start).min(mapping.start + MOST_DATA);
        let mut data = vec![0; (end - mapping.start) as usize];
        reading.resident(mapping.start, &mut data, &mut Vec::new())?;
        for (offset, address) in (0..data.len()).step_by(8).zip((mapping.start..).step_by(8)) {
            let Some(here) = data.get(offset..) else { break };
            if address.is_multiple_of(16)
                && let Some(score) = arena_score(here, address, maps)
                && best.is_none_or(|(known, _)| score > known)
            {
                best = Some((score, address));
            }
            if parameters.is_none() && are_parameters(here, heap) {
                parameters = Some((address, word(here, SBRK_BASE), word(here, TCACHE_COUNT)));
            }
        }
    }
    let (_, main_arena) = best.ok_or(Unsupported::NoArena)?;
    let heap_start = parameters.map(|(_, start, _)| start).filter(|start| *start != 0).or(heap);
    let tcache_count = parameters.map_or(USUAL_TCACHE, |(.., count)| count.min(MOST_TCACHE));
    Ok(Globals { main_arena, parameters: parameters.map(|(address, ..)| address), heap_start, tcache_count })
}

/// How many of the bins are empty, if this is the main arena (MEAS 9.4, 1). Being shifted by 16 bytes looks alike to the
/// bins; `next` and `system_mem` tell.
fn arena_score(state: &[u8], address: u64, maps: &Maps) -> Option<u32> {
    let state = state.get(..STATE)?;
    let (system, most) = (word(state, SYSTEM_MEM), word(state, SYSTEM_MEM + 8));
    let next = word(state, NEXT);
    let top = word(state, TOP);
    // Before the first chunk outside of a mapping of its own, top points into the bins.
    let fresh = system == 0 && top == address + TOP as u64;
    if !fresh && (system == 0 || !system.is_multiple_of(page_bytes()) || system > most || most > MOST_SYSTEM)
    {
        return None;
    }
    if int(state, 0) > MOST_FLAGS || int(state, 8) > 1 {
        return None;
    }
    if (next != address && !maps.is_writable(next)) || !maps.is_writable(top) {
        return None;
    }
    let (mut empty, mut valid) = (0, 0);
    for bin in 0..127 {
        let at = BINS + 16 * bin;
        let own = address + at as u64 - 16;
        let (forward, back) = (word(state, at), word(state, at + 8));
        if forward == own && back == own {
            empty += 1;
            valid += 1;
        } else if maps.is_writable(forward) && maps.is_writable(back) {
            valid += 1;
        }
    }
    (valid >= LEAST_BINS && empty >= 1).then_some(empty)
}

/// Whether `mp_.n_mmaps` and its followers stand here.
fn are_parameters(data: &[u8], heap: Option<u64>) -> bool {
    let (count, limit, most) = (int(data, 0), int(data, 4), int(data, 8));
    let (mmapped, most_mmapped, start) = (word(data, MMAPPED_MEM), word(data, 24), word(data, SBRK_BASE));
    let (bins, tcache) = (word(data, 40), word(data, TCACHE_COUNT));
    let starts = match heap {
        // Exactly: many variables point into the first page of the heap, but few at its first byte.
        Some(heap) => start == heap,
        None => start == 0 && bins == 64 && limit == USUAL_MMAPS,
    };
    starts
        && count <= most
        && int(data, 12) <= 1
        && mmapped.is_multiple_of(page_bytes())
        && mmapped <= most_mmapped
        && most_mmapped <= MOST_SYSTEM
        && bins <= 128
        && tcache <= MOST_TCACHE
}

/// From `n_mmaps` on.
pub(super) const MMAPPED_MEM: usize = 16;
const SBRK_BASE: usize = 32;
const TCACHE_COUNT: usize = 56;
/// The usual limit of mmapped chunks.
const USUAL_MMAPS: u32 = 65_536;
const USUAL_TCACHE: u64 = 7;
const MOST_TCACHE: u64 = 65_535;
/// No fast chunks, not contiguous.
const MOST_FLAGS: u32 = 3;
const LEAST_BINS: u32 = 118;
const MOST_PARTS: usize = 8;
/// The writable data of glibc are less than 100 KiB.
const MOST_DATA: u64 = 1 << 20;
/// What a process can address.
const MOST_SYSTEM: u64 = 1 << 47;
