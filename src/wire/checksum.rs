//! The Internet checksum (RFC 1071), of what is written: by the simulator, and into evidence.

/// Sum of the big-endian 16-bit words, the end padded with 0; sums of pieces of even length add up. Two words are added at a
/// time: 2^16 is 1 in ones' complement arithmetic.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum + u64::from(u32::from_be_bytes(last))
}

/// What stands in a header for that sum; of a header that has its checksum already, 0.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The same for UDP, where 0 would mean that there is none (RFC 768).
pub(crate) fn fold_udp(sum: u64) -> u16 {
    match fold(sum) {
        0 => u16::MAX,
        checksum => checksum,
    }
}
