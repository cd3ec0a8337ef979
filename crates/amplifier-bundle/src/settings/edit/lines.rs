//! Changes to the lines of a file that leave all other lines as they are.
//!
//! What is returned is a proposal: it is right for block style and for values on one line, and may
//! be wrong for anything else. The caller reads it back before it counts.

use super::Change;
use super::emit;
use super::module;
use crate::bundle::node::{Entry, Node, Position, Yaml};

/// The text with the change in the setting's own lines.
pub(super) fn in_place(text: &str, root: &Node, change: &Change<'_>) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    match *change {
        Change::Set { path, value } => match find(root, path) {
            Some(entry) => replaced(&lines, &entry.value, value),
            None => inserted(&lines, root, path, |key| Entry::new(key, Position::START, text_node(value))),
        },
        Change::Append { path, value } => match find(root, path) {
            Some(entry) => appended(&lines, entry, value),
            None => inserted(&lines, root, path, |key| {
                let list = Yaml::Seq(vec![text_node(value)]);
                Entry::new(key, Position::START, Node::new(list, Position::START))
            }),
        },
        Change::Unset { path } => removed(&lines, root, path),
        Change::Remove { path, value } => {
            let items = find(root, path)?.value.as_seq()?;
            if items.iter().all(|item| item.as_str() == Some(value)) {
                return removed(&lines, root, path);
            }
            let gone: Vec<usize> = items
                .iter()
                .filter(|item| item.as_str() == Some(value))
                .map(|item| index(item.position))
                .collect();
            let kept = lines.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, line)| *line);
            Some(kept.collect())
        }
        Change::Module { path, .. } => module::in_place(&lines, find(root, path)?, change),
        Change::RemoveModule { path, key } => {
            let list = find(root, path)?;
            match list.value.as_seq()? {
                [_] => removed(&lines, root, path),
                _ => module::in_place(&lines, list, &Change::RemoveModule { path, key }),
            }
        }
    }
}

/// The text with the section of the change's first key written anew.
pub(super) fn with_section(text: &str, root: &Node, meant: &Node, change: &Change<'_>) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let key = change.path().first()?;
    let section = |node: &Node| node.as_map()?.iter().find(|entry| entry.key == *key).cloned();
    let after = section(meant).map_or_else(String::new, |entry| emit::entry(&entry, 0));
    let (start, end) = match section(root) {
        Some(entry) if entry.key_position.column == 1 => {
            let start = index(entry.key_position);
            (start, block_end(&lines, start, 0))
        }
        Some(_) => return None,
        None => (lines.len(), lines.len()),
    };
    Some(joined(&lines[..start], &after, &lines[end..]))
}

fn text_node(value: &str) -> Node {
    Node::new(Yaml::Str(value.to_owned()), Position::START)
}

pub(super) fn index(at: Position) -> usize {
    at.line.saturating_sub(1) as usize
}

fn find<'n>(root: &'n Node, path: &[&str]) -> Option<&'n Entry> {
    let (key, rest) = path.split_first()?;
    let entry = root.as_map()?.iter().find(|entry| entry.key == *key)?;
    if rest.is_empty() { Some(entry) } else { find(&entry.value, rest) }
}

pub(super) fn joined(before: &[&str], between: &str, after: &[&str]) -> String {
    let mut text = before.concat();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(between);
    text.extend(after.iter().copied());
    text
}

/// Another value in the place of one that stands on one line.
fn replaced(lines: &[&str], old: &Node, value: &str) -> Option<String> {
    old.as_text()?;
    let at = index(old.position);
    let line = lines.get(at)?;
    let column = old.position.column as usize - 1;
    let start = line.char_indices().nth(column).map(|(byte, _)| byte)?;
    let (head, tail) = line.split_at(start);
    let end = scalar_end(tail, head.contains(['{', '[']))?;
    let line = format!("{head}{}{}", emit::text(value), &tail[end..]);
    Some(joined(&lines[..at], &line, &lines[at + 1..]))
}

/// How many bytes the scalar at the start of a line's rest takes.
fn scalar_end(tail: &str, in_flow: bool) -> Option<usize> {
    let quote = tail.chars().next()?;
    if matches!(quote, '"' | '\'') {
        let mut escaped = false;
        for (at, c) in tail.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' if quote == '"' => escaped = true,
                // `''` in single quotes would end too early; the caller notices.
                c if c == quote => return Some(at + 1),
                _ => {}
            }
        }
        return None;
    }
    let plain = if in_flow { tail.split([',', '}', ']']).next()? } else { tail };
    let plain = plain.split(" #").next()?;
    Some(plain.trim_end().len())
}

/// A new key at the end of the innermost map on its path that is there.
fn inserted(lines: &[&str], root: &Node, path: &[&str], entry: impl Fn(&str) -> Entry) -> Option<String> {
    let there = (1..path.len()).rev().find(|count| find(root, &path[..*count]).is_some()).unwrap_or(0);
    let map = if there == 0 { root } else { &find(root, &path[..there])?.value };
    let entries = map.as_map()?;
    let (at, indent) = match entries.last() {
        Some(last) => {
            let indent = last.key_position.column as usize - 1;
            (block_end(lines, index(last.key_position), indent), indent)
        }
        None if there == 0 => (lines.len(), 0),
        None => return None,
    };
    let (last, above) = path[there..].split_last()?;
    let nested = above.iter().rev().fold(entry(last), |inner, key| {
        Entry::new(*key, Position::START, Node::new(Yaml::Map(vec![inner]), Position::START))
    });
    Some(joined(&lines[..at], &emit::entry(&nested, indent), &lines[at..]))
}

/// One more item at the end of a list in block style.
fn appended(lines: &[&str], list: &Entry, value: &str) -> Option<String> {
    let last = index(list.value.as_seq()?.last()?.position);
    let line = lines.get(last)?;
    let indent = line.len() - line.trim_start().len();
    if !line.trim_start().starts_with("- ") {
        return None;
    }
    let at = block_end(lines, last, indent + 1);
    Some(joined(&lines[..at], &emit::item(&text_node(value), indent), &lines[at..]))
}

/// Without a key and the maps above it that hold nothing else.
fn removed(lines: &[&str], root: &Node, path: &[&str]) -> Option<String> {
    let alone = |count: &usize| {
        let map = find(root, &path[..*count]).and_then(|entry| entry.value.as_map());
        map.is_some_and(|entries| entries.len() == 1)
    };
    let kept = (1..path.len()).rev().take_while(alone).last().unwrap_or(path.len());
    let entry = find(root, &path[..kept])?;
    let start = index(entry.key_position);
    let column = entry.key_position.column as usize - 1;
    if !lines.get(start)?.chars().take(column).all(|c| c == ' ') {
        return None;
    }
    let end = block_end(lines, start, column);
    Some(joined(&lines[..start], "", &lines[end..]))
}

/// The line after the last one that belongs to the entry that begins in line `start` with some
/// indent. Blank lines and comments at the end belong to what follows. A list may begin below its
/// key without further indent.
pub(super) fn block_end(lines: &[&str], start: usize, indent: usize) -> usize {
    let mut end = start + 1;
    for (at, line) in lines.iter().enumerate().skip(start + 1) {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let own = line.len() - content.len();
        if own > indent || own == indent && (content.starts_with("- ") || content.trim_end() == "-") {
            end = at + 1;
        } else {
            break;
        }
    }
    end.min(lines.len())
}
