//! Integration tests of the modules, in one binary: real files, real processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod support_tools;
#[cfg(feature = "search")]
mod tool_access;
mod tool_apply_patch;
mod tool_bash;
mod tool_filesystem;
mod tool_processes;
mod tool_sandbox;
#[cfg(feature = "search")]
mod tool_schema;
#[cfg(feature = "search")]
mod tool_search;
mod tool_todo;
