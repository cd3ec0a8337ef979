//! The pool of one background session: what waits gets a place.
//!
//! Guarantees: at most `pool_size` sessions at once, and beyond them only what a trigger allows; each run is
//! begun by one process; while one of its sessions waits out a rate limit, none is begun. A pool in which
//! nothing waits has no task and costs nothing; a look costs the places that are free, not what waits.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use amplifier_core::permission::{Layer, Mode, Permissions};
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, RunId, SessionEvent, SessionId, SessionOutcome, Timestamp};
use amplifier_foundation::spawn::SpawnRequest;
use amplifier_foundation::storage::StorageError;
use amplifier_foundation::{Host, SpawnError, spawn_bundle};
use amplifier_store::{Commit, QueueName, RunRow, RunState, StoreError};
use amplifier_trigger::{Overlap, TriggerKind};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::config::BackgroundConfig;
use crate::intake::Intake;
use crate::lease::{HEARTBEAT, WorkLease};
use crate::run::{RunAtWork, session_prefix};
use crate::status::{Active, BackgroundState, Board, Inner};
use crate::work::{self, Heard, WorkError, WorkRun};

/// Sessions beyond a pool at most.
const MAX_EXTRA: usize = 64;
/// Runs that are read ahead at most. Each holds what its event says.
const AHEAD: usize = 64;
/// How long a rate limit is given that should be over by now.
const LIMIT_LOOK: Duration = Duration::from_secs(1);
/// How long a run keeps its place that the store could not begin.
const RETRY: Duration = Duration::from_secs(1);
/// What a session is told that goes on after its process was lost.
const GO_ON: &str =
    "The process that ran you has ended before you were done. Look at what is done already, and go on.";

/// A pool at work.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) host: Host,
    pub(crate) config: Arc<BackgroundConfig>,
    pub(crate) board: Arc<Board>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) lease: Arc<WorkLease>,
    pub(crate) queue: QueueName,
}

/// What was read of the queue, and is not begun yet.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    runs: VecDeque<RunRow>,
    /// True if there was nothing more.
    all: bool,
    /// When the next one is ready.
    next: Option<Timestamp>,
}

impl Pool {
    /// A pool that looks for runs when its board is roused.
    pub(crate) fn new(
        host: Host,
        config: Arc<BackgroundConfig>,
        board: Arc<Board>,
        intake: Arc<Intake>,
        lease: Arc<WorkLease>,
        queue: QueueName,
    ) -> Arc<Self> {
        let runtime = Handle::current();
        Arc::new_cyclic(|weak: &Weak<Self>| {
            let weak = weak.clone();
            board.on_rouse(move || {
                if let Some(pool) = weak.upgrade() {
                    runtime.spawn(pool.work());
                }
            });
            Self { host, config, board, intake, lease, queue }
        })
    }

    /// Looks as long as there is something to look for or to wait for.
    async fn work(self: Arc<Self>) {
        loop {
            let fresh = self.board.begin_look();
            let wait = match self.look(fresh).await {
                Ok(wait) => wait,
                Err(error) => {
                    self.failed(&error);
                    Some(HEARTBEAT)
                }
            };
            match wait {
                Some(wait) => drop(until(self.board.wake.notified(), self.host.clock().sleep(wait)).await),
                None if self.board.may_rest() => return,
                None => {}
            }
        }
    }

    /// Notes that the store failed.
    pub(crate) fn failed(&self, error: &StoreError) {
        let error = amplifier_core::causes::chain(error);
        tracing::warn!(background = %self.config.name, error, "the queue cannot be read");
        self.board.change(|inner| inner.status.error = Some(error));
    }

