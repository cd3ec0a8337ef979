//! Causality: from an event back to what began its chain.
//!
//! Guarantees: each event, session and run is named once, nearest first; the chain ends at what nothing
//! caused, or says what is no longer known.

use std::sync::Arc;

use amplifier_core::{
    Activation, EventId, EventType, NewEvent, OutcomeKind, Payload, SessionEvent, SessionId, TriggerId,
};
use amplifier_store::{RunFilter, RunRow, SessionRow, Settled};
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
    /// The session that emitted the event before, or that spawned the session before.
    Session {
        /// The session.
        id: SessionId,
        /// What the store has of it, if it has anything.
        row: Option<Box<SessionRow>>,
    },
    /// The run that the session before is an attempt of.
    Run(Arc<RunRow>),
    /// The trigger whose firing became the run before.
    Trigger {
        /// The trigger.
        id: TriggerId,
        /// The run, whose payload says more of the firing.
        run: Arc<RunRow>,
    },
    /// An event that the log no longer holds. Nothing is known of what caused it.
    Pruned(EventId),
}

/// A chain of causes, from an event back to the first.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Why {
    /// Each is caused by the next: event, the session that emitted it, those above that session, the run that
    /// it is an attempt of, the trigger that fired, the event that fired it, and so on. An event that the
    /// same session emitted because of an earlier one stands before the session. Where an event has a cause
    /// that did not start its session, what started the session follows at the end.
    pub links: Vec<Link>,
}

impl Why {
    /// True if the chain was followed to its beginning.
    pub fn is_complete(&self) -> bool {
        let pruned = |link: &Link| matches!(link, Link::Pruned(_));
        !self.links.is_empty() && !self.links.iter().any(pruned) && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.links.len() >= MAX_LINKS
    }

    fn holds_session(&self, id: &SessionId) -> bool {
        self.links.iter().any(|link| matches!(link, Link::Session { id: known, .. } if known == id))
    }

    fn holds(&self, event: EventId) -> bool {
        self.links.iter().any(|link| match link {
            Link::Event(known) => known.id == event,
            Link::Pruned(known) => *known == event,
            _ => false,
        })
    }
}

/// Reads out of a run which event of the log its trigger has answered.
type Answers<'a> = &'a (dyn Fn(&RunRow) -> Option<EventId> + Send + Sync);

impl EventRouter {
    /// The chain from an event back to its first cause. [`Why::links`] is just [`Link::Pruned`] for an event
    /// that the log does not hold.
    pub async fn why(&self, id: EventId) -> Result<Why, RouterError> {
        self.why_with(id, &|_| None).await
    }

    /// The same by somebody who knows what the payloads of runs say: `answers` tells which event of the log
    /// a run answers, so that the chain goes on there also if no event names it as its cause.
    pub async fn why_with(&self, id: EventId, answers: Answers<'_>) -> Result<Why, RouterError> {
        let mut why = Why::default();
        // Those that started sessions, to be followed once the direct causes are at their end.
        let mut others = Vec::new();
        let (mut next, mut speaker) = (Some(id), None);
        while let Some(id) = next.take().or_else(|| others.pop()) {
            if why.holds(id) || why.is_full() {
                continue;
            }
            let event = self.0.store.event(id).await?;
            let source = event.as_ref().and_then(|event| event.source.clone());
            if speaker != source {
                others.extend(self.started(&mut why, speaker.take(), answers).await?);
            }
            next = event.as_ref().and_then(|event| event.causation);
            why.links.push(event.map_or(Link::Pruned(id), Link::Event));
            speaker = source;
            if next.is_none_or(|next| why.holds(next)) {
                others.extend(self.started(&mut why, speaker.take(), answers).await?);
            }
        }
        Ok(why)
    }

    /// Adds the session, those that spawned it, and the runs and triggers that they came of; the events that
    /// those have answered.
    async fn started(
        &self,
        why: &mut Why,
        session: Option<SessionId>,
        answers: Answers<'_>,
    ) -> Result<Vec<EventId>, RouterError> {
        let (mut above, mut answered) = (session, Vec::new());
        while let Some(id) = above.take().filter(|id| !why.holds_session(id) && !why.is_full()) {
            let row = self.0.store.session(&id).await?.map(Box::new);
            above = row.as_ref().and_then(|row| row.parent.clone());
            why.links.push(Link::Session { id: id.clone(), row });
            for run in self.0.store.runs(&RunFilter::of_session(id)).await? {
                let run = Arc::new(run);
                answered.extend(answers(&run));
                why.links.push(Link::Run(Arc::clone(&run)));
                why.links.extend(run.trigger.clone().map(|id| Link::Trigger { id, run }));
            }
        }
        Ok(answered)
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
