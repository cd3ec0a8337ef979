//! Rows of every table but the log's, out of the database; the writer and the readers share them.
//!
//! Guarantees: a row that no commit has written so is damage, never another row.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Amount;
use amplifier_core::{
    Activation, Payload, RunId, SessionId, SessionOutcome, SessionStatus, Timestamp, TriggerId,
};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::event::event_id;
use super::fault::{Done, damaged};
use super::sql::{all, bytes, first, limit, named, perhaps, place, small, some_text, text, unsigned};
use crate::{
    ActivationId, Command, CommandName, ConsumerName, CounterName, DedupKey, Epoch, Grant, LeaseKey, OwnerId,
    QueueName, ReadyRuns, RunFilter, RunRow, RunState, SessionFilter, SessionRow, Settled,
};

const SESSION: &str = "SELECT s.id, s.parent, s.root, s.bundle, s.activation, s.owner, s.created, s.updated, \
    o.event, o.sequence, o.at, o.outcome FROM sessions s \
    LEFT JOIN outcomes o ON o.session = s.id AND o.activation = s.activation WHERE ";

const RUN: &str = "SELECT place, id, queue, trigger_id, state, attempt, session, reason, ready_at, created, \
    updated, payload, priority FROM runs ";

pub(super) fn time(row: &Row<'_>, column: usize) -> Done<Timestamp> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

pub(super) fn payload(row: &Row<'_>, column: usize) -> Done<Payload> {
    Ok(Payload::stored(bytes::Bytes::copy_from_slice(bytes(row, column)?)))
}

fn settled_at(row: &Row<'_>, column: usize) -> Done<Settled> {
    let outcome: SessionOutcome = named(serde_json::from_str(text(row, column + 3)?), "an outcome")?;
    Ok(Settled {
        outcome: Arc::new(outcome),
        event: event_id(bytes(row, column)?)?,
        sequence: unsigned(row, column + 1)?,
        at: time(row, column + 2)?,
    })
}

fn session_of(row: &Row<'_>) -> Done<SessionRow> {
    let settled = match row.get::<_, Option<i64>>(9)? {
        Some(_) => Some(settled_at(row, 8)?),
        None => None,
    };
    Ok(SessionRow {
        id: named(SessionId::new(text(row, 0)?), "a session")?,
        parent: perhaps(some_text(row, 1)?, |text| SessionId::new(text), "a parent")?,
        root: named(SessionId::new(text(row, 2)?), "a root")?,
        bundle: some_text(row, 3)?.map(Into::into),
        activation: Activation(small(row, 4)?),
        owner: named(OwnerId::new(text(row, 5)?), "an owner")?,
        settled,
        created: time(row, 6)?,
        updated: time(row, 7)?,
    })
}

pub(super) fn session(conn: &Connection, id: &SessionId) -> Done<Option<SessionRow>> {
    first(conn, &format!("{SESSION} s.id = ?1"), [id.as_str()], session_of)
}

/// Conditions that were asked for, with what they bind, in order.
#[derive(Default)]
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn and(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.values.push(value);
            self.sql.push_str(if self.sql.is_empty() { "" } else { " AND " });
            self.sql.push_str(condition);
        }
    }
}

fn of_text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn sessions(conn: &Connection, filter: &SessionFilter) -> Done<Vec<SessionRow>> {
    let mut wanted = Where::default();
    let after = filter.after.as_ref().map_or("", SessionId::as_str);
    wanted.and("s.id > ?", Some(of_text(after)));
    wanted.and("s.root = ?", filter.root.as_ref().map(|root| of_text(root.as_str())));
    wanted.and("s.owner = ?", filter.owner.as_ref().map(|owner| of_text(owner.as_str())));
    match filter.status {
        Some(SessionStatus::Running) => wanted.sql.push_str(" AND s.ended = 0"),
        Some(_) => wanted.sql.push_str(" AND s.ended = 1"),
        None => {}
    }
    wanted.values.push(Value::Integer(limit(filter.limit)));
    let sql = format!("{SESSION} {} ORDER BY s.id LIMIT ?", wanted.sql);
    all(conn, &sql, params_from_iter(wanted.values), session_of)
}

pub(super) fn settled(conn: &Connection, of: &ActivationId) -> Done<Option<Settled>> {
    let sql = "SELECT event, sequence, at, outcome FROM outcomes WHERE session = ?1 AND activation = ?2";
    first(conn, sql, params![of.session.as_str(), of.activation.0], |row| settled_at(row, 0))
}

