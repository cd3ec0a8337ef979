//! The sessions of a project, whichever process runs them: where they stand, waiting, stopping.
//!
//! Guarantees: what is told is true when it is asked: the store's row first, then, for sessions without
//! one, who holds the session's lock and what its files say. A session whose owner is gone is settled on
//! the way, once, and is never told to run. A wait ends with an outcome, an error or its deadline; it sees
//! the end of an owner within a second, that of a session as soon as the store tells.
//! Never here: a session that is started.

use std::borrow::Borrow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, OutcomeKind, SessionEvent, SessionId, SessionOutcome, SessionStatus};
use futures_util::future::{join_all, select_all};
use tokio::sync::Notify;

use super::{Host, commands};
use crate::spawn::recover::{give_up, recover, recover_one};
use crate::spawn::reindex::{LOST, reindex};
use crate::spawn::{RUNNING, Recovered, Reindexed, intent};
use crate::storage::{SessionSummary, StorageError, delete_tree};
use amplifier_store::{
    ActivationId, Cursor, Expect, LogListener, OwnerId, SessionFilter, SessionRow, StoreError, Write,
};

/// How long nobody looks whether an owner lives.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a session that somebody has open may take to be in the store.
const ROW_GRACE: Duration = Duration::from_secs(5);
/// How often it is looked for then.
const ROW_LOOK: Duration = Duration::from_millis(20);

/// The sessions of a host's project, in whatever process.
#[derive(Debug, Clone)]
pub struct ProjectSessions {
    host: Host,
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// A process works on it.
    Running {
        /// The process, where it is known.
        process: Option<u32>,
        /// Who owns it, where the store has it.
        owner: Option<OwnerId>,
    },
    /// Its last activation has ended so.
    Ended(OutcomeKind),
    /// What describes it cannot be read.
    Damaged,
    /// Another program has left it without a word.
    Unknown,
}

/// Why a session cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// There is no such session.
    #[error("there is no session {session} in this project; `amplifier session list --all` shows them")]
    Unknown {
        /// The session.
        session: SessionId,
    },
    /// It has no outcome, and nobody works on it.
    #[error("session {session} was left by another program without an outcome; resume it to go on")]
    NoOutcome {
        /// The session.
        session: SessionId,
    },
    /// There is nothing to stop.
    #[error("session {session} has ended already ({})", outcome.as_str())]
    Ended {
        /// The session.
        session: SessionId,
        /// How.
        outcome: OutcomeKind,
    },
    /// Its process is gone.
    #[error("session {session} is lost: its process is gone; resume it to go on")]
    Lost {
        /// The session.
        session: SessionId,
    },
    /// Somebody has it open who takes no commands.
    #[error("session {session} is open in a program that takes no commands; stop that program")]
    Unreachable {
        /// The session.
        session: SessionId,
    },
    /// What it is asked cannot be written down.
    #[error("the command cannot be sent")]
    Unsendable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Rung when a session has ended somewhere.
#[derive(Debug, Default)]
struct Bell(Notify);

impl Bell {
    /// A bell that the store rings.
    fn hung(host: &Host) -> Arc<Self> {
        let bell = Arc::new(Self::default());
        let listener: Weak<dyn LogListener> = Arc::downgrade(&(Arc::clone(&bell) as Arc<dyn LogListener>));
        host.store().listen(listener);
        bell
    }
}

impl LogListener for Bell {
    fn recorded(&self, events: &[Arc<SessionEvent>]) {
        if events.iter().any(|event| event.event_type.is_terminal()) {
            self.0.notify_one();
        }
    }

    fn missed(&self, _resume: Cursor) {
        self.0.notify_one();
    }

    fn commanded(&self) {}
}

impl ProjectSessions {
    pub(super) fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Settles all sessions whose owner is gone. Durable.
    pub async fn recover(&self) -> Result<Recovered, ReachError> {
        Ok(recover(&self.host).await?)
    }

    /// Settles what `owner` runs in the tree of `root`, like sessions of an owner that is gone: for one that
    /// lives and gives no sign of life. Durable. Errors: whatever `when` is refused with, which is to hold as
    /// long as that is known.
    pub async fn give_up(
        &self,
        root: &SessionId,
        owner: &OwnerId,
        when: &Expect,
    ) -> Result<Recovered, ReachError> {
        Ok(give_up(&self.host, root, owner, when).await?)
    }

    /// Makes the store's rows of sessions anew from their files. Durable. The terminal events of what is
    /// added are recorded again, under their own ids.
    pub async fn reindex(&self) -> Result<Reindexed, ReachError> {
        reindex(&self.host).await
    }

    /// The rows of all sessions that a live process owns, by id.
    pub async fn running(&self) -> Result<Vec<SessionRow>, ReachError> {
        let mut filter = SessionFilter::running();
        let mut running = Vec::new();
        loop {
            let rows = self.host.store().sessions(&filter).await?;
            let more = (rows.len() >= filter.limit).then(|| rows.last().map(|row| row.id.clone())).flatten();
            for row in rows {
                if recover_one(&self.host, &row).await?.is_none() && self.host.lives(&row.owner) {
                    running.push(row);
                }
            }
            match more {
                Some(last) => filter.after = Some(last),
                None => return Ok(running),
            }
        }
    }

