//! Steps 4 and 5: who the session is, and its first trace in the storage.
//!
//! Guarantees: after `Ok` the session is durable in the storage, open for
//! writing here, and marked as running under its activation.

use std::sync::Arc;

use amplifier_core::message::Message;
use amplifier_core::{Activation, EventId, Payload, SessionId, SessionOutcome};

use super::SpawnError;
use super::closing;
use super::guarded::guarded;
use super::lineage::Parent;
use super::request::SpawnRequest;
use super::resolve::Resolved;
use crate::host::Host;
use crate::source::uri::bare;
use crate::storage::{
    KernelRecord, RecordCopy, SessionMetadata, SessionStorage, StorageError, middle, spans_of,
};
use amplifier_store::Intent;

/// A session that is on record and open for writing.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) id: SessionId,
    pub(super) activation: Activation,
    pub(super) metadata: Arc<SessionMetadata>,
    /// Messages of earlier activations.
    pub(super) history: Vec<Arc<Message>>,
    /// How the activation before this one ended, where that is on record.
    pub(super) before: Option<Intent>,
    /// What the storage found amiss, for the user.
    pub(super) warnings: Vec<String>,
    pub(super) storage: Arc<dyn SessionStorage>,
}

/// What the metadata says of an activation that is under way.
pub(crate) const RUNNING: &str = "running";

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
            Box::pin(reopen(host, request, resolved, id, before)).await
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
    let (activation, storage) = (before.next(), Arc::clone(&resolved.storage));
    let mut again = false;
    let stored = loop {
        match guarded(&id, "open", storage.open(&id, activation)).await {
            Err(StorageError::Fenced { .. }) => return Ok(None),
            Err(StorageError::Locked { .. }) if closing::is_over(host, &id, before, &mut again).await => {}
            other => break other?,
        }
    };
    if stored.metadata.amplifier.activation != before {
        guarded(&id, "close", storage.close(&id)).await?;
        return Ok(None);
    }
    let (mut metadata, warnings) = (stored.metadata, stored.warnings);
    let ended = intent(&metadata.amplifier);
    describe(host, request, resolved, &mut metadata, activation);
    let (metadata, history) = (Arc::new(metadata), stored.transcript);
    Ok(Some(Recorded { id, activation, metadata, history, before: ended, warnings, storage }))
}

/// The outcome that the last activation wrote beside its transcript.
pub(crate) fn intent(record: &KernelRecord) -> Option<Intent> {
    let outcome: SessionOutcome = record.outcome.as_ref()?.decode().ok()?;
    Some(Intent { outcome: Arc::new(outcome), event: record.terminal_event_id? })
}

async fn create(host: &Host, request: &SpawnRequest, resolved: &Resolved) -> Result<Recorded, SpawnError> {
    let span = resolved.parent.as_ref().map(|_| span(host));
    let id = match (&request.spec.session_id, &resolved.parent, &span) {
        (Some(id), ..) => id.clone(),
        (None, Some(parent), Some(span)) => child_id(parent, span, resolved)?,
        _ => SessionId::new(host.ids().v4().to_string()).map_err(StorageError::from)?,
    };
    let mut metadata = SessionMetadata::new(id.clone(), host.clock().now());
    metadata.add_extra(resolved.plan.section.metadata.0.clone());
    metadata.add_extra(request.spec.metadata.0.clone());
    metadata.trace_id = Some(id.clone());
    metadata.turn_count = Some(0);
    if let (Some(parent), Some(spawned)) = (&resolved.parent, &resolved.spawned) {
        let again = u32::from(spawned.agent.as_deref() == Some(super::plan::SELF));
        metadata.parent_id = Some(parent.node.id.clone());
        metadata.trace_id = Some(parent.node.root.clone());
        metadata.child_span = span;
        metadata.agent_name.clone_from(&spawned.agent);
        metadata.self_delegation_depth = Some(parent.node.self_depth * again + again);
    }
    describe(host, request, resolved, &mut metadata, Activation::FIRST);
    let metadata = Arc::new(metadata);
    let storage = Arc::clone(&resolved.storage);
    guarded(&id, "create", storage.create(&id, &metadata)).await?;
    let (history, warnings) = (resolved.forked.clone(), Vec::new());
    Ok(Recorded { id, activation: Activation::FIRST, metadata, history, before: None, warnings, storage })
}

