//! A storage out of anything that can save and load a whole session.
//!
//! Guarantees: [`Snapshots`] keeps the contract of [`SessionStorage`] within this process, as
//! long as nothing else writes to the sessions below. An append saves the whole session, so it
//! costs as much as the session is long.
//! Never here: a lock between processes; a backend that is shared must refuse older
//! activations itself (`metadata.amplifier.activation`).

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::{Activation, Message, SessionId};
use async_trait::async_trait;

use super::{
    Holder, Revision, SessionMetadata, SessionQuery, SessionStorage, SessionSummary, StorageError,
    StoredSession, is_kept,
};
use crate::redact::Redactor;

/// The simple protocol: three methods. Errors of a backend go into [`StorageError::Backend`].
#[async_trait]
pub trait SnapshotStorage: Debug + Send + Sync {
    /// Replaces the session as a whole. `Ok`: durable. `Err`: the old one is still there.
    async fn save(
        &self,
        id: &SessionId,
        transcript: &[Arc<Message>],
        metadata: &SessionMetadata,
    ) -> Result<(), StorageError>;

    /// What was saved last; `None` if nothing was. See [`StoredSession::new`].
    async fn load(&self, id: &SessionId) -> Result<Option<StoredSession>, StorageError>;

    /// True if the session was saved.
    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError>;

    /// Sessions, latest change first. Left out, it is `Unsupported`.
    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
        let _ = query;
        Err(StorageError::Unsupported { operation: "list" })
    }

    /// Removes a session. Left out, it is `Unsupported`.
    async fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        let _ = id;
        Err(StorageError::Unsupported { operation: "delete" })
    }
}

/// Makes a [`SessionStorage`] of a [`SnapshotStorage`].
#[derive(Debug)]
pub struct Snapshots<T> {
    backend: T,
    redactor: Redactor,
    // Held to find a slot, never across an await.
    slots: Mutex<HashMap<SessionId, Slot>>,
}

/// What is known of one session here. Held across the backend's calls, so that the operations of
/// one session come one after the other.
type Slot = Arc<tokio::sync::Mutex<Option<Open>>>;

#[derive(Debug, Clone)]
struct Open {
    activation: Activation,
    metadata: Arc<SessionMetadata>,
    transcript: Vec<Arc<Message>>,
}

impl<T: SnapshotStorage> Snapshots<T> {
    /// A storage that keeps its sessions in `backend`.
    pub fn new(backend: T) -> Self {
        Self::with_redactor(backend, Redactor::default())
    }

    /// The same, redacting the values that `redactor` knows from metadata as well.
    pub fn with_redactor(backend: T, redactor: Redactor) -> Self {
        Self { backend, redactor, slots: Mutex::default() }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<SessionId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, id: &SessionId) -> Slot {
        Arc::clone(self.slots().entry(id.clone()).or_default())
    }

    fn known_slot(&self, id: &SessionId) -> Option<Slot> {
        self.slots().get(id).cloned()
    }

    /// Forgets the slot of a session that is open nowhere.
    fn forget(&self, id: &SessionId, slot: Slot) {
        let mut slots = self.slots();
        // Two: the map's and this one. Whoever waits for the slot holds a third.
        if Arc::strong_count(&slot) == 2 && slot.try_lock().is_ok_and(|open| open.is_none()) {
            slots.remove(id);
        }
    }

    /// Saves what `change` makes of the open session, and keeps it if that went well.
    async fn change<R>(
        &self,
        id: &SessionId,
        activation: Activation,
        change: impl FnOnce(&mut Open) -> (Change, R) + Send,
    ) -> Result<R, StorageError> {
        let slot = self.slot(id);
        let mut open = slot.lock().await;
        let current = match open.as_ref() {
            Some(current) if current.activation > activation => {
                let current = current.activation;
                return Err(StorageError::Fenced { id: id.clone(), activation, current });
            }
            Some(current) if current.activation == activation => current,
            _ => return Err(StorageError::NotOpen { id: id.clone(), activation }),
        };
        let mut next = current.clone();
        let (changed, result) = change(&mut next);
        if matches!(changed, Change::Some) {
            self.backend.save(id, &next.transcript, &next.metadata).await?;
            *open = Some(next);
        }
        Ok(result)
    }
}

enum Change {
    None,
    Some,
}

fn locked(id: &SessionId) -> StorageError {
    StorageError::Locked { id: id.clone(), holder: Some(std::process::id()) }
}

#[async_trait]
impl<T: SnapshotStorage> SessionStorage for Snapshots<T> {
    async fn create(&self, id: &SessionId, metadata: &Arc<SessionMetadata>) -> Result<(), StorageError> {
        let metadata = metadata.redacted(id, &self.redactor)?;
        let slot = self.slot(id);
        let mut open = slot.lock().await;
        if open.is_some() || self.backend.exists(id).await? {
            return Err(StorageError::Exists { id: id.clone() });
        }
        self.backend.save(id, &[], &metadata).await?;
        *open = Some(Open { activation: metadata.amplifier.activation, metadata, transcript: Vec::new() });
        Ok(())
    }

    async fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError> {
        let slot = self.slot(id);
        let mut open = slot.lock().await;
        if open.is_some() {
            return Err(locked(id));
        }
        let mut stored = self.load(id).await?;
        let current = stored.metadata.amplifier.activation;
        if activation < current {
            return Err(StorageError::Fenced { id: id.clone(), activation, current });
        }
        stored.activation = activation;
        let (metadata, transcript) = (Arc::new(stored.metadata.clone()), stored.transcript.clone());
        *open = Some(Open { activation, metadata, transcript });
        Ok(stored)
    }

    async fn append(
        &self,
        id: &SessionId,
        activation: Activation,
        messages: &[Arc<Message>],
    ) -> Result<Revision, StorageError> {
        let kept: Vec<_> = messages.iter().filter(|message| is_kept(message)).cloned().collect();
        self.change(id, activation, |open| {
            let change = if kept.is_empty() { Change::None } else { Change::Some };
            open.transcript.extend(kept);
            (change, Revision(open.transcript.len() as u64))
        })
        .await
    }

    async fn describe(
        &self,
        id: &SessionId,
        activation: Activation,
        metadata: &Arc<SessionMetadata>,
    ) -> Result<(), StorageError> {
        let metadata = metadata.redacted(id, &self.redactor)?;
        self.change(id, activation, |open| {
            open.metadata = metadata;
            (Change::Some, ())
        })
        .await
    }

    async fn close(&self, id: &SessionId) -> Result<(), StorageError> {
        if let Some(slot) = self.known_slot(id) {
            *slot.lock().await = None;
            self.forget(id, slot);
        }
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<StoredSession, StorageError> {
        self.backend.load(id).await?.ok_or_else(|| StorageError::not_found(id))
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
        self.backend.list(query).await
    }

    async fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        let slot = self.slot(id);
        let open = slot.lock().await;
        if open.is_some() {
            return Err(locked(id));
        }
        if !self.backend.exists(id).await? {
            return Err(StorageError::not_found(id));
        }
        self.backend.delete(id).await
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        self.backend.exists(id).await
    }

    async fn holder(&self, id: &SessionId) -> Result<Option<Holder>, StorageError> {
        let open = match self.known_slot(id) {
            Some(slot) => slot.lock().await.is_some(),
            None => false,
        };
        Ok(open.then_some(Holder { process: Some(std::process::id()) }))
    }
}
