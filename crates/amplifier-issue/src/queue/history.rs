//! What has happened to an issue: its notes.

use std::sync::Arc;

use amplifier_core::{IssueId, SessionId, Timestamp};
use amplifier_store::NoteKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::QueueError;
use super::{IssueQueue, PAGE};

/// Something that was done to an issue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its place; entries of one issue have places in the order in which they were written.
    pub place: u64,
    /// What it is.
    pub kind: NoteKind,
    /// Who did it.
    pub actor: Arc<str>,
    /// The session in which it was done.
    pub session: Option<SessionId>,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What was said of it.
    pub noted: Noted,
}

impl HistoryEntry {
    /// An entry that no session has made, at place 0.
    pub fn new(kind: NoteKind, actor: impl Into<Arc<str>>, at: Timestamp, noted: Noted) -> Self {
        Self { place: 0, kind, actor: actor.into(), session: None, at, noted }
    }
}

/// What was said of a change.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Noted {
    /// The name of the event: `issue_completed`; of an imported entry what the other program called it.
    pub event: String,
    /// Where the issue stood before; empty of an imported entry.
    pub from: String,
    /// Where it stood after; likewise.
    pub status: String,
    /// The run that had it.
    pub run_id: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What was asked.
    pub question: Option<String>,
    /// What was answered.
    pub answer: Option<String>,
    /// The comment.
    pub text: Option<String>,
    /// The issue because of which it happened.
    pub by: Option<String>,
    /// Which fields, from what to what.
    pub changes: Map<String, Value>,
    /// When it happened elsewhere, before it was imported.
    pub at: Option<String>,
}

/// A session that has to do with an issue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct IssueSession {
    /// The session.
    pub session: SessionId,
    /// What it did, or was done to it; none for one that only has it.
    pub entries: Vec<HistoryEntry>,
}

impl IssueQueue {
    /// At most `limit` entries of the history of an issue behind a place, in the order in which they were written.
    pub async fn history(
        &self,
        issue: &IssueId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, QueueError> {
        let notes = self.shared.store.issue_notes(issue, after, limit).await?;
        let entry = |note: amplifier_store::IssueNote| HistoryEntry {
            place: note.place,
            kind: note.kind,
            actor: note.actor,
            session: note.session,
            at: note.at,
            // A note of a later version is shown as far as it is understood.
            noted: note.body.decode().unwrap_or_default(),
        };
        Ok(notes.into_iter().map(entry).collect())
    }

    /// The whole history of an issue.
    pub async fn whole_history(&self, issue: &IssueId) -> Result<Vec<HistoryEntry>, QueueError> {
        let mut entries = Vec::new();
        loop {
            let page =
                self.history(issue, entries.last().map_or(0, |last: &HistoryEntry| last.place), PAGE).await?;
            let is_last = page.len() < PAGE;
            entries.extend(page);
            if is_last {
                return Ok(entries);
            }
        }
    }

    /// The sessions that have to do with an issue, in the order in which they first did.
    pub async fn sessions(&self, issue: &IssueId) -> Result<Vec<IssueSession>, QueueError> {
        let row = self.row(issue).await?;
        let mut sessions: Vec<IssueSession> = Vec::new();
        for entry in self.whole_history(issue).await? {
            let Some(session) = entry.session.clone() else { continue };
            match sessions.iter_mut().find(|known| known.session == session) {
                Some(known) => known.entries.push(entry),
                None => sessions.push(IssueSession { session, entries: vec![entry] }),
            }
        }
        if let Some(session) = row.session
            && !sessions.iter().any(|known| known.session == session)
        {
            sessions.push(IssueSession { session, entries: Vec::new() });
        }
        Ok(sessions)
    }
}
