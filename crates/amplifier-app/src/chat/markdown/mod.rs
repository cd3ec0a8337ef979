//! Markdown for a terminal, as a model writes it: each piece is shown as soon as it is known what it is.
//!
//! Guarantees: words come as they are written; what may yet become a mark (`**`, a table, a heading) waits until it
//! is known, at most to the end of its line or table. No character of the text is lost but the marks themselves, and
//! those stay where they mark nothing. What is handed in has no control characters; the only ones that come out are
//! line ends and colours.
//! Never here: the terminal.

mod inline;
mod table;

use self::inline::Inline;

const RESET: &str = "\u{1b}[0m";
const HEADING: &str = "\u{1b}[1;36m";
const CODE: &str = "\u{1b}[36m";
const DIM: &str = "\u{1b}[2m";

/// Most bytes that wait to become a table; a longer one is shown as it was written.
const MAX_TABLE: usize = 64 << 10;

/// Most bytes of a line that wait for its end.
const MAX_HELD: usize = 16 << 10;

/// One answer.
#[derive(Debug)]
pub struct Markdown {
    width: usize,
    /// What the line begins with, as long as it is not known what it is.
    head: String,
    line: Line,
    fence: Option<Fence>,
    table: String,
    inline: Inline,
    out: String,
}

/// What the line is that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nobody knows yet.
    Unknown,
    /// Text, which is shown word by word.
    Text,
    /// Something that is shown when its line ends.
    Whole,
}

/// A block of code.
#[derive(Debug)]
struct Fence {
    mark: char,
    length: usize,
}

impl Markdown {
    /// For a terminal of this many columns.
    pub fn new(width: usize) -> Self {
        let width = width.max(8);
        Self {
            width,
            head: String::new(),
            line: Line::Unknown,
            fence: None,
            table: String::new(),
            inline: Inline::new(width),
            out: String::new(),
        }
    }

    /// The terminal has another width now.
    pub fn resize(&mut self, width: usize) {
        self.width = width.max(8);
        self.inline.resize(self.width);
    }