fn run_of(row: &Row<'_>) -> Done<RunRow> {
    let state = text(row, 4)?;
    let run = RunRow {
        place: unsigned(row, 0)?,
        id: named(RunId::new(text(row, 1)?), "a run")?,
        queue: named(QueueName::new(text(row, 2)?), "a queue")?,
        trigger: perhaps(some_text(row, 3)?, |text| TriggerId::new(text), "a trigger")?,
        state: RunState::parse(state).ok_or_else(|| damaged(format!("a run is `{state}`")))?,
        attempt: small(row, 5)?,
        session: perhaps(some_text(row, 6)?, |text| SessionId::new(text), "the session of a run")?,
        reason: some_text(row, 7)?.map(str::to_owned),
        ready_at: time(row, 8)?,
        created: time(row, 9)?,
        updated: time(row, 10)?,
        payload: payload(row, 11)?,
        priority: row.get(12)?,
    };
    run.check()?;
    Ok(run)
}

pub(super) fn run(conn: &Connection, id: &RunId) -> Done<Option<RunRow>> {
    first(conn, &format!("{RUN} WHERE id = ?1"), [id.as_str()], run_of)
}

pub(super) fn runs(conn: &Connection, filter: &RunFilter) -> Done<Vec<RunRow>> {
    let mut wanted = Where::default();
    wanted.and("place > ?", Some(Value::Integer(place(filter.after))));
    wanted.and("queue = ?", filter.queue.as_ref().map(|queue| of_text(queue.as_str())));
    wanted.and("state = ?", filter.state.map(|state| of_text(state.as_str())));
    let of_session = filter.session.as_ref().map(|session| of_text(session.as_str()));
    wanted.and("place = (SELECT a.place FROM run_sessions a WHERE a.session = ?)", of_session);
    wanted.values.push(Value::Integer(limit(filter.limit)));
    let sql = format!("{RUN} WHERE {} ORDER BY place LIMIT ?", wanted.sql);
    all(conn, &sql, params_from_iter(wanted.values), run_of)
}

/// Runs that can be leased now, in the order in which they should be, and the time of the next one that cannot.
pub(super) fn ready(conn: &Connection, queue: &QueueName, now: Timestamp, count: usize) -> Done<ReadyRuns> {
    let behind = |time: i64| -> Done<Option<Timestamp>> {
        let sql = "SELECT min(ready_at) FROM runs INDEXED BY runs_by_time \
                   WHERE state = 'queued' AND queue = ?1 AND ready_at > ?2";
        let found = first(conn, sql, params![queue.as_str(), time], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
        Ok(found.flatten().map(Timestamp::from_micros))
    };
    // Where all wait for their time, only the index is read.
    let earliest = behind(i64::MIN)?;
    if earliest.is_none_or(|earliest| earliest > now) && !was_set_back(conn, queue, now)? {
        return Ok(ReadyRuns { runs: Vec::new(), next: earliest });
    }
    // As `RunRow::is_ready` has it.
    let sql = format!(
        "{RUN} INDEXED BY runs_in_order WHERE state = 'queued' AND queue = ?1 \
         AND (ready_at <= ?2 OR updated > ?2) \
         ORDER BY priority DESC, place LIMIT ?3"
    );
    let runs = all(conn, &sql, params![queue.as_str(), now.as_micros(), limit(count)], run_of)?;
    Ok(ReadyRuns { runs, next: behind(now.as_micros())? })
}

/// True if something waits that was written at a later time than now.
fn was_set_back(conn: &Connection, queue: &QueueName, now: Timestamp) -> Done<bool> {
    let sql = "SELECT 1 FROM runs INDEXED BY runs_by_time \
               WHERE state = 'queued' AND queue = ?1 AND ready_at > ?2 AND updated > ?2 LIMIT 1";
    Ok(first(conn, sql, params![queue.as_str(), now.as_micros()], |_| Ok(()))?.is_some())
}

/// How many runs wait in a queue.
pub(super) fn queued(conn: &Connection, queue: &QueueName) -> Done<u64> {
    let sql = "SELECT count(*) FROM runs INDEXED BY runs_by_time WHERE state = 'queued' AND queue = ?1";
    Ok(first(conn, sql, [queue.as_str()], |row| unsigned(row, 0))?.unwrap_or(0))
}

/// The queues in which something waits. From one to the next by the index, whatever their length.
pub(super) fn queues(conn: &Connection) -> Done<Vec<QueueName>> {
    let sql = "SELECT queue FROM runs INDEXED BY runs_by_time WHERE state = 'queued' AND queue > ?1 \
               ORDER BY queue LIMIT 1";
    let mut found: Vec<QueueName> = Vec::new();
    loop {
        let last = found.last().map_or("", QueueName::as_str);
        match first(conn, sql, [last], |row| named(QueueName::new(text(row, 0)?), "a queue"))? {
            Some(queue) => found.push(queue),
            None => return Ok(found),
        }
    }
}

/// A lease; it runs out at `until`.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) owner: OwnerId,
    pub(super) epoch: Epoch,
    pub(super) until: Timestamp,
}

