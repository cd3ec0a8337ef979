//! Calls of a store that may be anybody's: one that panics or hangs is one that is in doubt.
//!
//! Guarantees: every call here ends, at the latest after [`STORE_GRACE`], and none panics.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use amplifier_core::panic::{caught, message};
use amplifier_core::until::until;

use super::finish::within;
use crate::host::Host;
use amplifier_store::{Commit, Receipt, StoreError};

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

impl From<NoAnswer> for StoreError {
    fn from(why: NoAnswer) -> Self {
        Self::InDoubt { source: Box::new(why) }
    }
}

/// Commits what happens once; in doubt it is sent a second time.
pub(super) async fn once(host: &Host, commit: impl Fn() -> Commit) -> Result<Receipt, StoreError> {
    match bounded(host, host.store().commit(commit())).await {
        Err(StoreError::InDoubt { source }) if !source.is::<NoAnswer>() => {
            bounded(host, host.store().commit(commit())).await
        }
        other => other,
    }
}

/// Hands a commit over, as [`post`](amplifier_store::Store::post) does.
pub(super) fn post(host: &Host, commit: Commit) -> Result<(), StoreError> {
    let posted = catch_unwind(AssertUnwindSafe(|| host.store().post(commit)));
    posted.unwrap_or_else(|panic| Err(NoAnswer::Panicked(message(panic.as_ref())).into()))
}

/// What somebody gets ready beside the store; nothing where that panics or takes too long.
pub(super) async fn heard<T: Default>(host: &Host, call: impl Future<Output = T>) -> T {
    match until(caught(call), within(host.clock(), STORE_GRACE)).await {
        Some(Ok(answer)) => answer,
        other => {
            let error = other.and_then(Result::err).unwrap_or_else(|| NoAnswer::Late.to_string());
            tracing::warn!(error, "what belongs together with an outcome could not be got ready");
            T::default()
        }
    }
}

/// One call of the store.
pub(super) async fn bounded<T>(
    host: &Host,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match until(caught(call), within(host.clock(), STORE_GRACE)).await {
        Some(Ok(answer)) => answer,
        Some(Err(message)) => Err(NoAnswer::Panicked(message).into()),
        None => Err(NoAnswer::Late.into()),
    }
}
