//! A map of a declaration, read key by key; what is wrong is noted with its field.
//!
//! Guarantees: each key is asked for once, and what nobody asked for is a fault.

use std::fmt::Display;
use std::time::Duration;

use amplifier_fs::duration;
use serde_json::{Map, Value};

use super::ConfigFault;

/// Most items of a list.
const MAX_ITEMS: usize = 100;

/// Longest text of a field, in bytes.
const MAX_TEXT: usize = 1_000;

pub(super) struct Reader<'f> {
    map: Map<String, Value>,
    asked: Vec<&'static str>,
    field: String,
    before: usize,
    faults: &'f mut Vec<ConfigFault>,
}

impl<'f> Reader<'f> {
    /// A reader of a map; nothing counts as an empty one.
    pub(super) fn of(value: Value, field: String, faults: &'f mut Vec<ConfigFault>) -> Option<Self> {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                let message = format!("this must be a map, not {}", kind(&other));
                faults.push(ConfigFault { field, message });
                return None;
            }
        };
        let before = faults.len();
        Some(Self { map, asked: Vec::new(), field, before, faults })
    }

    pub(super) fn field(&self) -> &str {
        &self.field
    }

    pub(super) fn faults(&mut self) -> &mut Vec<ConfigFault> {
        self.faults
    }

    /// True if something of this map was wrong so far.
    pub(super) fn has_faults(&self) -> bool {
        self.faults.len() > self.before
    }

    /// Notes a fault of a key.
    pub(super) fn fault(&mut self, key: &str, message: impl Display) {
        let field = format!("{}.{key}", self.field);
        self.faults.push(ConfigFault { field, message: message.to_string() });
    }

    /// Notes a fault of the whole map.
    pub(super) fn fault_of_all(&mut self, message: impl Display) {
        self.faults.push(ConfigFault { field: self.field.clone(), message: message.to_string() });
    }

    /// The value of a key, taken out; nothing counts as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// What a value is read as, or a fault.
    pub(super) fn read<T, E: Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match read(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, error);
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, text_of)
    }

    pub(super) fn required_text(&mut self, key: &'static str, wanted: &str) -> Option<String> {
        let missing = !self.map.contains_key(key);
        if missing {
            self.asked.push(key);
            self.fault(key, format!("this is missing; write {wanted}"));
            return None;
        }
        self.text(key)
    }

    /// A text that means something: it is read, and its own error is the fault.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.read(key, |value| parse(&text_of(value)?).map_err(|error| error.to_string()))
    }

    pub(super) fn bool(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, |value| match &value {
            Value::Bool(value) => Ok(*value),
            Value::String(word) if ["yes", "on", "true"].contains(&word.to_lowercase().as_str()) => Ok(true),
            Value::String(word) if ["no", "off", "false"].contains(&word.to_lowercase().as_str()) => {
                Ok(false)
            }
            other => Err(format!("this must be true or false, not {}", kind(other))),
        })
        .unwrap_or(default)
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.parsed(key, duration::parse)
    }

    /// A list of texts; one text counts as a list of it.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, |value| match value {
            Value::Array(items) if items.len() > MAX_ITEMS => {
                Err(format!("there are {} items; at most {MAX_ITEMS} are accepted", items.len()))
            }
            Value::Array(items) => items.into_iter().map(text_of).collect(),
            one => text_of(one).map(|text| vec![text]),
        })
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, all: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| choose(text, all))
    }

    /// Notes what nobody asked for.
    pub(super) fn end(&mut self) {
        let known = self.asked.join(", ");
        for key in std::mem::take(&mut self.map).keys() {
            let shown: String = key.escape_debug().take(60).collect();
            let message = match known.is_empty() {
                true => "this key is not known here; there is none".to_owned(),
                false => format!("this key is not known here; there are {known}"),
            };
            let field = format!("{}.{shown}", self.field);
            self.faults.push(ConfigFault { field, message });
        }
    }
}

/// One of several words.
pub(super) fn choose<T: Copy>(text: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    let words = || all.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let shown = || text.escape_debug().take(40).collect::<String>();
    found.ok_or_else(|| format!("`{}` is none of {}", shown(), words()))
}

/// A text; a number counts as it is written.
pub(super) fn text_of(value: Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        other => return Err(format!("this must be text, not {}", kind(&other))),
    };
    match text.len() {
        0 => Err("this is empty".to_owned()),
        len if len > MAX_TEXT => Err(format!("this has {len} bytes; at most {MAX_TEXT} are accepted")),
        _ => Ok(text),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
