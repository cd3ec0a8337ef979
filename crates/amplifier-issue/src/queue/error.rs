//! Why the queue did not do what it was asked to.

use amplifier_core::env::EmitError;
use amplifier_core::{IssueId, RunId};
use amplifier_store::{IssueStatus, StoreError};

use super::body::Bound;
use crate::model::{InvalidIssueType, InvalidPriority};

/// Why the queue did not do what it was asked to. Nothing was changed then, but for
/// [`StoreError::InDoubt`] of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no such issue.
    #[error("there is no issue `{issue}`; list the issues to see which there are")]
    Unknown {
        /// The issue.
        issue: IssueId,
    },
    /// Issues of these ids are there.
    #[error("{} there already: {}; nothing was added, give others or leave the ids out", are(*.count), named(.issues, *.count))]
    Exists {
        /// Some of them, in the order in which they were given.
        issues: Vec<IssueId>,
        /// How many.
        count: usize,
    },
    /// An issue should depend on one that is not there.
    #[error("`{issue}` depends on `{needed}`, which is not there; add that one first")]
    UnknownNeed {
        /// The issue.
        issue: IssueId,
        /// What it should depend on.
        needed: IssueId,
    },
    /// An issue would depend on itself.
    #[error("`{}` would depend on itself: {}; take one of these dependencies away", .path.first().map_or("", IssueId::as_str), along(.path))]
    Cycle {
        /// From the issue along its dependencies back to it.
        path: Vec<IssueId>,
    },
    /// There is no such dependency.
    #[error("`{issue}` does not depend on `{needed}`")]
    NoDependency {
        /// The issue.
        issue: IssueId,
        /// What it does not depend on.
        needed: IssueId,
    },
    /// It stands so that this cannot be done to it.
    #[error("issue `{issue}` is {}, so it cannot be {wanted}; {help}", .status.as_str())]
    Status {
        /// The issue.
        issue: IssueId,
        /// Where it stands.
        status: IssueStatus,
        /// What was wanted: a word such as `answered`.
        wanted: &'static str,
        /// What can be done.
        help: &'static str,
    },
    /// Its question was answered by somebody else.
    #[error("the question of issue `{issue}` was answered by {by} already; add a comment instead")]
    AlreadyAnswered {
        /// The issue.
        issue: IssueId,
        /// Who answered.
        by: String,
    },
    /// What it depends on is not done.
    #[error("issue `{issue}` depends on {unmet} that are not done; complete those first")]
    Unmet {
        /// The issue.
        issue: IssueId,
        /// How many.
        unmet: u32,
    },
    /// Another run has it, or none.
    #[error("issue `{issue}` is not claimed by run `{run}`; leave it to whoever has it")]
    NotClaimed {
        /// The issue.
        issue: IssueId,
        /// Who asked.
        run: RunId,
    },
    /// Something is empty.
    #[error("{what} is empty; write at least one word")]
    Empty {
        /// What.
        what: &'static str,
    },
    /// Something is over its bound.
    #[error("{} has {found} {}, of {} at most; {}", .bound.what(), .bound.unit(), .bound.most(), .bound.help())]
    TooMuch {
        /// Which bound.
        bound: Bound,
        /// How much it is.
        found: usize,
    },
    /// A name is no type.
    #[error(transparent)]
    Type(#[from] InvalidIssueType),
    /// A number is no priority.
    #[error(transparent)]
    Priority(#[from] InvalidPriority),
    /// A row in the store was not written by this queue.
    #[error("issue `{issue}` in the store cannot be read; restore a backup")]
    Damaged {
        /// The issue.
        issue: IssueId,
        /// What is wrong with it.
        #[source]
        source: amplifier_core::payload::PayloadError,
    },
    /// Others have changed it each time that it was tried.
    #[error("issue `{issue}` is changed by others all the time; try again")]
    Contended {
        /// The issue.
        issue: IssueId,
    },
    /// The event of a change cannot be made.
    #[error("the event of the change cannot be made")]
    Event(#[from] EmitError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueueError {
    /// True if somebody else has changed what the change relies on, so that it may be read and planned again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if conflict(error))
    }
}

/// True if a commit was refused because an issue or a run is not as it was read.
pub(super) fn conflict(error: &StoreError) -> bool {
    matches!(error, StoreError::IssueIs { .. } | StoreError::RunIs { .. })
}

fn are(count: usize) -> &'static str {
    if count == 1 { "this issue is" } else { "these issues are" }
}

fn named(issues: &[IssueId], count: usize) -> String {
    let names: Vec<&str> = issues.iter().map(IssueId::as_str).collect();
    match count.saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn along(path: &[IssueId]) -> String {
    path.iter().map(IssueId::as_str).collect::<Vec<_>>().join(" → ")
}