    /// What can be shown now that this was written too.
    pub fn push(&mut self, text: &str) -> String {
        for piece in text.split_inclusive('\n') {
            let (piece, ends) = match piece.strip_suffix('\n') {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            self.piece(piece);
            if ends {
                self.end_line();
            }
        }
        std::mem::take(&mut self.out)
    }

    /// The rest: nothing more is written. Ends with a line end if anything was shown since the last one.
    pub fn finish(&mut self) -> String {
        if self.line != Line::Unknown || !self.head.is_empty() {
            self.end_line();
        }
        self.end_table();
        self.fence = None;
        std::mem::take(&mut self.out)
    }

    fn piece(&mut self, piece: &str) {
        if self.line == Line::Text {
            self.out.push_str(&self.inline.push(piece));
            return;
        }
        self.head.push_str(piece);
        if self.line == Line::Unknown {
            self.line = self.kind();
            if self.line == Line::Text {
                self.end_table();
                self.begin_text();
            }
        }
        if self.head.len() > MAX_HELD {
            self.end_table();
            self.out.push_str(&std::mem::take(&mut self.head));
            self.line = Line::Text;
        }
    }

    /// What the line is, as far as its beginning tells.
    fn kind(&self) -> Line {
        if self.fence.is_some() {
            return Line::Whole;
        }
        let text = self.head.trim_start();
        let Some(first) = text.chars().next() else { return Line::Unknown };
        let same = text.chars().take_while(|c| *c == first).count();
        let rest = text.chars().nth(same);
        match (first, rest) {
            ('|', _) => Line::Whole,
            ('`' | '~', _) if same >= 3 => Line::Whole,
            ('#' | '`' | '~' | '-' | '*' | '_' | '+' | '>', None) => Line::Unknown,
            ('#', Some(' ')) if same <= 6 => Line::Whole,
            ('-' | '*' | '_', Some(' ')) if same == 1 && text.len() == 2 => Line::Unknown,
            ('-' | '*' | '_', _) if is_rule(text) => Line::Whole,
            ('0'..='9', _) if text.len() < 5 && text.chars().all(|c| c.is_ascii_digit() || c == '.') => {
                Line::Unknown
            }
            _ => Line::Text,
        }
    }

    /// Begins a line of text: a point of a list, a quotation, or a paragraph.
    fn begin_text(&mut self) {
        let head = std::mem::take(&mut self.head);
        let text = head.trim_start();
        let indent = head.len() - text.len();
        let (mark, rest) = mark_of(text);
        let mark = format!("{}{mark}", " ".repeat(indent.min(self.width / 2)));
        self.out.push_str(&self.inline.begin(&mark));
        self.out.push_str(&self.inline.push(rest));
    }

    fn end_line(&mut self) {
        let line = std::mem::replace(&mut self.line, Line::Unknown);
        if line == Line::Text {
            self.out.push_str(&self.inline.finish());
            self.out.push('\n');
            return;
        }
        let head = std::mem::take(&mut self.head);
        if self.fence.is_some() {
            return self.code_line(&head);
        }
        let text = head.trim();
        if text.starts_with('|') && self.table.len() + text.len() < MAX_TABLE {
            self.table.push_str(text);
            self.table.push('\n');
            return;
        }
        self.end_table();
        match text {
            "" => self.out.push('\n'),
            text if text.starts_with("```") || text.starts_with("~~~") => self.open_fence(text),
            text if is_rule(text) => {
                self.out.push_str(&format!("{DIM}{}{RESET}\n", "─".repeat(self.width.min(40))));
            }
            text => match heading(text) {
                Some(title) => self.out.push_str(&format!("{HEADING}{title}{RESET}\n")),
                None => {
                    self.head = head;
                    self.begin_text();
                    self.out.push_str(&self.inline.finish());
                    self.out.push('\n');
                }
            },
        }
    }

    fn open_fence(&mut self, text: &str) {
        let mark = if text.starts_with('`') { '`' } else { '~' };
        let length = text.chars().take_while(|c| *c == mark).count();
        self.fence = Some(Fence { mark, length });
        let language = text.trim_start_matches(mark).trim();
        if !language.is_empty() {
            self.out.push_str(&format!("{DIM}  {language}{RESET}\n"));
        }
    }

    fn code_line(&mut self, line: &str) {
        let text = line.trim();
        let closes =
            |fence: &Fence| text.chars().all(|c| c == fence.mark) && text.chars().count() >= fence.length;
        if self.fence.take_if(|fence| closes(fence)).is_none() {
            self.out.push_str(&match line.is_empty() {
                true => "\n".to_owned(),
                false => format!("  {CODE}{line}{RESET}\n"),
            });
        }
    }

    fn end_table(&mut self) {
        if !self.table.is_empty() {
            let rows = std::mem::take(&mut self.table);
            self.out.push_str(&table::shown(&rows, self.width));
        }
    }
}

/// A line across.
fn is_rule(text: &str) -> bool {
    let mut marks = text.chars().filter(|c| !c.is_whitespace());
    let Some(first) = marks.next().filter(|c| matches!(c, '-' | '*' | '_')) else { return false };
    let rest: Vec<char> = marks.collect();
    rest.len() >= 2 && rest.iter().all(|c| *c == first)
}

fn heading(text: &str) -> Option<&str> {
    let title = text.trim_start_matches('#');
    let level = text.len() - title.len();
    (1..=6).contains(&level).then_some(title.strip_prefix(' ')?.trim())
}

/// What stands in front of a point or a quotation, and the text behind it.
fn mark_of(text: &str) -> (String, &str) {
    if let Some(rest) = ["- ", "* ", "+ "].iter().find_map(|mark| text.strip_prefix(mark)) {
        return ("• ".to_owned(), rest);
    }
    if let Some(rest) = text.strip_prefix('>') {
        return (format!("{DIM}│{RESET} "), rest.strip_prefix(' ').unwrap_or(rest));
    }
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    match text[digits..].strip_prefix(". ") {
        Some(rest) if (1..=3).contains(&digits) => (format!("{}. ", &text[..digits]), rest),
        _ => (String::new(), text),
    }
}

#[cfg(test)]
mod tests;
