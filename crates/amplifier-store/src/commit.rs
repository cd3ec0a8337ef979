//! What is written, and under which conditions: the one way to change a store.
//!
//! Guarantees: none by itself; what a commit promises, the trait says.
//! Never here: how. A commit is data, so that it can be kept, sent again and compared.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Amount;
use amplifier_core::{IssueId, Payload, RunId, SessionEvent, SessionId, SessionOutcome, TriggerId};

use super::{
    ActivationId, CommandName, ConsumerName, CounterName, Cursor, DedupKey, Epoch, IssueRow, LeaseKey,
    NoteKind, OwnerId, QueueName, RunMove, RunState, Settled,
};

/// A group of writes that become durable together or not at all.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Commit {
    /// Carried out in this order; a later one sees what an earlier one did.
    pub writes: Vec<Write>,
    /// Compared with the store as it was before the first write.
    pub expects: Vec<Expect>,
}

impl Commit {
    /// A commit without writes and conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write behind those there are.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, expect: Expect) -> Self {
        self.expects.push(expect);
        self
    }
}

impl From<Write> for Commit {
    fn from(write: Write) -> Self {
        Self { writes: vec![write], expects: Vec::new() }
    }
}

/// One change.
///
/// [`Write::Settle`], [`Write::Enqueue`] and [`Write::PutKey`] happen *once*: if one of them
/// has happened before, nothing of its commit is written and the receipt is
/// [`Receipt::Repeated`]. All others refuse the commit where they do not fit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Write {
    /// Appends a recorded event. The commit gives it its sequence, whatever stands there.
    /// Its id is not compared with others. Terminal events come by [`Write::Settle`] alone.
    Append(Box<SessionEvent>),
    /// Opens an activation: the next one of a session whose last one has its outcome, or any
    /// of a session that the store does not know. Lineage and bundle of a known one stay.
    Open {
        /// The new activation.
        of: ActivationId,
        /// Who runs it.
        owner: OwnerId,
        /// The session that spawned this one.
        parent: Option<SessionId>,
        /// The root of the tree; the session itself, if nobody spawned it.
        root: SessionId,
        /// The bundle, pinned by the hash of its content.
        bundle: Option<Arc<str>>,
    },
    /// Gives the last activation its outcome and appends its terminal event. Once.
    Settle {
        /// The activation; `outcome` must be of the same number.
        of: ActivationId,
        /// How it ended.
        outcome: Arc<SessionOutcome>,
        /// The terminal event, with the session as its source.
        event: Box<SessionEvent>,
    },
    /// Forgets a session with its outcomes: its files were removed, or tell more than the store. None is no
    /// error; [`StillRunning`](super::StoreError::StillRunning) while its last activation has no outcome.
    /// What the log says of it stays, and so do its grants.
    Forget {
        /// The session.
        session: SessionId,
    },
    /// Adds a run, queued, at its first attempt. Once for each run id.
    Enqueue {
        /// The run; made of the trigger event's id, so that the same firing is the same run.
        run: RunId,
        /// Its queue.
        queue: QueueName,
        /// The trigger that fired.
        trigger: Option<TriggerId>,
        /// What the trigger said.
        payload: Payload,
        /// The higher one is begun first.
        priority: i8,
        /// How long it waits before it is ready, by the store's clock.
        delay: Duration,
    },
    /// Moves a run by one legal step.
    MoveRun(RunMove),
    /// Takes a lease that is free or has run out. The receipt has its epoch. Whoever holds it
    /// is refused too: it renews.
    TakeLease {
        /// The lease.
        key: LeaseKey,
        /// Who takes it.
        owner: OwnerId,
        /// How long it lasts, by the store's clock.
        ttl: Duration,
        /// The epoch of a holder that is known to be dead: its lease is taken before it runs out.
        over: Option<Epoch>,
    },
    /// Lets a lease last `ttl` from now on; also one that has run out, as long as nobody took it.
    RenewLease {
        /// The lease.
        key: LeaseKey,
        /// Its epoch.
        epoch: Epoch,
        /// How long it lasts from now, by the store's clock.
        ttl: Duration,
    },
    /// Gives a lease back.
    ReleaseLease {
        /// The lease.
        key: LeaseKey,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Moves the cursor of a durable consumer forward, or makes it. `Gone` where the log has
    /// no such place.
    SetCursor {
        /// The consumer.
        consumer: ConsumerName,
        /// The next event that it has not acknowledged.
        cursor: Cursor,
    },
    /// Forgets a consumer; none is no error. The next cursor may lie anywhere.
    DropCursor {
        /// The consumer.
        consumer: ConsumerName,
    },
    /// Grants a budget to an activation and debits it from another one's grant.
    Grant {
        /// Who gets it. One grant for each activation.
        to: ActivationId,
        /// Who passes it on, from its own grant; `None` begins a tree.
        from: Option<ActivationId>,
        /// How much. `u64::MAX` is no limit, for the beginning of a tree only.
        amount: Amount,
    },
    /// Settles a grant: what was not spent goes back to the nearest ancestor whose grant is
    /// open. A grant that is never settled counts as spent.
    Refund {
        /// Whose grant.
        of: ActivationId,
        /// What was spent, with all that was passed on; counted at least as much as that.
        spent: Amount,
    },
    /// Adds to a counter; one that does not exist is 0. Stops at `u64::MAX`.
    AddCounter {
        /// The counter.
        counter: CounterName,
        /// How much.
        by: u64,
    },
    /// Remembers that something happened. Once.
    PutKey {
        /// What happened.
        key: DedupKey,
        /// What a repetition is told: an event id, a session.
        value: Payload,
        /// How long the key is kept at least, by the store's clock. It may stay longer.
        retain: Duration,
    },
    /// Remembers a value in the place of the one that the key had; [`Store::key`](super::Store::key) reads
    /// it. Not once, and kept until it is replaced. A key that was put once keeps its value: refused.
    SetValue {
        /// The name of the value.
        key: DedupKey,
        /// The value.
        value: Payload,
    },
    /// Sends a command to an owner, who may be gone by now. The receipt has its place.
    Send {
        /// Who is asked.
        to: OwnerId,
        /// What is asked.
        name: CommandName,
        /// The rest of it.
        payload: Payload,
    },
    /// Takes a command away, by who carries it out. Refused with
    /// [`NoCommand`](super::StoreError::NoCommand) if somebody took it before.
    TakeCommand {
        /// Its place.
        place: u64,
    },
    /// Drops all commands to an owner that is gone; none is no error.
    DropCommands {
        /// Who was asked.
        to: OwnerId,
    },
    /// Adds an issue, or writes it anew. Place, revision, `created` and `updated` of the row are not looked
    /// at: a new one gets the next place and revision 1, one that is there keeps its place and the time at
    /// which it was made, and its revision is one more. Write it under [`Expect::IssueRevision`] of what was
    /// read. [`Malformed`](super::StoreError::Malformed) if it names something that it needs twice.
    PutIssue(Box<IssueRow>),
    /// Adds a note to an issue; [`NoIssue`](super::StoreError::NoIssue) if there is none. A note is never
    /// changed. The revision of the issue stays as it is.
    NoteIssue {
        /// The issue.
        issue: IssueId,
        /// What it is.
        kind: NoteKind,
        /// Who writes it.
        actor: Arc<str>,
        /// The session in which it is written.
        session: Option<SessionId>,
        /// What it says.
        body: Payload,
    },
    /// Drops the events before a sequence, those that the commit appends too. The sequences of
    /// later ones do not change. What a consumer has not acknowledged is not spared: who prunes looks.
    Prune {
        /// The oldest sequence that is kept.
        before: u64,
    },
}

