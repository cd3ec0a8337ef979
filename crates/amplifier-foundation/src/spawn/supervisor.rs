//! Steps 5 to 8: the task of the host in which a session lives.
//!
//! Guarantees: whatever happens inside, the session gets exactly one outcome. The
//! order of the end is: outcome durable in the metadata, clean-ups, storage
//! closed, terminal event, outcome published. A storage that fails, panics or hangs
//! then turns no finished answer into an error; the outcome says that it is unrecorded.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::message::Role;
use amplifier_core::outcome::FailureKind;
use amplifier_core::panic::caught;
use amplifier_core::session::{Command, SessionDriver, TurnReply};
use amplifier_core::turn::TurnError;
use amplifier_core::until::until;
use amplifier_core::{
    AmplifierSession, CancelLevel, CancelReason, EventId, EventType, MonoTime, NewEvent, OutcomeKind,
    Payload, SessionOutcome,
};
use serde_json::{Value, json};

use super::guarded::guarded;
use super::record::Recorded;
use crate::host::Host;
use crate::mention::{FailureReason, MentionResolver, Prepended};
use crate::storage::{SessionMetadata, StorageError};

/// How long a session may take to stop once it was cancelled at once, and its clean-ups.
const GRACE: Duration = Duration::from_secs(5);
/// How long the storage may take to record an outcome, and to close.
const STORAGE_GRACE: Duration = Duration::from_secs(30);
/// How long running tools may take after the caller stopped waiting.
const DROPPED_GRACE: Duration = Duration::from_secs(10);
/// Longest preview of the answer in a terminal event, in bytes.
const PREVIEW_BYTES: usize = 16 * 1024;

/// A session's life from its first message to its outcome.
pub(super) struct Supervisor {
    pub(super) host: Host,
    pub(super) session: AmplifierSession,
    pub(super) driver: SessionDriver,
    pub(super) recorded: Recorded,
    pub(super) first: String,
    /// Stands behind the first message as it is.
    pub(super) context: Option<String>,
    /// Brings the files that a user message mentions.
    pub(super) mentions: MentionResolver,
    pub(super) keep_open: bool,
    pub(super) began: MonoTime,
}

type TurnResult = Result<TurnReply, TurnError>;

