//! A map of a declaration, read key by key; what is wrong is noted with its field.
//!
//! Guarantees: what nobody asked for is a fault that names the key that was meant, where one is near. No value is
//! repeated in a message but short words of a closed list.

use std::time::Duration;

use amplifier_bundle::source::registry::near;
use amplifier_core::Limits;
use amplifier_core::permission::Mode;
use amplifier_fs::duration;
use amplifier_trigger::ConfigFault;
use serde_json::{Map, Value};

/// Longest text, in bytes.
const MAX_TEXT: usize = 4_096;
/// Most items of a list.
pub(super) const MAX_ITEMS: usize = 100;

pub(super) struct Fields<'f> {
    map: Map<String, Value>,
    at: String,
    faults: &'f mut Vec<ConfigFault>,
}

impl<'f> Fields<'f> {
    /// The fields of a map; nothing counts as an empty one.
    pub(super) fn of(value: Value, at: &str, faults: &'f mut Vec<ConfigFault>) -> Option<Self> {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                let shown = if at.is_empty() { "the file" } else { at };
                faults.push(ConfigFault::new(shown, format!("this must be a map, not {}", kind(&other))));
                return None;
            }
        };
        Some(Self { map, at: at.to_owned(), faults })
    }

    pub(super) fn field(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub(super) fn fault(&mut self, key: &str, message: impl ToString) {
        let field = self.field(key);
        self.faults.push(ConfigFault::new(field, message.to_string()));
    }

    pub(super) fn faults(&mut self) -> &mut Vec<ConfigFault> {
        self.faults
    }

    /// True if a key stands there with something.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The value of a key, taken out; nothing counts as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// What a value is read as, or a fault that says what is wanted.
    fn read<T>(&mut self, key: &str, wanted: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.take(key)?;
        let found = read(&value);
        if found.is_none() {
            self.fault(key, format!("this must be {wanted}, not {}", kind(&value)));
        }
        found
    }

    pub(super) fn text(&mut self, key: &str, wanted: &str) -> Option<String> {
        self.read(key, wanted, |value| {
            let text = value.as_str()?;
            (!text.trim().is_empty() && text.len() <= MAX_TEXT).then(|| text.to_owned())
        })
    }

    pub(super) fn required_text(&mut self, key: &str, wanted: &str) -> Option<String> {
        if !self.has(key) {
            self.map.remove(key);
            self.fault(key, format!("this is missing; write {wanted}"));
            return None;
        }
        self.text(key, wanted)
    }

    /// A list of texts; one text counts as a list of it.
    pub(super) fn texts(&mut self, key: &str, wanted: &str) -> Vec<String> {
        let read = |value: &Value| {
            let list = match value {
                Value::Array(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            let text = |item: &Value| item.as_str().filter(|text| text.len() <= MAX_TEXT).map(str::to_owned);
            (list.len() <= MAX_ITEMS).then(|| list.iter().map(text).collect::<Option<Vec<String>>>())?
        };
        self.read(key, wanted, read).unwrap_or_default()
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &str, (least, most): (u32, u32)) -> Option<u32> {
        let wanted = format!("a whole number from {least} to {most}");
        let value = self.take(key)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.fault(key, format!("this must be {wanted}"));
        }
        number
    }

    pub(super) fn bool(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", |value| match value {
            Value::Bool(value) => Some(*value),
            Value::String(word) => match word.to_lowercase().as_str() {
                "yes" | "on" | "true" => Some(true),
                "no" | "off" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, all: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
        let text = self.text(key, &format!("one of {}", words.join(", ")))?;
        let found = all.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            self.fault(key, not_among(&text, &words));
        }
        found
    }

    pub(super) fn span(&mut self, key: &str) -> Option<Duration> {
        let text = self.text(key, "a span such as 30d")?;
        duration::parse(&text).map_err(|error| self.fault(key, error)).ok()
    }

    pub(super) fn limits(&mut self) -> Limits {
        let Some(value) = self.take("limits") else { return Limits::default() };
        serde_json::from_value(value).unwrap_or_else(|error| {
            self.fault("limits", error);
            Limits::default()
        })
    }

    pub(super) fn permissions(&mut self) -> Option<Mode> {
        let text = self.text("permissions", "one of default, plan, acceptEdits, dontAsk")?;
        let known = ["default", "plan", "acceptEdits", "dontAsk"];
        match Mode::from_name(&text) {
            Some(Mode::BypassPermissions) => {
                self.fault(
                    "permissions",
                    "`bypassPermissions` comes from a flag only; write dontAsk or plan",
                );
                None
            }
            None => {
                self.fault("permissions", not_among(&text, &known));
                None
            }
            mode => mode,
        }
    }

    /// Notes what nobody has asked for.
    pub(super) fn end(mut self, known: &[&str]) {
        for key in std::mem::take(&mut self.map).keys() {
            let shown: String = key.escape_debug().take(60).collect();
            self.fault(&shown, format!("this key is not known here; {}", meant(key, known)));
        }
    }
}

/// A word that is none of a list.
pub(super) fn not_among(text: &str, known: &[&str]) -> String {
    let shown: String = text.escape_debug().take(40).collect();
    format!("`{shown}` is not known; {}", meant(text, known))
}

fn meant(text: &str, known: &[&str]) -> String {
    match near(text, known.iter().copied()).as_slice() {
        [] => format!("there are {}", known.join(", ")),
        names => format!("did you mean `{}`?", names.join("` or `")),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "this text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
