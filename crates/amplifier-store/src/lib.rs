//! The store: everything that must be true after a crash, behind one atomic `commit`.
//!
//! It holds the event log, sessions with their activations and outcomes, runs, leases,
//! cursors of durable consumers, budget grants, counters, keys, issues, and commands to owners. Transcripts and
//! descriptions of sessions lie in the foundation's storage.
//!
//! Guarantees: a [`Commit`] is written whole or not at all; all commits have one order,
//! the same for every reader; what happens once (a settling, a run, a key) happens once
//! whoever tries it how often.
//! Never assumed: one process, one clock, a shared file system. Spans are measured by the
//! store's own clock, and nothing is safe because of time: fences are activations and epochs.

#![warn(missing_docs)]

mod command;
mod commit;
pub mod conformance;
mod error;
mod instance;
mod issue;
mod listener;
mod memory;
mod name;
mod reconcile;
mod retention;
mod run;
#[cfg(feature = "sqlite")]
mod sqlite;
mod views;

use std::fmt::Debug;
use std::sync::{Arc, Weak};

use amplifier_core::{EventId, IssueId, Payload, RunId, SessionEvent, SessionId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use command::{Command, CommandName};
pub use commit::{Applied, Commit, Expect, Receipt, Repeated, Write};
pub use error::StoreError;
pub use instance::{Blocked, Instance, Passage, Peer};
pub use issue::{IssueCounts, IssueFilter, IssueNote, IssueOrder, IssueRow, IssueStatus, NoteKind};
pub use listener::{Declined, LogListener};
pub use memory::{LOG_CAPACITY, MemoryStore};
pub use name::{ActivationId, ConsumerName, CounterName, DedupKey, Epoch, LeaseKey, OwnerId, QueueName};
pub use reconcile::{Intent, Recovery, Verdict, reconcile};
pub use retention::{Keep, Retained, Retention};
pub use run::{RUN_STEPS, RunMove, RunRow, RunState};
#[cfg(feature = "sqlite")]
pub use sqlite::{
    Inspection, Prepare, ProjectStore, ProjectStoreOptions, SqliteOptions, SqliteStore, back_up, inspect,
};
pub use views::{
    DEFAULT_ROWS, EventPage, Grant, Lease, ReadyRuns, RunFilter, SessionFilter, SessionRow, Settled,
};

/// A place in a log: the next event to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// The log; a cursor of another one is refused.
    pub log: u64,
    /// The sequence of the next event to read.
    pub sequence: u64,
}