impl Supervisor {
    pub(super) async fn run(mut self) {
        let deadline = self.session.limits().timeout().map(|span| self.began.saturating_add(span));
        let result = match caught(self.turns(deadline)).await {
            Ok(result) => result,
            Err(message) => Err(TurnError::Module { module: "session".into(), message }),
        };
        let mut outcome = self.driver.outcome_of(&result);
        let clock = Arc::clone(&self.host.0.clock);
        let took = clock.monotonic().saturating_since(self.began);
        outcome.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let kept = outcome.error.as_ref().is_none_or(|error| error.kind != FailureKind::Storage);
        outcome.unrecorded = !kept && !outcome.output.is_empty();
        self.settle(&mut outcome).await;
        let grace = clock.sleep_until(clock.monotonic().saturating_add(GRACE));
        if until(caught(self.driver.clean_up(&outcome)), grace).await.is_none() {
            tracing::warn!(session = %self.recorded.id, "clean-ups took too long and were left");
        }
        let id = &self.recorded.id;
        match self.bounded("close", self.host.storage().close(id)).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(session = %id, %error, "the session's storage could not be closed"),
        }
        self.finish(outcome);
    }

    /// The first turn, and for a session that is kept open those that its handles ask for.
    async fn turns(&mut self, deadline: Option<MonoTime>) -> TurnResult {
        let typed = std::mem::take(&mut self.first);
        let first = self.with_mentions(&typed);
        let first = match self.context.take() {
            Some(context) if first.is_empty() => context,
            Some(context) => format!("{first}\n\n{context}"),
            None => first,
        };
        let mut last = self.turn(first, deadline).await;
        if !self.keep_open {
            return last;
        }
        loop {
            let cancel = self.session.env().cancel.clone();
            let clock = Arc::clone(&self.host.0.clock);
            let out_of_time = async {
                match deadline {
                    Some(deadline) => clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let stop = async { until(cancel.cancelled(), out_of_time).await };
            match until(self.driver.next_command(), stop).await {
                Some(Some(Command::Execute { text, reply })) => {
                    let text = self.with_mentions(&text);
                    let result = self.turn(text, deadline).await;
                    last = copy_of(&result);
                    let _ = reply.send(result);
                }
                Some(Some(Command::End) | None) => return last,
                Some(Some(_)) => {}
                None => {
                    cancel.cancel(CancelLevel::Immediate, CancelReason::TimedOut);
                    return Err(TurnError::Cancelled);
                }
            }
        }
    }

    /// What a person typed, with the files that it mentions and that the session may read.
    fn with_mentions(&self, text: &str) -> String {
        let env = self.session.env();
        let permissions = self.session.permissions().clone();
        let resolver = self.mentions.clone();
        let resolver = resolver.permitted(permissions, Arc::clone(&env.paths), env.approver.can_answer());
        let Prepended { text, expansion, .. } = resolver.prepend(text);
        let refused = expansion.failed.iter().filter(|failed| failed.reason == FailureReason::NotPermitted);
        let refused: Vec<&str> = refused.map(|failed| failed.mention.as_str()).collect();
        if !refused.is_empty() {
            let text = format!("left out, the permissions do not allow reading it: {}", refused.join(", "));
            let level = NoticeLevel::Warning;
            env.display.show(&env.origin(), Shown::Notice { level, source: "mentions", text: &text });
        }
        text
    }

    /// One turn, stopped at the deadline, and some time after its caller went away.
    async fn turn(&mut self, text: String, deadline: Option<MonoTime>) -> TurnResult {
        let clock = Arc::clone(&self.host.0.clock);
        let cancel = self.session.env().cancel.clone();
        let at = |time: Option<MonoTime>| {
            let clock = Arc::clone(&clock);
            async move {
                match time {
                    Some(time) => clock.sleep_until(time).await,
                    None => std::future::pending().await,
                }
            }
        };
        let abandoned = async {
            cancel.cancelled().await;
            let dropped = matches!(cancel.reason(), Some(CancelReason::Dropped | CancelReason::Shutdown));
            at(dropped.then(|| clock.monotonic().saturating_add(DROPPED_GRACE))).await;
        };
        let mut turn = Box::pin(self.driver.turn(text));
        if let Some(result) = until(&mut turn, until(abandoned, at(deadline))).await {
            return result;
        }
        cancel.cancel(CancelLevel::Immediate, CancelReason::TimedOut);
        let last_chance = at(Some(clock.monotonic().saturating_add(GRACE)));
        until(turn, last_chance).await.unwrap_or(Err(TurnError::Cancelled))
    }

    /// Makes the outcome durable in the metadata, or says in it that it is not.
    async fn settle(&mut self, outcome: &mut SessionOutcome) {
        self.describe(outcome);
        let Recorded { id, activation, metadata, .. } = &self.recorded;
        let describe = self.host.storage().describe(id, *activation, metadata);
        if let Err(error) = self.bounded("describe", describe).await {
            tracing::error!(session = %id, %error, "the outcome could not be recorded");
            outcome.unrecorded = true;
        }
    }

    /// A call of the storage that may neither panic nor take for ever.
    async fn bounded(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<(), StorageError>>,
    ) -> Result<(), StorageError> {
        let (id, clock) = (&self.recorded.id, self.host.clock());
        let end = clock.sleep_until(clock.monotonic().saturating_add(STORAGE_GRACE));
        let late = || StorageError::Backend { id: id.clone(), action, source: "it took too long".into() };
        until(guarded(id, action, call), end).await.unwrap_or_else(|| Err(late()))
    }

    /// Fills in what came out.
    fn describe(&mut self, outcome: &SessionOutcome) {
        let messages = self.session.messages();
        let mut turns = 0;
        messages.for_each(|message| {
            turns += u64::from(message.role == Role::User && !message.metadata.contains_key("source"));
        });
        let metadata: &mut SessionMetadata = &mut self.recorded.metadata;
        metadata.turn_count = Some(turns);
        metadata.last_updated = Some(self.host.clock().now());
        metadata.amplifier.status = Some(outcome.kind.as_str().to_owned());
        metadata.amplifier.outcome = Payload::encode(outcome).ok();
        if let Some(model) = self.session.model() {
            metadata.model = Some(model);
        }
    }

    /// The terminal event, then the outcome to everybody who waits.
    fn finish(self, outcome: SessionOutcome) {
        let id = self.recorded.metadata.amplifier.terminal_event_id;
        let id = id.unwrap_or_else(|| EventId(self.host.ids().v7(self.host.clock().now())));
        let kind = match outcome.kind {
            OutcomeKind::Completed => EventType::SessionCompleted,
            _ => EventType::SessionError,
        };
        let payload = Payload::from(terminal_payload(&self.recorded, &outcome));
        let event = NewEvent::of(kind, payload).from_session(self.recorded.id.clone());
        if let Err(error) = self.host.router().record(event, id) {
            tracing::debug!(session = %self.recorded.id, %error, "no router took the terminal event");
        }
        self.driver.settle(Arc::new(outcome));
        self.host.sessions().remove(&self.session);
    }
}

fn terminal_payload(recorded: &Recorded, outcome: &SessionOutcome) -> Value {
    let cut = outcome.output.floor_char_boundary(PREVIEW_BYTES);
    let metadata = &recorded.metadata;
    json!({
        "session_id": recorded.id,
        "activation": recorded.activation,
        "parent_id": metadata.spawned_by(),
        "root_id": metadata.trace_id,
        "name": metadata.name,
        "bundle": metadata.bundle,
        "agent": metadata.agent_name,
        "outcome": outcome.kind,
        "output": outcome.output[..cut],
        "output_truncated": cut < outcome.output.len(),
        "error": outcome.error.as_ref().map(|error| json!({"kind": error.kind, "message": error.message})),
        "usage": outcome.usage,
        "cost_usd": outcome.cost_micro_usd.map(|micro| micro as f64 / 1e6),
        "duration_ms": outcome.duration_ms,
        "turns": outcome.turns,
        "run_id": null,
        "trigger_id": null,
        "metadata": metadata.extra,
    })
}

/// Enough of a result to make the outcome of it; the result itself goes to who asked.
fn copy_of(result: &TurnResult) -> TurnResult {
    match result {
        Ok(reply) => Ok(reply.clone()),
        Err(TurnError::Cancelled) => Err(TurnError::Cancelled),
        Err(TurnError::Provider(error)) => Err(TurnError::Provider(error.clone())),
        Err(TurnError::Limit(limit)) => Err(TurnError::Limit(limit.clone())),
        Err(TurnError::Budget(refusal)) => Err(TurnError::Budget(refusal.clone())),
        Err(other) => Err(TurnError::Module { module: "session".into(), message: other.to_string() }),
    }
}
