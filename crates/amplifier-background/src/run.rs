//! Runs: what a firing becomes, and the steps that its sessions make it take.
//!
//! Guarantees: a run begins in the commit that opens its session, and takes its next step in the commit that
//! settles it, with the events that follow. Whoever does it, and however often, it happens once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::clock::BoxFuture;
use amplifier_core::event::CustomName;
use amplifier_core::{
    Cause, EventId, EventType, NewEvent, OutcomeKind, Payload, RunId, SessionEvent, SessionId,
    SessionOutcome, TriggerId,
};
use amplifier_foundation::router::{DEFAULT_MAX_HOPS, RouterError, Why};
use amplifier_foundation::spawn::Together;
use amplifier_foundation::{EventRouter, Host};
use amplifier_store::{
    ActivationId, Commit, CounterName, Expect, QueueName, RunFilter, RunMove, RunRow, RunState, StoreError,
    Write,
};
use amplifier_trigger::{BackgroundName, TriggerEvent, TriggerEventId, TriggerKind};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::{BackgroundConfig, backoff};
use crate::lease::WorkLease;
use crate::pool::Pool;
use crate::status::{BackgroundState, Board};
use crate::work::{self, Ending, Heard, Next, WorkEnd, WorkRun};

/// How often a session that was lost with its process is resumed before its run is given up.
const MAX_RESUMES: u32 = 20;

/// What a run's row carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunPayload {
    pub(crate) event: TriggerEvent,
    /// The event of the log that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// The run that somebody had made anew as this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_of: Option<RunId>,
}

/// The queue of a background session.
pub fn queue_of(name: &BackgroundName) -> QueueName {
    #[expect(clippy::expect_used, reason = "a name has at most 64 bytes")]
    QueueName::new(format!("background/{name}")).expect("a name")
}

/// The runs of a background session that run, wherever.
pub(crate) async fn running_of(host: &Host, name: &BackgroundName) -> Result<Vec<RunRow>, StoreError> {
    let mut filter = RunFilter::default();
    filter.queue = Some(queue_of(name));
    filter.state = Some(RunState::Running);
    host.store().runs(&filter).await
}

/// The background session that a queue is of; `None` for a queue of something else.
pub(crate) fn background_of(queue: &QueueName) -> Option<BackgroundName> {
    BackgroundName::new(queue.as_str().strip_prefix("background/")?).ok()
}

/// One of the numbers that the conservation law is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Triggered,
    Coalesced,
    Skipped,
    Rejected,
}

impl Count {
    pub(crate) fn of(self, name: &BackgroundName) -> CounterName {
        let word = match self {
            Self::Triggered => "triggered",
            Self::Coalesced => "coalesced",
            Self::Skipped => "skipped",
            Self::Rejected => "rejected",
        };
        #[expect(clippy::expect_used, reason = "a name has at most 64 bytes")]
        CounterName::new(format!("background/{name}/{word}")).expect("a name")
    }
}

/// The id that a session of a background session begins with.
pub(crate) fn session_prefix(name: &BackgroundName) -> String {
    // `_` in an id says that it is a child.
    format!("bg-{}", name.as_str().replace('_', "-"))
}

/// True if a session is one of this background session's own, or of their trees.
pub(crate) fn is_own(name: &BackgroundName, session: &SessionId) -> bool {
    let rest = session.as_str().strip_prefix(&session_prefix(name)).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| {
        rest.len() == 36 && !rest.contains(|c: char| !(c.is_ascii_hexdigit() || c == '-'))
    })
}

/// The condition under which an attempt of a run is moved on.
pub(crate) fn attempt_is(run: &RunId, state: RunState, attempt: u32) -> Expect {
    Expect::RunAttempt { run: run.clone(), state, attempt }
}

/// A run at work: what its session's commits hold besides.
#[derive(Debug)]
pub(crate) struct RunAtWork {
    pub(crate) router: EventRouter,
    pub(crate) lease: Arc<WorkLease>,
    pub(crate) config: Arc<BackgroundConfig>,
    pub(crate) id: RunId,
    pub(crate) attempt: u32,
    pub(crate) payload: RunPayload,
    /// True for a session that goes on.
    pub(crate) resumes: bool,
    board: Arc<Board>,
    /// What its [`Work`](crate::work::Work) adds. Held for a look or a change.
    part: Mutex<Part>,
}

