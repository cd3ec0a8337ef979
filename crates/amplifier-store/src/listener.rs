//! Who is told what the log has.
//!
//! Guarantees: a listener hears of each event once, after it is durable, in the order of the
//! log, whichever process wrote it; where something is missing, it is told so.

use std::fmt;
use std::sync::Arc;

use amplifier_core::SessionEvent;

use super::{Cursor, QueueName};

/// Somebody who follows a store: the feed of an event router.
///
/// Called by one thread at a time, with the store's locks held: whoever listens returns soon, and
/// never calls the store.
pub trait LogListener: Send + Sync {
    /// `events` follow on each other and on those of the call before.
    fn recorded(&self, events: &[Arc<SessionEvent>]);

    /// What lies between the last call and `resume` cannot be told: it was pruned, or could not be
    /// read. The next call begins at `resume` or behind it.
    fn missed(&self, resume: Cursor);

    /// Some owner was sent a command.
    fn commanded(&self);

    /// Runs were queued, anew or again: in these queues, each named at least once, or somewhere. What was
    /// queued before this process opened the store is not told.
    fn queued(&self, _queues: Option<&[QueueName]>) {}
}

/// An event that a store does not append without waiting.
pub struct Declined(pub Arc<SessionEvent>);

impl fmt::Debug for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Declined").field(&self.0.id).finish()
    }
}
