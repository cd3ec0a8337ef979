//! One commit within a transaction of many.
//!
//! Guarantees: a commit that is refused leaves no trace, wherever in it the reason lies; those
//! before and after it in the same transaction are not touched. The rules are those of the store in
//! memory, and a history that is random holds the two to each other.

use std::sync::Arc;

use amplifier_core::{SessionEvent, Timestamp};
use rusqlite::{CachedStatement, Connection};

use super::event;
use super::fault::{Done, Halt};
use super::issues;
use super::marks::Marks;
use super::rows::{self, Held};
use super::sql::{is_refusal, place, run};
use crate::{ActivationId, Applied, Commit, Cursor, Epoch, Expect, LeaseKey, Receipt, Repeated, RunRow};
use crate::{SessionRow, StoreError, Write};

/// A transaction that was begun.
pub(super) struct Txn<'c> {
    pub(super) conn: &'c Connection,
    insert: CachedStatement<'c>,
    pub(super) now: Timestamp,
    pub(super) marks: Marks,
    before: Marks,
    /// What the commit at hand has made so far.
    pub(super) applied: Applied,
    pub(super) prune: u64,
    /// True once a commit was applied.
    wrote: bool,
}

impl<'c> Txn<'c> {
    pub(super) fn new(conn: &'c Connection, now: Timestamp) -> Done<Self> {
        let marks = Marks::read(conn)?;
        let (insert, before) = (event::inserting(conn)?, marks.clone());
        let (applied, prune, wrote) = (Applied::default(), 0, false);
        Ok(Self { conn, insert, now, marks, before, applied, prune, wrote })
    }

    /// Writes what all commits share. To be called once, before COMMIT.
    pub(super) fn finish(self) -> Done<Marks> {
        if self.wrote {
            run(self.conn, "DELETE FROM keys WHERE until <= ?1", [self.now.as_micros()])?;
        }
        self.marks.write(&self.before, self.conn)?;
        Ok(self.marks)
    }

    /// Carries out a commit, or nothing of it.
    pub(super) fn apply(&mut self, commit: Commit) -> Done<Receipt> {
        if is_plain(&commit) {
            // Nothing in it can be refused, so there is nothing to take back.
            commit.writes.into_iter().try_for_each(|write| self.write(write))?;
            return Ok(self.done());
        }
        for write in &commit.writes {
            if let Some(repeated) = self.repeated(write)? {
                return Ok(Receipt::Repeated(repeated));
            }
        }
        commit.expects.iter().try_for_each(|expect| self.compare(expect))?;
        self.alone(|txn| {
            txn.write_all(commit.writes)?;
            let before = std::mem::take(&mut txn.prune);
            txn.prune(before)
        })?;
        Ok(self.done())
    }

    fn write_all(&mut self, writes: Vec<Write>) -> Done {
        let mut writes = writes.into_iter().peekable();
        while let Some(write) = writes.next() {
            let Write::MoveRun(step) = write else {
                self.write(write)?;
                continue;
            };
            // Steps of one run that follow each other are one change of its row.
            let run = step.run.clone();
            let same = |next: &Write| matches!(next, Write::MoveRun(next) if next.run == run);
            let mut steps = vec![step];
            while let Some(Write::MoveRun(next)) = writes.next_if(same) {
                steps.push(next);
            }
            self.move_run(&steps)?;
        }
        Ok(())
    }

    /// What the commit at hand has made.
    fn done(&mut self) -> Receipt {
        self.wrote = true;
        Receipt::Applied(Applied { tail: Some(self.marks.end()), ..std::mem::take(&mut self.applied) })
    }

    /// Does something that is taken back whole if it is refused.
    pub(super) fn alone<T>(&mut self, work: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        run(self.conn, "SAVEPOINT one", [])?;
        let marks = self.marks.clone();
        let done = work(self);
        if let Err(halt) = &done {
            (self.applied, self.prune, self.marks) = (Applied::default(), 0, marks);
            if !is_refusal(halt) {
                return done;
            }
            run(self.conn, "ROLLBACK TO one", [])?;
        }
        run(self.conn, "RELEASE one", [])?;
        done
    }

    /// What came of a write that happens once, if it has happened.
    fn repeated(&self, write: &Write) -> Done<Option<Repeated>> {
        Ok(match write {
            Write::Settle { of, .. } => {
                let settled = rows::settled(self.conn, of)?;
                settled.map(|settled| Repeated::Settled { of: of.clone(), settled })
            }
            Write::Enqueue { run, .. } => rows::run(self.conn, run)?.map(|row| Repeated::Run(row.id)),
            Write::PutKey { key, .. } => {
                let value = rows::key(self.conn, key, self.now)?;
                value.map(|value| Repeated::Key { key: key.clone(), value })
            }
            _ => None,
        })
    }

