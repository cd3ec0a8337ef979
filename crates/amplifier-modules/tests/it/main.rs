//! Integration tests of the modules, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test fails by panicking, touches real files, and nothing lies beyond its crate"
)]

#[cfg(feature = "http-providers")]
mod provider_bodies;
#[cfg(feature = "http-providers")]
mod provider_error;
#[cfg(feature = "http-providers")]
mod provider_kit;
#[cfg(feature = "http-providers")]
mod provider_request;
#[cfg(feature = "http-providers")]
mod provider_server;
#[cfg(feature = "http-providers")]
mod provider_split;
#[cfg(feature = "http-providers")]
mod provider_stream;
