//! The writes of a commit, one function each.
//!
//! Guarantees: each refuses what does not fit. Taking back is not their matter.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::id::Activation;
use amplifier_core::{Payload, RunId, SessionEvent, SessionId, SessionOutcome, TriggerId};
use rusqlite::params;

use super::apply::Txn;
use super::fault::{Done, Fault, Halt};
use super::rows;
use super::sql::{place, run, signed};
use crate::{
    ActivationId, CommandName, ConsumerName, CounterName, Cursor, DedupKey, Epoch, IssueNote, LeaseKey,
    OwnerId, QueueName, RunMove, RunRow, RunState, SessionRow, StoreError, Write,
};

fn malformed(what: &'static str) -> Halt {
    StoreError::Malformed { what }.into()
}

impl Txn<'_> {
    pub(super) fn write(&mut self, write: Write) -> Done {
        match write {
            Write::Append(event) if event.event_type.is_terminal() => {
                Err(malformed("a terminal event comes with its settling alone"))
            }
            Write::Append(event) => self.append(*event).map(drop),
            Write::Open { of, owner, parent, root, bundle } => {
                let (created, updated) = (self.now, self.now);
                let ActivationId { session: id, activation } = of;
                let settled = None;
                self.open(SessionRow {
                    id,
                    parent,
                    root,
                    bundle,
                    activation,
                    owner,
                    settled,
                    created,
                    updated,
                })
            }
            Write::Settle { of, outcome, event } => self.settle(&of, &outcome, *event),
            Write::Forget { session } => self.forget(&session),
            Write::Enqueue { run, queue, trigger, payload, priority, delay } => {
                self.enqueue(&run, queue, trigger.as_ref(), &payload, (priority, delay))
            }
            Write::MoveRun(step) => self.move_run(&[step]),
            Write::TakeLease { key, owner, ttl, over } => self.take(key, owner, ttl, over),
            Write::RenewLease { key, epoch, ttl } => {
                let held = self.held(&key, epoch)?;
                self.put_lease(&key, &held.owner, epoch, ttl)
            }
            Write::ReleaseLease { key, epoch } => {
                self.held(&key, epoch)?;
                self.run("DELETE FROM leases WHERE key = ?1", [key.as_str()])
            }
            Write::SetCursor { consumer, cursor } => self.set_cursor(consumer, cursor),
            Write::DropCursor { consumer } => {
                self.run("DELETE FROM cursors WHERE consumer = ?1", [consumer.as_str()])
            }
            Write::Grant { to, from, amount } => self.add_grant(to, from, amount),
            Write::Refund { of, spent } => self.refund(&of, spent),
            Write::AddCounter { counter, by } => self.add(&counter, by),
            Write::PutKey { key, value, retain } => self.put_key(&key, &value, retain),
            Write::SetValue { key, value } => self.set_value(&key, &value),
            Write::Send { to, name, payload } => self.send(&to, &name, &payload),
            Write::TakeCommand { place } => self.take_command(place),
            Write::DropCommands { to } => self.run("DELETE FROM commands WHERE owner = ?1", [to.as_str()]),
            Write::PutIssue(row) => self.put_issue(*row),
            Write::NoteIssue { issue, kind, actor, session, body } => {
                self.note_issue(issue, &IssueNote { place: 0, kind, actor, session, at: self.now, body })
            }
            Write::Prune { before } => {
                self.prune = self.prune.max(before);
                Ok(())
            }
        }
    }

    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Done {
        run(self.conn, sql, params).map(drop)
    }

    fn send(&mut self, to: &OwnerId, name: &CommandName, payload: &Payload) -> Done {
        self.marks.command += 1;
        let number = self.marks.command;
        let sql = "INSERT INTO commands (place, owner, name, sent, payload) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (sent, payload) = (self.now.as_micros(), payload.as_bytes());
        self.run(sql, params![place(number), to.as_str(), name.as_str(), sent, payload])?;
        self.applied.commands.push(number);
        Ok(())
    }

    fn take_command(&self, number: u64) -> Done {
        match run(self.conn, "DELETE FROM commands WHERE place = ?1", [place(number)])? {
            0 => Err(StoreError::NoCommand { place: number }.into()),
            _ => Ok(()),
        }
    }

    fn open(&self, mut row: SessionRow) -> Done {
        if row.activation < Activation::FIRST {
            return Err(malformed("activations count from 1"));
        }
        if let Some(known) = rows::session(self.conn, &row.id)? {
            if row.activation.0.checked_sub(1) != Some(known.activation.0) {
                let (expected, found) = (row.activation, Some(known.activation));
                return Err(StoreError::Stale { session: row.id, expected, found }.into());
            }
            if known.settled.is_none() {
                let (activation, owner) = (known.activation, known.owner);
                return Err(StoreError::StillRunning { session: row.id, activation, owner }.into());
            }
            let (activation, owner, updated) = (row.activation, row.owner, row.updated);
            row = SessionRow { activation, owner, updated, settled: None, ..known };
        }
        let sql = "INSERT OR REPLACE INTO sessions \
                   (id, parent, root, bundle, activation, owner, ended, created, updated) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8)";
        let parent = row.parent.as_ref().map(SessionId::as_str);
        let (owner, created, updated) =
            (row.owner.as_str(), row.created.as_micros(), row.updated.as_micros());
        let lineage = (row.id.as_str(), parent, row.root.as_str(), row.bundle.as_deref());
        let (id, parent, root, bundle) = lineage;
        self.run(sql, params![id, parent, root, bundle, row.activation.0, owner, created, updated])
    }

    fn settle(&mut self, of: &ActivationId, outcome: &SessionOutcome, event: SessionEvent) -> Done {
        if self.fence(of)?.settled.is_some() {
            return Err(StoreError::Ended { of: of.clone() }.into());
        }
        if outcome.activation != of.activation {
            return Err(malformed("an outcome is of the activation that it settles"));
        }
        if !event.event_type.is_terminal() || event.source.as_ref() != Some(&of.session) {
            return Err(malformed("a session is settled with its own terminal event"));
        }
        let encode = |error| Fault::Backend("write an outcome", Arc::new(error));
        let json = serde_json::to_string(outcome).map_err(encode)?;
        let (id, now, session) = (event.id, self.now.as_micros(), of.session.as_str());
        let sequence = place(self.append(event)?);
        let sql = "INSERT INTO outcomes (session, activation, event, sequence, at, outcome) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run(sql, params![session, of.activation.0, &id.0.as_bytes()[..], sequence, now, json])?;
        self.run("UPDATE sessions SET ended = 1, updated = ?2 WHERE id = ?1", params![session, now])
    }

    fn forget(&self, session: &SessionId) -> Done {
        let Some(known) = rows::session(self.conn, session)? else { return Ok(()) };
        if known.settled.is_none() {
            let (activation, owner) = (known.activation, known.owner);
            return Err(StoreError::StillRunning { session: known.id, activation, owner }.into());
        }
        self.run("DELETE FROM outcomes WHERE session = ?1", [session.as_str()])?;
        self.run("DELETE FROM sessions WHERE id = ?1", [session.as_str()])
    }

    fn enqueue(
        &mut self,
        id: &RunId,
        queue: QueueName,
        trigger: Option<&TriggerId>,
        payload: &Payload,
        (priority, delay): (i8, Duration),
    ) -> Done {
        if rows::run(self.conn, id)?.is_some() {
            return Err(malformed("a commit enqueues a run once"));
        }
        self.marks.run += 1;
        self.marks.queued += 1;
        let (now, ready) = (self.now.as_micros(), self.now.saturating_add(delay).as_micros());
        let sql = "INSERT INTO runs (place, id, queue, trigger_id, state, attempt, ready_at, created, updated, \
                   payload, priority) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?7, ?8, ?9)";
        let (number, trigger) = (place(self.marks.run), trigger.map(TriggerId::as_str));
        let (id, state, payload) = (id.as_str(), RunState::Queued.as_str(), payload.as_bytes());
        self.run(sql, params![number, id, queue.as_str(), trigger, state, ready, now, payload, priority])?;
        self.applied.queued.push(queue);
        Ok(())
    }

    /// Steps of one run that follow each other.
    pub(super) fn move_run(&mut self, steps: &[RunMove]) -> Done {
        let Some(first) = steps.first() else { return Ok(()) };
        let absent =
            || StoreError::RunIs { run: first.run.clone(), expected: first.from, found: None, attempt: None };
        let mut row: RunRow = rows::run(self.conn, &first.run)?.ok_or_else(absent)?;
        for step in steps {
            row = row.step(step, self.now)?;
            if row.state == RunState::Queued {
                self.marks.queued += 1;
                self.applied.queued.push(row.queue.clone());
            }
        }
        let sql = "UPDATE runs SET state = ?2, attempt = ?3, session = ?4, reason = ?5, ready_at = ?6, \
                   updated = ?7 WHERE place = ?1";
        let session = row.session.as_ref().map(SessionId::as_str);
        let (ready, updated) = (row.ready_at.as_micros(), row.updated.as_micros());
        let state = row.state.as_str();
        self.run(sql, params![place(row.place), state, row.attempt, session, row.reason, ready, updated])?;
        let sql = "INSERT OR REPLACE INTO run_sessions (session, place) VALUES (?1, ?2)";
        let mut begun = steps.iter().filter_map(|step| step.session.as_ref());
        begun.try_for_each(|session| self.run(sql, params![session.as_str(), place(row.place)]))
    }

    fn take(&mut self, key: LeaseKey, owner: OwnerId, ttl: Duration, over: Option<Epoch>) -> Done {
        let holder = rows::lease(self.conn, &key)?;
        if let Some(held) = holder.filter(|held| held.until > self.now && Some(held.epoch) != over) {
            return Err(StoreError::LeaseTaken { key, owner: held.owner, epoch: held.epoch }.into());
        }
        self.marks.epoch += 1;
        let epoch = Epoch(self.marks.epoch);
        self.put_lease(&key, &owner, epoch, ttl)?;
        self.applied.epochs.push((key, epoch));
        Ok(())
    }

    fn put_lease(&self, key: &LeaseKey, owner: &OwnerId, epoch: Epoch, ttl: Duration) -> Done {
        let sql = "INSERT OR REPLACE INTO leases (key, owner, epoch, until) VALUES (?1, ?2, ?3, ?4)";
        let until = self.now.saturating_add(ttl).as_micros();
        self.run(sql, params![key.as_str(), owner.as_str(), signed(epoch.0), until])
    }

    fn set_cursor(&self, consumer: ConsumerName, cursor: Cursor) -> Done {
        self.marks.check(cursor)?;
        let log = self.marks.log;
        let found = rows::cursor(self.conn, &consumer)?.map(|sequence| Cursor { log, sequence });
        if found.is_some_and(|found| found.sequence > cursor.sequence) {
            return Err(StoreError::CursorIs { consumer, expected: Some(cursor), found }.into());
        }
        let sql = "INSERT OR REPLACE INTO cursors (consumer, sequence) VALUES (?1, ?2)";
        self.run(sql, params![consumer.as_str(), place(cursor.sequence)])
    }

    pub(super) fn add(&self, counter: &CounterName, by: u64) -> Done {
        let sum = rows::counter(self.conn, counter)?.saturating_add(by);
        let sql = "INSERT OR REPLACE INTO counters (name, value) VALUES (?1, ?2)";
        self.run(sql, params![counter.as_str(), signed(sum)])
    }

    fn set_value(&self, key: &DedupKey, value: &Payload) -> Done {
        let sql = "INSERT INTO keys (key, until, value) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE until = excluded.until";
        let end = i64::MAX;
        match run(self.conn, sql, params![key.as_str(), end, value.as_bytes()])? {
            0 => Err(malformed("a key that was put once keeps its value")),
            _ => Ok(()),
        }
    }

    fn put_key(&self, key: &DedupKey, value: &Payload, retain: Duration) -> Done {
        if rows::key(self.conn, key, self.now)?.is_some() {
            return Err(malformed("a commit puts a key once"));
        }
        let sql = "INSERT OR REPLACE INTO keys (key, until, value) VALUES (?1, ?2, ?3)";
        let until = self.now.saturating_add(retain).as_micros();
        self.run(sql, params![key.as_str(), until, value.as_bytes()])
    }
}
