//! Keys, which make sure that there is one session and no second.
//!
//! Guarantees: of any number of requests of one key, one opens a session; the others attach to it while it
//! runs here, and get its outcome once it has ended. Those of one process begin one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::{AmplifierSession, Payload, SessionId, SessionOutcome};
use tokio::sync::OwnedMutexGuard;

use super::SpawnError;
use super::closed;
use super::commit::bounded;
use super::guarded::guarded;
use super::recover::recover_one;
use super::request::SpawnRequest;
use crate::host::Host;
use crate::storage::SessionStorage;
use amplifier_store::{DedupKey, Write};

/// How long a key is remembered.
const RETAIN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A request's key, as the store knows it.
#[derive(Debug, Clone)]
pub(super) struct SessionKey(DedupKey);

impl SessionKey {
    /// The key of a request that has one.
    pub(super) fn of(request: &SpawnRequest) -> Result<Option<Self>, SpawnError> {
        let Some(key) = &request.spec.key else { return Ok(None) };
        let bare = DedupKey::new(key.as_str())?;
        Ok(Some(Self(DedupKey::new(format!("session/{bare}"))?)))
    }

    /// The write that gives the key to a session.
    pub(super) fn put(&self, session: &SessionId) -> Result<Write, SpawnError> {
        let value = Payload::encode(session).map_err(SpawnError::KeyValue)?;
        Ok(Write::PutKey { key: self.0.clone(), value, retain: RETAIN })
    }

    /// Waits until no other request of this key is being started here.
    pub(super) async fn turn(&self, host: &Host) -> Turn {
        let name = self.0.as_str();
        let lock = Arc::clone(host.0.turns.lock().entry(name.to_owned()).or_default());
        let held = Some(lock.lock_owned().await);
        Turn { host: host.clone(), name: name.to_owned(), held }
    }

    /// The session of the key, if there is one; its storage is that of the request.
    pub(super) async fn known(
        &self,
        host: &Host,
        storage: &Arc<dyn SessionStorage>,
    ) -> Result<Option<AmplifierSession>, SpawnError> {
        let Some(value) = bounded(host, host.store().key(&self.0)).await? else { return Ok(None) };
        let id: SessionId = value.decode().map_err(SpawnError::KeyValue)?;
        if let Some(live) = host.sessions().get(&id) {
            return Ok(Some(live));
        }
        let mut row = bounded(host, host.store().session(&id)).await?;
        if let Some(left) = &row {
            match recover_one(host, left).await {
                Ok(None) => {}
                Ok(Some(_)) => row = bounded(host, host.store().session(&id)).await?,
                // The store cannot be told yet.
                Err(_) if left.owner == host.0.owner => {}
                Err(error) => return Err(error.into()),
            }
        }
        let outcome = match row.map(|row| (row.settled, row.owner)) {
            Some((Some(settled), _)) => settled.outcome,
            // It has ended here, and the store could not be told.
            Some((None, owner)) => match recorded(storage, &id).await {
                Some(outcome) if owner == host.0.owner => Arc::new(outcome),
                _ => return Err(SpawnError::AlreadyRunning { session: id, owner: owner.to_string() }),
            },
            None => return Err(SpawnError::Abandoned),
        };
        closed::session(host, storage, &id, outcome).await.map(Some)
    }
}

/// The outcome of a session that stands beside its transcript.
async fn recorded(storage: &Arc<dyn SessionStorage>, id: &SessionId) -> Option<SessionOutcome> {
    let stored = guarded(id, "load", storage.load(id)).await.ok()?;
    stored.metadata.amplifier.outcome?.decode().ok()
}

/// Requests that are being started, by key.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    // Held for a look-up or a change; never across an await.
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of one request of a key, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    host: Host,
    name: String,
    held: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut locks = self.host.0.turns.lock();
        // Who waits has taken a copy under the same lock.
        if locks.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.name);
        }
    }
}
