//! Tables: columns in line, two spaces between, no wider than the terminal.
//!
//! Guarantees: no cell breaks the line; the last column is not padded; a cell's indentation stays. At a terminal the
//! widest columns are cut with `…` until a row fits; into a pipe or a file everything is written.

use super::columns;

/// The least that is left of a column that is cut.
const LEAST: usize = 8;
/// What stands between two columns.
const GAP: usize = 2;

/// Rows under a heading; a column is as wide as its widest cell, unless the terminal is narrower than that.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    fitted(heading, rows, columns())
}

fn fitted<const N: usize>(heading: [&str; N], rows: &[[String; N]], room: Option<usize>) -> String {
    let heading = heading.map(str::to_owned);
    let lines: Vec<[String; N]> =
        std::iter::once(&heading).chain(rows).map(|row| row.clone().map(|cell| one_line(&cell))).collect();
    let width = |column: usize| lines.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut widths: [usize; N] = std::array::from_fn(width);
    if let Some(room) = room {
        narrow(&mut widths, room);
    }
    let mut text = String::new();
    for row in &lines {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let cell = cut(cell, width);
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Takes from the widest columns until all fit into the room, or nothing is left to take.
fn narrow(widths: &mut [usize], room: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    loop {
        let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
        let mut sorted: Vec<usize> = widths.iter().copied().filter(|width| *width > LEAST).collect();
        sorted.sort_unstable();
        let Some(widest) = sorted.last().copied().filter(|_| over > 0) else { return };
        let next = sorted.iter().rev().copied().find(|width| *width < widest).unwrap_or(LEAST).max(LEAST);
        let count = sorted.iter().filter(|width| **width == widest).count();
        let take = over.div_ceil(count).min(widest - next).max(1);
        widths.iter_mut().filter(|width| **width == widest).for_each(|width| *width -= take);
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn one_line(cell: &str) -> String {
    let words: Vec<&str> = cell.split_whitespace().collect();
    let indent = cell.len() - cell.trim_start_matches(' ').len();
    format!("{}{}", " ".repeat(indent), super::plain(&words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["long name".to_owned(), "1\n2".to_owned()], ["ü".to_owned(), String::new()]];
        assert_eq!(table(["ID", "N"], &rows), "ID         N\nlong name  1 2\nü\n");
        assert_eq!(table(["ID"], &[["a".to_owned()], ["  b\tc".to_owned()]]), "ID\na\n  b c\n");
    }

    #[test]
    fn the_widest_columns_are_cut_to_the_room() {
        let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
        let rows = [row("short", &"m".repeat(30), &"ü".repeat(60))];
        let check = |room: Option<usize>, expect: [usize; 3]| {
            let text = fitted(["A", "B", "C"], &rows, room);
            let line = text.lines().nth(1).unwrap();
            let found: Vec<usize> = line.split("  ").map(|cell| cell.trim().chars().count()).collect();
            assert_eq!(found, expect, "{room:?}: {text}");
            assert!(room.is_none_or(|room| line.chars().count() <= room.max(25)), "{text}");
        };
        check(None, [5, 30, 60]);
        check(Some(120), [5, 30, 60]);
        check(Some(80), [5, 30, 41]);
        check(Some(59), [5, 25, 25]);
        check(Some(20), [5, 8, 8]);
        assert!(fitted(["A", "B", "C"], &rows, Some(40)).contains('…'));
    }
}
