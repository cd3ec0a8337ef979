//! Issues: pieces of work, and workers for them.
//!
//! [`IssueList`] reads them from a file (`amplifier-issue` does), [`instruction()`] tells a worker what to do,
//! [`ForemanSessionStorage`] keeps what workers say with the issue it belongs to, and [`IssueRun`]
//! gives each issue a worker.
//!
//! Guarantees: what depends on something begins once that is completed, and not at all if it fails.
//! Every worker is a session like any other, started by `spawn_bundle`.
//! Never here: a queue that outlives its process, and a file of issues that is changed.

mod board;
mod instruction;
mod report;
mod run;
mod storage;

pub use amplifier_issue::{
    InvalidIssue, InvalidIssueType, InvalidPriority, Issue, IssueId, IssueList, IssueStatus, IssueType,
    IssuesError, MAX_FILE_BYTES, MAX_ISSUES, Priority,
};
pub use instruction::instruction;
pub use report::{IssueError, IssueResult, IssueState, RunReport, RunVerdict};
pub use run::{DEFAULT_CONCURRENT, IssueProgress, IssueRun, OnProgress};
pub use storage::{ForemanSessionStorage, ISSUE_ID};
