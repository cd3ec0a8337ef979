//! A table: its first row is its head.

/// Most columns; what is beyond them goes into the last.
const COLUMNS: usize = 64;

#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn row(&mut self) {
        if self.rows.last().is_none_or(|row| !row.is_empty()) {
            self.rows.push(Vec::new());
        }
    }

    pub(super) fn cell(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ").replace('|', "\\|");
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        let Some(row) = self.rows.last_mut() else { return };
        let full = row.len() >= COLUMNS;
        match row.last_mut() {
            Some(last) if full => {
                last.push(' ');
                last.push_str(&text);
            }
            _ => row.push(text),
        }
    }

    /// Lines of Markdown; none for a table that says nothing.
    pub(super) fn lines(&self) -> Vec<String> {
        let said = |row: &&Vec<String>| row.iter().any(|cell| !cell.is_empty());
        let rows: Vec<&Vec<String>> = self.rows.iter().filter(said).collect();
        let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for row in rows {
            let cell = |at: usize| match row.get(at).map(String::as_str) {
                None | Some("") => " |".to_owned(),
                Some(text) => format!(" {text} |"),
            };
            lines.push(format!("|{}", (0..columns).map(cell).collect::<String>()));
            if lines.len() == 1 {
                lines.push(format!("|{}", " --- |".repeat(columns)));
            }
        }
        lines
    }
}