    fn compare(&self, expect: &Expect) -> Done {
        let refusal = match expect {
            Expect::SessionAbsent(session) => rows::session(self.conn, session)?
                .map(|_| StoreError::SessionExists { session: session.clone() }),
            Expect::SessionActivation(of) => self.fence(of).map(|_| None)?,
            Expect::SessionRunning(of) => {
                self.fence(of)?.settled.map(|_| StoreError::Ended { of: of.clone() })
            }
            Expect::RunState { run, state } => {
                RunRow::compare(rows::run(self.conn, run)?.as_ref(), run, *state, None).err()
            }
            Expect::RunAttempt { run, state, attempt } => {
                RunRow::compare(rows::run(self.conn, run)?.as_ref(), run, *state, Some(*attempt)).err()
            }
            Expect::LeaseHeld { key, owner, epoch } => {
                let held = self.held(key, *epoch)?;
                (held.owner != *owner).then(|| lost(key, *epoch, Some(held.epoch)))
            }
            Expect::CursorAt { consumer, cursor } => {
                let log = self.marks.log;
                let found = rows::cursor(self.conn, consumer)?.map(|sequence| Cursor { log, sequence });
                let consumer = consumer.clone();
                (found != *cursor).then_some(StoreError::CursorIs { consumer, expected: *cursor, found })
            }
            Expect::KeyAbsent(key) => {
                rows::key(self.conn, key, self.now)?.map(|_| StoreError::KeyPresent { key: key.clone() })
            }
            Expect::IssueRevision { issue, revision: expected } => {
                let (revision, expected) = (issues::revision(self.conn, issue)?, *expected);
                let issue = issue.clone();
                (revision != expected).then_some(StoreError::IssueIs { issue, expected, revision })
            }
        };
        refusal.map_or(Ok(()), |refusal| Err(Halt::Refused(refusal)))
    }

    /// The row of a session of which this is the last activation.
    pub(super) fn fence(&self, of: &ActivationId) -> Done<SessionRow> {
        let row = rows::session(self.conn, &of.session)?;
        let found = row.as_ref().map(|row| row.activation);
        let stale = || StoreError::Stale { session: of.session.clone(), expected: of.activation, found };
        Ok(row.filter(|row| row.activation == of.activation).ok_or_else(stale)?)
    }

    /// The lease that was taken under this fence.
    pub(super) fn held(&self, key: &LeaseKey, epoch: Epoch) -> Done<Held> {
        let held = rows::lease(self.conn, key)?;
        let found = held.as_ref().map(|held| held.epoch);
        Ok(held.filter(|held| held.epoch == epoch).ok_or_else(|| lost(key, epoch, found))?)
    }

    /// Appends an event; its sequence.
    pub(super) fn append(&mut self, mut event: SessionEvent) -> Done<u64> {
        let sequence = self.marks.tail;
        event.sequence = Some(sequence);
        let scope = self.marks.scope.get_or_insert_with(|| Arc::clone(&event.scope));
        event::insert(&mut self.insert, sequence, &event, Some(&*scope))?;
        self.marks.tail += 1;
        self.applied.events.push(Arc::new(event));
        Ok(sequence)
    }

    /// Drops the events before a sequence. The row of the last one stays, so that its sequence is
    /// never given away again.
    pub(super) fn prune(&mut self, before: u64) -> Done {
        let oldest = before.min(self.marks.tail);
        if oldest <= self.marks.oldest {
            return Ok(());
        }
        self.marks.oldest = oldest;
        let dropped = place(oldest.min(self.marks.tail.saturating_sub(1)));
        run(self.conn, "DELETE FROM events WHERE sequence < ?1", [dropped])?;
        Ok(())
    }
}

/// True if nothing of a commit can be refused or repeat.
fn is_plain(commit: &Commit) -> bool {
    let plain = |write: &Write| matches!(write, Write::Append(event) if !event.event_type.is_terminal());
    commit.expects.is_empty() && commit.writes.iter().all(plain)
}

fn lost(key: &LeaseKey, expected: Epoch, found: Option<Epoch>) -> StoreError {
    StoreError::LeaseLost { key: key.clone(), expected, found }
}
