//! Providers: one model service behind one trait.
//!
//! Contract: [`Provider::stream`] makes one attempt. It never retries, never
//! waits out a rate limit and never hides a broken stream; who calls it
//! ([`crate::turn`]) does that once for all providers. A stream that ends
//! without [`ChatDelta::Done`] was cut off, and is no answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::{Message, Usage};
use crate::price::Price;
use crate::transcript::MessageView;

/// A model service.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// What is known of the service without asking it.
    fn info(&self) -> &ProviderInfo;

    /// The models that the service offers now.
    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError>;

    /// Sends one request and returns its answer as it comes. `Err` if the service
    /// refused before it began to answer. Dropping the stream ends the request.
    async fn stream(&self, request: ChatRequest) -> Result<ChatStream, ProviderError>;

    /// What a model costs, without asking the service; `None` where it is not known.
    fn price(&self, _model: &str) -> Option<Price> {
        None
    }

    /// The longest answer in tokens that a request to this model gets if it names no length itself;
    /// `None` where it is not known.
    fn max_output(&self, _model: &str) -> Option<u64> {
        None
    }
}

/// An answer as it comes.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatDelta, ProviderError>> + Send>>;

/// What is known of a provider without asking it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderInfo {
    /// The name that preferences and `-p` use: `anthropic`, `openai`, or the `id` given in the bundle.
    pub name: String,
    /// The module that made it: `provider-anthropic`.
    pub module: String,
    /// The model used where a request names none.
    pub default_model: String,
    /// Lower goes first. 100 where the configuration says nothing.
    pub priority: i64,
    /// True for a provider that answers from a script and asks no model.
    pub scripted: bool,
    /// Whose rate limits it shares: providers with the same key wait together
    /// ([`crate::governor`]). The name, unless the module knows better; never holds a secret.
    #[serde(default, skip_serializing)]
    pub governor_key: String,
}

impl ProviderInfo {
    /// The info of a provider of priority 100 that asks a real model.
    pub fn new(name: impl Into<String>, module: impl Into<String>, default_model: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            governor_key: name.clone(),
            name,
            module: module.into(),
            default_model: default_model.into(),
            priority: 100,
            scripted: false,
        }
    }
}

/// One model of a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name that a request carries.
    pub id: String,
    /// Input and output together, in tokens, where known.
    pub context_window: Option<u64>,
    /// Longest answer in tokens, where known.
    pub max_output_tokens: Option<u64>,
}

impl ModelInfo {
    /// A model of which only the name is known.
    pub fn named(id: impl Into<String>) -> Self {
        Self { id: id.into(), context_window: None, max_output_tokens: None }
    }
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSchema {
    /// The name by which the model calls it.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub input_schema: Value,
}

/// One request to a model.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The system prompt; apart from the messages because most services take it apart.
    pub system: Option<Arc<str>>,
    /// The conversation: user, assistant and tool messages.
    pub messages: MessageView,
    /// Tools that the model may call.
    pub tools: Arc<[ToolSchema]>,
    /// The model; the provider's default where `None`.
    pub model: Option<String>,
    /// Longest answer in tokens; the provider's default where `None`.
    pub max_output_tokens: Option<u64>,
    /// 0.0 to 2.0; the service's default where `None`.
    pub temperature: Option<f64>,
    /// Whether the model shall reason before it answers.
    pub reasoning: Option<ReasoningEffort>,
    /// Names the conversation, for services that route a prompt cache by it.
    pub cache_key: Option<Arc<str>>,
}

/// How much a model shall reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ReasoningEffort {
    /// The least.
    Low,
    /// The service's middle.
    Medium,
    /// The most.
    High,
}

/// One piece of an answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ChatDelta {
    /// More text.
    Text(String),
    /// More reasoning.
    Thinking(String),
    /// A tool call began; its arguments follow inside [`ChatDelta::Done`].
    ToolCallStart {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// The whole answer; always the last piece, exactly once.
    Done(Box<ChatResponse>),
}

/// A whole answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChatResponse {
    /// The assistant's message: text or blocks, and tool calls with whole arguments.
    pub message: Message,
    /// Tokens, where the service counted them.
    pub usage: Option<Usage>,
    /// Why the model stopped.
    pub stop: StopReason,
    /// The model that answered, as the service names it.
    pub model: String,
    /// What the answer cost in millionths of a US dollar, where the service says so; otherwise it is
    /// reckoned from the usage and [`Provider::price`].
    pub cost_micro_usd: Option<u64>,
}

impl ChatResponse {
    /// An answer that ended by itself, without usage.
    pub fn new(message: Message, model: impl Into<String>) -> Self {
        let stop = if message.tool_calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse };
        Self { message, usage: None, stop, model: model.into(), cost_micro_usd: None }
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// It had said what it wanted to say.
    EndTurn,
    /// It wants tools to be run.
    ToolUse,
    /// The longest allowed answer was reached: the text is cut off.
    MaxTokens,
    /// The service's content filter or a refusal ended it.
    Refused,
    /// Another reason, in the service's words.
    Other(String),
}

/// Why a provider gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{provider}: {message}")]
#[non_exhaustive]
pub struct ProviderError {
    /// The provider's name.
    pub provider: String,
    /// What kind of failure it is: decides whether it is tried again.
    pub kind: ProviderErrorKind,
    /// One clause for a person, without secrets.
    pub message: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// How long the service asks to wait, from `Retry-After`.
    pub retry_after: Option<Duration>,
    /// More data for logs, without secrets.
    pub details: Map<String, Value>,
}

impl ProviderError {
    /// An error without status, waiting time or details.
    pub fn new(provider: impl Into<String>, kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            kind,
            message: message.into(),
            status: None,
            retry_after: None,
            details: Map::new(),
        }
    }
}

/// Kinds of provider failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// 429, 529 or the like: not a failure, but a reason to wait.
    RateLimited,
    /// 500, 502, 503, 504: the service is in trouble.
    Unavailable,
    /// No connection, a reset, a time-out of the transport.
    Transport,
    /// The stream ended without its end marker.
    StreamCut,
    /// The service sent something that is not its own protocol.
    Malformed,
    /// 401 or 403: the key is missing, wrong or not allowed.
    Auth,
    /// 400, 404, 422: the request or the model's name is wrong.
    Invalid,
    /// The conversation does not fit into the model's window.
    ContextTooLong,
    /// The account has no credit or quota left.
    Quota,
    /// The provider is not configured: no key, no script, no base URL.
    Config,
    /// Anything else that will not get better by itself.
    Other,
}

impl ProviderErrorKind {
    /// True if the same request may succeed a moment later.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Unavailable | Self::Transport | Self::StreamCut | Self::Malformed
        )
    }
}
