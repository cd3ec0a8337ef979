//! What happens in an owner, change by change, for whoever shows it.
//!
//! Guarantees: each session is told to have begun before it is told to have ended. A state that lasts less than
//! `PAUSE` may be left out; an end is not, unless the reader is so slow that events are lost, which is told.
//! Never here: a word for a person.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{Clock, MonoTime, RunId, SessionEvent, SessionId};
use amplifier_foundation::router::{Delivery, RouterError, Subscription};
use amplifier_foundation::{EventFilter, Host};
use amplifier_trigger::{BackgroundName, TriggerKey};
use serde::Deserialize;
use tokio::sync::watch;

use crate::manager::BackgroundSessionManager;
use crate::status::{BackgroundState, BackgroundStatus, TriggerState};

/// How long changes are gathered.
const PAUSE: Duration = Duration::from_millis(100);

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A session runs.
    Began {
        /// Its background session.
        name: BackgroundName,
        /// The session.
        session: SessionId,
    },
    /// An attempt of a run has ended.
    Ended {
        /// Its background session.
        name: BackgroundName,
        /// The session; `None` if none could be started.
        session: Option<SessionId>,
        /// The run.
        run: RunId,
        /// True if it completed.
        success: bool,
        /// True if it is tried again.
        will_retry: bool,
        /// What went wrong.
        error: Option<String>,
    },
    /// A background session stands otherwise.
    State {
        /// The background session.
        name: BackgroundName,
        /// How.
        state: BackgroundState,
        /// Its last error.
        error: Option<String>,
    },
    /// A trigger stands otherwise.
    Trigger {
        /// Its background session.
        name: BackgroundName,
        /// The trigger.
        trigger: TriggerKey,
        /// How.
        state: TriggerState,
        /// Its last error.
        error: Option<String>,
    },
    /// Ends of sessions were missed, because whoever reads this was too slow.
    Missed {
        /// How many events.
        events: u64,
    },
}

/// The changes of a manager.
#[derive(Debug)]
pub struct Progress {
    manager: BackgroundSessionManager,
    clock: Arc<dyn Clock>,
    changed: watch::Receiver<u64>,
    events: Subscription,
    known: BTreeMap<BackgroundName, BackgroundStatus>,
    ready: VecDeque<Change>,
    /// When what has changed is to be compared.
    due: Option<MonoTime>,
}

/// What is read of the events that tell of a run.
#[derive(Deserialize)]
struct Step {
    session_name: BackgroundName,
    spawned_session_id: Option<SessionId>,
    run_id: RunId,
    success: bool,
    will_retry: bool,
    error: Option<String>,
}

impl Progress {
    /// The changes from now on; what stands now is the beginning.
    pub fn new(host: &Host, manager: &BackgroundSessionManager) -> Result<Self, RouterError> {
        let filter = EventFilter::names(super::fire::STEPS)?;
        let events = host.router().subscribe(filter)?;
        let changed = manager.watch();
        let known = manager.statuses().into_iter().map(|status| (status.name.clone(), status)).collect();
        let (manager, clock) = (manager.clone(), Arc::clone(host.clock()));
        Ok(Self { manager, clock, changed, events, known, ready: VecDeque::new(), due: None })
    }

    /// The next change; `None` once the events have ended. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            tokio::select! {
                biased;
                () = self.clock.sleep_until(self.due.unwrap_or_default()), if self.due.is_some() => {
                    self.due = None;
                    self.compare();
                }
                delivery = self.events.next() => match delivery? {
                    Delivery::Event(event) => self.step(&event),
                    Delivery::Lagged { missed, .. } => self.ready.push_back(Change::Missed { events: missed }),
                    _ => {}
                },
                changed = self.changed.changed(), if self.due.is_none() => {
                    changed.ok()?;
                    self.due = Some(self.clock.monotonic().saturating_add(PAUSE));
                }
            }
        }
    }

    fn step(&mut self, event: &SessionEvent) {
        let Ok(step) = event.payload.decode::<Step>() else { return };
        let Some(known) = self.known.get_mut(&step.session_name) else { return };
        if let Some(session) = &step.spawned_session_id {
            match known.active.iter().position(|active| active == session) {
                Some(at) => drop(known.active.remove(at)),
                None => self
                    .ready
                    .push_back(Change::Began { name: step.session_name.clone(), session: session.clone() }),
            }
        }
        self.ready.push_back(Change::Ended {
            name: step.session_name,
            session: step.spawned_session_id,
            run: step.run_id,
            success: step.success,
            will_retry: step.will_retry,
            error: step.error,
        });
    }

    fn compare(&mut self) {
        let statuses = self.manager.statuses();
        let names: HashSet<&BackgroundName> = statuses.iter().map(|status| &status.name).collect();
        let ready = &mut self.ready;
        self.known.retain(|name, before| {
            let gone = !names.contains(name);
            if gone && before.state != BackgroundState::Stopped {
                let (name, state) = (name.clone(), BackgroundState::Stopped);
                ready.push_back(Change::State { name, state, error: None });
            }
            !gone
        });
        statuses.into_iter().for_each(|status| self.compare_one(status));
    }

    fn compare_one(&mut self, now: BackgroundStatus) {
        let before = self.known.get(&now.name);
        let name = || now.name.clone();
        if before.is_none_or(|before| before.state != now.state) {
            let (state, error) = (now.state, now.error.clone());
            self.ready.push_back(Change::State { name: name(), state, error });
        }
        for (trigger, status) in &now.triggers {
            let was = before.and_then(|before| before.triggers.get(trigger)).map(|was| was.state);
            if was.is_some_and(|was| was != status.state) {
                let (trigger, state, error) = (trigger.clone(), status.state, status.error.clone());
                self.ready.push_back(Change::Trigger { name: name(), trigger, state, error });
            }
        }
        for session in &now.active {
            if before.is_none_or(|before| !before.active.contains(session)) {
                self.ready.push_back(Change::Began { name: name(), session: session.clone() });
            }
        }
        self.known.insert(name(), now);
    }
}
