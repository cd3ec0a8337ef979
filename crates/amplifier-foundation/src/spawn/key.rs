//! Keys, which make sure that there is one session and no second.
//!
//! Guarantees: of any number of requests of one key, one opens a session; the others attach to it while it
//! runs here, and get its outcome once it has ended.

use std::time::Duration;

use amplifier_core::{AmplifierSession, Payload, SessionId};

use super::SpawnError;
use super::closed;
use super::commit::bounded;
use super::request::SpawnRequest;
use crate::host::Host;
use crate::store::{DedupKey, Write};

/// How long a key is remembered.
const RETAIN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A request's key, as the store knows it.
#[derive(Debug, Clone)]
pub(super) struct SessionKey(DedupKey);

impl SessionKey {
    /// The write that gives the key to a session.
    pub(super) fn put(&self, session: &SessionId) -> Result<Write, SpawnError> {
        let value = Payload::encode(session).map_err(SpawnError::KeyValue)?;
        Ok(Write::PutKey { key: self.0.clone(), value, retain: RETAIN })
    }
}

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
    match bounded(host, host.store().key(&key.0)).await? {
        Some(_) => attach(host, &key).await.map(Keyed::Known),
        None => Ok(Keyed::Free(Some(key))),
    }
}

/// The session of a key that is known.
pub(super) async fn attach(host: &Host, key: &SessionKey) -> Result<AmplifierSession, SpawnError> {
    let Some(value) = bounded(host, host.store().key(&key.0)).await? else {
        return Err(SpawnError::Abandoned);
    };
    let id: SessionId = value.decode().map_err(SpawnError::KeyValue)?;
    if let Some(live) = host.sessions().get(&id) {
        return Ok(live);
    }
    let row = bounded(host, host.store().session(&id)).await?;
    match row.map(|row| (row.settled, row.owner)) {
        Some((Some(settled), _)) => closed::session(host, &id, settled.outcome).await,
        Some((None, owner)) => Err(SpawnError::AlreadyRunning { session: id, owner: owner.to_string() }),
        None => Err(SpawnError::Abandoned),
    }
}
