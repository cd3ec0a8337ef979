//! Texts of a script with places for what the conversation holds.
//!
//! Guarantees: a place is filled once; what stands in it then is text, whatever it looks like. What is no
//! place stays as it is written.

use std::borrow::Cow;

use serde_json::Value;

use super::script::Moment;

/// Opens a place.
const OPEN: &str = "{{";

/// A text that may have places.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    text: String,
    has_places: bool,
}

impl Template {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { has_places: text.contains(OPEN), text }
    }

    /// The text at this place of the conversation.
    pub(super) fn fill(&self, moment: &Moment) -> String {
        if self.has_places { filled(&self.text, moment) } else { self.text.clone() }
    }
}

/// Arguments of a tool call with all their texts filled.
pub(super) fn fill_all(given: &Value, moment: &Moment) -> Value {
    match given {
        Value::String(text) if text.contains(OPEN) => Value::String(filled(text, moment)),
        Value::Array(items) => items.iter().map(|item| fill_all(item, moment)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), fill_all(value, moment))).collect(),
        other => other.clone(),
    }
}

fn filled(text: &str, moment: &Moment) -> String {
    let (mut all, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, place)) = rest.split_once(OPEN) {
        all.push_str(before);
        let known = place.split_once("}}").and_then(|(name, behind)| Some((value(name, moment)?, behind)));
        rest = match known {
            Some((value, behind)) => {
                all.push_str(&value);
                behind
            }
            None => {
                all.push_str(OPEN);
                place
            }
        };
    }
    all.push_str(rest);
    all
}

/// What a place stands for; `None` for no place.
fn value<'m>(name: &str, moment: &'m Moment) -> Option<Cow<'m, str>> {
    match name {
        "prompt" => Some(moment.prompt()),
        "result" => Some(moment.result()),
        "note" => Some(moment.note()),
        _ => name.strip_prefix("result.").map(|field| Cow::Owned(field_of(&moment.result(), field))),
    }
}

/// A part of a result that is JSON, by its path (`data.files.0`); empty where there is none.
fn field_of(result: &str, path: &str) -> String {
    let inside = |all: Value, part: &str| match all {
        Value::Array(mut items) => items.get_mut(part.parse::<usize>().ok()?).map(Value::take),
        mut other => other.get_mut(part).map(Value::take),
    };
    let all = serde_json::from_str::<Value>(result).ok();
    match all.and_then(|all| path.split('.').try_fold(all, inside)) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::transcript::MessageLog;
    use amplifier_core::{Message, ToolCall};
    use std::sync::Arc;

    #[test]
    fn a_place_is_filled_once_and_what_is_none_stays() {
        let call = ToolCall::new("1", "delegate", Value::Null);
        let text = r#"{"response": "it is {{prompt}}", "n": 3, "in": {"list": [{"k": "deep"}]}}"#;
        let result = Message::tool_result(&call, text, false);
        let messages = [Message::user("look"), Message::assistant(""), result].map(Arc::new);
        let script = super::super::script::Script::new("scripted", Vec::new());
        let moment = script.moment(&MessageLog::new(messages.to_vec()).view());
        for (text, expect) in [
            ("plain }} text", "plain }} text"),
            ("{{prompt}}, {{prompt}}", "look, look"),
            ("{{result.response}}: {{result.n}}{{result.none}}", "it is {{prompt}}: 3"),
            ("{{result.in.list.0.k}}{{result.in.list.1}}{{result.n.k}}{{result.in.list.k}}", "deep"),
            ("{{other}} {{ {{prompt}}", "{{other}} {{ look"),
            ("{{prompt", "{{prompt"),
        ] {
            assert_eq!(Template::new(text).fill(&moment), expect, "{text}");
        }
        assert!(Template::new("{{result}}").fill(&moment).starts_with("{\"response\""));
        let arguments = serde_json::json!({"a": ["{{prompt}}", 1], "b": "x"});
        assert_eq!(fill_all(&arguments, &moment), serde_json::json!({"a": ["look", 1], "b": "x"}));
    }
}
