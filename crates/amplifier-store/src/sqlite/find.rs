//! Finding an event by its id without an index.
//!
//! Guarantees: an id that is in the log is found. One of version 7 tells when it was made, and the log
//! is nearly in that order: a binary search leads to the place, windows around it are looked
//! through, and the whole log only if they do not hold it.
//! Never here: a cost for who writes.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{EventId, SessionEvent, Timestamp};
use rusqlite::{Connection, params};

use super::Reader;
use super::event::{COLUMNS, read};
use super::fault::Done;
use super::marks::Marks;
use super::sql::{first, place, snapshot, unsigned};

/// How far an event's time may lie from that of its id, in the order in which it is tried.
const SLACK: [Duration; 3] = [Duration::from_millis(50), Duration::from_secs(2), Duration::from_secs(60)];

pub(super) fn event(reader: &mut Reader<'_>, id: EventId) -> Done<Option<Arc<SessionEvent>>> {
    let Reader { conn, names } = reader;
    snapshot(conn, || {
        let marks = Marks::read(conn)?;
        let Some(sequence) = sequence(conn, &marks, id)? else { return Ok(None) };
        let sql = format!("SELECT {COLUMNS} FROM events WHERE sequence = ?1");
        first(conn, &sql, [place(sequence)], |row| read(row, names, marks.scope.as_ref()))
    })
}

fn sequence(conn: &Connection, marks: &Marks, id: EventId) -> Done<Option<u64>> {
    if id.0.get_version_num() == 7 {
        let millis = i64::try_from(id.0.as_u64_pair().0 >> 16).unwrap_or(i64::MAX);
        let made = millis.saturating_mul(1_000);
        for slack in SLACK {
            let slack = i64::try_from(slack.as_micros()).unwrap_or(i64::MAX);
            let from = at_or_after(conn, marks, Timestamp::from_micros(made.saturating_sub(slack)))?;
            let to = at_or_after(conn, marks, Timestamp::from_micros(made.saturating_add(slack)))?;
            if let Some(found) = within(conn, id, from, to.saturating_add(1))? {
                return Ok(Some(found));
            }
        }
    }
    within(conn, id, marks.oldest, marks.tail)
}

fn within(conn: &Connection, id: EventId, from: u64, to: u64) -> Done<Option<u64>> {
    let sql = "SELECT sequence FROM events WHERE sequence >= ?1 AND sequence < ?2 AND id = ?3 \
               ORDER BY sequence DESC LIMIT 1";
    first(conn, sql, params![place(from), place(to), &id.0.as_bytes()[..]], |row| unsigned(row, 0))
}

/// The first sequence whose event is not earlier than `time`, if the log were in the order of time.
pub(super) fn at_or_after(conn: &Connection, marks: &Marks, time: Timestamp) -> Done<u64> {
    let (mut low, mut high) = (marks.oldest, marks.tail);
    while low < high {
        let middle = low + (high - low) / 2;
        let sql = "SELECT at FROM events WHERE sequence = ?1";
        let at = first(conn, sql, [place(middle)], |row| Ok(row.get::<_, i64>(0)?))?;
        match at {
            Some(at) if at >= time.as_micros() => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}
