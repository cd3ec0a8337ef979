//! What an agent's command line tells, whichever program it is.
//!
//! Guarantees: both formats become these events, so that what they mean for the session is written once.

use amplifier_core::message::{ToolCall, Usage};
use amplifier_core::module::provider::ProviderErrorKind;

/// One thing that was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// Its own session, by which it goes on later.
    Session { id: String, model: Option<String> },
    /// A model call, by its id, with what it has used as far as that is told.
    Round { id: String, model: Option<String>, usage: Option<Usage> },
    /// A piece of text.
    Text(String),
    /// A piece of reasoning.
    Thinking(String),
    /// A whole message.
    Said(Said),
    /// The result of one of its own tool calls.
    Result { call: String, text: String, is_error: bool },
    /// Something for a person.
    Notice(String),
    /// The end of its turn.
    Ended(Box<End>),
}

/// A message of the agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    pub(super) thinking: Vec<(String, Option<String>)>,
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    /// What the agent's session has used up to here, where that is all that it tells.
    pub(super) total: Option<Usage>,
}

impl Said {
    pub(super) fn is_empty(&self) -> bool {
        self.thinking.is_empty() && self.text.is_empty() && self.calls.is_empty()
    }
}

/// How a turn of the agent ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct End {
    /// `None`: with an answer.
    pub(super) fault: Option<Fault>,
    /// The answer, where it is told again at the end.
    pub(super) text: Option<String>,
    /// Tokens of the turn, or of the agent's session so far.
    pub(super) usage: Option<Spent>,
    /// What it says that the turn has cost, in millionths of a US dollar.
    pub(super) cost_micro_usd: Option<u64>,
}

/// What is counted from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// Of this turn.
    Turn(Usage),
    /// Of the agent's session since its beginning.
    Total(Usage),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its limit of model calls.
    Turns,
    /// Its limit of cost.
    Budget,
    /// Its session is not known to it.
    UnknownSession,
    /// Anything else.
    Failed { kind: ProviderErrorKind, message: String },
}
