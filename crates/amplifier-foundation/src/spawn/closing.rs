//! A resume of a session whose end is told and whose storage is not free yet.
//!
//! The store tells the end as it settles it, which is before the storage is closed: so that whoever opens the
//! session next finds it settled. Who resumes at that word waits here for the moment in between.
//!
//! Guarantees: only a session that the store says has ended is waited for, and not for long.

use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{Activation, SessionId};

use super::commit::bounded;
use crate::host::Host;

/// How long a session that has ended may hold its storage.
const GRACE: Duration = Duration::from_secs(5);
/// How often the storage of one that ended in another process is tried.
const RETRY: Duration = Duration::from_millis(10);

/// True once the storage of an activation that has ended is worth another try; false if it has not
/// ended, or holds its storage for too long. `again`: it was tried once more already.
pub(super) async fn is_over(host: &Host, id: &SessionId, activation: Activation, again: &mut bool) -> bool {
    let row = match bounded(host, host.store().session(id)).await {
        Ok(Some(row)) if row.activation == activation => row,
        _ => return false,
    };
    let Some(settled) = row.settled else { return false };
    if host.sessions().get(id).is_some_and(|live| live.activation() == activation) {
        return until(host.sessions().left(id, activation), host.clock().sleep(GRACE)).await.is_some();
    }
    if row.owner == host.0.owner {
        // It may have left since its storage was tried. One that is stuck, or could not close it, has not.
        return !std::mem::replace(again, true);
    }
    let fresh = host.clock().now().saturating_since(settled.at) < GRACE;
    if fresh {
        host.clock().sleep(RETRY).await;
    }
    fresh
}
