//! Arguments of a command with what an event says.
//!
//! Guarantees: an unknown placeholder is refused when it is read; what an event says stays within one
//! argument, holds no control character, is bounded, and never begins an argument with `-`, which
//! programs would read as an option. Never here: a shell.

use serde_json::Value;

use super::message::{Notification, tidy};

/// Longest text that one placeholder becomes, in bytes.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// One argument: text and placeholders, as in `session {session}: {summary}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Placeholder {
    Summary,
    Event,
    Id,
    Session,
    Time,
    Project,
    Attempt,
    Data(Vec<String>),
}

/// A placeholder that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{{{name}}}` is not known; there are {{summary}}, {{event}}, {{id}}, {{session}}, {{time}}, {{project}}, {{attempt}} and {{data.field}}; a brace is written twice"
)]
pub struct UnknownPlaceholder {
    name: String,
}

impl Argument {
    /// Reads an argument; `{{` and `}}` are braces.
    pub fn parse(text: &str) -> Result<Self, UnknownPlaceholder> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some(after) = tail.strip_prefix("{{").or_else(|| tail.strip_prefix("}}")) {
                plain.push_str(&tail[..1]);
                rest = after;
                continue;
            }
            let inner = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
            let known = inner.and_then(|(name, after)| Some((placeholder(name)?, after)));
            let Some((value, after)) = known else {
                let name = inner.map_or(tail, |(name, _)| name);
                return Err(UnknownPlaceholder { name: name.escape_debug().take(60).collect() });
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Value(value));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The text, if nothing of an event stands in it.
    pub fn literal(&self) -> Option<String> {
        self.0
            .iter()
            .map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
            .collect()
    }

    /// The argument for an event. A field that it lacks is empty.
    pub fn render(&self, of: &Notification) -> String {
        let rendered: String = self.0.iter().map(|part| part.render(of)).collect();
        let of_event = matches!(self.0.first(), Some(Part::Value(_)));
        if of_event && rendered.starts_with('-') { format!(" {rendered}") } else { rendered }
    }
}

fn placeholder(name: &str) -> Option<Placeholder> {
    Some(match name {
        "summary" => Placeholder::Summary,
        "event" => Placeholder::Event,
        "id" => Placeholder::Id,
        "session" => Placeholder::Session,
        "time" => Placeholder::Time,
        "project" => Placeholder::Project,
        "attempt" => Placeholder::Attempt,
        "data" => Placeholder::Data(Vec::new()),
        path => {
            let fields: Vec<String> = path.strip_prefix("data.")?.split('.').map(str::to_owned).collect();
            let well_formed =
                fields.iter().all(|field| !field.is_empty() && !field.contains(['{', '"', ' ']));
            well_formed.then_some(Placeholder::Data(fields))?
        }
    })
}

impl Part {
    fn render(&self, of: &Notification) -> String {
        let event = &of.event;
        let value = match self {
            Self::Text(text) => return text.clone(),
            Self::Value(Placeholder::Summary) => of.summary.clone(),
            Self::Value(Placeholder::Event) => event.event_type.to_string(),
            Self::Value(Placeholder::Id) => event.id.to_string(),
            Self::Value(Placeholder::Session) => {
                event.source.as_ref().map(ToString::to_string).unwrap_or_default()
            }
            Self::Value(Placeholder::Time) => event.at.to_string(),
            Self::Value(Placeholder::Project) => event.scope.to_string(),
            Self::Value(Placeholder::Attempt) => of.attempt.to_string(),
            Self::Value(Placeholder::Data(fields)) => {
                let data: Value = event.payload.decode().unwrap_or_default();
                let found = fields.iter().try_fold(&data, |value, field| match value {
                    Value::Array(items) => items.get(field.parse::<usize>().ok()?),
                    value => value.get(field),
                });
                match found {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                }
            }
        };
        tidy(&value, MAX_VALUE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::notification;
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_become_what_the_event_says() {
        let of = notification(
            json!({"a": {"b": [1, "two\n\0lines"]}, "flag": "--exec=rm", "long": "x".repeat(20_000)}),
        );
        for (text, expect) in [
            ("{event}", "work:done".to_owned()),
            ("{{{event}}}", "{work:done}".to_owned()),
            ("on {data.a.b.0}!", "on 1!".to_owned()),
            ("{data.a.b.1}", "two  lines".to_owned()),
            ("{data.a.b.9}{data.nothing}", String::new()),
            ("{data.a.b}", "[1,\"two\\n\\u0000lines\"]".to_owned()),
            ("{data.flag}", " --exec=rm".to_owned()),
            ("x{data.flag}", "x--exec=rm".to_owned()),
            ("--title={attempt}", "--title=3".to_owned()),
            ("{project}", "/p".to_owned()),
            ("", String::new()),
            ("plain", "plain".to_owned()),
        ] {
            assert_eq!(Argument::parse(text).unwrap().render(&of), expect, "{text}");
        }
        let long = Argument::parse("{data.long}").unwrap().render(&of);
        assert!(long.len() <= MAX_VALUE_BYTES && long.ends_with('…'), "{}", long.len());
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for wrong in [
            "{",
            "}",
            "{summary",
            "summary}",
            "{Summary}",
            "{data.}",
            "{data..a}",
            "{}",
            "{env.HOME}",
            "{ summary }",
        ] {
            let error = Argument::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("{summary}"), "{wrong}: {error}");
        }
    }
}
