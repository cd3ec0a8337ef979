//! Triggers as their users meet them: through streams, configurations and simulations.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

mod config;
mod cron;
#[cfg(feature = "watch")]
mod files;
mod kit;
mod model;
mod push;
mod registry;
mod timers;
mod webhooks;
