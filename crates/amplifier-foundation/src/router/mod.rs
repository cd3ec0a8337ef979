//! The event router: sessions and programs tell each other what happened.
//!
//! It is a view of the [`Store`]'s log. **Recorded** events (custom events, the ends of sessions, what
//! happens to runs) are committed first, and fan out after that in the order of the log, whichever process
//! recorded them. **Ephemeral** events have no sequence, are in no log, reach this process alone, and nobody
//! waits for them; the hook events of sessions come so, to whoever asks for them by name.
//!
//! Guarantees: a subscription is registered before `subscribe` returns; an event reaches a subscription
//! once, in the order of the log; a slow reader is told how much it missed and where to read on; every wait
//! ends; nobody can emit a kernel event; a chain of causes is not longer than its limit of hops.
//! Never here: what makes an event durable. That is the store's.

mod cloud_event;
mod consumer;
mod emitter;
mod error;
mod feed;
mod filter;
#[cfg(test)]
mod fuzz;
mod index;
mod replay;
mod ring;
mod subscription;
mod why;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::env::{EmitError, EventSink};
use amplifier_core::until::until;
use amplifier_core::{
    Cause, Clock, CustomName, Event, EventId, EventType, Ids, MonoTime, NewEvent, Payload, SessionEvent,
    SessionId, Timestamp,
};
use amplifier_store::{ActivationId, Commit, Declined, Expect, MemoryStore, Store, StoreError, Write};

pub use amplifier_store::Cursor;
pub use cloud_event::CloudEvent;
pub use consumer::{Consumer, DEFAULT_LEASE, Lease};
pub use emitter::{DEFAULT_MAX_HOPS, Emitter, SessionEvents};
pub use error::RouterError;
use feed::Feed;
pub use filter::{EventFilter, FieldValue, InvalidFilter};
pub use replay::Replay;
pub use subscription::{Delivery, Events, Subscription};
pub use why::{Link, Why};

/// How long a wait may read what lies in the log already, beyond its own time.
const READ_GRACE: Duration = Duration::from_secs(30);

/// The router of a host. Cheap to clone.
#[derive(Clone)]
pub struct EventRouter(Arc<Inner>);

struct Inner {
    feed: Arc<Feed>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    scope: Arc<str>,
}

impl Drop for Inner {
    /// Nobody records through this router any more: who reads shall not wait for it.
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl fmt::Debug for EventRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readers = self.0.feed.readers();
        f.debug_struct("EventRouter").field("scope", &self.0.scope).field("readers", &readers).finish()
    }
}

