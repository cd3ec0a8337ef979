//! Worker pools: from a queue of issues to sessions that work on them.
//!
//! A pool is a background session like any other, whose trigger is an issue that is ready. A [`Crew`] is all pools
//! of a [`CrewConfig`]; [`routing`] says which one an issue goes to, [`prompt`] is what a worker is told, and
//! [`worktree`] gives each worker a folder of its own. [`issue`] works on a file of issues without any of that.
//!
//! Guarantees: every worker is started by `spawn_bundle`, and an issue has one worker at a time.
//! Never here: a second scheduler, a second way to start a session, HTTP, a command line.

#![warn(missing_docs)]

pub mod config;
pub mod crew;
pub mod issue;
pub mod prompt;
pub mod routing;
pub mod storage;
pub mod worktree;

pub use config::{CrewConfig, CrewFile, PoolConfig};
pub use crew::{Crew, CrewError};
pub use routing::{NoPool, Routing};
pub use storage::ForemanSessionStorage;
