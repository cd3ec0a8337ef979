//! Issues: pieces of work for workers.
//!
//! [`IssueList`] reads a file of them, one JSON object a line, or takes issues that a program has made.
//!
//! An [`IssueQueue`] holds those of a project, on its store.
//!
//! Guarantees: there is no list with a fault in it, and all faults are told at once, each with its line.
//! Never here: workers, and how it went.

#![warn(missing_docs)]

pub mod exchange;
mod graph;
mod list;
mod model;
mod parse;
pub mod queue;

pub use amplifier_core::IssueId;
pub use amplifier_store::{IssueCounts, IssueFilter, IssueOrder, IssueRow, IssueStatus, NoteKind};
pub use list::{IssueList, IssuesError, MAX_FILE_BYTES, MAX_ISSUES};
pub use model::{InvalidIssueType, InvalidPriority, Issue, IssueType, MAX_TYPE_BYTES, OwnType, Priority};
pub use parse::InvalidIssue;
pub use queue::{Actor, Edit, End, IssueQueue, NewIssue, QueueError, QueuedIssue};
