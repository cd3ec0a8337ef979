//! What is kept, and for how long.
//!
//! Guarantees: what is younger, among the last and within the bytes is kept. What a durable consumer
//! has not acknowledged is kept up to a bound of its own; what it loses is counted in the same
//! transaction, as counter `lost/<consumer>`, and it reads `Gone`. Runs that are dropped are counted
//! as `retired/<queue>`. What is not final is kept whatever its age, and issues are kept for ever.
//! Never here: keys, which say themselves how long they are kept.

use std::time::Duration;

use crate::ConsumerName;

/// Bounds; what lies beyond any of them is dropped. `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Keep {
    /// How old it may be, by the store's clock.
    pub age: Option<Duration>,
    /// How many there may be.
    pub count: Option<u64>,
    /// How many bytes they may hold, about: payloads and outputs, with something for each row.
    pub bytes: Option<u64>,
}

impl Keep {
    /// No bound at all.
    pub const FOR_EVER: Self = Self { age: None, count: None, bytes: None };

    /// With this bound on the age.
    #[must_use]
    pub const fn age(self, age: Duration) -> Self {
        Self { age: Some(age), ..self }
    }

    /// With this bound on the number.
    #[must_use]
    pub const fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// With this bound on the bytes.
    #[must_use]
    pub const fn bytes(self, bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..self }
    }

    /// Bounds on all three.
    pub const fn within(age: Duration, count: u64, bytes: u64) -> Self {
        Self { age: Some(age), count: Some(count), bytes: Some(bytes) }
    }
}

/// What is kept of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Events. By default 30 days, 1 million, 1 GiB.
    pub events: Keep,
    /// Events that some durable consumer has not acknowledged. By default 90 days, 10 million, 4 GiB.
    pub unacknowledged: Keep,
    /// Runs in a final state. By default 90 days, 100,000, 1 GiB.
    pub runs: Keep,
    /// Sessions of trees in which none runs, with their outcomes and grants. By default for ever.
    pub sessions: Keep,
    /// Commands that their owner has not taken. By default 7 days, 100,000, 64 MiB.
    pub commands: Keep,
    /// How many notes each issue keeps, the last ones; at least 1. Whatever their age. By default 10,000.
    pub notes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            events: Keep::within(days(30), 1_000_000, 1 << 30),
            unacknowledged: Keep::within(days(90), 10_000_000, 4 << 30),
            runs: Keep::within(days(90), 100_000, 1 << 30),
            sessions: Keep::FOR_EVER,
            commands: Keep::within(days(7), 100_000, 64 << 20),
            notes: 10_000,
        }
    }
}

/// What was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retained {
    /// Events.
    pub events: u64,
    /// Runs.
    pub runs: u64,
    /// Sessions.
    pub sessions: u64,
    /// Commands.
    pub commands: u64,
    /// Notes on issues.
    pub notes: u64,
    /// Events that a durable consumer had not acknowledged, by consumer.
    pub lost: Vec<(ConsumerName, u64)>,
}
