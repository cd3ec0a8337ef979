//! The tables of a store in memory, and how a commit changes them.
//!
//! Guarantees: a commit that is refused leaves no trace, wherever in it the reason lies.
//! The result depends on the commits and the times that are passed in, on nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use amplifier_core::budget::Amount;
use amplifier_core::{Payload, RunId, SessionEvent, SessionId, Timestamp};

use super::issues::Issues;
use super::runs::Runs;
use super::table::{Table, Undo};
use crate::{
    ActivationId, Applied, Command, Commit, ConsumerName, CounterName, Cursor, DedupKey, Epoch, Expect,
    Grant, LeaseKey, OwnerId, Receipt, Repeated, RunRow, SessionRow, Settled, StoreError, Write,
};

/// Events that a store in memory keeps; older ones are pruned by themselves.
pub const LOG_CAPACITY: usize = 16_384;

/// Everything that is stored.
#[derive(Debug)]
pub(super) struct State {
    pub(super) log: u64,
    /// The sequence of the oldest event that is kept.
    pub(super) oldest: u64,
    pub(super) events: VecDeque<Arc<SessionEvent>>,
    pub(super) sessions: Table<SessionId, SessionRow>,
    pub(super) settled: Table<ActivationId, Settled>,
    pub(super) runs: Runs,
    /// Of which run a session is an attempt.
    pub(super) attempts: Table<SessionId, u64>,
    pub(super) leases: Table<LeaseKey, Held>,
    pub(super) cursors: Table<ConsumerName, Cursor>,
    pub(super) grants: Table<ActivationId, Grant>,
    pub(super) counters: Table<CounterName, u64>,
    pub(super) keys: Table<DedupKey, Kept>,
    /// Which key may be forgotten when.
    forgettable: BTreeSet<(Timestamp, DedupKey)>,
    pub(super) commands: Table<u64, Command>,
    pub(super) issues: Issues,
    pub(super) last_epoch: Epoch,
    pub(super) last_command: u64,
}

/// A lease; it runs out at `until`.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) owner: OwnerId,
    pub(super) epoch: Epoch,
    pub(super) until: Timestamp,
}

/// A key; it may be forgotten at `until`.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) value: Payload,
    pub(super) until: Timestamp,
}

/// A commit that is being carried out.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) now: Timestamp,
    pub(super) applied: Applied,
    pub(super) keys: Vec<(Timestamp, DedupKey)>,
    pub(super) prune: u64,
}

impl State {
    pub(super) fn new(log: u64) -> Self {
        Self {
            log,
            oldest: 1,
            events: VecDeque::new(),
            sessions: Table::default(),
            settled: Table::default(),
            runs: Runs::default(),
            attempts: Table::default(),
            leases: Table::default(),
            cursors: Table::default(),
            grants: Table::default(),
            counters: Table::default(),
            keys: Table::default(),
            forgettable: BTreeSet::new(),
            commands: Table::default(),
            issues: Issues::default(),
            last_epoch: Epoch(0),
            last_command: 0,
        }
    }

    pub(super) fn apply(&mut self, commit: Commit, now: Timestamp) -> Result<Receipt, StoreError> {
        if let Some(repeated) = commit.writes.iter().find_map(|write| self.repeated(write, now)) {
            return Ok(Receipt::Repeated(repeated));
        }
        commit.expects.iter().try_for_each(|expect| self.compare(expect, now))?;
        let (events, epoch, command) = (self.events.len(), self.last_epoch, self.last_command);
        let mut draft = Draft { now, applied: Applied::default(), keys: Vec::new(), prune: 0 };
        let mut writes = commit.writes.into_iter();
        match writes.try_for_each(|write| self.write(write, &mut draft)) {
            Ok(()) => {
                self.tables().for_each(Undo::keep);
                self.forget(&mut draft);
                self.prune(draft.prune);
                Ok(Receipt::Applied(Applied { tail: Some(self.tail()), ..draft.applied }))
            }
            Err(error) => {
                self.tables().for_each(Undo::undo);
                self.events.truncate(events);
                (self.last_epoch, self.last_command) = (epoch, command);
                Err(error)
            }
        }
    }

    fn tables(&mut self) -> impl Iterator<Item = &mut dyn Undo> {
        let others: [&mut dyn Undo; 9] = [
            &mut self.sessions,
            &mut self.settled,
            &mut self.attempts,
            &mut self.leases,
            &mut self.cursors,
            &mut self.grants,
            &mut self.counters,
            &mut self.keys,
            &mut self.commands,
        ];
        self.runs.tables().into_iter().chain(self.issues.tables()).chain(others)
    }

    /// What came of a write that happens once, if it has happened.
    fn repeated(&self, write: &Write, now: Timestamp) -> Option<Repeated> {
        match write {
            Write::Settle { of, .. } => {
                let settled = self.settled.get(of)?.clone();
                Some(Repeated::Settled { of: of.clone(), settled })
            }
            Write::Enqueue { run, .. } => self.run(run).map(|_| Repeated::Run(run.clone())),
            Write::PutKey { key, .. } => {
                let value = self.kept(key, now)?.value.clone();
                Some(Repeated::Key { key: key.clone(), value })
            }
            _ => None,
        }
    }

