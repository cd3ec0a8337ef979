//! `notify`: somebody is told when something failed, died or asks.
//!
//! Each entry is a durable consumer of the event log. It begins where the log ended when it was first
//! started, and goes on where it was left.
//!
//! Guarantees: an event is acknowledged after its delivery, so it is delivered at least once, also when the
//! process is killed in between; a delivery that comes again carries the same event id. A target that fails
//! holds up no other one; what waits for it waits in the log. What is given up is counted and told.
//! Never here: how something is delivered, and which bundle an event came from.

mod config;
mod message;
mod names;
mod template;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelReason, CancelToken};
use amplifier_foundation::Host;
use amplifier_foundation::router::{Cursor, RouterError};
use tokio::task::JoinSet;

pub use config::{DEFAULT_EVENTS, DEFAULT_TIMEOUT, NotifyConfig, NotifyTarget};
pub use message::Notification;
pub use names::{GivenUp, given_up};
pub use template::{Argument, UnknownPlaceholder};
pub use worker::{LONGEST_WAIT, backoff};

use worker::Worker;

/// How notifications of one entry get to where they belong.
pub trait Delivery: Send + Sync + fmt::Debug {
    /// What a person calls the target. Never an address's path or query, which may hold a secret.
    fn label(&self) -> String;

    /// How often an event is tried before it is given up.
    fn attempts(&self) -> u32;

    /// Delivers. `Ok`: it was taken. Dropped, the delivery is cut off. Ends by itself, in bounded time.
    fn deliver<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), DeliveryError>>;

    /// Ends what deliveries have left running. Nothing is delivered after that.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Why something was not delivered. The reason holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// It may work later.
    #[error("{reason}")]
    Later {
        /// Why.
        reason: String,
        /// After how long, if the target says so.
        after: Option<Duration>,
    },
    /// It will never work.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

impl DeliveryError {
    /// It may work later.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after: None }
    }

    /// It will never work.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// Entries at work. Dropped, deliveries are cut off, and come again at the next start.
#[derive(Debug)]
#[must_use = "nobody is told anything once this is dropped"]
pub struct Notifier {
    host: Host,
    stop: CancelToken,
    workers: JoinSet<()>,
    deliveries: Vec<Arc<dyn Delivery>>,
}

impl Notifier {
    /// Starts to tell. `Ok`: the place of each entry in the log is durable, so that nothing is missed from now on.
    /// A new entry begins at `since`, else at the end of the log.
    /// Entries that are declared no more are forgotten; one whose events have changed goes on where it was.
    pub async fn start(
        host: &Host,
        entries: Vec<(NotifyConfig, Arc<dyn Delivery>)>,
        since: Option<Cursor>,
    ) -> Result<Self, RouterError> {
        let opened = names::open(host, entries.iter().map(|(config, _)| config), since).await?;
        let (stop, mut workers) = (CancelToken::new(), JoinSet::new());
        let deliveries = entries.iter().map(|(_, delivery)| Arc::clone(delivery)).collect();
        for ((config, delivery), opened) in entries.into_iter().zip(opened) {
            let worker = Worker { host: host.clone(), config, delivery, key: opened.key, stop: stop.clone() };
            workers.spawn(worker.run(opened.consumer));
        }
        Ok(Self { host: host.clone(), stop, workers, deliveries })
    }

    /// Begins no delivery any more, and waits for those that have begun, for so long at most. What was cut off
    /// comes again at the next start.
    pub async fn stop(mut self, within: Duration) {
        self.stop.cancel(CancelLevel::Graceful, CancelReason::Shutdown);
        let ended = async { while self.workers.join_next().await.is_some() {} };
        until(ended, self.host.clock().sleep(within)).await;
        self.workers.shutdown().await;
        for delivery in &self.deliveries {
            delivery.close().await;
        }
    }
}
