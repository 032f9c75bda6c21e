//! The first of some byte in text where it is near: the end of a header line, of a parameter, of a URI.
//!
//! memchr chooses among vector widths at run time and aligns its reads, which pays for long text; a header line of
//! forty bytes is looked through before. Here is a plain loop over sixteen bytes at a time: whether a byte is among
//! them the compiler asks with one vector comparison, and where is asked once, in two words.

#![allow(clippy::inline_always, reason = "on the way of every message; measured in docs/performance.md")]

/// Place of the first `byte`.
#[inline]
pub(super) fn first(byte: u8, text: &[u8]) -> Option<usize> {
    search(text, |block| holds(block, byte), |word| zeros(word ^ (ONES * u64::from(byte))))
}

/// Place of the first byte that is one of two.
#[inline]
pub(super) fn first_of(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    let marks = |word| zeros(word ^ (ONES * u64::from(one))) | zeros(word ^ (ONES * u64::from(other)));
    search(text, |block| holds(block, one) | holds(block, other), marks)
}

/// `is_in` tells whether a block has such a byte; `marks` sets the high bit of the first one in eight.
#[inline(always)]
fn search(text: &[u8], is_in: impl Fn(&Block) -> bool, marks: impl Fn(u64) -> u64) -> Option<usize> {
    let in_word = |word: &[u8; 8]| match marks(u64::from_le_bytes(*word)) {
        0 => None,
        found => Some(found.trailing_zeros() as usize / 8),
    };
    let in_both = |low: &[u8; 8], high: &[u8; 8], between: usize| {
        in_word(low).or_else(|| in_word(high).map(|at| at + between))
    };
    let in_block = |block: &Block| in_both(block.first_chunk()?, block.last_chunk()?, 8);
    for (index, block) in text.as_chunks().0.iter().enumerate() {
        if is_in(block) {
            return in_block(block).map(|at| at + index * block.len());
        }
    }
    // The rest is looked at together with what is before it: only what is new can be found.
    match (text.last_chunk(), text.first_chunk(), text.last_chunk()) {
        (Some(block), ..) => in_block(block).map(|at| at + text.len() - block.len()),
        (_, Some(low), Some(high)) => in_both(low, high, text.len() - high.len()),
        _ => text.iter().position(|&b| marks(ONES * u64::from(b)) != 0),
    }
}

/// Without a way out in the middle, so that it is one comparison of vectors.
#[inline(always)]
#[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a way out")]
fn holds(block: &Block, byte: u8) -> bool {
    block.iter().fold(false, |found, &b| found | (b == byte))
}

/// What is compared at a time.
type Block = [u8; 16];

/// The high bit of every byte that is zero; of those behind the first one it may also be set wrongly.
#[inline]
pub(super) fn zeros(word: u64) -> u64 {
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
        }
    }
}
