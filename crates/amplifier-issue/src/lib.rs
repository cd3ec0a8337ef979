//! Issues: pieces of work for workers.
//!
//! [`IssueList`] reads a file of them, one JSON object a line, or takes issues that a program has made.
//!
//! Guarantees: there is no list with a fault in it, and all faults are told at once, each with its line.
//! Never here: workers, and how it went.

#![warn(missing_docs)]

mod graph;
mod list;
mod model;
mod parse;

pub use amplifier_core::IssueId;
pub use list::{IssueList, IssuesError, MAX_FILE_BYTES, MAX_ISSUES};
pub use model::{
    InvalidIssueType, InvalidPriority, Issue, IssueStatus, IssueType, MAX_TYPE_BYTES, OwnType, Priority,
};
pub use parse::InvalidIssue;
