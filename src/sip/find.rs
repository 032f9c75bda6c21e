//! The first of some byte in text where it is near: the end of a header line, of a parameter, of a URI.
//!
//! memchr itself chooses among vector widths at run time, behind a call. That pays for long text; a header line of
//! forty bytes is looked through before the choice is made, so here the vectors that every machine has are built in.

#[cfg(not(target_arch = "x86_64"))]
pub(super) use memchr::memchr as first;

/// Place of the first `byte`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn first(byte: u8, text: &[u8]) -> Option<usize> {
    memchr::arch::x86_64::sse2::memchr::One::new(byte)?.find(text)
}
