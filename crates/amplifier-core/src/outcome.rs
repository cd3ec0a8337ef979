//! How a session stands, and how it ended.
//!
//! Guarantees: a [`SessionOutcome`] is final for its activation; there is no
//! outcome that means "perhaps".

use serde::{Deserialize, Serialize};

use crate::cancel::CancelReason;
use crate::id::Activation;
use crate::limits::LimitReached;
use crate::message::Usage;
use crate::module::provider::ProviderErrorKind;

/// Where a session stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionStatus {
    /// It is owned by a live process.
    Running,
    /// Its last activation has an outcome.
    Ended,
}

/// How an activation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutcomeKind {
    /// It answered.
    Completed,
    /// A provider, a module or a hook failed it.
    Failed,
    /// Its deadline passed.
    TimedOut,
    /// Somebody stopped it.
    Cancelled,
    /// A limit or budget was used up.
    LimitReached,
    /// Its owner died without recording an outcome.
    Lost,
}

impl OutcomeKind {
    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::LimitReached => "limit_reached",
            Self::Lost => "lost",
        }
    }
}

/// What kind of error ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// A provider failed for good.
    Provider,
    /// A provider's rate limit outlasted the patience.
    RateLimited,
    /// A hook refused the prompt or the model call.
    Denied,
    /// A module panicked or broke its contract.
    Module,
    /// The storage failed.
    Storage,
    /// A deadline passed.
    TimedOut,
    /// Somebody asked for it.
    Cancelled,
    /// A limit was reached.
    Limit,
    /// The owner is gone.
    Lost,
}

/// The error of an outcome that is not `Completed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OutcomeError {
    /// What kind.
    pub kind: FailureKind,
    /// One clause for a person, without secrets.
    pub message: String,
    /// The provider's failure, where one is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderErrorKind>,
    /// The limit, where one is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitReached>,
}

impl OutcomeError {
    /// An error without provider or limit.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), provider: None, limit: None }
    }
}

/// How one activation of a session ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionOutcome {
    /// How it ended.
    pub kind: OutcomeKind,
    /// The last text of the model; what there was of it where the outcome is not `Completed`.
    pub output: String,
    /// Why, where the outcome is not `Completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OutcomeError>,
    /// The activation that ended.
    pub activation: Activation,
    /// Tokens of this activation.
    #[serde(default)]
    pub usage: Usage,
    /// Cost of this activation in millionths of a US dollar; `None` where the price of an answer is
    /// not known, which is not zero.
    #[serde(default)]
    pub cost_micro_usd: Option<u64>,
    /// Model calls of this activation.
    #[serde(default)]
    pub turns: u32,
    /// Time of this activation in milliseconds, by the monotonic clock.
    #[serde(default)]
    pub duration_ms: u64,
    /// True if a tool call was denied because nobody could be asked.
    #[serde(default)]
    pub denied_unasked: bool,
    /// True if an answer exists, but the storage failed to record it whole.
    #[serde(default)]
    pub unrecorded: bool,
}

impl SessionOutcome {
    /// An outcome without usage.
    pub fn new(
        kind: OutcomeKind,
        activation: Activation,
        output: impl Into<String>,
        error: Option<OutcomeError>,
    ) -> Self {
        Self {
            kind,
            output: output.into(),
            error,
            activation,
            usage: Usage::default(),
            cost_micro_usd: None,
            turns: 0,
            duration_ms: 0,
            denied_unasked: false,
            unrecorded: false,
        }
    }

    /// True for `Completed`.
    pub fn is_completed(&self) -> bool {
        self.kind == OutcomeKind::Completed
    }
}

/// The outcome and error that a reason for cancellation leads to.
pub fn outcome_of_cancel(reason: Option<CancelReason>) -> (OutcomeKind, OutcomeError) {
    match reason {
        Some(CancelReason::TimedOut) => {
            (OutcomeKind::TimedOut, OutcomeError::new(FailureKind::TimedOut, "the session's time is up"))
        }
        Some(CancelReason::Dropped) => (
            OutcomeKind::Cancelled,
            OutcomeError::new(FailureKind::Cancelled, "the caller stopped waiting for the session"),
        ),
        Some(CancelReason::Shutdown) => {
            (OutcomeKind::Cancelled, OutcomeError::new(FailureKind::Cancelled, "the host shut down"))
        }
        Some(CancelReason::Requested) | None => {
            (OutcomeKind::Cancelled, OutcomeError::new(FailureKind::Cancelled, "the session was cancelled"))
        }
    }
}
