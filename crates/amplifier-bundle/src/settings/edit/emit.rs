//! A tree as YAML text: block style, two spaces a level, text in quotes where it needs them.

use crate::bundle::node::{Entry, Node, Yaml};

/// A whole file.
pub(super) fn document(root: &Node) -> String {
    match root.as_map() {
        Some(entries) if !entries.is_empty() => entries.iter().map(|entry| self::entry(entry, 0)).collect(),
        _ => String::new(),
    }
}

/// An entry of a map with all that belongs to it, indented by some spaces.
pub(super) fn entry(entry: &Entry, indent: usize) -> String {
    let spaces = " ".repeat(indent);
    let key = text(&entry.key);
    match &entry.value.value {
        Yaml::Map(entries) if !entries.is_empty() => {
            let below: String = entries.iter().map(|entry| self::entry(entry, indent + 2)).collect();
            format!("{spaces}{key}:\n{below}")
        }
        Yaml::Seq(items) if !items.is_empty() => {
            let below: String = items.iter().map(|item| self::item(item, indent + 2)).collect();
            format!("{spaces}{key}:\n{below}")
        }
        Yaml::Null => format!("{spaces}{key}:\n"),
        _ => format!("{spaces}{key}: {}\n", scalar(&entry.value)),
    }
}

/// An item of a list.
pub(super) fn item(node: &Node, indent: usize) -> String {
    let spaces = " ".repeat(indent);
    let below: String = match &node.value {
        Yaml::Map(entries) => entries.iter().map(|entry| self::entry(entry, indent + 2)).collect(),
        Yaml::Seq(items) => items.iter().map(|item| self::item(item, indent + 2)).collect(),
        _ => String::new(),
    };
    match below.is_empty() {
        true => format!("{spaces}- {}\n", scalar(node)),
        false => format!("{spaces}- {}", below.trim_start_matches(' ')),
    }
}

fn scalar(node: &Node) -> String {
    match &node.value {
        Yaml::Null => "null".to_owned(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Number(_) => node.as_text().unwrap_or_default(),
        Yaml::Str(value) => text(value),
        Yaml::Seq(_) => "[]".to_owned(),
        Yaml::Map(_) => "{}".to_owned(),
    }
}

/// Text as it is where every reader of YAML takes it for text, else in double quotes as in JSON.
pub(super) fn text(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '+' | '~');
    let first = value.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/')
        || value.starts_with("./")
        || value.starts_with("../");
    let colons = !value.ends_with(':') && !value.contains(": ");
    let fragment = !value.contains(" #");
    let rest = value.chars().all(|c| plain(c) || matches!(c, ':' | '#' | '='));
    let word = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let word = word.iter().any(|word| word.eq_ignore_ascii_case(value));
    if first && rest && colons && fragment && !word {
        return value.to_owned();
    }
    let mut quoted = String::new();
    for c in serde_json::Value::from(value).to_string().chars() {
        // What JSON leaves as it is and YAML takes for a line end or refuses.
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}
