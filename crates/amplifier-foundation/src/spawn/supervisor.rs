//! Step 7: the task of the host in which a session lives.
//!
//! Guarantees: whatever happens inside, the session gets exactly one outcome. The
//! order of the end is: outcome durable in the metadata, clean-ups, store settled, storage
//! closed, terminal event, outcome published. A storage that fails, panics or hangs
//! then turns no finished answer into an error; the outcome says that it is unrecorded.
//! A task that is dropped, because its runtime ends, still publishes an outcome.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::message::Role;
use amplifier_core::outcome::FailureKind;
use amplifier_core::panic::caught;
use amplifier_core::session::{Command, SessionDriver, TurnReply};
use amplifier_core::turn::TurnError;
use amplifier_core::until::until;
use amplifier_core::{AmplifierSession, CancelLevel, CancelReason, SessionOutcome};

use tokio::sync::oneshot;

use super::context;
use super::finish::{CLEAN_UP_GRACE, Ending, within};
use super::guarded::guarded;
use super::title::SessionTitle;
use crate::bundle::PreparedBundle;
use crate::host::Host;
use crate::mention::{FailureReason, Prepended};
use crate::storage::{RecordCopy, SessionMetadata, SessionStorage, StorageError};

/// How long a session may take to stop once it was cancelled at once.
const GRACE: Duration = Duration::from_secs(5);
/// How long the storage may take to record an outcome, and to close.
const STORAGE_GRACE: Duration = Duration::from_secs(30);
/// How long running tools may take after the caller stopped waiting.
const DROPPED_GRACE: Duration = Duration::from_secs(10);

/// A session's life from its first message to its outcome.
pub(super) struct Supervisor {
    pub(super) host: Host,
    pub(super) session: AmplifierSession,
    pub(super) driver: SessionDriver,
    pub(super) metadata: Arc<SessionMetadata>,
    pub(super) storage: Arc<dyn SessionStorage>,
    pub(super) ending: Arc<Ending>,
    /// Until it is taken.
    pub(super) first: Option<Box<First>>,
    /// Tells where the files are that a user message mentions.
    pub(super) bundle: Arc<PreparedBundle>,
    pub(super) keep_open: bool,
}

/// What the first message is made of.
pub(super) struct First {
    pub(super) text: String,
    /// Of the parent's conversation; stands in front of the text, and mentions in it are not followed.
    pub(super) quoted: Option<String>,
    /// Stands behind the text as it is.
    pub(super) input: Option<String>,
}

type TurnResult = Result<TurnReply, TurnError>;

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.ending.is_published() {
            let reason = self.session.env().cancel.reason();
            self.ending.force(self.ending.cut_off(reason, Some("its runtime ended before it did")));
        }
        self.ending.task_ended();
    }
}

impl Supervisor {
    /// Turns and the end are boxed apart, so that a session that waits holds neither.
    pub(super) async fn run(mut self: Box<Self>) {
        let result = match caught(self.turns()).await {
            Ok(result) => result,
            Err(message) => Err(TurnError::Module { module: "session".into(), message }),
        };
        Box::pin(self.end(result)).await;
    }

    async fn end(&mut self, result: TurnResult) {
        let mut outcome = Arc::new(self.outcome(&result));
        self.record(&mut outcome).await;
        let clean_up = caught(self.driver.clean_up(&outcome));
        if until(clean_up, within(&self.host.0.clock, CLEAN_UP_GRACE)).await.is_none() {
            tracing::warn!(session = %self.session.id(), "clean-ups took too long and were left");
        }
        // What came to mind while it ended.
        self.write_title().await;
        // Before the storage is given free: who opens the session next finds this activation settled.
        let outcome = self.ending.settle(outcome).await;
        let id = self.session.id();
        if let Err(error) = self.bounded("close", self.storage.close(id)).await {
            tracing::warn!(session = %id, %error, "the session's storage could not be closed");
        }
        self.ending.publish(outcome);
    }

    /// What came of it; where the watchdog has already said so, that.
    fn outcome(&self, result: &TurnResult) -> SessionOutcome {
        if let Some(outcome) = self.session.try_outcome() {
            return SessionOutcome::clone(&outcome);
        }
        let mut outcome = self.driver.outcome_of(result);
        outcome.duration_ms = self.ending.took_ms();
        self.ending.name_deadline(&mut outcome);
        let kept = outcome.error.as_ref().is_none_or(|error| error.kind != FailureKind::Storage);
        outcome.unrecorded = !kept && !outcome.output.is_empty();
        outcome
    }

    /// The first turn, and for a session that is kept open those that its handles ask for.
    async fn turns(&mut self) -> TurnResult {
        let mut last = {
            let first = self.first_message();
            Box::pin(self.turn(first)).await
        };
        if !self.keep_open {
            return last;
        }
        self.ending.answer();
        self.write_title().await;
        loop {
            let cancel = self.session.env().cancel.clone();
            match until(self.driver.next_command(), cancel.cancelled()).await {
                Some(Some(Command::Execute { text, reply })) => {
                    last = Box::pin(self.answer(text, reply)).await;
                    self.write_title().await;
                }
                Some(Some(Command::End) | None) => return last,
                Some(Some(_)) => {}
                None => return Err(TurnError::Cancelled),
            }
        }
    }

