//! Issues: pieces of work, one JSON object a line of a file.
//!
//! [`IssueList`] reads such a file, or takes issues that a program has made.
//!
//! Guarantees: there is no list with a fault in it, and all faults are told at once, each with its line.
//! Never here: workers, and how it went; that is the foundation's.

mod graph;
mod list;
mod model;
mod parse;

pub use amplifier_core::IssueId;
pub use list::{IssueList, IssuesError, MAX_FILE_BYTES, MAX_ISSUES};
pub use model::{InvalidPriority, Issue, IssueStatus, IssueType, Priority};
pub use parse::InvalidIssue;
