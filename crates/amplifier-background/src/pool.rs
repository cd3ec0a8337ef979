//! The pool of one background session: what waits gets a place, what was left by others is gone on with.
//!
//! Guarantees: at most `pool_size` sessions at once, and beyond them only what a trigger allows; each run is
//! begun by one process; a session that was lost with its process is resumed.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::permission::{Layer, Mode, Permissions};
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, RunId, SessionId, Timestamp};
use amplifier_foundation::spawn::SpawnRequest;
use amplifier_foundation::{Host, SpawnError, spawn_bundle};
use amplifier_store::{Commit, RunFilter, RunMove, RunRow, RunState, StoreError, Write};
use amplifier_trigger::{Overlap, TriggerKind};
use serde_json::{Map, Value};

use crate::config::BackgroundConfig;
use crate::intake::Intake;
use crate::run::{RunAtWork, queue_of, session_prefix};
use crate::status::{Active, BackgroundState, Board};

/// Sessions beyond a pool at most.
const MAX_EXTRA: usize = 64;
/// How long a run keeps its place that the store could not begin.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked whether other processes have left or added something.
pub(crate) const LOOK: Duration = Duration::from_secs(15);
/// What a session is told that goes on after its process was lost.
const GO_ON: &str =
    "The process that ran you has ended before you were done. Look at what is done already, and go on.";

/// A pool at work. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) host: Host,
    pub(crate) config: Arc<BackgroundConfig>,
    pub(crate) board: Arc<Board>,
    pub(crate) intake: Arc<Intake>,
}

impl Pool {
    /// Works until the background session is stopped and nothing runs any more.
    pub(crate) async fn run(self) {
        let mut looked = None;
        loop {
            let state = self.board.look(|inner| inner.status.state);
            if matches!(state, BackgroundState::Stopping | BackgroundState::Stopped) {
                if self.board.look(|inner| inner.running.is_empty()) {
                    self.board.set(BackgroundState::Stopped);
                    return;
                }
                self.board.wake.notified().await;
                continue;
            }
            let now = self.host.clock().monotonic();
            let due = looked.is_none_or(|at: amplifier_core::MonoTime| now.saturating_since(at) >= LOOK);
            if due {
                looked = Some(now);
            }
            let next = match self.look(due).await {
                Ok(next) => next,
                Err(error) => {
                    let error = amplifier_core::causes::chain(&error);
                    tracing::warn!(background = %self.config.name, error, "the queue cannot be read");
                    // Quietly: who is told wakes this loop, and the store may fail again at once.
                    self.board.change_quietly(|inner| inner.status.error = Some(error));
                    None
                }
            };
            if state == BackgroundState::Starting {
                self.board.change(|inner| {
                    // Somebody may have stopped it meanwhile.
                    if inner.status.state == BackgroundState::Starting {
                        inner.status.state = BackgroundState::Running;
                    }
                });
            }
            let wait = next.unwrap_or(LOOK).min(LOOK);
            until(self.board.wake.notified(), self.host.clock().sleep(wait)).await;
        }
    }

    /// Begins what there is room for. When the next run is ready that waits for its time.
    async fn look(&self, whole: bool) -> Result<Option<Duration>, StoreError> {
        if whole {
            self.intake.count_waiting().await?;
            self.take_up().await?;
        }
        let running = self.board.look(|inner| inner.running.len());
        let mut filter = RunFilter::ready(queue_of(&self.config.name));
        filter.limit = usize::try_from(self.config.pool_size).unwrap_or(0) + running + MAX_EXTRA;
        let mut ready: Vec<(i8, RunRow, Option<RunAtWork>)> = Vec::new();
        for row in self.host.store().runs(&filter).await? {
            let work = RunAtWork::of(&self.host, &self.config, &row);
            ready.push((work.as_ref().map_or(0, |work| work.payload.priority), row, work));
        }
        ready.sort_by_key(|(priority, row, _)| (-i16::from(*priority), row.place));
        for (_, row, work) in ready {
            match work {
                Some(work) => self.begin(work, None),
                None => tracing::error!(run = %row.id, "a run cannot be read; drop it"),
            }
        }
        self.next_ready().await
    }

    async fn next_ready(&self) -> Result<Option<Duration>, StoreError> {
        let mut filter = RunFilter::default();
        filter.queue = Some(queue_of(&self.config.name));
        filter.state = Some(RunState::Queued);
        let now = self.host.clock().now();
        let rows = self.host.store().runs(&filter).await?;
        let later = |row: &RunRow| row.ready_at > now;
        let next: Option<Timestamp> = rows.iter().filter(|row| later(row)).map(|row| row.ready_at).min();
        Ok(next.map(|at| at.saturating_since(now)))
    }

