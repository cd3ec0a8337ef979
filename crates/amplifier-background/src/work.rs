//! What runs are about, where they are about more than an instruction: somebody else's part in a run's life.
//!
//! A [`Work`] stands behind a [`BackgroundConfig`](crate::BackgroundConfig). It is asked when a firing becomes a
//! run, when a session begins and when one ends, and what it answers is durable in the same commit.
//!
//! Guarantees: where the writes of a [`Work`] are refused because somebody else was first, it is asked again with
//! what is there now. At the end of a session they never stand in the way of the outcome: after a few tries
//! it is settled without them, and so is the run.
//! Never here: what the work is.

use std::fmt::Debug;
use std::sync::Arc;

use amplifier_core::message::{Message, Role};
use amplifier_core::{RunId, SessionId, SessionOutcome};
use amplifier_foundation::spawn::SpawnRequest;
use amplifier_foundation::storage::StoredSession;
use amplifier_store::{Commit, RunState, StoreError};
use amplifier_trigger::{TriggerConfig, TriggerEvent, TriggerSource};
use async_trait::async_trait;

/// How often what somebody else has overtaken is made anew.
pub(crate) const TRIES: usize = 8;

/// Somebody else's part in the runs of a background session. Any call may come more than once, also of several
/// processes for one run; what counts is what is committed.
#[async_trait]
pub trait Work: Debug + Send + Sync {
    /// The source of a trigger of the background session; `None` for one that is made as everywhere.
    fn source(&self, trigger: &TriggerConfig) -> Option<Box<dyn TriggerSource>> {
        let _ = trigger;
        None
    }

    /// What joins the commit that makes a firing the run. `None`: it is wanted no more, and becomes nothing.
    async fn taking(&self, run: &RunId, event: &TriggerEvent) -> Result<Option<Taking>, StoreError>;

    /// What one attempt of a run asks for. `session` is the session that begins or goes on.
    async fn begin(
        &self,
        of: &WorkRun,
        session: &SessionId,
        request: SpawnRequest,
    ) -> Result<Beginning, WorkError>;

    /// What joins the commit in which an attempt ends, and where the run goes.
    async fn ending(&self, of: &WorkRun, end: WorkEnd<'_>) -> Result<Ending, StoreError>;
}

/// A run, as a [`Work`] is told of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkRun {
    /// The run.
    pub run: RunId,
    /// Which attempt, counted from 1.
    pub attempt: u32,
    /// How many there are at most.
    pub attempts: u32,
    /// What has fired.
    pub firing: TriggerEvent,
    /// True for a session that goes on after its process was lost.
    pub resumes: bool,
    /// What that session has on record of what it was told.
    pub heard: Heard,
    /// True while the background session or its process stops: what is cancelled now was not meant.
    pub stopping: bool,
}

/// What a session has on record of what it was told. Its process may have been lost after its row was there and
/// before its first message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Heard {
    /// What this run has told it, as far as is known.
    #[default]
    This,
    /// What others have told it before, and nothing of this run.
    Earlier,
    /// Nothing.
    Nothing,
}

impl Heard {
    /// Of a session as its storage has it.
    pub(crate) fn of(stored: &StoredSession) -> Self {
        let own =
            |message: &&Arc<Message>| message.role == Role::User && !message.metadata.contains_key("source");
        let turns = stored.transcript.iter().filter(own).count();
        // Written at the end of each activation that came to one.
        let before = stored.metadata.turn_count.unwrap_or(0);
        match u64::try_from(turns).unwrap_or(u64::MAX) {
            0 => Self::Nothing,
            turns if turns > before => Self::This,
            _ => Self::Earlier,
        }
    }
}

/// What joins the commit that makes a firing a run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Taking {
    /// Writes and conditions.
    pub commit: Commit,
    /// Higher ones get a place first; 0 is that of any other run.
    pub priority: i8,
}

impl Taking {
    /// A part of a commit, at the priority of any other run.
    pub fn new(commit: Commit) -> Self {
        Self { commit, priority: 0 }
    }
}

/// What an attempt begins with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Beginning {
    /// What `spawn_bundle` is asked for. It may be the resume of another session.
    pub request: SpawnRequest,
    /// Joins the commit that opens the activation.
    pub opening: Commit,
}

impl Beginning {
    /// A request, and what joins its opening commit.
    pub fn new(request: SpawnRequest, opening: Commit) -> Self {
        Self { request, opening }
    }
}

/// How an attempt has ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum WorkEnd<'a> {
    /// By the outcome of its session.
    Session {
        /// The session.
        session: &'a SessionId,
        /// Its outcome.
        outcome: &'a SessionOutcome,
        /// Where that leads any run; `None`: its session is resumed.
        usual: Option<RunState>,
    },
    /// There was no session, or the one that was lost has left nothing to go on from.
    Nothing {
        /// Why, in one clause.
        reason: &'a str,
        /// True: it is not tried again.
        last: bool,
    },
}

/// What joins the commit that ends an attempt.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Ending {
    /// Writes and conditions.
    pub commit: Commit,
    /// Where the run goes.
    pub next: Next,
}

impl Ending {
    /// Writes and conditions, and where the run goes.
    pub fn new(commit: Commit, next: Next) -> Self {
        Self { commit, next }
    }
}

/// Where a run goes whose session has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Next {
    /// Where its outcome leads any run.
    #[default]
    AsUsual,
    /// It waits for another attempt, if there is one left; else it is dead.
    Again {
        /// Why, in one clause.
        reason: String,
    },
    /// It is done.
    Completed,
    /// It is over without being done.
    Cancelled {
        /// Why, in one clause.
        reason: String,
    },
    /// It is dead.
    Dead {
        /// Why, in one clause.
        reason: String,
    },
}

/// Why an attempt does not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The store cannot say; it is tried again, and no attempt is counted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot begin now; that counts as an attempt.
    #[error("{reason}")]
    Failed {
        /// Why, in one clause.
        reason: String,
    },
    /// It shall never begin.
    #[error("{reason}")]
    Refused {
        /// Why, in one clause.
        reason: String,
    },
}

/// True where somebody else was first, and the same can be tried with what is there now.
pub(crate) fn overtaken(error: &StoreError) -> bool {
    matches!(error, StoreError::RunIs { .. } | StoreError::IssueIs { .. })
}

/// The writes and conditions of both, `first` before `then`.
pub(crate) fn both(first: Commit, then: Commit) -> Commit {
    let all = then.writes.into_iter().fold(first, Commit::write);
    then.expects.into_iter().fold(all, Commit::when)
}
