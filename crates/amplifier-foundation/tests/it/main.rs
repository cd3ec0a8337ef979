//! Integration tests of the foundation, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test that is skipped says so")]

mod governor;
#[cfg(target_os = "linux")]
mod process;
mod storage;
mod storage_cost;
mod storage_damage;
mod storage_process;
mod storage_reference;
#[allow(dead_code, unreachable_pub, reason = "shared with the kernel's tests")]
#[path = "../../../amplifier-core/tests/it/support.rs"]
mod support;
