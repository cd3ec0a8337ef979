//! The sessions that run in this process.
//!
//! Guarantees: a session is in the table from before its supervisor starts until
//! its outcome is published; once the table is closed, only children of sessions
//! in it are added. A session that is being started counts as one that runs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amplifier_core::{AmplifierSession, CancelLevel, CancelReason, SessionId};
use tokio::sync::Notify;

/// The table of live sessions.
#[derive(Debug, Default)]
pub struct LiveSessions {
    // Held for a look-up or a change; never across an await.
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    live: HashMap<SessionId, AmplifierSession>,
    /// Starts that neither entered a session nor took back what they wrote of it.
    starting: usize,
    closed: bool,
}

impl LiveSessions {
    /// The session of this id, if it runs here.
    pub fn get(&self, id: &SessionId) -> Option<AmplifierSession> {
        self.lock().live.get(id).cloned()
    }

    /// The ids of all sessions that run here.
    pub fn ids(&self) -> Vec<SessionId> {
        self.lock().live.keys().cloned().collect()
    }

    /// How many sessions run here.
    pub fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// True if none runs here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks every session to stop.
    pub fn cancel_all(&self, level: CancelLevel, reason: CancelReason) {
        let sessions: Vec<AmplifierSession> = self.lock().live.values().cloned().collect();
        sessions.iter().for_each(|session| session.env().cancel.cancel(level, reason));
    }

    /// Resolves once no session runs here and none is being started.
    pub async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_idle() {
                return;
            }
            changed.await;
        }
    }

    fn is_idle(&self) -> bool {
        let table = self.lock();
        table.live.is_empty() && table.starting == 0
    }

    /// Notes the beginning of a start.
    pub(super) fn start_began(&self) {
        self.lock().starting += 1;
    }

    /// Notes the end of a start, whatever became of it.
    pub(super) fn start_ended(&self) {
        let mut table = self.lock();
        table.starting = table.starting.saturating_sub(1);
        drop(table);
        self.changed.notify_waiters();
    }

    /// Refuses sessions from now on, save children of those that run.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Adds a session; false if the table is closed.
    pub(crate) fn insert(&self, session: AmplifierSession) -> bool {
        let mut table = self.lock();
        let below = session.parent_id().is_some_and(|parent| table.live.contains_key(parent));
        let taken = !table.closed || below;
        if taken {
            table.live.insert(session.id().clone(), session);
        }
        taken
    }

    /// Takes a session out, unless a later activation of it runs already.
    pub(crate) fn remove(&self, session: &AmplifierSession) {
        let mut table = self.lock();
        if table.live.get(session.id()).is_some_and(|live| live.activation() == session.activation()) {
            table.live.remove(session.id());
        }
        drop(table);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
