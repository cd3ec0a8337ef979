//! Integration tests of workers, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod issue_storage;
mod place;
mod worktree;

/// Read by tests that start programs, written by those whose locks a program on its way into being would hold for
/// a moment: what is open in this process is open in its child until that runs its own program.
static PROGRAMS: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
