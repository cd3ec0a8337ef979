//! The session: a handle for many, a driver for one.
//!
//! Guarantees: turns of a session run one after the other, in the task that holds
//! its [`SessionDriver`]. An [`AmplifierSession`] can be cloned and dropped freely;
//! it never runs a turn in its caller's task, so a caller that goes away cuts
//! nothing off. The outcome is set once.

mod builder;
mod driver;
mod ledger;
mod mailbox;
mod progress;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::budget::Budget;
use crate::cancel::{CancelLevel, CancelReason};
use crate::env::{EmitError, SessionEnv};
use crate::event::{CustomName, Event, NewEvent};
use crate::governor::Governor;
use crate::hook::HookRegistry;
use crate::id::{Activation, EventId, SessionId};
use crate::limits::Limits;
use crate::message::Usage;
use crate::module::context::ContextManager;
use crate::module::orchestrator::Orchestrator;
use crate::module::tool::ToolSet;
use crate::outcome::{OutcomeError, OutcomeKind, SessionOutcome};
use crate::payload::Payload;
use crate::permission::Permissions;
use crate::transcript::{MessageView, Transcript};
use crate::turn::{Choice, ModelOptions, RetryPolicy, TurnError};
use ledger::Ledger;
use progress::{End, Progress};

pub use builder::{BuildError, SessionBuilder};
pub use driver::{Command, SessionDriver};
pub use progress::Settler;

/// Renders the system prompt, anew for each request, so that edited files are picked up.
pub trait SystemPrompt: Send + Sync + std::fmt::Debug {
    /// The prompt; `None` for a session without one.
    fn render(&self) -> Option<Arc<str>>;
}

/// A system prompt that stays as it is.
#[derive(Debug, Clone, Default)]
pub struct FixedPrompt(pub Option<Arc<str>>);

impl SystemPrompt for FixedPrompt {
    fn render(&self) -> Option<Arc<str>> {
        self.0.clone()
    }
}

/// The inside of a session.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) env: SessionEnv,
    pub(crate) choices: Vec<Choice>,
    pub(crate) tools: ToolSet,
    /// Estimated tokens of the tools' schemas.
    pub(crate) schema_tokens: u64,
    pub(crate) hooks: HookRegistry,
    pub(crate) orchestrator: Arc<dyn Orchestrator>,
    pub(crate) context: Arc<dyn ContextManager>,
    pub(crate) system: Arc<dyn SystemPrompt>,
    pub(crate) transcript: Arc<dyn Transcript>,
    pub(crate) permissions: Permissions,
    pub(crate) limits: Limits,
    /// Who set the limits, for refusals.
    pub(crate) limits_from: String,
    pub(crate) budget: Arc<Budget>,
    pub(crate) options: ModelOptions,
    pub(crate) retry: RetryPolicy,
    pub(crate) governor: Option<Arc<dyn Governor>>,
    progress: Progress,
    // Held for a few fields at a time; never across an await.
    ledger: Mutex<Ledger>,
}

impl Core {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters what the activation has used so far.
    pub(crate) fn used(&self, mut outcome: SessionOutcome) -> SessionOutcome {
        let ledger = self.ledger();
        outcome.usage = ledger.usage;
        outcome.cost_micro_usd = ledger.cost_micro_usd;
        outcome.turns = ledger.turns;
        outcome.denied_unasked = ledger.denied_unasked;
        outcome
    }
}

/// A session. A cheap handle: clone it, drop it, send it.
#[derive(Debug, Clone)]
pub struct AmplifierSession {
    core: Arc<Core>,
    commands: mailbox::Sender,
}

/// The answer to one user message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnReply {
    /// The text.
    pub text: String,
    /// Tokens of the activation so far.
    pub usage: Usage,
    /// Model calls of the activation so far.
    pub turns: u32,
}

