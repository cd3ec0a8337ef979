//! A line of text with emphasis, code and links, broken between words.
//!
//! Guarantees: as in the module above. A mark that is never closed stands as it was written.

use unicode_width::UnicodeWidthStr;

use super::RESET;

const BOLD: &str = "1";
const ITALIC: &str = "3";
const CODE: &str = "36";
const LINK: &str = "2";

/// Most bytes that wait for a mark to be closed; then it is none.
const MAX_SPAN: usize = 4 << 10;

/// A line that is being written.
#[derive(Debug)]
pub(super) struct Inline {
    width: usize,
    /// Where lines after the first begin.
    indent: usize,
    column: usize,
    /// Not shown yet, because a mark in it may be closed later.
    held: String,
    /// The last character that went by.
    before: Option<char>,
    /// The beginning of a word, in its colours.
    word: String,
    word_width: usize,
    spaces: usize,
}

impl Inline {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width,
            indent: 0,
            column: 0,
            held: String::new(),
            before: None,
            word: String::new(),
            word_width: 0,
            spaces: 0,
        }
    }

    pub(super) fn resize(&mut self, width: usize) {
        self.width = width;
    }

    /// A new line that begins with this; those after it are indented as far.
    pub(super) fn begin(&mut self, mark: &str) -> String {
        let bare = mark.replace(super::DIM, "").replace(RESET, "");
        *self = Self::new(self.width);
        self.indent = bare.width();
        self.column = self.indent;
        mark.to_owned()
    }

    /// What can be shown now that this was written too.
    pub(super) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        let mut out = String::new();
        let held = std::mem::take(&mut self.held);
        self.held = self.spans(&held, &[], false, &mut out);
        out
    }

    /// The rest of the line.
    pub(super) fn finish(&mut self) -> String {
        let mut out = String::new();
        let held = std::mem::take(&mut self.held);
        self.spans(&held, &[], true, &mut out);
        self.end_word(&mut out);
        self.spaces = 0;
        out
    }

    /// Shows what it can of a text; the rest waits. `ends`: nothing comes behind it.
    fn spans(&mut self, text: &str, style: &[&str], ends: bool, out: &mut String) -> String {
        let mut rest = text;
        while let Some(at) = rest.find(['*', '_', '`', '[', '\\']) {
            self.words(&rest[..at], style, out);
            rest = &rest[at..];
            match span(rest, self.before, ends || rest.len() > MAX_SPAN) {
                Span::Waits => return rest.to_owned(),
                Span::None => {
                    let mark = rest.chars().next().map_or(0, char::len_utf8);
                    self.words(&rest[..mark], style, out);
                    rest = &rest[mark..];
                }
                Span::Literal(text, length) => {
                    self.words(text, style, out);
                    rest = &rest[length..];
                }
                Span::Styled(inner, code, length) => {
                    let style: Vec<&str> = style.iter().copied().chain([code]).collect();
                    match code {
                        CODE => self.words(inner, &style, out),
                        _ => drop(self.spans(inner, &style, true, out)),
                    }
                    rest = &rest[length..];
                }
                Span::Link(inner, address, length) => {
                    drop(self.spans(inner, style, true, out));
                    if inner != address {
                        let linked: Vec<&str> = style.iter().copied().chain([LINK]).collect();
                        self.words(&format!(" ({address})"), &linked, out);
                    }
                    rest = &rest[length..];
                }
            }
        }
        self.words(rest, style, out);
        String::new()
    }

    fn words(&mut self, text: &str, style: &[&str], out: &mut String) {
        if let Some(last) = text.chars().last() {
            self.before = Some(last);
        }
        for (at, part) in text.split(' ').enumerate() {
            if at > 0 {
                self.end_word(out);
                self.spaces += 1;
            }
            if !part.is_empty() {
                self.word_width += part.width();
                self.word.push_str(&styled(part, style));
            }
        }
    }

    fn end_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let begins = self.column <= self.indent;
        if !begins && self.column + self.spaces + self.word_width > self.width {
            out.push('\n');
            out.push_str(&" ".repeat(self.indent));
            self.column = self.indent;
        } else {
            out.push_str(&" ".repeat(self.spaces));
            self.column += self.spaces;
        }
        out.push_str(&std::mem::take(&mut self.word));
        self.column += std::mem::take(&mut self.word_width);
        self.spaces = 0;
    }
}