/// What every store does. `conformance::run` checks it.
///
/// **Reads** see a prefix of the commits, in their order, and at least each commit of which
/// this handle has returned `Ok`; two reads may see two prefixes, the later one not the
/// shorter. What was read may be outdated at once: put it into the `expects` of the commit
/// that relies on it. What a read returns is durable. `Err` of a read says nothing.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Writes a commit whole or not at all.
    ///
    /// In this order: if one of its writes that happen once has happened before, nothing is
    /// written and the receipt is [`Receipt::Repeated`] (so a commit can be sent again without
    /// harm, even though its conditions do not hold any more); then all conditions are
    /// compared; then the writes are carried out, each seeing those before it. A condition that does
    /// not hold or a write that does not fit refuses the commit.
    ///
    /// After `Ok` the commit is durable, also against a loss of power (in memory: as long as
    /// the process lives), and every later read sees it. After `Err` nothing of it was written
    /// and nothing will be, but for [`StoreError::InDoubt`]: it may be there; send it again if
    /// it holds a write that happens once, or read. After a crash, or if the future is dropped, it is
    /// there whole or not at all.
    async fn commit(&self, commit: Commit) -> Result<Receipt, StoreError>;

    /// Hands a commit over without waiting, for who cannot wait: destructors, and the end of
    /// a runtime. Needs no runtime and does not block on a disk or network.
    ///
    /// `Ok` says that the commit will be tried, after what this handle was given before and
    /// before what it is given later, and not that it is durable or accepted; if it is refused that is
    /// logged and counted in [`Store::refused_posts`], and nobody else is told. A commit whose future still
    /// waits for room was not given yet: who needs an order waits for the first before the second. After a
    /// crash it may be missing. `Err`: it will not be tried.
    fn post(&self, commit: Commit) -> Result<(), StoreError>;

    /// How many commits that were posted here have been refused or could not be written after that.
    /// 0 of a store that decides at the call.
    fn refused_posts(&self) -> u64 {
        0
    }

    /// Says that a commit will come soon: a store that is made with its first commit begins to be made.
    /// Returns at once; what goes wrong is told by that commit.
    fn expect_commit(&self) {}

    /// Appends an event at once, if this store needs to wait for nothing: then the event is in the
    /// log with its sequence, and whoever listens was told. Else it is given back, to be committed.
    fn append_now(&self, event: Arc<SessionEvent>) -> Result<(), Declined> {
        Err(Declined(event))
    }

    /// Tells `listener` what is recorded from now on, until it is dropped: what this handle
    /// commits after this call, and what others commit after the store has taken note of it,
    /// which is before the next commit or [`Store::tail`] of this handle returns.
    fn listen(&self, listener: Weak<dyn LogListener>);

    /// The place behind the last event.
    async fn tail(&self) -> Result<Cursor, StoreError>;

    /// At most `limit` events from a cursor on, in the order of the log. No event appears later
    /// at a place that was read past. [`StoreError::Gone`] for a place that was pruned, lies
    /// behind the tail (a restored backup) or is of another log.
    async fn events(&self, from: Cursor, limit: usize) -> Result<EventPage, StoreError>;

    /// The event of this id, as long as the log holds it.
    async fn event(&self, id: EventId) -> Result<Option<Arc<SessionEvent>>, StoreError>;

    /// Commands to an owner that were not taken yet, in the order of their places.
    async fn commands(&self, to: &OwnerId, limit: usize) -> Result<Vec<Command>, StoreError>;

    /// One session.
    async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Sessions in the order of their ids.
    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError>;

    /// How an activation ended, also one that is not the last; `None` while it has no outcome.
    async fn settled(&self, of: &ActivationId) -> Result<Option<Settled>, StoreError>;

    /// One run.
    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError>;

    /// Runs in the order of their places.
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError>;

    /// At most `limit` runs of a queue that can be leased now, in the order in which they should be. Costs
    /// what it returns, and nothing for what waits behind it; runs that wait for their time cost a little
    /// where others are ready.
    async fn ready_runs(&self, queue: &QueueName, limit: usize) -> Result<ReadyRuns, StoreError>;

    /// How many runs of a queue are queued, ready or not. Reads no row.
    async fn count_queued(&self, queue: &QueueName) -> Result<u64, StoreError>;

    /// The queues in which runs are queued, ready or not, by name. Costs what it returns.
    async fn queues(&self) -> Result<Vec<QueueName>, StoreError>;

    /// Who holds a lease; `None` if it is free. One that has run out is shown until somebody
    /// takes it.
    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError>;

    /// Where a durable consumer is; `None` if it is not known.
    async fn cursor(&self, consumer: &ConsumerName) -> Result<Option<Cursor>, StoreError>;

    /// The grant of an activation.
    async fn grant(&self, of: &ActivationId) -> Result<Option<Grant>, StoreError>;

    /// A counter; one that nobody added to is 0.
    async fn counter(&self, counter: &CounterName) -> Result<u64, StoreError>;

    /// What a key's first commit said; `None` if there is none, or none any more.
    async fn key(&self, key: &DedupKey) -> Result<Option<Payload>, StoreError>;

    /// Keys that begin with `prefix`, with their values, in the order of their bytes; only those behind
    /// `after`, the last one of the page before.
    async fn keys(
        &self,
        prefix: &str,
        after: Option<&DedupKey>,
        limit: usize,
    ) -> Result<Vec<(DedupKey, Payload)>, StoreError>;

    /// Drops what `retention` does not keep, in small steps between other commits. What was dropped before an
    /// error stays dropped, and is counted. A store that has bounds of its own drops nothing here.
    async fn retain(&self, retention: &Retention) -> Result<Retained, StoreError> {
        let _ = retention;
        Ok(Retained::default())
    }

    /// One issue.
    async fn issue(&self, id: &IssueId) -> Result<Option<IssueRow>, StoreError>;

    /// Issues in the order that the filter names. Those that are ready, that a run has claimed, that need a
    /// certain one or that are in certain states cost what is returned, however many others there are; a
    /// filter that says more than that passes over those that it leaves out.
    async fn issues(&self, filter: &IssueFilter) -> Result<Vec<IssueRow>, StoreError>;

    /// How many issues there are. Reads no row.
    async fn count_issues(&self) -> Result<IssueCounts, StoreError>;

    /// At most `limit` notes of an issue behind a place, in their order. None for an issue that is not there.
    async fn issue_notes(&self, id: &IssueId, after: u64, limit: usize)
    -> Result<Vec<IssueNote>, StoreError>;
}
