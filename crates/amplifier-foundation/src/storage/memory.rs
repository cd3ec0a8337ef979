//! Sessions in memory: for tests and for hosts that open no file.
//!
//! Guarantees: the same contract as the file storage, within this process.
//! Never here: durability; `Ok` means held until the last clone is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::{Activation, Message, SessionId};
use async_trait::async_trait;

use super::{
    Holder, Revision, SessionMetadata, SessionQuery, SessionStorage, SessionSummary, StorageError,
    StoredSession, is_kept,
};
use crate::redact::Redactor;

/// Sessions in memory. Cheap to clone; clones share the sessions.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    redactor: Redactor,
    // Held for one operation on the map, never across an await.
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: HashMap<SessionId, Entry>,
    changes: u64,
}

#[derive(Debug)]
struct Entry {
    metadata: Arc<SessionMetadata>,
    transcript: Vec<Arc<Message>>,
    open: Option<Activation>,
    /// The number of the last change of the metadata, to sort by.
    changed: u64,
}

impl MemoryStorage {
    /// An empty storage that also redacts the values that `redactor` knows.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn get(&mut self, id: &SessionId) -> Result<&mut Entry, StorageError> {
        self.by_id.get_mut(id).ok_or_else(|| StorageError::not_found(id))
    }

    fn get_open(&mut self, id: &SessionId, activation: Activation) -> Result<&mut Entry, StorageError> {
        let not_open = || StorageError::NotOpen { id: id.clone(), activation };
        let entry = self.by_id.get_mut(id).ok_or_else(not_open)?;
        match entry.open {
            Some(current) if current > activation => {
                Err(StorageError::Fenced { id: id.clone(), activation, current })
            }
            Some(current) if current == activation => Ok(entry),
            _ => Err(not_open()),
        }
    }
}

impl Entry {
    fn stored(&self) -> StoredSession {
        StoredSession::new(SessionMetadata::clone(&self.metadata), self.transcript.clone())
    }

    fn check_closed(&self, id: &SessionId) -> Result<(), StorageError> {
        match self.open {
            Some(_) => Err(StorageError::Locked { id: id.clone(), holder: Some(std::process::id()) }),
            None => Ok(()),
        }
    }

    fn summary(&self, id: &SessionId) -> SessionSummary {
        let updated = self.metadata.last_updated.or(self.metadata.created);
        SessionSummary::new(id.clone(), &self.metadata, updated)
    }

    fn says(&self, summary: &SessionSummary, keyword: &str) -> bool {
        summary.says(keyword)
            || self.transcript.iter().any(|message| message.text().to_lowercase().contains(keyword))
    }
}

#[async_trait]
impl SessionStorage for MemoryStorage {
    async fn create(&self, id: &SessionId, metadata: &Arc<SessionMetadata>) -> Result<(), StorageError> {
        let metadata = metadata.redacted(id, &self.redactor)?;
        let mut sessions = self.lock();
        if sessions.by_id.contains_key(id) {
            return Err(StorageError::Exists { id: id.clone() });
        }
        let (open, changed) = (Some(metadata.amplifier.activation), sessions.change());
        let entry = Entry { metadata, transcript: Vec::new(), open, changed };
        sessions.by_id.insert(id.clone(), entry);
        Ok(())
    }

    async fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError> {
        let mut sessions = self.lock();
        let entry = sessions.get(id)?;
        entry.check_closed(id)?;
        let current = entry.metadata.amplifier.activation;
        if activation < current {
            return Err(StorageError::Fenced { id: id.clone(), activation, current });
        }
        entry.open = Some(activation);
        let mut stored = entry.stored();
        stored.activation = activation;
        Ok(stored)
    }

    async fn append(
        &self,
        id: &SessionId,
        activation: Activation,
        messages: &[Arc<Message>],
    ) -> Result<Revision, StorageError> {
        let mut sessions = self.lock();
        let entry = sessions.get_open(id, activation)?;
        entry.transcript.extend(messages.iter().filter(|message| is_kept(message)).cloned());
        Ok(Revision(entry.transcript.len() as u64))
    }

    async fn describe(
        &self,
        id: &SessionId,
        activation: Activation,
        metadata: &Arc<SessionMetadata>,
    ) -> Result<(), StorageError> {
        let metadata = metadata.redacted(id, &self.redactor)?;
        let mut sessions = self.lock();
        let changed = sessions.change();
        let entry = sessions.get_open(id, activation)?;
        (entry.metadata, entry.changed) = (metadata, changed);
        Ok(())
    }

    async fn close(&self, id: &SessionId) -> Result<(), StorageError> {
        if let Some(entry) = self.lock().by_id.get_mut(id) {
            entry.open = None;
        }
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<StoredSession, StorageError> {
        self.lock().get(id).map(|entry| entry.stored())
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
        let keyword = query.keyword.as_deref().map(str::to_lowercase);
        let sessions = self.lock();
        let mut entries: Vec<_> =
            sessions.by_id.iter().filter(|(id, _)| query.fits_id(id.as_str())).collect();
        entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.changed));
        let fitting = entries.into_iter().filter_map(|(id, entry)| {
            let summary = entry.summary(id);
            let fits = query.fits_time(summary.updated)
                && query.fits_lineage(&summary)
                && keyword.as_deref().is_none_or(|keyword| entry.says(&summary, keyword));
            fits.then_some(summary)
        });
        Ok(fitting.take(query.limit.unwrap_or(usize::MAX)).collect())
    }

    async fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        let mut sessions = self.lock();
        sessions.get(id)?.check_closed(id)?;
        sessions.by_id.remove(id);
        Ok(())
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        Ok(self.lock().by_id.contains_key(id))
    }

    async fn holder(&self, id: &SessionId) -> Result<Option<Holder>, StorageError> {
        let open = self.lock().by_id.get(id).and_then(|entry| entry.open);
        Ok(open.map(|_| Holder { process: Some(std::process::id()) }))
    }
}
