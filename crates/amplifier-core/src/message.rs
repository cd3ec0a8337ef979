//! Messages of a conversation, in the shape that the reference system keeps on disk.
//!
//! Guarantees: a message that was read and is written again keeps every field,
//! also those that this program does not know. `null` is not dropped, but for fields that are optional here.
//! Never here: the order or durability of messages; that is [`crate::transcript`].

mod json;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Instructions of the bundle; never stored in a transcript.
    System,
    /// Like `System`, for providers that tell them apart; never stored in a transcript.
    Developer,
    /// A person, or the program that spawned the session.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

/// The body of a message: plain text, or blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Blocks in order.
    Blocks(Vec<ContentBlock>),
    /// Whatever else another program wrote; kept as it was.
    Other(Value),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// One block of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ContentBlock {
    /// A block whose type is known.
    Known(KnownBlock),
    /// A block of a type that this program does not know; kept as it was.
    Other(Map<String, Value>),
}

/// The block types that this program reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KnownBlock {
    /// Text for the reader.
    Text {
        /// The text.
        text: String,
        /// Fields of other programs; kept as they were.
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// Reasoning of the model, with the provider's signature where it gives one.
    Thinking {
        /// The text of the reasoning.
        thinking: String,
        /// An opaque proof that providers want back unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Fields of other programs; kept as they were.
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// An image.
    Image {
        /// The image itself.
        source: ImageSource,
        /// Fields of other programs; kept as they were.
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImageSource {
    /// In the message.
    Base64 {
        /// For example `image/png`.
        media_type: String,
        /// The base64 text.
        data: String,
        /// Fields of other programs; kept as they were.
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
}

impl ImageSource {
    /// An image as base64 text.
    pub fn base64(media_type: impl Into<String>, data: impl Into<String>) -> Self {
        Self::Base64 { media_type: media_type.into(), data: data.into(), extra: Map::new() }
    }
}

impl ContentBlock {
    /// A block of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Known(KnownBlock::Text { text: text.into(), extra: Map::new() })
    }

    /// A block of reasoning.
    pub fn thinking(thinking: impl Into<String>, signature: Option<String>) -> Self {
        Self::Known(KnownBlock::Thinking { thinking: thinking.into(), signature, extra: Map::new() })
    }

    /// An image.
    pub fn image(source: ImageSource) -> Self {
        Self::Known(KnownBlock::Image { source, extra: Map::new() })
    }
}

/// A model's wish to have a tool run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// The provider's id of the call; its result carries it back.
    pub id: String,
    /// The tool's name. Written as `tool`, read as `tool`, `name` or `function.name`.
    #[serde(rename = "tool")]
    pub name: String,
    /// The arguments, by the tool's schema an object.
    pub arguments: Value,
    /// Fields of other programs, and provider data such as thought signatures; kept as they were.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl<'de> Deserialize<'de> for ToolCall {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let missing = |field| serde::de::Error::missing_field(field);
        let mut extra = Map::deserialize(deserializer)?;
        let text = |extra: &mut Map<String, Value>, key: &str| match extra.shift_remove(key) {
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                extra.insert(key.to_owned(), other);
                None
            }
            None => None,
        };
        let id = text(&mut extra, "id").ok_or_else(|| missing("id"))?;
        let name = text(&mut extra, "tool").or_else(|| text(&mut extra, "name"));
        let function = |key: &str| extra.get("function").and_then(|function| function.get(key));
        let name = match name {
            Some(name) => name,
            None => function("name").and_then(Value::as_str).ok_or_else(|| missing("tool"))?.to_owned(),
        };
        let arguments = match (function("arguments"), extra.contains_key("arguments")) {
            (Some(Value::String(json)), false) => {
                serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.clone()))
            }
            (Some(value), false) => value.clone(),
            _ => extra.shift_remove("arguments").unwrap_or_default(),
        };
        Ok(Self { id, name, arguments, extra })
    }
}

impl ToolCall {
    /// A call without extra fields.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Self {
        Self { id: id.into(), name: name.into(), arguments, extra: Map::new() }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// Tools that the assistant wants to have run.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool result: the call that it answers.
    pub tool_call_id: Option<String>,
    /// Of a tool result: the tool's name.
    pub name: Option<String>,
    /// When it was said. In JSON the last entry of the metadata, where one of another form stays as it is.
    pub timestamp: Option<Timestamp>,
    /// Free data beside the message.
    pub metadata: Map<String, Value>,
    /// Fields of other programs; kept as they were.
    pub extra: Map<String, Value>,
}

