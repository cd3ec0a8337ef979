//! Steps 2 and 3: who the session is, and its first trace in the storage.
//!
//! Guarantees: after `Ok` the session is durable in the storage, open for
//! writing here, and marked as running under its activation.

use std::sync::Arc;

use amplifier_core::message::Message;
use amplifier_core::payload::PayloadError;
use amplifier_core::{Activation, EventId, Payload, SessionId};

use super::SpawnError;
use super::guarded::guarded;
use super::request::SpawnRequest;
use super::resolve::Resolved;
use crate::host::Host;
use crate::source::uri::bare;
use crate::storage::{KernelRecord, SessionMetadata, StorageError};

/// A session that is on record and open for writing.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) id: SessionId,
    pub(super) activation: Activation,
    pub(super) metadata: SessionMetadata,
    /// Messages of earlier activations.
    pub(super) history: Vec<Arc<Message>>,
    /// What the storage found amiss, for the user.
    pub(super) warnings: Vec<String>,
}

/// What the metadata says of an activation that is under way.
pub(super) const RUNNING: &str = "running";

/// `None`: what was resolved is outdated, another activation has ended meanwhile.
pub(super) async fn record(
    host: &Host,
    request: &SpawnRequest,
    resolved: &mut Resolved,
) -> Result<Option<Recorded>, SpawnError> {
    match resolved.earlier.take() {
        None => create(host, request, resolved).await.map(Some),
        Some((id, stored)) => {
            let before = stored.metadata.amplifier.activation;
            reopen(host, request, resolved, id, before).await
        }
    }
}

async fn reopen(
    host: &Host,
    request: &SpawnRequest,
    resolved: &Resolved,
    id: SessionId,
    before: Activation,
) -> Result<Option<Recorded>, SpawnError> {
    let activation = before.next();
    let stored = match guarded(&id, "open", host.storage().open(&id, activation)).await {
        Err(StorageError::Fenced { .. }) => return Ok(None),
        other => other?,
    };
    if stored.metadata.amplifier.activation != before {
        guarded(&id, "close", host.storage().close(&id)).await?;
        return Ok(None);
    }
    let (mut metadata, warnings) = (stored.metadata, stored.warnings);
    describe(host, request, resolved, &mut metadata, activation);
    Ok(Some(Recorded { id, activation, metadata, history: stored.transcript, warnings }))
}

async fn create(host: &Host, request: &SpawnRequest, resolved: &Resolved) -> Result<Recorded, SpawnError> {
    let id = match &request.session_id {
        Some(id) => id.clone(),
        None => SessionId::new(host.ids().v4().to_string()).map_err(StorageError::from)?,
    };
    let mut metadata = SessionMetadata::new(id.clone(), host.clock().now());
    metadata.add_extra(resolved.bundle.plan.session.metadata.0.clone());
    metadata.add_extra(request.metadata.clone());
    metadata.trace_id = Some(id.clone());
    metadata.turn_count = Some(0);
    describe(host, request, resolved, &mut metadata, Activation::FIRST);
    guarded(&id, "create", host.storage().create(&id, &metadata)).await?;
    let (history, warnings) = (Vec::new(), Vec::new());
    Ok(Recorded { id, activation: Activation::FIRST, metadata, history, warnings })
}

/// Fills in what this activation is: whose bundle, which directory, how far, under which bounds.
fn describe(
    host: &Host,
    request: &SpawnRequest,
    resolved: &Resolved,
    metadata: &mut SessionMetadata,
    activation: Activation,
) {
    if let Some(name) = &request.name {
        metadata.name = Some(name.clone());
    }
    metadata.bundle = Some(resolved.bundle.name.clone());
    metadata.working_dir = Some(resolved.cwd.clone());
    if activation != Activation::FIRST {
        metadata.last_updated = Some(host.clock().now());
    }
    let record = &mut metadata.amplifier;
    record.activation = activation;
    record.status = Some(RUNNING.to_owned());
    record.outcome = None;
    record.terminal_event_id = Some(EventId(host.ids().v7(host.clock().now())));
    record.bundle_source = Some(bare(&resolved.bundle_name));
    record.bundle_by_project = resolved.chosen_by_project;
    record.bundle_hash = Some(resolved.bundle.content_hash.clone());
    bounds(record, resolved).unwrap_or_else(|error| {
        tracing::warn!(%error, "permissions and limits could not be recorded");
    });
}

fn bounds(record: &mut KernelRecord, resolved: &Resolved) -> Result<(), PayloadError> {
    record.permissions = Some(Payload::encode(&resolved.permissions)?);
    record.limits = Some(Payload::encode(&resolved.limits)?);
    Ok(())
}

/// Takes back what `record` did for a session that cannot start.
pub(super) async fn undo(host: &Host, recorded: &Recorded) {
    let id = &recorded.id;
    let result = match guarded(id, "close", host.storage().close(id)).await {
        Ok(()) if recorded.activation == Activation::FIRST => {
            guarded(id, "delete", host.storage().delete(id)).await
        }
        other => other,
    };
    if let Err(error) = result {
        tracing::warn!(session = %recorded.id, %error, "a session that could not start left traces");
    }
}
