//! Integration tests of the queue of issues, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod model;
mod queue;
mod race;
mod runs;
mod stage;
