//! The store's rows of sessions, made anew from their files.
//!
//! Guarantees: what the store has is left as it is, so a second time changes nothing. A session that
//! somebody has open is passed over, one that cannot be read is told. A session that its files call
//! running, and that nobody has open, is lost.
//! Never here: what is not in the files: events, runs, cursors, issues.

use std::sync::Arc;

use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_core::{EventId, OutcomeKind, SessionId, SessionOutcome};

use super::commit::{bounded, once};
use super::guarded::guarded;
use super::record::{RUNNING, intent};
use super::recover::recover_one;
use super::terminal::{Facts, Place};
use crate::host::{Host, ReachError};
use crate::storage::{SessionMetadata, SessionQuery, StorageError};
use amplifier_store::{ActivationId, Commit, Receipt, SessionRow, StoreError, Write};

/// What became of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reindexed {
    /// Sessions that have a row now, with how they ended.
    pub added: Vec<(SessionId, OutcomeKind)>,
    /// Sessions whose row was right.
    pub unchanged: usize,
    /// Sessions that run.
    pub running: usize,
    /// Sessions whose files name no outcome: forks that were never run, sessions of other programs. They
    /// go on without a row.
    pub without_outcome: usize,
    /// Sessions that cannot be read, each with the reason.
    pub damaged: Vec<(SessionId, String)>,
}

/// Goes through the sessions of the project.
pub(crate) async fn reindex(host: &Host) -> Result<Reindexed, ReachError> {
    let mut done = Reindexed::default();
    for summary in host.storage().list(&SessionQuery::default()).await? {
        let id = summary.id;
        if host.storage().holder(&id).await?.is_some() {
            done.running += 1;
            continue;
        }
        if let Some(reason) = summary.broken {
            done.damaged.push((id, reason));
            continue;
        }
        match guarded(&id, "load", host.storage().load(&id)).await {
            Ok(stored) => one(host, &id, &Arc::new(stored.metadata), &mut done).await?,
            Err(error @ (StorageError::Damaged { .. } | StorageError::DamagedMetadata { .. })) => {
                done.damaged.push((id, error.to_string()));
            }
            // Deleted meanwhile.
            Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

async fn one(
    host: &Host,
    id: &SessionId,
    metadata: &Arc<SessionMetadata>,
    done: &mut Reindexed,
) -> Result<(), StoreError> {
    let row = bounded(host, host.store().session(id)).await?;
    if let Some(row) = &row {
        match recover_one(host, row).await? {
            Some(verdict) => {
                let adopted = matches!(&verdict, amplifier_store::Verdict::Adopt(_));
                let known = intent(&metadata.amplifier).filter(|_| adopted);
                done.added.push((id.clone(), known.map_or(OutcomeKind::Lost, |known| known.outcome.kind)));
                return Ok(());
            }
            None if row.settled.is_none() => {
                done.running += 1;
                return Ok(());
            }
            None if row.activation >= metadata.amplifier.activation => {
                done.unchanged += 1;
                return Ok(());
            }
            None => {}
        }
    }
    let Some((outcome, event)) = ended(host, metadata) else {
        done.without_outcome += 1;
        return Ok(());
    };
    let kind = outcome.kind;
    match once(host, || row_of(host, id, metadata, (&outcome, event), row.as_ref())).await? {
        Receipt::Repeated(_) => done.unchanged += 1,
        _ => done.added.push((id.clone(), kind)),
    }
    Ok(())
}

/// How the files say that the last activation ended; nobody has the session open.
fn ended(host: &Host, metadata: &Arc<SessionMetadata>) -> Option<(Arc<SessionOutcome>, EventId)> {
    let record = &metadata.amplifier;
    if let Some(known) = intent(record).filter(|known| known.outcome.activation == record.activation) {
        return Some((known.outcome, known.event));
    }
    let lost = record.status.as_deref() == Some(RUNNING);
    lost.then(|| {
        let error = OutcomeError::new(FailureKind::Lost, LOST);
        let outcome = SessionOutcome::new(OutcomeKind::Lost, record.activation, String::new(), Some(error));
        (Arc::new(outcome), Facts::of(host, metadata).id)
    })
}

/// Why a session is lost of which only the files tell.
pub(crate) const LOST: &str = "its process ended without an outcome; resume the session to go on";

/// The commit that makes the row.
fn row_of(
    host: &Host,
    id: &SessionId,
    metadata: &Arc<SessionMetadata>,
    (outcome, event): (&Arc<SessionOutcome>, EventId),
    before: Option<&SessionRow>,
) -> Commit {
    let of = ActivationId::new(id.clone(), outcome.activation);
    let parent = metadata.spawned_by().cloned();
    let root = metadata.trace_id.clone().filter(|_| parent.is_some()).unwrap_or_else(|| id.clone());
    let bundle = metadata.amplifier.bundle_hash.as_deref().map(Arc::from);
    let place = Place { session: id, parent: parent.as_ref(), root: &root };
    let told = Facts::of(host, metadata).told_at(place, Arc::clone(outcome));
    let mut event = told.sealed(host, id, event);
    if let Some(at) = metadata.last_updated.or(metadata.created) {
        event.at = at;
    }
    let mut commit = Commit::new();
    if before.is_some() {
        commit = commit.write(Write::Forget { session: id.clone() });
    }
    let owner = host.0.owner.clone();
    commit
        .write(Write::Open { of: of.clone(), owner, parent: parent.clone(), root: root.clone(), bundle })
        .write(Write::Settle { of, outcome: Arc::clone(outcome), event: Box::new(event) })
}
