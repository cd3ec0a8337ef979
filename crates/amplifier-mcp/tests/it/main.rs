//! The protocol against programs and services that are real processes and real sockets.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod bad_servers;
mod client;
mod http;
mod kit;
mod start;
