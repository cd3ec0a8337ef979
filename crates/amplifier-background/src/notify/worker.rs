//! One entry at work: it reads, delivers, and acknowledges.
//!
//! Guarantees: one event at a time, in the order of the log; a lease is renewed for as long as its event is in
//! hand, so that nobody else delivers it; every wait has an end. Never here: how something is delivered.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{CancelToken, Cause, CustomName, NewEvent};
use amplifier_foundation::Host;
use amplifier_foundation::router::{Consumer, DEFAULT_MAX_HOPS, Lease, RouterError};
use amplifier_store::{Commit, Write};
use serde_json::json;

use super::config::NotifyConfig;
use super::message::Notification;
use super::names::{Count, counter};
use super::{Delivery, DeliveryError};

/// The longest wait between two tries, also where a target asks for more.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// The longest wait between two tries where a target asks for nothing.
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);
/// How long an event stays in hand without a sign of life: who is killed delivers it again after that.
const LEASE: Duration = Duration::from_secs(10);
/// How often that sign is given.
const RENEW: Duration = Duration::from_secs(3);
/// How long a worker waits that cannot read the log.
const RETRY: Duration = Duration::from_secs(1);
/// The event that tells that one was given up.
const FAILED: &str = "notify:failed";

/// The wait after a try, counted from 1: 1 s, twice as long each time, ten minutes at most.
pub fn backoff(attempt: u32) -> Duration {
    let times = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_secs(1).saturating_mul(times).min(LONGEST_BACKOFF)
}

pub(super) struct Worker {
    pub(super) host: Host,
    pub(super) config: NotifyConfig,
    pub(super) delivery: Arc<dyn Delivery>,
    pub(super) key: String,
    pub(super) stop: CancelToken,
}

/// What became of an event in hand.
enum Handled {
    /// It is delivered, given up, or not wanted.
    Done,
    /// Somebody else has it, or it comes again at the next start.
    Left,
}

impl Worker {
    /// Works until it is stopped.
    pub(super) async fn run(self, consumer: Consumer) {
        let mut consumer = consumer.lease_for(LEASE);
        loop {
            let error = match until(consumer.next(), self.stop.cancelled()).await {
                None | Some(None) => return,
                Some(Some(Ok(lease))) => match self.handle(lease).await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(Some(Err(RouterError::Lost { missed, .. }))) => {
                    self.tell_missed(missed).await;
                    continue;
                }
                Some(Some(Err(RouterError::Closed))) => return,
                Some(Some(Err(error))) => error,
            };
            tracing::warn!(target = self.delivery.label(), %error, "notifications wait for the log");
            if until(self.host.clock().sleep(RETRY), self.stop.cancelled()).await.is_none() {
                return;
            }
        }
    }

    async fn handle(&self, lease: Lease) -> Result<(), RouterError> {
        if !self.wants(&lease) {
            return acknowledged(lease).await;
        }
        match self.deliver(&lease).await? {
            Handled::Done => acknowledged(lease).await,
            Handled::Left => Ok(()),
        }
    }

    fn wants(&self, lease: &Lease) -> bool {
        let event = &lease.event;
        // An entry is not told of what it has given up itself.
        let of_mine = event.event_type.name() == FAILED
            && event.payload.decode::<serde_json::Value>().is_ok_and(|said| said["key"] == self.key.as_str());
        !of_mine && self.config.wants(event)
    }

    /// Tries until it is delivered or given up.
    async fn deliver(&self, lease: &Lease) -> Result<Handled, RouterError> {
        let Some(mut notification) = Notification::of(&lease.event) else {
            self.give_up(lease, 0, "the event is no JSON").await?;
            return Ok(Handled::Done);
        };
        let most = self.delivery.attempts().max(1);
        loop {
            let delivering = self.delivery.deliver(&notification);
            let Some(delivered) = self.renewing(lease, delivering).await? else { return Ok(Handled::Left) };
            let tried = notification.attempt;
            let (reason, after) = match delivered {
                Ok(()) => return Ok(Handled::Done),
                Err(DeliveryError::Refused { reason }) => (reason, None),
                Err(DeliveryError::Later { reason, after }) if tried < most => {
                    (reason, Some(after.unwrap_or_default().max(backoff(tried)).min(LONGEST_WAIT)))
                }
                Err(DeliveryError::Later { reason, .. }) => (reason, None),
            };
            let Some(wait) = after else {
                self.give_up(lease, tried, &reason).await?;
                return Ok(Handled::Done);
            };
            tracing::warn!(
                target = self.delivery.label(), event = %lease.event.id, attempt = tried, ?wait, reason,
                "a notification was not delivered, and is tried again"
            );
            let waiting = until(self.host.clock().sleep(wait), self.stop.cancelled());
            match self.renewing(lease, waiting).await? {
                Some(Some(())) => notification.attempt += 1,
                _ => return Ok(Handled::Left),
            }
        }
    }

    /// Does something while the event is in hand. `None`: it is not in hand any more.
    async fn renewing<F: Future>(&self, lease: &Lease, doing: F) -> Result<Option<F::Output>, RouterError> {
        let mut doing = std::pin::pin!(doing);
        loop {
            if let Some(done) = until(doing.as_mut(), self.host.clock().sleep(RENEW)).await {
                return Ok(Some(done));
            }
            match lease.renew().await {
                Ok(()) => {}
                Err(RouterError::LeaseLost { .. }) => return Ok(None),
                // The lease may last; whoever cannot renew it finds out when it acknowledges.
                Err(error) => {
                    tracing::warn!(target = self.delivery.label(), %error, "a lease was not renewed");
                }
            }
        }
    }

    /// Counts that an event was given up, and tells it, in one commit.
    async fn give_up(&self, lease: &Lease, attempts: u32, reason: &str) -> Result<(), RouterError> {
        let (event, label) = (&lease.event, self.delivery.label());
        tracing::error!(target = label, event = %event.id, attempts, reason, "a notification was given up");
        let said = json!({
            "key": self.key, "target": label, "event": event.event_type, "event_id": event.id,
            "attempts": attempts, "error": reason,
        });
        let mut commit =
            Commit::from(Write::AddCounter { counter: counter(&self.key, Count::Failed), by: 1 });
        if let Ok(name) = CustomName::new(FAILED) {
            let told = NewEvent::custom(name, said).caused_by(Some(Cause::of(event)));
            // Entries that fail to tell of each other come to an end.
            if told.hops <= DEFAULT_MAX_HOPS
                && let Ok(told) = self.host.router().seal(told)
            {
                commit = commit.write(Write::Append(Box::new(told)));
            }
        }
        self.host.store().commit(commit).await.map(drop).map_err(RouterError::from)
    }

    async fn tell_missed(&self, missed: u64) {
        tracing::error!(
            target = self.delivery.label(),
            missed,
            "events were removed from the log before they were told"
        );
        let count = Write::AddCounter { counter: counter(&self.key, Count::Missed), by: missed };
        if let Err(error) = self.host.store().commit(count.into()).await {
            tracing::warn!(%error, "that events were missed is not counted");
        }
    }
}

/// Acknowledges. That somebody else has the event by now is their concern.
async fn acknowledged(lease: Lease) -> Result<(), RouterError> {
    match lease.ack().await {
        Err(RouterError::LeaseLost { .. }) => Ok(()),
        other => other,
    }
}
