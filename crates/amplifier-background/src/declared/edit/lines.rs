//! Changes to the lines of a list of maps that leave all other lines as they are.
//!
//! What is returned are proposals, the best one first: right for block style, and perhaps wrong for
//! anything else. The caller reads them back before they count.

use amplifier_bundle::bundle::node::Entry;
use amplifier_bundle::bundle::{Node, Position};

use super::LIST;

/// Stands above a list that was made here, and goes with its last item.
const MARK: &str = "# This list was begun by `amplifier background add`.";
/// Values of an empty list; one that gets an item becomes a comment, and comes back with the last one's end.
const EMPTY: [&str; 3] = ["[]", "null", "~"];

/// Before a comment that was there, and looks as if such a value had become it.
const KEPT: &str = "#  ";

/// The text with one more item at the end of the list.
pub(super) fn added(text: &str, list: Option<&Entry>, block: &[String]) -> Vec<String> {
    let text = Text::of(text);
    let Some(list) = list else {
        let mut lines = vec![MARK.to_owned(), format!("{LIST}:")];
        lines.extend(indented(block, 2));
        return vec![text.inserted(text.lines.len(), &lines)];
    };
    let items = list.value.as_seq().unwrap_or_default();
    match items.last() {
        Some(last) => {
            let Some(item) = text.item(last) else { return Vec::new() };
            let lines = indented(block, item.column);
            // Blank lines at the end belong to what follows, but for texts that keep them.
            [item.end, text.after_blanks(item.end)].map(|at| text.inserted(at, &lines)).into()
        }
        None => text.begun(list, block).into_iter().collect(),
    }
}

/// The text without an item of the list.
pub(super) fn removed(text: &str, list: &Entry, at: usize) -> Vec<String> {
    let items = list.value.as_seq().unwrap_or_default();
    let text = Text::of(text);
    let Some(item) = items.get(at).and_then(|item| text.item(item)) else { return Vec::new() };
    let rest = text.cut(item.start, item.end);
    if items.len() > 1 {
        return vec![rest];
    }
    let emptied = Text::of(&rest).emptied(index(list.key_position));
    emptied.into_iter().chain([rest]).collect()
}

fn indented(block: &[String], by: usize) -> Vec<String> {
    block.iter().map(|line| format!("{}{line}", " ".repeat(by))).collect()
}

fn index(at: Position) -> usize {
    at.line.saturating_sub(1) as usize
}

/// The lines of a text, with their ends.
struct Text<'t> {
    lines: Vec<&'t str>,
    newline: &'static str,
    /// Whether its last line ends as a line does.
    closed: bool,
}

/// Where an item stands: its lines, and the column of its dash, from 0.
struct Item {
    start: usize,
    end: usize,
    column: usize,
}

impl<'t> Text<'t> {
    fn of(text: &'t str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let closed = text.is_empty() || text.ends_with(['\n', '\r']);
        // As YAML counts them: a carriage return alone ends a line too.
        let ends = text.match_indices(['\n', '\r']).map(|(at, _)| at + 1);
        let mut lines = Vec::new();
        let mut start = 0;
        for end in ends.filter(|end| !text[end - 1..].starts_with("\r\n")).chain([text.len()]) {
            lines.extend(Some(&text[start..end]).filter(|line| !line.is_empty()));
            start = end;
        }
        Self { lines, newline, closed }
    }

    /// With further lines before a line. What follows the end of the text ends as the text did.
    fn inserted(&self, at: usize, more: &[String]) -> String {
        let mut text = self.lines[..at].concat();
        let at_open_end = at == self.lines.len() && !self.closed;
        if at_open_end {
            text.push_str(self.newline);
        }
        text.push_str(&more.join(self.newline));
        if !at_open_end {
            text.push_str(self.newline);
        }
        text + &self.lines[at..].concat()
    }

    /// Without some lines. A text whose last line had no end has none afterwards.
    fn cut(&self, start: usize, end: usize) -> String {
        let mut text = self.lines[..start].concat();
        if end == self.lines.len() && !self.closed {
            let open = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
            text = open.unwrap_or(&text).to_owned();
        }
        text + &self.lines[end..].concat()
    }