impl Held {
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        self.until.saturating_since(now)
    }
}

pub(super) fn lease(conn: &Connection, key: &LeaseKey) -> Done<Option<Held>> {
    first(conn, "SELECT owner, epoch, until FROM leases WHERE key = ?1", [key.as_str()], |row| {
        let owner = named(OwnerId::new(text(row, 0)?), "the owner of a lease")?;
        Ok(Held { owner, epoch: Epoch(unsigned(row, 1)?), until: time(row, 2)? })
    })
}

/// The sequence at which a consumer is.
pub(super) fn cursor(conn: &Connection, consumer: &ConsumerName) -> Done<Option<u64>> {
    let sql = "SELECT sequence FROM cursors WHERE consumer = ?1";
    first(conn, sql, [consumer.as_str()], |row| unsigned(row, 0))
}

pub(super) fn grant(conn: &Connection, of: &ActivationId) -> Done<Option<Grant>> {
    let sql = "SELECT from_session, from_activation, tokens, micro_usd, passed_tokens, passed_micro_usd, \
               spent_tokens, spent_micro_usd FROM grants WHERE session = ?1 AND activation = ?2";
    first(conn, sql, params![of.session.as_str(), of.activation.0], |row| {
        let amount = |column| {
            Ok::<_, super::fault::Halt>(Amount {
                tokens: unsigned(row, column)?,
                micro_usd: unsigned(row, column + 1)?,
            })
        };
        let from = match some_text(row, 0)? {
            Some(session) => {
                let session = named(SessionId::new(session), "the giver of a grant")?;
                Some(ActivationId::new(session, Activation(small(row, 1)?)))
            }
            None => None,
        };
        let spent = row.get::<_, Option<i64>>(6)?.map(|_| amount(6)).transpose()?;
        Ok(Grant { of: of.clone(), from, amount: amount(2)?, passed_on: amount(4)?, spent })
    })
}

pub(super) fn counter(conn: &Connection, counter: &CounterName) -> Done<u64> {
    let sql = "SELECT value FROM counters WHERE name = ?1";
    Ok(first(conn, sql, [counter.as_str()], |row| unsigned(row, 0))?.unwrap_or(0))
}

/// What a key's first commit said, unless its time is over.
pub(super) fn key(conn: &Connection, key: &DedupKey, now: Timestamp) -> Done<Option<Payload>> {
    let sql = "SELECT value FROM keys WHERE key = ?1 AND until > ?2";
    first(conn, sql, params![key.as_str(), now.as_micros()], |row| payload(row, 0))
}

/// Keys of a prefix with their values, unless their time is over.
pub(super) fn keys(
    conn: &Connection,
    prefix: &str,
    after: &str,
    count: usize,
    now: Timestamp,
) -> Done<Vec<(DedupKey, Payload)>> {
    let sql = "SELECT key, value FROM keys WHERE key >= ?1 AND key < ?2 AND key > ?3 AND until > ?4 \
               ORDER BY key LIMIT ?5";
    // No name holds a character behind this one.
    let end = format!("{prefix}{}", char::MAX);
    all(conn, sql, params![prefix, end, after, now.as_micros(), limit(count)], |row| {
        Ok((named(DedupKey::new(text(row, 0)?), "a key")?, payload(row, 1)?))
    })
}

pub(super) fn commands(conn: &Connection, to: &OwnerId, count: usize) -> Done<Vec<Command>> {
    let sql = "SELECT place, name, sent, payload FROM commands WHERE owner = ?1 ORDER BY place LIMIT ?2";
    all(conn, sql, params![to.as_str(), limit(count)], |row| {
        Ok(Command {
            place: unsigned(row, 0)?,
            to: to.clone(),
            name: named(CommandName::new(text(row, 1)?), "a command")?,
            payload: payload(row, 3)?,
            sent: time(row, 2)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::{open, sql};
    use super::*;

    #[test]
    fn a_statement_is_prepared_once_whatever_is_bound_to_it() {
        let conn = Connection::open_in_memory().unwrap();
        open::keep_plans(&conn).unwrap();
        for version in open::VERSIONS {
            conn.execute_batch(version).unwrap();
        }
        for id in ["a", "b", "c"] {
            assert!(session(&conn, &SessionId::new(id).unwrap()).unwrap().is_none());
        }
        let statement = sql::statement(&conn, &format!("{SESSION} s.id = ?1")).unwrap();
        let counts = [StatementStatus::Run, StatementStatus::RePrepare].map(|of| statement.get_status(of));
        assert_eq!(counts, [3, 0]);
    }
}
