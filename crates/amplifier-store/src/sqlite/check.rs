//! Whether a store is sound: SQLite's own check of every page, and what our commits promise.
//!
//! Guarantees: reads only, all of one moment. A sentence for each thing that is wrong, without what
//! the rows say.

use amplifier_core::{IssueId, RunId};
use rusqlite::Connection;

use super::fault::Done;
use super::issues;
use super::marks::Marks;
use super::rows;
use super::sql::{all, first, place, snapshot, text, unsigned};

/// What is told of one kind of damage at most.
const SENTENCES: usize = 20;

/// Queries that find nothing in a sound store: what each row means, and how it is found. `?1` is the
/// oldest event that is kept.
const RULES: &[(&str, &str)] = &[
    (
        "a settled activation has another terminal event than its outcome says",
        "SELECT o.session || '/' || o.activation FROM outcomes o LEFT JOIN events e ON e.sequence = o.sequence \
         WHERE o.sequence >= ?1 AND (e.id IS NOT o.event OR e.source IS NOT o.session \
         OR e.kind NOT IN ('session_completed', 'session_error'))",
    ),
    (
        "a terminal event has no outcome",
        "SELECT CAST(e.sequence AS TEXT) FROM events e LEFT JOIN outcomes o \
         ON o.session = e.source AND o.sequence = e.sequence \
         WHERE e.sequence >= ?1 AND e.kind IN ('session_completed', 'session_error') AND o.session IS NULL \
         AND EXISTS (SELECT 1 FROM outcomes x WHERE x.session = e.source AND x.sequence < e.sequence)",
    ),
    (
        "a session has ended without an outcome, or has one and runs",
        "SELECT s.id FROM sessions s LEFT JOIN outcomes o ON o.session = s.id AND o.activation = s.activation \
         WHERE ?1 >= 0 AND (o.session IS NOT NULL) <> (s.ended <> 0)",
    ),
    (
        "an outcome is of an activation that its session never had",
        "SELECT o.session || '/' || o.activation FROM outcomes o LEFT JOIN sessions s ON s.id = o.session \
         WHERE ?1 >= 0 AND (s.id IS NULL OR o.activation > s.activation)",
    ),
    (
        "a number was used that was not given away",
        "SELECT 'lease ' || key FROM leases, meta WHERE ?1 >= 0 AND leases.epoch > meta.epoch \
         UNION ALL SELECT 'run ' || id FROM runs, meta WHERE place > meta.run \
         UNION ALL SELECT 'command ' || place FROM commands, meta WHERE place > meta.command \
         UNION ALL SELECT 'issue ' || id FROM issues, meta WHERE place > meta.issue \
         UNION ALL SELECT 'note ' || place FROM issue_notes, meta WHERE place > meta.note \
         UNION ALL SELECT 'cursor ' || consumer FROM cursors \
         WHERE sequence > max(1 + coalesce((SELECT max(sequence) FROM events), 0), ?1)",
    ),
    (
        "what a grant has passed on is not what its children count for",
        "SELECT g.session || '/' || g.activation FROM grants g WHERE ?1 >= 0 AND g.tokens >= 0 \
         AND g.passed_tokens <> coalesce((SELECT sum(coalesce(c.spent_tokens, c.tokens)) FROM grants c \
         WHERE c.from_session = g.session AND c.from_activation = g.activation), 0)",
    ),
    (
        "an issue is counted wrong",
        "SELECT c.what FROM (SELECT what, sum(count) AS count FROM (\
         SELECT what, -count AS count FROM issue_counts \
         UNION ALL SELECT status, 1 FROM issues \
         UNION ALL SELECT 'claimed', 1 FROM issues WHERE run IS NOT NULL \
         UNION ALL SELECT 'ready', 1 FROM issues WHERE status = 'open' AND unmet = 0 AND run IS NULL) \
         GROUP BY what) c WHERE ?1 >= 0 AND c.count <> 0",
    ),
    (
        "a note is of no issue",
        "SELECT CAST(n.place AS TEXT) FROM issue_notes n LEFT JOIN issues i ON i.place = n.issue \
         WHERE ?1 >= 0 AND i.place IS NULL",
    ),
];

pub(super) fn store(conn: &Connection) -> Done<Vec<String>> {
    let mut found = pages(conn)?;
    if !found.is_empty() {
        return Ok(found);
    }
    snapshot(conn, || {
        let marks = Marks::read(conn)?;
        log(conn, &marks, &mut found)?;
        for (rule, sql) in RULES {
            let rows = all_of(conn, sql, marks.oldest)?;
            found.extend(rows.into_iter().map(|row| format!("{rule}: {row}")));
        }
        runs(conn, &mut found)?;
        issue_rows(conn, &mut found)
    })?;
    Ok(found)
}

/// What SQLite finds; `ok` is nothing.
fn pages(conn: &Connection) -> Done<Vec<String>> {
    let lines = all(conn, "PRAGMA integrity_check(20)", [], |row| Ok(text(row, 0)?.to_owned()))?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn log(conn: &Connection, marks: &Marks, found: &mut Vec<String>) -> Done {
    let sql = "SELECT count(*) FROM events WHERE sequence >= ?1";
    let kept = first(conn, sql, [place(marks.oldest)], |row| unsigned(row, 0))?.unwrap_or(0);
    if kept != marks.tail.saturating_sub(marks.oldest) {
        found.push(format!("the log has {kept} events from {} to {}", marks.oldest, marks.tail));
    }
    Ok(())
}

fn all_of(conn: &Connection, sql: &str, oldest: u64) -> Done<Vec<String>> {
    let sql = format!("{sql} LIMIT {SENTENCES}");
    all(conn, &sql, [place(oldest)], |row| Ok(text(row, 0)?.to_owned()))
}

/// Rows of runs that no legal steps lead to.
fn runs(conn: &Connection, found: &mut Vec<String>) -> Done {
    let ids = all(conn, "SELECT id FROM runs ORDER BY place", [], |row| Ok(text(row, 0)?.to_owned()))?;
    let wrong = ids.into_iter().filter_map(|id| {
        let read = RunId::new(&id).map(|id| rows::run(conn, &id));
        (!matches!(read, Ok(Ok(_)))).then(|| format!("a run cannot be read: {id}"))
    });
    found.extend(wrong.take(SENTENCES));
    Ok(())
}

/// Rows of issues that cannot be read, or that are not found by what they need.
fn issue_rows(conn: &Connection, found: &mut Vec<String>) -> Done {
    let ids = all(conn, "SELECT id FROM issues ORDER BY place", [], |row| Ok(text(row, 0)?.to_owned()))?;
    let mut needed = 0_u64;
    for id in ids {
        match IssueId::new(&id).map(|id| issues::issue(conn, &id)) {
            Ok(Ok(Some(row))) => needed += row.needs.len() as u64,
            _ if found.len() < SENTENCES => found.push(format!("an issue cannot be read: {id}")),
            _ => {}
        }
    }
    let listed = first(conn, "SELECT count(*) FROM issue_needs", [], |row| unsigned(row, 0))?.unwrap_or(0);
    if listed != needed {
        found.push(format!("issues need {needed} others and are listed under {listed}"));
    }
    Ok(())
}