/// What somebody else adds to the commits of an attempt.
#[derive(Debug, Default)]
struct Part {
    opening: Commit,
    ending: Option<Ending>,
}

impl Together for RunAtWork {
    fn opening(&self, of: &ActivationId) -> Commit {
        let step = |from, to| RunMove::new(self.id.clone(), from, to);
        let opening = self.part().opening.clone();
        if self.resumes {
            return self.lease.beginning(work::both(self.only(RunState::Running), opening));
        }
        let started = step(RunState::Leased, RunState::Running).session(of.session.clone());
        let leased = Write::MoveRun(step(RunState::Queued, RunState::Leased));
        let begun = self.only(RunState::Queued).write(leased).write(Write::MoveRun(started));
        self.lease.beginning(work::both(begun, opening))
    }

    fn prepare<'a>(&'a self, of: &'a ActivationId, outcome: &'a SessionOutcome) -> BoxFuture<'a, bool> {
        Box::pin(self.prepare_end(&of.session, outcome))
    }

    fn settling(&self, of: &ActivationId, outcome: &SessionOutcome, event: &SessionEvent) -> Commit {
        self.ended(&of.session, outcome, Some(event))
    }
}

impl RunAtWork {
    /// The run of a row. `None`: the row's payload cannot be read.
    pub(crate) fn of(pool: &Pool, row: &RunRow) -> Option<Self> {
        let (router, config, id) = (pool.host.router().clone(), Arc::clone(&pool.config), row.id.clone());
        let lease = Arc::clone(&pool.lease);
        let payload = row.payload.decode().ok()?;
        let resumes = row.state == RunState::Running;
        let (board, part) = (Arc::clone(&pool.board), Mutex::default());
        Some(Self { router, lease, config, id, attempt: row.attempt, payload, resumes, board, part })
    }

    /// A commit that holds for this attempt only: whoever else looks after the run may have ended it and begun
    /// the next one since.
    fn only(&self, state: RunState) -> Commit {
        Commit::new().when(attempt_is(&self.id, state, self.attempt))
    }

    fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the commit that opens its session holds besides.
    pub(crate) fn opens_with(&self, opening: Commit) {
        self.part().opening = opening;
    }

    /// What whoever has a part in it is told of it.
    pub(crate) fn as_told(&self) -> WorkRun {
        let stops = |state| matches!(state, BackgroundState::Stopping | BackgroundState::Stopped);
        WorkRun {
            run: self.id.clone(),
            attempt: self.attempt,
            attempts: self.config.queue.attempts,
            firing: self.payload.event.clone(),
            resumes: self.resumes,
            heard: Heard::default(),
            stopping: self.board.look(|inner| stops(inner.status.state))
                || self.lease.host().sessions().is_closed(),
        }
    }

    /// Gets ready what the end of its session makes durable besides. False: nobody has a part in it.
    pub(crate) async fn prepare_end(&self, session: &SessionId, outcome: &SessionOutcome) -> bool {
        let usual = self.usual(outcome).map(|step| step.to);
        self.prepare_with(WorkEnd::Session { session, outcome, usual }).await
    }

    async fn prepare_with(&self, end: WorkEnd<'_>) -> bool {
        let Some(work) = &self.config.work else { return false };
        let ending = work.ending(&self.as_told(), end).await;
        let looked = ending.is_ok();
        self.part().ending = match ending {
            Ok(ending) => Some(ending),
            Err(error) => {
                tracing::warn!(run = %self.id, %error, "what follows from the end of a run is not known yet");
                None
            }
        };
        looked
    }

    /// Takes back what was got ready: the run ends without it.
    pub(crate) fn alone(&self) {
        self.part().ending = None;
    }