    /// Goes on with runs whose sessions nobody runs any more.
    async fn take_up(&self) -> Result<(), StoreError> {
        let mut filter = RunFilter::default();
        filter.queue = Some(queue_of(&self.config.name));
        filter.state = Some(RunState::Running);
        let rows = self.host.store().runs(&filter).await?;
        let here = |row: &RunRow| self.board.look(|inner| inner.running.contains_key(&row.id));
        let left: Vec<RunRow> = rows.into_iter().filter(|row| !here(row)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.host.project_sessions().recover().await {
            tracing::warn!(%error, "sessions whose process is gone could not be settled");
        }
        for row in left {
            self.take_up_one(&row).await?;
        }
        Ok(())
    }

    async fn take_up_one(&self, row: &RunRow) -> Result<(), StoreError> {
        let (Some(session), Some(work)) = (&row.session, RunAtWork::of(&self.host, &self.config, row)) else {
            return Ok(());
        };
        let Some(known) = self.host.store().session(session).await? else {
            let step = RunMove::new(row.id.clone(), RunState::Running, RunState::Queued);
            return self.see_to(Write::MoveRun(step.reason("its session was deleted")).into()).await;
        };
        // One that has no outcome has an owner that lives.
        let Some(settled) = known.settled else { return Ok(()) };
        if work.step(&settled.outcome).is_none() {
            self.begin(work, Some(session.clone()));
            return Ok(());
        }
        let event = self.host.store().event(settled.event).await?;
        self.see_to(work.ended(session, &settled.outcome, event.as_deref())).await
    }

    /// Moves a run that nobody works on.
    async fn see_to(&self, commit: Commit) -> Result<(), StoreError> {
        match self.host.store().commit(commit).await {
            // Somebody else saw to it.
            Err(StoreError::RunIs { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Gives a run a place, if there is one for it.
    fn begin(&self, work: RunAtWork, resumed: Option<SessionId>) {
        let allowed = self.overlap(&work) == Overlap::Allow;
        let places = usize::try_from(self.config.pool_size).unwrap_or(usize::MAX);
        let waited = resumed.is_none();
        let begins = self.board.change_quietly(|inner| {
            if inner.running.contains_key(&work.id) || inner.status.state == BackgroundState::Stopping {
                return false;
            }
            let free = inner.taken() < places;
            let extra = inner.running.len().saturating_sub(inner.taken());
            let begins = free || (allowed && extra < MAX_EXTRA);
            if begins {
                inner.running.insert(work.id.clone(), Active { session: None, extra: !free, waited });
            }
            begins
        });
        if begins {
            let pool = self.clone();
            tokio::spawn(async move {
                let id = work.id.clone();
                let again = pool.one(work, resumed).await;
                pool.board.change(|inner| {
                    inner.running.remove(&id);
                    inner.unwanted.remove(&id);
                    inner.waiting += u64::from(again);
                });
            });
        }
    }

    fn overlap(&self, work: &RunAtWork) -> Overlap {
        let key = work.payload.event.id.as_str().split('/').nth(1).unwrap_or_default().to_owned();
        let trigger = self.config.triggers.iter().find(|trigger| trigger.key().as_str() == key);
        trigger.map(|trigger| trigger.policy.overlap).unwrap_or_default()
    }

    /// One attempt of a run. True if it waits again.
    async fn one(&self, work: RunAtWork, resumed: Option<SessionId>) -> bool {
        let work = Arc::new(work);
        let id = work.id.clone();
        let result = match self.request(&work, resumed.as_ref()) {
            Ok(request) => spawn_bundle(&self.host, request).await,
            Err(reason) => return self.not_started(&work, &reason).await,
        };
        let result = match result {
            Ok(result) => result,
            Err(SpawnError::Store(StoreError::RunIs { .. }) | SpawnError::ShutDown) => return false,
            Err(error) if resumed.is_some() => {
                let error = amplifier_core::causes::chain(&error);
                tracing::warn!(run = %id, error, "a session that was lost could not be resumed yet");
                self.board.change(|inner| inner.status.error = Some(error));
                return false;
            }
            // The store fails, not the run: it is tried again, and no attempt is counted.
            Err(SpawnError::Store(error)) => {
                let error = amplifier_core::causes::chain(&error);
                tracing::warn!(run = %id, error, "a run could not be begun yet");
                self.board.change(|inner| inner.status.error = Some(error));
                self.host.clock().sleep(RETRY).await;
                return false;
            }
            Err(error) => return self.not_started(&work, &amplifier_core::causes::chain(&error)).await,
        };
        let session = result.session().clone();
        let stop = self.board.change(|inner| {
            inner.status.spawned += 1;
            inner.waiting = inner.waiting.saturating_sub(u64::from(resumed.is_none()));
            inner.failures.remove(&id);
            if let Some(active) = inner.running.get_mut(&id) {
                active.session = Some(session.clone());
            }
            inner.unwanted.remove(&id)
        });
        if stop {
            session.cancel(CancelLevel::Graceful);
        }
        let outcome = result.outcome().await;
        if outcome.error.is_some() {
            let error = outcome.error.as_ref().map(ToString::to_string);
            self.board.change(|inner| inner.status.error = error);
        }
        work.step(&outcome).is_some_and(|step| step.to == RunState::Queued)
    }

    /// Notes that no session could be started. True if the run waits for another attempt.
    async fn not_started(&self, work: &RunAtWork, reason: &str) -> bool {
        let failures = self.board.change(|inner| {
            inner.status.error = Some(reason.to_owned());
            let failures = inner.failures.entry(work.id.clone()).or_default();
            *failures += 1;
            *failures
        });
        let (commit, to) = work.not_started(failures, reason);
        if let Err(error) = self.host.store().commit(commit).await {
            tracing::warn!(run = %work.id, %error, "that a run could not be started was not recorded");
        }
        if to == RunState::Dead {
            self.board.change(|inner| {
                inner.failures.remove(&work.id);
                inner.waiting = inner.waiting.saturating_sub(1);
            });
        }
        // It has waited all along.
        false
    }

    fn request(&self, work: &Arc<RunAtWork>, resumed: Option<&SessionId>) -> Result<SpawnRequest, String> {
        let event = &work.payload.event;
        let request = match resumed {
            Some(session) => SpawnRequest::resume(session.clone(), GO_ON),
            None => {
                let told = self.config.template.render(event).map_err(|error| error.to_string())?;
                let first = self.config.context.as_deref().unwrap_or_default();
                // What an event says is quoted in it; mentions in it are not followed.
                let request = SpawnRequest::new(self.config.bundle.as_str(), first).input(told);
                request.session_id(self.new_id().map_err(|error| error.to_string())?)
            }
        };
        let mut request = request
            .name(self.config.id())
            .background(true)
            .permissions(self.permissions(&event.trigger))
            .limits(self.config.limits.clone())
            .metadata(self.metadata(work))
            .together(Arc::clone(work) as _);
        if let Some(cause) = work.payload.cause {
            request = request.caused_by(cause);
        }
        Ok(request)
    }

    fn new_id(&self) -> Result<SessionId, amplifier_core::id::InvalidId> {
        SessionId::new(format!("{}-{}", session_prefix(&self.config.name), self.host.ids().v4()))
    }

    fn permissions(&self, trigger: &TriggerKind) -> Permissions {
        let foreign = matches!(trigger, TriggerKind::Webhook | TriggerKind::IssueEvent);
        let mode = self.config.permissions.unwrap_or(if foreign { Mode::Plan } else { Mode::DontAsk });
        let origin = format!("background session {}", self.config.name);
        Permissions::unrestricted().with(Layer::of_mode(origin, mode, vec![self.host.project().to_owned()]))
    }

    fn metadata(&self, work: &RunAtWork) -> Map<String, Value> {
        let text = |text: &str| Value::String(text.to_owned());
        let event = &work.payload.event;
        [
            ("background_session", text(self.config.name.as_str())),
            ("run_id", text(work.id.as_str())),
            ("trigger_id", text(event.id.as_str())),
            ("trigger_type", text(event.trigger.as_str())),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Asks all sessions of this pool to stop.
    pub(crate) fn cancel_all(&self, level: CancelLevel) {
        let sessions = self.board.change(|inner| {
            let without: Vec<RunId> = inner
                .running
                .iter()
                .filter(|(_, active)| active.session.is_none())
                .map(|(id, _)| id.clone())
                .collect();
            inner.unwanted.extend(without);
            inner.running.values().filter_map(|active| active.session.clone()).collect::<Vec<_>>()
        });
        sessions.iter().for_each(|session| session.cancel(level));
    }
}