/// Why a session did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session has ended; resume it to go on.
    #[error("session {session} has ended; resume it to go on")]
    Ended {
        /// The session.
        session: SessionId,
    },
    /// The turn failed; the session goes on.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl AmplifierSession {
    /// Begins to build a session. For `spawn_bundle` alone: it is the one path by which sessions start.
    pub fn builder(env: SessionEnv) -> SessionBuilder {
        SessionBuilder::new(env)
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.core.env.session
    }

    /// The parent's id.
    pub fn parent_id(&self) -> Option<&SessionId> {
        self.core.env.parent.as_ref()
    }

    /// How often the session has been opened.
    pub fn activation(&self) -> Activation {
        self.core.env.activation
    }

    /// The session's surroundings.
    pub fn env(&self) -> &SessionEnv {
        &self.core.env
    }

    /// The session's permissions.
    pub fn permissions(&self) -> &Permissions {
        &self.core.permissions
    }

    /// The session's limits.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }

    /// The tools that the model may call.
    pub fn tools(&self) -> &ToolSet {
        &self.core.tools
    }

    /// The conversation so far.
    pub fn messages(&self) -> MessageView {
        self.core.context.messages()
    }

    /// Tokens of this activation so far.
    pub fn usage(&self) -> Usage {
        self.core.ledger().usage
    }

    /// What this activation has cost so far, in millionths of a US dollar; `None` if that is not known.
    pub fn cost_micro_usd(&self) -> Option<u64> {
        self.core.ledger().cost_micro_usd
    }

    /// Sends a user message and waits for the answer. Dropping the future does not cut the turn off.
    pub async fn execute(&self, text: impl Into<String>) -> Result<TurnReply, SessionError> {
        let ended = || SessionError::Ended { session: self.id().clone() };
        let (reply, answer) = oneshot::channel();
        let command = Command::Execute { text: text.into(), reply };
        self.commands.send(command).await.map_err(|_| ended())?;
        Ok(answer.await.map_err(|_| ended())??)
    }

    /// Lets the session end after the turn that runs, and waits for its outcome.
    pub async fn end(&self) -> Arc<SessionOutcome> {
        let _ = self.commands.send(Command::End).await;
        self.outcome().await
    }

    /// Asks the session to stop.
    pub fn cancel(&self, level: CancelLevel) {
        self.core.env.cancel.cancel(level, CancelReason::Requested);
    }

    /// Waits for the outcome. Every session gets one.
    pub async fn outcome(&self) -> Arc<SessionOutcome> {
        match self.core.progress.end().await {
            End::Outcome(outcome) => outcome,
            End::Lost => Arc::new(driver::lost(self.activation())),
        }
    }

    /// Waits until the first turn of this activation is over, or the session.
    pub async fn first_turn(&self) {
        self.core.progress.first_turn().await;
    }

    /// Why the first turn of this activation brought no answer; `None` if it did, or runs.
    pub fn first_failure(&self) -> Option<String> {
        self.core.progress.first_failure()
    }

    /// The provider and model that answered last, as `provider/model`.
    pub fn model(&self) -> Option<String> {
        self.core.ledger().model.clone()
    }

    /// The outcome, if there is one already.
    pub fn try_outcome(&self) -> Option<Arc<SessionOutcome>> {
        self.core.progress.outcome()
    }

    /// The outcome of an activation that its driver did not bring to an end, with what it has used so far.
    pub fn cut_off(&self, kind: OutcomeKind, error: OutcomeError, duration_ms: u64) -> SessionOutcome {
        let mut outcome = self.core.used(SessionOutcome::new(kind, self.activation(), "", Some(error)));
        outcome.output = self.core.ledger().output_so_far();
        outcome.duration_ms = duration_ms;
        outcome
    }

    /// Emits an event in the session's name. `Ok` when the router has it.
    pub async fn emit_event<N>(&self, name: N, payload: impl Into<Payload>) -> Result<EventId, EmitError>
    where
        N: TryInto<CustomName>,
        EmitError: From<N::Error>,
    {
        let event = NewEvent::custom(name.try_into()?, payload).from_session(self.id().clone());
        self.core.env.events.emit(event).await
    }

    /// Emits a typed event in the session's name.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<EventId, EmitError> {
        self.emit_event(E::NAME, Payload::encode(event)?).await
    }
}
