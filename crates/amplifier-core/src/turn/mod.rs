//! One turn: a user message, and what it takes to answer it.
//!
//! Guarantees: everything that an orchestrator does goes through [`Turn`]. A
//! message with tool calls is durable before the first of its tools starts, each
//! result before the next model call. Every tool call gets exactly one result,
//! also when the turn is cut off: then it is marked interrupted, or made again at the
//! next activation if its tool declares that this does no harm.

mod attempts;
mod choice;
mod external;
mod gate;
mod model;
mod reopened;
mod reserve;
mod retry;
mod stream;
mod tool;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::approval::Shown;
use crate::budget::BudgetRefusal;
use crate::cancel::CancelLevel;
use crate::env::SessionEnv;
use crate::event::EventType;
use crate::hook::{Injection, Round};
use crate::id::SessionId;
use crate::limits::LimitReached;
use crate::message::{INTERRUPTED, Message, Role, ToolCall};
use crate::module::provider::{ProviderError, ReasoningEffort};
use crate::module::tool::ToolSet;
use crate::session::Core;
use crate::transcript::TranscriptError;

pub(crate) use choice::signature;

pub use choice::Choice;
pub use external::Piece;
pub use model::ModelOptions;
pub use reserve::LEAST_OUTPUT;
pub use retry::RetryPolicy;
pub use tool::MAX_RESULT_BYTES;

/// Why a turn ended without an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// The session was asked to stop.
    #[error("the turn was cancelled")]
    Cancelled,
    /// A limit of the session is reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A budget of the session or an ancestor is used up.
    #[error(transparent)]
    Budget(#[from] BudgetRefusal),
    /// A cost limit is set, and nobody knows what this call may cost.
    #[error(
        "a cost limit is set, but no price of model {model} is known; name it under `prices:` in the config of provider {provider}, or lift the limit"
    )]
    UnknownPrice {
        /// The provider.
        provider: String,
        /// The model.
        model: String,
    },
    /// The provider failed for good.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A hook or person refused the prompt or a model call.
    #[error("{hook} refused: {reason}")]
    Denied {
        /// Who refused.
        hook: String,
        /// Why.
        reason: String,
    },
    /// The transcript could not be written.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
    /// A module panicked or broke its contract.
    #[error("module {module} failed: {message}")]
    Module {
        /// The module.
        module: String,
        /// What happened.
        message: String,
    },
}

/// One turn of a session, as its orchestrator sees it.
#[derive(Debug)]
pub struct Turn<'a> {
    core: &'a Core,
    /// How much the model shall reason where the session does not say.
    reasoning: Option<ReasoningEffort>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        Self { core, reasoning: None }
    }

    /// Lets the model reason in this turn, unless the session's options say how much.
    pub fn reason(&mut self, effort: ReasoningEffort) {
        self.reasoning = Some(effort);
    }

    /// The session.
    pub fn session(&self) -> &SessionId {
        &self.core.env.session
    }

    /// The session's surroundings.
    pub fn env(&self) -> &SessionEnv {
        &self.core.env
    }

    /// The tools that the model may call.
    pub fn tools(&self) -> &ToolSet {
        &self.core.tools
    }

    /// How urgently the turn shall stop. An orchestrator asks between steps.
    pub fn cancelled(&self) -> CancelLevel {
        self.core.env.cancel.level()
    }

    /// Tells the hooks of an event of the orchestrator's own making.
    pub async fn tell(&self, event: EventType, data: impl FnOnce() -> Value) {
        self.core.notify(&event, data).await;
    }

    /// Appends messages. `Ok`: durable in the session's storage, and part of the conversation.
    pub async fn append(&self, messages: impl IntoIterator<Item = Message>) -> Result<(), TurnError> {
        self.core.append(messages).await
    }
}

