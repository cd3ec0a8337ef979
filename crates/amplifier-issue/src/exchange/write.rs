//! Issues of a queue as lines of files.

use amplifier_core::{IssueId, SessionId, Timestamp};
use amplifier_store::IssueFilter;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::queue::{HistoryEntry, IssueQueue, Link, QueueError, QueuedIssue};

/// How an issue is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// As the reference's issue manager does: three files, and nothing that it does not know but the keys
    /// that were there when an issue was imported.
    Reference,
    /// With all that the queue knows, dependencies too, in one file.
    Own,
}

/// An issue as a JSON object.
#[derive(Debug, Clone, Serialize)]
pub struct Line<'a> {
    id: &'a IssueId,
    title: &'a str,
    description: &'a str,
    status: &'static str,
    priority: u8,
    issue_type: &'a str,
    assignee: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    closed_at: Option<Timestamp>,
    parent_id: Option<&'a IssueId>,
    discovered_from: Option<&'a IssueId>,
    blocking_notes: Option<&'a str>,
    metadata: &'a Map<String, Value>,
    #[serde(flatten)]
    own: Option<Own<'a>>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Debug, Clone, Serialize)]
struct Own<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    depends_on: &'a [IssueId],
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    links: &'a [Link],
    #[serde(skip_serializing_if = "is_zero")]
    retry_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An issue as one object of a shape.
pub fn line(queued: &QueuedIssue, shape: Shape) -> Line<'_> {
    let (issue, details) = (&queued.issue, &queued.details);
    let own = Own {
        depends_on: &issue.depends_on,
        bundle: issue.bundle.as_deref(),
        question: details.question.as_deref(),
        answer: details.answer.as_deref(),
        answered_by: details.answered_by.as_deref(),
        result: details.result.as_deref(),
        reason: details.reason.as_deref(),
        links: &details.links,
        retry_count: details.retry_count,
        session_id: queued.session.as_ref(),
    };
    Line {
        id: &issue.id,
        title: &issue.title,
        description: &issue.description,
        status: issue.status.as_str(),
        priority: issue.priority.number(),
        issue_type: issue.issue_type.as_str(),
        assignee: details.assignee.as_deref(),
        created_at: queued.opened_at(),
        updated_at: queued.updated,
        closed_at: details.closed_at,
        parent_id: details.parent_id.as_ref(),
        discovered_from: details.discovered_from.as_ref(),
        blocking_notes: details.blocking_notes.as_deref(),
        metadata: &issue.metadata,
        own: (shape == Shape::Own).then_some(own),
        extra: &issue.extra,
    }
}

/// A part of what is exported: lines, each with its end.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ExportPage {
    /// Lines of `issues.jsonl`.
    pub issues: String,
    /// Lines of `dependencies.jsonl`; empty in our own shape but for links.
    pub dependencies: String,
    /// Lines of `events.jsonl`.
    pub events: String,
    /// To be given for the next page.
    pub after: u64,
}

impl IssueQueue {
    /// At most `limit` issues behind a place, with their history, in the order in which they were opened;
    /// `None` behind the last one. Pages are read one after the other: what changes meanwhile is in them or not.
    pub async fn export(
        &self,
        shape: Shape,
        after: u64,
        limit: usize,
    ) -> Result<Option<ExportPage>, QueueError> {
        let mut filter = IssueFilter::default();
        (filter.after, filter.limit) = (Some((0, after)), limit.max(1));
        let issues = self.list(&filter).await?;
        let Some(last) = issues.last() else { return Ok(None) };
        let mut page = ExportPage { after: last.place, ..ExportPage::default() };
        for queued in &issues {
            push(&mut page.issues, &line(queued, shape));
            if shape == Shape::Reference {
                dependencies(&mut page.dependencies, queued);
            }
            for entry in self.whole_history(&queued.issue.id).await? {
                push(&mut page.events, &event(&queued.issue.id, &entry));
            }
        }
        Ok(Some(page))
    }
}

fn dependencies(lines: &mut String, queued: &QueuedIssue) {
    let blocks = queued.issue.depends_on.iter().map(|to| (to, "blocks"));
    let links = queued.details.links.iter().map(|link| (&link.to, link.kind.as_str()));
    for (to, kind) in blocks.chain(links) {
        let from = &queued.issue.id;
        let made = queued.opened_at();
        push(lines, &json!({"from_id": from, "to_id": to, "dep_type": kind, "created_at": made}));
    }
}

fn event(issue: &IssueId, entry: &HistoryEntry) -> Value {
    let noted = &entry.noted;
    let name = match noted.event.strip_prefix("issue_").unwrap_or(&noted.event) {
        "opened" => "created",
        name => name,
    };
    let mut changes = noted.changes.clone();
    if noted.from != noted.status {
        changes.insert("status".to_owned(), json!({"old": noted.from, "new": noted.status}));
    }
    let said = [
        ("reason", &noted.reason),
        ("question", &noted.question),
        ("answer", &noted.answer),
        ("text", &noted.text),
    ];
    for (key, text) in said {
        if let Some(text) = text {
            changes.insert(key.to_owned(), json!(text));
        }
    }
    let at = noted.at.clone().unwrap_or_else(|| entry.at.to_string());
    let mut event = json!({
        "id": format!("{issue}-{}", entry.place), "issue_id": issue, "event_type": name,
        "actor": &*entry.actor, "changes": changes, "timestamp": at,
    });
    if let (Some(session), Some(event)) = (&entry.session, event.as_object_mut()) {
        event.insert("session_id".to_owned(), json!(session));
    }
    event
}

fn push(lines: &mut String, value: &impl Serialize) {
    // A value of texts and numbers is always JSON.
    if let Ok(text) = serde_json::to_string(value) {
        lines.push_str(&text);
        lines.push('\n');
    }
}
