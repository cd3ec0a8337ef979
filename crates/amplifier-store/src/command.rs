//! Commands: what one process asks of another that owns something.
//!
//! Guarantees: a command is kept until its owner takes it, or is dropped with its owner.
//! Never here: what a command does.

use amplifier_core::{Payload, Timestamp};

use super::OwnerId;
pub use super::name::CommandName;

/// A command that waits for its owner.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Command {
    /// Its place among all commands; a later one has a larger one.
    pub place: u64,
    /// Who is asked.
    pub to: OwnerId,
    /// What is asked: `cancel`.
    pub name: CommandName,
    /// The rest of it.
    pub payload: Payload,
    /// When it was sent, by the store's clock.
    pub sent: Timestamp,
}
