//! Another name for a session that nobody works on.
//!
//! Guarantees: nothing but the name changes.

use std::sync::Arc;

use amplifier_core::SessionId;

use super::{SessionStorage, StorageError};

/// Gives a session a name for people. `Ok`: durable. Errors: `NotFound`; `Locked` while it is open anywhere.
pub async fn rename(storage: &dyn SessionStorage, id: &SessionId, name: &str) -> Result<(), StorageError> {
    let activation = storage.load(id).await?.activation;
    let mut metadata = storage.open(id, activation).await?.metadata;
    metadata.name = Some(name.to_owned());
    let described = storage.describe(id, activation, &Arc::new(metadata)).await;
    storage.close(id).await?;
    described
}