impl EventRouter {
    /// A router over a store's log. `scope` names the project in every event. Until somebody subscribes
    /// it asks the store for nothing.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        scope: impl Into<Arc<str>>,
    ) -> Self {
        Self(Arc::new(Inner { feed: Arc::default(), store, clock, ids, scope: scope.into() }))
    }

    /// A router over a store of its own in memory.
    pub fn in_memory(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, scope: impl Into<Arc<str>>) -> Self {
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock), ids.as_ref()));
        Self::new(store, clock, ids, scope)
    }

    /// Emits a custom event. `Ok`: it is recorded, durable as the store is, and every subscription has it or
    /// will. Dropped before that, it may be recorded or not.
    pub async fn emit<N>(&self, name: N, payload: impl Into<Payload>) -> Result<EventId, EmitError>
    where
        N: TryInto<CustomName>,
        EmitError: From<N::Error>,
    {
        // Made here, where it stays: an event is large, and a future that carries one is too. Its stamp first: what
        // was handed over a moment ago is slow to read at once.
        let (id, now) = self.stamp();
        let (name, payload) = (name.try_into()?, payload.into());
        payload.check()?;
        let event = self.sealed(NewEvent::custom(name, payload), (id, now));
        match self.append(event) {
            Ok(()) => Ok(id),
            Err(refused) => self.otherwise(refused).await,
        }
    }

    /// Emits a custom event in answer to another one: it has that as its cause, and is one hop further.
    pub async fn emit_after<N>(
        &self,
        cause: &SessionEvent,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<EventId, EmitError>
    where
        N: TryInto<CustomName>,
        EmitError: From<N::Error>,
    {
        let event = NewEvent::custom(name.try_into()?, payload).caused_by(Some(Cause::of(cause)));
        self.bounded(event, DEFAULT_MAX_HOPS, None).await
    }

    /// Emits a typed event.
    pub async fn emit_typed<E: Event>(&self, event: &E) -> Result<EventId, EmitError> {
        self.emit(E::NAME, Payload::encode(event)?).await
    }

    /// Tells an event that is in no log to who subscribes in this process now. Nobody waits for it; a reader
    /// that is too slow is told how many it lost.
    pub fn publish_ephemeral(&self, event: NewEvent) -> Result<EventId, EmitError> {
        let event = self.complete(event)?;
        if self.0.feed.is_closed() {
            return Err(EmitError::Closed);
        }
        let id = event.id;
        self.0.feed.tell(&event);
        Ok(id)
    }

    /// An emitter in the name of a session of which no more is known. Of one that runs here take
    /// [`SessionEvents`], which knows its tree and what caused it.
    pub fn emitter(&self, session: SessionId) -> Emitter {
        Emitter::new(self.clone(), session)
    }

    /// Subscribes to what is emitted from now on. Of what other processes emit, the first subscription of
    /// all hears once the store has looked at the log for the first time, milliseconds later;
    /// [`EventRouter::subscribe_from`] leaves nothing out.
    pub fn subscribe<F>(&self, filter: F) -> Result<Subscription, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        self.subscription(filter.try_into()?)
    }

    fn subscription(&self, filter: EventFilter) -> Result<Subscription, RouterError> {
        let (feed, store) = (&self.0.feed, &self.0.store);
        let reader = feed.add(store.as_ref(), filter)?;
        Ok(Subscription::new(Arc::clone(feed), store, reader))
    }

    /// A subscription that hears of what other processes record from now on too: else what they record
    /// between a look at the log and the store's own first look would reach nobody.
    async fn noted_subscription(&self, filter: EventFilter) -> Result<Subscription, RouterError> {
        let subscription = self.subscription(filter)?;
        let noted = &self.0.feed.noted;
        // A log of no number is that of a store that is not there yet.
        if noted.get().is_none() && self.tail().await?.log != 0 {
            let _ = noted.set(());
        }
        Ok(subscription)
    }

    /// Subscribes to a typed event.
    pub fn subscribe_to<E: Event>(&self) -> Result<Subscription, RouterError> {
        self.subscribe(E::NAME)
    }

    /// What the log holds from `cursor` on, and then what is emitted: no gap, no repetition. A place that the
    /// log does not hold is refused here.
    pub async fn subscribe_from<F>(&self, cursor: Cursor, filter: F) -> Result<Events, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        let subscription = self.noted_subscription(filter.try_into()?).await?;
        // The place alone is asked for: reading is the stream's.
        self.0.store.events(cursor, 0).await?;
        Ok(subscription.events_from(cursor))
    }

    /// Waits for the next event from now on that passes; `None` when the time is up. A filter for the end
    /// of given sessions also finds that one of them has ended before.
    pub async fn wait_for_event<F>(
        &self,
        filter: F,
        timeout: Duration,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        let filter: EventFilter = filter.try_into()?;
        let deadline = self.deadline(timeout);
        let mut events = self.noted_subscription(filter.clone()).await?.events();
        if let Some(sources) = filter.ends_of()
            && let Some(ended) = self.ended(&filter, sources, |_, _| true).await?
        {
            return Ok(Some(ended));
        }
        self.next_until(&mut events, deadline).await
    }

    /// Waits for the first event from `cursor` on that passes, and returns the place behind it;
    /// `None` when the time is up. What was emitted between the cursor and the call is found, and read
    /// whatever the time-out.
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
        self.wait_from(filter.try_into()?, cursor, timeout).await
    }

    async fn wait_from(
        &self,
        filter: EventFilter,
        cursor: Cursor,
        timeout: Duration,
    ) -> Result<Option<(Arc<SessionEvent>, Cursor)>, RouterError> {
        let deadline = self.deadline(timeout);
        let mut events = self.noted_subscription(filter).await?.events_from(cursor);
        let reading = deadline.saturating_add(READ_GRACE);
        let found = match until(events.replay(), self.0.clock.sleep_until(reading)).await {
            None => None,
            Some(Some(found)) => Some(found?),
            Some(None) => self.next_until(&mut events, deadline).await?,
        };
        Ok(found.map(|event| (event, Cursor { sequence: events.seen(), ..cursor })))
    }

    async fn next_until(
        &self,
        events: &mut Events,
        deadline: MonoTime,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError> {
        match until(events.next(), self.0.clock.sleep_until(deadline)).await {
            Some(Some(event)) => event.map(Some),
            Some(None) => Err(RouterError::Closed),
            None => Ok(None),
        }
    }

    /// The earliest end among those of sessions that have ended, if `fits` takes its event and place.
    async fn ended(
        &self,
        filter: &EventFilter,
        sources: &[SessionId],
        fits: impl Fn(EventId, u64) -> bool,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError> {
        let mut first: Option<Arc<SessionEvent>> = None;
        for id in sources {
            let Some(row) = self.0.store.session(id).await? else { continue };
            let Some(settled) = row.settled.clone().filter(|settled| fits(settled.event, settled.sequence))
            else {
                continue;
            };
            let event = match self.0.store.event(settled.event).await? {
                Some(event) => event,
                None => Arc::new(why::end_of(&row, &settled, &self.0.scope)),
            };
            let earlier = first.as_ref().is_none_or(|first| event.sequence < first.sequence);
            if earlier && filter.matches(&event) {
                first = Some(event);
            }
        }
        Ok(first)
    }

    fn deadline(&self, timeout: Duration) -> MonoTime {
        self.0.clock.monotonic().saturating_add(timeout)
    }

    /// The place behind the last recorded event.
    pub async fn tail(&self) -> Result<Cursor, RouterError> {
        let tail = self.0.store.tail().await?;
        let _ = self.0.feed.log.set(tail.log);
        Ok(tail)
    }

    /// The project that every event names.
    pub(crate) fn scope(&self) -> Arc<str> {
        Arc::clone(&self.0.scope)
    }

    /// How many subscriptions there are now.
    pub fn subscribers(&self) -> usize {
        self.0.feed.readers()
    }

    /// Ends every subscription after what it has not read yet; emits nothing any more.
    pub fn close(&self) {
        self.0.feed.close();
    }

    /// Records an event of any type. For the owners of sessions alone.
    pub(crate) async fn publish(&self, event: NewEvent) -> Result<EventId, EmitError> {
        let event = self.complete(event)?;
        let id = event.id;
        match self.append(event) {
            Ok(()) => Ok(id),
            Err(refused) => self.otherwise(refused).await,
        }
    }

    /// Appends an event, where the store takes it at once. `None`: nothing is emitted any more.
    #[inline]
    fn append(&self, event: Arc<SessionEvent>) -> Result<(), Option<Declined>> {
        if self.0.feed.is_closed() {
            return Err(None);
        }
        self.0.store.append_now(event).map_err(Some)
    }

    /// What becomes of an event that the store does not take at once. In a box, for the others' sake.
    #[cold]
    fn otherwise(&self, refused: Option<Declined>) -> BoxFuture<'_, Result<EventId, EmitError>> {
        Box::pin(async move {
            let Declined(event) = refused.ok_or(EmitError::Closed)?;
            self.commit(Box::new(Arc::unwrap_or_clone(event)), None).await
        })
    }

    /// The same of a session's event, while its activation has no outcome. What a store takes at once is in this
    /// process alone, where nobody takes a session from another.
    async fn publish_of(&self, event: NewEvent, of: &ActivationId) -> Result<EventId, EmitError> {
        let event = self.complete(event)?;
        let id = event.id;
        match self.append(event) {
            Ok(()) => Ok(id),
            Err(None) => Err(EmitError::Closed),
            Err(Some(Declined(event))) => self.commit(Box::new(Arc::unwrap_or_clone(event)), Some(of)).await,
        }
    }

    async fn commit(
        &self,
        event: Box<SessionEvent>,
        of: Option<&ActivationId>,
    ) -> Result<EventId, EmitError> {
        let (id, store) = (event.id, &self.0.store);
        let commit = Commit::from(Write::Append(event));
        let commit = of.iter().fold(commit, |commit, of| commit.when(Expect::SessionRunning((*of).clone())));
        match store.commit(commit).await {
            Ok(_) => Ok(id),
            Err(
                StoreError::Ended { of: ActivationId { session, activation } }
                | StoreError::Stale { session, expected: activation, .. },
            ) => Err(EmitError::TakenOver { session, activation }),
            Err(StoreError::Closed) => Err(EmitError::Closed),
            Err(StoreError::InDoubt { source }) => match store.event(id).await {
                Ok(Some(_)) => Ok(id),
                _ => Err(EmitError::InDoubt(source)),
            },
            Err(error) => Err(EmitError::Store(Box::new(error))),
        }
    }

    /// Records an event unless it is too far from the first of its chain. The first that is gets an event
    /// in its place that says so.
    async fn bounded(
        &self,
        event: NewEvent,
        max_hops: u32,
        of: Option<&ActivationId>,
    ) -> Result<EventId, EmitError> {
        if event.hops <= max_hops {
            return match of {
                Some(of) => Box::pin(self.publish_of(event, of)).await,
                None => self.publish(event).await,
            };
        }
        let (name, hops) = (event.event_type.name().to_owned(), event.hops);
        self.too_far(&event, &name, max_hops).await?;
        Err(EmitError::Hops { name, hops, limit: max_hops })
    }

    /// Records that a chain of causes was cut off, once: what follows this event is told to who tries it alone.
    async fn too_far(&self, event: &NewEvent, what: &str, max_hops: u32) -> Result<(), EmitError> {
        if event.hops != max_hops.saturating_add(1) {
            return Ok(());
        }
        let said = serde_json::json!({
            "policy": "max_hops", "refused": what, "hops": event.hops, "limit": max_hops,
            "session_id": event.source,
        });
        let mut told = NewEvent::of(EventType::PolicyViolation, said.into());
        (told.source, told.root) = (event.source.clone(), event.root.clone());
        (told.causation, told.correlation, told.hops) = (event.causation, event.correlation, event.hops);
        self.publish(told).await.map(drop)
    }

    /// Says that a cause starts no session, because it is too far from the first of its chain.
    pub(crate) async fn refuse_start(&self, cause: Cause, max_hops: u32) {
        let event = NewEvent::of(EventType::SessionStart, Payload::null()).caused_by(Some(cause));
        if let Err(error) = self.too_far(&event, "a session", max_hops).await {
            tracing::warn!(%error, "that a chain of events was cut off could not be recorded");
        }
    }

    /// An event of any type, complete but for its place: for who appends it in a commit of its own.
    pub fn seal(&self, event: NewEvent) -> Result<SessionEvent, EmitError> {
        self.complete(event).map(Arc::unwrap_or_clone)
    }

    fn complete(&self, event: NewEvent) -> Result<Arc<SessionEvent>, EmitError> {
        event.payload.check()?;
        Ok(self.sealed(event, self.stamp()))
    }

    /// What an event that is made now is known by.
    #[inline(always)]
    fn stamp(&self) -> (EventId, Timestamp) {
        let now = self.0.clock.now();
        (EventId(self.0.ids.v7(now)), now)
    }

    /// At its last place at once: an event is large, and moved as seldom as can be. Its payload was checked: what may
    /// be refused here would be put together twice.
    #[inline(always)]
    fn sealed(&self, event: NewEvent, (id, now): (EventId, Timestamp)) -> Arc<SessionEvent> {
        Arc::new(SessionEvent::seal(event, id, None, self.scope(), now))
    }

    /// Tells a terminal event that the store could not take, so that nobody waits for it for ever.
    pub(crate) fn tell_unrecorded(&self, event: SessionEvent) {
        self.0.feed.tell(&Arc::new(event));
    }
}

/// What sessions without a host's own emitter emit through: custom names only.
impl EventSink for EventRouter {
    fn emit<'a>(&'a self, event: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>> {
        Box::pin(emitter::custom(self, event, DEFAULT_MAX_HOPS, None))
    }
}
