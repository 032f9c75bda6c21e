//! Numbers and lines of the text files of the kernel: lenient, over bytes, without allocating.

/// `Key:   value` lines; others are passed over.
pub(super) fn keyed(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    rows(text).filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (key, value) = line.split_at_checked(colon)?;
        Some((key, value.get(1..)?.trim_ascii()))
    })
}

/// Lines without their end.
pub(super) fn rows(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// Words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// `208 kB`, in bytes.
pub(super) fn kilobytes(value: &[u8]) -> Option<u64> {
    let mut words = words(value);
    let number = number(words.next()?)?;
    (words.next()? == b"kB").then(|| number.checked_mul(1024))?
}

/// A whole number, decimal, with nothing around it.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    digits(word, 10)
}

/// The same in base 16.
pub(super) fn hexadecimal(word: &[u8]) -> Option<u64> {
    digits(word, 16)
}

fn digits(word: &[u8], base: u32) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, &byte| {
        let digit = char::from(byte).to_digit(base)?;
        sum.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    })
}

/// A number with a decimal point.
pub(super) fn decimal(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// forall n: number(decimal digits of n) = n, and so in base 16.
        #[test]
        fn every_number_is_read_back(n: u64) {
            prop_assert_eq!(number(n.to_string().as_bytes()), Some(n));
            prop_assert_eq!(hexadecimal(format!("{n:X}").as_bytes()), Some(n));
        }

        /// forall bytes: number(bytes) = what the standard library makes of them, signs aside.
        #[test]
        fn what_is_no_number_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.starts_with('+'));
            prop_assert_eq!(number(&bytes), text.and_then(|text| text.parse().ok()));
        }
    }

    #[test]
    fn keys_and_values_are_taken_apart() {
        let found: Vec<_> = keyed(b"A:\t1 kB\nno key\n:\nB: x:y").collect();
        assert_eq!(found, [(&b"A"[..], &b"1 kB"[..]), (b"", b""), (b"B", b"x:y")]);
        assert_eq!(kilobytes(b"3 kB"), Some(3072));
        assert_eq!(kilobytes(b"3 MB"), None);
        assert_eq!(decimal(b"0.25"), Some(0.25));
        assert_eq!(decimal(b"inf"), None);
    }
}
