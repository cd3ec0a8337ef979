//! Sessions that nobody sits at, and workers for issues.
//!
//! Guarantees: every session of it is started by `spawn_bundle`, is owned by the host and has one outcome.
//! Never here: a second way to start a session, a second queue of runs, a clock or a file of its own.

#![warn(missing_docs)]

pub mod issue;

pub use amplifier_trigger as trigger;
pub use issue::ForemanSessionStorage;
