//! The JSON of a message: the keys of the reference system, in its order.
//!
//! Guarantees: a time that this program wrote is taken out of the metadata and put back to the same
//! place, byte for byte; every other time stays in the metadata as it was.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Content, Message, Role, ToolCall};
use crate::clock::Timestamp;

/// The metadata's key for the time.
pub(super) const TIMESTAMP: &str = "timestamp";

#[derive(Serialize)]
struct Written<'a> {
    role: Role,
    content: &'a Content,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata<'a>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

/// Free data, and behind it the time.
struct Metadata<'a>(&'a Map<String, Value>, Option<Timestamp>);

impl Metadata<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_none()
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(free, timestamp) = self;
        let mut map = serializer.serialize_map(Some(free.len() + usize::from(timestamp.is_some())))?;
        for (key, value) in free.iter() {
            map.serialize_entry(key, value)?;
        }
        if let Some(timestamp) = timestamp {
            map.serialize_entry(TIMESTAMP, timestamp)?;
        }
        map.end()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            role: self.role,
            content: &self.content,
            tool_calls: &self.tool_calls,
            tool_call_id: self.tool_call_id.as_deref(),
            name: self.name.as_deref(),
            metadata: Metadata(&self.metadata, self.timestamp),
            extra: &self.extra,
        };
        written.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(expecting = "struct Message")]
struct Read {
    role: Role,
    #[serde(default)]
    content: Content,
    #[serde(default, deserialize_with = "null_is_empty")]
    tool_calls: Vec<ToolCall>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    metadata: Map<String, Value>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

fn null_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { role, content, tool_calls, tool_call_id, name, mut metadata, extra } =
            Read::deserialize(deserializer)?;
        let timestamp = last_timestamp(&metadata);
        if timestamp.is_some() {
            metadata.shift_remove(TIMESTAMP);
        }
        Ok(Self { role, content, tool_calls, tool_call_id, name, timestamp, metadata, extra })
    }
}

/// The time behind all other metadata, if it is written as this program writes it.
fn last_timestamp(metadata: &Map<String, Value>) -> Option<Timestamp> {
    let (key, value) = metadata.iter().next_back()?;
    let text = value.as_str().filter(|_| key == TIMESTAMP)?;
    text.parse().ok().filter(|time: &Timestamp| time.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_goes_out_as_it_came_in() {
        for (metadata, typed) in [
            (r#"{"timestamp":"2026-01-01T00:00:00.000001Z"}"#, true),
            (r#"{"a":1,"timestamp":"2026-01-01T00:00:00.000000Z"}"#, true),
            (r#"{"timestamp":"2026-01-01T00:00:00.000000Z","a":1}"#, false),
            (r#"{"timestamp":"2026-01-01T00:00:00Z"}"#, false),
            (r#"{"timestamp":"2026-01-01T00:00:00.000000+00:00"}"#, false),
            (r#"{"timestamp":1}"#, false),
        ] {
            let line = format!(r#"{{"role":"user","content":"hi","metadata":{metadata},"b":2}}"#);
            let mut message: Message = serde_json::from_str(&line).unwrap();
            assert_eq!(message.timestamp.is_some(), typed, "{line}");
            message.stamp(Timestamp::from_micros(7));
            assert_eq!(serde_json::to_string(&message).unwrap(), line);
        }
    }

    #[test]
    fn a_stamp_stands_behind_what_was_there() {
        let mut message = Message::user("hi");
        message.metadata.insert("source".into(), "hook".into());
        message.stamp(Timestamp::from_micros(0));
        message.stamp(Timestamp::from_micros(1));
        let line = r#"{"role":"user","content":"hi","metadata":{"source":"hook","timestamp":"1970-01-01T00:00:00.000000Z"}}"#;
        assert_eq!(serde_json::to_string(&message).unwrap(), line);
    }
}
