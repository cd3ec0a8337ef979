//! What a retention leaves.
//!
//! Guarantees: those of [`Retention`], in transactions of at most [`STEP`] rows.

use std::time::Duration;

use amplifier_core::Timestamp;
use rusqlite::Connection;

use super::SqliteStore;
use super::apply::Txn;
use super::fault::Done;
use super::find::at_or_after;
use super::marks::Marks;
use super::sql::{all, named, place, snapshot, statement, text, unsigned};
use crate::{ConsumerName, CounterName, Keep, Retained, Retention, StoreError};

/// Rows that one transaction drops at most, so that others are not kept waiting.
const STEP: u64 = 2_000;

/// Bytes of an event beside its payload, about.
const ROW_BYTES: u64 = 96;

pub(super) async fn run(store: &SqliteStore, retention: &Retention) -> Result<Retained, StoreError> {
    let now = store.shared().options.clock.now();
    let mut retained = Retained::default();
    let (events, unacknowledged) = (retention.events, retention.unacknowledged);
    let Cut { from, to, consumers } =
        store.read(move |reader| cut(reader.conn, events, unacknowledged, now)).await?;
    let mut next = from;
    while next < to {
        next = to.min(next + STEP);
        store.task(move |txn| prune(txn, next)).await?;
    }
    retained.events = to - from;
    let lost = |(consumer, acknowledged): (ConsumerName, u64)| {
        let lost = to.saturating_sub(acknowledged.max(from));
        (lost > 0).then_some((consumer, lost))
    };
    retained.lost = consumers.into_iter().filter_map(lost).collect();
    for (table, keep) in
        [(RUNS, retention.runs), (SESSIONS, retention.sessions), (COMMANDS, retention.commands)]
    {
        let dropped = sweep(store, table, keep, now).await?;
        match table.name {
            "runs" => retained.runs = dropped,
            "sessions" => retained.sessions = dropped,
            _ => retained.commands = dropped,
        }
    }
    retained.notes = shorten(store, retention.notes.max(1)).await?;
    Ok(retained)
}

fn consumers(conn: &Connection) -> Done<Vec<(ConsumerName, u64)>> {
    all(conn, "SELECT consumer, sequence FROM cursors", [], |row| {
        Ok((named(ConsumerName::new(text(row, 0)?), "a consumer")?, unsigned(row, 1)?))
    })
}

/// The oldest sequence, the one that is to be the oldest, and where consumers are.
struct Cut {
    from: u64,
    to: u64,
    consumers: Vec<(ConsumerName, u64)>,
}

fn cut(conn: &Connection, events: Keep, held: Keep, now: Timestamp) -> Done<Cut> {
    snapshot(conn, || {
        let marks = Marks::read(conn)?;
        let consumers = consumers(conn)?;
        let (wanted, bound) = (edge(conn, &marks, events, now)?, edge(conn, &marks, held, now)?);
        let slowest = consumers.iter().map(|(_, at)| *at).min().unwrap_or(u64::MAX);
        let to = wanted.min(slowest.max(bound)).max(marks.oldest);
        Ok(Cut { from: marks.oldest, to, consumers })
    })
}

/// The oldest sequence that bounds let stand.
fn edge(conn: &Connection, marks: &Marks, keep: Keep, now: Timestamp) -> Done<u64> {
    let mut edge = marks.oldest;
    if let Some(age) = keep.age {
        edge = edge.max(at_or_after(conn, marks, before(now, age))?);
    }
    if let Some(count) = keep.count {
        edge = edge.max(marks.tail.saturating_sub(count));
    }
    if let Some(bytes) = keep.bytes {
        let sql = "SELECT sequence, length(payload) FROM events WHERE sequence >= ?1 ORDER BY sequence DESC";
        let mut statement = statement(conn, sql)?;
        let mut rows = statement.query([place(edge)])?;
        let mut sum = 0_u64;
        while let Some(row) = rows.next()? {
            sum = sum.saturating_add(unsigned(row, 1)?).saturating_add(ROW_BYTES);
            if sum > bytes {
                return Ok(unsigned(row, 0)? + 1);
            }
        }
    }
    Ok(edge)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(age))
}

/// Drops the events before `next`, and counts what consumers lose by it.
fn prune(txn: &mut Txn<'_>, next: u64) -> Done {
    for (consumer, at) in consumers(txn.conn)? {
        let lost = next.saturating_sub(at.max(txn.marks.oldest));
        if lost > 0 {
            txn.add(&counter("lost", consumer.as_str())?, lost)?;
        }
    }
    txn.prune(next)
}

/// The counter `<what>/<name>`; a name that is too long for it is cut.
fn counter(what: &str, name: &str) -> Done<CounterName> {
    let room = amplifier_core::id::MAX_ID_BYTES - what.len() - 1;
    let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    named(CounterName::new(format!("{what}/{}", name.get(..end.unwrap_or(0)).unwrap_or(""))), "a counter")
}