    /// With the first item of a list that has none.
    fn begun(&self, list: &Entry, block: &[String]) -> Option<String> {
        let at = index(list.key_position);
        let column = list.key_position.column as usize - 1;
        let line = self.lines.get(at)?;
        let (key, value) = value_on(line)?;
        let mut lines = self.lines.clone();
        let begun;
        if let Some(token) = EMPTY.iter().find(|token| begins_with(value, token)) {
            begun = format!("{key}# {token}{}", &value[token.len()..]);
            lines[at] = &begun;
        } else if stood_before(value).is_some() {
            begun = format!("{key}{KEPT}{value}");
            lines[at] = &begun;
        } else if !value.trim_end().is_empty() && !value.starts_with('#') {
            return None;
        }
        let text = Text { lines, newline: self.newline, closed: self.closed };
        Some(text.inserted(text.after_deeper_comments(at + 1, column + 2), &indented(block, column + 2)))
    }

    /// With a list that has lost its last item as it was before it had one. `None`: it was begun by hand.
    fn emptied(&self, at: usize) -> Option<String> {
        let line = self.lines.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.lines.get(before));
        if before.is_some_and(|before| before.trim_end() == MARK) && line.trim_end() == format!("{LIST}:") {
            return Some(self.cut(at - 1, at + 1));
        }
        let (key, value) = value_on(line)?;
        let restored = format!("{key}{}", stood_before(value)?);
        Some(self.lines[..at].concat() + &restored + &self.lines[at + 1..].concat())
    }

    /// Where an item stands; `None` if it is not in block style.
    fn item(&self, item: &Node) -> Option<Item> {
        let begins = index(item.position);
        let dash = |line: &&str| {
            let content = line.trim_start_matches(' ');
            content
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with([' ', '\r', '\n']) || rest.is_empty())
        };
        let start = (0..=begins).rev().find(|at| self.lines.get(*at).is_some_and(dash))?;
        let column = indent(self.lines[start]);
        // Between a dash alone and what it holds there are comments at most.
        let between = &self.lines[start..begins];
        if between.iter().skip(1).any(|line| !is_blank(line) && !line.trim_start().starts_with('#')) {
            return None;
        }
        let mut end = start + 1;
        for (at, line) in self.lines.iter().enumerate().skip(start + 1) {
            if is_blank(line) {
                continue;
            }
            if indent(line) <= column {
                break;
            }
            end = at + 1;
        }
        Some(Item { start, end, column })
    }

    fn after_blanks(&self, from: usize) -> usize {
        from + self.lines[from..].iter().take_while(|line| is_blank(line)).count()
    }
}

impl Text<'_> {
    /// Behind comments that would count to an item of this column, if it stood above them.
    fn after_deeper_comments(&self, from: usize, column: usize) -> usize {
        let is_comment = |line: &str| line.trim_start_matches(' ').starts_with('#');
        let lines = self.lines.iter().enumerate().skip(from);
        let above = lines.take_while(|(_, line)| is_blank(line) || is_comment(line));
        let last = above.filter(|(_, line)| is_comment(line) && indent(line) > column).last();
        last.map_or(from, |(at, _)| at + 1)
    }
}

/// The beginning of a key's line up to its value, and the value with what follows it.
fn value_on(line: &str) -> Option<(&str, &str)> {
    let colon =
        line.find(LIST).map(|at| at + LIST.len()).and_then(|at| Some(at + line[at..].find(':')? + 1))?;
    let value = line[colon..].trim_start_matches(' ');
    Some(line.split_at(line.len() - value.len()))
}

/// What stood in the place of a comment before its list was begun.
fn stood_before(comment: &str) -> Option<&str> {
    let kept = comment.strip_prefix(KEPT).filter(|kept| kept.starts_with("# "));
    let value =
        comment.strip_prefix("# ").filter(|value| EMPTY.iter().any(|token| begins_with(value, token)));
    kept.or(value)
}

/// True if a value is this token alone.
fn begins_with(value: &str, token: &str) -> bool {
    value.strip_prefix(token).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r', '\n']))
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}