fn styled(text: &str, style: &[&str]) -> String {
    if style.is_empty() { text.to_owned() } else { format!("\u{1b}[{}m{text}{RESET}", style.join(";")) }
}

/// What begins with a character that may be a mark.
enum Span<'a> {
    /// More must be read.
    Waits,
    /// It is no mark.
    None,
    /// Text, and how much it took.
    Literal(&'a str, usize),
    /// Text in a colour, and how much it took.
    Styled(&'a str, &'static str, usize),
    /// Text, its address, and how much it took.
    Link(&'a str, &'a str, usize),
}

fn span(text: &str, before: Option<char>, ends: bool) -> Span<'_> {
    let unknown = if ends { Span::None } else { Span::Waits };
    match text.as_bytes()[0] {
        b'\\' => match text[1..].chars().next() {
            Some(next) if next.is_ascii_punctuation() => Span::Literal(&text[1..2], 2),
            Some(_) => Span::None,
            None => unknown,
        },
        b'`' => code(text, unknown),
        b'[' => link(text, unknown),
        _ => emphasis(text, before, unknown),
    }
}

fn code<'a>(text: &'a str, unknown: Span<'a>) -> Span<'a> {
    let marks = text.len() - text.trim_start_matches('`').len();
    if marks == text.len() {
        return unknown;
    }
    let mut from = marks;
    while let Some(at) = text[from..].find('`') {
        let close = from + at;
        let found = text[close..].len() - text[close..].trim_start_matches('`').len();
        if close + found == text.len() && matches!(unknown, Span::Waits) {
            return unknown;
        }
        if found == marks {
            let inner = &text[marks..close];
            let bare = inner.strip_prefix(' ').and_then(|inner| inner.strip_suffix(' ')).unwrap_or(inner);
            return Span::Styled(bare, CODE, close + found);
        }
        from = close + found;
    }
    match unknown {
        Span::None => Span::Literal(&text[..marks], marks),
        waits => waits,
    }
}

fn link<'a>(text: &'a str, unknown: Span<'a>) -> Span<'a> {
    let Some(close) = text.find(']') else { return unknown };
    let behind = &text[close + 1..];
    if behind.is_empty() {
        return unknown;
    }
    let Some(address) = behind.strip_prefix('(') else { return Span::None };
    match address.find([')', ' ']) {
        Some(end) if address[end..].starts_with(')') => {
            Span::Link(&text[1..close], &address[..end], close + 2 + end + 1)
        }
        Some(_) => Span::None,
        None => unknown,
    }
}

fn emphasis<'a>(text: &'a str, before: Option<char>, unknown: Span<'a>) -> Span<'a> {
    let mark = &text[..1];
    let marks = text.len() - text.trim_start_matches(mark).len();
    let Some(next) = text[marks..].chars().next() else { return unknown };
    let inside = mark == "_" && before.is_some_and(char::is_alphanumeric);
    if next.is_whitespace() || inside || marks > 3 {
        return Span::Literal(&text[..marks], marks);
    }
    let marks = marks.min(2);
    let mut from = marks;
    while let Some(at) = text[from..].find(mark) {
        let close = from + at;
        let found = text[close..].len() - text[close..].trim_start_matches(mark).len();
        let open_end = close + found == text.len() && matches!(unknown, Span::Waits);
        if open_end {
            return unknown;
        }
        let spaced = text[..close].ends_with(char::is_whitespace);
        let after = text[close + found..].chars().next();
        let goes_on = mark == "_" && after.is_some_and(char::is_alphanumeric);
        if found >= marks && !spaced && !goes_on && close > marks {
            // The innermost marks are behind the text: `**a *b***` closes `*b*` first.
            let end = if marks == 2 { close + found - 2 } else { close };
            let style = if marks == 2 { BOLD } else { ITALIC };
            if marks == 2 || found != 2 {
                return Span::Styled(&text[marks..end], style, end + marks);
            }
        }
        from = close + found;
    }
    match unknown {
        Span::None => Span::Literal(&text[..marks], marks),
        waits => waits,
    }
}
