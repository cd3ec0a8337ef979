//! End-to-end tests, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test that is skipped says so")]

mod api;
mod approval;
mod background;
#[cfg(target_os = "linux")]
mod background_crash;
mod consumers;
mod crash;
mod crew;
mod damage;
mod delegate;
mod delegate_context;
mod delegate_default;
mod delegate_faults;
mod delegate_resume;
mod docs_book;
mod docs_guarantees;
mod docs_promises;
#[cfg(target_os = "linux")]
mod files_damaged;
mod foreman_chat;
#[cfg(target_os = "linux")]
mod foreman_crash;
mod foreman_crew;
mod foreman_terminal;
mod host;
mod issue_run;
mod neighbours;
mod peer;
#[cfg(target_os = "linux")]
mod processes;
mod reach;
mod regressions;
mod router_events;
mod spawn;
mod spawn_bounds;
mod spawn_cancel;
mod spawn_modules;
mod spawn_preferences;
mod spawn_resume;
mod spawn_scenarios;
mod spawn_seen;
mod spawn_storage;
mod spawn_sweep;
#[cfg(target_os = "linux")]
mod store_crash;
mod store_damage;
mod store_processes;
mod tool_events;
mod tool_issue;
mod wire;
