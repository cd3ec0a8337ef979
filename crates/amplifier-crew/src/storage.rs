//! Sessions of workers: what any storage keeps, with the issue and the time of each message.
//!
//! | where | key | what |
//! |---|---|---|
//! | metadata | `issue_id` | the issue; also of every session that a worker spawns with this storage |
//! | each message | `timestamp` | when it was said, UTC: [`Message::timestamp`], else when it was appended |
//!
//! The names are those of the reference's class of this name. It writes `incremental: true` too, which
//! says nothing here: every session is written as it goes.
//!
//! Guarantees: everything else is, byte for byte, what the storage below keeps, and whoever reads
//! through this storage gets what was given to it. A worker's metadata cannot name another issue. A
//! message that brings a `timestamp` keeps it.

use std::sync::Arc;

use amplifier_core::{Activation, Clock, IssueId, Message, SessionId, Timestamp};
use async_trait::async_trait;
use serde_json::Value;

use amplifier_foundation::storage::{
    Holder, Revision, SessionMetadata, SessionQuery, SessionStorage, SessionSummary, StorageError,
    StoredSession,
};

/// The key of the metadata that names the issue.
pub const ISSUE_ID: &str = "issue_id";
/// The key of a message that says when it was said.
const TIMESTAMP: &str = "timestamp";

/// Keeps the sessions that work on one issue in another storage.
#[derive(Debug)]
pub struct ForemanSessionStorage {
    below: Arc<dyn SessionStorage>,
    issue: IssueId,
    clock: Arc<dyn Clock>,
}

impl ForemanSessionStorage {
    /// Keeps sessions of this issue in `below`.
    pub fn new(below: Arc<dyn SessionStorage>, issue: IssueId, clock: Arc<dyn Clock>) -> Self {
        Self { below, issue, clock }
    }

    /// The issue.
    pub fn issue(&self) -> &IssueId {
        &self.issue
    }

    fn marked(&self, metadata: &SessionMetadata) -> Arc<SessionMetadata> {
        let mut marked = metadata.clone();
        marked.extra.insert(ISSUE_ID.to_owned(), self.issue.as_str().into());
        Arc::new(marked)
    }

    fn stamped(&self, message: &Arc<Message>) -> Arc<Message> {
        if message.extra.contains_key(TIMESTAMP) {
            return Arc::clone(message);
        }
        let mut stamped = Message::clone(message);
        let said = said(message).unwrap_or_else(|| self.clock.now().to_string());
        stamped.extra.insert(TIMESTAMP.to_owned(), said.into());
        Arc::new(stamped)
    }

    /// Takes out what this storage put in.
    fn plain(&self, mut stored: StoredSession) -> StoredSession {
        let issue = stored.metadata.extra.get(ISSUE_ID).and_then(Value::as_str);
        if issue == Some(self.issue.as_str()) {
            stored.metadata.extra.shift_remove(ISSUE_ID);
        }
        for message in stored.transcript.iter_mut().filter(|message| is_stamped(message)) {
            Arc::make_mut(message).extra.shift_remove(TIMESTAMP);
        }
        stored
    }
}

/// When the session says that a message was said.
fn said(message: &Message) -> Option<String> {
    let other_form = || message.metadata.get(TIMESTAMP).and_then(Value::as_str).map(str::to_owned);
    message.timestamp.map(|time| time.to_string()).or_else(other_form)
}

/// True for a time that this storage wrote: the message's own, or one in the form of [`Timestamp`].
fn is_stamped(message: &Message) -> bool {
    let Some(stamp) = message.extra.get(TIMESTAMP).and_then(Value::as_str) else { return false };
    match said(message) {
        Some(said) => said == stamp,
        None => stamp.parse::<Timestamp>().is_ok_and(|time| time.to_string() == stamp),
    }
}

#[async_trait]
impl SessionStorage for ForemanSessionStorage {
    async fn create(&self, id: &SessionId, metadata: &Arc<SessionMetadata>) -> Result<(), StorageError> {
        self.below.create(id, &self.marked(metadata)).await
    }

    async fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError> {
        self.below.open(id, activation).await.map(|stored| self.plain(stored))
    }

    async fn append(
        &self,
        id: &SessionId,
        activation: Activation,
        messages: &[Arc<Message>],
    ) -> Result<Revision, StorageError> {
        let stamped: Vec<Arc<Message>> = messages.iter().map(|message| self.stamped(message)).collect();
        self.below.append(id, activation, &stamped).await
    }

    async fn describe(
        &self,
        id: &SessionId,
        activation: Activation,
        metadata: &Arc<SessionMetadata>,
    ) -> Result<(), StorageError> {
        self.below.describe(id, activation, &self.marked(metadata)).await
    }

    async fn close(&self, id: &SessionId) -> Result<(), StorageError> {
        self.below.close(id).await
    }

    async fn load(&self, id: &SessionId) -> Result<StoredSession, StorageError> {
        self.below.load(id).await.map(|stored| self.plain(stored))
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
        self.below.list(query).await
    }

    async fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        self.below.delete(id).await
    }

    async fn undo_create(&self, id: &SessionId) -> Result<(), StorageError> {
        self.below.undo_create(id).await
    }

    async fn take_over(&self, id: &SessionId) -> Result<(), StorageError> {
        self.below.take_over(id).await
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        self.below.exists(id).await
    }

    async fn holder(&self, id: &SessionId) -> Result<Option<Holder>, StorageError> {
        self.below.holder(id).await
    }
}
