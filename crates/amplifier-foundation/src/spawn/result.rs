//! What a caller gets back.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{AmplifierSession, CancelLevel, SessionId, SessionOutcome};

use super::error::SessionFailed;
use super::mark_awaited;
use super::node::{ChildSummary, TreeUsage};
use super::spawner::Spawner;
use super::tree::TreeOutcome;

/// A session that exists. It has, or will have, exactly one outcome.
#[derive(Debug, Clone)]
pub struct SpawnResult {
    task: SpawnTask,
}

/// The running side of a session.
#[derive(Debug, Clone)]
pub struct SpawnTask {
    session: AmplifierSession,
}

impl SpawnResult {
    pub(super) fn new(session: AmplifierSession) -> Self {
        Self { task: SpawnTask { session } }
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        self.task.session.id()
    }

    /// The session.
    pub fn session(&self) -> &AmplifierSession {
        &self.task.session
    }

    /// Its running side.
    pub fn task(&self) -> &SpawnTask {
        &self.task
    }

    /// What is known of the sessions that this one has spawned, and those that they spawned, each parent
    /// before its children; also after the session has ended.
    pub fn descendants(&self) -> Vec<ChildSummary> {
        let spawner = self.session().env().coordinator.capability::<Spawner>();
        spawner.map(|spawner| spawner.descendants()).unwrap_or_default()
    }

    /// What the session and its descendants come to together, `own` being its outcome. Of those that
    /// still run nothing but that is known.
    pub fn tree(&self, own: &SessionOutcome) -> TreeOutcome {
        TreeOutcome::new(own, self.descendants())
    }

    /// What the session and its descendants have used so far, as it counts against its limits. Nothing for
    /// a session that had ended when it was asked for.
    pub fn tree_usage(&self) -> TreeUsage {
        let spawner = self.session().env().coordinator.capability::<Spawner>();
        spawner.map(|spawner| spawner.usage()).unwrap_or_default()
    }

    /// Waits for the outcome.
    pub async fn outcome(&self) -> Arc<SessionOutcome> {
        let outcome = self.task.session.outcome().await;
        mark_awaited(self.session());
        outcome
    }

    /// Waits for the answer. `Err` unless the outcome is `Completed`.
    pub async fn output(&self) -> Result<String, SessionFailed> {
        let outcome = self.outcome().await;
        if outcome.is_completed() {
            return Ok(outcome.output.clone());
        }
        let partial = outcome.output.clone();
        Err(SessionFailed { id: self.id().clone(), outcome, partial })
    }
}

impl SpawnTask {
    /// Asks the session to stop.
    pub fn cancel(&self, level: CancelLevel) {
        self.session.cancel(level);
    }

    /// True once the outcome is there.
    pub fn is_finished(&self) -> bool {
        self.session.try_outcome().is_some()
    }

    /// Waits for the outcome, at most this long.
    pub async fn wait(&self, deadline: Duration) -> Option<Arc<SessionOutcome>> {
        let clock = &self.session.env().clock;
        let end = clock.monotonic().saturating_add(deadline);
        let outcome = until(self.session.outcome(), clock.sleep_until(end)).await;
        outcome.inspect(|_| mark_awaited(&self.session))
    }
}
