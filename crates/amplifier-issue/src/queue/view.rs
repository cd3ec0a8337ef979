//! An issue and its history as programs are told them: one shape, whoever tells.
//!
//! Guarantees: every key is always there; what is not known is null.

use std::sync::Arc;

use amplifier_core::{IssueId, RunId, SessionId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use super::body::{Link, QueuedIssue};
use super::history::HistoryEntry;

/// An issue, as a JSON object when it is serialized.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IssueView {
    /// Its id.
    pub id: IssueId,
    /// What it is about.
    pub title: String,
    /// What is to be done.
    pub description: String,
    /// Its type.
    pub issue_type: String,
    /// How urgent it is, 0 to 4.
    pub priority: u8,
    /// Where it stands.
    pub status: &'static str,
    /// True if a run may claim it.
    pub ready: bool,
    /// What must be done before it begins.
    pub depends_on: Vec<IssueId>,
    /// How much of that is not done.
    pub unmet: u32,
    /// Who is to do it.
    pub assignee: Option<String>,
    /// What it is a part of.
    pub parent_id: Option<IssueId>,
    /// What was being worked on when it was found.
    pub discovered_from: Option<IssueId>,
    /// Other issues that hold it up in no way.
    pub links: Vec<Link>,
    /// What stands in its way.
    pub blocking_notes: Option<String>,
    /// What its worker asked last.
    pub question: Option<String>,
    /// The answer.
    pub answer: Option<String>,
    /// Who gave it.
    pub answered_by: Option<String>,
    /// What came out.
    pub result: Option<String>,
    /// Why it failed or was closed.
    pub reason: Option<String>,
    /// How many attempts have failed.
    pub retry_count: u32,
    /// Counts up whenever it can be claimed anew.
    pub round: u64,
    /// The run that has claimed it.
    pub run_id: Option<RunId>,
    /// The session that works on it, or worked on it last.
    pub session_id: Option<SessionId>,
    /// The bundle of its worker.
    pub bundle: Option<String>,
    /// Free data.
    #[serde(serialize_with = "as_map")]
    metadata: Map<String, Value>,
    /// Its place in the order in which issues were opened.
    pub place: u64,
    /// How often it was written.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// When it was completed or closed.
    pub closed_at: Option<Timestamp>,
}

fn as_map<S: serde::Serializer>(map: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    map.serialize(serializer)
}

impl From<QueuedIssue> for IssueView {
    fn from(queued: QueuedIssue) -> Self {
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

/// An entry of a history, likewise.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NoteView {
    /// Its place.
    pub place: u64,
    /// What it is.
    pub kind: &'static str,
    /// The name of the event.
    pub event: String,
    /// Who did it.
    pub actor: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// The session in which it was done.
    pub session_id: Option<SessionId>,
    /// The run that had the issue.
    pub run_id: Option<String>,
    /// Where the issue stood before.
    pub from: Option<String>,
    /// Where it stood after.
    pub status: Option<String>,
    /// The comment, answer, question or reason.
    pub text: Option<String>,
    /// The issue because of which it happened.
    pub by: Option<String>,
    /// Which fields, from what to what.
    #[serde(serialize_with = "as_map")]
    changes: Map<String, Value>,
}

impl NoteView {
    /// The names of the fields that were changed.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changes.keys().map(String::as_str)
    }
}

impl From<HistoryEntry> for NoteView {
    fn from(entry: HistoryEntry) -> Self {
        let noted = entry.noted;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            place: entry.place,
            kind: entry.kind.as_str(),
            event: noted.event,
            actor: entry.actor,
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