    /// Where a session stands that the storage has listed.
    pub async fn state(&self, summary: &SessionSummary) -> Result<SessionState, ReachError> {
        let id = &summary.id;
        let row = self.settled_row(id).await?;
        let holder = self.host.storage().holder(id).await?;
        let process = holder.and_then(|holder| holder.process);
        let says_running = summary.status.as_deref() == Some(RUNNING);
        Ok(match row {
            Some(row) if row.status() == SessionStatus::Running => {
                SessionState::Running { process, owner: Some(row.owner) }
            }
            Some(row) if holder.is_some() && says_running && self.is_opened_again(&row).await? => {
                SessionState::Running { process, owner: None }
            }
            _ if summary.broken.is_some() => match holder {
                Some(_) => SessionState::Running { process, owner: None },
                None => SessionState::Damaged,
            },
            Some(row) => match row.settled {
                Some(settled) => SessionState::Ended(settled.outcome.kind),
                None => SessionState::Unknown,
            },
            None if holder.is_some() => SessionState::Running { process, owner: None },
            None => by_files(summary.status.as_deref()),
        })
    }

    /// True for a session of which an activation is being opened that the store does not have yet. One that
    /// has ended holds its lock for a moment more.
    async fn is_opened_again(&self, row: &SessionRow) -> Result<bool, ReachError> {
        let stored = self.host.storage().load(&row.id).await?;
        let record = &stored.metadata.amplifier;
        Ok(record.activation > row.activation && record.status.as_deref() == Some(RUNNING))
    }

