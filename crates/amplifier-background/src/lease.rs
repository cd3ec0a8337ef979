//! The lease under which a process works on runs: one for all of them, however many there are.
//!
//! Guarantees: no run begins under a lease that somebody else has taken; a process that renews it is not taken
//! for one that hangs. A lease that has run out and that nobody took is still held.
//! Never here: what becomes of the runs of somebody who hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::MonoTime;
use amplifier_foundation::Host;
use amplifier_store::{Commit, Epoch, Expect, Lease, LeaseKey, OwnerId, StoreError, Write};

/// How long a process may give no sign of life before it counts as one that hangs.
pub(crate) const LASTS: Duration = Duration::from_secs(60);
/// How often that sign is given while something runs.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(20);

/// The lease of this process.
#[derive(Debug)]
pub(crate) struct WorkLease {
    host: Host,
    key: LeaseKey,
    // Held for a field or two; never across an await.
    held: Mutex<Option<Held>>,
    /// It was lost, and nobody has looked yet what was lost with it.
    was_lost: AtomicBool,
    /// Held while it is taken.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: Epoch,
    renewed: MonoTime,
}

/// What a heartbeat has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// All is well.
    Held,
    /// Somebody took this process for one that hangs: what it runs may be somebody else's.
    WasLost,
}

/// The key of a process's lease.
pub(crate) fn key_of(owner: &OwnerId) -> Result<LeaseKey, StoreError> {
    LeaseKey::new(format!("work/{owner}"))
        .map_err(|_| StoreError::Malformed { what: "the name of an owner is too long for a lease" })
}

impl WorkLease {
    pub(crate) fn new(host: Host, key: LeaseKey) -> Self {
        Self {
            host,
            key,
            held: Mutex::default(),
            was_lost: AtomicBool::new(false),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lease, if this process does not have it.
    pub(crate) async fn hold(&self) -> Result<(), StoreError> {
        if self.held().is_some() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if self.held().is_some() {
            return Ok(());
        }
        let now = self.host.clock().monotonic();
        let there = self.host.store().lease(&self.key).await?;
        let own = |lease: &Lease| lease.owner == *self.host.owner();
        // Another manager of this process has it: it is one lease for both.
        let epoch = match there {
            Some(lease) if own(&lease) => lease.epoch,
            there => self.take(there.map(|lease| lease.epoch)).await?,
        };
        *self.held() = Some(Held { epoch, renewed: now });
        Ok(())
    }

    /// `over`: whoever took this process for one that hangs.
    async fn take(&self, over: Option<Epoch>) -> Result<Epoch, StoreError> {
        let (key, owner) = (self.key.clone(), self.host.owner().clone());
        let taken =
            self.host.store().commit(Write::TakeLease { key, owner, ttl: LASTS, over }.into()).await?;
        let epochs = taken.applied().map(|applied| applied.epochs).unwrap_or_default();
        let epoch = epochs.first().map(|(_, epoch)| *epoch);
        epoch.ok_or(StoreError::Malformed { what: "a lease that was taken has an epoch" })
    }

    /// What the commit that begins a run holds besides. Where it is time, it gives the sign of life too.
    pub(crate) fn beginning(&self, commit: Commit) -> Commit {
        let now = self.host.clock().monotonic();
        let mut held = self.held();
        let Some(held) = held.as_mut() else { return commit };
        let (key, owner, epoch) = (self.key.clone(), self.host.owner().clone(), held.epoch);
        let commit = commit.when(Expect::LeaseHeld { key: key.clone(), owner, epoch });
        if now.saturating_since(held.renewed) < HEARTBEAT {
            return commit;
        }
        held.renewed = now;
        commit.write(Write::RenewLease { key, epoch, ttl: LASTS })
    }

    /// Notes that somebody else has it.
    pub(crate) fn lost(&self) {
        *self.held() = None;
        self.was_lost.store(true, Ordering::SeqCst);
    }

    /// Gives the sign of life, and takes the lease again if it was lost.
    pub(crate) async fn beat(&self) -> Result<Beat, StoreError> {
        let now = self.host.clock().monotonic();
        let due = |held: &Held| now.saturating_since(held.renewed) >= HEARTBEAT / 2;
        let held = *self.held();
        match held {
            Some(Held { epoch, .. }) if held.as_ref().is_some_and(due) => {
                let renew = Write::RenewLease { key: self.key.clone(), epoch, ttl: LASTS };
                match self.host.store().commit(renew.into()).await {
                    Ok(_) => {
                        *self.held() = Some(Held { epoch, renewed: now });
                    }
                    Err(StoreError::LeaseLost { .. }) => self.lost(),
                    Err(error) => return Err(error),
                }
            }
            _ => {}
        }
        self.hold().await?;
        Ok(if self.was_lost.swap(false, Ordering::SeqCst) { Beat::WasLost } else { Beat::Held })
    }

    /// Gives it back: nothing runs any more.
    pub(crate) fn release(&self) {
        let Some(Held { epoch, .. }) = self.held().take() else { return };
        // It runs out by itself where this is not possible any more.
        let _ = self.host.store().post(Write::ReleaseLease { key: self.key.clone(), epoch }.into());
    }
}
