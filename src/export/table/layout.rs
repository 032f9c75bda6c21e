//! Columns: as wide as their content, and together never wider than the page.
//!
//! A column without content is left out. When the page is too narrow, the flexible columns give way, the widest
//! first, and what does not fit loses its middle: the ends of an address or a number tell more.

use super::style::{Style, Tone};
use super::words::grouped;

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) align: Align,
    pub(super) give: Give,
}

/// What a column does when the page is too narrow; the width is the one it keeps as long as others can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Give {
    /// Nothing.
    Never,
    /// It loses the middle of its values.
    Middle(usize),
    /// It loses its last words, and says how many.
    Words(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// One value and how it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

/// A section's heading, after an empty line.
pub(super) fn title(page: &mut String, name: &str, style: Style) {
    if !page.is_empty() {
        page.push('\n');
    }
    style.paint(page, name, Tone::Head);
    page.push('\n');
}

/// A labelled line of short items, broken between items where the page ends; nothing without items.
pub(super) fn items(page: &mut String, label: &str, items: &[Cell], style: Style) {
    if items.is_empty() {
        return;
    }
    let start = INDENT.len() + LABEL_WIDTH;
    let mut line = String::from(INDENT);
    style.paint(&mut line, &format!("{label:<LABEL_WIDTH$}"), Tone::Faint);
    let mut used = start;
    for cell in items {
        let text = style.elide(&cell.text, PAGE_WIDTH - start);
        if used > start {
            if used + ITEM_GAP.len() + width(&text) > PAGE_WIDTH {
                page.push_str(&line);
                page.push('\n');
                line = " ".repeat(start);
                used = start;
            } else {
                line.push_str(ITEM_GAP);
                used += ITEM_GAP.len();
            }
        }
        style.paint(&mut line, &text, cell.tone);
        used += width(&text);
    }
    page.push_str(&line);
    page.push('\n');
}

/// Says how many rows the table does not show.
pub(super) fn left_out(page: &mut String, count: u64, style: Style) {
    if count > 0 {
        let line = format!("{INDENT}and {} more, none of them worse: --top 0 shows all", grouped(count));
        style.paint(page, &line, Tone::Faint);
        page.push('\n');
    }
}

/// Lays the rows out, one line each, below a line of heads.
pub(super) fn table(page: &mut String, columns: &[Column], rows: &[Vec<Cell>], style: Style) {
    let mut kept = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let width =
            rows.iter().filter_map(|row| row.get(at)).map(|cell| width(&cell.text)).max().unwrap_or(0);
        if width > 0 {
            kept.push(Kept { at, column: *column, width: width.max(column.head.len()) });
        }
    }
    let gap = narrow(&mut kept);
    let heads: Vec<_> = columns.iter().map(|column| Cell::toned(column.head, Tone::Faint)).collect();
    for row in std::iter::once(&heads).chain(rows) {
        page.push_str(INDENT);
        // Blanks are owed until the next text, so that no line ends in them.
        let mut owed = 0;
        for Kept { at, column, width } in &kept {
            let Some(cell) = row.get(*at) else { continue };
            let text = match column.give {
                Give::Words(_) => style.elide_words(&cell.text, *width),
                Give::Never | Give::Middle(_) => style.elide(&cell.text, *width),
            };
            let blank = width - self::width(&text);
            let before = if column.align == Align::Right { blank } else { 0 };
            if text.is_empty() {
                owed += width + gap;
                continue;
            }
            page.extend(std::iter::repeat_n(' ', owed + before));
            style.paint(page, &text, cell.tone);
            owed = blank - before + gap;
        }
        page.push('\n');
    }
}

/// A column that has content.
struct Kept {
    at: usize,
    column: Column,
    width: usize,
}

/// Fits the columns to the page: first the gaps give way, then the columns that can, the widest first, down to
/// the width they would like to keep and then further. Returns the gap between columns.
fn narrow(columns: &mut [Kept]) -> usize {
    let total = |columns: &[Kept], gap| {
        columns.iter().map(|kept| kept.width + gap).sum::<usize>() + INDENT.len() - gap
    };
    if total(columns, WIDE_GAP) <= PAGE_WIDTH {
        return WIDE_GAP;
    }
    for liked in [true, false] {
        while total(columns, 1) > PAGE_WIDTH {
            let giving = columns.iter_mut().filter(|kept| match kept.column.give {
                Give::Never => false,
                Give::Middle(least) | Give::Words(least) => {
                    kept.width > if liked { least } else { LEAST_WIDTH }
                }
            });
            let Some(widest) = giving.max_by_key(|kept| kept.width) else { break };
            widest.width -= 1;
        }
    }
    1
}

/// Terminal columns of a text that [`Style::clean`] has cleaned: one each character.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// No line of the report is wider.
pub(super) const PAGE_WIDTH: usize = 100;
const INDENT: &str = "  ";
const WIDE_GAP: usize = 2;
const LEAST_WIDTH: usize = 6;
const LABEL_WIDTH: usize = 17;
const ITEM_GAP: &str = "   ";
