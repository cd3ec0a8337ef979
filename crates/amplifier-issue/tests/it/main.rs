//! Integration tests of the queue of issues, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod exchange;
mod model;
mod queue;
mod race;
mod runs;
mod stage;
