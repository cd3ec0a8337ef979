//! Turns and the session driver, driven poll by poll with fakes: no runtime, no real time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, and nothing lies beyond its crate"
)]

mod activity;
mod cut;
mod docs_events;
mod fallback;
mod gates;
mod model_calls;
mod prices;
mod reopened;
mod session;
#[allow(dead_code, reason = "shared with the tests of the foundation and the modules")]
mod support;
mod tools;
