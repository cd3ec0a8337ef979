//! How a background session stands.
//!
//! Guarantees: a status is changed where what it tells changes, under one lock, so it is never older than
//! that. What must survive the process is in the store: its runs, and [`Counts`].

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use amplifier_core::activity::ActivityState;
use amplifier_core::{AmplifierSession, RunId, SessionId, Timestamp};
use amplifier_store::{Store, StoreError};
use amplifier_trigger::{BackgroundName, TriggerConfig, TriggerKey, TriggerKind};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::config::BackgroundConfig;
use crate::pool::Ahead;
use crate::run::Count;

/// Where a background session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BackgroundState {
    /// It takes up what was left.
    Starting,
    /// It runs.
    Running,
    /// Somebody has paused it: it takes in what is fired by hand, and starts nothing.
    Paused,
    /// It starts nothing more, and waits for what runs.
    Stopping,
    /// It has ended.
    Stopped,
    /// None of its triggers works any more, or somebody else owns the triggers.
    Failed,
}

impl BackgroundState {
    /// True if runs are begun.
    pub(crate) fn begins(self) -> bool {
        matches!(self, Self::Running | Self::Failed)
    }

    /// Its name: `running`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// Where a trigger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TriggerState {
    /// It is listened to.
    Watching,
    /// It failed, and is started again after a wait.
    Restarting,
    /// It has nothing more to say.
    Ended,
    /// It failed for good.
    Failed,
    /// Its `enabled` is false.
    Disabled,
    /// Its background session is paused.
    Paused,
}

impl TriggerState {
    /// Its name: `watching`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Restarting => "restarting",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Paused => "paused",
        }
    }
}

/// How a trigger stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TriggerStatus {
    /// What kind it is.
    pub kind: TriggerKind,
    /// Where it is.
    pub state: TriggerState,
    /// How often it was started again since it was well.
    pub restarts: u32,
    /// Its last error.
    pub error: Option<String>,
    /// When it fired last in this process.
    pub last_fired: Option<Timestamp>,
}

impl TriggerStatus {
    pub(crate) fn new(kind: TriggerKind, state: TriggerState) -> Self {
        Self { kind, state, restarts: 0, error: None, last_fired: None }
    }

    /// True if it fires, or will again.
    pub(crate) fn is_at_work(&self) -> bool {
        matches!(self.state, TriggerState::Watching | TriggerState::Restarting)
    }
}

/// How a background session stands, in the process that runs it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackgroundStatus {
    /// Its name; its id is `bg-<name>`.
    pub name: BackgroundName,
    /// Its bundle.
    pub bundle: String,
    /// Where it is.
    pub state: BackgroundState,
    /// Firings since its start here.
    pub triggered: u64,
    /// Sessions since its start here.
    pub spawned: u64,
    /// Sessions that run.
    pub active: Vec<SessionId>,
    /// When it was triggered last.
    pub last_trigger: Option<Timestamp>,
    /// Why nothing begins, and until when as far as is known: a provider's rate limit.
    pub limited: Option<(String, Timestamp)>,
    /// Its last error.
    pub error: Option<String>,
    /// Its triggers.
    pub triggers: BTreeMap<TriggerKey, TriggerStatus>,
}

impl BackgroundStatus {
    /// How a background session stands that is about to start.
    pub(crate) fn starting(config: &BackgroundConfig) -> Self {
        let status = |trigger: &TriggerConfig| {
            let state = if trigger.policy.enabled { TriggerState::Watching } else { TriggerState::Disabled };
            (trigger.key(), TriggerStatus::new(trigger.kind(), state))
        };
        Self {
            name: config.name.clone(),
            bundle: config.bundle.clone(),
            state: BackgroundState::Starting,
            triggered: 0,
            spawned: 0,
            active: Vec::new(),
            last_trigger: None,
            limited: None,
            error: None,
            triggers: config.triggers.iter().map(status).collect(),
        }
    }
}

/// What the store has counted of a background session: `triggered = coalesced + skipped + rejected + rows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Firings.
    pub triggered: u64,
    /// Firings that another one stands for.
    pub coalesced: u64,
    /// Firings that a policy left out.
    pub skipped: u64,
    /// Firings that could not become a run.
    pub rejected: u64,
}

impl Counts {
    /// Reads them.
    pub async fn read(store: &dyn Store, name: &BackgroundName) -> Result<Self, StoreError> {
        Ok(Self {
            triggered: store.counter(&Count::Triggered.of(name)).await?,
            coalesced: store.counter(&Count::Coalesced.of(name)).await?,
            skipped: store.counter(&Count::Skipped.of(name)).await?,
            rejected: store.counter(&Count::Rejected.of(name)).await?,
        })
    }

    /// Firings that became runs.
    pub fn rows(&self) -> u64 {
        self.triggered
            .saturating_sub(self.coalesced)
            .saturating_sub(self.skipped)
            .saturating_sub(self.rejected)
    }
}

