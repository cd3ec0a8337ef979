//! Limits of a session and of the tree below it.
//!
//! Guarantees: [`Limits::stricter`] never loosens; a child's limits are its
//! parent's and its own, whichever is tighter.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds; `None` is no bound of this layer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Levels of children below a root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u32>,
    /// Descendants of one root that run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Descendants of one root in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_descendants: Option<u32>,
    /// Model calls of one activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// Time of one activation, in milliseconds. Like the two below it does not count the time in
    /// which the session waits for a person or for a rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Time until an activation's model or tools give a first sign of life, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_progress_ms: Option<u64>,
    /// Time of a turn in which nothing comes from a model and no tool runs, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// Tokens of the session and its descendants, requests and answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Cost of the session and its descendants, in millionths of a US dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_micro_usd: Option<u64>,
    /// Events that may follow each other in a chain of causes, before the next one or the next session is
    /// refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hops: Option<u32>,
}

impl Limits {
    /// The tighter of two, bound by bound.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        fn least<T: Ord + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            max_depth: least(self.max_depth, other.max_depth),
            max_concurrent: least(self.max_concurrent, other.max_concurrent),
            max_descendants: least(self.max_descendants, other.max_descendants),
            max_turns: least(self.max_turns, other.max_turns),
            timeout_ms: least(self.timeout_ms, other.timeout_ms),
            first_progress_ms: least(self.first_progress_ms, other.first_progress_ms),
            idle_ms: least(self.idle_ms, other.idle_ms),
            max_tokens: least(self.max_tokens, other.max_tokens),
            max_cost_micro_usd: least(self.max_cost_micro_usd, other.max_cost_micro_usd),
            max_hops: least(self.max_hops, other.max_hops),
        }
    }

    /// These bounds, and where there is none that of `fallback`.
    #[must_use]
    pub fn or(&self, fallback: &Self) -> Self {
        Self {
            max_depth: self.max_depth.or(fallback.max_depth),
            max_concurrent: self.max_concurrent.or(fallback.max_concurrent),
            max_descendants: self.max_descendants.or(fallback.max_descendants),
            max_turns: self.max_turns.or(fallback.max_turns),
            timeout_ms: self.timeout_ms.or(fallback.timeout_ms),
            first_progress_ms: self.first_progress_ms.or(fallback.first_progress_ms),
            idle_ms: self.idle_ms.or(fallback.idle_ms),
            max_tokens: self.max_tokens.or(fallback.max_tokens),
            max_cost_micro_usd: self.max_cost_micro_usd.or(fallback.max_cost_micro_usd),
            max_hops: self.max_hops.or(fallback.max_hops),
        }
    }

    /// The bound of one kind: a count, milliseconds, tokens or millionths of a US dollar.
    pub fn get(&self, kind: LimitKind) -> Option<u64> {
        match kind {
            LimitKind::Depth => self.max_depth.map(u64::from),
            LimitKind::Concurrent => self.max_concurrent.map(u64::from),
            LimitKind::Descendants => self.max_descendants.map(u64::from),
            LimitKind::Turns => self.max_turns.map(u64::from),
            LimitKind::Time => self.timeout_ms,
            LimitKind::FirstProgress => self.first_progress_ms,
            LimitKind::Idle => self.idle_ms,
            LimitKind::Tokens => self.max_tokens,
            LimitKind::Cost => self.max_cost_micro_usd,
            LimitKind::Hops => self.max_hops.map(u64::from),
        }
    }

    /// [`Limits::timeout_ms`] as a span.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("limit {limit} is reached: {used} of {value}, set by {set_by}")]
#[non_exhaustive]
pub struct LimitReached {
    /// Which limit.
    pub limit: LimitKind,
    /// Its value.
    pub value: u64,
    /// How much is used.
    pub used: u64,
    /// Who set it.
    pub set_by: String,
}

impl LimitReached {
    /// A limit that was reached.
    pub fn new(limit: LimitKind, value: u64, used: u64, set_by: impl Into<String>) -> Self {
        Self { limit, value, used, set_by: set_by.into() }
    }
}

/// The limits there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::max_depth`].
    Depth,
    /// [`Limits::max_concurrent`].
    Concurrent,
    /// [`Limits::max_descendants`].
    Descendants,
    /// [`Limits::max_turns`].
    Turns,
    /// [`Limits::timeout_ms`].
    Time,
    /// [`Limits::first_progress_ms`].
    FirstProgress,
    /// [`Limits::idle_ms`].
    Idle,
    /// [`Limits::max_tokens`].
    Tokens,
    /// [`Limits::max_cost_micro_usd`].
    Cost,
    /// [`Limits::max_hops`].
    Hops,
}

impl LimitKind {
    /// Every limit, in the order in which they are told.
    pub const ALL: [Self; 10] = [
        Self::Depth,
        Self::Concurrent,
        Self::Descendants,
        Self::Turns,
        Self::Time,
        Self::FirstProgress,
        Self::Idle,
        Self::Tokens,
        Self::Cost,
        Self::Hops,
    ];
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Depth => "max_depth",
            Self::Concurrent => "max_concurrent",
            Self::Descendants => "max_descendants",
            Self::Turns => "max_turns",
            Self::Time => "timeout_ms",
            Self::FirstProgress => "first_progress_ms",
            Self::Idle => "idle_ms",
            Self::Tokens => "max_tokens",
            Self::Cost => "max_cost",
            Self::Hops => "max_hops",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_stricter_of_two_is_within_both(a in proptest::option::of(0u32..9), b in proptest::option::of(0u32..9)) {
            let of = |max_turns| Limits { max_turns, ..Limits::default() };
            let both = of(a).stricter(&of(b)).max_turns;
            for one in [a, b].into_iter().flatten() {
                proptest::prop_assert!(both.is_some_and(|value| value <= one));
            }
            proptest::prop_assert_eq!(both.is_none(), a.is_none() && b.is_none());
        }
    }

    #[test]
    fn silences_are_bounded_like_everything_else() {
        let of = |first_progress_ms, idle_ms| Limits { first_progress_ms, idle_ms, ..Limits::default() };
        assert_eq!(of(Some(5), None).stricter(&of(Some(3), Some(9))), of(Some(3), Some(9)));
        assert_eq!(of(Some(5), None).or(&of(Some(3), Some(9))), of(Some(5), Some(9)));
        let text = serde_json::to_string(&of(Some(5), Some(6))).unwrap();
        assert_eq!(text, r#"{"first_progress_ms":5,"idle_ms":6}"#);
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), of(Some(5), Some(6)));
    }
}
