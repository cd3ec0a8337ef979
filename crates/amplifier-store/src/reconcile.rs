//! What becomes of sessions whose owner is gone.
//!
//! Guarantees: pure, so that several processes may reconcile at once: what they commit is
//! settled once. A session whose owner lives is left alone.
//! Never here: how an owner is known to live, and where an intent is read.

use std::sync::Arc;

use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_core::{EventId, OutcomeKind, SessionEvent, SessionOutcome, SessionStatus};

use super::{ActivationId, Commit, OwnerId, SessionRow, Write};

/// An outcome that an owner has written beside the transcript, before it could settle.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The outcome.
    pub outcome: Arc<SessionOutcome>,
    /// The id that the terminal event was to have.
    pub event: EventId,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The owner knew the outcome: it is adopted.
    Adopt(Intent),
    /// Nobody knows how it ended.
    Lost,
}

/// A session without a live owner.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Recovery {
    /// The activation that has no outcome.
    pub of: ActivationId,
    /// Who ran it.
    pub owner: OwnerId,
    /// What is to be done.
    pub verdict: Verdict,
}

/// Looks at `rows` for sessions that no live owner will settle.
///
/// `lives` says whether an owner lives; in doubt it says yes. `intent` reads what the owner
/// left of an activation; one of another activation is not taken for it.
pub fn reconcile<'a>(
    rows: impl IntoIterator<Item = &'a SessionRow>,
    lives: impl Fn(&OwnerId) -> bool,
    intent: impl Fn(&ActivationId) -> Option<Intent>,
) -> Vec<Recovery> {
    let left = rows.into_iter().filter(|row| row.status() == SessionStatus::Running && !lives(&row.owner));
    left.map(|row| {
        let of = row.last();
        let known = intent(&of).filter(|intent| intent.outcome.activation == of.activation);
        Recovery { of, owner: row.owner.clone(), verdict: known.map_or(Verdict::Lost, Verdict::Adopt) }
    })
    .collect()
}

impl Recovery {
    /// The outcome to settle with.
    pub fn outcome(&self) -> Arc<SessionOutcome> {
        match &self.verdict {
            Verdict::Adopt(intent) => Arc::clone(&intent.outcome),
            Verdict::Lost => {
                let message = "its process ended without an outcome; resume the session to go on";
                let error = OutcomeError::new(FailureKind::Lost, message);
                let activation = self.of.activation;
                Arc::new(SessionOutcome::new(OutcomeKind::Lost, activation, String::new(), Some(error)))
            }
        }
    }

    /// The commit that settles it. `event` is the terminal event; an adopted outcome gets the
    /// id that its owner had made.
    pub fn settle(&self, mut event: SessionEvent) -> Commit {
        if let Verdict::Adopt(intent) = &self.verdict {
            event.id = intent.event;
        }
        Write::Settle { of: self.of.clone(), outcome: self.outcome(), event: Box::new(event) }.into()
    }
}
