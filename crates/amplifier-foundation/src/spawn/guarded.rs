//! Calls of a storage that may be anybody's: a panic in it is an error of that call.
//!
//! Guarantees: what a storage does cannot keep a session from its outcome.

use std::future::Future;

use amplifier_core::SessionId;
use amplifier_core::panic::caught;

use crate::storage::StorageError;

/// The message of a panic, as an error.
#[derive(Debug, thiserror::Error)]
#[error("the storage panicked: {0}")]
struct Panicked(String);

/// Runs one call of a storage.
pub(super) async fn guarded<T>(
    id: &SessionId,
    action: &'static str,
    call: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    caught(call).await.unwrap_or_else(|message| {
        Err(StorageError::Backend { id: id.clone(), action, source: Box::new(Panicked(message)) })
    })
}