    /// How a session's last activation ended; `None` while it runs, or where nobody knows.
    pub async fn outcome(&self, id: &SessionId) -> Result<Option<Arc<SessionOutcome>>, ReachError> {
        match self.settled_row(id).await? {
            Some(row) => Ok(row.settled.map(|settled| settled.outcome)),
            None => match self.by_files(id).await {
                Ok(found) => Ok(found),
                Err(ReachError::NoOutcome { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Waits for the outcome of a session's activation, at most this long; `None`: it still runs. One that
    /// has ended is found too.
    pub async fn wait(
        &self,
        id: &SessionId,
        within: Duration,
    ) -> Result<Option<Arc<SessionOutcome>>, ReachError> {
        let mut all = self.wait_all(std::slice::from_ref(id), within).await?;
        Ok(all.pop().and_then(|(_, outcome)| outcome))
    }

    /// Waits for all of them, at most this long in all; `None` for those that still run then.
    pub async fn wait_all<I: Borrow<SessionId> + Sync>(
        &self,
        ids: &[I],
        within: Duration,
    ) -> Result<Vec<(SessionId, Option<Arc<SessionOutcome>>)>, ReachError> {
        let end = self.host.clock().monotonic().saturating_add(within);
        let waits = ids.iter().map(|id| async {
            let id = id.borrow();
            let ended = until(self.ended(id), self.host.clock().sleep_until(end)).await;
            Ok((id.clone(), ended.transpose()?))
        });
        join_all(waits).await.into_iter().collect()
    }

    /// Waits for the first of them to end, at most this long; `None`: all still run, or there are none.
    pub async fn wait_any<I: Borrow<SessionId> + Sync>(
        &self,
        ids: &[I],
        within: Duration,
    ) -> Result<Option<(SessionId, Arc<SessionOutcome>)>, ReachError> {
        if ids.is_empty() {
            return Ok(None);
        }
        let waits = ids.iter().map(|id| self.ended(id.borrow()));
        let first = until(select_all(waits), self.host.clock().sleep(within)).await;
        let Some((outcome, place, _)) = first else { return Ok(None) };
        Ok(Some((ids[place].borrow().clone(), outcome?)))
    }

    /// Removes a session with the sessions that it spawned, the furthest first, and what the store has of
    /// them; what the log says of them stays. Returns what was removed. Errors: `Locked` before anything is
    /// removed, if one of them is open.
    pub async fn delete(&self, id: &SessionId) -> Result<Vec<SessionId>, ReachError> {
        let deleted = delete_tree(self.host.storage().as_ref(), id).await?;
        for id in &deleted {
            if self.settled_row(id).await?.is_some() {
                let forget = Write::Forget { session: id.clone() };
                let _ = self.host.store().commit(forget.into()).await?;
            }
        }
        Ok(deleted)
    }

    /// Asks a session to stop, in whatever process it runs. `Ok`: it was asked, durably; it may have ended
    /// by itself before its owner looks. `Err`: `Unknown`, `Ended`, `Lost`, `Unreachable`.
    pub async fn cancel(&self, id: &SessionId, level: CancelLevel) -> Result<(), ReachError> {
        if self.host.sessions().cancel(id, level) {
            return Ok(());
        }
        let row = self.running_row(id).await?;
        let commit = commands::cancel(row.owner.clone(), id.clone(), level)
            .map_err(|error| ReachError::Unsendable(Box::new(error)))?;
        let _ = self.host.store().commit(commit).await?;
        // One that died meanwhile has heard nothing.
        match self.settled_row(id).await?.and_then(|row| row.settled) {
            Some(settled) if settled.outcome.kind == OutcomeKind::Lost => {
                Err(ReachError::Lost { session: id.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The row of a session that runs.
    async fn running_row(&self, id: &SessionId) -> Result<SessionRow, ReachError> {
        let clock = self.host.clock();
        let end = clock.monotonic().saturating_add(ROW_GRACE);
        loop {
            let session = || id.clone();
            let ended = match self.settled_row(id).await? {
                Some(row) if row.settled.is_none() => return Ok(row),
                Some(row) => row.settled.map(|settled| settled.outcome),
                None => self.by_files(id).await?,
            };
            match ended {
                Some(outcome) if outcome.kind == OutcomeKind::Lost => {
                    return Err(ReachError::Lost { session: session() });
                }
                Some(outcome) => return Err(ReachError::Ended { session: session(), outcome: outcome.kind }),
                None if clock.monotonic() >= end => {
                    return Err(ReachError::Unreachable { session: session() });
                }
                None => clock.sleep(ROW_LOOK).await,
            }
        }
    }

    /// The row of a session; one whose owner is gone is settled first.
    async fn settled_row(&self, id: &SessionId) -> Result<Option<SessionRow>, ReachError> {
        let row = self.host.store().session(id).await?;
        if let Some(left) = &row
            && left.settled.is_none()
            && !self.host.lives(&left.owner)
        {
            recover_one(&self.host, left).await?;
            return Ok(self.host.store().session(id).await?);
        }
        Ok(row)
    }

    /// The outcome once it is there.
    pub(super) fn ended(
        &self,
        id: &SessionId,
    ) -> BoxFuture<'static, Result<Arc<SessionOutcome>, ReachError>> {
        let (sessions, id) = (self.clone(), id.clone());
        Box::pin(async move {
            let (host, id) = (&sessions.host, &id);
            if let Some(session) = host.sessions().get(id) {
                let outcome = session.outcome().await;
                crate::spawn::mark_awaited(&session);
                return Ok(outcome);
            }
            let (mut watched, mut bell) = (None, None::<Arc<Bell>>);
            loop {
                if let Some(outcome) = sessions.look(id, &mut watched).await? {
                    crate::spawn::mark_awaited_below(&host.sessions().list(), id);
                    return Ok(outcome);
                }
                // Listening makes a store: only for a session that there is, which is looked at again then.
                match &bell {
                    None => bell = Some(Bell::hung(host)),
                    Some(bell) => {
                        until(bell.0.notified(), host.clock().sleep(LOOK_AGAIN)).await;
                    }
                }
            }
        })
    }

    /// One look. What runs is noted in `watched`, so that a later activation is not taken for it.
    async fn look(
        &self,
        id: &SessionId,
        watched: &mut Option<ActivationId>,
    ) -> Result<Option<Arc<SessionOutcome>>, ReachError> {
        if let Some(of) = watched
            && let Some(settled) = self.host.store().settled(of).await?
        {
            return Ok(Some(settled.outcome));
        }
        match self.settled_row(id).await? {
            Some(row) => {
                *watched = row.settled.is_none().then(|| row.last());
                Ok(row.settled.map(|settled| settled.outcome))
            }
            None => self.by_files(id).await,
        }
    }

    /// How a session without a row ended; `None` while somebody has it open.
    async fn by_files(&self, id: &SessionId) -> Result<Option<Arc<SessionOutcome>>, ReachError> {
        let storage = self.host.storage();
        if storage.holder(id).await?.is_some() {
            return Ok(None);
        }
        let metadata = match storage.load(id).await {
            Err(StorageError::NotFound { .. }) => return Err(ReachError::Unknown { session: id.clone() }),
            other => other?.metadata,
        };
        if let Some(known) = intent(&metadata.amplifier) {
            return Ok(Some(known.outcome));
        }
        // It may have got its row, and ended, since that was looked for.
        if let Some(row) = self.settled_row(id).await? {
            return Ok(row.settled.map(|settled| settled.outcome));
        }
        match by_files(metadata.amplifier.status.as_deref()) {
            SessionState::Ended(OutcomeKind::Lost) => {
                let error = OutcomeError::new(FailureKind::Lost, LOST);
                let (kind, of) = (OutcomeKind::Lost, metadata.amplifier.activation);
                Ok(Some(Arc::new(SessionOutcome::new(kind, of, String::new(), Some(error)))))
            }
            _ => Err(ReachError::NoOutcome { session: id.clone() }),
        }
    }
}

/// What the files say of a session that nobody has open.
fn by_files(status: Option<&str>) -> SessionState {
    let kinds = [
        OutcomeKind::Completed,
        OutcomeKind::Failed,
        OutcomeKind::TimedOut,
        OutcomeKind::Cancelled,
        OutcomeKind::LimitReached,
        OutcomeKind::Lost,
    ];
    match status {
        Some(RUNNING) => SessionState::Ended(OutcomeKind::Lost),
        Some(word) => kinds
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .map_or(SessionState::Unknown, SessionState::Ended),
        None => SessionState::Unknown,
    }
}
