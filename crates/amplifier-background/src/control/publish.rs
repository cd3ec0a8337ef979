//! How background sessions stand here, for other processes: a value in the store for each of them.
//!
//! Guarantees: what has changed is written within [`EVERY`] of the change before it, many at a time, by a task of its
//! own: nothing waits for it. Only the owner of the triggers writes.
//! Never here: what the store knows anyway, such as runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{Payload, Timestamp};
use amplifier_store::{Commit, Expect, Store, StoreError, Write};
use amplifier_trigger::{BackgroundName, TriggerKey};
use serde::{Deserialize, Serialize};

use super::keys::{STATUS, status_key};
use crate::status::{BackgroundState, BackgroundStatus, TriggerStatus};

/// How often the same owner writes at most.
pub(crate) const EVERY: Duration = Duration::from_millis(250);
/// Values of one commit.
const PAGE: usize = 200;

/// How a background session stood in its owner when that wrote last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Published {
    /// The owner, as the store knows it. Believe the rest of one that lives.
    pub owner: String,
    /// When it was written.
    pub at: Timestamp,
    /// Where the background session was.
    pub state: BackgroundState,
    /// Its last error.
    pub error: Option<String>,
    /// Its triggers.
    pub triggers: BTreeMap<TriggerKey, TriggerStatus>,
}

impl Published {
    /// What was written last, whoever wrote it.
    pub async fn read(store: &dyn Store, name: &BackgroundName) -> Result<Option<Self>, StoreError> {
        Ok(store.key(&status_key(name)).await?.and_then(|kept| kept.decode().ok()))
    }

    /// What an owner has written last of each that some owner has run, by their names.
    pub async fn all(store: &dyn Store) -> Result<BTreeMap<BackgroundName, Self>, StoreError> {
        let (mut all, mut after) = (BTreeMap::new(), None);
        loop {
            let page = store.keys(STATUS, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(key, _)| key.clone());
            all.extend(page.into_iter().filter_map(|(key, kept)| {
                let name = BackgroundName::new(key.as_str().strip_prefix(STATUS)?).ok()?;
                Some((name, kept.decode().ok()?))
            }));
            if !full {
                return Ok(all);
            }
        }
    }
}

/// What an owner writes with.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) owner: String,
    pub(crate) fence: Expect,
}

impl Publisher {
    /// Writes how these stand.
    pub(crate) async fn write(&self, statuses: &[BackgroundStatus], at: Timestamp) -> Result<(), StoreError> {
        for page in statuses.chunks(PAGE) {
            let mut commit = Commit::new().when(self.fence.clone());
            for status in page {
                let published = Published {
                    owner: self.owner.clone(),
                    at,
                    state: status.state,
                    error: status.error.clone(),
                    triggers: status.triggers.clone(),
                };
                if let Ok(value) = Payload::encode(&published) {
                    commit = commit.write(Write::SetValue { key: status_key(&status.name), value });
                }
            }
            let _durable = self.store.commit(commit).await?;
        }
        Ok(())
    }
}