/// One condition. None depends on time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// There is no such session, else [`SessionExists`](super::StoreError::SessionExists).
    SessionAbsent(SessionId),
    /// This is the last activation of its session, ended or not, else
    /// [`Stale`](super::StoreError::Stale): the fence of all that a session writes.
    SessionActivation(ActivationId),
    /// The same, and it has no outcome yet, else [`Ended`](super::StoreError::Ended).
    SessionRunning(ActivationId),
    /// The run is in this state, else [`RunIs`](super::StoreError::RunIs).
    RunState {
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
    },
    /// The same, and it is still at this attempt: it may have been queued, and begun anew, meanwhile.
    RunAttempt {
        /// The run.
        run: RunId,
        /// Its state.
        state: RunState,
        /// Its attempt, counted from 1.
        attempt: u32,
    },
    /// Nobody has taken the lease since, else [`LeaseLost`](super::StoreError::LeaseLost).
    /// A lease that has run out and that nobody took is still held.
    LeaseHeld {
        /// The lease.
        key: LeaseKey,
        /// Who holds it.
        owner: OwnerId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The consumer's cursor is there, else [`CursorIs`](super::StoreError::CursorIs).
    CursorAt {
        /// The consumer.
        consumer: ConsumerName,
        /// The place; `None`: the consumer is not known.
        cursor: Option<Cursor>,
    },
    /// There is no such key, else [`KeyPresent`](super::StoreError::KeyPresent).
    KeyAbsent(DedupKey),
    /// The issue is as it was read, else [`IssueIs`](super::StoreError::IssueIs).
    IssueRevision {
        /// The issue.
        issue: IssueId,
        /// Its revision; 0: there is no such issue.
        revision: u64,
    },
}

/// What became of a commit.
#[derive(Debug, Clone)]
#[must_use = "a commit that was not refused may still have been a repetition"]
#[non_exhaustive]
pub enum Receipt {
    /// All of it was written.
    Applied(Applied),
    /// Something in it has happened before, so nothing of it was written.
    Repeated(Repeated),
}

impl Receipt {
    /// What was written; `None` for a repetition.
    pub fn applied(self) -> Option<Applied> {
        match self {
            Self::Applied(applied) => Some(applied),
            Self::Repeated(_) => None,
        }
    }
}

/// What the store has made of a commit.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Applied {
    /// The commit's events with their sequences, which follow on each other.
    pub events: Vec<Arc<SessionEvent>>,
    /// The fences of the leases that were taken, in the order of the writes.
    pub epochs: Vec<(LeaseKey, Epoch)>,
    /// The places of the commands that were sent, in the order of the writes.
    pub commands: Vec<u64>,
    /// Where runs were queued, anew or again, in the order of the writes.
    pub queued: Vec<QueueName>,
    /// The issues that were written with their places and revisions, in the order of the writes.
    pub issues: Vec<(IssueId, u64, u64)>,
    /// The place behind the last event of the log once all of it was written. Whoever gets `None` asks for it.
    pub tail: Option<Cursor>,
}

/// The first of a commit's writes that has happened before, and what came of it then.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Repeated {
    /// The activation has this outcome.
    Settled {
        /// The activation.
        of: ActivationId,
        /// What the first settling said.
        settled: Settled,
    },
    /// The run exists.
    Run(RunId),
    /// The key exists.
    Key {
        /// The key.
        key: DedupKey,
        /// What the first one said.
        value: Payload,
    },
}
