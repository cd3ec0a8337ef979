//! Durable consumers: each event of the log is handled at least once, across restarts, by one reader at a time.
//!
//! A consumer's cursor in the store is its floor: everything before it is acknowledged, or does not pass its
//! filter. Above it, each event that somebody has or had in hand is a lease in the store, named by its
//! sequence; who holds the lease has the event, and the lease's owner says which attempt it is. An
//! acknowledged event whose floor cannot rise yet keeps its lease, owned by [`ACKED`].
//!
//! Guarantees: what is not acknowledged is delivered again, by whichever reader of this name is there;
//! an acknowledgement counts only while its lease is held; nothing is passed over silently.
//! Never here: exactly once. Who handles an event twice must bear it.

mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{MonoTime, SessionEvent};
use amplifier_store::{
    Commit, ConsumerName, CounterName, Epoch, Expect, LeaseKey, OwnerId, Receipt, Store, StoreError, Write,
};

use super::{Cursor, EventFilter, EventRouter, Events, RouterError};
use view::{Item, State, View};

/// How long a reader may have an event in hand before others get it, unless it renews its lease.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);
/// Who owns the leases of events that are acknowledged above the floor.
const ACKED: &str = "acked";
/// Who owns the leases of events that were given back.
const NOBODY: &str = "nobody";
/// How long an acknowledged event above the floor is remembered: for ever, as far as stores count.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
/// How often an event that another process has is looked at.
const RECHECK: Duration = Duration::from_secs(2);
/// Places that a reader passes over before it moves the floor though nothing was acknowledged.
const IDLE_PLACES: u64 = 1_024;
/// How often a commit is tried again because another reader was faster.
const TRIES: usize = 64;

/// A reader of a durable consumer. Others of the same name, here or elsewhere, get other events.
#[derive(Debug)]
pub struct Consumer {
    inner: Arc<Inner>,
    events: Events,
}

/// An event in hand. Acknowledge it; dropped, it is delivered again, to whoever asks next.
#[derive(Debug)]
#[must_use = "an event that is not acknowledged is delivered again"]
pub struct Lease {
    /// The event.
    pub event: Arc<SessionEvent>,
    /// Which delivery of it this is, from 1; later readers count on.
    pub attempt: u32,
    sequence: u64,
    epoch: Epoch,
    inner: Arc<Inner>,
    done: bool,
}

struct Inner {
    router: EventRouter,
    name: String,
    /// The name of its cursor: of this generation, so that a reset cannot be undone by who slept through it.
    cursor: ConsumerName,
    log: u64,
    owner: OwnerId,
    // Held to look or change; never across an await.
    view: Mutex<View>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("name", &self.name).field("floor", &self.view().floor).finish()
    }
}

impl EventRouter {
    /// A reader of a durable consumer. The first one of a name begins at the end of the log; later ones go on
    /// where it was left, with the same filter. Ephemeral events do not reach consumers.
    pub async fn consumer<F>(&self, name: &str, filter: F) -> Result<Consumer, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        self.open_consumer(name, filter.try_into()?, None).await
    }

    /// The same, but the first one of a name begins at `from`.
    pub async fn consumer_from<F>(&self, name: &str, from: Cursor, filter: F) -> Result<Consumer, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        self.open_consumer(name, filter.try_into()?, Some(from)).await
    }

    /// Forgets where a consumer is, and its filter. Readers that have it open are told so; what they have in
    /// hand they cannot acknowledge any more.
    pub async fn reset_consumer(&self, name: &str) -> Result<(), RouterError> {
        let (store, generations) = (&self.0.store, counter(&[name, "generation"])?);
        let consumer = cursor_name(name, store.counter(&generations).await?)?;
        let commit = Commit::from(Write::DropCursor { consumer })
            .write(Write::AddCounter { counter: generations, by: 1 });
        let _ = store.commit(commit).await?;
        self.0.feed.released.notify_waiters();
        Ok(())
    }

    async fn open_consumer(
        &self,
        name: &str,
        filter: EventFilter,
        from: Option<Cursor>,
    ) -> Result<Consumer, RouterError> {
        let store = &self.0.store;
        let subscription = self.noted_subscription(filter.clone()).await?;
        let generation = store.counter(&counter(&[name, "generation"])?).await?;
        let cursor = cursor_name(name, generation)?;
        let filters = counter(&[name, &generation.to_string(), "filter"])?;
        let mark = fingerprint(&filter);
        let floor = match store.cursor(&cursor).await? {
            Some(floor) => floor,
            None => begin(store.as_ref(), self, (&cursor, &filters), mark, from).await?,
        };
        if store.counter(&filters).await? != mark {
            return Err(RouterError::FilterChanged { consumer: name.to_owned() });
        }
        let (at, items) = (floor.sequence, BTreeMap::new());
        let view = View { floor: at, scanned: at, items, ttl: DEFAULT_LEASE };
        let inner = Inner {
            router: self.clone(),
            name: name.to_owned(),
            cursor,
            log: floor.log,
            owner: OwnerId::fresh(self.0.ids.as_ref()),
            view: Mutex::new(view),
        };
        Ok(Consumer { inner: Arc::new(inner), events: subscription.events_from(floor) })
    }
}

