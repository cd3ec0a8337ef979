//! Why a store did not do what it was asked to.

use amplifier_core::budget::Amount;
use amplifier_core::{Activation, IssueId, RunId, SessionId};

use super::{ActivationId, ConsumerName, Cursor, DedupKey, Epoch, LeaseKey, OwnerId, RunState};

/// Why a store did not do what it was asked to.
///
/// After every variant but [`StoreError::InDoubt`] nothing of the commit was written, and
/// nothing of it will be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The fence: the session is at another activation.
    #[error("session `{session}` is at {}, not at activation {expected}; stop, somebody else has it", at(.found))]
    Stale {
        /// The session.
        session: SessionId,
        /// The activation of who asked.
        expected: Activation,
        /// The last activation of the session; `None` if there is no such session.
        found: Option<Activation>,
    },
    /// The session exists already.
    #[error("session `{session}` exists already; resume it or choose another id")]
    SessionExists {
        /// The session.
        session: SessionId,
    },
    /// The session cannot be opened, because its last activation has no outcome yet.
    #[error("session `{session}` is run by `{owner}` as activation {activation}; wait for it or cancel it")]
    StillRunning {
        /// The session.
        session: SessionId,
        /// The activation that has no outcome yet.
        activation: Activation,
        /// Who runs it.
        owner: OwnerId,
    },
    /// The activation has its outcome already.
    #[error("activation {of} has ended; resume the session")]
    Ended {
        /// The activation.
        of: ActivationId,
    },
    /// A run is in another state, or at another attempt.
    #[error("run `{run}` is {}, not {}; read it again", state(.found, *attempt), expected.as_str())]
    RunIs {
        /// The run.
        run: RunId,
        /// Where it should be.
        expected: RunState,
        /// Where it is; `None` if there is no such run.
        found: Option<RunState>,
        /// At which attempt it is, where its state is the expected one.
        attempt: Option<u32>,
    },
    /// A step that is not in the table.
    #[error("run `{run}` cannot go from {} to {}", from.as_str(), to.as_str())]
    IllegalStep {
        /// The run.
        run: RunId,
        /// Where it is.
        from: RunState,
        /// Where it was to go.
        to: RunState,
    },
    /// Somebody has the lease.
    #[error("lease `{key}` is held by `{owner}` (epoch {epoch}); wait until it is released or runs out")]
    LeaseTaken {
        /// The lease.
        key: LeaseKey,
        /// Who holds it.
        owner: OwnerId,
        /// Its fence.
        epoch: Epoch,
    },
    /// The fence: the lease was released, or somebody else has taken it.
    #[error("lease `{key}` of epoch {expected} is lost; stop, and take it anew")]
    LeaseLost {
        /// The lease.
        key: LeaseKey,
        /// The fence of who asked.
        expected: Epoch,
        /// The fence that the lease has now; `None` if it is free.
        found: Option<Epoch>,
    },
    /// A consumer's cursor is elsewhere, or would go back.
    #[error("the cursor of consumer `{consumer}` is {}, not {}; read it again", place(.found), place(.expected))]
    CursorIs {
        /// The consumer.
        consumer: ConsumerName,
        /// Where it should be; a new place that lies behind the one it has.
        expected: Option<Cursor>,
        /// Where it is.
        found: Option<Cursor>,
    },
    /// A place before the oldest event, behind the newest one, or in another log.
    #[error("the log does not hold that place; the oldest event is {}", oldest.sequence)]
    Gone {
        /// The oldest place that can be read.
        oldest: Cursor,
    },
    /// The key is there.
    #[error("key `{key}` exists already")]
    KeyPresent {
        /// The key.
        key: DedupKey,
    },
    /// An issue is not as it was read.
    #[error("issue `{issue}` is {}, not {}; read it again", at_revision(*revision), at_revision(*expected))]
    IssueIs {
        /// The issue.
        issue: IssueId,
        /// The revision that it should have; 0: it should not be there.
        expected: u64,
        /// The revision that it has; 0 if there is no such issue.
        revision: u64,
    },
    /// There is no such issue.
    #[error("there is no issue `{issue}`")]
    NoIssue {
        /// The issue.
        issue: IssueId,
    },
    /// There is no such command any more.
    #[error("command {place} was taken before, or its owner is gone")]
    NoCommand {
        /// Its place.
        place: u64,
    },
    /// The activation has a grant already.
    #[error("activation {of} has a grant already")]
    GrantExists {
        /// The activation.
        of: ActivationId,
    },
    /// The activation has no grant, or its grant is settled.
    #[error("activation {of} has no open grant; begin the tree with one")]
    NoGrant {
        /// The activation.
        of: ActivationId,
    },
    /// A grant has too little left.
    #[error(
        "the grant of {of} has {} tokens and {} micro-usd left; {} and {} were wanted",
        left.tokens, left.micro_usd, wanted.tokens, wanted.micro_usd
    )]
    Overdrawn {
        /// The activation that was to pass something on.
        of: ActivationId,
        /// What was wanted of it.
        wanted: Amount,
        /// What it has not passed on yet.
        left: Amount,
    },
    /// A commit that no store can carry out.
    #[error("the commit makes no sense: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A row that is read back cannot have been written so.
    #[error("the store is damaged: {what}; restore a backup")]
    Damaged {
        /// Which row.
        what: String,
    },
    /// There is no image of so many commits.
    #[error("no image after {wanted} commits; {have} are recorded")]
    NoImage {
        /// The number of commits that was asked for.
        wanted: usize,
        /// How many are recorded.
        have: usize,
    },
    /// The store is shut down.
    #[error("the store is shut down")]
    Closed,
    /// Somebody else writes, for too long.
    #[error("the store is busy; {} writes, try again", holder.as_ref().map_or("another process", OwnerId::as_str))]
    Busy {
        /// Who writes, where that is known.
        holder: Option<OwnerId>,
    },
    /// The database was written by a later version of this program.
    #[error("the store is of version {found}, and this program knows versions up to {known}; update it")]
    Newer {
        /// The version of the database.
        found: u32,
        /// The latest version that is known here.
        known: u32,
    },
    /// The disk is full, or the file may not grow any more.
    #[error("the disk of the store is full; free some space and try again")]
    Full {
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of the store cannot be written to.
    #[error("the store is read-only; make its file and the folder that it lies in writable")]
    ReadOnly {
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed before the commit.
    #[error("the store cannot {action}")]
    Backend {
        /// What it was doing.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed while it made the commit durable: it may be there or not.
    #[error("the store cannot say whether the commit is there; send it again or read")]
    InDoubt {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// True if nothing of the commit was written and nothing will be.
    pub fn wrote_nothing(&self) -> bool {
        !matches!(self, Self::InDoubt { .. })
    }
}

fn at(found: &Option<Activation>) -> String {
    found.map_or("no activation".into(), |found| format!("activation {found}"))
}

fn state(found: &Option<RunState>, attempt: Option<u32>) -> String {
    match attempt {
        Some(attempt) => format!("at another attempt ({attempt})"),
        None => found.map_or("absent", RunState::as_str).to_owned(),
    }
}

fn at_revision(revision: u64) -> String {
    match revision {
        0 => "absent".into(),
        revision => format!("at revision {revision}"),
    }
}

fn place(cursor: &Option<Cursor>) -> String {
    cursor.map_or("absent".into(), |cursor| format!("at {}", cursor.sequence))
}
