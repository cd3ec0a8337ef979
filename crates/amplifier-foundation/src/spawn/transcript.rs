//! The kernel's transcript port over a session storage.

use std::sync::Arc;

use amplifier_core::clock::BoxFuture;
use amplifier_core::message::Message;
use amplifier_core::transcript::{Transcript, TranscriptError};
use amplifier_core::{Activation, SessionId};

use super::guarded::guarded;
use crate::storage::{SessionStorage, StorageError};

/// Appends to one activation of one session.
#[derive(Debug)]
pub(super) struct StoredTranscript {
    storage: Arc<dyn SessionStorage>,
    id: SessionId,
    activation: Activation,
}

impl StoredTranscript {
    pub(super) fn new(storage: Arc<dyn SessionStorage>, id: SessionId, activation: Activation) -> Self {
        Self { storage, id, activation }
    }
}

impl Transcript for StoredTranscript {
    fn append<'a>(&'a self, messages: &'a [Arc<Message>]) -> BoxFuture<'a, Result<(), TranscriptError>> {
        Box::pin(async move {
            let append = self.storage.append(&self.id, self.activation, messages);
            match guarded(&self.id, "append to", append).await {
                Ok(_) => Ok(()),
                Err(StorageError::Fenced { .. }) => Err(TranscriptError::Fenced { session: self.id.clone() }),
                Err(error) => {
                    Err(TranscriptError::Storage { session: self.id.clone(), source: Box::new(error) })
                }
            }
        })
    }
}
