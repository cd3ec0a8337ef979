//! The sessions that run in this process.
//!
//! Guarantees: a session is in the table from before its supervisor starts until
//! its outcome is published.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amplifier_core::{AmplifierSession, CancelLevel, CancelReason, SessionId};
use tokio::sync::Notify;

/// The table of live sessions.
#[derive(Debug, Default)]
pub struct LiveSessions {
    // Held for a look-up or a change; never across an await.
    table: Mutex<HashMap<SessionId, AmplifierSession>>,
    changed: Notify,
}

impl LiveSessions {
    /// The session of this id, if it runs here.
    pub fn get(&self, id: &SessionId) -> Option<AmplifierSession> {
        self.lock().get(id).cloned()
    }

    /// The ids of all sessions that run here.
    pub fn ids(&self) -> Vec<SessionId> {
        self.lock().keys().cloned().collect()
    }

    /// How many sessions run here.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True if none runs here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks every session to stop.
    pub fn cancel_all(&self, level: CancelLevel, reason: CancelReason) {
        let sessions: Vec<AmplifierSession> = self.lock().values().cloned().collect();
        sessions.iter().for_each(|session| session.env().cancel.cancel(level, reason));
    }

    /// Resolves once no session runs here.
    pub async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_empty() {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn insert(&self, session: AmplifierSession) {
        self.lock().insert(session.id().clone(), session);
    }

    pub(crate) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, AmplifierSession>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