/// Key in [`Message::metadata`] of a tool result that no tool gave: the session was cut off.
pub const INTERRUPTED: &str = "interrupted";
/// Key in [`Message::metadata`] of a tool result that reports a failure.
pub const IS_ERROR: &str = "is_error";
/// Key in [`Message::metadata`] of what another program's agent said or did, and in [`ToolCall::extra`] of a call
/// that it made itself: such a call is never run here.
pub const EXTERNAL: &str = "external";
/// Key in [`Message::metadata`] of an answer that did not come from the session's first choice: the provider's name.
pub const PROVIDER: &str = "provider";

impl Message {
    /// A message of plain text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: Content::Text(text.into()),
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
            timestamp: None,
            metadata: Map::new(),
            extra: Map::new(),
        }
    }

    /// A message of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// A message of the model, without tool calls.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// A system prompt.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// The result of a tool call.
    pub fn tool_result(call: &ToolCall, text: impl Into<String>, is_error: bool) -> Self {
        let mut message = Self::new(Role::Tool, text);
        message.tool_call_id = Some(call.id.clone());
        message.name = Some(call.name.clone());
        if is_error {
            message.metadata.insert(IS_ERROR.into(), Value::Bool(true));
        }
        message
    }

    /// The same with images behind its text.
    #[must_use]
    pub fn with_images(mut self, images: Vec<ImageSource>) -> Self {
        if !images.is_empty() {
            let text = ContentBlock::text(self.text());
            self.content = Content::Blocks(
                std::iter::once(text).chain(images.into_iter().map(ContentBlock::image)).collect(),
            );
        }
        self
    }

    /// Notes when the message was said, unless that is known in whatever form.
    pub fn stamp(&mut self, at: Timestamp) {
        if self.timestamp.is_none() && !self.metadata.contains_key(json::TIMESTAMP) {
            self.timestamp = Some(at);
        }
    }

    /// True for a tool result that reports a failure.
    pub fn is_error(&self) -> bool {
        self.metadata.get(IS_ERROR).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The text of the message: its text blocks joined, reasoning left out.
    pub fn text(&self) -> String {
        match &self.content {
            Content::Text(text) => text.clone(),
            Content::Blocks(blocks) => blocks.iter().filter_map(block_text).collect(),
            Content::Other(Value::Null) => String::new(),
            Content::Other(value) => value.to_string(),
        }
    }

    /// An estimate of the tokens that the message costs: one for each four bytes of its JSON, plus four.
    pub fn estimated_tokens(&self) -> u64 {
        let content = match &self.content {
            Content::Text(text) => text.len(),
            Content::Blocks(blocks) => blocks.iter().map(block_len).sum(),
            Content::Other(value) => value.to_string().len(),
        };
        let calls: usize =
            self.tool_calls.iter().map(|call| call.name.len() + json_len(&call.arguments) + 16).sum();
        4 + ((content + calls) as u64).div_ceil(4)
    }
}

fn block_text(block: &ContentBlock) -> Option<&str> {
    match block {
        ContentBlock::Known(KnownBlock::Text { text, .. }) => Some(text),
        ContentBlock::Other(map) => map.get("text").and_then(Value::as_str),
        ContentBlock::Known(_) => None,
    }
}

fn block_len(block: &ContentBlock) -> usize {
    match block {
        ContentBlock::Known(KnownBlock::Text { text, .. }) => text.len(),
        ContentBlock::Known(KnownBlock::Thinking { thinking, .. }) => thinking.len(),
        // Providers count an image by its pixels; 1,500 tokens is what a large one costs.
        ContentBlock::Known(KnownBlock::Image { .. }) => 6_000,
        ContentBlock::Other(map) => map.values().map(json_len).sum(),
    }
}

fn json_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 6,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(json_len).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() + 4 + json_len(value)).sum::<usize>() + 2
        }
    }
}