    /// A key, unless its time is over.
    pub(super) fn kept(&self, key: &DedupKey, now: Timestamp) -> Option<&Kept> {
        self.keys.get(key).filter(|kept| kept.until > now)
    }

    fn compare(&self, expect: &Expect, now: Timestamp) -> Result<(), StoreError> {
        match expect {
            Expect::SessionAbsent(session) => match self.sessions.get(session) {
                Some(_) => Err(StoreError::SessionExists { session: session.clone() }),
                None => Ok(()),
            },
            Expect::SessionActivation(of) => self.fence(of).map(drop),
            Expect::SessionRunning(of) => match self.fence(of)?.settled {
                Some(_) => Err(StoreError::Ended { of: of.clone() }),
                None => Ok(()),
            },
            Expect::RunState { run, state } => RunRow::compare(self.run(run), run, *state, None),
            Expect::RunAttempt { run, state, attempt } => {
                RunRow::compare(self.run(run), run, *state, Some(*attempt))
            }
            Expect::LeaseHeld { key, owner, epoch } => match self.held(key, *epoch)? {
                held if held.owner == *owner => Ok(()),
                held => Err(lost(key, *epoch, Some(held.epoch))),
            },
            Expect::CursorAt { consumer, cursor } => match self.cursors.get(consumer).copied() {
                found if found == *cursor => Ok(()),
                found => Err(StoreError::CursorIs { consumer: consumer.clone(), expected: *cursor, found }),
            },
            Expect::KeyAbsent(key) => match self.kept(key, now) {
                Some(_) => Err(StoreError::KeyPresent { key: key.clone() }),
                None => Ok(()),
            },
            Expect::IssueRevision { issue, revision: expected } => match self.issues.revision(issue) {
                found if found == *expected => Ok(()),
                revision => Err(StoreError::IssueIs { issue: issue.clone(), expected: *expected, revision }),
            },
        }
    }

    /// The row of a session of which this is the last activation.
    pub(super) fn fence(&self, of: &ActivationId) -> Result<&SessionRow, StoreError> {
        let row = self.sessions.get(&of.session);
        row.filter(|row| row.activation == of.activation).ok_or_else(|| StoreError::Stale {
            session: of.session.clone(),
            expected: of.activation,
            found: row.map(|row| row.activation),
        })
    }

    pub(super) fn run(&self, id: &RunId) -> Option<&RunRow> {
        self.runs.get(id)
    }

    /// The lease that was taken under this fence.
    pub(super) fn held(&self, key: &LeaseKey, epoch: Epoch) -> Result<&Held, StoreError> {
        let held = self.leases.get(key);
        held.filter(|held| held.epoch == epoch).ok_or_else(|| lost(key, epoch, held.map(|held| held.epoch)))
    }

    pub(super) fn tail(&self) -> Cursor {
        Cursor { log: self.log, sequence: self.oldest + self.events.len() as u64 }
    }

    /// Refuses a place that the log does not hold.
    pub(super) fn check_place(&self, cursor: Cursor) -> Result<(), StoreError> {
        let held = self.oldest..=self.tail().sequence;
        if cursor.log == self.log && held.contains(&cursor.sequence) {
            return Ok(());
        }
        Err(StoreError::Gone { oldest: Cursor { log: self.log, sequence: self.oldest } })
    }

    /// Drops keys whose time is over.
    fn forget(&mut self, draft: &mut Draft) {
        self.forgettable.extend(draft.keys.drain(..));
        while self.forgettable.first().is_some_and(|(until, _)| *until <= draft.now) {
            let Some((until, key)) = self.forgettable.pop_first() else { return };
            if self.keys.get(&key).is_some_and(|kept| kept.until == until) {
                self.keys.remove(&key);
            }
        }
        self.keys.keep();
    }

    /// Appends one event, which has its sequence, as a commit of its own, which cannot be refused.
    pub(super) fn append_alone(&mut self, event: Arc<SessionEvent>) {
        self.events.push_back(event);
        self.prune(0);
    }

    fn prune(&mut self, before: u64) {
        let wanted = usize::try_from(before.saturating_sub(self.oldest)).unwrap_or(usize::MAX);
        let over = self.events.len().saturating_sub(LOG_CAPACITY);
        let count = wanted.max(over).min(self.events.len());
        match count {
            0 => {}
            1 => drop(self.events.pop_front()),
            _ => drop(self.events.drain(..count)),
        }
        self.oldest += count as u64;
    }

    /// Refuses rows that no commits lead to.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.runs.all().try_for_each(RunRow::check)
    }
}

fn lost(key: &LeaseKey, expected: Epoch, found: Option<Epoch>) -> StoreError {
    StoreError::LeaseLost { key: key.clone(), expected, found }
}

/// Both parts of an amount, changed by the same rule.
pub(super) fn each(a: Amount, b: Amount, rule: fn(u64, u64) -> u64) -> Amount {
    Amount { tokens: rule(a.tokens, b.tokens), micro_usd: rule(a.micro_usd, b.micro_usd) }
}
