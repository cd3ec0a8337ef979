//! The built `amplifier`, as a person or a script meets it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod args;
mod background;
mod bundles;
#[cfg(target_os = "linux")]
mod chat;
#[cfg(target_os = "linux")]
mod chat_sessions;
mod children;
mod doctor;
mod events;
mod explain;
mod external;
mod formats;
mod hooks;
mod hooks_shell;
mod issues;
mod kit;
mod listening;
mod mcp;
mod mcp_official;
mod permissions;
#[cfg(target_os = "linux")]
mod person;
#[cfg(feature = "http-providers")]
mod providers;
mod reach;
mod runs;
mod schemas;
#[cfg(feature = "http-providers")]
mod services;
mod sessions;
mod signals;
mod skills;
#[cfg(feature = "http-providers")]
mod sources;
mod stdin;
mod terminal;
mod tools;
mod tree;
mod triggers;
mod trust;
mod upkeep;
#[cfg(feature = "web")]
mod web;

/// A terminal of one's own is made by a program of Linux.
#[cfg(not(target_os = "linux"))]
#[test]
#[ignore = "chats at a terminal need `setsid --ctty`, which is of Linux"]
fn chats_at_a_terminal_are_not_tested_here() {}
