//! The built-in modules in sessions, driven poll by poll with the kernel's fakes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test fails by panicking, looks at real files, and nothing lies beyond its crate"
)]

mod builtin;
mod hooks;
mod loops;
mod scripted;
#[allow(dead_code, reason = "shared with the kernel's tests")]
#[path = "../../../amplifier-core/tests/it/support.rs"]
mod support;
