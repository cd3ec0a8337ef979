//! The session's row in the store, and the keys that make sure that there is one session and no second.
//!
//! Guarantees: of any number of requests of one key, one opens a session; the others attach to it while it
//! runs here, and get its outcome once it has ended.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{AmplifierSession, Payload, SessionId};

use super::SpawnError;
use super::closed;
use super::request::SpawnRequest;
use super::resolve::Resolved;
use crate::host::Host;
use crate::store::{ActivationId, Commit, DedupKey, Receipt, Repeated, Write};

/// How long a key is remembered.
const RETAIN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A request's key, as the store knows it.
#[derive(Debug, Clone)]
pub(super) struct SessionKey(DedupKey);

/// What is known of a request's key.
pub(super) enum Keyed {
    /// There is a session of it.
    Known(AmplifierSession),
    /// There is none, or the request has no key.
    Free(Option<SessionKey>),
}

pub(super) async fn look_up(host: &Host, request: &SpawnRequest) -> Result<Keyed, SpawnError> {
    let Some(key) = &request.spec.key else { return Ok(Keyed::Free(None)) };
    let key = SessionKey(DedupKey::new(format!("session/{key}"))?);
    match host.store().key(&key.0).await? {
        Some(_) => Box::pin(attach(host, &key)).await.map(Keyed::Known),
        None => Ok(Keyed::Free(Some(key))),
    }
}

/// Opens the activation in the store; false if another session of the key was first.
pub(super) async fn open(
    host: &Host,
    session: &AmplifierSession,
    resolved: &Resolved,
    key: Option<&SessionKey>,
) -> Result<bool, SpawnError> {
    let env = session.env();
    let bundle = Some(Arc::from(resolved.plan.bundle.content_hash.as_str()));
    let of = ActivationId::new(env.session.clone(), env.activation);
    let (owner, parent, root) = (host.0.owner.clone(), env.parent.clone(), env.root.clone());
    let mut commit = Commit::from(Write::Open { of, owner, parent, root, bundle });
    if let Some(SessionKey(key)) = key {
        let value = Payload::encode(session.id()).map_err(SpawnError::KeyValue)?;
        commit = commit.write(Write::PutKey { key: key.clone(), value, retain: RETAIN });
    }
    match host.store().commit(commit).await? {
        Receipt::Repeated(Repeated::Key { .. }) => Ok(false),
        _ => Ok(true),
    }
}

/// The session of a key that is known.
pub(super) async fn attach(host: &Host, key: &SessionKey) -> Result<AmplifierSession, SpawnError> {
    let Some(value) = host.store().key(&key.0).await? else { return Err(SpawnError::Abandoned) };
    let id: SessionId = value.decode().map_err(SpawnError::KeyValue)?;
    if let Some(live) = host.sessions().get(&id) {
        return Ok(live);
    }
    let row = host.store().session(&id).await?;
    match row.map(|row| (row.settled, row.owner)) {
        Some((Some(settled), _)) => closed::session(host, &id, settled.outcome).await,
        Some((None, owner)) => Err(SpawnError::AlreadyRunning { session: id, owner: owner.to_string() }),
        None => Err(SpawnError::Abandoned),
    }
}
