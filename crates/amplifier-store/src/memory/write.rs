//! The writes of a store in memory, one function each.
//!
//! Guarantees: each refuses what does not fit. Taking back is not their matter.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::id::Activation;
use amplifier_core::{Payload, RunId, SessionEvent, SessionId, SessionOutcome, Timestamp, TriggerId};

use super::state::{Draft, Held, Kept, State};
use crate::{
    ActivationId, Command, ConsumerName, CounterName, Cursor, DedupKey, Epoch, IssueNote, LeaseKey, OwnerId,
    QueueName, RunMove, RunRow, RunState, SessionRow, Settled, StoreError, Write,
};

/// When a value that is kept until it is replaced may be forgotten.
const FOR_EVER: Timestamp = Timestamp::from_micros(i64::MAX);

type Done = Result<(), StoreError>;

fn malformed(what: &'static str) -> StoreError {
    StoreError::Malformed { what }
}

fn opened(
    of: ActivationId,
    owner: OwnerId,
    (parent, root): (Option<SessionId>, SessionId),
    bundle: Option<Arc<str>>,
    now: Timestamp,
) -> SessionRow {
    let ActivationId { session: id, activation } = of;
    let (created, updated) = (now, now);
    SessionRow { id, parent, root, bundle, activation, owner, settled: None, created, updated }
}

impl State {
    pub(super) fn write(&mut self, write: Write, draft: &mut Draft) -> Done {
        let now = draft.now;
        match write {
            Write::Append(event) if event.event_type.is_terminal() => {
                Err(malformed("a terminal event comes with its settling alone"))
            }
            Write::Append(event) => {
                self.append(*event, draft);
                Ok(())
            }
            Write::Open { of, owner, parent, root, bundle } => {
                self.open(opened(of, owner, (parent, root), bundle, now))
            }
            Write::Settle { of, outcome, event } => self.settle(&of, outcome, *event, draft),
            Write::Forget { session } => self.forget_session(&session),
            Write::Enqueue { run, queue, trigger, payload, priority, delay } => {
                self.enqueue(run, queue, (trigger, payload), (priority, delay), draft)
            }
            Write::MoveRun(step) => self.move_run(&step, draft),
            Write::TakeLease { key, owner, ttl, over } => self.take(key, owner, (ttl, over), draft),
            Write::RenewLease { key, epoch, ttl } => {
                let until = now.saturating_add(ttl);
                let held = Held { until, ..self.held(&key, epoch)?.clone() };
                self.leases.put(key, held);
                Ok(())
            }
            Write::ReleaseLease { key, epoch } => {
                self.held(&key, epoch)?;
                self.leases.remove(&key);
                Ok(())
            }
            Write::SetCursor { consumer, cursor } => self.set_cursor(consumer, cursor),
            Write::DropCursor { consumer } => {
                self.cursors.remove(&consumer);
                Ok(())
            }
            Write::Grant { to, from, amount } => self.add_grant(to, from, amount),
            Write::Refund { of, spent } => self.refund(&of, spent),
            Write::AddCounter { counter, by } => self.add(counter, by),
            Write::PutKey { key, value, retain } => self.put_key(key, value, retain, draft),
            Write::SetValue { key, value } => self.set_value(key, value),
            Write::Send { to, name, payload } => {
                self.send(Command { place: 0, to, name, payload, sent: now }, draft);
                Ok(())
            }
            Write::TakeCommand { place } => self.take_command(place),
            Write::DropCommands { to } => {
                self.drop_commands(&to);
                Ok(())
            }
            Write::PutIssue(row) => {
                draft.applied.issues.push(self.issues.put(*row, now)?);
                Ok(())
            }
            Write::NoteIssue { issue, kind, actor, session, body } => {
                self.issues.note(issue, IssueNote { place: 0, kind, actor, session, at: now, body })
            }
            Write::Prune { before } => {
                draft.prune = draft.prune.max(before);
                Ok(())
            }
        }
    }

    fn send(&mut self, command: Command, draft: &mut Draft) {
        self.last_command += 1;
        let place = self.last_command;
        self.commands.put(place, Command { place, ..command });
        draft.applied.commands.push(place);
    }

    fn take_command(&mut self, place: u64) -> Done {
        self.commands.get(&place).ok_or(StoreError::NoCommand { place })?;
        self.commands.remove(&place);
        Ok(())
    }

    fn drop_commands(&mut self, to: &OwnerId) {
        let of = self.commands.values().filter(|command| command.to == *to);
        let places: Vec<u64> = of.map(|command| command.place).collect();
        places.iter().for_each(|place| self.commands.remove(place));
    }

    fn append(&mut self, mut event: SessionEvent, draft: &mut Draft) -> u64 {
        let sequence = self.tail().sequence;
        event.sequence = Some(sequence);
        let event = Arc::new(event);
        draft.applied.events.push(Arc::clone(&event));
        self.events.push_back(event);
        sequence
    }

