//! Sessions as folders: `<home>/projects/<slug>/sessions/<id>/{transcript.jsonl, metadata.json}`.
//!
//! Guarantees: a transcript only grows, one write and one fdatasync for each `append`,
//! whatever its length. Metadata is replaced as a whole. While a session is open its
//! `.lock` is held, and the system frees it when the process dies. Files are 0600, folders
//! 0700. fsyncs: `create` 3 (the first in a project makes the folders above, one more
//! for each, and 2 for the marker), `append` 1, `describe` 2, `open` none unless something
//! has to be mended, `close`, `load` and `list` none, `delete` 1.
//! Never here: a write to something damaged, a transcript that is rewritten, `events.jsonl`.

mod folder;
#[cfg(test)]
mod fuzz;
mod list;
mod open;
mod transcript;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::{Activation, Message, SessionId};
use async_trait::async_trait;

use self::folder::Folder;
use self::open::OpenSession;
use super::{
    Holder, ProjectPaths, Revision, SessionMetadata, SessionQuery, SessionStorage, SessionSummary,
    StorageError, StoredSession,
};
use crate::redact::Redactor;
use amplifier_fs::lock::{self, Acquired};
use amplifier_fs::write;
use amplifier_fs::write::Access;

/// Sessions as folders on a local file system. Cheap to clone; clones share what is open.
/// Needs a tokio runtime: the file system is used on its blocking threads.
#[derive(Debug, Clone)]
pub struct FileStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: ProjectPaths,
    redactor: Redactor,
    // Held to find an entry, never across a file operation or an await.
    open: Mutex<HashMap<SessionId, Arc<Mutex<OpenSession>>>>,
}

impl FileStorage {
    /// The sessions of one project. Touches no file.
    pub fn new(paths: ProjectPaths, redactor: Redactor) -> Self {
        Self { inner: Arc::new(Inner { paths, redactor, open: Mutex::default() }) }
    }

    /// The folders of the project.
    pub fn paths(&self) -> &ProjectPaths {
        &self.inner.paths
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or(Err(StorageError::Stopped))
    }
}

impl Inner {
    fn folder(&self, id: &SessionId) -> Folder {
        Folder::new(id.clone(), self.paths.session(id))
    }

    fn open_sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Mutex<OpenSession>>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: &SessionId, session: OpenSession) {
        self.open_sessions().insert(id.clone(), Arc::new(Mutex::new(session)));
    }

    /// Runs `work` on an open session; one operation of a session at a time.
    fn with_open<T>(
        &self,
        id: &SessionId,
        activation: Activation,
        work: impl FnOnce(&mut OpenSession) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let not_open = || StorageError::NotOpen { id: id.clone(), activation };
        let session = self.open_sessions().get(id).cloned().ok_or_else(not_open)?;
        // Held for one write and its fsync, so that appends of one session keep their order.
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.activation() {
            None => Err(not_open()),
            Some(current) if activation < current => {
                Err(StorageError::Fenced { id: id.clone(), activation, current })
            }
            Some(current) if activation > current => Err(not_open()),
            Some(_) => work(&mut session),
        }
    }

    fn create(&self, id: &SessionId, metadata: &SessionMetadata) -> Result<(), StorageError> {
        let content = metadata.to_redacted_json(&self.redactor).map_err(|error| not_storable(id, &error))?;
        self.paths.claim()?;
        let sessions = self.paths.sessions();
        write::create_dirs(&sessions, Access::Private).map_err(StorageError::io("create", &sessions))?;
        let session = self.folder(id).create(&content, metadata.amplifier.activation)?;
        self.keep(id, session);
        Ok(())
    }

    fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError> {
        let (session, stored) = self.folder(id).open(activation)?;
        self.keep(id, session);
        Ok(stored)
    }

    fn close(&self, id: &SessionId) {
        let session = self.open_sessions().get(id).cloned();
        let Some(session) = session else { return };
        // Waits for a write under way, and then whoever still holds the session finds it closed.
        let mut guard = session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = self.open_sessions();
        if open.get(id).is_some_and(|current| Arc::ptr_eq(current, &session)) {
            open.remove(id);
        }
        drop(open);
        guard.close();
    }

    /// Under the lock: whoever has gone on with it has written so before it gave that free.
    fn undo_create(&self, id: &SessionId) -> Result<(), StorageError> {
        let folder = self.folder(id);
        folder.check_exists()?;
        let _held = folder.lock()?;
        match folder.load()?.metadata.amplifier.activation {
            Activation::FIRST => self.remove(&folder),
            _ => Ok(()),
        }
    }

    fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        let folder = self.folder(id);
        folder.check_exists()?;
        let _held = folder.lock()?;
        self.remove(&folder)
    }

    /// Its lock is held.
    fn remove(&self, folder: &Folder) -> Result<(), StorageError> {
        write::remove_tree(folder.path()).map_err(StorageError::io("remove", folder.path()))?;
        // What a crash left of earlier deletions; the session itself is gone either way.
        let _ = write::sweep(&self.paths.sessions());
        Ok(())
    }
}

