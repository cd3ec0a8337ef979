//! Pauses: a durable word that a background session starts nothing.
//!
//! Guarantees: `Ok` says that it is durable; it holds for whoever runs the background session next.

use amplifier_core::{Payload, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{Store, StoreError, Write};
use amplifier_trigger::BackgroundName;
use serde::{Deserialize, Serialize};

use super::keys::pause_key;

/// What is kept: also of one that goes on again, who let it.
#[derive(Debug, Serialize, Deserialize)]
struct Pause {
    since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// A background session that is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// Who paused it; `None`: nobody said.
    pub by: Option<String>,
}

/// Since when a background session is paused, and by whom; `None`: it is not.
pub async fn paused(store: &dyn Store, name: &BackgroundName) -> Result<Option<Paused>, StoreError> {
    let kept = store.key(&pause_key(name)).await?.and_then(|kept| kept.decode::<Pause>().ok());
    Ok(kept.and_then(|Pause { since, by }| Some(Paused { since: since?, by })))
}

/// Pauses a background session or lets it go on. An owner that lives must be told besides:
/// [`Remote::pause`](super::Remote::pause). `by`: who does it. False: it stands so already.
pub async fn set_paused(
    host: &Host,
    name: &BackgroundName,
    pause: bool,
    by: Option<&str>,
) -> Result<bool, StoreError> {
    if paused(host.store().as_ref(), name).await?.is_some() == pause {
        return Ok(false);
    }
    let pause = Pause { since: pause.then(|| host.clock().now()), by: by.map(str::to_owned) };
    let value = Payload::encode(&pause).map_err(|_| StoreError::Malformed { what: "a pause is a time" })?;
    let write = Write::SetValue { key: pause_key(name), value };
    let _durable = host.store().commit(write.into()).await?;
    Ok(true)
}
