//! The sessions of a run: one an attempt, with all that it spawned.
//!
//! Guarantees: what an attempt has used is the sum over its session's activations and over all sessions of
//! its tree, as the store has them.

use std::sync::Arc;

use amplifier_core::{Activation, SessionId, SessionOutcome, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{ActivationId, SessionFilter, SessionRow, StoreError};
use serde::{Serialize, Serializer};

use super::row::Spent;

/// One attempt of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// Its session.
    pub session: SessionId,
    /// How often it was opened: more than once where it went on after its process was lost.
    pub activations: u32,
    /// How its last activation ended; `None` while it runs, or where it was deleted.
    pub outcome: Option<Arc<SessionOutcome>>,
    /// What it has used, with all that it spawned.
    pub spent: Spent,
    /// When it was opened first; `None` where it was deleted.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// True while a process works on it.
    pub works: bool,
    /// True if something in it was denied because nobody could be asked.
    pub asks: bool,
}

impl Attempt {
    /// Reads an attempt.
    pub(super) async fn read(host: &Host, number: u32, session: &SessionId) -> Result<Self, StoreError> {
        let mut attempt = Self {
            number,
            session: session.clone(),
            activations: 0,
            outcome: None,
            spent: Spent::default(),
            began: None,
            ended: None,
            works: false,
            asks: false,
        };
        let mut filter = SessionFilter::default();
        filter.root = Some(session.clone());
        loop {
            let rows = host.store().sessions(&filter).await?;
            for row in &rows {
                attempt.add(host, row).await?;
            }
            if rows.len() < filter.limit {
                return Ok(attempt);
            }
            filter.after = rows.last().map(|row| row.id.clone());
        }
    }

    /// Adds a session of the tree.
    async fn add(&mut self, host: &Host, row: &SessionRow) -> Result<(), StoreError> {
        let own = row.id == self.session;
        self.spent.sessions += 1;
        for earlier in 1..row.activation.0 {
            let of = ActivationId::new(row.id.clone(), Activation(earlier));
            if let Some(settled) = host.store().settled(&of).await? {
                self.spent.add(&settled.outcome, own);
            }
        }
        if let Some(settled) = &row.settled {
            self.spent.add(&settled.outcome, own);
            self.asks |= settled.outcome.denied_unasked;
        }
        if own {
            (self.began, self.activations) = (Some(row.created), row.activation.0);
            self.works = row.settled.is_none() && host.lives(&row.owner);
            self.outcome = row.settled.as_ref().map(|settled| Arc::clone(&settled.outcome));
            self.ended = row.settled.as_ref().map(|settled| settled.at);
        }
        Ok(())
    }
}

impl Serialize for Attempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            attempt: u32,
            session_id: &'a SessionId,
            activations: u32,
            outcome: Option<amplifier_core::OutcomeKind>,
            error: Option<&'a str>,
            began: Option<Timestamp>,
            ended: Option<Timestamp>,
            #[serde(flatten)]
            spent: Spent,
        }
        let outcome = self.outcome.as_deref();
        let error = outcome.and_then(|outcome| outcome.error.as_ref());
        let said = Said {
            attempt: self.number,
            session_id: &self.session,
            activations: self.activations,
            outcome: outcome.map(|outcome| outcome.kind),
            error: error.map(|error| error.message.as_str()),
            began: self.began,
            ended: self.ended,
            spent: self.spent,
        };
        said.serialize(serializer)
    }
}
