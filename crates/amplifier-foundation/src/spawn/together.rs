//! What somebody else makes durable together with the beginning and the end of an activation: the steps of a
//! run, and the events that follow from its end.
//!
//! Guarantees: what is added to the beginning holds or the session does not begin. What is added to the end
//! never stands in the way of an outcome: where it does not fit, the outcome is settled without it.

use std::fmt::Debug;
use std::future::ready;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{SessionEvent, SessionOutcome};
use amplifier_store::{ActivationId, Commit};

/// Writes that belong to an activation. Each call may come more than once, and says the same each time.
pub trait Together: Debug + Send + Sync {
    /// What the commit that opens the activation holds besides; if it does not fit, nothing is spawned.
    fn opening(&self, of: &ActivationId) -> Commit;

    /// Looks at what there is, and gets ready what [`Together::settling`] adds: before the commit that settles it,
    /// and again where that was refused because somebody else was first. True if it has looked, so that another
    /// try may go otherwise. It may take as long as the store may.
    fn prepare<'a>(&'a self, of: &'a ActivationId, outcome: &'a SessionOutcome) -> BoxFuture<'a, bool> {
        let _ = (of, outcome);
        Box::pin(ready(false))
    }

    /// What the commit that settles it holds besides; `event` is its terminal event. If it does not fit,
    /// the outcome is settled without it: whoever asked for it reads the outcome and sees to it.
    fn settling(&self, of: &ActivationId, outcome: &SessionOutcome, event: &SessionEvent) -> Commit;
}

/// The writes and conditions of both, `first` before `then`.
pub(super) fn both(first: Commit, then: Commit) -> Commit {
    let all = then.writes.into_iter().fold(first, Commit::write);
    then.expects.into_iter().fold(all, Commit::when)
}
