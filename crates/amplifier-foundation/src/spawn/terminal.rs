//! The terminal event of an activation: what it says of the session, beside the outcome.
//!
//! Guarantees: the same facts and the same outcome make the same event, whoever ends the activation.

use std::sync::Arc;

use amplifier_core::env::SessionEnv;
use amplifier_core::outcome::FailureKind;
use amplifier_core::{
    Activation, Cause, EventId, EventType, NewEvent, OutcomeKind, Payload, SessionEvent, SessionId,
    SessionOutcome, Usage,
};
use serde::Serialize;
use serde_json::Value;

use crate::host::Host;
use crate::storage::SessionMetadata;

/// Longest preview of the answer in a terminal event, in bytes.
const PREVIEW_BYTES: usize = 16 * 1024;

/// Where a session stands in its tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) session: &'a SessionId,
    pub(super) parent: Option<&'a SessionId>,
    pub(super) root: &'a SessionId,
}

/// What the terminal event says of a session beside its outcome.
#[derive(Debug)]
pub(super) struct Facts {
    /// The event's id, made before it happens.
    pub(super) id: EventId,
    described: Arc<SessionMetadata>,
}

impl Facts {
    /// Of a session as it is described.
    pub(super) fn of(host: &Host, metadata: &Arc<SessionMetadata>) -> Self {
        let id = metadata.amplifier.terminal_event_id;
        Self {
            id: id.unwrap_or_else(|| EventId(host.ids().v7(host.clock().now()))),
            described: Arc::clone(metadata),
        }
    }

    /// An outcome with what the terminal event says of it.
    pub(super) fn told(&self, env: &SessionEnv, outcome: Arc<SessionOutcome>) -> Final {
        let place = Place { session: &env.session, parent: env.parent.as_ref(), root: &env.root };
        self.told_at(place, outcome)
    }

    /// The same of a session that does not run here.
    pub(super) fn told_at(&self, place: Place<'_>, outcome: Arc<SessionOutcome>) -> Final {
        let payload = Payload::cut(&self.said(place, &outcome)).unwrap_or_else(|error| {
            tracing::error!(session = %place.session, %error, "a terminal event says nothing");
            Payload::null()
        });
        let cause = self.described.amplifier.cause;
        Final { outcome, payload, root: place.root.clone(), cause, recorded: true }
    }

    fn said<'a>(&'a self, place: Place<'a>, outcome: &'a SessionOutcome) -> Said<'a> {
        let cut = outcome.output.floor_char_boundary(PREVIEW_BYTES);
        let error = outcome.error.as_ref();
        let described = |key| self.described.extra.get(key).and_then(Value::as_str);
        Said {
            session_id: place.session,
            activation: outcome.activation,
            parent_id: place.parent,
            root_id: place.root,
            name: self.described.name.as_deref(),
            bundle: self.described.bundle.as_deref(),
            agent: self.described.agent_name.as_deref(),
            outcome: outcome.kind,
            output: &outcome.output[..cut],
            output_truncated: cut < outcome.output.len(),
            error: error.map(|error| SaidError { kind: error.kind, message: &error.message }),
            usage: outcome.usage,
            cost_usd: outcome.cost_micro_usd.map(|micro| micro as f64 / 1e6),
            duration_ms: outcome.duration_ms,
            turns: outcome.turns,
            run_id: described("run_id"),
            trigger_id: described("trigger_id"),
            metadata: &self.described.extra,
        }
    }
}

/// An outcome that counts, with the payload of its terminal event.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) outcome: Arc<SessionOutcome>,
    payload: Payload,
    root: SessionId,
    cause: Option<Cause>,
    /// The store has it, as far as it has said.
    pub(super) recorded: bool,
}

impl Final {
    fn event(&self, session: &SessionId) -> NewEvent {
        let kind = match self.outcome.kind {
            OutcomeKind::Completed => EventType::SessionCompleted,
            _ => EventType::SessionError,
        };
        NewEvent::of(kind, self.payload.clone())
            .from_session(session.clone())
            .below(self.root.clone())
            .caused_by(self.cause)
    }

    /// The terminal event of a session, as the store takes it.
    pub(super) fn sealed(&self, host: &Host, session: &SessionId, id: EventId) -> SessionEvent {
        SessionEvent::seal(self.event(session), id, None, host.router().scope(), host.clock().now())
    }
}

/// The payload of a terminal event.
#[derive(Serialize)]
struct Said<'a> {
    session_id: &'a SessionId,
    activation: Activation,
    parent_id: Option<&'a SessionId>,
    root_id: &'a SessionId,
    name: Option<&'a str>,
    bundle: Option<&'a str>,
    agent: Option<&'a str>,
    outcome: OutcomeKind,
    output: &'a str,
    output_truncated: bool,
    error: Option<SaidError<'a>>,
    usage: Usage,
    cost_usd: Option<f64>,
    duration_ms: u64,
    turns: u32,
    run_id: Option<&'a str>,
    trigger_id: Option<&'a str>,
    metadata: &'a serde_json::Map<String, Value>,
}

#[derive(Serialize)]
struct SaidError<'a> {
    kind: FailureKind,
    message: &'a str,
}
