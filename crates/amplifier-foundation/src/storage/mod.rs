//! Where sessions are kept: transcript and descriptive metadata, nothing else.
//!
//! [`SessionStorage`] is the port. [`FileStorage`] keeps the layout of the reference
//! system on disk, [`MemoryStorage`] keeps nothing, [`Snapshots`] makes a storage of
//! anything that can save and load a whole session. [`contract`] holds what all promise.
//!
//! Guarantees: `Ok` means durable in that storage. One writer at a time; an older
//! activation is refused. What cannot be read is reported and never overwritten.
//! Never here: status, outcome and budget as decisions; metadata holds copies only.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use amplifier_core::{Activation, Message, Role, SessionId};
use async_trait::async_trait;

pub mod contract;
mod error;
mod file;
mod fork;
mod memory;
mod metadata;
mod query;
mod record_copy;
mod rename;
pub mod repair;
mod slug;
mod snapshot;
mod tree;

pub use error::StorageError;
pub use file::FileStorage;
pub use fork::fork;
pub use memory::MemoryStorage;
pub use metadata::{KernelRecord, SessionMetadata};
pub use query::{ProjectScope, SessionQuery, SessionSummary};
pub use record_copy::RecordCopy;
pub use rename::rename;
pub use slug::ProjectPaths;
pub use snapshot::{SnapshotStorage, Snapshots};
pub use tree::{Oddity, TreeEntry, forest};
pub(crate) use tree::{middle, spans_of};

/// The number of messages that a transcript holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A session as it was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredSession {
    /// What describes it.
    pub metadata: SessionMetadata,
    /// Its messages in order.
    pub transcript: Vec<Arc<Message>>,
    /// After `open` the activation that it is open under; after `load` the last recorded one.
    pub activation: Activation,
    /// What was found amiss and could be worked around, one clause each, for the user.
    pub warnings: Vec<String>,
}

impl StoredSession {
    /// A session without warnings, under the activation that its metadata records.
    pub fn new(metadata: SessionMetadata, transcript: Vec<Arc<Message>>) -> Self {
        let activation = metadata.amplifier.activation;
        Self { metadata, transcript, activation, warnings: Vec::new() }
    }

    /// The number of messages.
    pub fn revision(&self) -> Revision {
        Revision(self.transcript.len() as u64)
    }
}

/// A place where sessions are kept. Implementations pass [`contract::contract`].
///
/// A session is open for writing from `create` or `open` to `close`, in one place at a
/// time. Dropping a future does not undo its effect: it may still happen.
#[async_trait]
pub trait SessionStorage: Debug + Send + Sync {
    /// Makes a session without messages and opens it under the activation in `metadata`, which is shared
    /// so that a storage in memory need not copy it.
    /// `Ok`: durable. Errors: `Exists`. After another `Err` there is no such session.
    async fn create(&self, id: &SessionId, metadata: &Arc<SessionMetadata>) -> Result<(), StorageError>;

    /// Opens a session for writing. From now on older activations are refused. A torn last
    /// line is kept beside the transcript, cut off, and told in `warnings`.
    /// Errors: `NotFound`; `Locked` while it is open anywhere; `Fenced` if a newer
    /// activation is recorded; `Damaged`, `DamagedMetadata`, and then nothing was changed.
    async fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError>;

    /// Appends messages in order; those of the roles system and developer are left out.
    /// `Ok`: durable; the number of messages that the transcript holds now. `Err`: the
    /// transcript as it is read later holds all messages up to the last `Ok`; after a
    /// crash it may hold some of these too.
    async fn append(
        &self,
        id: &SessionId,
        activation: Activation,
        messages: &[Arc<Message>],
    ) -> Result<Revision, StorageError>;

    /// Replaces the metadata, secrets redacted. `Ok`: durable. After a crash either the
    /// old or the new is read. Keys that were read and kept in `extra` stay.
    async fn describe(
        &self,
        id: &SessionId,
        activation: Activation,
        metadata: &Arc<SessionMetadata>,
    ) -> Result<(), StorageError>;

    /// Gives the session free for another writer, after a write that is under way.
    /// `Ok` also if it is not open here.
    async fn close(&self, id: &SessionId) -> Result<(), StorageError>;