    /// A turn whose result goes to who asked.
    async fn answer(&mut self, text: String, reply: oneshot::Sender<TurnResult>) -> TurnResult {
        let text = self.with_mentions(text);
        let result = self.turn(text).await;
        let copy = copy_of(&result);
        let _ = reply.send(result);
        copy
    }

    fn first_message(&mut self) -> String {
        let Some(First { text, quoted, input }) = self.first.take().map(|first| *first) else {
            return String::new();
        };
        let text = self.with_mentions(text);
        let text = match input {
            Some(input) if text.is_empty() => input,
            Some(input) => format!("{text}\n\n{input}"),
            None => text,
        };
        match quoted {
            Some(quoted) => context::behind(&quoted, &text),
            None => text,
        }
    }

    /// What a person typed, with the files that it mentions and that the session may read.
    fn with_mentions(&self, text: String) -> String {
        if !text.contains('@') {
            return text;
        }
        let env = self.session.env();
        let permissions = self.session.permissions().clone();
        let resolver = self.bundle.mentions(&env.cwd, self.host.user_home().map(Path::to_path_buf));
        let resolver = resolver.permitted(permissions, Arc::clone(&env.paths), env.approver.can_answer());
        let Prepended { text, expansion, .. } = resolver.prepend(&text);
        let refused = expansion.failed.iter().filter(|failed| failed.reason == FailureReason::NotPermitted);
        let refused: Vec<&str> = refused.map(|failed| failed.mention.as_str()).collect();
        if !refused.is_empty() {
            let text = format!("left out, the permissions do not allow reading it: {}", refused.join(", "));
            let level = NoticeLevel::Warning;
            env.display.show(&env.origin(), Shown::Notice { level, source: "mentions", text: &text });
        }
        text
    }

    /// One turn, stopped some time after it should have stopped by itself.
    async fn turn(&mut self, text: String) -> TurnResult {
        let clock = Arc::clone(&self.host.0.clock);
        let cancel = self.session.env().cancel.clone();
        let after = |grace| within(&clock, grace);
        let abandoned = async {
            cancel.cancelled().await;
            let dropped = matches!(cancel.reason(), Some(CancelReason::Dropped | CancelReason::Shutdown));
            match dropped {
                true => drop(until(cancel.cancelled_now(), after(DROPPED_GRACE)).await),
                false => cancel.cancelled_now().await,
            }
        };
        let mut turn = pin!(self.driver.turn(text));
        if let Some(result) = until(&mut turn, abandoned).await {
            return result;
        }
        cancel.cancel(CancelLevel::Immediate, cancel.reason().unwrap_or(CancelReason::Dropped));
        until(turn, after(GRACE)).await.unwrap_or(Err(TurnError::Cancelled))
    }

    /// Makes the outcome durable in the metadata, or says in it that it is not.
    async fn record(&mut self, outcome: &mut Arc<SessionOutcome>) {
        self.describe(outcome);
        let (id, activation) = (self.session.id(), self.session.activation());
        let describe = self.storage.describe(id, activation, &self.metadata);
        if let Err(error) = self.bounded("describe", describe).await {
            tracing::error!(session = %id, %error, "the outcome could not be recorded");
            Arc::make_mut(outcome).unrecorded = true;
        }
    }

    /// Makes a name that a module has thought of durable.
    async fn write_title(&mut self) {
        let now = self.host.clock().now();
        let Some(title) = self.session.env().coordinator.capability::<SessionTitle>() else { return };
        if !title.enter(&mut self.metadata, now) {
            return;
        }
        let (id, activation) = (self.session.id(), self.session.activation());
        let describe = self.storage.describe(id, activation, &self.metadata);
        if let Err(error) = Box::pin(self.bounded("describe", describe)).await {
            tracing::warn!(session = %id, %error, "the session's name could not be recorded");
        }
    }

    /// A call of the storage that may neither panic nor take for ever.
    async fn bounded(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<(), StorageError>>,
    ) -> Result<(), StorageError> {
        let (id, end) = (self.session.id(), within(self.host.clock(), STORAGE_GRACE));
        let late = || StorageError::Backend { id: id.clone(), action, source: "it took too long".into() };
        until(guarded(id, action, call), end).await.unwrap_or_else(|| Err(late()))
    }

    /// Fills in what came out.
    fn describe(&mut self, outcome: &Arc<SessionOutcome>) {
        let messages = self.session.messages();
        let mut turns = 0;
        messages.for_each(|message| {
            turns += u64::from(message.role == Role::User && !message.metadata.contains_key("source"));
        });
        let now = self.host.clock().now();
        if let Some(title) = self.session.env().coordinator.capability::<SessionTitle>() {
            title.enter(&mut self.metadata, now);
        }
        let metadata = Arc::make_mut(&mut self.metadata);
        metadata.turn_count = Some(turns);
        metadata.last_updated = Some(now);
        metadata.amplifier.status = Some(outcome.kind.as_str().to_owned());
        metadata.amplifier.outcome = Some(RecordCopy::new(Arc::clone(outcome)));
        if let Some(model) = self.session.model() {
            metadata.model = Some(model);
        }
    }
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
