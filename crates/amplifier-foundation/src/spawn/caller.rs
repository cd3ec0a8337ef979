//! Who asked for a session, and may stop waiting for it at any moment.
//!
//! Guarantees: a caller that goes away cancels its session, also one that has no token of its own yet;
//! the token is a child's of the parent that the session turns out to have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::{CancelLevel, CancelReason, CancelToken};

/// The session's side.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// The caller waits, and there is no session yet.
    #[default]
    Waiting,
    /// The caller waits for this session.
    Bound(CancelToken),
    /// Nobody waits any more.
    Gone,
}

impl Caller {
    /// The caller's side.
    pub(super) fn guard(&self) -> CancelOnDrop {
        CancelOnDrop(Some(self.clone()))
    }

    /// Makes the token of the session; `parent`: the session with which it shall end.
    pub(super) fn bind(&self, parent: Option<&CancelToken>) -> CancelToken {
        let token = parent.map_or_else(CancelToken::new, CancelToken::child);
        let mut state = self.lock();
        match &*state {
            State::Gone => stop(&token),
            _ => *state = State::Bound(token.clone()),
        }
        token
    }

    fn go(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Gone);
        if let State::Bound(token) = before {
            stop(&token);
        }
    }

    // Held to look at the state or to change it; what a cancelled token wakes is woken outside or by itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stop(token: &CancelToken) {
    token.cancel(CancelLevel::Graceful, CancelReason::Dropped);
}

/// Cancels if the caller's future is dropped.
#[derive(Debug)]
pub(super) struct CancelOnDrop(Option<Caller>);

impl CancelOnDrop {
    /// The caller has its answer.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(caller) = self.0.take() {
            caller.go();
        }
    }
}
