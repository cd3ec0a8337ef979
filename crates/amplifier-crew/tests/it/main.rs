//! Integration tests of workers, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod issue_storage;
mod place;
mod worktree;