/// Tokens as a provider counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    #[serde(default)]
    pub output_tokens: u64,
    /// Of the input: read from the provider's prompt cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Of the input: written to the provider's prompt cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Of the output: spent on reasoning.
    #[serde(default)]
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cache_read_tokens = self.cache_read_tokens.saturating_add(other.cache_read_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(other.cache_write_tokens);
        self.reasoning_tokens = self.reasoning_tokens.saturating_add(other.reasoning_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(line: &str) -> Message {
        let message: Message = serde_json::from_str(line).unwrap();
        let again: Value = serde_json::to_value(&message).unwrap();
        let mut before: Value = serde_json::from_str(line).unwrap();
        // `name` is read as `tool`; nothing else may change.
        for call in before.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(name) = call.as_object_mut().and_then(|call| call.remove("name")) {
                call["tool"] = name;
            }
        }
        assert_eq!(again, before);
        message
    }

    #[test]
    fn messages_of_the_reference_keep_every_field() {
        round_trip(r#"{"role":"user","content":"hi","metadata":{"timestamp":"2026-01-01T00:00:00Z"}}"#);
        let m = round_trip(
            r#"{"role":"assistant","content":"","tool_calls":[{"id":"c1","name":"bash","arguments":{"x":null}}],"thinking_text":"hm"}"#,
        );
        assert_eq!(m.tool_calls[0].name, "bash");
        assert_eq!(m.extra["thinking_text"], "hm");
        round_trip(r#"{"role":"tool","content":"{\"a\":1}","tool_call_id":"c1","name":"bash"}"#);
        let m = round_trip(
            r#"{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"s"},{"type":"text","text":"b"},{"type":"new","z":1}]}"#,
        );
        assert_eq!(m.text(), "b");
    }

    #[test]
    fn blocks_keep_the_fields_of_other_programs() {
        let m = round_trip(
            r#"{"role":"assistant","content":[{"type":"text","text":"a","visibility":null,"cache_control":{"type":"x"}},{"type":"thinking","thinking":"b","content":[1]},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aW1n","width":2},"alt":"c"}]}"#,
        );
        assert_eq!(m.text(), "a");
        let Content::Blocks(blocks) = &m.content else { panic!("{m:?}") };
        assert!(blocks.iter().all(|block| matches!(block, ContentBlock::Known(_))), "{blocks:?}");
    }

    #[test]
    fn an_image_has_the_shape_of_the_reference() {
        let line = r#"{"role":"tool","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aW1n"}}],"tool_call_id":"c1"}"#;
        let read = round_trip(line);
        let mut made =
            Message::new(Role::Tool, "see").with_images(vec![ImageSource::base64("image/png", "aW1n")]);
        made.tool_call_id = Some("c1".into());
        assert_eq!(made, read);
        assert_eq!((made.text().as_str(), made.estimated_tokens()), ("see", 1_505));
        // One that lies elsewhere is kept as it was.
        let m = round_trip(
            r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://h/x.png"}}]}"#,
        );
        assert!(matches!(&m.content, Content::Blocks(blocks) if matches!(blocks[0], ContentBlock::Other(_))));
    }

    #[test]
    fn other_shapes_are_read_too() {
        let m: Message =
            serde_json::from_str(r#"{"role":"assistant","content":null,"tool_calls":null}"#).unwrap();
        assert_eq!(m.text(), "");
        assert!(m.tool_calls.is_empty());
    }

    #[test]
    fn tool_calls_of_other_shapes_are_read_too() {
        let check = |call: &str, name: &str, arguments: Value| {
            let read: ToolCall = serde_json::from_str(call).unwrap();
            assert_eq!((read.name.as_str(), &read.arguments), (name, &arguments), "{call}");
            let again: ToolCall = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
            assert_eq!(again, read, "{call}");
        };
        let a1 = serde_json::json!({"a": 1});
        check(r#"{"id":"c","tool":"t","name":"n","arguments":{"a":1}}"#, "t", a1.clone());
        let function = r#"{"id":"c","type":"function","function":{"name":"t","arguments":"{\"a\":1}"}}"#;
        check(function, "t", a1);
        check(r#"{"id":"c","tool":"t"}"#, "t", Value::Null);
        for bad in [r#"{"tool":"t"}"#, r#"{"id":"c"}"#, r#"{"id":1,"tool":"t"}"#] {
            assert!(serde_json::from_str::<ToolCall>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_estimated_from_bytes() {
        assert_eq!(Message::user("x".repeat(400)).estimated_tokens(), 104);
    }
}