    /// Begins what there is room for. How long until there may be something to begin; `None`: whatever comes
    /// rouses the pool. `fresh`: runs may have been queued since the last look.
    async fn look(self: &Arc<Self>, fresh: bool) -> Result<Option<Duration>, StoreError> {
        if !self.board.look(|inner| inner.status.state.begins()) {
            return Ok(None);
        }
        let now = self.host.clock().now();
        if let Some((_, limited)) = self.board.look(Inner::limited) {
            self.board.change_quietly(|inner| inner.ahead = Ahead::default());
            return Ok(Some(limited.saturating_since(now).max(LIMIT_LOOK)));
        }
        let (mut free, mut starting) = self.room();
        let extra = if self.allows() { MAX_EXTRA } else { 0 };
        if free + extra == 0 {
            if fresh {
                self.board.change_quietly(|inner| inner.ahead = Ahead::default());
            }
            return Ok(None);
        }
        let mut ahead = self.board.change_quietly(|inner| std::mem::take(&mut inner.ahead));
        let mut reads = fresh || ahead.next.is_some_and(|next| next <= now);
        loop {
            if reads || (ahead.runs.is_empty() && !ahead.all) {
                ahead = self.read(free, starting + extra, fresh).await?;
            }
            reads = false;
            // Several may have ended at once, and leave more places than runs were read.
            let begun = self.begin_ahead(&mut ahead, free, extra);
            (free, starting) = self.room();
            if begun == 0 || ahead.all || !ahead.runs.is_empty() || free + extra == 0 {
                break;
            }
        }
        let next = ahead.next;
        self.board.change_quietly(|inner| inner.ahead = ahead);
        Ok(next.map(|next| next.saturating_since(self.host.clock().now())))
    }

    /// Reads what is ready: what there is room for, and some ahead. What was read counts until something is
    /// queued; where nothing is, more of it.
    async fn read(&self, free: usize, besides: usize, fresh: bool) -> Result<Ahead, StoreError> {
        self.lease.hold().await?;
        let places = usize::try_from(self.config.pool_size).unwrap_or(usize::MAX);
        let more = if fresh { 0 } else { places.min(AHEAD) };
        let limit = (2 * free).max(more) + besides;
        let ready = self.host.store().ready_runs(&self.queue, limit).await?;
        let all = ready.runs.len() < limit;
        Ok(Ahead { runs: ready.runs.into(), all, next: ready.next })
    }

    /// Begins what was read, as far as there are places; the rest stays. How many were begun.
    fn begin_ahead(self: &Arc<Self>, ahead: &mut Ahead, mut free: usize, extra: usize) -> usize {
        let (mut begun, mut left) = (0, VecDeque::new());
        for row in ahead.runs.drain(..) {
            // Until its session is recorded it is queued, and again from when that is settled.
            if self.board.look(|inner| inner.running.contains_key(&row.id)) {
                ahead.all = false;
                continue;
            }
            if free + extra == 0 {
                left.push_back(row);
                continue;
            }
            match RunAtWork::of(self, &row).map(|work| self.begin(work, None)) {
                Some(true) => {
                    begun += 1;
                    free = free.saturating_sub(1);
                }
                Some(false) => left.push_back(row),
                None => tracing::error!(run = %row.id, "a run cannot be read; drop it"),
            }
        }
        ahead.runs = left;
        begun
    }

    /// Free places, and runs that were begun and have no session yet.
    fn room(&self) -> (usize, usize) {
        let places = usize::try_from(self.config.pool_size).unwrap_or(usize::MAX);
        self.board.look(|inner| {
            let starting = inner.running.values().filter(|active| active.session.is_none()).count();
            (places.saturating_sub(inner.taken()), starting)
        })
    }

    fn allows(&self) -> bool {
        self.config.triggers.iter().any(|trigger| trigger.policy.overlap == Overlap::Allow)
    }