    fn open(&mut self, mut row: SessionRow) -> Done {
        if row.activation < Activation::FIRST {
            return Err(malformed("activations count from 1"));
        }
        if let Some(known) = self.sessions.get(&row.id) {
            if row.activation.0.checked_sub(1) != Some(known.activation.0) {
                let (expected, found) = (row.activation, Some(known.activation));
                return Err(StoreError::Stale { session: row.id, expected, found });
            }
            if known.settled.is_none() {
                let (activation, owner) = (known.activation, known.owner.clone());
                return Err(StoreError::StillRunning { session: row.id, activation, owner });
            }
            let (activation, owner, updated) = (row.activation, row.owner, row.updated);
            row = SessionRow { activation, owner, updated, settled: None, ..known.clone() };
        }
        self.sessions.put(row.id.clone(), row);
        Ok(())
    }

    fn settle(
        &mut self,
        of: &ActivationId,
        outcome: Arc<SessionOutcome>,
        event: SessionEvent,
        draft: &mut Draft,
    ) -> Done {
        let mut row = self.fence(of)?.clone();
        if row.settled.is_some() {
            return Err(StoreError::Ended { of: of.clone() });
        }
        if outcome.activation != of.activation {
            return Err(malformed("an outcome is of the activation that it settles"));
        }
        if !event.event_type.is_terminal() || event.source.as_ref() != Some(&of.session) {
            return Err(malformed("a session is settled with its own terminal event"));
        }
        let (id, at) = (event.id, draft.now);
        let settled = Settled { outcome, event: id, sequence: self.append(event, draft), at };
        self.settled.put(of.clone(), settled.clone());
        (row.settled, row.updated) = (Some(settled), at);
        self.sessions.put(of.session.clone(), row);
        Ok(())
    }

    fn forget_session(&mut self, session: &SessionId) -> Done {
        let Some(known) = self.sessions.get(session) else { return Ok(()) };
        let (activation, owner) = (known.activation, known.owner.clone());
        if known.settled.is_none() {
            return Err(StoreError::StillRunning { session: session.clone(), activation, owner });
        }
        for number in 1..=activation.0 {
            self.settled.remove(&ActivationId::new(session.clone(), Activation(number)));
        }
        self.sessions.remove(session);
        Ok(())
    }

    fn enqueue(
        &mut self,
        id: RunId,
        queue: QueueName,
        (trigger, payload): (Option<TriggerId>, Payload),
        (priority, delay): (i8, Duration),
        draft: &mut Draft,
    ) -> Done {
        if self.run(&id).is_some() {
            return Err(malformed("a commit enqueues a run once"));
        }
        draft.applied.queued.push(queue.clone());
        let row = RunRow {
            id,
            place: self.runs.next_place(),
            queue,
            trigger,
            payload,
            priority,
            state: RunState::Queued,
            attempt: 1,
            session: None,
            reason: None,
            ready_at: draft.now.saturating_add(delay),
            created: draft.now,
            updated: draft.now,
        };
        self.runs.put(row);
        Ok(())
    }

    fn move_run(&mut self, step: &RunMove, draft: &mut Draft) -> Done {
        let absent =
            || StoreError::RunIs { run: step.run.clone(), expected: step.from, found: None, attempt: None };
        let row = self.run(&step.run).ok_or_else(absent)?.step(step, draft.now)?;
        if let Some(session) = &step.session {
            self.attempts.put(session.clone(), row.place);
        }
        if row.state == RunState::Queued {
            draft.applied.queued.push(row.queue.clone());
        }
        self.runs.put(row);
        Ok(())
    }

    fn take(
        &mut self,
        key: LeaseKey,
        owner: OwnerId,
        (ttl, over): (Duration, Option<Epoch>),
        draft: &mut Draft,
    ) -> Done {
        let holder = self.leases.get(&key);
        if let Some(held) = holder.filter(|held| held.until > draft.now && Some(held.epoch) != over) {
            let (owner, epoch) = (held.owner.clone(), held.epoch);
            return Err(StoreError::LeaseTaken { key, owner, epoch });
        }
        self.last_epoch = Epoch(self.last_epoch.0 + 1);
        let (epoch, until) = (self.last_epoch, draft.now.saturating_add(ttl));
        draft.applied.epochs.push((key.clone(), epoch));
        self.leases.put(key, Held { owner, epoch, until });
        Ok(())
    }

    fn set_cursor(&mut self, consumer: ConsumerName, cursor: Cursor) -> Done {
        self.check_place(cursor)?;
        let found = self.cursors.get(&consumer).copied();
        if found.is_some_and(|found| found.sequence > cursor.sequence) {
            return Err(StoreError::CursorIs { consumer, expected: Some(cursor), found });
        }
        self.cursors.put(consumer, cursor);
        Ok(())
    }

    fn add(&mut self, counter: CounterName, by: u64) -> Done {
        let sum = self.counters.get(&counter).map_or(by, |sum| sum.saturating_add(by));
        self.counters.put(counter, sum);
        Ok(())
    }

    fn set_value(&mut self, key: DedupKey, value: Payload) -> Done {
        if self.keys.get(&key).is_some_and(|kept| kept.until != FOR_EVER) {
            return Err(malformed("a key that was put once keeps its value"));
        }
        self.keys.put(key, Kept { value, until: FOR_EVER });
        Ok(())
    }

    fn put_key(&mut self, key: DedupKey, value: Payload, retain: Duration, draft: &mut Draft) -> Done {
        if self.kept(&key, draft.now).is_some() {
            return Err(malformed("a commit puts a key once"));
        }
        let until = draft.now.saturating_add(retain);
        draft.keys.push((until, key.clone()));
        self.keys.put(key, Kept { value, until });
        Ok(())
    }
}
