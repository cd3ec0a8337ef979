//! Why the router did not do what it was asked to.

use amplifier_core::event::InvalidName;
use amplifier_core::id::InvalidId;
use amplifier_store::StoreError;

use super::{Cursor, InvalidFilter};

/// Why the router did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// A filter makes no sense.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// A name is malformed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The name of a consumer is malformed.
    #[error(transparent)]
    Consumer(#[from] InvalidId),
    /// The router is shut down.
    #[error("the event router is shut down")]
    Closed,
    /// A cursor points to what was pruned, behind the end of the log (a restored backup), or into another log.
    #[error("the log does not hold that place; read on at the oldest event, {}", oldest.sequence)]
    Gone {
        /// The oldest place that can be read.
        oldest: Cursor,
    },
    /// A durable consumer was to go on from a place that the log no longer holds. Its next read goes on at
    /// the oldest event.
    #[error("consumer `{consumer}` has lost up to {missed} events, which were pruned; it goes on at {}", oldest.sequence)]
    Lost {
        /// The consumer.
        consumer: String,
        /// How many places of the log it lost; how many of them its filter would have passed nobody knows.
        missed: u64,
        /// Where it goes on.
        oldest: Cursor,
    },
    /// A durable consumer exists with another filter.
    #[error("consumer `{consumer}` has another filter; reset it, or choose another name")]
    FilterChanged {
        /// The consumer.
        consumer: String,
    },
    /// Somebody reset the consumer meanwhile.
    #[error("consumer `{consumer}` was reset; open it again")]
    Reset {
        /// The consumer.
        consumer: String,
    },
    /// The lease has run out and somebody else has the event, or has acknowledged it.
    #[error("the lease on event {sequence} is lost; the event is delivered again")]
    LeaseLost {
        /// The event's place in the log.
        sequence: u64,
    },
    /// The store could not be read or written.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for RouterError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone { oldest } => Self::Gone { oldest },
            StoreError::Closed => Self::Closed,
            other => Self::Store(other),
        }
    }
}

impl From<std::convert::Infallible> for RouterError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
