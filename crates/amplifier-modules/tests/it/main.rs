//! Integration tests of the modules, in one binary.

#![allow(clippy::disallowed_methods, unreachable_pub)]

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