/// Half a random UUID: 16 hex digits.
fn span(host: &Host) -> String {
    format!("{:016x}", host.ids().v4().as_u64_pair().0)
}

/// `<parent's span>-<own span>_<agent>`, the reference's form: of fixed length however deep, and
/// recognised as no top-level session by its `_`.
fn child_id(parent: &Parent, span: &str, resolved: &Resolved) -> Result<SessionId, SpawnError> {
    let above = parent_span(&parent.node.id, &parent.node.root);
    let name = resolved.agent().unwrap_or(&resolved.plan.bundle.name);
    let id = format!("{above}-{span}_{}", slug(name));
    Ok(SessionId::new(id).map_err(StorageError::from)?)
}

/// The parent's own span, else the middle of its root's UUID, else zeros.
fn parent_span(parent: &SessionId, root: &SessionId) -> String {
    let own = spans_of(parent.as_str()).map(|(_, own)| own.to_owned());
    own.or_else(|| middle(root.as_str())).unwrap_or_else(|| "0".repeat(16))
}

/// Lower case, everything but letters and digits as one `-`.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(64) {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => slug.push(c),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "agent".to_owned() } else { slug.to_owned() }
}

/// Fills in what this activation is: whose bundle, which directory, how far, under which bounds.
fn describe(
    host: &Host,
    request: &SpawnRequest,
    resolved: &Resolved,
    metadata: &mut SessionMetadata,
    activation: Activation,
) {
    if let Some(name) = &request.spec.name {
        metadata.name = Some(name.clone());
    }
    metadata.bundle = Some(resolved.plan.bundle.name.clone());
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
    let above = || resolved.parent.as_ref().and_then(|parent| parent.node.cause);
    record.cause = request.spec.cause.or(record.cause).or_else(above);
    record.bundle_hash = Some(resolved.plan.bundle.content_hash.clone());
    record.permissions = Some(RecordCopy::new(resolved.permissions.clone()));
    record.limits = Some(RecordCopy::new(resolved.bounds.recorded()));
    let spawned = resolved.spawned.as_ref().map(Payload::encode).transpose();
    record.spawn = spawned.unwrap_or_else(|error| {
        tracing::warn!(%error, "what the session inherits could not be recorded");
        None
    });
}

/// Takes back what `record` did for a session that cannot start. Somebody else may have gone on with it: its row
/// may be in the store, and its process may have hung since.
pub(super) async fn undo(recorded: &Recorded) {
    let (id, storage) = (&recorded.id, &recorded.storage);
    let result = match guarded(id, "close", storage.close(id)).await {
        Ok(()) if recorded.activation == Activation::FIRST => {
            guarded(id, "delete", storage.undo_create(id)).await
        }
        other => other,
    };
    if let Err(error) = result {
        tracing::warn!(session = %recorded.id, %error, "a session that could not start left traces");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_id_has_the_references_form_at_every_depth() {
        let check = |parent: &str, root: &str, expect: &str| {
            let id = |text: &str| SessionId::new(text).unwrap();
            assert_eq!(parent_span(&id(parent), &id(root)), expect);
        };
        let root = "a1b2c3d4-e5f6-4a1b-8c2d-3e4f5a6b7c8d";
        check(root, root, "e5f64a1b8c2d3e4f");
        check("e5f64a1b8c2d3e4f-0123456789abcdef_explorer", root, "0123456789abcdef");
        check("mine", "mine", "0000000000000000");
        for (name, expect) in [
            ("Web Research/v2", "web-research-v2"),
            ("foundation:explorer", "foundation-explorer"),
            ("…", "agent"),
        ] {
            assert_eq!(slug(name), expect);
        }
    }
}
