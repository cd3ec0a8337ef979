//! Issues and their notes: rows out of the database, and the writes that change them.
//!
//! Guarantees: what is needed, the counts and the row change together. A list is read along an index, however
//! many issues stand in others.
//! Never here: what a status means.

use std::collections::HashSet;

use amplifier_core::{IssueId, RunId, SessionId};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::apply::Txn;
use super::fault::{Done, damaged};
use super::rows::{payload, time};
use super::sql::{all, first, limit, named, perhaps, place, run, small, some_text, text, unsigned};
use crate::{IssueCounts, IssueFilter, IssueNote, IssueOrder, IssueRow, IssueStatus, NoteKind, StoreError};

const COLUMNS: &str = "i.place, i.id, i.revision, i.status, i.type, i.priority, i.needs, i.unmet, i.run, \
    i.session, i.created, i.updated, i.body";

const READY: &str = "ready";
const CLAIMED: &str = "claimed";

fn row_of(row: &Row<'_>) -> Done<IssueRow> {
    let status = text(row, 3)?;
    let needs = text(row, 6)?.lines().map(|id| named(IssueId::new(id), "what an issue needs"));
    Ok(IssueRow {
        place: unsigned(row, 0)?,
        id: named(IssueId::new(text(row, 1)?), "an issue")?,
        revision: unsigned(row, 2)?,
        status: IssueStatus::from_name(status).ok_or_else(|| damaged(format!("an issue is `{status}`")))?,
        issue_type: text(row, 4)?.into(),
        priority: row.get(5)?,
        needs: needs.collect::<Done<_>>()?,
        unmet: small(row, 7)?,
        run: perhaps(some_text(row, 8)?, |text| RunId::new(text), "the run of an issue")?,
        session: perhaps(some_text(row, 9)?, |text| SessionId::new(text), "the session of an issue")?,
        created: time(row, 10)?,
        updated: time(row, 11)?,
        body: payload(row, 12)?,
    })
}

pub(super) fn issue(conn: &Connection, id: &IssueId) -> Done<Option<IssueRow>> {
    first(conn, &format!("SELECT {COLUMNS} FROM issues i WHERE i.id = ?1"), [id.as_str()], row_of)
}

/// The revision of an issue; 0 if there is none.
pub(super) fn revision(conn: &Connection, id: &IssueId) -> Done<u64> {
    let sql = "SELECT revision FROM issues WHERE id = ?1";
    Ok(first(conn, sql, [id.as_str()], |row| unsigned(row, 0))?.unwrap_or(0))
}

/// A query for one list, with what it binds.
struct List {
    from: &'static str,
    fixed: Vec<Condition>,
}

