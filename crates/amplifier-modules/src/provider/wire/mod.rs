//! The five protocols: how a request is built and how an answer is read.
//!
//! Guarantees of every decoder: it ends an answer at the protocol's own end marker
//! and nowhere else; a frame that is no JSON of the protocol is a fault, never
//! skipped; frames and fields that are merely unknown are passed over.

pub(super) mod answer;
mod anthropic;
mod chat;
pub(crate) mod error;
mod gemini;
pub(super) mod image;
mod ollama;
pub(super) mod request;
mod responses;
pub(super) mod stream;

use genai::adapter::AdapterKind;
use serde_json::Value;

use answer::Answer;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// OpenAI's Chat Completions, as most other servers speak it.
    Chat,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Ollama's chat: lines of JSON.
    Ollama,
}

impl Wire {
    /// What `genai` calls it.
    pub(super) fn kind(self) -> AdapterKind {
        match self {
            Self::Chat => AdapterKind::OpenAI,
            Self::Responses => AdapterKind::OpenAIResp,
            Self::Anthropic => AdapterKind::Anthropic,
            Self::Gemini => AdapterKind::Gemini,
            Self::Ollama => AdapterKind::Ollama,
        }
    }

    /// Where a conversation is sent to, below the base URL.
    pub(super) fn path(self, model: &str) -> String {
        match self {
            Self::Chat => "chat/completions".into(),
            Self::Responses => "responses".into(),
            Self::Anthropic => "messages".into(),
            Self::Gemini => format!("models/{model}:streamGenerateContent?alt=sse"),
            Self::Ollama => "api/chat".into(),
        }
    }

    /// A reader for one answer.
    pub(super) fn decoder(self) -> Box<dyn Decoder> {
        match self {
            Self::Chat => Box::<chat::Chat>::default(),
            Self::Responses => Box::<responses::Responses>::default(),
            Self::Anthropic => Box::<anthropic::Anthropic>::default(),
            Self::Gemini => Box::<gemini::Gemini>::default(),
            Self::Ollama => Box::<ollama::Ollama>::default(),
        }
    }
}

/// Reads the frames of one answer.
pub(super) trait Decoder: Send {
    /// Reads one frame: the payload of one server-sent event, or one line.
    fn frame(&mut self, data: &str, answer: &mut Answer) -> Result<Step, Fault>;
}

/// Whether an answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    More,
    /// That was the end marker.
    End,
}

/// Why a frame is no part of an answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not of the protocol; what is wrong with it.
    Malformed(String),
    /// The service reports an error in its own words.
    Service(Value),
}

/// A frame as a JSON object; an `error` in it is the service's fault.
fn object(data: &str) -> Result<Value, Fault> {
    let value: Value = serde_json::from_str(data).map_err(|error| Fault::Malformed(error.to_string()))?;
    if !value.is_object() {
        return Err(Fault::Malformed("a chunk is no JSON object".into()));
    }
    if value.get("error").is_some_and(|error| !error.is_null()) {
        return Err(Fault::Service(value));
    }
    Ok(value)
}

/// The text at a JSON pointer; empty where there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The number at a JSON pointer; zero where there is none.
fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// The items of the array at a JSON pointer.
fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
