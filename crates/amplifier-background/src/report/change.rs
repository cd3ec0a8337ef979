//! What people do to runs: one that is dead or cancelled is made anew, one that is not over is dropped.
//!
//! A run that is over stays over. Made anew it is a *new* run of the same firing, with its own attempts and
//! a link: what is final stays final for who reads, prunes or was told of it, a session's `run_id` names one
//! life, and the conservation law holds without an exception, because the firing by hand is counted with its
//! row. The new id follows from the old one, so that two who ask at once start one run.
//!
//! Guarantees: durable when it returns; who did it is told by an event of the same commit.

use amplifier_core::{
    CancelLevel, Cause, EventType, NewEvent, OutcomeKind, Payload, RunId, SessionEvent, SessionId,
};
use amplifier_foundation::host::ReachError;
use amplifier_store::{Commit, Expect, QueueName, Receipt, RunMove, RunRow, RunState, StoreError, Write};
use amplifier_trigger::{BackgroundName, Cause as FiredBy, Generation, TriggerEventId, TriggerKey};
use serde_json::json;

use super::error::ReportError;
use super::row::RunSummary;
use super::runs::Runs;
use crate::config::MAX_QUEUE;
use crate::run::{Count, RunPayload, attempt_is, background_of, trigger_id};

/// What a person has asked for goes before what a trigger has.
const PRIORITY: i8 = 1;
/// How often a drop is tried of a run that changes meanwhile.
const TRIES: usize = 8;

/// Who changes something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Who: a user of the system, a token's name.
    pub actor: String,
    /// Why, for people, without secrets.
    pub reason: Option<String>,
}

impl Change {
    /// A change without a reason.
    pub fn by(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), reason: None }
    }

    /// Why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// For a run's row.
    fn told(&self) -> String {
        match &self.reason {
            Some(reason) => format!("dropped by {}: {reason}", self.actor),
            None => format!("dropped by {}", self.actor),
        }
    }
}

/// A run that was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retried {
    /// The new run.
    pub run: RunId,
    /// Its number in the project.
    pub number: u64,
    /// Its queue.
    pub queue: QueueName,
}

/// What became of a run that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dropped {
    /// It is cancelled.
    Cancelled,
    /// Its session was asked to stop; the run is cancelled once it has.
    Asked(SessionId),
}

impl Runs {
    /// Has a run made anew that is dead or cancelled. Durable; it begins as soon as there is a place for it,
    /// before what waits, with its attempts counted anew.
    pub async fn retry(&self, id: &RunId, by: &Change) -> Result<Retried, ReportError> {
        let store = self.host().store();
        let Some(row) = store.run(id).await? else {
            return Err(ReportError::Foreign { run: id.clone() });
        };
        if !matches!(row.state, RunState::Dead | RunState::Cancelled) {
            return Err(ReportError::NotOver { run: id.clone(), state: row.state });
        }
        let (payload, name) = (row.payload.decode::<RunPayload>(), background_of(&row.queue));
        let (Ok(payload), Some(name)) = (payload, name) else {
            return Err(ReportError::Foreign { run: id.clone() });
        };
        self.check_room(&row.queue).await?;
        let (run, commit) = self.made_anew(&row, payload, &name, by)?;
        let taken = match store.commit(commit).await {
            Ok(Receipt::Applied(_)) => false,
            Ok(_) => true,
            Err(error) => return Err(error.into()),
        };
        let new = store.run(&run).await?.ok_or_else(|| ReportError::Busy { run: id.clone() })?;
        match taken {
            true => Err(ReportError::Retried { run: id.clone(), by: run, state: new.state }),
            false => Ok(Retried { run, number: new.place, queue: new.queue }),
        }
    }

    /// True if a process that lives owns the triggers of the project, and so works on its runs.
    pub async fn are_worked_on(&self) -> Result<bool, ReportError> {
        let lease = self.host().store().lease(&crate::control::lease_key()).await?;
        Ok(lease.is_some_and(|lease| self.host().lives(&lease.owner)))
    }

    async fn check_room(&self, queue: &QueueName) -> Result<(), ReportError> {
        let most = u64::from(MAX_QUEUE);
        match self.host().store().count_queued(queue).await? >= most {
            true => Err(ReportError::Full { queue: queue.clone() }),
            false => Ok(()),
        }
    }

    fn made_anew(
        &self,
        row: &RunRow,
        mut payload: RunPayload,
        name: &BackgroundName,
        by: &Change,
    ) -> Result<(RunId, Commit), ReportError> {
        let foreign = || ReportError::Foreign { run: row.id.clone() };
        payload.event.id = again(&payload.event.id, &row.id).ok_or_else(foreign)?;
        let run = payload.event.id.run_id().map_err(|_| foreign())?;
        let told = self.told(EventType::RunRetried, &row.id, Some(&run), &row.queue, by, payload.cause)?;
        payload.cause = Some(Cause::of(&told));
        payload.event.fired = self.host().clock().now();
        payload.event.passed = amplifier_trigger::Passed::default();
        payload.retry_of = Some(row.id.clone());
        // It is not the event of the log that fires it now, and its source has gone on long since.
        payload.event.cursor = None;
        if !matches!(payload.event.cause, FiredBy::Event { .. }) {
            payload.event.cause = FiredBy::Manual;
        }
        let trigger = trigger_id(&payload.event);
        let payload = Payload::encode(&payload).map_err(|_| foreign())?;
        let (queue, delay) = (row.queue.clone(), std::time::Duration::ZERO);
        let commit = Commit::from(Write::Append(Box::new(told)))
            .write(Write::Enqueue { run: run.clone(), queue, trigger, payload, priority: PRIORITY, delay })
            .write(Write::AddCounter { counter: Count::Triggered.of(name), by: 1 })
            .when(Expect::RunState { run: row.id.clone(), state: row.state });
        Ok((run, commit))
    }