type Condition = (&'static str, Vec<Value>);

/// The lists that hold all that a filter wants; each is read along its own index.
fn lists(filter: &IssueFilter) -> Vec<List> {
    let text = |text: &str| vec![Value::Text(text.to_owned())];
    if let Some(needed) = &filter.needing {
        let from = "issue_needs n CROSS JOIN issues i ON i.place = n.place";
        let fixed = [("n.needed = ?", text(needed.as_str()))].into_iter().chain(statuses(filter)).collect();
        return vec![List { from, fixed }];
    }
    if filter.ready {
        return vec![List { from: "issues i INDEXED BY issues_ready", fixed: statuses(filter) }];
    }
    if filter.claimed == Some(true) {
        return vec![List { from: "issues i INDEXED BY issues_claimed", fixed: statuses(filter) }];
    }
    let from = match filter.order {
        IssueOrder::Place if filter.statuses.is_empty() => {
            return vec![List { from: "issues i", fixed: Vec::new() }];
        }
        IssueOrder::Place => "issues i INDEXED BY issues_of_status",
        IssueOrder::Urgency => "issues i INDEXED BY issues_by_urgency",
    };
    let wanted = |status: &IssueStatus| filter.statuses.is_empty() || filter.statuses.contains(status);
    let fixed = |status: IssueStatus| vec![("i.status = ?", text(status.as_str()))];
    let statuses = IssueStatus::ALL.into_iter().filter(wanted);
    statuses.map(|status| List { from, fixed: fixed(status) }).collect()
}

/// That the status is among those of a filter, where the list is of another kind.
fn statuses(filter: &IssueFilter) -> Vec<Condition> {
    if filter.statuses.is_empty() {
        return Vec::new();
    }
    let names: Vec<_> = filter.statuses.iter().map(|status| status.as_str()).collect();
    vec![("instr(?, ',' || i.status || ',') > 0", vec![Value::Text(format!(",{},", names.join(",")))])]
}

pub(super) fn issues(conn: &Connection, filter: &IssueFilter) -> Done<Vec<IssueRow>> {
    let (sql, values) = query(filter);
    all(conn, &sql, params_from_iter(values), row_of)
}

fn query(filter: &IssueFilter) -> (String, Vec<Value>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    for list in lists(filter) {
        sql.push_str(if sql.is_empty() { "" } else { " UNION ALL " });
        sql.push_str(&format!("SELECT {COLUMNS} FROM {} WHERE 1", list.from));
        for (condition, bound) in list.fixed.into_iter().chain(conditions(filter)) {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.extend(bound);
        }
        if filter.ready {
            sql.push_str(" AND i.status = 'open' AND i.unmet = 0 AND i.run IS NULL");
        }
        sql.push_str(match filter.claimed {
            Some(true) => " AND i.run IS NOT NULL",
            Some(false) => " AND i.run IS NULL",
            None => "",
        });
    }
    sql.push_str(match filter.order {
        IssueOrder::Place => " ORDER BY 1 LIMIT ?",
        IssueOrder::Urgency => " ORDER BY 6, 1 LIMIT ?",
    });
    values.push(Value::Integer(limit(filter.limit)));
    (sql, values)
}

/// What is asked of each list.
fn conditions(filter: &IssueFilter) -> Vec<Condition> {
    let mut asked = Vec::new();
    if let Some(wanted) = &filter.issue_type {
        asked.push(("i.type = ?", vec![Value::Text(wanted.to_string())]));
    }
    match (filter.after, filter.order) {
        (Some((_, at)), IssueOrder::Place) => asked.push(("i.place > ?", vec![Value::Integer(place(at))])),
        (Some((rank, at)), IssueOrder::Urgency) => {
            let key = vec![Value::Integer(rank.into()), Value::Integer(place(at))];
            asked.push(("(i.priority, i.place) > (?, ?)", key));
        }
        (None, _) => {}
    }
    asked
}

pub(super) fn counts(conn: &Connection) -> Done<IssueCounts> {
    let rows = all(conn, "SELECT what, count FROM issue_counts WHERE count > 0", [], |row| {
        Ok((text(row, 0)?.to_owned(), unsigned(row, 1)?))
    })?;
    let mut counts = IssueCounts::default();
    for (what, count) in rows {
        match (what.as_str(), IssueStatus::from_name(&what)) {
            (READY, _) => counts.ready = count,
            (CLAIMED, _) => counts.claimed = count,
            (_, Some(status)) => drop(counts.by_status.insert(status, count)),
            (_, None) => return Err(damaged(format!("issues are counted as `{what}`"))),
        }
    }
    Ok(counts)
}

pub(super) fn notes(conn: &Connection, id: &IssueId, after: u64, count: usize) -> Done<Vec<IssueNote>> {
    let sql = "SELECT place, kind, actor, session, at, body FROM issue_notes INDEXED BY notes_of_issue \
               WHERE issue = (SELECT i.place FROM issues i WHERE i.id = ?1) AND place > ?2 \
               ORDER BY place LIMIT ?3";
    all(conn, sql, params![id.as_str(), place(after), limit(count)], |row| {
        let kind = text(row, 1)?;
        Ok(IssueNote {
            place: unsigned(row, 0)?,
            kind: NoteKind::from_name(kind).ok_or_else(|| damaged(format!("a note is a `{kind}`")))?,
            actor: text(row, 2)?.into(),
            session: perhaps(some_text(row, 3)?, |text| SessionId::new(text), "the session of a note")?,
            at: time(row, 4)?,
            body: payload(row, 5)?,
        })
    })
}

/// What an issue is counted as.
fn counted(row: &IssueRow) -> [Option<&'static str>; 3] {
    [Some(row.status.as_str()), row.is_ready().then_some(READY), row.run.as_ref().map(|_| CLAIMED)]
}

impl Txn<'_> {
    pub(super) fn put_issue(&mut self, mut row: IssueRow) -> Done {
        let mut seen = HashSet::new();
        if !row.needs.iter().all(|needed| seen.insert(needed)) {
            return Err(StoreError::Malformed { what: "an issue names each that it needs once" }.into());
        }
        let known = issue(self.conn, &row.id)?;
        row.updated = self.now;
        match &known {
            Some(known) => {
                (row.place, row.revision, row.created) = (known.place, known.revision + 1, known.created);
                self.replace(&row)?;
            }
            None => {
                self.marks.issue += 1;
                (row.place, row.revision, row.created) = (self.marks.issue, 1, self.now);
                self.insert_issue(&row)?;
            }
        }
        self.recount(known.as_ref(), &row)?;
        let before = known.map(|known| known.needs).unwrap_or_default();
        for gone in before.iter().filter(|needed| !row.needs.contains(needed)) {
            let sql = "DELETE FROM issue_needs WHERE needed = ?1 AND place = ?2";
            self.run(sql, params![gone.as_str(), place(row.place)])?;
        }
        for new in row.needs.iter().filter(|needed| !before.contains(needed)) {
            let sql = "INSERT INTO issue_needs (needed, place) VALUES (?1, ?2)";
            self.run(sql, params![new.as_str(), place(row.place)])?;
        }
        self.applied.issues.push((row.id, row.place, row.revision));
        Ok(())
    }

    fn insert_issue(&self, row: &IssueRow) -> Done {
        let sql = "INSERT INTO issues (place, id, revision, status, type, priority, needs, unmet, run, session, \
                   created, updated, body) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11)";
        let (number, id, status) = (place(row.place), row.id.as_str(), row.status.as_str());
        let (run, session) =
            (row.run.as_ref().map(RunId::as_str), row.session.as_ref().map(SessionId::as_str));
        let (kind, created, body) = (&*row.issue_type, row.created.as_micros(), row.body.as_bytes());
        let (priority, unmet, needs) = (row.priority, row.unmet, lines(&row.needs));
        self.run(sql, params![number, id, status, kind, priority, needs, unmet, run, session, created, body])
    }

    fn replace(&self, row: &IssueRow) -> Done {
        let sql = "UPDATE issues SET revision = ?2, status = ?3, type = ?4, priority = ?5, needs = ?6, \
                   unmet = ?7, run = ?8, session = ?9, updated = ?10, body = ?11 WHERE place = ?1";
        let (number, revision, status) = (place(row.place), place(row.revision), row.status.as_str());
        let (run, session) =
            (row.run.as_ref().map(RunId::as_str), row.session.as_ref().map(SessionId::as_str));
        let (kind, updated, body) = (&*row.issue_type, row.updated.as_micros(), row.body.as_bytes());
        let (priority, unmet, needs) = (row.priority, row.unmet, lines(&row.needs));
        self.run(
            sql,
            params![number, revision, status, kind, priority, needs, unmet, run, session, updated, body],
        )
    }

    fn recount(&self, before: Option<&IssueRow>, after: &IssueRow) -> Done {
        let (before, after) = (before.map(counted).unwrap_or_default(), counted(after));
        let sql = "INSERT INTO issue_counts (what, count) VALUES (?1, ?2) \
                   ON CONFLICT (what) DO UPDATE SET count = count + excluded.count";
        for (left, entered) in before.into_iter().zip(after).filter(|(left, entered)| left != entered) {
            for (what, by) in [(left, -1), (entered, 1)] {
                what.map_or(Ok(()), |what| self.run(sql, params![what, by]))?;
            }
        }
        Ok(())
    }

    pub(super) fn note_issue(&mut self, id: IssueId, note: &IssueNote) -> Done {
        self.marks.note += 1;
        let sql = "INSERT INTO issue_notes (place, issue, kind, actor, session, at, body) \
                   SELECT ?1, place, ?3, ?4, ?5, ?6, ?7 FROM issues WHERE id = ?2";
        let (number, session) = (place(self.marks.note), note.session.as_ref().map(SessionId::as_str));
        let (kind, body) = (note.kind.as_str(), note.body.as_bytes());
        let params = params![number, id.as_str(), kind, note.actor, session, note.at.as_micros(), body];
        match run(self.conn, sql, params)? {
            0 => Err(StoreError::NoIssue { issue: id }.into()),
            _ => Ok(()),
        }
    }
}

