//! A new session that begins with a part of another one's conversation.
//!
//! Guarantees: the source is only read; an existing session is never written over.

use std::sync::Arc;

use amplifier_core::{Activation, Message, Role, SessionId, Timestamp};

use super::{KernelRecord, SessionMetadata, SessionStorage, StorageError, StoredSession, repair};

/// Makes the session `new_id` of the first `at_turn` turns of `source` (`None`: all). A turn
/// begins with a message of the user and is counted from 1. Tool calls that lost their
/// result are answered as interrupted. `Ok`: durable, and not open. Errors: `NotFound`,
/// `Exists`, `NoSuchTurn`, and what `load` and `append` say.
pub async fn fork(
    storage: &dyn SessionStorage,
    source: &SessionId,
    at_turn: Option<usize>,
    new_id: SessionId,
    now: Timestamp,
) -> Result<StoredSession, StorageError> {
    let origin = storage.load(source).await?;
    let starts = turn_starts(&origin.transcript);
    let turns = starts.len();
    let turn = at_turn.unwrap_or(turns);
    if turn > turns || at_turn == Some(0) {
        return Err(StorageError::NoSuchTurn { id: source.clone(), asked: turn, turns });
    }
    let end = starts.get(turn).copied().unwrap_or(origin.transcript.len());
    let transcript = repair::completed(&origin.transcript[..end]);
    let metadata = Arc::new(metadata_of_fork(&origin.metadata, source, &new_id, turn as u64, now));
    storage.create(&new_id, &metadata).await?;
    let appended = storage.append(&new_id, Activation::FIRST, &transcript).await;
    storage.close(&new_id).await?;
    appended?;
    Ok(StoredSession::new(Arc::unwrap_or_clone(metadata), transcript))
}

/// The places of the user's messages; what hooks said in the user's role is none.
fn turn_starts(transcript: &[Arc<Message>]) -> Vec<usize> {
    let own = |message: &Message| message.role == Role::User && !message.metadata.contains_key("source");
    let users = transcript.iter().enumerate().filter(|(_, message)| own(message));
    users.map(|(place, _)| place).collect()
}

fn metadata_of_fork(
    origin: &SessionMetadata,
    source: &SessionId,
    new_id: &SessionId,
    turn: u64,
    now: Timestamp,
) -> SessionMetadata {
    let amplifier = KernelRecord {
        permissions: origin.amplifier.permissions.clone(),
        limits: origin.amplifier.limits.clone(),
        mode: origin.amplifier.mode.clone(),
        bundle_source: origin.amplifier.bundle_source.clone(),
        bundle_by_project: origin.amplifier.bundle_by_project,
        bundle_hash: origin.amplifier.bundle_hash.clone(),
        ..KernelRecord::default()
    };
    SessionMetadata {
        parent_id: Some(source.clone()),
        forked_from_turn: Some(turn),
        forked_at: Some(now),
        turn_count: Some(turn),
        bundle: origin.bundle.clone(),
        model: origin.model.clone(),
        // The reference loses it, and its fork then resumes in the wrong project.
        working_dir: origin.working_dir.clone(),
        amplifier,
        ..SessionMetadata::new(new_id.clone(), now)
    }
}
