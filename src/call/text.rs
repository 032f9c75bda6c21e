//! The few strings of a message that its record will need, in one allocation.

/// Up to `N` strings, each cut after 255 bytes.
#[derive(Clone, Debug)]
pub(super) struct Text<const N: usize> {
    bytes: Box<[u8]>,
    lengths: [u8; N],
}

impl<const N: usize> Text<N> {
    pub(super) fn new(parts: [&[u8]; N]) -> Self {
        let parts = parts.map(|part| part.get(..usize::from(u8::MAX)).unwrap_or(part));
        Self { bytes: parts.concat().into_boxed_slice(), lengths: parts.map(|part| part.len() as u8) }
    }

    /// The string at `place`.
    pub(super) fn get(&self, place: usize) -> &[u8] {
        let start: usize = self.lengths.iter().take(place).map(|&length| usize::from(length)).sum();
        let length = self.lengths.get(place).copied().unwrap_or(0);
        self.bytes.get(start..start + usize::from(length)).unwrap_or_default()
    }

    /// The string at `place`, what is not UTF-8 replaced.
    pub(super) fn string(&self, place: usize) -> String {
        let text = self.get(place);
        // Nearly always ASCII, which the strict reading takes a word at a time.
        match std::str::from_utf8(text) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(text).into_owned(),
        }
    }

    /// All of them.
    pub(super) fn strings(&self) -> [String; N] {
        // Nearly always ASCII: to look at all at once is cheaper than at each.
        let whole = std::str::from_utf8(&self.bytes).ok();
        let mut start = 0;
        std::array::from_fn(|place| {
            let end = start + self.lengths.get(place).map_or(0, |&length| usize::from(length));
            let text = whole.and_then(|whole| whole.get(start..end));
            start = end;
            text.map_or_else(|| self.string(place), str::to_owned)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_long_ones_are_cut() {
        let text = Text::new([b"one".as_slice(), b"", &[b'x'; 300], b"\xff"]);
        assert_eq!(
            (text.string(0), text.string(1), text.string(2).len()),
            ("one".into(), String::new(), 255)
        );
        assert_eq!(text.string(3), "\u{fffd}");
        assert_eq!(text.string(4), "");
        assert_eq!(text.strings(), [0, 1, 2, 3].map(|place| text.string(place)));
    }

    #[test]
    fn a_character_cut_in_two_is_in_neither_half() {
        let text = Text::new([b"a\xc3".as_slice(), b"\xa4", b"\xc3\xa4"]);
        assert_eq!(text.strings(), ["a\u{fffd}", "\u{fffd}", "\u{e4}"]);
    }
}
