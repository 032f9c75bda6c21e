//! Bytes of a log into lines of bounded length.

use memchr::{memchr, memchr_iter, memrchr};

/// Where the lines in some bytes end, and what is left for the next time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Bytes that are done with.
    pub(super) used: usize,
    /// The rest of a line that was too long follows: it is passed over.
    pub(super) skips: bool,
    /// Lines that were cut.
    pub(super) cut: u64,
}

/// Hands over each whole line in `bytes`, without its end, and at the end of a file (`is_last`) what is left too. A line
/// of more than `longest` bytes is cut there; `skips` says that the bytes begin inside of one that was cut.
pub(super) fn split<'a>(
    bytes: &'a [u8],
    skips: bool,
    is_last: bool,
    longest: usize,
    mut take: impl FnMut(&'a [u8]),
) -> Split {
    let mut split = Split { used: 0, skips, cut: 0 };
    if skips {
        match memchr(b'\n', bytes) {
            Some(end) => (split.used, split.skips) = (end + 1, false),
            None => return Split { used: bytes.len(), skips: !is_last, cut: 0 },
        }
    }
    let whole = memrchr(b'\n', bytes).map_or(0, |end| end + 1).max(split.used);
    let mut from = split.used;
    let mut line = |line: &'a [u8], split: &mut Split| {
        // A file that was truncated under a writer that does not append begins with a hole.
        let begin = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
        let line = line.get(begin..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > longest {
            split.cut += 1;
        }
        if !line.is_empty() {
            take(line.get(..longest).unwrap_or(line));
        }
    };
    for end in memchr_iter(b'\n', bytes.get(from..whole).unwrap_or_default()) {
        let end = end + split.used;
        line(bytes.get(from..end).unwrap_or_default(), &mut split);
        from = end + 1;
    }
    let rest = bytes.get(from..).unwrap_or_default();
    split.used = from;
    if is_last || rest.len() > longest {
        if !rest.is_empty() {
            line(rest, &mut split);
        }
        split.used = bytes.len();
        split.skips = !is_last;
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], skips: bool, is_last: bool) -> (Vec<String>, Split) {
        let mut lines = Vec::new();
        let split =
            split(bytes, skips, is_last, 8, |line| lines.push(String::from_utf8(line.to_vec()).unwrap()));
        (lines, split)
    }

    #[test]
    fn whole_lines_are_handed_over_and_the_rest_stays() {
        let (found, split) = lines(b"one\r\n\ntwo\nthr", false, false);
        assert_eq!(found, ["one", "two"]);
        assert_eq!(split, Split { used: 10, skips: false, cut: 0 });
        assert_eq!(lines(b"thr", false, true).0, ["thr"]);
        assert_eq!(lines(b"", false, true).1.used, 0);
    }

    #[test]
    fn a_long_line_is_cut_and_its_rest_passed_over() {
        let (found, split) = lines(b"1234567890", false, false);
        assert_eq!((found, split), (vec!["12345678".to_owned()], Split { used: 10, skips: true, cut: 1 }));
        let (found, split) = lines(b"still", true, false);
        assert_eq!((found.len(), split), (0, Split { used: 5, skips: true, cut: 0 }));
        let (found, split) = lines(b"it\nnext\n", true, false);
        assert_eq!((found, split), (vec!["next".to_owned()], Split { used: 8, skips: false, cut: 0 }));
        assert_eq!(lines(b"123456789\nx\n", false, false).0, ["12345678", "x"]);
    }

    #[test]
    fn a_hole_is_no_text() {
        assert_eq!(lines(b"\0\0\0\0one\n", false, false).0, ["one"]);
    }
}