/// A run at work here.
#[derive(Debug, Default)]
pub(crate) struct Active {
    pub(crate) session: Option<AmplifierSession>,
    /// Beyond the pool.
    pub(crate) extra: bool,
    /// It has waited, and still counts among what waits until it has a session.
    pub(crate) waited: bool,
}

/// What changes while a background session runs.
pub(crate) struct Board {
    // Held for a look or a change; never across an await.
    inner: Mutex<Inner>,
    /// For the task that looks and waits for time to pass: it is roused.
    pub(crate) wake: Notify,
    /// Starts that task.
    start: OnceLock<Box<dyn Fn() + Send + Sync>>,
    changed: watch::Sender<u64>,
    /// True if it has changed since it was published.
    fresh: AtomicBool,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// What there is to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Errand {
    #[default]
    None,
    /// A place is free.
    Free,
    /// Runs may have been queued.
    Queued,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// All but its triggers.
    pub(crate) status: BackgroundStatus,
    /// By their keys. Most have one, and a node of a tree has room for eleven.
    triggers: Box<[(TriggerKey, TriggerStatus)]>,
    pub(crate) running: BTreeMap<RunId, Active>,
    /// Runs that wait, as far as known here. Less than none for a moment, while one begins before who
    /// queued it has heard that it is durable.
    pub(crate) waiting: i64,
    /// Room that is taken for firings that are not durable yet.
    pub(crate) reserved: u64,
    /// How often a run could not be started, one after the other.
    pub(crate) failures: BTreeMap<RunId, u32>,
    /// True if others may have queued or begun runs since `waiting` was counted.
    pub(crate) miscounted: bool,
    /// What was read of the queue, and is not begun yet.
    pub(crate) ahead: Ahead,
    errand: Errand,
    /// True while a task looks.
    looks: bool,
    /// Runs whose cancellation was asked for before they had a session.
    pub(crate) unwanted: HashSet<RunId>,
}

impl Board {
    pub(crate) fn new(mut status: BackgroundStatus, changed: watch::Sender<u64>) -> Self {
        let triggers = std::mem::take(&mut status.triggers).into_iter().collect();
        let inner = Inner {
            status,
            triggers,
            running: BTreeMap::new(),
            waiting: 0,
            reserved: 0,
            failures: BTreeMap::new(),
            miscounted: false,
            ahead: Ahead::default(),
            errand: Errand::None,
            looks: false,
            unwanted: HashSet::new(),
        };
        let fresh = AtomicBool::new(true);
        Self { inner: Mutex::new(inner), wake: Notify::new(), start: OnceLock::new(), changed, fresh }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.lock())
    }

    /// Changes it, and lets everybody know.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let (changed, moved) = {
            let mut inner = self.lock();
            let before = inner.status.state;
            let changed = change(&mut inner);
            (changed, inner.status.state != before)
        };
        self.fresh.store(true, Ordering::Release);
        self.changed.send_modify(|version| *version += 1);
        if moved {
            self.rouse();
        }
        changed
    }

    /// How a task that looks is started. Once.
    pub(crate) fn on_rouse(&self, start: impl Fn() + Send + Sync + 'static) {
        let _ = self.start.set(Box::new(start));
    }

    /// Lets the pool look: runs may have been queued, or may be begun now.
    pub(crate) fn rouse(&self) {
        self.send(Errand::Queued);
    }

    /// Lets the pool look: a place is free.
    pub(crate) fn freed(&self) {
        self.send(Errand::Free);
    }

    fn send(&self, errand: Errand) {
        let start = self.start.get();
        let looks = {
            let mut inner = self.lock();
            if inner.errand != Errand::Queued {
                inner.errand = errand;
            }
            // Before there is a pool nobody looks.
            start.is_some() && std::mem::replace(&mut inner.looks, true)
        };
        match start {
            Some(start) if !looks => start(),
            Some(_) => self.wake.notify_one(),
            None => {}
        }
    }

    /// Begins a look; true if runs may have been queued since the one before.
    pub(crate) fn begin_look(&self) -> bool {
        std::mem::take(&mut self.lock().errand) == Errand::Queued
    }

    /// Ends the looking, if there is nothing more to look for.
    pub(crate) fn may_rest(&self) -> bool {
        let mut inner = self.lock();
        inner.looks = inner.errand != Errand::None;
        !inner.looks
    }

    /// Waits until a run is to be cancelled, or nothing begins any more.
    pub(crate) async fn is_unwanted(&self, run: &RunId) {
        let mut changed = self.changed.subscribe();
        let unwanted =
            |_: &u64| self.look(|inner| inner.unwanted.contains(run) || !inner.status.state.begins());
        // The sender lives in `self`.
        let _ = changed.wait_for(unwanted).await;
    }

    /// The sessions that run.
    pub(crate) fn sessions(&self) -> Vec<AmplifierSession> {
        self.look(|inner| inner.running.values().filter_map(|active| active.session.clone()).collect())
    }

    /// Changes it for who looks next, without waking anybody: for the one that is awake.
    pub(crate) fn change_quietly<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.lock())
    }

    /// The status, if it has changed since this was called.
    pub(crate) fn take_fresh(&self) -> Option<BackgroundStatus> {
        self.fresh.swap(false, Ordering::AcqRel).then(|| self.status())
    }

    /// What [`Self::take_fresh`] gave could not be published.
    pub(crate) fn note_fresh(&self) {
        self.fresh.store(true, Ordering::Release);
    }

    pub(crate) fn set(&self, state: BackgroundState) {
        self.change(|inner| inner.status.state = state);
    }

    pub(crate) fn status(&self) -> BackgroundStatus {
        self.look(|inner| {
            let mut status = inner.status.clone();
            status.triggers = inner.triggers.iter().cloned().collect();
            let sessions = inner.running.values().filter_map(|active| active.session.as_ref());
            status.active = sessions.map(|session| session.id().clone()).collect();
            status.limited = inner.limited();
            status
        })
    }

    /// Pauses it, or lets it go on; false if it stands so already, or ends.
    pub(crate) fn pause(&self, paused: bool) -> bool {
        self.change(|inner| {
            use BackgroundState::{Paused, Stopped, Stopping};
            let state = inner.status.state;
            if matches!(state, Stopping | Stopped) || (state == Paused) == paused {
                return false;
            }
            // What was left is taken up again before anything is begun.
            inner.status.state = if paused { Paused } else { BackgroundState::Starting };
            for (_, trigger) in &mut inner.triggers {
                match trigger.state {
                    TriggerState::Disabled => {}
                    _ if paused => trigger.state = TriggerState::Paused,
                    _ => trigger.state = TriggerState::Watching,
                }
            }
            true
        })
    }

    /// Changes how a trigger stands. If none works any more, the background session has failed.
    pub(crate) fn trigger(&self, key: &TriggerKey, change: impl FnOnce(&mut TriggerStatus)) {
        self.change(|inner| {
            let Some(trigger) = inner.trigger(key.as_str()) else { return };
            change(trigger);
            if let Some(error) = &trigger.error {
                inner.status.error = Some(format!("trigger {key}: {error}"));
            }
            let mut states = inner.triggers.iter().map(|(_, trigger)| trigger.state);
            let none = states.all(|state| matches!(state, TriggerState::Failed));
            if none && matches!(inner.status.state, BackgroundState::Starting | BackgroundState::Running) {
                inner.status.state = BackgroundState::Failed;
            }
        });
    }
}

