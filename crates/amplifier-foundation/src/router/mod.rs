//! The event router: sessions and programs tell each other what happened.
//!
//! Guarantees: a subscription is registered before `subscribe` returns; an event
//! reaches a subscription once, in the order of the log; a slow reader is told
//! how much it missed and where to read on; nobody can emit a kernel event.
//! The log is in memory and holds the last 16,384 recorded events.

mod filter;
mod state;
mod subscription;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::env::{EmitError, EventSink};
use amplifier_core::event::InvalidName;
use amplifier_core::until::until;
use amplifier_core::{
    Clock, CustomName, Event, EventId, EventType, Ids, NewEvent, Payload, SessionEvent, SessionId,
};

pub use amplifier_store::Cursor;
pub use filter::EventFilter;
use state::Shared;
pub use subscription::{Delivery, Events, Subscription};

/// Why the router did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// A filter or name is malformed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The router is shut down.
    #[error("the event router is shut down")]
    Closed,
    /// A cursor points before the oldest event, or into another log.
    #[error("the log no longer holds that place; the oldest event is {}", oldest.sequence)]
    Gone {
        /// The oldest place that can be read.
        oldest: Cursor,
    },
}

impl From<std::convert::Infallible> for RouterError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// The router of a host. Cheap to clone.
#[derive(Clone)]
pub struct EventRouter {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    scope: Arc<str>,
}

impl fmt::Debug for EventRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRouter").field("scope", &self.scope).field("tail", &self.tail()).finish()
    }
}

impl EventRouter {
    /// A router with an empty log in memory. `scope` names the project in every event.
    pub fn in_memory(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, scope: impl Into<Arc<str>>) -> Self {
        let log = ids.v4().as_u64_pair().1;
        Self { shared: Shared::new(log), clock, ids, scope: scope.into() }
    }

    /// Emits a custom event. `Ok` once it is in the log; in memory that is not durable.
    pub async fn emit<N>(&self, name: N, payload: impl Into<Payload>) -> Result<EventId, EmitError>
    where
        N: TryInto<CustomName>,
        EmitError: From<N::Error>,
    {
        self.publish(NewEvent::custom(name.try_into()?, payload)).await
    }

    /// An emitter in the name of a session.
    pub fn emitter(&self, session: SessionId) -> Emitter {
        Emitter { router: self.clone(), session }
    }

    /// Subscribes to what is emitted from now on.
    pub fn subscribe<F>(&self, filter: F) -> Result<Subscription, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        self.subscription(filter.try_into()?)
    }

    fn subscription(&self, filter: EventFilter) -> Result<Subscription, RouterError> {
        let reader = self.shared.add(filter)?;
        Ok(Subscription::new(Arc::clone(&self.shared), reader))
    }

    /// Subscribes to a typed event.
    pub fn subscribe_to<E: Event>(&self) -> Result<Subscription, RouterError> {
        self.subscribe(E::NAME)
    }

    /// Waits for the next event from now on that passes; `None` when the time is up.
    pub async fn wait_for_event<F>(
        &self,
        filter: F,
        timeout: Duration,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        let found = self.wait_after(filter, self.tail(), timeout).await?;
        Ok(found.map(|(event, _)| event))
    }

    /// Waits for the first event from `cursor` on that passes, and returns the place behind it;
    /// `None` when the time is up. What was emitted between the cursor and the call is found.
    pub async fn wait_after<F>(
        &self,
        filter: F,
        cursor: Cursor,
        timeout: Duration,
    ) -> Result<Option<(Arc<SessionEvent>, Cursor)>, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        let filter = filter.try_into()?;
        let deadline = self.clock.monotonic().saturating_add(timeout);
        let mut subscription = self.subscription(filter.clone())?;
        let found = match self.shared.find(cursor, &filter)? {
            Some(event) => Some(event),
            None => {
                let next = async {
                    loop {
                        match subscription.next().await {
                            Some(Delivery::Event(event)) if event.sequence >= Some(cursor.sequence) => {
                                return Some(event);
                            }
                            Some(_) => {}
                            None => return None,
                        }
                    }
                };
                match until(next, self.clock.sleep_until(deadline)).await {
                    Some(Some(event)) => Some(event),
                    Some(None) => return Err(RouterError::Closed),
                    None => None,
                }
            }
        };
        Ok(found.map(|event| {
            let sequence = event.sequence.map_or(cursor.sequence, |sequence| sequence + 1);
            (event, Cursor { log: self.shared.log, sequence })
        }))
    }

    /// The place behind the last recorded event.
    pub fn tail(&self) -> Cursor {
        self.shared.tail()
    }

    /// The project that every event names.
    pub(crate) fn scope(&self) -> Arc<str> {
        Arc::clone(&self.scope)
    }

    /// How many subscriptions there are now.
    pub fn subscribers(&self) -> usize {
        self.shared.readers()
    }

    /// Ends every subscription after what it has not read yet; emits nothing any more.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Records an event of any type. For the owners of sessions alone.
    pub(crate) async fn publish(&self, event: NewEvent) -> Result<EventId, EmitError> {
        let now = self.clock.now();
        let id = EventId(self.ids.v7(now));
        self.record(event, id).map(|_| id)
    }

    /// Records an event whose id was made before.
    pub(crate) fn record(&self, event: NewEvent, id: EventId) -> Result<Arc<SessionEvent>, EmitError> {
        let now = self.clock.now();
        let seal = |sequence| SessionEvent::seal(event, id, Some(sequence), Arc::clone(&self.scope), now);
        self.shared.append(seal).map_err(|_| EmitError::Closed)
    }
}

/// What sessions emit through: custom names only.
impl EventSink for EventRouter {
    fn emit<'a>(&'a self, event: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>> {
        Box::pin(async move {
            match &event.event_type {
                EventType::Custom(_) => self.publish(event).await,
                kernel => Err(EmitError::Kernel { name: kernel.name().to_owned() }),
            }
        })
    }
}

/// Emits in the name of one session.
#[derive(Debug, Clone)]
pub struct Emitter {
    router: EventRouter,
    session: SessionId,
}

impl Emitter {
    /// Emits a custom event.
    pub async fn emit<N>(&self, name: N, payload: impl Into<Payload>) -> Result<EventId, EmitError>
    where
        N: TryInto<CustomName>,
        EmitError: From<N::Error>,
    {
        let event = NewEvent::custom(name.try_into()?, payload).from_session(self.session.clone());
        self.router.publish(event).await
    }
}
