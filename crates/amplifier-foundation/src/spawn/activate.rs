//! The last of step 5: the activation's row in the store.
//!
//! Guarantees: where a session begins, the store says that this host runs it; where it does not, the store
//! says so only if it could not be asked any more. An earlier activation that ended here and that the store
//! could not settle then, is settled now with its outcome on record: a store that failed once locks nobody out.
//! Nor does a process that is gone, and where the files were ahead of the store or behind it, they count:
//! who opens a session holds its lock.

use std::sync::Arc;

use amplifier_core::env::SessionEnv;
use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_core::{AmplifierSession, EventId, OutcomeKind, SessionOutcome};

use super::SpawnError;
use super::commit::{bounded, post};
use super::key::SessionKey;
use super::record::Recorded;
use super::resolve::Resolved;
use super::terminal::Facts;
use super::together::{Together, both};
use crate::host::{Host, commands};
use crate::router::SessionEvents;
use amplifier_store::{ActivationId, Commit, Cursor, Receipt, Repeated, StoreError, Write, reconcile};

/// What became of an activation that was to be opened.
enum Opened {
    /// It is open; with the place in the log at which it was, where the store has said that.
    At(Option<Cursor>),
    /// Another session of the key was first.
    Taken,
}

/// Opens the activation; false if another session of the key was first.
pub(super) async fn open(
    host: &Host,
    session: &AmplifierSession,
    resolved: &Resolved,
    recorded: &Recorded,
    (key, together): (Option<&SessionKey>, Option<&Arc<dyn Together>>),
) -> Result<bool, SpawnError> {
    commands::listen(host);
    let env = session.env();
    let bundle = Some(Arc::from(resolved.plan.bundle.content_hash.as_str()));
    let of = ActivationId::new(env.session.clone(), env.activation);
    let (owner, parent, root) = (host.0.owner.clone(), env.parent.clone(), env.root.clone());
    let mut commit = Commit::from(Write::Open { of: of.clone(), owner, parent, root, bundle });
    if let Some(key) = key {
        commit = commit.write(key.put(session.id())?);
    }
    if let Some(together) = together {
        commit = both(commit, together.opening(&of));
    }
    let copy = (env.activation.0 > 1).then(|| commit.clone());
    let opened = match (bounded(host, host.store().commit(commit)).await, copy) {
        (Err(StoreError::StillRunning { owner, .. }), Some(commit))
            if owner == host.0.owner || !host.lives(&owner) =>
        {
            let settled = both(Box::pin(settling(host, env, recorded)).await?, commit.clone());
            let receipt = match bounded(host, host.store().commit(settled)).await {
                // Somebody else has settled it meanwhile, and so nothing of this was written.
                Ok(Receipt::Repeated(Repeated::Settled { .. })) => {
                    bounded(host, host.store().commit(commit)).await
                }
                other => other,
            };
            opened(host, &of, (env, recorded), receipt).await
        }
        (Err(StoreError::Stale { .. }), Some(commit)) => {
            let forget = Write::Forget { session: of.session.clone() };
            let commit = both(forget.into(), commit);
            opened(host, &of, (env, recorded), bounded(host, host.store().commit(commit)).await).await
        }
        (receipt, _) => opened(host, &of, (env, recorded), receipt).await,
    }?;
    let Opened::At(tail) = opened else { return Ok(false) };
    if let Some(events) = env.coordinator.capability::<SessionEvents>() {
        events.opened(of);
        let tail = match tail {
            Some(tail) => Ok(tail),
            None => Box::pin(bounded(host, host.store().tail())).await,
        };
        match tail {
            Ok(tail) => events.started(tail),
            Err(error) => tracing::warn!(session = %env.session, %error, "a session's waits begin late"),
        }
    }
    Ok(true)
}

/// What a receipt says; in doubt, what the store has.
async fn opened(
    host: &Host,
    of: &ActivationId,
    (env, recorded): (&SessionEnv, &Recorded),
    receipt: Result<Receipt, StoreError>,
) -> Result<Opened, SpawnError> {
    match receipt {
        Ok(Receipt::Repeated(Repeated::Key { .. })) => Ok(Opened::Taken),
        Ok(receipt) => Ok(Opened::At(receipt.applied().and_then(|applied| applied.tail))),
        Err(error @ StoreError::InDoubt { .. }) => {
            match bounded(host, host.store().session(&of.session)).await {
                Ok(Some(row)) if row.last() == *of && row.owner == host.0.owner => Ok(Opened::At(None)),
                _ => {
                    give_up(host, of, env, recorded);
                    Err(error.into())
                }
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The store may still open what nobody will run: it is settled as lost right behind.
fn give_up(host: &Host, of: &ActivationId, env: &SessionEnv, recorded: &Recorded) {
    let error = OutcomeError::new(FailureKind::Lost, "the store has recorded it too late for it to begin");
    let outcome = SessionOutcome::new(OutcomeKind::Lost, of.activation, String::new(), Some(error));
    let outcome = Arc::new(outcome);
    let told = Facts::of(host, &recorded.metadata).told(env, Arc::clone(&outcome));
    let id = EventId(host.ids().v7(host.clock().now()));
    let event = Box::new(told.sealed(host, &env.session, id));
    let settle = Write::Settle { of: of.clone(), outcome, event };
    if let Err(error) = post(host, settle.into()) {
        tracing::warn!(session = %env.session, %error, "a session that did not begin may be shown as running");
    }
}

/// The commit that settles the activation before this one. Nobody runs it: its storage is open here.
async fn settling(host: &Host, env: &SessionEnv, recorded: &Recorded) -> Result<Commit, SpawnError> {
    let row = bounded(host, host.store().session(&env.session)).await?;
    let left = reconcile(row.iter(), |_| false, |_| recorded.before.clone());
    let id = EventId(host.ids().v7(host.clock().now()));
    let settle = left.first().map(|recovery| {
        let told = Facts::of(host, &recorded.metadata).told(env, recovery.outcome());
        recovery.settle(told.sealed(host, &env.session, id))
    });
    Ok(settle.unwrap_or_default())
}