/// A table of which old rows are dropped.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    /// When and how large each row that may be dropped is, the newest first.
    rows: &'static str,
    /// Ids of at most 500 rows that are older than `?1`.
    old: &'static str,
    drop: fn(&mut Txn<'_>, &str) -> Done,
}

const RUNS: Table = Table {
    name: "runs",
    rows: "SELECT updated, length(payload) FROM runs \
           WHERE state NOT IN ('queued', 'leased', 'running') ORDER BY updated DESC",
    old: "SELECT CAST(place AS TEXT) FROM runs \
          WHERE state NOT IN ('queued', 'leased', 'running') AND updated < ?1 LIMIT 500",
    drop: |txn, run| {
        let queue = all(txn.conn, "SELECT queue FROM runs WHERE place = ?1", [run], |row| {
            Ok(text(row, 0)?.to_owned())
        })?;
        for queue in queue {
            txn.add(&counter("retired", &queue)?, 1)?;
        }
        txn.run("DELETE FROM run_sessions WHERE place = ?1", [run])?;
        txn.run("DELETE FROM runs WHERE place = ?1", [run])
    },
};

const SESSIONS: Table = Table {
    name: "sessions",
    rows: "SELECT s.updated, (SELECT coalesce(sum(length(o.outcome)), 0) FROM outcomes o WHERE o.session = s.id) \
           FROM sessions s WHERE s.ended = 1 ORDER BY s.updated DESC",
    old: "SELECT s.id FROM sessions s WHERE s.ended = 1 AND s.updated < ?1 AND NOT EXISTS \
          (SELECT 1 FROM sessions t WHERE t.root = s.root AND (t.ended = 0 OR t.updated >= ?1)) \
          AND NOT EXISTS (SELECT 1 FROM outcomes o, meta WHERE o.session = s.id AND o.sequence >= meta.oldest) \
          LIMIT 500",
    drop: |txn, session| {
        txn.run("DELETE FROM outcomes WHERE session = ?1", [session])?;
        txn.run("DELETE FROM grants WHERE session = ?1", [session])?;
        txn.run("DELETE FROM sessions WHERE id = ?1", [session])
    },
};

const COMMANDS: Table = Table {
    name: "commands",
    rows: "SELECT sent, length(payload) FROM commands ORDER BY sent DESC",
    old: "SELECT CAST(place AS TEXT) FROM commands WHERE sent < ?1 LIMIT 500",
    drop: |txn, command| txn.run("DELETE FROM commands WHERE place = ?1", [command]),
};

/// Drops what is old in a table, piece by piece; how much.
async fn sweep(store: &SqliteStore, table: Table, keep: Keep, now: Timestamp) -> Result<u64, StoreError> {
    if keep == Keep::FOR_EVER {
        return Ok(0);
    }
    let Some(until) = store.read(move |reader| last_kept(reader.conn, table, keep, now)).await? else {
        return Ok(0);
    };
    let mut dropped = 0;
    loop {
        let old = store
            .read(move |reader| all(reader.conn, table.old, [until], |row| Ok(text(row, 0)?.to_owned())))
            .await?;
        if old.is_empty() {
            return Ok(dropped);
        }
        dropped += old.len() as u64;
        store.task(move |txn| old.iter().try_for_each(|id| (table.drop)(txn, id))).await?;
    }
}

/// Drops the first notes of issues that have more than `keep`; how many.
async fn shorten(store: &SqliteStore, keep: u64) -> Result<u64, StoreError> {
    let long = "SELECT issue, count(*) FROM issue_notes INDEXED BY notes_of_issue \
                GROUP BY issue HAVING count(*) > ?1";
    let over = store
        .read(move |reader| {
            all(reader.conn, long, [place(keep)], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)? - keep)))
        })
        .await?;
    let mut dropped = 0;
    for (issue, mut left) in over {
        while left > 0 {
            let step = left.min(STEP);
            let sql = "DELETE FROM issue_notes WHERE place IN (SELECT place FROM issue_notes \
                       INDEXED BY notes_of_issue WHERE issue = ?1 ORDER BY place LIMIT ?2)";
            store.task(move |txn| txn.run(sql, [place(issue), place(step)])).await?;
            (left, dropped) = (left - step, dropped + step);
        }
    }
    Ok(dropped)
}

/// Older rows than this go: the time of the last one that stays. Of several of one time all stay.
fn last_kept(conn: &Connection, table: Table, keep: Keep, now: Timestamp) -> Done<Option<i64>> {
    let oldest = keep.age.map(|age| before(now, age).as_micros());
    let mut statement = statement(conn, table.rows)?;
    let mut rows = statement.query([])?;
    let (mut count, mut bytes, mut last) = (0_u64, 0_u64, i64::MAX);
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(0)?;
        count += 1;
        bytes = bytes.saturating_add(unsigned(row, 1)?).saturating_add(ROW_BYTES);
        let beyond = oldest.is_some_and(|oldest| at < oldest)
            || keep.count.is_some_and(|most| count > most)
            || keep.bytes.is_some_and(|most| bytes > most);
        if beyond {
            return Ok(Some(last));
        }
        last = at;
    }
    Ok(None)
}