impl Core {
    pub(crate) fn append(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> impl Future<Output = Result<(), TurnError>> + Send {
        let now = self.env.clock.now();
        let stamped = messages.into_iter().map(|mut message| {
            message.stamp(now);
            Arc::new(message)
        });
        self.append_all(stamped.collect())
    }

    async fn append_all(&self, messages: Vec<Arc<Message>>) -> Result<(), TurnError> {
        {
            let _appending = Appending::begin(self);
            self.transcript.append(&messages).await?;
        }
        // What the user and the hooks say is no sign of life of the model.
        if messages.iter().any(|message| matches!(message.role, Role::Assistant | Role::Tool)) {
            self.env.activity.progress();
        }
        self.context.append(&messages);
        self.ledger().track_calls(&messages);
        for message in &messages {
            self.env.display.show(&self.env.origin(), Shown::Message(message));
        }
        Ok(())
    }

    /// Tells the hooks of an event, whose data is completed by what every event carries.
    pub(crate) async fn notify(&self, event: &EventType, data: impl FnOnce() -> Value) {
        if self.hooks.listens(event) || self.env.events.wants(event) {
            // Boxed: mostly nobody listens, and the future of every turn would have room for it.
            let round = Box::pin(self.ask_hooks(event, data)).await;
            self.absorb(round);
        }
    }

    /// Asks the hooks about an event, with the same data.
    pub(crate) async fn ask_hooks(&self, event: &EventType, data: impl FnOnce() -> Value) -> Round {
        let env = &self.env;
        let complete = || {
            let mut all = Map::new();
            all.insert("session_id".into(), env.session.as_str().into());
            if let Some(parent) = &env.parent {
                all.insert("parent_id".into(), parent.as_str().into());
            }
            all.insert("timestamp".into(), env.clock.now().to_string().into());
            if let Value::Object(own) = data() {
                all.extend(own);
            }
            Value::Object(all)
        };
        if !env.events.wants(event) {
            return self.hooks.ask(event, &env.session, complete).await;
        }
        let data = complete();
        let round = self.hooks.ask(event, &env.session, || data.clone()).await;
        // As the hooks have left it: one of them may have taken something out.
        env.events.tell(event, round.modified.clone().unwrap_or(data).into());
        round
    }

    /// Passes on what hooks said beside their verdicts.
    pub(crate) fn absorb(&self, round: Round) {
        if round.is_silent() {
            return;
        }
        let origin = self.env.origin();
        for (source, text) in &round.notices {
            let level = crate::approval::NoticeLevel::Info;
            self.env.display.show(&origin, Shown::Notice { level, source, text });
        }
        for (source, text) in &round.failures {
            tracing::warn!(session = %self.env.session, hook = source, error = text, "a hook failed");
            let level = crate::approval::NoticeLevel::Warning;
            self.env.display.show(&origin, Shown::Notice { level, source, text });
        }
        let injections =
            round.injections.into_iter().filter(|injection| self.fits(injection)).collect::<Vec<_>>();
        self.ledger().injections.extend(injections);
    }

    /// False for an injection over the session's size limit, which is left out and told. One that takes
    /// the turn over its budget goes in, and the first such is told.
    fn fits(&self, injection: &Injection) -> bool {
        let tell = |text: String| {
            let level = crate::approval::NoticeLevel::Warning;
            self.env.display.show(&self.env.origin(), Shown::Notice { level, source: "hooks", text: &text });
        };
        let size = injection.text.chars().count() as u64;
        if let Some(limit) = self.options.injection_size_limit.filter(|limit| size > *limit) {
            tell(format!(
                "an injection of {size} characters is left out; session.injection_size_limit is {limit}"
            ));
            return false;
        }
        let before = {
            let mut ledger = self.ledger();
            ledger.injected_tokens += size.div_ceil(4);
            ledger.injected_tokens - size.div_ceil(4)
        };
        let over = |budget: &u64| before <= *budget && before + size.div_ceil(4) > *budget;
        if let Some(budget) = self.options.injection_budget_per_turn.filter(over) {
            tell(format!(
                "hooks inject more than session.injection_budget_per_turn, {budget} tokens, in this turn"
            ));
        }
        true
    }

    /// Gives every open tool call of a turn that was cut off its interrupted result.
    pub(crate) async fn close_open_calls(&self) -> Result<(), TurnError> {
        let open = self.ledger().take_open_calls();
        if open.is_empty() {
            return Ok(());
        }
        self.append(open.iter().map(interrupted_result)).await
    }
}

/// Marks that the storage is being written to, for as long as it lives.
struct Appending<'a>(&'a Core);

impl<'a> Appending<'a> {
    fn begin(core: &'a Core) -> Self {
        core.ledger().appending += 1;
        Self(core)
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.0.ledger().appending -= 1;
    }
}

/// The result of a tool call that was cut off.
pub fn interrupted_result(call: &ToolCall) -> Message {
    let text =
        "[interrupted: the session was cut off before this tool gave a result; its effects are unknown]";
    let mut message = Message::tool_result(call, text, true);
    message.metadata.insert(INTERRUPTED.into(), Value::Bool(true));
    message
}

/// True for a message of a role that a transcript keeps.
pub(crate) fn is_kept(message: &Message) -> bool {
    !matches!(message.role, Role::System | Role::Developer)
}
