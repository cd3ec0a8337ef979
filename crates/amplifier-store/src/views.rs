//! What can be read of a store.
//!
//! Guarantees: a row is as one commit left it. Times are of the store's own clock, so that
//! two of them can be compared whoever wrote; they are no fence and no order.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Amount;
use amplifier_core::{
    Activation, EventId, SessionEvent, SessionId, SessionOutcome, SessionStatus, Timestamp,
};

use super::{ActivationId, Cursor, Epoch, LeaseKey, OwnerId, QueueName, RunRow, RunState};

/// Rows that a query returns if it names no number.
pub const DEFAULT_ROWS: usize = 1_000;

/// A piece of the event log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EventPage {
    /// Events in the order of the log, without a gap. Empty at the end of the log.
    pub events: Vec<Arc<SessionEvent>>,
    /// Where to read on.
    pub next: Cursor,
}

/// How an activation ended, and where that stands in the log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settled {
    /// The outcome.
    pub outcome: Arc<SessionOutcome>,
    /// The terminal event.
    pub event: EventId,
    /// Its sequence.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
}

/// A session as the store has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SessionRow {
    /// The session.
    pub id: SessionId,
    /// The session that spawned it.
    pub parent: Option<SessionId>,
    /// The root of its tree.
    pub root: SessionId,
    /// The bundle, pinned by the hash of its content.
    pub bundle: Option<Arc<str>>,
    /// Its last activation.
    pub activation: Activation,
    /// Who runs the last activation, or ran it.
    pub owner: OwnerId,
    /// How the last activation ended; `None` while it runs.
    pub settled: Option<Settled>,
    /// When its first activation was opened.
    pub created: Timestamp,
    /// When its last activation was opened or settled.
    pub updated: Timestamp,
}

impl SessionRow {
    /// Where the session stands. Whether its owner lives, the store cannot know.
    pub fn status(&self) -> SessionStatus {
        if self.settled.is_some() { SessionStatus::Ended } else { SessionStatus::Running }
    }

    /// Its last activation.
    pub fn last(&self) -> ActivationId {
        ActivationId::new(self.id.clone(), self.activation)
    }
}

/// Which sessions, in the order of their ids. By default all, [`DEFAULT_ROWS`] at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionFilter {
    /// Only those that stand so.
    pub status: Option<SessionStatus>,
    /// Only those of this tree.
    pub root: Option<SessionId>,
    /// Only those of this owner.
    pub owner: Option<OwnerId>,
    /// Only those behind this id: the last one of the page before.
    pub after: Option<SessionId>,
    /// How many at most.
    pub limit: usize,
}

impl Default for SessionFilter {
    fn default() -> Self {
        Self { status: None, root: None, owner: None, after: None, limit: DEFAULT_ROWS }
    }
}

impl SessionFilter {
    /// All sessions whose last activation has no outcome.
    pub fn running() -> Self {
        Self { status: Some(SessionStatus::Running), ..Self::default() }
    }

    /// True if a row passes; `after` and `limit` apart.
    pub fn fits(&self, row: &SessionRow) -> bool {
        self.status.is_none_or(|status| status == row.status())
            && self.root.as_ref().is_none_or(|root| *root == row.root)
            && self.owner.as_ref().is_none_or(|owner| *owner == row.owner)
    }
}

/// Which runs, in the order of their places. By default all, [`DEFAULT_ROWS`] at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFilter {
    /// Only those of this queue.
    pub queue: Option<QueueName>,
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only the one that this session is an attempt of, or was.
    pub session: Option<SessionId>,
    /// Only those behind this place.
    pub after: u64,
    /// How many at most.
    pub limit: usize,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { queue: None, state: None, session: None, after: 0, limit: DEFAULT_ROWS }
    }
}

/// What can be leased now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadyRuns {
    /// Queued runs whose time has come: the higher priority first, then the earlier place.
    pub runs: Vec<RunRow>,
    /// When the next one is ready whose time has not come; `None` if there is none.
    pub next: Option<Timestamp>,
}

impl RunFilter {
    /// The run that a session is an attempt of, or was: one that failed and is tried again too.
    pub fn of_session(session: SessionId) -> Self {
        Self { session: Some(session), limit: 1, ..Self::default() }
    }
}

/// A lease that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The lease.
    pub key: LeaseKey,
    /// Who holds it.
    pub owner: OwnerId,
    /// Its fence.
    pub epoch: Epoch,
    /// How long it still lasts by the store's clock, at the time of reading; zero once it has
    /// run out and anybody may take it.
    pub left: Duration,
}

/// A budget that was granted to an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Who has it.
    pub of: ActivationId,
    /// Whose grant it was debited from.
    pub from: Option<ActivationId>,
    /// How much.
    pub amount: Amount,
    /// What was debited from it: of open grants the amount, of settled ones what was spent.
    pub passed_on: Amount,
    /// What was spent, with all that was passed on; `None` while the grant is open, which
    /// counts as `amount`.
    pub spent: Option<Amount>,
}

impl Grant {
    /// What it counts for where it was debited.
    pub fn counted(&self) -> Amount {
        self.spent.unwrap_or(self.amount)
    }

    /// What can still be passed on; nothing once it is settled.
    pub fn left(&self) -> Amount {
        let left = |of: u64, used: u64| of.saturating_sub(used);
        match self.spent {
            Some(_) => Amount::default(),
            None => Amount {
                tokens: left(self.amount.tokens, self.passed_on.tokens),
                micro_usd: left(self.amount.micro_usd, self.passed_on.micro_usd),
            },
        }
    }
}
