//! What the store keeps of background sessions beside their runs, and under which names.
//!
//! Guarantees: an owner's record is written in the commit that makes it the owner.

use std::fmt;

use amplifier_core::{Payload, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{DedupKey, LeaseKey, OwnerId, Store, StoreError, Write};
use amplifier_trigger::BackgroundName;
use amplifier_trigger::timer::rfc3339;
use serde::{Deserialize, Serialize};

/// Who runs the background sessions of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnerInfo {
    /// This start of that process, as the store knows it.
    pub owner: String,
    /// Its process id, in its own space of ids; 0 where it is not known.
    pub pid: u32,
    /// Since when, by the store's clock.
    pub since: Timestamp,
}

impl fmt::Display for OwnerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => write!(f, "the process {}", self.owner),
            pid => write!(f, "process {pid} since {}", rfc3339(self.since)),
        }
    }
}

impl OwnerInfo {
    /// The owner that lives, if there is one.
    pub async fn read(host: &Host) -> Result<Option<Self>, StoreError> {
        let Some(lease) = host.store().lease(&lease_key()).await? else { return Ok(None) };
        if !host.lives(&lease.owner) {
            return Ok(None);
        }
        Self::of(host.store().as_ref(), &lease.owner).await.map(Some)
    }

    /// What is known of who holds the lease.
    pub(crate) async fn of(store: &dyn Store, owner: &OwnerId) -> Result<Self, StoreError> {
        let kept = store.key(&owner_key()).await?.and_then(|kept| kept.decode::<Self>().ok());
        let nameless = Self { owner: owner.to_string(), pid: 0, since: Timestamp::from_micros(0) };
        Ok(kept.filter(|kept| kept.owner == owner.as_str()).unwrap_or(nameless))
    }

    pub(crate) fn id(&self) -> Option<OwnerId> {
        OwnerId::new(&self.owner).ok()
    }
}

/// The lease of the owner of a project's triggers.
pub(crate) fn lease_key() -> LeaseKey {
    #[expect(clippy::expect_used, reason = "`triggers` is a name")]
    LeaseKey::new("triggers").expect("a name")
}

/// Notes who the owner is.
pub(crate) fn owner_write(host: &Host) -> Option<Write> {
    let info =
        OwnerInfo { owner: host.owner().to_string(), pid: std::process::id(), since: host.clock().now() };
    Some(Write::SetValue { key: owner_key(), value: Payload::encode(&info).ok()? })
}

fn key(text: String) -> DedupKey {
    #[expect(clippy::expect_used, reason = "a word and a name of at most 64 bytes")]
    DedupKey::new(text).expect("a key")
}

fn owner_key() -> DedupKey {
    key("background-owner".to_owned())
}

pub(super) fn pause_key(name: &BackgroundName) -> DedupKey {
    key(format!("background-pause/{name}"))
}

/// What the keys of what owners publish begin with.
pub(super) const STATUS: &str = "background-status/";

pub(super) fn status_key(name: &BackgroundName) -> DedupKey {
    key(format!("{STATUS}{name}"))
}
