//! Tables: columns in line.
//!
//! Guarantees: no cell is cut; what is wider than the terminal, or is no table, is shown as it was written.

use unicode_width::UnicodeWidthStr;

use super::RESET;

/// The rows, each a line.
pub(super) fn shown(rows: &str, width: usize) -> String {
    let mut lines = rows.lines().map(cells);
    let (Some(heading), Some(ruler)) = (lines.next(), lines.next()) else { return rows.to_owned() };
    let is_ruler = |cell: &String| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':'));
    if !ruler.iter().all(is_ruler) {
        return rows.to_owned();
    }
    let body: Vec<Vec<String>> = lines.collect();
    let columns = body.iter().map(Vec::len).chain([heading.len()]).max().unwrap_or(0);
    let all = || std::iter::once(&heading).chain(&body);
    let widest = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    if widths.iter().sum::<usize>() + 3 * columns.saturating_sub(1) > width {
        return rows.to_owned();
    }
    let mut text = format!("\u{1b}[1m{}{RESET}\n", line(&heading, &widths, " │ "));
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    text.push_str(&format!("{}\n", rule.join("─┼─")));
    for row in &body {
        text.push_str(&line(row, &widths, " │ "));
        text.push('\n');
    }
    text
}

fn cells(line: &str) -> Vec<String> {
    let line = line.strip_prefix('|').unwrap_or(line);
    let line = line.strip_suffix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        match (c, escaped) {
            ('|', false) => cells.push(String::new()),
            ('\\', false) => {
                escaped = true;
                continue;
            }
            (c, was) => {
                if was && c != '|' {
                    push(&mut cells, '\\');
                }
                push(&mut cells, c);
            }
        }
        escaped = false;
    }
    cells.iter().map(|cell| cell.trim().replace("**", "").replace('`', "")).collect()
}

fn push(cells: &mut [String], c: char) {
    if let Some(cell) = cells.last_mut() {
        cell.push(c);
    }
}

fn line(row: &[String], widths: &[usize], between: &str) -> String {
    let empty = String::new();
    let cell = |(column, width): (usize, &usize)| {
        let text = row.get(column).unwrap_or(&empty);
        format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
    };
    let cells: Vec<String> = widths.iter().enumerate().map(cell).collect();
    cells.join(between).trim_end().to_owned()
}