    fn told(
        &self,
        kind: EventType,
        run: &RunId,
        again: Option<&RunId>,
        queue: &QueueName,
        by: &Change,
        cause: Option<Cause>,
    ) -> Result<SessionEvent, ReportError> {
        let name = background_of(queue);
        let said = json!({
            "run_id": run,
            "retried_as": again,
            "session_name": name,
            "queue": queue.as_str(),
            "actor": by.actor,
            "reason": by.reason,
        });
        let event = NewEvent::of(kind, said.into()).caused_by(cause);
        let sealed = self.host().router().seal(event);
        sealed.map_err(|_| StoreError::Malformed { what: "a reason is too long" }.into())
    }

    /// Drops a run: one that waits is cancelled, the session of one that runs is asked to stop when its
    /// tools are done.
    pub async fn drop(&self, id: &RunId, by: &Change) -> Result<Dropped, ReportError> {
        let Some(first) = self.host().store().run(id).await? else { return self.stop_worker(id).await };
        let cause = first.payload.decode::<RunPayload>().ok().and_then(|payload| payload.cause);
        let told = self.told(EventType::RunDropped, id, None, &first.queue, by, cause)?;
        for _ in 0..TRIES {
            let Some(row) = self.host().store().run(id).await? else { break };
            match self.drop_once(&row, &told, by).await {
                // It has taken a step meanwhile.
                Err(
                    ReportError::Store(StoreError::RunIs { .. })
                    | ReportError::Reach(ReachError::Ended { .. }),
                ) => {}
                other => return other,
            }
        }
        Err(ReportError::Busy { run: id.clone() })
    }

    async fn drop_once(
        &self,
        row: &RunRow,
        told: &SessionEvent,
        by: &Change,
    ) -> Result<Dropped, ReportError> {
        let cancelled = |from| {
            let step = RunMove::new(row.id.clone(), from, RunState::Cancelled).reason(by.told());
            // What was read is to be cancelled, and not what came after it.
            let only = Commit::new().when(attempt_is(&row.id, from, row.attempt));
            only.write(Write::MoveRun(step)).write(Write::Append(Box::new(told.clone())))
        };
        let store = self.host().store();
        match (row.state, &row.session) {
            (RunState::Queued, _) => {
                let _ = store.commit(cancelled(RunState::Queued)).await?;
                Ok(Dropped::Cancelled)
            }
            (RunState::Running, Some(session)) => {
                match self.host().project_sessions().cancel(session, CancelLevel::Graceful).await {
                    Ok(()) => {
                        let commit = Commit::from(Write::Append(Box::new(told.clone())));
                        let _ = store.commit(commit).await?;
                        Ok(Dropped::Asked(session.clone()))
                    }
                    // Nobody will settle the run but who works on its queue next.
                    Err(ReachError::Lost { .. } | ReachError::Unknown { .. }) => {
                        let _ = store.commit(cancelled(RunState::Running)).await?;
                        Ok(Dropped::Cancelled)
                    }
                    Err(ReachError::Ended { outcome: OutcomeKind::Lost, .. }) => {
                        let _ = store.commit(cancelled(RunState::Running)).await?;
                        Ok(Dropped::Cancelled)
                    }
                    Err(error) => Err(error.into()),
                }
            }
            (RunState::Leased, _) => Err(ReportError::Busy { run: row.id.clone() }),
            (state, _) => Err(ReportError::Over { run: row.id.clone(), state }),
        }
    }

    /// Stops a worker of an issue, which has no row.
    async fn stop_worker(&self, id: &RunId) -> Result<Dropped, ReportError> {
        let details = self.details(id).await?;
        let Some(session) = details.run.session else { return Err(ReportError::Foreign { run: id.clone() }) };
        match self.host().project_sessions().cancel(&session, CancelLevel::Graceful).await {
            Ok(()) => Ok(Dropped::Asked(session)),
            Err(ReachError::Ended { .. }) => Err(ReportError::Ended { session }),
            Err(error) => Err(error.into()),
        }
    }
}

/// The firing that a run is made anew as: of the same trigger, told apart by the run.
fn again(first: &TriggerEventId, run: &RunId) -> Option<TriggerEventId> {
    let mut parts = first.as_str().split('/');
    let background = BackgroundName::new(parts.next()?).ok()?;
    let key = TriggerKey::named(parts.next()?).ok()?;
    let generation = Generation(parts.next()?.parse().ok()?);
    let of = blake3::hash(run.as_str().as_bytes()).to_hex();
    TriggerEventId::new(&background, &key, generation, &format!("r-{}", &of.as_str()[..32])).ok()
}

/// The id that a run would be made anew under.
pub(super) fn retry_id(run: &RunSummary) -> Result<RunId, ReportError> {
    let foreign = || ReportError::Foreign { run: run.id.clone() };
    let event = run.event.as_ref().ok_or_else(foreign)?;
    let id = again(&event.id, &run.id).ok_or_else(foreign)?;
    id.run_id().map_err(|_| foreign())
}
