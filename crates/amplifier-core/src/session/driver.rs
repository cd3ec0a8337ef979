//! The driver: runs a session's turns, in whichever task holds it.
//!
//! Guarantees: `execution:end` follows every `execution:start`; a panic of the
//! orchestrator is an error of the turn; a turn that was cut off leaves no tool
//! call without a result in the transcript, unless the storage fails too; no turn
//! is cut off while the storage writes. Calls that an earlier activation left open have
//! their results before the first user message of this one.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;

use super::mailbox::Receiver;
use super::{Core, Settler, TurnReply};
use crate::cancel::CancelLevel;
use crate::causes::chain;
use crate::event::EventType;
use crate::id::Activation;
use crate::limits::{LimitKind, LimitReached};
use crate::message::{Message, ToolCall};
use crate::module::provider::ProviderErrorKind;
use crate::outcome::{FailureKind, OutcomeError, OutcomeKind, SessionOutcome, outcome_of_cancel};
use crate::panic::caught;
use crate::turn::{Turn, TurnError};
use crate::until::until_free;

/// What a session's handles ask of its driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Answer a user message.
    Execute {
        /// The message.
        text: String,
        /// Where the answer goes.
        reply: oneshot::Sender<Reply>,
    },
    /// End the session.
    End,
}

/// What became of a message.
pub(super) type Reply = Result<TurnReply, TurnError>;

/// Runs the turns of one session.
#[derive(Debug)]
pub struct SessionDriver {
    core: Arc<Core>,
    commands: Receiver,
    settler: Settler,
    started: bool,
}

impl SessionDriver {
    pub(super) fn new(core: Arc<Core>, commands: Receiver) -> Self {
        let settler = Settler::new(Arc::clone(&core));
        Self { core, commands, settler, started: false }
    }

    /// Puts messages of earlier activations into the conversation. `open` are the calls of its last
    /// round that have no result. The next turn begins by answering them, durable, in this order:
    /// those whose tool is here and may be called again ([`crate::module::tool::Tool::repeat`]) run
    /// again, through the same gates as any call; the others are marked interrupted.
    pub fn restore(&mut self, messages: Vec<Arc<Message>>, open: Vec<ToolCall>) {
        self.core.ledger().reopen(open);
        self.core.ledger().mixed = messages.iter().any(|message| crate::turn::signature(message).is_some());
        self.core.context.replace(messages);
    }

    /// The next command; `None` once every handle is gone.
    pub async fn next_command(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    /// Answers one user message.
    pub async fn turn(&mut self, text: String) -> Result<TurnReply, TurnError> {
        let _running = self.core.env.activity.model();
        self.announce().await;
        let core = &self.core;
        {
            let mut ledger = core.ledger();
            ledger.partial.clear();
            ledger.injected_tokens = 0;
        }
        let result = match core.answer_open_calls().await {
            Ok(()) => core.turn(text).await,
            Err(error) => Err(error),
        };
        let closed = core.close_open_calls().await;
        core.progress.turned(result.as_ref().err().map(|error| error as &dyn std::fmt::Display));
        let text = result?;
        closed?;
        let ledger = core.ledger();
        Ok(TurnReply { text, usage: ledger.usage, turns: ledger.turns })
    }

    /// The outcome that a result of the last turn leads to, with what the activation has used.
    pub fn outcome_of(&self, result: &Result<TurnReply, TurnError>) -> SessionOutcome {
        let activation = self.core.env.activation;
        let (kind, error) = match result {
            Ok(_) => (OutcomeKind::Completed, None),
            Err(error) => {
                let (kind, error) = self.core.classify(error);
                (kind, Some(error))
            }
        };
        let output = match result {
            Ok(reply) => reply.text.clone(),
            Err(_) => self.core.ledger().output_so_far(),
        };
        self.core.used(SessionOutcome::new(kind, activation, output, error))
    }

    /// Tells the hooks that the session has ended, runs the clean-ups, and closes the door.
    pub async fn clean_up(&mut self, outcome: &SessionOutcome) {
        self.commands.close();
        let data = || json!({"status": outcome.kind, "turns": outcome.turns, "usage": outcome.usage});
        self.core.notify(&EventType::SessionEnd, data).await;
        self.core.env.coordinator.clean_up().await;
    }

    /// Publishes the outcome to everybody who waits. The first call counts.
    pub fn settle(&self, outcome: Arc<SessionOutcome>) {
        self.settler.settle(outcome);
    }

    /// What publishes the outcome, for who ends the session without the driver.
    pub fn settler(&self) -> Settler {
        self.settler.clone()
    }

    async fn announce(&mut self) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let env = &self.core.env;
        let opened = match env.activation {
            Activation::FIRST => EventType::SessionStart,
            _ => EventType::SessionResume,
        };
        let fork =
            (env.parent.is_some() && env.activation == Activation::FIRST).then_some(EventType::SessionFork);
        for event in fork.into_iter().chain([opened]) {
            let data = || json!({"activation": env.activation, "working_dir": env.cwd});
            self.core.notify(&event, data).await;
        }
    }
}

