//! Issues in files: those of the reference's issue manager, and our own, of one file.
//!
//! | file | one JSON object a line |
//! |---|---|
//! | `issues.jsonl` | `id, title, description, status, priority, issue_type, assignee, created_at, updated_at, closed_at, parent_id, discovered_from, blocking_notes, metadata` |
//! | `dependencies.jsonl` beside it | `from_id` waits for `to_id`; `dep_type` `blocks`, or `related`, `parent-child`, `discovered-from`, which hold nothing up; `created_at` |
//! | `events.jsonl` beside it | `id, issue_id, event_type, actor, changes, timestamp, session_id` |
//!
//! Guarantees: what is read and written again in the same shape says the same, unknown keys too. Times without
//! a zone are those of this machine's zone; times are written in UTC.
//! Never here: the files of a session.

#[cfg(test)]
mod fuzz;
mod read;
mod time;
mod write;

pub use read::Import;
pub use write::{ExportPage, Shape};
pub use write::{Line, line};
