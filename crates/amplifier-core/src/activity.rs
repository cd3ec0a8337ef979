//! What a session does and when it last made progress: for its supervisor, and for status.
//!
//! Guarantees: time in which a session waits for a person or for a rate limit is counted as
//! suspended, once, however many of its parts wait at the same time; what a child in the
//! foreground waits counts for its parent too. A guard that is dropped, also with a turn that is
//! cut off, takes its state back. Marking progress allocates nothing and never waits.
//! Never here: what happens at a deadline; [`next_deadline`] only says which one is next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use crate::clock::{Clock, MonoTime, Timestamp};
use crate::limits::{LimitKind, LimitReached, Limits};
use crate::until::until;

/// What a session does now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActivityState {
    /// It is put together; no turn has begun.
    Starting,
    /// A turn runs, and no tool: a model is asked, or hooks and storage around it.
    Model,
    /// At least one tool runs.
    Tool,
    /// A person is asked for approval.
    Asking,
    /// It waits for somebody's permission to go on, such as the end of a rate limit.
    Waiting {
        /// Why, for a person.
        reason: Arc<str>,
        /// Until when, as far as is known.
        until: Timestamp,
    },
    /// It waits for its next user message.
    Idle,
}

/// A session's activity. Clones are the same.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    parent: Option<Activity>,
    // Held for a few fields at a time, a child's before its parent's; never across an await.
    state: Mutex<State>,
    /// Told when a deadline may have come closer: a suspension or the last tool ended, a turn began.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    begun: bool,
    models: u32,
    tools: u32,
    asking: u32,
    waits: u32,
    /// The wait that was told last.
    wait: Option<(Arc<str>, Timestamp)>,
    /// Own questions and waits, and suspended children in the foreground.
    pauses: u32,
    /// When the first of the present pauses began.
    paused_at: MonoTime,
    /// All pauses that are over.
    paused: Duration,
    foreground: bool,
    /// True while this session is one of its parent's pauses.
    passed_up: bool,
    last_progress: Option<MonoTime>,
    /// Since when nothing has happened, and how long the session had been suspended by then.
    quiet: (MonoTime, Duration),
}

/// What a guard stands for.
#[derive(Debug, Clone, Copy)]
enum Doing {
    Model,
    Tool,
    Asking,
    Waiting,
}

impl State {
    fn suspended(&self, now: MonoTime) -> Duration {
        let present = if self.pauses > 0 { now.saturating_since(self.paused_at) } else { Duration::ZERO };
        self.paused.saturating_add(present)
    }

    fn pause(&mut self, now: MonoTime) {
        if self.pauses == 0 {
            self.paused_at = now;
        }
        self.pauses += 1;
    }

    /// True if that was the last pause.
    fn resume(&mut self, now: MonoTime) -> bool {
        self.paused = if self.pauses == 1 { self.suspended(now) } else { self.paused };
        self.pauses = self.pauses.saturating_sub(1);
        self.pauses == 0
    }

    fn mark_quiet(&mut self, now: MonoTime) {
        self.quiet = (now, self.suspended(now));
    }

    fn count(&mut self, doing: Doing) -> &mut u32 {
        match doing {
            Doing::Model => &mut self.models,
            Doing::Tool => &mut self.tools,
            Doing::Asking => &mut self.asking,
            Doing::Waiting => &mut self.waits,
        }
    }

    fn name(&self) -> ActivityState {
        match &self.wait {
            _ if self.asking > 0 => ActivityState::Asking,
            Some((reason, until)) => ActivityState::Waiting { reason: Arc::clone(reason), until: *until },
            None if self.tools > 0 => ActivityState::Tool,
            None if self.models > 0 => ActivityState::Model,
            None if self.begun => ActivityState::Idle,
            None => ActivityState::Starting,
        }
    }
}

