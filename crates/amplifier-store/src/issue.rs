//! Issues: rows with a revision, and notes that are only added.
//!
//! Guarantees: a row is as one commit left it; its place never changes, and its revision counts each
//! writing of it. Notes of an issue come in the order in which they were written.
//! Never here: what a status leads to, who may change it, and how many of an issue's needs are unmet. Whoever
//! writes the row says that.

use std::collections::BTreeMap;
use std::sync::Arc;

use amplifier_core::{IssueId, Payload, RunId, SessionId, Timestamp};

use super::DEFAULT_ROWS;

/// Where an issue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IssueStatus {
    /// It waits to be taken, or for what it needs.
    Open,
    /// Somebody works on it.
    InProgress,
    /// It cannot go on before somebody removes an obstacle.
    Blocked,
    /// It cannot go on before a person has answered.
    PendingUserInput,
    /// It is done.
    Completed,
    /// It was closed: done, or not to be done.
    Closed,
    /// It was tried as often as it may be.
    Failed,
}

use IssueStatus::{Blocked, Closed, Completed, Failed, InProgress, Open, PendingUserInput};

impl IssueStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [Open, InProgress, Blocked, PendingUserInput, Completed, Closed, Failed];

    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Open => "open",
            InProgress => "in_progress",
            Blocked => "blocked",
            PendingUserInput => "pending_user_input",
            Completed => "completed",
            Closed => "closed",
            Failed => "failed",
        }
    }

    /// The status of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// True if what needs this issue need not wait for it any more.
    pub fn is_done(self) -> bool {
        matches!(self, Completed | Closed)
    }
}

/// An issue as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssueRow {
    /// The issue.
    pub id: IssueId,
    /// Its place in the order in which issues were made, from 1. The store gives it once.
    pub place: u64,
    /// How often it was written. The store counts.
    pub revision: u64,
    /// Where it stands.
    pub status: IssueStatus,
    /// Its type, as whoever wrote it names it.
    pub issue_type: Arc<str>,
    /// The lower one is more urgent.
    pub priority: u8,
    /// What must be done before it begins, each once. They need not be there.
    pub needs: Vec<IssueId>,
    /// How many of them are not done, as whoever wrote it has counted.
    pub unmet: u32,
    /// The run that has claimed it.
    pub run: Option<RunId>,
    /// The session that works on it, or worked on it last.
    pub session: Option<SessionId>,
    /// When it was made, by the store's clock.
    pub created: Timestamp,
    /// When it was last written, by the store's clock.
    pub updated: Timestamp,
    /// The rest.
    pub body: Payload,
}

impl IssueRow {
    /// An open issue that needs nothing and that nobody has. Place, revision and times are the store's.
    pub fn new(id: IssueId, issue_type: impl Into<Arc<str>>, priority: u8, body: Payload) -> Self {
        let never = Timestamp::from_micros(0);
        Self {
            id,
            place: 0,
            revision: 0,
            status: Open,
            issue_type: issue_type.into(),
            priority,
            needs: Vec::new(),
            unmet: 0,
            run: None,
            session: None,
            created: never,
            updated: never,
            body,
        }
    }

    /// True if somebody may begin it: it is open, nothing that it needs is missing, no run has it.
    pub fn is_ready(&self) -> bool {
        self.status == Open && self.unmet == 0 && self.run.is_none()
    }
}

/// What a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NoteKind {
    /// What somebody has to say.
    Comment,
    /// What was changed.
    Change,
    /// What a person is asked.
    Question,
    /// What was answered.
    Answer,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Comment, Self::Change, Self::Question, Self::Answer];

    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Change => "change",
            Self::Question => "question",
            Self::Answer => "answer",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A note on an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssueNote {
    /// Its place in the order of all notes, whatever their issues.
    pub place: u64,
    /// What it is.
    pub kind: NoteKind,
    /// Who wrote it.
    pub actor: Arc<str>,
    /// The session in which it was written.
    pub session: Option<SessionId>,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What it says.
    pub body: Payload,
}

