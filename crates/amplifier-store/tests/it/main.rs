//! Integration tests of the store, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test that is skipped says so")]

mod instance;
mod store;
mod store_crash;
mod store_faults;
mod store_history;
mod store_issues;
mod store_model;
mod store_sqlite;