impl Activity {
    /// The activity of a root session, which is starting.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::of(clock, None)
    }

    /// The activity of a child of this session, in the background until it says otherwise.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::of(Arc::clone(&self.0.clock), Some(self.clone()))
    }

    fn of(clock: Arc<dyn Clock>, parent: Option<Activity>) -> Self {
        let now = clock.monotonic();
        let state = State {
            begun: false,
            models: 0,
            tools: 0,
            asking: 0,
            waits: 0,
            wait: None,
            pauses: 0,
            paused_at: now,
            paused: Duration::ZERO,
            foreground: false,
            passed_up: false,
            last_progress: None,
            quiet: (now, Duration::ZERO),
        };
        Self(Arc::new(Inner { clock, parent, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Says whether the parent waits for this session: only then is it suspended with it.
    pub fn set_foreground(&self, foreground: bool) {
        let mut state = self.state();
        state.foreground = foreground;
        self.pass_up(&mut state, self.0.clock.monotonic());
    }

    /// A turn runs, until the guard is dropped.
    pub fn model(&self) -> ActivityGuard {
        self.enter(Doing::Model, None)
    }

    /// A tool runs, until the guard is dropped; that is progress. Tools may run side by side.
    pub fn tool(&self) -> ActivityGuard {
        self.enter(Doing::Tool, None)
    }

    /// A person is asked, until the guard is dropped. The time is suspended.
    pub fn asking(&self) -> ActivityGuard {
        self.enter(Doing::Asking, None)
    }

    /// The session has to wait, until the guard is dropped. The time is suspended.
    pub fn waiting(&self, reason: impl Into<Arc<str>>, until: MonoTime) -> ActivityGuard {
        self.enter(Doing::Waiting, Some((reason.into(), self.wall(until))))
    }

    /// Something came: a piece of an answer, a message, the end of a tool.
    pub fn progress(&self) {
        let now = self.0.clock.monotonic();
        let mut state = self.state();
        state.last_progress = Some(now);
        state.mark_quiet(now);
    }

    /// How long the session has been suspended in all, with the present span.
    pub fn suspended(&self) -> Duration {
        let now = self.0.clock.monotonic();
        self.state().suspended(now)
    }

    /// When there was progress last; `None` if never.
    pub fn last_progress(&self) -> Option<MonoTime> {
        self.state().last_progress
    }

    /// True once there was progress.
    pub fn has_progressed(&self) -> bool {
        self.last_progress().is_some()
    }

    /// Everything at one moment.
    pub fn snapshot(&self) -> ActivitySnapshot {
        let now = self.0.clock.monotonic();
        let state = self.state();
        let suspended = state.suspended(now);
        ActivitySnapshot {
            state: state.name(),
            tools: state.tools,
            last_progress: state.last_progress,
            suspended,
            is_suspended: state.pauses > 0,
            quiet_since: state.quiet.0,
            suspended_since_quiet: suspended.saturating_sub(state.quiet.1),
        }
    }

    /// Resolves when a deadline may have come closer than [`next_deadline`] said since this call.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.changed.notified()
    }

    /// Waits for the first deadline of an activation that passes; for ever where there is none.
    pub async fn expired(&self, limits: &Limits, began: MonoTime) -> Deadline {
        loop {
            let changed = self.changed();
            let now = self.0.clock.monotonic();
            match next_deadline(limits, began, &self.snapshot(), now) {
                Some((at, deadline)) if at <= now => return deadline,
                Some((at, _)) => drop(until(changed, self.0.clock.sleep_until(at)).await),
                None => changed.await,
            }
        }
    }

    fn enter(&self, doing: Doing, wait: Option<(Arc<str>, Timestamp)>) -> ActivityGuard {
        let now = self.0.clock.monotonic();
        let mut state = self.state();
        *state.count(doing) += 1;
        match doing {
            Doing::Model if state.models == 1 => {
                state.begun = true;
                state.mark_quiet(now);
                self.0.changed.notify_waiters();
            }
            Doing::Model | Doing::Tool => {}
            Doing::Asking | Doing::Waiting => {
                state.wait = wait.or(state.wait.take());
                state.pause(now);
                self.pass_up(&mut state, now);
            }
        }
        ActivityGuard { activity: self.clone(), doing }
    }

    fn leave(&self, doing: Doing) {
        let now = self.0.clock.monotonic();
        let mut state = self.state();
        let count = state.count(doing);
        *count = count.saturating_sub(1);
        let left = *count;
        match doing {
            Doing::Model => {}
            Doing::Tool => {
                state.last_progress = Some(now);
                state.mark_quiet(now);
                if left == 0 {
                    self.0.changed.notify_waiters();
                }
            }
            Doing::Asking | Doing::Waiting => {
                if state.waits == 0 {
                    state.wait = None;
                }
                self.resume(&mut state, now);
            }
        }
    }

    fn resume(&self, state: &mut State, now: MonoTime) {
        if state.resume(now) {
            self.0.changed.notify_waiters();
        }
        self.pass_up(state, now);
    }

    /// Makes the parent count this session among its pauses, or no longer.
    fn pass_up(&self, state: &mut State, now: MonoTime) {
        let wanted = state.foreground && state.pauses > 0;
        let Some(parent) = self.0.parent.as_ref().filter(|_| wanted != state.passed_up) else { return };
        state.passed_up = wanted;
        let mut above = parent.state();
        match wanted {
            true => {
                above.pause(now);
                parent.pass_up(&mut above, now);
            }
            false => parent.resume(&mut above, now),
        }
    }

    fn wall(&self, at: MonoTime) -> Timestamp {
        self.0.clock.now().saturating_add(at.saturating_since(self.0.clock.monotonic()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state that a session is in until this is dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it says nothing"]
pub struct ActivityGuard {
    activity: Activity,
    doing: Doing,
}

impl ActivityGuard {
    /// Of a wait: it will take until then, as is known now.
    pub fn until(&self, at: MonoTime) {
        let at = self.activity.wall(at);
        if let Some((_, until)) = &mut self.activity.state().wait {
            *until = at;
        }
    }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.activity.leave(self.doing);
    }
}

/// An activity at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActivitySnapshot {
    /// What the session does. A question to a person stands before a wait, that before tools.
    pub state: ActivityState,
    /// Tools that run.
    pub tools: u32,
    /// When there was progress last; `None` if never.
    pub last_progress: Option<MonoTime>,
    /// How long it has been suspended in all, with the present span.
    pub suspended: Duration,
    /// True while it is suspended.
    pub is_suspended: bool,
    /// Since when nothing has happened: the last progress, or the beginning of a turn after it.
    pub quiet_since: MonoTime,
    /// How much of the time since then it was suspended.
    pub suspended_since_quiet: Duration,
}

/// What can pass for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// [`Limits::timeout_ms`].
    Timeout,
    /// [`Limits::first_progress_ms`].
    FirstProgress,
    /// [`Limits::idle_ms`].
    Idle,
}

impl Deadline {
    /// The limit that is reached; `None` for the time-out, which is an outcome of its own.
    pub fn reached(self, limits: &Limits, set_by: &str) -> Option<LimitReached> {
        let (kind, value) = match self {
            Self::Timeout => return None,
            Self::FirstProgress => (LimitKind::FirstProgress, limits.first_progress_ms),
            Self::Idle => (LimitKind::Idle, limits.idle_ms),
        };
        let value = value.unwrap_or_default();
        Some(LimitReached::new(kind, value, value, set_by))
    }
}

/// The deadline of an activation that passes first as things stand, and when: not later than `now`
/// if it has passed. `began` is when the activation began.
///
/// All of them are put off by the time in which the session is suspended. While it is suspended,
/// nothing further passes. A running tool, which has a time-out of its own, is no silence; nor is
/// the time between two turns. `None`: nothing passes before [`Activity::changed`] resolves.
pub fn next_deadline(
    limits: &Limits,
    began: MonoTime,
    at: &ActivitySnapshot,
    now: MonoTime,
) -> Option<(MonoTime, Deadline)> {
    let end = |start: MonoTime, millis: u64, put_off: Duration| {
        start.saturating_add(Duration::from_millis(millis)).saturating_add(put_off)
    };
    let in_turn = at.state != ActivityState::Idle;
    let first_progress = limits.first_progress_ms.filter(|_| in_turn && at.last_progress.is_none());
    let idle = limits.idle_ms.filter(|_| in_turn && at.tools == 0);
    let all = [
        limits.timeout_ms.map(|millis| (end(began, millis, at.suspended), Deadline::Timeout)),
        first_progress.map(|millis| (end(began, millis, at.suspended), Deadline::FirstProgress)),
        idle.map(|millis| (end(at.quiet_since, millis, at.suspended_since_quiet), Deadline::Idle)),
    ];
    let next = all.into_iter().flatten().min_by_key(|(at, _)| *at);
    next.filter(|(end, _)| !at.is_suspended || *end <= now)
}
