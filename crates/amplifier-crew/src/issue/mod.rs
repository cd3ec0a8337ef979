//! A file of issues, each with a worker of its own: what `foreman run` does, without a queue and its pools.
//!
//! [`IssueList`] reads them (`amplifier-issue` does), and [`IssueRun`] gives each issue a worker.
//!
//! Guarantees: what depends on something begins once that is completed, and not at all if it fails.
//! Every worker is a session like any other, started by `spawn_bundle`.
//! Never here: a queue that outlives its process, and a file of issues that is changed.

mod board;
mod report;
mod run;

pub use amplifier_issue::{
    InvalidIssue, InvalidIssueType, InvalidPriority, Issue, IssueId, IssueList, IssueStatus, IssueType,
    IssuesError, MAX_FILE_BYTES, MAX_ISSUES, Priority,
};
pub use report::{IssueError, IssueResult, IssueState, RunReport, RunVerdict};
pub use run::{DEFAULT_CONCURRENT, IssueProgress, IssueRun, OnProgress};