/// Makes the cursor; if another reader was faster, its.
async fn begin(
    store: &dyn Store,
    router: &EventRouter,
    (cursor, filters): (&ConsumerName, &CounterName),
    mark: u64,
    from: Option<Cursor>,
) -> Result<Cursor, RouterError> {
    let floor = match from {
        Some(from) => from,
        None => router.tail().await?,
    };
    let commit = Commit::from(Write::SetCursor { consumer: cursor.clone(), cursor: floor })
        .write(Write::AddCounter { counter: filters.clone(), by: mark })
        .when(Expect::CursorAt { consumer: cursor.clone(), cursor: None });
    match store.commit(commit).await {
        // Of a place that was named before there was a log, the store says which log it is of.
        Ok(_) => Ok(store.cursor(cursor).await?.unwrap_or(floor)),
        Err(StoreError::CursorIs { found: Some(found), .. }) => Ok(found),
        Err(error) => Err(error.into()),
    }
}

fn counter(parts: &[&str]) -> Result<CounterName, RouterError> {
    Ok(CounterName::new(format!("consumer/{}", parts.join("/")))?)
}

/// The name itself, and after a reset with the number of resets.
fn cursor_name(name: &str, generation: u64) -> Result<ConsumerName, RouterError> {
    Ok(match generation {
        0 => ConsumerName::new(name)?,
        _ => ConsumerName::new(format!("{name}~{generation}"))?,
    })
}

/// 63 bits of the filter's hash, and never 0.
fn fingerprint(filter: &EventFilter) -> u64 {
    let hash = blake3::hash(filter.to_string().as_bytes());
    let (head, _) = hash.as_bytes().split_at(8);
    head.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) >> 1 | 1
}