impl Inner {
    /// How one of its triggers stands.
    pub(crate) fn trigger(&mut self, key: &str) -> Option<&mut TriggerStatus> {
        self.triggers.iter_mut().find(|(known, _)| known.as_str() == key).map(|(_, trigger)| trigger)
    }

    /// Adds a trigger, or puts it in the place of one that has ended; false if that is at work.
    pub(crate) fn add_trigger(&mut self, key: TriggerKey, status: TriggerStatus) -> bool {
        if let Some(known) = self.trigger(key.as_str()) {
            let ended = !known.is_at_work();
            if ended {
                *known = status;
            }
            return ended;
        }
        let mut triggers = std::mem::take(&mut self.triggers).into_vec();
        triggers.push((key, status));
        self.triggers = triggers.into();
        true
    }

    /// Why and until when one of the sessions waits for a provider, as far as is known.
    pub(crate) fn limited(&self) -> Option<(String, Timestamp)> {
        let sessions = self.running.values().filter_map(|active| active.session.as_ref());
        let waits = sessions.filter_map(|session| match session.env().activity.snapshot().state {
            ActivityState::Waiting { reason, until } => Some((reason.to_string(), until)),
            _ => None,
        });
        waits.max_by_key(|(_, until)| *until)
    }

    /// The last that ran has ended, where it was to be stopped.
    pub(crate) fn end_if_empty(&mut self) {
        if self.status.state == BackgroundState::Stopping && self.running.is_empty() {
            self.status.state = BackgroundState::Stopped;
        }
    }

    /// How many runs wait, with those that will in a moment.
    pub(crate) fn queued(&self) -> u64 {
        u64::try_from(self.waiting).unwrap_or(0) + self.reserved
    }

    /// How many places of the pool are taken.
    pub(crate) fn taken(&self) -> usize {
        self.running.values().filter(|active| !active.extra).count()
    }

    /// How many are taken or spoken for by what waits.
    pub(crate) fn wanted(&self) -> u64 {
        let begun = self.running.values().filter(|active| active.waited && active.session.is_none());
        (self.taken() as u64).saturating_add(self.queued().saturating_sub(begun.count() as u64))
    }
}
