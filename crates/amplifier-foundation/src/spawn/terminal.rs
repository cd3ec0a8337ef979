//! The terminal event of an activation: what it says beside the outcome.
//!
//! Guarantees: the same facts and the same outcome make the same event, whoever ends the activation.

use amplifier_core::env::SessionEnv;
use amplifier_core::{
    Activation, EventId, EventType, NewEvent, OutcomeKind, Payload, SessionEvent, SessionOutcome,
};
use serde_json::{Value, json};

use crate::host::Host;
use crate::storage::SessionMetadata;

/// Longest preview of the answer in a terminal event, in bytes.
const PREVIEW_BYTES: usize = 16 * 1024;

/// What the terminal event says of a session beside its outcome.
#[derive(Debug)]
pub(super) struct Facts {
    /// The event's id, made before it happens.
    pub(super) id: EventId,
    name: Option<String>,
    bundle: Option<String>,
    agent: Option<String>,
    metadata: serde_json::Map<String, Value>,
}

impl Facts {
    /// As a session is described.
    pub(super) fn of(host: &Host, metadata: &SessionMetadata) -> Self {
        let id = metadata.amplifier.terminal_event_id;
        Self {
            id: id.unwrap_or_else(|| EventId(host.ids().v7(host.clock().now()))),
            name: metadata.name.clone(),
            bundle: metadata.bundle.clone(),
            agent: metadata.agent_name.clone(),
            metadata: metadata.extra.clone(),
        }
    }

    /// The event of an activation of the session of these surroundings.
    pub(super) fn event(&self, env: &SessionEnv, activation: Activation, outcome: &SessionOutcome) -> NewEvent {
        let kind = match outcome.kind {
            OutcomeKind::Completed => EventType::SessionCompleted,
            _ => EventType::SessionError,
        };
        let payload = Payload::from(self.payload(env, activation, outcome));
        NewEvent::of(kind, payload).from_session(env.session.clone())
    }

    /// The same as the store takes it.
    pub(super) fn sealed(
        &self,
        host: &Host,
        env: &SessionEnv,
        activation: Activation,
        outcome: &SessionOutcome,
    ) -> SessionEvent {
        let event = self.event(env, activation, outcome);
        SessionEvent::seal(event, self.id, None, host.router().scope(), host.clock().now())
    }

    fn payload(&self, env: &SessionEnv, activation: Activation, outcome: &SessionOutcome) -> Value {
        let cut = outcome.output.floor_char_boundary(PREVIEW_BYTES);
        json!({
            "session_id": env.session,
            "activation": activation,
            "parent_id": env.parent,
            "root_id": env.root,
            "name": self.name,
            "bundle": self.bundle,
            "agent": self.agent,
            "outcome": outcome.kind,
            "output": outcome.output[..cut],
            "output_truncated": cut < outcome.output.len(),
            "error": outcome.error.as_ref().map(|error| json!({"kind": error.kind, "message": error.message})),
            "usage": outcome.usage,
            "cost_usd": outcome.cost_micro_usd.map(|micro| micro as f64 / 1e6),
            "duration_ms": outcome.duration_ms,
            "turns": outcome.turns,
            "run_id": null,
            "trigger_id": null,
            "metadata": self.metadata,
        })
    }
}