    /// The step that an outcome leads to; `None` for one that the session goes on from.
    pub(crate) fn step(&self, outcome: &SessionOutcome) -> Option<RunMove> {
        let next = self.part().ending.as_ref().map(|ending| ending.next.clone()).unwrap_or_default();
        let to = |state| RunMove::new(self.id.clone(), RunState::Running, state);
        match next {
            Next::AsUsual => self.usual(outcome),
            Next::Again { reason } if self.attempt < self.config.queue.attempts => {
                Some(to(RunState::Queued).delay(backoff(self.attempt)).reason(reason))
            }
            Next::Again { reason } | Next::Dead { reason } => Some(to(RunState::Dead).reason(reason)),
            Next::Cancelled { reason } => Some(to(RunState::Cancelled).reason(reason)),
            Next::Completed => Some(to(RunState::Completed)),
        }
    }

    /// The step that an outcome leads to where nobody else has a say.
    fn usual(&self, outcome: &SessionOutcome) -> Option<RunMove> {
        let to = |state| RunMove::new(self.id.clone(), RunState::Running, state);
        let why = outcome
            .error
            .as_ref()
            .map_or_else(|| outcome.kind.as_str().to_owned(), |error| error.message.clone());
        let step = match outcome.kind {
            OutcomeKind::Completed => return Some(to(RunState::Completed)),
            OutcomeKind::Lost if outcome.activation.0 < MAX_RESUMES => return None,
            OutcomeKind::Cancelled => to(RunState::Cancelled),
            OutcomeKind::Failed | OutcomeKind::TimedOut if self.attempt < self.config.queue.attempts => {
                to(RunState::Queued).delay(backoff(self.attempt))
            }
            _ => to(RunState::Dead),
        };
        Some(step.reason(why))
    }

    /// What the end of its session makes durable: its step, and the events that tell it.
    pub(crate) fn ended(
        &self,
        session: &SessionId,
        outcome: &SessionOutcome,
        event: Option<&SessionEvent>,
    ) -> Commit {
        let Some(step) = self.step(outcome) else { return Commit::new() };
        let to = step.to;
        let cause = event.map(Cause::of).or(self.payload.cause);
        let said = self.said(Some(session), outcome.output.as_str(), to, step.reason.as_deref());
        let mut commit = self.only(RunState::Running).write(Write::MoveRun(step));
        for event in self.events(to, &said, cause, Some(session)) {
            commit = commit.write(Write::Append(Box::new(event)));
        }
        self.with_part(commit)
    }

    fn with_part(&self, commit: Commit) -> Commit {
        let part = self.part().ending.as_ref().map(|ending| ending.commit.clone());
        work::both(commit, part.unwrap_or_default())
    }

    /// A run whose session was lost and has left nothing to go on from: it waits for another attempt, or that was
    /// the last. With the events that tell it.
    pub(crate) async fn left_nothing(&self, session: &SessionId) -> (Commit, RunState) {
        let last = self.attempt >= self.config.queue.attempts;
        let to = if last { RunState::Dead } else { RunState::Queued };
        let reason = "its session was lost and has left nothing to go on from";
        self.prepare_with(WorkEnd::Nothing { reason, last }).await;
        let said = self.said(Some(session), "", to, Some(reason));
        let step = RunMove::new(self.id.clone(), RunState::Running, to).reason(reason);
        let events = self.events(to, &said, self.payload.cause, Some(session));
        let append = |commit: Commit, event| commit.write(Write::Append(Box::new(event)));
        let commit = self.only(RunState::Running).write(Write::MoveRun(step));
        (self.with_part(events.into_iter().fold(commit, append)), to)
    }

    /// A run of which no session could be started: its step, and the events that tell it.
    pub(crate) async fn not_started(&self, failures: u32, reason: &str) -> (Commit, RunState) {
        let lease = RunMove::new(self.id.clone(), RunState::Queued, RunState::Leased);
        let last = failures >= self.config.queue.attempts;
        self.prepare_with(WorkEnd::Nothing { reason, last }).await;
        let to = if last { RunState::Dead } else { RunState::Queued };
        let step = RunMove::new(self.id.clone(), RunState::Leased, to).reason(reason);
        let step = if last { step } else { step.delay(backoff(failures)) };
        let said = self.said(None, "", to, Some(reason));
        let mut commit = self.only(RunState::Queued).write(Write::MoveRun(lease)).write(Write::MoveRun(step));
        for event in self.events(to, &said, self.payload.cause, None) {
            commit = commit.write(Write::Append(Box::new(event)));
        }
        (self.with_part(commit), to)
    }

