//! Asking a person, and showing a person what happens: the two ports to whoever sits in front.
//!
//! Guarantees: nobody there is a denial, at once; a time-out is the request's
//! default; an answer that is none of the options is a denial.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::id::SessionId;
use crate::message::{Message, ToolCall};
use crate::outcome::SessionOutcome;

/// Somebody, or something, that answers requests for approval.
#[async_trait]
pub trait Approver: Send + Sync + std::fmt::Debug {
    /// False if every request would be denied because nobody is there.
    fn can_answer(&self) -> bool;

    /// Waits for an answer. The caller bounds the wait by [`ApprovalRequest::timeout`].
    async fn request(&self, request: ApprovalRequest) -> ApprovalAnswer;
}

/// A request for approval.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// Who asks.
    pub session: SessionId,
    /// One sentence for a person.
    pub prompt: String,
    /// The tool, where one is the reason.
    pub tool: Option<String>,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

impl ApprovalRequest {
    /// A request that waits five minutes.
    pub fn new(session: SessionId, prompt: impl Into<String>) -> Self {
        Self { session, prompt: prompt.into(), tool: None, timeout: Duration::from_secs(300) }
    }
}

/// The answer to a request for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApprovalAnswer {
    /// This once.
    Allow,
    /// This, and the same again for the rest of the session.
    AllowForSession,
    /// No.
    Deny {
        /// Why, for the model.
        reason: String,
    },
}

/// Denies everything: nobody is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyToAsk;

#[async_trait]
impl Approver for NobodyToAsk {
    fn can_answer(&self) -> bool {
        false
    }

    async fn request(&self, _request: ApprovalRequest) -> ApprovalAnswer {
        ApprovalAnswer::Deny { reason: "nobody can be asked".into() }
    }
}

/// Whose doing is shown.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The session.
    pub session: SessionId,
    /// Its parent.
    pub parent: Option<SessionId>,
}

/// What a display is told. Not durable, never awaited.
#[derive(Debug)]
#[non_exhaustive]
pub enum Shown<'a> {
    /// A piece of the answer.
    Text(&'a str),
    /// A piece of reasoning.
    Thinking(&'a str),
    /// What was streamed since the last message is void: the request is made again. Told only if
    /// something was streamed.
    Restarted {
        /// Why.
        reason: &'a str,
    },
    /// A message became part of the transcript.
    Message(&'a Arc<Message>),
    /// A tool begins to run.
    ToolStarted(&'a ToolCall),
    /// A tool has ended.
    ToolEnded {
        /// The call.
        call: &'a ToolCall,
        /// The first line of its result.
        summary: &'a str,
        /// True if it failed.
        is_error: bool,
        /// How long it ran.
        took: Duration,
    },
    /// A sub-session began; shown as its own doing.
    ChildStarted {
        /// The agent that it runs; `None` for a bundle.
        agent: Option<&'a str>,
        /// Its bundle.
        bundle: &'a str,
        /// Levels below the root.
        depth: u32,
    },
    /// A sub-session has its outcome; shown as its own doing.
    ChildEnded {
        /// The outcome.
        outcome: &'a SessionOutcome,
    },
    /// A notice for a person.
    Notice {
        /// How bad.
        level: NoticeLevel,
        /// Who says it: a module's name.
        source: &'a str,
        /// The text.
        text: &'a str,
    },
}

/// How bad a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Something was left out or will be tried again.
    Warning,
    /// Something failed.
    Error,
}

/// Where progress is shown. Implementations return at once and never panic.
pub trait Display: Send + Sync + std::fmt::Debug {
    /// Shows one thing.
    fn show(&self, origin: &Origin, shown: Shown<'_>);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDisplay;

impl Display for NoDisplay {
    fn show(&self, _origin: &Origin, _shown: Shown<'_>) {}
}
