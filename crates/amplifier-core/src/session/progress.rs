//! How far a session is, for those who wait: its first turn, and its outcome.
//!
//! Guarantees: the outcome is set once; who waits for it is told, also when nobody is left who could set
//! it. A channel of tokio would take hundreds of bytes of every session that idles.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Core;
use crate::outcome::SessionOutcome;

/// Part of a session's inside.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    // Held for a look or a change; wakers are called outside.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// True once a user message was answered, or failed to be.
    turned: bool,
    /// Why it was not answered, of the first one.
    failure: Option<Box<str>>,
    outcome: Option<Arc<SessionOutcome>>,
    settlers: usize,
}

/// What there is to know of a session's end.
pub(super) enum End {
    Outcome(Arc<SessionOutcome>),
    /// Nobody is left who could say.
    Lost,
}

impl Progress {
    /// Notes that a turn is over, and why it failed.
    pub(super) fn turned(&self, failure: Option<&dyn std::fmt::Display>) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.turned, true) {
            state.failure = failure.map(|failure| failure.to_string().into_boxed_str());
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Why the first turn failed, if it has.
    pub(super) fn first_failure(&self) -> Option<String> {
        self.lock().failure.as_deref().map(str::to_owned)
    }

    /// Waits for the first turn, or the end.
    pub(super) async fn first_turn(&self) {
        self.wait(|state| (state.turned || state.end().is_some()).then_some(())).await;
    }

    /// Waits for the end.
    pub(super) async fn end(&self) -> End {
        self.wait(State::end).await
    }

    /// The outcome, if it is there.
    pub(super) fn outcome(&self) -> Option<Arc<SessionOutcome>> {
        self.lock().outcome.clone()
    }

    async fn wait<T>(&self, wanted: impl Fn(&State) -> Option<T>) -> T {
        loop {
            // Before the look, so that a change after it is not missed.
            let changed = self.changed.notified();
            if let Some(found) = wanted(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn settle(&self, outcome: Arc<SessionOutcome>) {
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.outcome = Some(outcome);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&self) -> Option<End> {
        match &self.outcome {
            Some(outcome) => Some(End::Outcome(Arc::clone(outcome))),
            None => (self.settlers == 0).then_some(End::Lost),
        }
    }
}

/// Publishes the outcome of one activation, from wherever that becomes known. Cheap to clone.
#[derive(Debug)]
pub struct Settler(Arc<Core>);

impl Settler {
    pub(super) fn new(core: Arc<Core>) -> Self {
        core.progress.lock().settlers += 1;
        Self(core)
    }

    /// Publishes the outcome to everybody who waits. The first call counts.
    pub fn settle(&self, outcome: Arc<SessionOutcome>) {
        self.0.progress.settle(outcome);
    }
}

impl Clone for Settler {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        let mut state = self.0.progress.lock();
        state.settlers -= 1;
        let lost = state.settlers == 0 && state.outcome.is_none();
        drop(state);
        if lost {
            self.0.progress.changed.notify_waiters();
        }
    }
}
