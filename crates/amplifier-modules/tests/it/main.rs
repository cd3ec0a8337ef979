//! Integration tests of the modules, in one binary: sessions driven poll by poll with the
//! kernel's fakes, and real files, processes and servers on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, looks at real files, and nothing lies beyond its crate"
)]

mod builtin;
mod hooks;
mod loops;
#[cfg(feature = "http-providers")]
mod provider_bodies;
#[cfg(feature = "http-providers")]
mod provider_error;
#[cfg(feature = "http-providers")]
mod provider_fallback;
#[cfg(feature = "http-providers")]
mod provider_fork;
#[cfg(feature = "http-providers")]
mod provider_governor;
#[cfg(feature = "http-providers")]
mod provider_kit;
#[cfg(feature = "http-providers")]
mod provider_price;
#[cfg(feature = "http-providers")]
mod provider_request;
#[cfg(feature = "http-providers")]
mod provider_server;
#[cfg(feature = "http-providers")]
mod provider_split;
#[cfg(feature = "http-providers")]
mod provider_stream;
mod scripted;
#[allow(dead_code, reason = "shared with the kernel's tests")]
#[path = "../../../amplifier-core/tests/it/support.rs"]
mod support;
mod support_tools;
#[cfg(feature = "search")]
mod tool_access;
mod tool_apply_patch;
mod tool_bash;
mod tool_delegate;
mod tool_filesystem;
mod tool_processes;
mod tool_sandbox;
#[cfg(feature = "search")]
mod tool_schema;
#[cfg(feature = "search")]
mod tool_search;
mod tool_todo;
