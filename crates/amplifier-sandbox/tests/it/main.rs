//! Real programs, started on behalf of a session.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, looks at real files, and nothing lies beyond its crate"
)]

mod bench;
mod running;