    /// Moves a run that nobody works on.
    pub(crate) async fn see_to(&self, commit: Commit) -> Result<(), StoreError> {
        match self.host.store().commit(commit).await {
            // Somebody else saw to it.
            Err(StoreError::RunIs { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Gives a run a place, if there is one for it.
    pub(crate) fn begin(self: &Arc<Self>, work: RunAtWork, resumed: Option<SessionId>) -> bool {
        let allowed = self.overlap(&work) == Overlap::Allow;
        let places = usize::try_from(self.config.pool_size).unwrap_or(usize::MAX);
        let waited = resumed.is_none();
        let begins = self.board.change_quietly(|inner| {
            // What was lost with its process is gone on with before anything else begins.
            let begins = inner.status.state.begins() || inner.status.state == BackgroundState::Starting;
            if inner.running.contains_key(&work.id) || !begins {
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
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                let id = work.id.clone();
                let again = pool.one(work, resumed).await;
                pool.board.change(|inner| {
                    inner.running.remove(&id);
                    inner.unwanted.remove(&id);
                    inner.waiting += i64::from(again);
                    inner.end_if_empty();
                });
                pool.board.freed();
            });
        }
        begins
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
        let result = match self.asked(&work, resumed.as_ref()).await {
            Ok(request) => spawn_bundle(&self.host, request).await,
            Err(WorkError::Store(error)) => Err(SpawnError::Store(error)),
            Err(_) if resumed.is_some() => return self.left_nothing(&work, resumed.as_ref()).await,
            Err(WorkError::Refused { reason }) => return self.never_started(&work, &reason).await,
            Err(error) => return self.not_started(&work, &error.to_string()).await,
        };
        let result = match result {
            Ok(result) => result,
            Err(SpawnError::Store(StoreError::RunIs { .. }) | SpawnError::ShutDown) => return false,
            Err(SpawnError::Storage(StorageError::NotFound { .. })) if resumed.is_some() => {
                return self.left_nothing(&work, resumed.as_ref()).await;
            }
            Err(SpawnError::Store(StoreError::LeaseLost { .. })) => {
                // Somebody took this process for one that hangs: the run waits, and is looked for again.
                self.lease.lost();
                self.board.rouse();
                return false;
            }
            Err(error) if resumed.is_some() => {
                let error = amplifier_core::causes::chain(&error);
                tracing::warn!(run = %id, error, "a session that was lost could not be resumed yet");
                self.board.change(|inner| inner.status.error = Some(error));
                return false;
            }
            // Something changed while it was begun: it begins with what is there now.
            Err(SpawnError::Store(error)) if work::overtaken(&error) => {
                self.board.rouse();
                return false;
            }
            // The store fails, not the run: it is tried again, and no attempt is counted.
            Err(SpawnError::Store(error)) => {
                let error = amplifier_core::causes::chain(&error);
                tracing::warn!(run = %id, error, "a run could not be begun yet");
                self.board.change(|inner| inner.status.error = Some(error));
                until(self.host.clock().sleep(RETRY), self.board.is_unwanted(&id)).await;
                self.board.rouse();
                return false;
            }
            Err(error) => return self.not_started(&work, &amplifier_core::causes::chain(&error)).await,
        };
        let session = result.session().clone();
        let stop = self.board.change(|inner| {
            inner.status.spawned += 1;
            inner.waiting -= i64::from(resumed.is_none());
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

    /// Moves a run on whose session has no files: the store took it in after its start was given up, and its
    /// process has gone since. True if the run waits for another attempt.
    async fn left_nothing(&self, work: &RunAtWork, session: Option<&SessionId>) -> bool {
        let Some(session) = session else { return false };
        let (commit, to) = work.left_nothing(session).await;
        match self.see_to(commit).await {
            Ok(()) => to == RunState::Queued,
            Err(error) => {
                tracing::warn!(run = %work.id, %error, "that a session has left nothing was not recorded");
                false
            }
        }
    }

    /// Notes that no session could be started. True if the run waits for another attempt.
    async fn not_started(&self, work: &RunAtWork, reason: &str) -> bool {
        let failures = self.board.change(|inner| {
            inner.status.error = Some(reason.to_owned());
            let failures = inner.failures.entry(work.id.clone()).or_default();
            *failures += 1;
            *failures
        });
        self.start_failed(work, failures, reason).await
    }

    /// Notes that no session will be started.
    async fn never_started(&self, work: &RunAtWork, reason: &str) -> bool {
        self.board.change(|inner| inner.status.error = Some(reason.to_owned()));
        self.start_failed(work, self.config.queue.attempts, reason).await
    }

    async fn start_failed(&self, work: &RunAtWork, failures: u32, reason: &str) -> bool {
        let (commit, to) = work.not_started(failures, reason).await;
        if let Err(error) = self.host.store().commit(commit).await {
            tracing::warn!(run = %work.id, %error, "that a run could not be started was not recorded");
        }
        if to == RunState::Dead {
            self.board.change(|inner| {
                inner.failures.remove(&work.id);
                inner.waiting -= 1;
            });
        }
        // It has waited all along.
        false
    }

    /// What a session of it is asked for, with what its [`Work`](crate::work::Work) makes of that.
    async fn asked(
        &self,
        work: &Arc<RunAtWork>,
        resumed: Option<&SessionId>,
    ) -> Result<SpawnRequest, WorkError> {
        let failed = |reason| WorkError::Failed { reason };
        let session = match resumed {
            Some(session) => session.clone(),
            None => self.new_id().map_err(|error| failed(error.to_string()))?,
        };
        let heard = self.heard(resumed).await;
        let request = self.request(work, resumed, &session, heard).map_err(failed)?;
        let Some(part) = &self.config.work else { return Ok(request) };
        let told = WorkRun { heard, ..work.as_told() };
        let begun = part.begin(&told, &session, request).await?;
        work.opens_with(begun.opening);
        Ok(begun.request.together(Arc::clone(work) as _))
    }

    /// What a session that goes on has on record of what it was told.
    async fn heard(&self, resumed: Option<&SessionId>) -> Heard {
        let Some(session) = resumed else { return Heard::default() };
        // Whoever opens it says what is wrong with it.
        self.host.storage().load(session).await.map_or(Heard::default(), |stored| Heard::of(&stored))
    }

    /// Moves a run on whose session has ended, with what follows from that.
    pub(crate) async fn see_to_end(
        &self,
        work: &RunAtWork,
        session: &SessionId,
        outcome: &SessionOutcome,
        event: Option<&SessionEvent>,
    ) -> Result<(), StoreError> {
        for _ in 0..work::TRIES {
            match self.host.store().commit(work.ended(session, outcome, event)).await {
                // Somebody else saw to it.
                Err(StoreError::RunIs { run, .. }) if run == work.id => return Ok(()),
                Err(error) if work::overtaken(&error) => work.prepare_end(session, outcome).await,
                other => return other.map(drop),
            };
        }
        work.alone();
        self.see_to(work.ended(session, outcome, event)).await
    }

    fn request(
        &self,
        work: &Arc<RunAtWork>,
        resumed: Option<&SessionId>,
        session: &SessionId,
        heard: Heard,
    ) -> Result<SpawnRequest, String> {
        let event = &work.payload.event;
        let request = match resumed {
            Some(session) if heard != Heard::Nothing => SpawnRequest::resume(session.clone(), GO_ON),
            _ => {
                let told = self.config.template.render(event).map_err(|error| error.to_string())?;
                let first = self.config.context.as_deref().unwrap_or_default();
                let request = match resumed {
                    Some(session) => SpawnRequest::resume(session.clone(), first),
                    None => SpawnRequest::new(self.config.bundle.as_str(), first).session_id(session.clone()),
                };
                // What an event says is quoted in it; mentions in it are not followed.
                request.input(told)
            }
        };
        let mut request = request
            .name(self.config.id())
            .background(true)
            .chosen_by_project(self.config.chosen_by_project)
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
        self.board.change(|inner| {
            let without = inner.running.iter().filter(|(_, active)| active.session.is_none());
            let without: Vec<RunId> = without.map(|(id, _)| id.clone()).collect();
            inner.unwanted.extend(without);
        });
        self.board.sessions().iter().for_each(|session| session.cancel(level));
    }
}
