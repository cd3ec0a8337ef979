//! Cancellation in two levels, over the tree of sessions.
//!
//! Guarantees: a level never goes down; what reaches a parent reaches every
//! descendant, also one that is made later; the first reason is kept.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// How urgently a session shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelLevel {
    /// Not at all.
    None,
    /// Running tools finish, then the session stops.
    Graceful,
    /// Everything stops now; results that are missing are marked interrupted.
    Immediate,
}

/// Why a session is asked to stop; decides its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelReason {
    /// A person or program asked.
    Requested,
    /// A deadline has passed: the outcome is `TimedOut`.
    TimedOut,
    /// The future that awaited the session was dropped.
    Dropped,
    /// The host shuts down.
    Shutdown,
}

/// The handle by which a session is asked to stop, and asks whether it is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelToken(Arc<Node>);

#[derive(Debug)]
struct Node {
    graceful: CancellationToken,
    immediate: CancellationToken,
    reason: OnceLock<CancelReason>,
    parent: Option<CancelToken>,
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancelToken {
    /// A token without parent.
    pub fn new() -> Self {
        Self(Arc::new(Node {
            graceful: CancellationToken::new(),
            immediate: CancellationToken::new(),
            reason: OnceLock::new(),
            parent: None,
        }))
    }

    /// A token that stops when this one does, at once if it already has.
    pub fn child(&self) -> Self {
        Self(Arc::new(Node {
            graceful: self.0.graceful.child_token(),
            immediate: self.0.immediate.child_token(),
            reason: OnceLock::new(),
            parent: Some(self.clone()),
        }))
    }

    /// Raises the level. A lower one than before changes nothing.
    pub fn cancel(&self, level: CancelLevel, reason: CancelReason) {
        if level == CancelLevel::None {
            return;
        }
        if self.level() == CancelLevel::None {
            let _ = self.0.reason.set(reason);
        }
        self.0.graceful.cancel();
        if level == CancelLevel::Immediate {
            self.0.immediate.cancel();
        }
    }

    /// The level now.
    pub fn level(&self) -> CancelLevel {
        match (self.0.immediate.is_cancelled(), self.0.graceful.is_cancelled()) {
            (true, _) => CancelLevel::Immediate,
            (false, true) => CancelLevel::Graceful,
            (false, false) => CancelLevel::None,
        }
    }

    /// True from the graceful level on.
    pub fn is_cancelled(&self) -> bool {
        self.0.graceful.is_cancelled()
    }

    /// Why, once the level is not `None`: this token's own reason, else its nearest ancestor's.
    pub fn reason(&self) -> Option<CancelReason> {
        let mut token = Some(self);
        while let Some(CancelToken(node)) = token {
            if let Some(reason) = node.reason.get() {
                return Some(*reason);
            }
            token = node.parent.as_ref();
        }
        None
    }

    /// Resolves at the graceful level.
    pub async fn cancelled(&self) {
        self.0.graceful.cancelled().await;
    }

    /// Resolves at the immediate level.
    pub async fn cancelled_now(&self) {
        self.0.immediate.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_reaches_descendants_also_later_ones() {
        let root = CancelToken::new();
        let child = root.child();
        root.cancel(CancelLevel::Graceful, CancelReason::Requested);
        assert_eq!(child.level(), CancelLevel::Graceful);
        let late = child.child();
        assert_eq!((late.level(), late.reason()), (CancelLevel::Graceful, Some(CancelReason::Requested)));
        root.cancel(CancelLevel::Immediate, CancelReason::Shutdown);
        assert_eq!((late.level(), late.reason()), (CancelLevel::Immediate, Some(CancelReason::Requested)));
    }

    #[test]
    fn a_child_never_stops_its_parent_and_levels_never_fall() {
        let root = CancelToken::new();
        let child = root.child();
        child.cancel(CancelLevel::Immediate, CancelReason::TimedOut);
        assert_eq!((root.level(), root.reason()), (CancelLevel::None, None));
        child.cancel(CancelLevel::Graceful, CancelReason::Requested);
        assert_eq!((child.level(), child.reason()), (CancelLevel::Immediate, Some(CancelReason::TimedOut)));
    }
}
