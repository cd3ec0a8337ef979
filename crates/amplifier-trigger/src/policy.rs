//! What holds for a trigger of any kind: overlap, misfire, debounce, age, jitter, end.
//!
//! Guarantees: the first variant of each policy is its default. Never here: carrying `overlap`,
//! `debounce` and, but for timers, `jitter` out; that is for whose queue it is.

use std::fmt;
use std::time::Duration;

use amplifier_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::TriggerEventId;
use crate::jitter::jitter;

/// What happens to a firing while all places of the pool are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// It waits.
    #[default]
    Queue,
    /// It is left out.
    Skip,
    /// It runs beyond the pool, up to the limit of the host.
    Allow,
    /// It takes the place of what runs. For a pool of one.
    CancelPrevious,
}

impl Overlap {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("queue", Self::Queue),
        ("skip", Self::Skip),
        ("allow", Self::Allow),
        ("cancel_previous", Self::CancelPrevious),
    ];
}

/// What happens to firings that were due while nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Misfire {
    /// One firing stands for all of them.
    #[default]
    Once,
    /// They are left out.
    Skip,
    /// Each is made up for, the oldest first, unless it is older than `max_age`.
    All,
}

impl Misfire {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("once", Self::Once), ("skip", Self::Skip), ("all", Self::All)];
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, value)| value == self).map_or("?", |(name, _)| name))
    }
}

/// The policies of one trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriggerPolicy {
    /// Firings beyond the pool.
    pub overlap: Overlap,
    /// Missed firings; `None` where it was not set and the kind decides: `once` for timers, `all` for
    /// events of the log.
    pub misfire: Option<Misfire>,
    /// How old a firing may be that is made up for, or that has waited for room; [`DEFAULT_MAX_AGE`] for a
    /// timer under `misfire: all`.
    pub max_age: Option<Duration>,
    /// Firings that follow each other within this span become one.
    pub debounce: Option<Duration>,
    /// Each firing is moved by a part of this span that follows from its id; zero: not at all.
    pub jitter: Duration,
    /// False: nothing fires, and nothing that is kept is lost.
    pub enabled: bool,
    /// After this time nothing is due any more.
    pub end_time: Option<Timestamp>,
}

/// The age up to which `misfire: all` makes up for firings, unless `max_age` says otherwise: a day.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(86_400);

impl Default for TriggerPolicy {
    fn default() -> Self {
        Self {
            overlap: Overlap::default(),
            misfire: None,
            max_age: None,
            debounce: None,
            jitter: Duration::ZERO,
            enabled: true,
            end_time: None,
        }
    }
}

/// Policies that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// `cancel_previous` names no run to cancel where several run at once.
    #[error("`overlap: cancel_previous` needs `pool_size: 1`, not {pool_size}; choose queue, skip or allow")]
    CancelPrevious {
        /// The size of the pool.
        pool_size: u32,
    },
}

impl TriggerPolicy {
    /// Checks them against the pool that they are used with.
    pub fn check_pool(&self, pool_size: u32) -> Result<(), PolicyError> {
        match self.overlap {
            Overlap::CancelPrevious if pool_size != 1 => Err(PolicyError::CancelPrevious { pool_size }),
            _ => Ok(()),
        }
    }

    /// By how much the run of this firing is moved; the same each time. A timer moves its firings itself.
    pub fn moved(&self, firing: &TriggerEventId) -> Duration {
        jitter(firing.as_str(), self.jitter)
    }

    /// The oldest age at which a missed firing is still made up for.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        match self.misfire {
            Some(Misfire::All) => Some(self.max_age.unwrap_or(DEFAULT_MAX_AGE)),
            _ => self.max_age,
        }
    }
}
