//! The sessions that run in this process, and the outcomes of those that ran.
//!
//! Guarantees: a session is in the table from before its supervisor starts until
//! its outcome is published; once the table is closed, only children of sessions
//! in it are added. A session that is being started counts as one that runs. A wait
//! ends at its deadline, whatever the sessions do.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{
    Activation, AmplifierSession, CancelLevel, CancelReason, Clock, MonoTime, SessionId, SessionOutcome,
};
use tokio::sync::Notify;

use crate::spawn::{SpawnError, mark_awaited, mark_awaited_below};
use crate::storage::StorageError;
use amplifier_store::{Store, StoreError};

/// The table of live sessions.
#[derive(Debug)]
pub struct LiveSessions {
    // Held for a look-up or a change; never across an await.
    table: Mutex<Table>,
    changed: Notify,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
}

#[derive(Debug, Default)]
struct Table {
    live: HashMap<SessionId, AmplifierSession>,
    /// Those that have their outcome from the watchdog, and do not stop.
    stuck: Vec<(SessionId, Activation)>,
    /// Starts that neither entered a session nor took back what they wrote of it.
    starting: usize,
    closed: bool,
}

/// Why sessions cannot be waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// No such session runs here, and none that ended is known.
    #[error(
        "session {session} is not known here; it neither runs in this process nor is its outcome recorded"
    )]
    Unknown {
        /// The session.
        session: SessionId,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session is not in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NotEntered {
    /// The host ends.
    Closed,
    /// Another session of this id runs here, kept elsewhere.
    Taken,
}

impl NotEntered {
    pub(crate) fn of(self, session: &AmplifierSession) -> SpawnError {
        let id = session.id().clone();
        match self {
            Self::Closed => SpawnError::ShutDown,
            Self::Taken if session.activation() == Activation::FIRST => StorageError::Exists { id }.into(),
            Self::Taken => StorageError::Locked { id, holder: Some(std::process::id()) }.into(),
        }
    }
}

/// An outcome that is there, or will be.
type Pending = Pin<Box<dyn Future<Output = Arc<SessionOutcome>> + Send>>;

impl LiveSessions {
    pub(super) fn new(clock: Arc<dyn Clock>, store: Arc<dyn Store>) -> Self {
        Self { table: Mutex::default(), changed: Notify::new(), clock, store }
    }

    /// The session of this id, if it runs here.
    pub fn get(&self, id: &SessionId) -> Option<AmplifierSession> {
        self.lock().live.get(id).cloned()
    }

    /// All sessions that run here, by id.
    pub fn list(&self) -> Vec<AmplifierSession> {
        let mut live: Vec<AmplifierSession> = self.lock().live.values().cloned().collect();
        live.sort_by(|a, b| a.id().cmp(b.id()));
        live
    }

    /// The ids of all sessions that run here.
    pub fn ids(&self) -> Vec<SessionId> {
        self.lock().live.keys().cloned().collect()
    }

    /// How many sessions run here.
    pub fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// Sessions that have their outcome and do not stop, because a module blocks its thread.
    pub fn stuck(&self) -> Vec<SessionId> {
        self.lock().stuck.iter().map(|(id, _)| id.clone()).collect()
    }

    /// True if none begins here any more: the host ends.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// True if none runs here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks a session to stop. False if it does not run here.
    pub fn cancel(&self, id: &SessionId, level: CancelLevel) -> bool {
        let session = self.get(id);
        session.inspect(|session| session.cancel(level)).is_some()
    }

    /// Waits for one session, at most this long; `None`: it still runs. One that has ended is found too.
    pub async fn wait(
        &self,
        id: &SessionId,
        within: Duration,
    ) -> Result<Option<Arc<SessionOutcome>>, WaitError> {
        let mut all = self.wait_all(std::slice::from_ref(id), within).await?;
        Ok(all.pop().and_then(|(_, outcome)| outcome))
    }

    /// Waits for all of them, at most this long in all; `None` for those that still run then.
    pub async fn wait_all<I: Borrow<SessionId> + Sync>(
        &self,
        ids: &[I],
        within: Duration,
    ) -> Result<Vec<(SessionId, Option<Arc<SessionOutcome>>)>, WaitError> {
        let deadline = self.deadline(within);
        let mut outcomes = Vec::with_capacity(ids.len());
        for (id, pending) in self.all_pending(ids, deadline).await? {
            // Past the deadline each wait still sees an outcome that is there already.
            let outcome = match pending {
                Some(pending) => until(pending, self.clock.sleep_until(deadline)).await,
                None => None,
            };
            outcomes.push((id, outcome));
        }
        Ok(outcomes)
    }

    /// Waits for the first of them to end, at most this long; `None`: all still run.
    pub async fn wait_any<I: Borrow<SessionId> + Sync>(
        &self,
        ids: &[I],
        within: Duration,
    ) -> Result<Option<(SessionId, Arc<SessionOutcome>)>, WaitError> {
        let deadline = self.deadline(within);
        let mut waits = self.all_pending(ids, deadline).await?;
        let first = std::future::poll_fn(|cx| {
            let found =
                waits.iter_mut().find_map(|(id, pending)| match pending.as_mut()?.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Some((id.clone(), outcome)),
                    Poll::Pending => None,
                });
            found.map_or(Poll::Pending, Poll::Ready)
        });
        Ok(until(first, self.clock.sleep_until(deadline)).await)
    }

    /// What there is to wait for; `None` where not even that is known at the deadline.
    async fn all_pending<I: Borrow<SessionId> + Sync>(
        &self,
        ids: &[I],
        deadline: MonoTime,
    ) -> Result<Vec<(SessionId, Option<Pending>)>, WaitError> {
        let mut waits = Vec::with_capacity(ids.len());
        for id in ids.iter().map(Borrow::borrow) {
            let pending = until(self.pending(id), self.clock.sleep_until(deadline)).await;
            waits.push((SessionId::clone(id), pending.transpose()?));
        }
        Ok(waits)
    }

    fn deadline(&self, within: Duration) -> MonoTime {
        self.clock.monotonic().saturating_add(within)
    }

    async fn pending(&self, id: &SessionId) -> Result<Pending, WaitError> {
        if let Some(session) = self.get(id) {
            return Ok(Box::pin(async move {
                let outcome = session.outcome().await;
                mark_awaited(&session);
                outcome
            }));
        }
        let row = self.store.session(id).await?;
        match row.and_then(|row| row.settled) {
            Some(settled) => {
                mark_awaited_below(&self.list(), id);
                Ok(Box::pin(std::future::ready(settled.outcome)))
            }
            None => Err(WaitError::Unknown { session: id.clone() }),
        }
    }

    /// Asks every session to stop.
    pub fn cancel_all(&self, level: CancelLevel, reason: CancelReason) {
        self.list().iter().for_each(|session| session.env().cancel.cancel(level, reason));
    }

    /// Resolves once an activation does not run here any more.
    pub(crate) async fn left(&self, id: &SessionId, activation: Activation) {
        loop {
            let changed = self.changed.notified();
            if self.get(id).is_none_or(|live| live.activation() != activation) {
                return;
            }
            changed.await;
        }
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

    /// Adds a session, in the place of one of the same id that `fits`.
    pub(crate) fn insert(
        &self,
        session: AmplifierSession,
        fits: impl FnOnce(&AmplifierSession) -> bool,
    ) -> Result<(), NotEntered> {
        let mut table = self.lock();
        let below = session.parent_id().is_some_and(|parent| table.live.contains_key(parent));
        if table.closed && !below {
            return Err(NotEntered::Closed);
        }
        if table.live.get(session.id()).is_some_and(|live| !fits(live)) {
            return Err(NotEntered::Taken);
        }
        table.live.insert(session.id().clone(), session);
        Ok(())
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

    /// Notes that a session does not stop though it has its outcome.
    pub(crate) fn is_stuck(&self, session: &AmplifierSession) {
        self.lock().stuck.push((session.id().clone(), session.activation()));
    }

    /// Notes that the task of a session has ended, after all.
    pub(crate) fn has_stopped(&self, session: &AmplifierSession) {
        self.lock().stuck.retain(|(id, of)| id != session.id() || *of != session.activation());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
