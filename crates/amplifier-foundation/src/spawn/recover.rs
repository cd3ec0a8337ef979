//! What becomes of sessions whose owner is gone: adopted, or lost.
//!
//! Guarantees: a session whose owner lives is left alone. Whoever recovers, and however many at once, an
//! activation is settled once, with its terminal event, by the outcome that its owner had written beside
//! the transcript, else as lost. What was asked of an owner that is gone is dropped.
//! Never here: a write to a session's folder.

use std::sync::Arc;

use amplifier_core::{EventId, SessionId};

use super::commit::{bounded, once};
use super::record::intent;
use super::terminal::{Facts, Place};
use crate::host::Host;
use crate::storage::SessionMetadata;
use amplifier_store::{
    ActivationId, Commit, Expect, Intent, OwnerId, Recovery, SessionFilter, SessionRow, StoreError, Verdict,
    Write, reconcile,
};

/// What a recovery has settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Sessions that had an outcome on record.
    pub adopted: Vec<SessionId>,
    /// Sessions of which nobody knows how they ended.
    pub lost: Vec<SessionId>,
}

/// Settles every session of the project whose owner is gone.
pub(crate) async fn recover(host: &Host) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    let mut filter = SessionFilter::running();
    loop {
        let rows = bounded(host, host.store().sessions(&filter)).await?;
        for row in &rows {
            match recover_one(host, row).await? {
                Some(Verdict::Adopt(_)) => recovered.adopted.push(row.id.clone()),
                Some(_) => recovered.lost.push(row.id.clone()),
                None => {}
            }
        }
        match rows.last() {
            Some(last) if rows.len() >= filter.limit => filter.after = Some(last.id.clone()),
            _ => return Ok(recovered),
        }
    }
}

/// Settles the last activation of a session if nobody runs it any more; what it was settled as.
pub(crate) async fn recover_one(host: &Host, row: &SessionRow) -> Result<Option<Verdict>, StoreError> {
    settle_left(host, row, |owner| is_run(host, row, owner), None).await
}

/// False if the owner is gone, or is this host and the session has left its table: it enters that before the store
/// hears of it, and leaves it with its outcome, which a store that failed may not have taken.
fn is_run(host: &Host, row: &SessionRow, owner: &OwnerId) -> bool {
    if *owner == host.0.owner { host.sessions().get(&row.id).is_some() } else { host.lives(owner) }
}

/// Settles what an owner runs in the tree of `root`, which is known to hang, as far as `when` holds.
pub(crate) async fn give_up(
    host: &Host,
    root: &SessionId,
    owner: &OwnerId,
    when: &Expect,
) -> Result<Recovered, StoreError> {
    let mut filter = SessionFilter::running();
    (filter.root, filter.owner) = (Some(root.clone()), Some(owner.clone()));
    let mut given_up = Recovered::default();
    for row in bounded(host, host.store().sessions(&filter)).await? {
        match settle_left(host, &row, |_| false, Some(when)).await? {
            Some(Verdict::Adopt(_)) => given_up.adopted.push(row.id),
            Some(_) => given_up.lost.push(row.id),
            None => {}
        }
    }
    Ok(given_up)
}

async fn settle_left(
    host: &Host,
    row: &SessionRow,
    lives: impl Fn(&OwnerId) -> bool + Copy,
    when: Option<&Expect>,
) -> Result<Option<Verdict>, StoreError> {
    if reconcile([row], lives, |_| None).is_empty() {
        return Ok(None);
    }
    let metadata = described(host, &row.id).await;
    // One of this process whose files lie elsewhere: they say how it ended, to who opens it next.
    let own = row.owner == host.0.owner;
    if own && metadata.session_id.is_none() {
        return Ok(None);
    }
    // Asked again: the owner may have settled between the first look and its end.
    let Some(recovery) = reconcile([row], lives, |of| left(&metadata, of)).pop() else { return Ok(None) };
    let commit = || {
        let commit = settling(host, row, &metadata, &recovery);
        match when {
            Some(when) => commit.when(when.clone()),
            None if own => commit,
            // What was asked of somebody who hangs it may still do.
            None => commit.write(Write::DropCommands { to: recovery.owner.clone() }),
        }
    };
    match once(host, commit).await {
        Ok(receipt) => Ok(receipt.applied().map(|_| recovery.verdict)),
        // Somebody has opened it again.
        Err(StoreError::Stale { .. } | StoreError::Ended { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The commit that settles what nobody runs any more.
fn settling(host: &Host, row: &SessionRow, metadata: &Arc<SessionMetadata>, recovery: &Recovery) -> Commit {
    let facts = Facts::of(host, metadata);
    // The event that was promised is that of the activation which is described.
    let own = metadata.amplifier.activation == recovery.of.activation;
    let id = if own { facts.id } else { EventId(host.ids().v7(host.clock().now())) };
    let place = Place { session: &row.id, parent: row.parent.as_ref(), root: &row.root };
    let told = facts.told_at(place, recovery.outcome());
    recovery.settle(told.sealed(host, &row.id, id))
}

/// The outcome that an owner wrote before it could settle.
fn left(metadata: &SessionMetadata, of: &ActivationId) -> Option<Intent> {
    let record = &metadata.amplifier;
    (record.activation == of.activation).then(|| intent(record)).flatten()
}

/// What describes a session; nothing, where that cannot be read.
async fn described(host: &Host, id: &SessionId) -> Arc<SessionMetadata> {
    match super::guarded::guarded(id, "load", host.storage().load(id)).await {
        Ok(stored) => Arc::new(stored.metadata),
        Err(error) => {
            tracing::debug!(session = %id, %error, "a session without an owner cannot be read");
            Arc::default()
        }
    }
}
