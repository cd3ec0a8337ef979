//! Tables: columns in line, two spaces between.
//!
//! Guarantees: no cell breaks the line; the last column is not padded; a cell's indentation stays.

/// Rows under a heading; a column is as wide as its widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let lines: Vec<[String; N]> =
        std::iter::once(&heading).chain(rows).map(|row| row.clone().map(|cell| one_line(&cell))).collect();
    let width = |column: usize| lines.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &lines {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
}