    /// Takes a session away from a writer that has it open and hangs: what that writes from now on is refused
    /// or lost, and the session can be opened. The caller has settled its activation. A storage that lets no
    /// two processes write needs nothing.
    async fn take_over(&self, _id: &SessionId) -> Result<(), StorageError> {
        Ok(())
    }

    /// Reads a session, open or not. Changes nothing, not even what is damaged.
    async fn load(&self, id: &SessionId) -> Result<StoredSession, StorageError>;

    /// Sessions, latest change first. One that cannot be read is in the list, flagged.
    /// Reads no transcript unless a keyword is looked for.
    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError>;

    /// Removes a session with all its files; its sub-sessions stay, see [`delete_tree`].
    /// `Ok`: durable. Errors: `NotFound`; `Locked` while it is open anywhere.
    async fn delete(&self, id: &SessionId) -> Result<(), StorageError>;

    /// Takes back what [`create`](Self::create) made, for a session that did not begin: as
    /// [`delete`](Self::delete), but one that somebody has gone on with since stays, and that is no error.
    async fn undo_create(&self, id: &SessionId) -> Result<(), StorageError> {
        match self.load(id).await?.metadata.amplifier.activation {
            Activation::FIRST => self.delete(id).await,
            _ => Ok(()),
        }
    }

    /// True if there is such a session, readable or not.
    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError>;

    /// Who has the session open for writing; a look that may be outdated at once.
    async fn holder(&self, id: &SessionId) -> Result<Option<Holder>, StorageError>;
}

/// Who has a session open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The process, where it is known.
    pub process: Option<u32>,
}

/// The sessions that `id` spawned, and those that they spawned, nearest first. Forks are
/// sessions of their own and not among them.
pub async fn descendants(
    storage: &dyn SessionStorage,
    id: &SessionId,
) -> Result<Vec<SessionId>, StorageError> {
    let mut children: HashMap<SessionId, Vec<SessionId>> = HashMap::new();
    for summary in storage.list(&SessionQuery::default()).await? {
        if let Some(parent) = summary.spawned_by() {
            children.entry(parent.clone()).or_default().push(summary.id.clone());
        }
    }
    let mut seen = HashSet::from([id.clone()]);
    let mut queue = VecDeque::from([id.clone()]);
    let mut found = Vec::new();
    while let Some(next) = queue.pop_front() {
        for child in children.remove(&next).unwrap_or_default() {
            if seen.insert(child.clone()) {
                found.push(child.clone());
                queue.push_back(child);
            }
        }
    }
    Ok(found)
}

/// Removes a session and its [`descendants`], the furthest first, so that a crash leaves no
/// orphan. Returns what was removed. Refused with `Locked` before anything is removed if one
/// of them is open.
pub async fn delete_tree(
    storage: &dyn SessionStorage,
    id: &SessionId,
) -> Result<Vec<SessionId>, StorageError> {
    let mut doomed = vec![id.clone()];
    doomed.extend(descendants(storage, id).await?);
    for id in &doomed {
        if let Some(holder) = storage.holder(id).await? {
            return Err(StorageError::Locked { id: id.clone(), holder: holder.process });
        }
    }
    doomed.reverse();
    for id in &doomed {
        storage.delete(id).await?;
    }
    Ok(doomed)
}

/// Finds the session that `text` names: its whole id, or the beginning of the id of one
/// top-level session. Errors: `NotFound`, `Ambiguous`.
pub async fn resolve_prefix(
    storage: &dyn SessionStorage,
    text: &str,
    scope: ProjectScope,
) -> Result<SessionSummary, StorageError> {
    let wanted = SessionId::new(text)?;
    let query = SessionQuery::default().id_prefix(wanted.as_str()).project(scope);
    let found = storage.list(&query).await?;
    if let Some(exact) = found.iter().find(|summary| summary.id == wanted) {
        return Ok(exact.clone());
    }
    let mut top: Vec<SessionSummary> = found.into_iter().filter(SessionSummary::is_top_level).collect();
    match top.len() {
        0 => Err(StorageError::not_found(&wanted)),
        1 => Ok(top.remove(0)),
        _ => {
            let matches = top.into_iter().take(3).map(|summary| summary.id).collect();
            Err(StorageError::Ambiguous { prefix: text.to_owned(), matches })
        }
    }
}

/// True for a message that a transcript keeps: prompts of the bundle are made anew each time.
pub(crate) fn is_kept(message: &Message) -> bool {
    !matches!(message.role, Role::System | Role::Developer)
}
