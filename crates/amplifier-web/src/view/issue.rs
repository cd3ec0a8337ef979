//! An issue, and what happened to it.
//!
//! Guarantees: what is long in a list is cut there, and whole where one issue is shown.

use amplifier_core::{IssueId, RunId, SessionId, Timestamp};
use amplifier_issue::queue::{IssueView, NoteView};
use amplifier_store::RunRow;
use serde::Serialize;

use super::Session;
use crate::api::Fault;
use crate::state::App;

/// Most entries of a history that are shown: the latest.
const MOST: usize = 500;

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
    pub(crate) issue: IssueView,
    /// What it depends on that is not done.
    pub(crate) blockers: Vec<IssueId>,
    /// What depends on it.
    pub(crate) dependents: Vec<IssueId>,
    pub(crate) notes: Vec<NoteView>,
    pub(crate) runs: Vec<IssueRun>,
    pub(crate) sessions: Vec<Session>,
}

impl IssueHistory {
    pub(crate) async fn read(app: &App, id: &IssueId) -> Result<Self, Fault> {
        let queue = app.issues();
        let queued = queue.get(id).await?;
        let blockers = queue.blockers(&queued).await?;
        let dependents = queue.dependents(id).await?.into_iter().map(|row| row.id).collect();
        let mut notes: Vec<NoteView> =
            queue.whole_history(id).await?.into_iter().map(NoteView::from).collect();
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
        Ok(Self { issue: queued.into(), blockers, dependents, notes, runs, sessions })
    }
}
