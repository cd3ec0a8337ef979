//! The owner of a project's triggers: its lease, its sign of life, and what it publishes of what it owns.
//!
//! Guarantees: one process owns the triggers at a time, and what another one writes with an older lease is
//! refused; what is published is written in the order in which it happened.
//! Never here: what the triggers start.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{CancelToken, Clock};
use amplifier_foundation::Host;
use amplifier_store::{Commit, Epoch, Expect, StoreError, Write};
use amplifier_trigger::BackgroundName;
use tokio::sync::watch;

use super::{BackgroundSessionManager, Inner, Session};
use crate::control::{OwnerInfo, PUBLISH_EVERY, Publisher, lease_key, owner_write};
use crate::error::BackgroundError;
use crate::status::BackgroundStatus;

/// How long the ownership of the triggers lasts without a sign of life.
const OWNERSHIP: Duration = Duration::from_secs(60);
/// How often that sign is given.
const HEARTBEAT: Duration = Duration::from_secs(20);

impl BackgroundSessionManager {
    /// Makes this manager the owner of the project's triggers, if it is not yet. `Err`: somebody else is.
    pub async fn own(&self) -> Result<(), BackgroundError> {
        self.fence().await.map(drop)
    }

    /// What the commits of the owner are fenced with.
    pub(super) async fn fence(&self) -> Result<Expect, BackgroundError> {
        let mut held = self.0.owner.lock().await;
        let host = self.host();
        if let Some(epoch) = *held
            && host.store().lease(&lease_key()).await?.is_none_or(|lease| lease.epoch != epoch)
        {
            // Somebody else has had it meanwhile, and has published what it saw.
            *held = None;
            self.sessions().values().for_each(|session| session.pool.board.note_fresh());
        }
        let epoch = match *held {
            Some(epoch) => epoch,
            None => self.take_lease().await?,
        };
        let fence = self.held(epoch);
        if held.replace(epoch).is_none() {
            tokio::spawn(heartbeat(host.clone(), epoch, self.0.life.clone()));
            if !self.0.publishes.swap(true, Ordering::SeqCst) {
                tokio::spawn(publish(Arc::downgrade(&self.0), self.0.changed.subscribe()));
            }
        }
        Ok(fence)
    }

    pub(super) fn held(&self, epoch: Epoch) -> Expect {
        Expect::LeaseHeld { key: lease_key(), owner: self.host().owner().clone(), epoch }
    }

    async fn take_lease(&self) -> Result<Epoch, BackgroundError> {
        let host = self.host();
        if self.0.life.is_cancelled() {
            return Err(BackgroundError::ShutDown);
        }
        let over = host.store().lease(&lease_key()).await?;
        let over = over.filter(|lease| !host.lives(&lease.owner)).map(|lease| lease.epoch);
        let take = Write::TakeLease { key: lease_key(), owner: host.owner().clone(), ttl: OWNERSHIP, over };
        let mut commit = Commit::from(take);
        commit.writes.extend(owner_write(host));
        let receipt = match host.store().commit(commit).await {
            Ok(receipt) => receipt,
            Err(StoreError::LeaseTaken { owner, .. }) => {
                let owner = OwnerInfo::of(host.store().as_ref(), &owner).await?;
                return Err(BackgroundError::Owned { owner });
            }
            Err(error) => return Err(error.into()),
        };
        let epochs = receipt.applied().map(|applied| applied.epochs).unwrap_or_default();
        let epoch = epochs.first().map(|(_, epoch)| *epoch);
        Ok(epoch.ok_or(StoreError::Malformed { what: "a lease that was taken has an epoch" })?)
    }

    pub(super) fn publisher(&self, fence: &Expect) -> Publisher {
        let store = Arc::clone(self.host().store());
        Publisher { store, owner: self.host().owner().to_string(), fence: fence.clone() }
    }

    /// Publishes at once how all stand, for other processes; else that is done within a quarter of a second.
    /// For the owner of the triggers alone. If it fails it is tried again.
    pub async fn publish_now(&self) {
        let held = *self.0.owner.lock().await;
        if let Some(epoch) = held {
            self.publish(&self.publisher(&self.held(epoch))).await;
        }
    }

    pub(super) fn ended_since(&self) -> MutexGuard<'_, BTreeMap<BackgroundName, BackgroundStatus>> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes how those stand that have changed since the last time. False: somebody else is the owner now.
    pub(super) async fn publish(&self, publisher: &Publisher) -> bool {
        let _turn = self.0.publishing.lock().await;
        let ended = std::mem::take(&mut *self.ended_since());
        let sessions: Vec<Session> = self.sessions().values().cloned().collect();
        let changed = sessions.iter().filter_map(|session| session.pool.board.take_fresh());
        let fresh: Vec<BackgroundStatus> = ended.values().cloned().chain(changed).collect();
        if fresh.is_empty() {
            return true;
        }
        match publisher.write(&fresh, self.host().clock().now()).await {
            Ok(()) => true,
            Err(StoreError::LeaseLost { .. } | StoreError::Closed) => false,
            Err(error) => {
                tracing::warn!(%error, "how background sessions stand could not be published yet");
                let mut kept = self.ended_since();
                for (name, status) in ended {
                    kept.entry(name).or_insert(status);
                }
                drop(kept);
                sessions.iter().for_each(|session| session.pool.board.note_fresh());
                self.0.changed.send_modify(|version| *version += 1);
                true
            }
        }
    }
}

/// Publishes what changes, until the manager is gone.
async fn publish(manager: Weak<Inner>, mut changed: watch::Receiver<u64>) {
    while let Some(clock) = published(&manager, &mut changed).await {
        clock.sleep(PUBLISH_EVERY).await;
    }
}

/// Publishes the next change. `None`: the manager is gone, or was shut down and has published its last.
async fn published(manager: &Weak<Inner>, changed: &mut watch::Receiver<u64>) -> Option<Arc<dyn Clock>> {
    let life = manager.upgrade()?.life.clone();
    until(changed.changed(), life.cancelled()).await?.ok()?;
    let manager = BackgroundSessionManager(manager.upgrade()?);
    let epoch = *manager.0.owner.lock().await;
    if let Some(epoch) = epoch {
        manager.publish(&manager.publisher(&manager.held(epoch))).await;
    }
    Some(Arc::clone(manager.host().clock()))
}

/// Keeps the ownership of the triggers.
async fn heartbeat(host: Host, epoch: Epoch, life: CancelToken) {
    while until(host.clock().sleep(HEARTBEAT), life.cancelled()).await.is_some() {
        let renew = Write::RenewLease { key: lease_key(), epoch, ttl: OWNERSHIP };
        match host.store().commit(renew.into()).await {
            // Whoever has it is not this one: the commits of its triggers are refused from now on.
            Err(StoreError::LeaseLost { .. } | StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, "the ownership of the triggers could not be renewed"),
            Ok(_) => {}
        }
    }
}
