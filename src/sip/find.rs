//! The first of some byte in text where it is near: the end of a header line, of a parameter, of a URI.
//!
//! memchr chooses among vector widths at run time and aligns its reads, which pays for long text; a header line of
//! forty bytes is looked through before. Here is a plain loop over sixteen bytes at a time: where a byte is among
//! them is one vector comparison, of memchr on x86-64, of two words elsewhere.

#![allow(clippy::inline_always, reason = "on the way of every message; measured in docs/performance.md")]

/// What is compared at a time.
pub(super) type Block = [u8; 16];

/// Place of the first `byte`.
#[inline(always)]
pub(super) fn first(byte: u8, text: &[u8]) -> Option<usize> {
    search(text, |block| in_block(byte, block), |b| b == byte)
}

/// Place of the first byte that is one of two.
#[inline(always)]
pub(super) fn first_of(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    search(text, |block| either_in_block(one, other, block), |b| b == one || b == other)
}

/// Place of the first `byte` in a block.
#[inline(always)]
pub(super) fn in_block(byte: u8, block: &Block) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return memchr::arch::x86_64::sse2::memchr::One::new(byte)?.find(block);
    #[cfg(not(target_arch = "x86_64"))]
    return in_words(block, |word| zeros(word ^ (ONES * u64::from(byte))));
}

#[inline(always)]
fn either_in_block(one: u8, other: u8, block: &Block) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return memchr::arch::x86_64::sse2::memchr::Two::new(one, other)?.find(block);
    #[cfg(not(target_arch = "x86_64"))]
    return in_words(block, |word| {
        zeros(word ^ (ONES * u64::from(one))) | zeros(word ^ (ONES * u64::from(other)))
    });
}

/// `in_block` tells where in a block, `is` whether at all.
#[inline(always)]
fn search(text: &[u8], in_block: impl Fn(&Block) -> Option<usize>, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, rest) = text.as_chunks();
    for (index, block) in blocks.iter().enumerate() {
        if let Some(at) = in_block(block) {
            return Some(at + index * block.len());
        }
    }
    // The rest is looked at together with what is before it: only what is new can be found.
    match text.last_chunk() {
        _ if rest.is_empty() => None,
        Some(block) => in_block(block).map(|at| at + text.len() - block.len()),
        None => match (text.first_chunk(), text.last_chunk()) {
            (Some(low), Some(high)) => {
                let (low, high) = (u64::from_le_bytes(*low), u64::from_le_bytes(*high));
                let both = u128::from(low) | u128::from(high) << 64;
                in_block(&both.to_le_bytes()).map(|at| if at < 8 { at } else { at + text.len() - 16 })
            }
            _ => text.iter().position(|&b| is(b)),
        },
    }
}

/// `marks` sets the high bit of the first byte that is looked for, among eight.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn in_words(block: &Block, marks: impl Fn(u64) -> u64) -> Option<usize> {
    let whole = u128::from_le_bytes(*block);
    match (marks(whole as u64), marks((whole >> 64) as u64)) {
        (0, 0) => None,
        (0, high) => Some(8 + high.trailing_zeros() as usize / 8),
        (low, _) => Some(low.trailing_zeros() as usize / 8),
    }
}

/// The high bit of every byte that is zero; of those behind the first one it may also be set wrongly.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES * 0x80)
}

/// 0x01 in every byte.
pub(super) const ONES: u64 = u64::MAX / 0xff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// forall text: the same place as byte by byte.
        #[test]
        fn the_first_byte_is_found_in_text_of_any_length(
            text in prop::collection::vec(0_u8..4, 0..70), one in 0_u8..4, other in 0_u8..4, high in any::<bool>(),
        ) {
            let top = if high { 0xfc } else { 0 };
            let text: Vec<u8> = text.into_iter().map(|b| b | top).collect();
            let (one, other) = (one | top, other | top);
            prop_assert_eq!(first(one, &text), text.iter().position(|&b| b == one));
            prop_assert_eq!(first_of(one, other, &text), text.iter().position(|&b| b == one || b == other));
            for block in text.as_chunks().0 {
                let by_words = in_words(block, |word| zeros(word ^ (ONES * u64::from(one))));
                prop_assert_eq!(in_block(one, block), by_words);
            }
        }
    }
}
