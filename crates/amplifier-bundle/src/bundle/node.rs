//! YAML as this project sees it: a tree of values, each with its place in the file.
//!
//! Keys are strings, merge keys are applied, aliases are expanded, numbers are finite. No library's type
//! shows here; `yaml.rs` is the only module that knows one.

mod de;

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

pub use self::de::NodeError;

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Position {
    /// The beginning of a file.
    pub const START: Position = Position { line: 1, column: 1 };
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// The value.
    pub value: Yaml,
    /// Where it begins.
    pub position: Position,
    /// A number as it is written: `1.10`.
    written: Option<Box<str>>,
}

/// A value. Printed for debugging it shows only its kind: it may hold a secret.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Yaml {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`. `yes` and `no` are strings until a boolean is wanted: [`Node::as_bool`].
    Bool(bool),
    /// A number; never infinite, never NaN.
    Number(Number),
    /// Text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A map, in the order of the file, keys unique.
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The key, as it is written.
    pub key: String,
    /// Where the key begins.
    pub key_position: Position,
    /// The value.
    pub value: Node,
}

impl Yaml {
    fn kind(&self) -> &'static str {
        match self {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Number(_) => "a number",
            Yaml::Str(_) => "text",
            Yaml::Seq(_) => "a list",
            Yaml::Map(_) => "a map",
        }
    }
}

impl Entry {
    /// An entry of a map.
    pub fn new(key: impl Into<String>, key_position: Position, value: Node) -> Self {
        Self { key: key.into(), key_position, value }
    }
}

impl Node {
    /// Where a field stands, such as `triggers[1].config.cron`: a map's entry at its key, an item at its value. Where
    /// it is missing, the innermost of what should hold it; `None` if nothing of that is there either.
    pub fn place_of(&self, field: &str) -> Option<Position> {
        let (mut place, mut node) = (None, self);
        let parts = field.split(['.', '[']).map(|part| part.trim_end_matches(']'));
        for part in parts.filter(|part| !part.is_empty()) {
            let inner = match part.parse::<usize>() {
                Ok(at) => node.as_seq().and_then(|items| items.get(at)).map(|item| (item.position, item)),
                Err(_) => node.as_map().and_then(|entries| {
                    let entry = entries.iter().find(|entry| entry.key == part)?;
                    Some((entry.key_position, &entry.value))
                }),
            };
            let Some((at, value)) = inner else { break };
            (place, node) = (Some(at), value);
        }
        place
    }

    /// A value at a place.
    pub fn new(value: Yaml, position: Position) -> Self {
        Self { value, position, written: None }
    }

    /// A number at a place, with the text that it was read from.
    pub(crate) fn written(value: Yaml, position: Position, text: &str) -> Self {
        Self { value, position, written: Some(text.into()) }
    }

    /// The text of a scalar where text is wanted: a number counts as it is written, so `1.10` stays that.
    pub fn as_text(&self) -> Option<String> {
        match (&self.value, &self.written) {
            (Yaml::Str(text), _) => Some(text.clone()),
            (Yaml::Number(_), Some(text)) => Some(text.to_string()),
            (Yaml::Number(number), None) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Moves all its places down.
    pub(crate) fn shift_lines(&mut self, lines: u32) {
        self.position.line = self.position.line.saturating_add(lines);
        match &mut self.value {
            Yaml::Seq(items) => items.iter_mut().for_each(|item| item.shift_lines(lines)),
            Yaml::Map(entries) => {
                for entry in entries {
                    entry.key_position.line = entry.key_position.line.saturating_add(lines);
                    entry.value.shift_lines(lines);
                }
            }
            _ => {}
        }
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Yaml::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one; `yes`, `no`, `on`, `off` count, in any case.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Yaml::Bool(value) => Some(*value),
            Yaml::Str(text) => bool_word(text),
            _ => None,
        }
    }

    /// The whole number, if it is one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match &self.value {
            Yaml::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Yaml::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Yaml::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.value == Yaml::Null
    }

    /// What it is, for messages: `a list`.
    pub fn kind(&self) -> &'static str {
        self.value.kind()
    }

    /// The same value without places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Number(number) => Value::Number(number.clone()),
            Yaml::Str(text) => Value::String(text.clone()),
            Yaml::Seq(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Yaml::Map(entries) => Value::Object(to_json_map(entries)),
        }
    }
}

impl fmt::Debug for Yaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Serialize for Node {
    /// The same value without places.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// The entries of a map without places.
pub(crate) fn to_json_map(entries: &[Entry]) -> Map<String, Value> {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect()
}

/// The boolean that a word means where a boolean is wanted.
pub(crate) fn bool_word(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 6] =
        [("yes", true), ("on", true), ("true", true), ("no", false), ("off", false), ("false", false)];
    WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
}
