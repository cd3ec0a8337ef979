//! A trigger that code fires.
//!
//! Guarantees: [`ManualHandle::fire`] returns `Ok` only after whoever takes the events in has said that
//! this one is durable; what cannot wait is refused, never dropped in silence.

use std::time::Duration;

use amplifier_core::{Payload, Timestamp};

use crate::config::TriggerKind;
use crate::event::{Acceptance, Cause, TriggerEvent, TriggerEventId};
use crate::mailbox::{CAPACITY, Inlet, Outlet, PATIENCE, PostError, mailbox};
use crate::source::{TriggerContext, TriggerSource, TriggerStream};

/// The source; its handle fires it.
#[derive(Debug)]
pub struct ManualTrigger {
    outlet: Outlet,
}

/// Fires a [`ManualTrigger`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ManualHandle {
    inlet: Inlet,
}

/// Why a call did not become an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FireError {
    /// The queue is full.
    #[error("the queue of the trigger is full; try again in {}", amplifier_fs::duration::format(*retry_after))]
    Full {
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// The trigger has ended, is not running, or did not take the call.
    #[error("the trigger does not run; start its background session")]
    Closed,
    /// There was no answer in time: it may yet be taken in. Fire with a key to ask again without harm.
    #[error(
        "the trigger did not answer within {}; it may have taken the call",
        amplifier_fs::duration::format(PATIENCE)
    )]
    InDoubt,
    /// Whoever takes the events in refused this one, or a policy left it out.
    #[error("the call was rejected: {reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
}

impl ManualTrigger {
    /// A trigger and the handle that fires it.
    pub fn new() -> (Self, ManualHandle) {
        Self::until(None)
    }

    pub(crate) fn until(end_time: Option<Timestamp>) -> (Self, ManualHandle) {
        let (inlet, outlet) = mailbox(end_time);
        (Self { outlet }, ManualHandle { inlet })
    }
}

impl TriggerSource for ManualTrigger {
    fn at_once(&self) -> usize {
        CAPACITY
    }

    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        self.outlet.watch(context)
    }
}

impl ManualHandle {
    /// Fires once, and waits until that is durable. At most 64 calls wait; one more is [`FireError::Full`].
    pub async fn fire(&self, payload: impl Into<Payload>) -> Result<TriggerEventId, FireError> {
        self.post(None, payload.into()).await
    }

    /// As [`fire`](Self::fire), but the same key (of at most 200 bytes) is the same firing: repeated, it
    /// returns the first one's id and nothing runs again, for as long as the store keeps the key.
    pub async fn fire_once(
        &self,
        key: &str,
        payload: impl Into<Payload>,
    ) -> Result<TriggerEventId, FireError> {
        self.post(Some(nominal("k-", key.as_bytes())), payload.into()).await
    }

    async fn post(&self, nominal: Option<String>, payload: Payload) -> Result<TriggerEventId, FireError> {
        let compose = move |context: &TriggerContext, now: Timestamp| {
            let nominal = nominal.unwrap_or_else(|| format!("m-{}", context.ids.v7(now)));
            let id = context.event_id(&nominal)?;
            Ok(TriggerEvent::new(id, TriggerKind::Manual, now, Cause::Manual, payload))
        };
        match self.inlet.post(Box::new(compose)).await {
            Ok((id, Acceptance::Accepted)) => Ok(id),
            Ok((_, Acceptance::Repeated(id))) => Ok(id),
            Ok((_, Acceptance::Full { retry_after })) => Err(FireError::Full { retry_after }),
            Ok((_, Acceptance::Ignored { reason } | Acceptance::Rejected { reason })) => {
                Err(FireError::Rejected { reason })
            }
            Err(PostError::Full) => Err(FireError::Full { retry_after: Duration::from_secs(1) }),
            Err(PostError::Closed) => Err(FireError::Closed),
            Err(PostError::InDoubt) => Err(FireError::InDoubt),
        }
    }
}

/// A nominal part of an id that stands for any text.
pub(crate) fn nominal(prefix: &str, text: &[u8]) -> String {
    let hash = blake3::hash(text).to_hex();
    format!("{prefix}{}", &hash.as_str()[..32])
}
