//! Causality: from an event back to what began its chain.
//!
//! Guarantees: each event and session is named once, nearest first; the chain ends at what nothing caused,
//! or says what is no longer known.

use std::sync::Arc;

use amplifier_core::{
    Activation, EventId, EventType, NewEvent, OutcomeKind, Payload, SessionEvent, SessionId,
};
use amplifier_store::{SessionRow, Settled};
use serde::Serialize;

use super::{EventRouter, RouterError};

/// Links that are followed at most; a chain of hops within any limit is far shorter.
const MAX_LINKS: usize = 10_000;
/// Longest preview of an answer in an end that was pruned, in bytes.
const PREVIEW_BYTES: usize = 16 * 1024;

/// One link of a chain of causes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Link {
    /// An event.
    Event(Arc<SessionEvent>),
    /// The session that emitted the event before; the store's row of it, if there is one.
    Session {
        /// The session.
        id: SessionId,
        /// What the store has of it.
        row: Option<Box<SessionRow>>,
    },
    /// An event that the log no longer holds. Nothing is known of what caused it.
    Pruned(EventId),
}

/// A chain of causes, from an event back to the first.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Why {
    /// Each is caused by the next: event, the session that emitted it, those above that session, the event
    /// that started it, and so on.
    pub links: Vec<Link>,
}

impl Why {
    /// True if the chain was followed to its beginning.
    pub fn is_complete(&self) -> bool {
        !matches!(self.links.last(), None | Some(Link::Pruned(_))) && self.links.len() < MAX_LINKS
    }

    fn add_session(&mut self, id: SessionId, row: Option<Box<SessionRow>>) -> bool {
        let known = |link: &Link| matches!(link, Link::Session { id: known, .. } if *known == id);
        let fresh = !self.links.iter().any(known) && self.links.len() < MAX_LINKS;
        if fresh {
            self.links.push(Link::Session { id, row });
        }
        fresh
    }

    fn holds(&self, event: EventId) -> bool {
        self.links.iter().any(|link| matches!(link, Link::Event(known) if known.id == event))
    }
}

impl EventRouter {
    /// The chain from an event back to its first cause. [`Why::links`] is just [`Link::Pruned`] for an event
    /// that the log does not hold.
    pub async fn why(&self, id: EventId) -> Result<Why, RouterError> {
        let mut why = Why::default();
        let mut next = Some(id);
        while let Some(id) = next.take() {
            if why.holds(id) || why.links.len() >= MAX_LINKS {
                break;
            }
            let Some(event) = self.0.store.event(id).await? else {
                why.links.push(Link::Pruned(id));
                break;
            };
            (next, why) = (event.causation, self.sessions_above(why, &event).await?);
        }
        Ok(why)
    }

    /// The event, the session that emitted it, and those that spawned that one.
    async fn sessions_above(&self, mut why: Why, event: &Arc<SessionEvent>) -> Result<Why, RouterError> {
        why.links.push(Link::Event(Arc::clone(event)));
        let mut above = event.source.clone();
        while let Some(id) = above.take() {
            let row = self.0.store.session(&id).await?.map(Box::new);
            let parent = row.as_ref().and_then(|row| row.parent.clone());
            if why.add_session(id, row) {
                above = parent;
            }
        }
        Ok(why)
    }
}

/// What an end says that was pruned: what the store still knows of it.
#[derive(Serialize)]
struct Said<'a> {
    session_id: &'a SessionId,
    activation: Activation,
    parent_id: Option<&'a SessionId>,
    root_id: &'a SessionId,
    outcome: OutcomeKind,
    output: &'a str,
    output_truncated: bool,
    error: Option<&'a amplifier_core::outcome::OutcomeError>,
    usage: amplifier_core::Usage,
    duration_ms: u64,
    turns: u32,
}

/// The terminal event of a session whose own one the log no longer holds.
pub(super) fn end_of(row: &SessionRow, settled: &Settled, scope: &Arc<str>) -> SessionEvent {
    let outcome = settled.outcome.as_ref();
    let cut = outcome.output.floor_char_boundary(PREVIEW_BYTES);
    let said = Said {
        session_id: &row.id,
        activation: row.activation,
        parent_id: row.parent.as_ref(),
        root_id: &row.root,
        outcome: outcome.kind,
        output: &outcome.output[..cut],
        output_truncated: cut < outcome.output.len(),
        error: outcome.error.as_ref(),
        usage: outcome.usage,
        duration_ms: outcome.duration_ms,
        turns: outcome.turns,
    };
    let kind = match outcome.kind {
        OutcomeKind::Completed => EventType::SessionCompleted,
        _ => EventType::SessionError,
    };
    let payload = Payload::cut(&said).unwrap_or_else(|_| Payload::null());
    let event = NewEvent::of(kind, payload).from_session(row.id.clone()).below(row.root.clone());
    SessionEvent::seal(event, settled.event, Some(settled.sequence), Arc::clone(scope), settled.at)
}