impl Core {
    async fn turn(&self, text: String) -> Result<String, TurnError> {
        if self.env.cancel.is_cancelled() {
            return Err(TurnError::Cancelled);
        }
        let modified = {
            let data = || json!({"prompt": text});
            self.gate_prompt(data).await?
        };
        self.append([Message::user(modified.unwrap_or(text))]).await?;
        let name = self.orchestrator.name();
        self.notify(&EventType::ExecutionStart, || json!({"orchestrator": name})).await;
        let mut turn = Turn::new(self);
        let run = caught(self.orchestrator.run(&mut turn));
        let free = || self.ledger().appending == 0;
        let result = match until_free(run, self.env.cancel.cancelled_now(), free).await {
            None => Err(TurnError::Cancelled),
            Some(Err(message)) => Err(TurnError::Module { module: name.to_owned(), message }),
            Some(Ok(result)) => result,
        };
        if matches!(result, Err(TurnError::Cancelled)) {
            let data = || json!({"level": self.env.cancel.level(), "reason": self.env.cancel.reason()});
            self.notify(&EventType::CancelRequested, data).await;
        }
        let status = match &result {
            Ok(_) => "success",
            Err(TurnError::Cancelled) => "cancelled",
            Err(_) => "error",
        };
        let turns = self.ledger().turns;
        let data = || json!({"orchestrator": name, "turn_count": turns, "status": status});
        self.notify(&EventType::OrchestratorComplete, data).await;
        self.notify(&EventType::ExecutionEnd, data).await;
        match &result {
            Ok(text) => self.notify(&EventType::PromptComplete, || json!({"response": text})).await,
            Err(TurnError::Cancelled) => {
                let was_immediate = self.env.cancel.level() == CancelLevel::Immediate;
                self.notify(&EventType::CancelCompleted, || json!({"was_immediate": was_immediate})).await;
            }
            Err(_) => {}
        }
        result
    }

    fn classify(&self, error: &TurnError) -> (OutcomeKind, OutcomeError) {
        let failed = |kind| (OutcomeKind::Failed, OutcomeError::new(kind, error.to_string()));
        match error {
            TurnError::Cancelled => outcome_of_cancel(self.env.cancel.reason()),
            TurnError::Limit(limit) => limited(limit.clone(), error),
            TurnError::Budget(refusal) => {
                let kind = if refusal.what == "cost" { LimitKind::Cost } else { LimitKind::Tokens };
                limited(LimitReached::new(kind, refusal.limit, refusal.used, refusal.set_by.as_str()), error)
            }
            TurnError::UnknownPrice { .. } => {
                (OutcomeKind::LimitReached, OutcomeError::new(FailureKind::Limit, error.to_string()))
            }
            TurnError::Provider(provider) => {
                let kind = match provider.kind {
                    ProviderErrorKind::RateLimited => FailureKind::RateLimited,
                    _ => FailureKind::Provider,
                };
                let (outcome, mut error) = failed(kind);
                error.provider = Some(provider.kind);
                (outcome, error)
            }
            TurnError::Denied { .. } => failed(FailureKind::Denied),
            TurnError::Transcript(transcript) => {
                (OutcomeKind::Failed, OutcomeError::new(FailureKind::Storage, chain(transcript)))
            }
            TurnError::Module { .. } => failed(FailureKind::Module),
        }
    }
}

fn limited(limit: LimitReached, error: &TurnError) -> (OutcomeKind, OutcomeError) {
    let mut outcome = OutcomeError::new(FailureKind::Limit, error.to_string());
    outcome.limit = Some(limit);
    (OutcomeKind::LimitReached, outcome)
}

/// The outcome of a session whose driver is gone without setting one.
pub(super) fn lost(activation: Activation) -> SessionOutcome {
    let error = OutcomeError::new(FailureKind::Lost, "the session's owner is gone");
    SessionOutcome::new(OutcomeKind::Lost, activation, "", Some(error))
}