/// In which order issues come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum IssueOrder {
    /// That in which they were made.
    #[default]
    Place,
    /// By priority, the lowest number first, and then by place.
    Urgency,
}

impl IssueOrder {
    /// What an issue is sorted by: to be given as `after` of the next page.
    pub fn key(self, row: &IssueRow) -> (u8, u64) {
        match self {
            Self::Place => (0, row.place),
            Self::Urgency => (row.priority, row.place),
        }
    }
}

/// Which issues. By default all in the order of their places, [`DEFAULT_ROWS`] at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssueFilter {
    /// Only those that stand so; empty for any status.
    pub statuses: Vec<IssueStatus>,
    /// Only those of this type.
    pub issue_type: Option<Arc<str>>,
    /// Only those that need this one.
    pub needing: Option<IssueId>,
    /// Only those that a run has claimed, or only those that none has.
    pub claimed: Option<bool>,
    /// Only those that somebody may begin, see [`IssueRow::is_ready`].
    pub ready: bool,
    /// In which order.
    pub order: IssueOrder,
    /// Only those behind this key of the order, see [`IssueOrder::key`]. By place the first number is nothing.
    pub after: Option<(u8, u64)>,
    /// How many at most.
    pub limit: usize,
}

impl Default for IssueFilter {
    fn default() -> Self {
        Self {
            statuses: Vec::new(),
            issue_type: None,
            needing: None,
            claimed: None,
            ready: false,
            order: IssueOrder::Place,
            after: None,
            limit: DEFAULT_ROWS,
        }
    }
}

impl IssueFilter {
    /// Those that stand so.
    pub fn of(status: IssueStatus) -> Self {
        Self { statuses: vec![status], ..Self::default() }
    }

    /// Those that somebody may begin, the most urgent one first.
    pub fn ready() -> Self {
        Self { ready: true, order: IssueOrder::Urgency, ..Self::default() }
    }

    /// Those that need this one.
    pub fn needing(issue: IssueId) -> Self {
        Self { needing: Some(issue), ..Self::default() }
    }

    /// The most urgent one first.
    #[must_use]
    pub fn by_urgency(self) -> Self {
        Self { order: IssueOrder::Urgency, ..self }
    }

    /// Only those behind the last one of the page before.
    #[must_use]
    pub fn behind(self, last: &IssueRow) -> Self {
        Self { after: Some(self.order.key(last)), ..self }
    }

    /// At most so many.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// True if a row passes; `after` and `limit` apart.
    pub fn fits(&self, row: &IssueRow) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && self.issue_type.as_ref().is_none_or(|wanted| *wanted == row.issue_type)
            && self.needing.as_ref().is_none_or(|needed| row.needs.contains(needed))
            && self.claimed.is_none_or(|claimed| claimed == row.run.is_some())
            && (!self.ready || row.is_ready())
    }
}

/// How many issues there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IssueCounts {
    /// By status; one that no issue has is missing.
    pub by_status: BTreeMap<IssueStatus, u64>,
    /// Those that somebody may begin.
    pub ready: u64,
    /// Those that a run has claimed.
    pub claimed: u64,
}

impl IssueCounts {
    /// How many stand so.
    pub fn of(&self, status: IssueStatus) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.by_status.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for status in IssueStatus::ALL {
            assert_eq!(IssueStatus::from_name(status.as_str()), Some(status));
        }
        for kind in NoteKind::ALL {
            assert_eq!(NoteKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!((IssueStatus::from_name("done"), NoteKind::from_name("")), (None, None));
    }

    #[test]
    fn one_that_was_completed_or_closed_is_done_and_one_that_failed_is_not() {
        let done: Vec<_> = IssueStatus::ALL.into_iter().filter(|status| status.is_done()).collect();
        assert_eq!(done, [Completed, Closed]);
    }
}
