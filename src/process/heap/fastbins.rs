//! Fastbins: small free chunks that still look in use. Each is a list; since 2.32 its links are mangled with the address
//! at which they stand.

use super::Failure;
use super::arena::FASTBINS;
use super::reading::Reading;
use crate::process::elf::word;
use crate::process::maps::Maps;
use crate::process::memory::Memory;

/// What the fastbins of an arena hold, bytes; never more than `most`.
pub(super) fn bytes<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    arena: u64,
    most: u64,
) -> Result<u64, Failure> {
    let mut sum = 0;
    for bin in 0..BINS {
        let mut tries = 0;
        let held = loop {
            match list(reading, maps, arena, bin, most - sum) {
                Err(Failure::Incoherent(_)) if tries < MOST_TRIES => tries += 1,
                held => break held?,
            }
        };
        sum += held;
    }
    Ok(sum)
}

fn list<M: Memory>(
    reading: &Reading<'_, M>,
    maps: &Maps,
    arena: u64,
    bin: u64,
    most: u64,
) -> Result<u64, Failure> {
    reading.forget();
    let size = 0x20 + 16 * bin;
    let head: [u8; 8] = reading.block(arena + FASTBINS as u64 + 8 * bin)?;
    let mut chunk = word(&head, 0);
    let mut sum = 0;
    while chunk != 0 {
        if !chunk.is_multiple_of(16) || !maps.is_writable(chunk) {
            return Err(Failure::Incoherent("a fastbin leads out of the heap"));
        }
        let [_, head] = reading.peek(chunk)?;
        if head & !7 != size {
            return Err(Failure::Incoherent("a fastbin holds a chunk of another size"));
        }
        sum += size;
        if sum > most {
            return Err(Failure::Incoherent("a fastbin does not end"));
        }
        let field = chunk + 16;
        let [link, _] = reading.peek(field)?;
        chunk = follow(field, link, maps);
    }
    Ok(sum)
}

/// Where a link leads: mangled or not, only one of both can be.
pub(super) fn follow(field: u64, link: u64, maps: &Maps) -> u64 {
    let plain = link ^ (field >> 12);
    if plain == 0 || (plain.is_multiple_of(16) && maps.is_writable(plain)) { plain } else { link }
}

/// Sizes 0x20 to 0xb0; the larger ones are off by default.
const BINS: u64 = 10;
const MOST_TRIES: u32 = 8;
