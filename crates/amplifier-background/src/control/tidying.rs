//! What an owner does now and then so that the store does not grow without end.
//!
//! Guarantees: what is beyond the bounds of a retention is dropped within an hour and a bit, in small
//! transactions; what a durable consumer loses by it is counted and told. It ends with the owner.
//! Never here: what the bounds are.

use std::time::Duration;

use amplifier_core::causes::chain;
use amplifier_foundation::Host;
use amplifier_store::{Retained, Retention};

/// How long after its start an owner looks for the first time: what begins has other things to do.
const FIRST: Duration = Duration::from_secs(60);
/// How often it looks then.
const EVERY: Duration = Duration::from_secs(3_600);

/// Drops what is beyond the bounds, until it is dropped itself.
pub(super) async fn tidy(host: Host, retention: Retention) {
    let mut wait = FIRST;
    loop {
        host.clock().sleep(wait).await;
        match host.store().retain(&retention).await {
            Ok(retained) => tell(&retained),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "what is too old could not be dropped; it is tried again in an hour");
            }
        }
        wait = EVERY;
    }
}

fn tell(retained: &Retained) {
    let Retained { events, runs, sessions, commands, lost, .. } = retained;
    if events + runs + sessions + commands > 0 {
        tracing::info!(events, runs, sessions, commands, "what was too old was dropped");
    }
    for (consumer, events) in lost {
        tracing::warn!(%consumer, events, "a consumer has not read events in time, and they were dropped");
    }
}