fn not_storable(id: &SessionId, error: &serde_json::Error) -> StorageError {
    StorageError::NotStorable { id: id.clone(), reason: super::error::json_reason(error) }
}

#[async_trait]
impl SessionStorage for FileStorage {
    async fn create(&self, id: &SessionId, metadata: &Arc<SessionMetadata>) -> Result<(), StorageError> {
        let (id, metadata) = (id.clone(), Arc::clone(metadata));
        self.blocking(move |inner| inner.create(&id, &metadata)).await
    }

    async fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError> {
        let id = id.clone();
        self.blocking(move |inner| inner.open(&id, activation)).await
    }

    async fn append(
        &self,
        id: &SessionId,
        activation: Activation,
        messages: &[Arc<Message>],
    ) -> Result<Revision, StorageError> {
        let (id, messages) = (id.clone(), messages.to_vec());
        self.blocking(move |inner| {
            let lines = transcript::Lines::write(&id, &messages)?;
            inner.with_open(&id, activation, |session| session.append(&lines))
        })
        .await
    }

    async fn describe(
        &self,
        id: &SessionId,
        activation: Activation,
        metadata: &Arc<SessionMetadata>,
    ) -> Result<(), StorageError> {
        let (id, metadata) = (id.clone(), Arc::clone(metadata));
        self.blocking(move |inner| {
            let content =
                metadata.to_redacted_json(&inner.redactor).map_err(|error| not_storable(&id, &error))?;
            let folder = inner.folder(&id);
            inner.with_open(&id, activation, |session| {
                session.check_held(&folder, activation)?;
                folder.replace_metadata(&content)
            })
        })
        .await
    }

    async fn close(&self, id: &SessionId) -> Result<(), StorageError> {
        let id = id.clone();
        self.blocking(move |inner| {
            inner.close(&id);
            Ok(())
        })
        .await
    }

    async fn take_over(&self, id: &SessionId) -> Result<(), StorageError> {
        let id = id.clone();
        self.blocking(move |inner| inner.folder(&id).take_over()).await
    }

    async fn load(&self, id: &SessionId) -> Result<StoredSession, StorageError> {
        let id = id.clone();
        self.blocking(move |inner| inner.folder(&id).load()).await
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
        let query = query.clone();
        self.blocking(move |inner| list::list(&inner.paths, &query)).await
    }

    async fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        let id = id.clone();
        self.blocking(move |inner| inner.delete(&id)).await
    }

    async fn undo_create(&self, id: &SessionId) -> Result<(), StorageError> {
        let id = id.clone();
        self.blocking(move |inner| inner.undo_create(&id)).await
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        let id = id.clone();
        self.blocking(move |inner| Ok(inner.folder(&id).exists())).await
    }

    async fn holder(&self, id: &SessionId) -> Result<Option<Holder>, StorageError> {
        let id = id.clone();
        self.blocking(move |inner| inner.folder(&id).holder()).await
    }
}

impl Folder {
    /// Takes the writer's lock. Errors: `Locked`.
    fn lock(&self) -> Result<lock::LockFile, StorageError> {
        let path = self.lock_path();
        match lock::acquire(&path) {
            // The session was deleted a moment ago, with its folder.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StorageError::not_found(self.id()))
            }
            Err(error) => Err(StorageError::io("lock", &path)(error)),
            Ok(Acquired::Held(held)) => Ok(held),
            Ok(Acquired::Busy(holder)) => Err(StorageError::Locked { id: self.id().clone(), holder }),
        }
    }

    fn holder(&self) -> Result<Option<Holder>, StorageError> {
        let path = self.lock_path();
        let found = lock::probe(&path).map_err(StorageError::io("read", &path))?;
        Ok(found.map(|process| Holder { process }))
    }
}
