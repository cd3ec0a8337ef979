//! An issue, and what happened to it.
//!
//! Guarantees: what is long in a list is cut there, and whole where one issue is shown.

use amplifier_core::{IssueId, RunId, SessionId, Timestamp};
use amplifier_issue::QueuedIssue;
use amplifier_issue::queue::{HistoryEntry, Link};
use amplifier_store::RunRow;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Session;
use crate::api::Fault;
use crate::state::App;

/// Most entries of a history that are shown: the latest.
const MOST: usize = 500;

/// An issue.
#[derive(Debug, Serialize)]
pub(crate) struct Issue {
    pub(crate) id: IssueId,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) issue_type: String,
    pub(crate) priority: u8,
    pub(crate) status: &'static str,
    pub(crate) ready: bool,
    pub(crate) depends_on: Vec<IssueId>,
    pub(crate) unmet: u32,
    pub(crate) assignee: Option<String>,
    pub(crate) parent_id: Option<IssueId>,
    pub(crate) discovered_from: Option<IssueId>,
    pub(crate) links: Vec<Link>,
    pub(crate) blocking_notes: Option<String>,
    pub(crate) question: Option<String>,
    pub(crate) answer: Option<String>,
    pub(crate) answered_by: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) retry_count: u32,
    pub(crate) round: u64,
    pub(crate) run_id: Option<RunId>,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) bundle: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) place: u64,
    pub(crate) revision: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) closed_at: Option<Timestamp>,
}

impl Issue {
    pub(crate) fn of(queued: QueuedIssue) -> Self {
        let (ready, created_at) = (queued.is_ready(), queued.opened_at());
        let (issue, details) = (queued.issue, queued.details);
        Self {
            id: issue.id,
            title: issue.title,
            description: issue.description,
            issue_type: issue.issue_type.as_str().to_owned(),
            priority: issue.priority.number(),
            status: issue.status.as_str(),
            ready,
            depends_on: issue.depends_on,
            unmet: queued.unmet,
            assignee: details.assignee,
            parent_id: details.parent_id,
            discovered_from: details.discovered_from,
            links: details.links,
            blocking_notes: details.blocking_notes,
            question: details.question,
            answer: details.answer,
            answered_by: details.answered_by,
            result: details.result,
            reason: details.reason,
            retry_count: details.retry_count,
            round: details.round,
            run_id: queued.run,
            session_id: queued.session,
            bundle: issue.bundle,
            metadata: issue.metadata,
            place: queued.place,
            revision: queued.revision,
            created_at,
            updated_at: queued.updated,
            closed_at: details.closed_at,
        }
    }
}

/// An entry of a history.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) place: u64,
    pub(crate) kind: &'static str,
    pub(crate) event: String,
    pub(crate) actor: String,
    pub(crate) at: Timestamp,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) run_id: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) status: Option<String>,
    /// The comment, question, answer or reason.
    pub(crate) text: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) changes: Map<String, Value>,
}

impl Note {
    fn of(entry: HistoryEntry) -> Self {
        let noted = entry.noted;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            place: entry.place,
            kind: entry.kind.as_str(),
            event: noted.event,
            actor: entry.actor.to_string(),
            at: entry.at,
            session_id: entry.session,
            run_id: noted.run_id,
            from: some(noted.from),
            status: some(noted.status),
            text: noted.text.or(noted.answer).or(noted.question).or(noted.reason),
            by: noted.by,
            changes: noted.changes,
        }
    }
}

/// A run that had an issue.
#[derive(Debug, Serialize)]
pub(crate) struct IssueRun {
    pub(crate) run_id: RunId,
    pub(crate) number: u64,
    pub(crate) queue: String,
    pub(crate) state: &'static str,
    pub(crate) attempt: u32,
    pub(crate) reason: Option<String>,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// True once no step leads on.
    pub(crate) is_over: bool,
}

impl IssueRun {
    fn of(row: RunRow) -> Self {
        Self {
            run_id: row.id,
            number: row.place,
            queue: row.queue.to_string(),
            state: row.state.as_str(),
            attempt: row.attempt,
            reason: row.reason,
            session_id: row.session,
            created: row.created,
            updated: row.updated,
            is_over: row.state.is_final(),
        }
    }
}

/// An issue with all that happened to it.
#[derive(Debug, Serialize)]
pub(crate) struct IssueHistory {
    pub(crate) issue: Issue,
    /// What it depends on that is not done.
    pub(crate) blockers: Vec<IssueId>,
    /// What depends on it.
    pub(crate) dependents: Vec<IssueId>,
    pub(crate) notes: Vec<Note>,
    pub(crate) runs: Vec<IssueRun>,
    pub(crate) sessions: Vec<Session>,
}

impl IssueHistory {
    pub(crate) async fn read(app: &App, id: &IssueId) -> Result<Self, Fault> {
        let queue = app.issues();
        let queued = queue.get(id).await?;
        let blockers = queue.blockers(&queued).await?;
        let dependents = queue.dependents(id).await?.into_iter().map(|row| row.id).collect();
        let mut notes: Vec<Note> = queue.whole_history(id).await?.into_iter().map(Note::of).collect();
        notes.drain(..notes.len().saturating_sub(MOST));
        let mut known: Vec<RunId> = Vec::new();
        let named = notes.iter().filter_map(|note| RunId::new(note.run_id.as_ref()?).ok());
        for run in named.chain(queued.run.clone()) {
            if !known.contains(&run) {
                known.push(run);
            }
        }
        let (store, mut runs) = (app.host().store(), Vec::new());
        for run in &known {
            runs.extend(store.run(run).await?.map(IssueRun::of));
        }
        let mut ids: Vec<SessionId> =
            queue.sessions(id).await?.into_iter().map(|session| session.session).collect();
        for session in runs.iter().filter_map(|run| run.session_id.as_ref()) {
            if !ids.contains(session) {
                ids.push(session.clone());
            }
        }
        let mut sessions = Vec::new();
        for session in &ids {
            sessions.extend(store.session(session).await?.map(|row| Session::of(app, &row)));
        }
        sessions.sort_by_key(|session| session.created);
        Ok(Self { issue: Issue::of(queued), blockers, dependents, notes, runs, sessions })
    }
}
