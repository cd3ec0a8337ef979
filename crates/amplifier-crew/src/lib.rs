//! Worker pools: from a queue of issues to sessions that work on them.
//!
//! A pool is a background session like any other, whose trigger is an issue that is ready. [`routing`] says which
//! pool an issue goes to.
//!
//! Guarantees: every worker is started by `spawn_bundle`, and an issue has one worker at a time.
//! Never here: a second scheduler, a second way to start a session, HTTP, a command line.

#![warn(missing_docs)]

pub mod routing;

pub use routing::{NoPool, Routing};
