//! An issue of the queue: its row in the store, read.
//!
//! Guarantees: what is read and written again keeps every field, also those of later versions. Nothing over
//! its bound is written.
//! Never here: what may be done with it.

use amplifier_core::{EventId, IssueId, Payload, RunId, SessionId, Timestamp};
use amplifier_store::{IssueRow, IssueStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::QueueError;
use crate::model::{Issue, IssueType, Priority};

/// Most that an issue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// A title, 500 bytes.
    Title,
    /// A description, 256 KiB.
    Description,
    /// A comment, 256 KiB.
    Comment,
    /// A question, an answer, a reason, what stands in the way: 64 KiB.
    Text,
    /// Metadata as JSON, 64 KiB; fields of other programs likewise.
    Metadata,
    /// What an issue depends on, 1,000; links to others likewise.
    Dependencies,
    /// Issues of one import, 10,000.
    Issues,
}

impl Bound {
    /// The bound, in bytes or as a number.
    pub fn most(self) -> usize {
        match self {
            Self::Title => 500,
            Self::Description | Self::Comment => 256 << 10,
            Self::Text | Self::Metadata => 64 << 10,
            Self::Dependencies => 1_000,
            Self::Issues => crate::MAX_ISSUES,
        }
    }

    /// Refuses what is over it.
    pub(crate) fn check(self, found: usize) -> Result<(), QueueError> {
        if found > self.most() { Err(QueueError::TooMuch { bound: self, found }) } else { Ok(()) }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Title => "the title",
            Self::Description => "the description",
            Self::Comment => "the comment",
            Self::Text => "the text",
            Self::Metadata => "the metadata",
            Self::Dependencies => "the issue",
            Self::Issues => "the import",
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Dependencies => "dependencies",
            Self::Issues => "issues",
            _ => "bytes",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Title => "write the rest into the description",
            Self::Dependencies => "put issues between them",
            Self::Issues => "split it",
            _ => "put it into a file and name that",
        }
    }
}

/// A link to another issue that holds up neither of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    /// What the other one is to this one.
    pub kind: LinkKind,
    /// The other one; it need not be there.
    pub to: IssueId,
}

/// What another issue is to one, apart from standing in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LinkKind {
    /// About the same thing.
    Related,
    /// What this one is a part of.
    ParentChild,
    /// What was being worked on when this one was found.
    DiscoveredFrom,
}

impl LinkKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Related, Self::ParentChild, Self::DiscoveredFrom];

    /// The name in files: `parent-child`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Related => "related",
            Self::ParentChild => "parent-child",
            Self::DiscoveredFrom => "discovered-from",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the queue knows of an issue beside what it is about.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Details {
    /// Who is to do it, as people named them; means nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// What it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<IssueId>,
    /// What was being worked on when it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovered_from: Option<IssueId>,
    /// What stands in its way, while it is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking_notes: Option<String>,
    /// What its worker asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The answer to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// What came out, cut at 64 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why it failed, was closed or goes to another pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many attempts have failed since it was opened, reopened or retried by somebody.
    pub retry_count: u32,
    /// Counts up whenever it can be claimed anew: another round is another run.
    pub round: u64,
    /// Its next worker goes on in the session that it has.
    #[serde(skip_serializing_if = "is_false")]
    pub resume: bool,
    /// The run that has claimed it has begun its session.
    #[serde(skip_serializing_if = "is_false")]
    pub started: bool,
    /// It was blocked by a worker while it had dependencies; it is open again once those are done.
    #[serde(skip_serializing_if = "is_false")]
    pub waits_for_needs: bool,
    /// Not before this time, by the clock of whoever claims it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When it was made elsewhere, before it was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Timestamp>,
    /// When it was completed or closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The event of the log after which it could be claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<EventId>,
    /// Other issues that hold it up in no way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What is in [`IssueRow::body`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) title: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bundle: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) extra: Map<String, Value>,
    #[serde(default)]
    pub(super) details: Details,
}

impl Body {
    pub(super) fn of(row: &IssueRow) -> Result<Self, QueueError> {
        row.body.decode().map_err(|source| QueueError::Damaged { issue: row.id.clone(), source })
    }

    /// The body as it is stored, if all is within its bounds.
    pub(super) fn encode(&self) -> Result<Payload, QueueError> {
        if self.title.trim().is_empty() {
            return Err(QueueError::Empty { what: "the title" });
        }
        Bound::Title.check(self.title.len())?;
        Bound::Description.check(self.description.len())?;
        for map in [&self.metadata, &self.extra] {
            Bound::Metadata.check(if map.is_empty() { 0 } else { json_bytes(map) })?;
        }
        let Details { assignee, blocking_notes, question, answer, reason, links, .. } = &self.details;
        for text in [assignee, blocking_notes, question, answer, reason, &self.bundle].into_iter().flatten() {
            Bound::Text.check(text.len())?;
        }
        Bound::Dependencies.check(links.len())?;
        Payload::encode(self).map_err(|error| QueueError::Event(error.into()))
    }
}

fn json_bytes(map: &Map<String, Value>) -> usize {
    serde_json::to_string(map).map_or(usize::MAX, |text| text.len())
}

/// An issue as the queue has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueuedIssue {
    /// What it is about, and where it stands.
    pub issue: Issue,
    /// The rest that people and workers have said of it.
    pub details: Details,
    /// Its place in the order in which issues were opened.
    pub place: u64,
    /// How often it was written.
    pub revision: u64,
    /// How many of its dependencies are not done.
    pub unmet: u32,
    /// The run that has claimed it.
    pub run: Option<RunId>,
    /// The session that works on it, or worked on it last.
    pub session: Option<SessionId>,
    /// When it was added to the queue, by the store's clock.
    pub created: Timestamp,
    /// When it was last written, by the store's clock; also when an issue began to depend on it.
    pub updated: Timestamp,
}

impl QueuedIssue {
    /// The issue of a row.
    pub fn of(row: &IssueRow) -> Result<Self, QueueError> {
        Self::new(row, Body::of(row)?)
    }

    pub(super) fn new(row: &IssueRow, body: Body) -> Result<Self, QueueError> {
        let mut issue = Issue::new(row.id.clone(), body.title, body.description);
        issue.issue_type = IssueType::new(&row.issue_type)?;
        issue.priority = Priority::new(row.priority.into())?;
        issue.status = row.status;
        issue.depends_on.clone_from(&row.needs);
        (issue.metadata, issue.bundle, issue.extra) = (body.metadata, body.bundle, body.extra);
        Ok(Self {
            issue,
            details: body.details,
            place: row.place,
            revision: row.revision,
            unmet: row.unmet,
            run: row.run.clone(),
            session: row.session.clone(),
            created: row.created,
            updated: row.updated,
        })
    }

    /// True if a run may claim it: it is open, nothing that it depends on is missing, and no run has it.
    pub fn is_ready(&self) -> bool {
        self.issue.status == IssueStatus::Open && self.unmet == 0 && self.run.is_none()
    }

    /// True if it waits for something other than a worker.
    pub fn is_blocked(&self) -> bool {
        self.issue.status == IssueStatus::Blocked
            || (self.issue.status == IssueStatus::Open && self.unmet > 0)
    }

    /// When it was made, also if that was elsewhere.
    pub fn opened_at(&self) -> Timestamp {
        self.details.opened_at.unwrap_or(self.created)
    }
}

/// A text cut at the bound of [`Bound::Text`], at the end of a character.
pub(super) fn cut(mut text: String) -> String {
    const MARK: &str = "\n[cut]";
    let most = Bound::Text.most();
    if text.len() > most {
        let end = (0..=most - MARK.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}
