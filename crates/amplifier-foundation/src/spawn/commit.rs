//! Calls of a store that may be anybody's: one that panics or hangs is one that is in doubt.
//!
//! Guarantees: every call here ends, at the latest after [`STORE_GRACE`].

use std::future::Future;
use std::time::Duration;

use amplifier_core::panic::caught;
use amplifier_core::until::until;

use crate::host::Host;
use crate::store::{Commit, Receipt, StoreError};

/// How long the store may take.
const STORE_GRACE: Duration = Duration::from_secs(30);

/// Why a store gave no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the store took too long")]
    Late,
    #[error("the store panicked: {0}")]
    Panicked(String),
}

/// Commits; in doubt, also if the store itself is, it is sent once more: of commits that hold a write that
/// happens once.
pub(super) async fn commit_once(host: &Host, commit: Commit) -> Result<Receipt, StoreError> {
    match self::commit(host, commit.clone()).await {
        Err(StoreError::InDoubt { source }) if !is_late(source.as_ref()) => self::commit(host, commit).await,
        other => other,
    }
}

/// Commits.
pub(super) async fn commit(host: &Host, commit: Commit) -> Result<Receipt, StoreError> {
    bounded(host, host.store().commit(commit)).await
}

/// One call of the store.
pub(super) async fn bounded<T>(
    host: &Host,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let clock = host.clock();
    let late = clock.sleep_until(clock.monotonic().saturating_add(STORE_GRACE));
    let in_doubt = |why: NoAnswer| Err(StoreError::InDoubt { source: Box::new(why) });
    match until(caught(call), late).await {
        Some(Ok(answer)) => answer,
        Some(Err(message)) => in_doubt(NoAnswer::Panicked(message)),
        None => in_doubt(NoAnswer::Late),
    }
}

fn is_late(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    source.downcast_ref::<NoAnswer>().is_some_and(|why| matches!(why, NoAnswer::Late))
}
