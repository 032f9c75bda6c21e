//! How text looks on this output: colour or not, block characters or ASCII, and nothing that steers a terminal.

use super::layout::width;

/// What the output can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colours by SGR sequences.
    pub colour: bool,
    /// UTF-8, with block elements.
    pub unicode: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Head,
    Faint,
    Fair,
    Bad,
}

impl Style {
    pub(super) fn paint(self, line: &mut String, text: &str, tone: Tone) {
        let code = match tone {
            Tone::Plain => "",
            Tone::Head => "1",
            Tone::Faint => "2",
            Tone::Fair => "33",
            Tone::Bad => "31",
        };
        if self.colour && !code.is_empty() && !text.is_empty() {
            line.push_str("\x1b[");
            line.push_str(code);
            line.push('m');
            line.push_str(text);
            line.push_str("\x1b[0m");
        } else {
            line.push_str(text);
        }
    }

    /// Text off the wire without control characters or characters of unknown width.
    pub(super) fn clean(self, text: &str) -> String {
        let keep = |c: char| {
            if c == ' ' || c.is_ascii_graphic() || (self.unicode && is_narrow(c)) { c } else { '?' }
        };
        text.chars().map(keep).collect()
    }

    /// Cuts the middle out of a text wider than `most`.
    pub(super) fn elide(self, text: &str, most: usize) -> String {
        let has = width(text);
        if has <= most {
            return text.to_owned();
        }
        let mark = if self.unicode { "\u{2026}" } else { ".." };
        let Some(keep) = most.checked_sub(width(mark)) else { return text.chars().take(most).collect() };
        let tail = keep / 2;
        let mut cut: String = text.chars().take(keep - tail).collect();
        cut.push_str(mark);
        cut.extend(text.chars().skip(has - tail));
        cut
    }

    /// Cuts off the last words of a text wider than `most`: `outage stalls+2`.
    pub(super) fn elide_words(self, text: &str, most: usize) -> String {
        if width(text) <= most {
            return text.to_owned();
        }
        let words: Vec<_> = text.split(' ').collect();
        for kept in (1..words.len()).rev() {
            let (kept, cut) = words.split_at(kept);
            let shorter = format!("{}+{}", kept.join(" "), cut.len());
            if width(&shorter) <= most {
                return shorter;
            }
        }
        self.elide(text, most)
    }

    /// Counts as one line of bars; any count but 0 shows.
    pub(super) fn bars(self, counts: &[u64]) -> String {
        let levels: &[char] = if self.unicode {
            &['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}']
        } else {
            &['.', ':', '-', '=', '+', '*', '#', '@']
        };
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let bar = |&count: &u64| {
            if count == 0 {
                return ' ';
            }
            let level = (count as f64 / most as f64 * levels.len() as f64).ceil() as usize;
            levels.get(level.saturating_sub(1)).copied().unwrap_or('@')
        };
        counts.iter().map(bar).collect()
    }

    pub(super) fn arrow(self) -> &'static str {
        if self.unicode { "\u{2192}" } else { ">" }
    }
}

/// Latin, Greek and Cyrillic letters: surely one column wide.
fn is_narrow(c: char) -> bool {
    matches!(c, '\u{a1}'..='\u{24f}' | '\u{391}'..='\u{3c9}' | '\u{400}'..='\u{45f}') && c != '\u{ad}'
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Style = Style { colour: false, unicode: true };
    const ASCII: Style = Style { colour: false, unicode: false };

    #[test]
    fn what_does_not_fit_loses_its_middle() {
        assert_eq!(UNICODE.elide("[2001:db8::1]:49170", 19), "[2001:db8::1]:49170");
        assert_eq!(UNICODE.elide("[2001:db8::1]:49170", 14), "[2001:d\u{2026}:49170");
        assert_eq!(ASCII.elide("[2001:db8::1]:49170", 14), "[2001:..:49170");
        assert_eq!(ASCII.elide("abc", 1), "a");
    }

    #[test]
    fn flags_that_do_not_fit_are_counted() {
        assert_eq!(ASCII.elide_words("outage stalls no-sdp", 20), "outage stalls no-sdp");
        assert_eq!(ASCII.elide_words("outage stalls no-sdp", 19), "outage stalls+1");
        assert_eq!(ASCII.elide_words("outage stalls no-sdp", 9), "outage+2");
        assert_eq!(ASCII.elide_words("outage stalls no-sdp", 6), "ou..dp");
    }

    #[test]
    fn any_count_but_0_shows_as_a_bar() {
        assert_eq!(ASCII.bars(&[0, 1, 1_000_000, 500_000]), " .@=");
        assert_eq!(UNICODE.bars(&[0, 1, 8]), " \u{2581}\u{2588}");
        assert_eq!(ASCII.bars(&[0, 0]), "  ");
    }

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(UNICODE.clean("a\x1b[2J\u{9b}\u{202e}\u{ad}\u{fc}\u{20ac}"), "a?[2J???\u{fc}?");
        assert_eq!(ASCII.clean("\u{fc}"), "?");
    }
}