    fn said(&self, session: Option<&SessionId>, output: &str, to: RunState, error: Option<&str>) -> Payload {
        let trigger = &self.payload.event;
        let said = Said {
            background_session_id: &self.config.id(),
            session_name: &self.config.name,
            spawned_session_id: session,
            trigger_type: &trigger.trigger,
            trigger_id: &trigger.id,
            trigger_data: &trigger.payload,
            run_id: &self.id,
            attempt: self.attempt,
            output,
            success: to == RunState::Completed,
            will_retry: to == RunState::Queued,
            error,
        };
        Payload::cut(&said).unwrap_or_else(|_| Payload::null())
    }

    /// What is told of a step. Custom events are not told further than the limit of hops.
    fn events(
        &self,
        to: RunState,
        said: &Payload,
        cause: Option<Cause>,
        session: Option<&SessionId>,
    ) -> Vec<SessionEvent> {
        let completed = to == RunState::Completed;
        let kind =
            if completed { EventType::BackgroundSpawnCompleted } else { EventType::BackgroundSpawnError };
        let mut events = vec![kind];
        if to == RunState::Dead {
            events.push(EventType::RunDead);
        }
        let custom: Option<&CustomName> = match to {
            RunState::Completed => self.config.on_complete_emit.as_ref(),
            RunState::Queued => None,
            _ => self.config.on_error_emit.as_ref(),
        };
        events.extend(custom.cloned().map(EventType::Custom));
        let max = self.config.limits.max_hops.unwrap_or(DEFAULT_MAX_HOPS);
        let told = events.into_iter().filter_map(|kind| {
            let mut event = NewEvent::of(kind, said.clone()).caused_by(cause);
            if let Some(session) = session {
                event = event.from_session(session.clone()).below(session.clone());
            }
            let too_far = matches!(event.event_type, EventType::Custom(_)) && event.hops > max;
            let event = if too_far { too_far_event(&event, max) } else { event };
            self.router.seal(event).ok()
        });
        told.collect()
    }
}

/// What the events of a step say.
#[derive(Serialize)]
struct Said<'a> {
    background_session_id: &'a str,
    session_name: &'a BackgroundName,
    spawned_session_id: Option<&'a SessionId>,
    trigger_type: &'a TriggerKind,
    trigger_id: &'a TriggerEventId,
    trigger_data: &'a Payload,
    run_id: &'a RunId,
    attempt: u32,
    output: &'a str,
    success: bool,
    will_retry: bool,
    error: Option<&'a str>,
}

/// What stands in the place of an event beyond the limit of hops.
pub(crate) fn too_far_event(refused: &NewEvent, max: u32) -> NewEvent {
    let said = json!({
        "policy": "max_hops", "refused": refused.event_type.name(), "hops": refused.hops, "limit": max,
        "session_id": refused.source,
    });
    let mut told = NewEvent::of(EventType::PolicyViolation, said.into());
    (told.source, told.root) = (refused.source.clone(), refused.root.clone());
    (told.causation, told.correlation, told.hops) = (refused.causation, refused.correlation, refused.hops);
    told
}

/// The firing that became a run; `None` for a run of somebody else.
pub fn firing_of(run: &RunRow) -> Option<TriggerEvent> {
    run.payload.decode::<RunPayload>().ok().map(|payload| payload.event)
}

/// The chain from an event back to its first cause, through the runs of background sessions: each session of
/// theirs is followed by its run, the trigger that fired, and the event that it has answered.
pub async fn why(router: &EventRouter, event: EventId) -> Result<Why, RouterError> {
    let answers = |run: &RunRow| match firing_of(run)?.cause {
        amplifier_trigger::Cause::Event { event } | amplifier_trigger::Cause::Since { event } => Some(event),
        _ => None,
    };
    router.why_with(event, &answers).await
}

/// The trigger of a firing, as its run's row names it.
pub(crate) fn trigger_id(event: &TriggerEvent) -> Option<TriggerId> {
    let mut parts = event.id.as_str().split('/');
    TriggerId::new(format!("{}:{}", parts.next()?, parts.next()?)).ok()
}