impl Consumer {
    /// How long an event may be in hand before others get it; a minute by default. For what is delivered
    /// from now on.
    #[must_use]
    pub fn lease_for(self, ttl: Duration) -> Self {
        self.inner.view().ttl = ttl;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The next event that nobody has in hand; `None` once the router is shut down. Dropped while it
    /// waits, nothing is lost: an event that was just taken comes again when its lease has run out.
    ///
    /// [`RouterError::Lost`] says once that the log no longer holds where the consumer was; after any
    /// other error the next call tries again.
    pub async fn next(&mut self) -> Option<Result<Lease, RouterError>> {
        loop {
            match self.step().await {
                Ok(Step::Leased(lease)) => return Some(Ok(lease)),
                Ok(Step::Again) => {}
                Ok(Step::Closed) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn step(&mut self) -> Result<Step, RouterError> {
        // From before the look, so that what is given back meanwhile wakes.
        let router = self.inner.router.clone();
        let released = router.0.feed.released.notified();
        let now = router.0.clock.monotonic();
        let (due, next) = self.inner.view().due(now);
        if let Some((sequence, event)) = due {
            return Ok(self.inner.take(sequence, event).await?.map_or(Step::Again, Step::Leased));
        }
        if self.inner.idle_places() >= IDLE_PLACES {
            self.inner.raise(Vec::new(), None).await?;
        }
        let recheck = next.unwrap_or_else(|| now.saturating_add(FOR_EVER));
        let waiting = async {
            tokio::select! {
                biased;
                event = self.events.next() => Some(event),
                () = released => None,
            }
        };
        match until(waiting, router.0.clock.sleep_until(recheck)).await {
            None => Ok(Step::Again),
            Some(None) => {
                self.inner.view().recheck_all();
                Ok(if router.0.feed.is_closed() { Step::Closed } else { Step::Again })
            }
            Some(Some(None)) => Ok(Step::Closed),
            Some(Some(Some(Err(RouterError::Gone { oldest })))) => Err(self.skip(oldest).await?),
            Some(Some(Some(Err(error)))) => Err(error),
            Some(Some(Some(Ok(event)))) => match event.sequence {
                None => Ok(Step::Again),
                Some(sequence) => {
                    self.inner.found(sequence, &event);
                    Ok(self.inner.take(sequence, event).await?.map_or(Step::Again, Step::Leased))
                }
            },
        }
    }

    /// Goes on at the oldest event, and says what that loses.
    async fn skip(&mut self, oldest: Cursor) -> Result<RouterError, RouterError> {
        let inner = &self.inner;
        if oldest.log != inner.log {
            return Ok(RouterError::Gone { oldest });
        }
        let before = inner.view().floor;
        inner.raise(Vec::new(), Some(oldest.sequence)).await?;
        let subscription = inner.router.subscription(self.events.filter().clone())?;
        self.events = subscription.events_from(oldest);
        let missed = oldest.sequence.saturating_sub(before);
        Ok(RouterError::Lost { consumer: inner.name.clone(), missed, oldest })
    }
}

enum Step {
    Leased(Lease),
    Again,
    Closed,
}

impl Inner {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> &dyn Store {
        self.router.0.store.as_ref()
    }

    fn key(&self, sequence: u64) -> Result<LeaseKey, RouterError> {
        Ok(LeaseKey::new(format!("consumer/{}/{sequence}", self.cursor))?)
    }

    fn owned(&self, owner: &str, attempt: u32) -> Result<OwnerId, RouterError> {
        Ok(OwnerId::new(format!("{owner}/{attempt}"))?)
    }

    fn idle_places(&self) -> u64 {
        let view = self.view();
        view.reach().saturating_sub(view.floor)
    }

    /// Takes an event, if nobody has it.
    async fn take(
        self: &Arc<Self>,
        sequence: u64,
        event: Arc<SessionEvent>,
    ) -> Result<Option<Lease>, RouterError> {
        let key = self.key(sequence)?;
        let held = self.store().lease(&key).await?;
        if held.as_ref().is_some_and(|held| held.owner.as_str().starts_with(ACKED)) {
            let epoch = held.map_or(Epoch(0), |held| held.epoch);
            self.note(sequence, &event, State::Acked(epoch));
            return Ok(None);
        }
        if held.is_none() && self.passed(sequence).await? {
            return Ok(None);
        }
        let attempt = 1 + held.as_ref().map_or(0, |held| attempt_of(&held.owner));
        let (owner, ttl) = (self.owned(self.owner.as_str(), attempt)?, self.view().ttl);
        let take = Write::TakeLease { key: key.clone(), owner, ttl, over: None };
        // Fenced by the floor: what was acknowledged since is not taken once more.
        let commit = Commit::from(take).when(self.at_floor());
        match self.store().commit(commit).await {
            Ok(Receipt::Applied(applied)) => {
                let epoch = applied.epochs.first().map_or(Epoch(0), |(_, epoch)| *epoch);
                self.note(sequence, &event, State::Mine);
                let inner = Arc::clone(self);
                Ok(Some(Lease { event, attempt, sequence, epoch, inner, done: false }))
            }
            Ok(_) => Ok(None),
            Err(StoreError::LeaseTaken { .. }) => {
                let left = held.map_or(RECHECK, |held| held.left.min(RECHECK).max(Duration::from_millis(10)));
                let at = self.router.0.clock.monotonic().saturating_add(left);
                self.note(sequence, &event, State::Elsewhere(at));
                Ok(None)
            }
            Err(StoreError::CursorIs { found, .. }) => {
                self.floor_is(found)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Notes an event of which it is not known yet who has it, in one step with how far was looked: the floor
    /// cannot pass it.
    fn found(&self, sequence: u64, event: &Arc<SessionEvent>) {
        let state = State::Elsewhere(MonoTime::default());
        let mut view = self.view();
        if sequence >= view.floor {
            view.items.insert(sequence, Item { event: Arc::clone(event), state });
        }
        view.scanned = view.scanned.max(sequence + 1);
    }

    fn note(&self, sequence: u64, event: &Arc<SessionEvent>, state: State) {
        let mut view = self.view();
        if sequence >= view.floor {
            view.items.insert(sequence, Item { event: Arc::clone(event), state });
        }
    }

    /// True if the floor has passed an event, as the store has it now.
    async fn passed(&self, sequence: u64) -> Result<bool, RouterError> {
        let found = self.store().cursor(&self.cursor).await?;
        self.floor_is(found)?;
        Ok(sequence < self.view().floor)
    }

    /// Notes the floor that the store has.
    fn floor_is(&self, found: Option<Cursor>) -> Result<(), RouterError> {
        let found = found.ok_or_else(|| RouterError::Reset { consumer: self.name.clone() })?;
        self.view().rise(found.sequence);
        Ok(())
    }

    fn at_floor(&self) -> Expect {
        let floor = Cursor { log: self.log, sequence: self.view().floor };
        Expect::CursorAt { consumer: self.cursor.clone(), cursor: Some(floor) }
    }

    /// Acknowledges, and raises the floor as far as it goes.
    async fn ack(&self, sequence: u64, epoch: Epoch, attempt: u32) -> Result<(), RouterError> {
        let (key, owner) = (self.key(sequence)?, self.owned(self.owner.as_str(), attempt)?);
        let held = Expect::LeaseHeld { key: key.clone(), owner, epoch };
        self.look_at_those_before(sequence).await?;
        let above = {
            let view = self.view();
            view.items.range(..sequence).any(|(_, item)| !matches!(item.state, State::Acked(_)))
        };
        let done = Write::ReleaseLease { key: key.clone(), epoch };
        if sequence < self.view().floor {
            // The log was pruned up to behind it.
            let receipt = self.store().commit(Commit::from(done).when(held)).await;
            return receipt.map(drop).map_err(|error| lease_error(error, sequence));
        }
        if above {
            let owner = self.owned(ACKED, attempt)?;
            let kept = Write::TakeLease { key, owner, ttl: FOR_EVER, over: None };
            let commit = Commit::from(done).write(kept).when(held);
            let receipt = self.store().commit(commit).await.map_err(|error| lease_error(error, sequence))?;
            let epoch = receipt.applied().and_then(|applied| Some(applied.epochs.first()?.1));
            if let Some(item) = self.view().items.get_mut(&sequence) {
                item.state = State::Acked(epoch.unwrap_or(Epoch(0)));
            }
            return Ok(());
        }
        if let Some(item) = self.view().items.get_mut(&sequence) {
            item.state = State::Acked(epoch);
        }
        let raised = self.raise(vec![held], None).await.map_err(|error| match error {
            RouterError::Store(error) => lease_error(error, sequence),
            other => other,
        });
        if raised.is_err()
            && let Some(item) = self.view().items.get_mut(&sequence)
        {
            item.state = State::Mine;
        }
        raised
    }

    /// Finds out what others have acknowledged below an event.
    async fn look_at_those_before(&self, sequence: u64) -> Result<(), RouterError> {
        let elsewhere: Vec<u64> = {
            let view = self.view();
            let below = view.items.range(..sequence);
            below.filter(|(_, item)| matches!(item.state, State::Elsewhere(_))).map(|(at, _)| *at).collect()
        };
        for at in elsewhere {
            match self.store().lease(&self.key(at)?).await? {
                Some(held) if held.owner.as_str().starts_with(ACKED) => {
                    if let Some(item) = self.view().items.get_mut(&at) {
                        item.state = State::Acked(held.epoch);
                    }
                }
                Some(_) => return Ok(()),
                None if self.passed(at).await? => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Raises the floor as far as this reader knows, or to `to`, and gives back the leases below it.
    async fn raise(&self, expects: Vec<Expect>, to: Option<u64>) -> Result<(), RouterError> {
        for _ in 0..TRIES {
            let (floor, target, acked) = {
                let view = self.view();
                let target = to.unwrap_or_else(|| view.reach()).max(view.floor);
                let acked: Vec<(u64, Epoch)> = view
                    .items
                    .range(..target)
                    .filter_map(|(at, item)| match item.state {
                        State::Acked(epoch) => Some((*at, epoch)),
                        _ => None,
                    })
                    .collect();
                (view.floor, target, acked)
            };
            let cursor = Cursor { log: self.log, sequence: target };
            let mut commit = Commit::new().when(self.at_floor());
            commit.expects.extend(expects.iter().cloned());
            for (at, epoch) in &acked {
                commit = commit.write(Write::ReleaseLease { key: self.key(*at)?, epoch: *epoch });
            }
            if target > floor {
                commit = commit.write(Write::SetCursor { consumer: self.cursor.clone(), cursor });
            }
            if commit.writes.is_empty() {
                return Ok(());
            }
            match self.store().commit(commit).await {
                Ok(_) => {
                    self.view().rise(target);
                    return Ok(());
                }
                Err(StoreError::CursorIs { found, .. }) => self.floor_is(found)?,
                // A store that keeps its log short has pruned it; the reader will be told.
                Err(StoreError::Gone { .. }) if to.is_none() && expects.is_empty() => return Ok(()),
                Err(error) => return Err(RouterError::Store(error)),
            }
        }
        Err(RouterError::Store(StoreError::Busy { holder: None }))
    }
}

fn lease_error(error: StoreError, sequence: u64) -> RouterError {
    match error {
        StoreError::LeaseLost { .. } => RouterError::LeaseLost { sequence },
        other => other.into(),
    }
}

/// Which attempt an owner's name tells.
fn attempt_of(owner: &OwnerId) -> u32 {
    owner.as_str().rsplit_once('/').and_then(|(_, attempt)| attempt.parse().ok()).unwrap_or(0)
}

impl Lease {
    /// Acknowledges the event: it is delivered to nobody any more. `Ok` is durable as the store is. Out of
    /// order is fine. [`RouterError::LeaseLost`]: it took too long, and somebody else has or had it.
    pub async fn ack(mut self) -> Result<(), RouterError> {
        self.inner.ack(self.sequence, self.epoch, self.attempt).await?;
        self.done = true;
        Ok(())
    }

    /// Keeps the event for as long again, counted from now.
    pub async fn renew(&self) -> Result<(), RouterError> {
        let (key, epoch) = (self.inner.key(self.sequence)?, self.epoch);
        let renew = Write::RenewLease { key, epoch, ttl: self.inner.view().ttl };
        let receipt = self.inner.store().commit(renew.into()).await;
        receipt.map(drop).map_err(|error| lease_error(error, self.sequence))
    }

    /// Gives the event back; it stays on record which attempt this was.
    fn give_back(&self) -> Result<(), RouterError> {
        let (key, epoch) = (self.inner.key(self.sequence)?, self.epoch);
        let owner = self.inner.owned(NOBODY, self.attempt)?;
        let give = Write::ReleaseLease { key: key.clone(), epoch };
        let keep = Write::TakeLease { key, owner, ttl: Duration::ZERO, over: None };
        self.inner.store().post(Commit::from(give).write(keep))?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(error) = self.give_back() {
            tracing::debug!(consumer = self.inner.name, %error, "a lease runs out by itself");
        }
        if let Some(item) = self.inner.view().items.get_mut(&self.sequence) {
            item.state = State::Free;
        }
        self.inner.router.0.feed.released.notify_waiters();
    }
}
