//! Pauses: a durable word that a background session starts nothing.
//!
//! Guarantees: `Ok` says that it is durable; it holds for whoever runs the background session next.

use amplifier_core::{Payload, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{Store, StoreError, Write};
use amplifier_trigger::BackgroundName;
use serde::{Deserialize, Serialize};

use super::keys::pause_key;

#[derive(Debug, Serialize, Deserialize)]
struct Pause {
    since: Option<Timestamp>,
}

/// Since when a background session is paused; `None`: it is not.
pub async fn paused_since(store: &dyn Store, name: &BackgroundName) -> Result<Option<Timestamp>, StoreError> {
    let kept = store.key(&pause_key(name)).await?;
    Ok(kept.and_then(|kept| kept.decode::<Pause>().ok()).and_then(|pause| pause.since))
}

/// Pauses a background session or lets it go on. An owner that lives must be told besides:
/// [`Remote::pause`](super::Remote::pause). False: it stands so already.
pub async fn set_paused(host: &Host, name: &BackgroundName, paused: bool) -> Result<bool, StoreError> {
    if paused_since(host.store().as_ref(), name).await?.is_some() == paused {
        return Ok(false);
    }
    let pause = Pause { since: paused.then(|| host.clock().now()) };
    let value = Payload::encode(&pause).map_err(|_| StoreError::Malformed { what: "a pause is a time" })?;
    let write = Write::SetValue { key: pause_key(name), value };
    let _durable = host.store().commit(write.into()).await?;
    Ok(true)
}