fn lines(ids: &[IssueId]) -> String {
    ids.iter().map(IssueId::as_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the database goes about a query, a step each.
    fn plan(filter: &IssueFilter) -> Vec<String> {
        let conn = Connection::open_in_memory().unwrap();
        super::super::open::keep_plans(&conn).unwrap();
        for version in super::super::open::VERSIONS {
            conn.execute_batch(version).unwrap();
        }
        let (sql, values) = query(filter);
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_listed_is_read_along_an_index_and_only_what_needs_an_issue_is_sorted() {
        let some =
            |statuses: &[IssueStatus]| IssueFilter { statuses: statuses.to_vec(), ..Default::default() };
        let (one, two) = (&[IssueStatus::Closed][..], &[IssueStatus::Open, IssueStatus::Blocked][..]);
        let claimed = IssueFilter { claimed: Some(true), ..Default::default() };
        let needing = IssueFilter::needing(IssueId::new("a").unwrap());
        for filter in [
            some(one),
            some(one).by_urgency(),
            some(two),
            some(two).by_urgency(),
            IssueFilter::default(),
            IssueFilter::default().by_urgency(),
            IssueFilter::ready(),
            claimed.by_urgency(),
            needing,
        ] {
            for after in [None, Some((2, 7))] {
                let plan = plan(&IssueFilter { after, ..filter.clone() });
                let sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
                assert_eq!(sorted, filter.needing.is_some(), "{filter:?}: {plan:#?}");
                let reads = plan.iter().filter(|step| step.starts_with("SEARCH") || step.starts_with("SCAN"));
                let all = reads.filter(|step| **step == "SCAN i").count();
                let wanted = usize::from(filter == IssueFilter::default() && after.is_none());
                assert_eq!(all, wanted, "{filter:?}: {plan:#?}");
            }
        }
    }
}
