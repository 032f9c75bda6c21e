//! The heap of a process, for people: the sums, and a bar for each arena.

use super::layout::{Align, Cell, Column, Give, items, table, title};
use super::style::{Style, Tone};
use super::words::{bytes, grouped, percent};
use crate::process::heap::Heap;
use crate::process::heap::picture::{self, Row};

/// The whole page.
pub(crate) fn print(heap: &Heap, rows: &[Row], style: Style) -> String {
    let mut page = String::new();
    title(&mut page, "Heap", style);
    let arenas = format!("{} arena{}", heap.arenas, if heap.arenas == 1 { "" } else { "s" });
    items(&mut page, "allocator", &[Cell::plain("glibc"), Cell::plain(arenas)], style);
    let sized = |amount: u64| Cell::plain(bytes(amount));
    let share = |amount: u64| Cell::plain(percent(Some(amount as f64 / heap.committed.max(1) as f64)));
    items(&mut page, "committed", &[sized(heap.committed)], style);
    let mut used = vec![sized(heap.in_use), share(heap.in_use)];
    used.push(Cell::plain(format!("{} chunks", grouped(heap.chunks))));
    if heap.mmapped > 0 {
        used.push(Cell::plain(format!("{} of it mapped by themselves", bytes(heap.mmapped))));
    }
    items(&mut page, "in use", &used, style);
    items(&mut page, "cached", &[sized(heap.cached), share(heap.cached), Cell::plain("by threads")], style);
    let mut free = vec![sized(heap.free), share(heap.free)];
    if heap.free_chunks > 0 {
        free.push(Cell::plain(format!("{} chunks", grouped(heap.free_chunks))));
        free.push(Cell::plain(format!("largest {}", bytes(heap.largest_free))));
    }
    free.push(Cell::plain(format!("{} at the top", bytes(heap.top))));
    items(&mut page, "free", &free, style);
    let ratio = heap.fragmentation_ratio();
    let tone = if ratio.is_some_and(|ratio| ratio > HALF) { Tone::Fair } else { Tone::Plain };
    let mut fragmented = vec![Cell::toned(percent(ratio), tone), Cell::plain("committed, but not in use")];
    if heap.coverage < WHOLE {
        fragmented.push(Cell::toned(format!("{} of it was seen", percent(Some(heap.coverage))), Tone::Fair));
    }
    items(&mut page, "fragmented", &fragmented, style);
    if !rows.is_empty() {
        picture(&mut page, rows, style);
    }
    page
}

fn picture(page: &mut String, rows: &[Row], style: Style) {
    title(page, "Address space", style);
    let right = |head| Column { head, align: Align::Right, give: Give::Never };
    let left = |head| Column { head, align: Align::Left, give: Give::Never };
    let columns = [left("arena"), right("from"), right("size"), right("in use"), left("")];
    let (shown, rest) = rows.split_at(rows.len().min(ROWS));
    let lines: Vec<Vec<Cell>> = shown
        .iter()
        .map(|row| {
            let name = if row.arena == 0 { "main".to_owned() } else { row.arena.to_string() };
            let used = row.cells.iter().map(|cell| cell.in_use).sum();
            let bar: String = row.cells.iter().map(|cell| glyph(cell, style)).collect();
            let texts = [name, format!("{:x}", row.start), bytes(row.end - row.start), bytes(used), bar];
            texts.map(Cell::plain).into()
        })
        .collect();
    table(page, &columns, &lines, style);
    if !rest.is_empty() {
        style.paint(page, &format!("  and {} more", grouped(rest.len() as u64)), Tone::Faint);
        page.push('\n');
    }
    let [used, cached, free, unmapped] = glyphs(style);
    let legend = format!(
        "  {used} in use   {cached} cached by threads   {free} free   {unmapped} free, not in memory"
    );
    style.paint(page, &legend, Tone::Faint);
    page.push('\n');
}

/// What most of a cell is.
fn glyph(cell: &picture::Cell, style: Style) -> char {
    let parts = [cell.in_use, cell.cached, cell.free, cell.unmapped];
    let most = parts.iter().zip(glyphs(style)).rev().max_by_key(|(bytes, _)| **bytes);
    most.filter(|(bytes, _)| **bytes > 0).map_or(' ', |(_, glyph)| glyph)
}

fn glyphs(style: Style) -> [char; 4] {
    if style.unicode { ['\u{2588}', '\u{2592}', '\u{2591}', '\u{b7}'] } else { ['#', '+', '.', '_'] }
}

/// Cells of a bar.
pub(crate) const CELLS: usize = 48;
const ROWS: usize = 32;
const HALF: f64 = 0.5;
const WHOLE: f64 = 0.9995;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_ascii_where_it_must_be_and_never_wider_than_a_terminal() {
        let heap = Heap {
            arenas: 2,
            committed: 3 << 30,
            in_use: 1 << 30,
            free: 2 << 30,
            mmapped: 1 << 20,
            ..Heap::default()
        };
        let cells = vec![picture::Cell { in_use: 2, free: 1, ..picture::Cell::default() }; CELLS];
        let row = Row { arena: 0, start: 0x7f00_0000_0000, end: 0x7f00_0400_0000, cells };
        let text =
            print(&heap, &[row.clone(), Row { arena: 1, ..row }], Style { colour: false, unicode: false });
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(text.contains("fragmented") && text.contains("66.7%"), "{text}");
        assert!(text.contains("  main   7f0000000000  67.1 MB"), "{text}");
        assert!(text.contains(&"#".repeat(CELLS)), "{text}");
    }
}
