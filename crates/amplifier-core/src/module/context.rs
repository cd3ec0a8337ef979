//! Context managers: which part of a conversation a request carries.
//!
//! Contract: a manager keeps every message that it was given; what it leaves out
//! of a view, it leaves out of that view only. A view never holds a tool result
//! without its call, or a call without its results.

use std::sync::Arc;

use async_trait::async_trait;

use crate::message::Message;
use crate::transcript::MessageView;

/// A context manager.
#[async_trait]
pub trait ContextManager: Send + Sync + std::fmt::Debug {
    /// Takes messages that have become part of the transcript.
    fn append(&self, messages: &[Arc<Message>]);

    /// Replaces the conversation, at resume.
    fn replace(&self, messages: Vec<Arc<Message>>);

    /// All messages.
    fn messages(&self) -> MessageView;

    /// What the next request shall carry.
    async fn view(&self, budget: ViewBudget) -> ContextView;
}

/// How much room a request has.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ViewBudget {
    /// Tokens that the system prompt, tools and additions already take.
    pub reserved_tokens: u64,
    /// The model's window in tokens, where known.
    pub window_tokens: Option<u64>,
    /// True after the provider said that the conversation is too long: leave out more.
    pub squeeze: bool,
}

/// What a request carries of the conversation.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ContextView {
    /// The messages.
    pub messages: MessageView,
    /// An estimate of their tokens.
    pub tokens: u64,
    /// How many messages were left out; zero if the view is whole.
    pub left_out: usize,
}

impl ContextView {
    /// A view with nothing left out.
    pub fn whole(messages: MessageView, tokens: u64) -> Self {
        Self { messages, tokens, left_out: 0 }
    }
}
