//! A store in memory: for hosts that open no file, and the model that others are compared with.
//!
//! Guarantees: the contract of [`Store`] within this process. A store that records can make
//! the image of a crash after any of its commits.
//! Never here: durability. `Ok` means held until the last clone is dropped. Sessions, runs,
//! issues with their notes, grants and counters are kept for ever, events up to [`LOG_CAPACITY`], keys for their time.

mod grant;
mod issues;
mod runs;
mod state;
mod table;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use amplifier_core::{Clock, EventId, Ids, IssueId, Payload, RunId, SessionEvent, SessionId, Timestamp};
use async_trait::async_trait;

use super::{
    ActivationId, Command, Commit, ConsumerName, CounterName, Cursor, Declined, DedupKey, EventPage, Grant,
    IssueCounts, IssueFilter, IssueNote, IssueRow, Lease, LeaseKey, LogListener, OwnerId, QueueName,
    ReadyRuns, Receipt, RunFilter, RunRow, SessionFilter, SessionRow, Settled, Store, StoreError,
};
pub use state::LOG_CAPACITY;
use state::{Kept, State};

/// A store in memory. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    // One lock for all, so that a commit is one step to every reader. Held for one commit or
    // one read; never across an await or a callback.
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    state: State,
    /// Who listens, until nobody else holds it: a look at a count is cheaper than an upgrade, at each event.
    listeners: Vec<Arc<dyn LogListener>>,
    /// Every commit that was applied, if they are recorded.
    journal: Option<Vec<(Timestamp, Commit)>>,
    refused_posts: u64,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("tail", &self.lock().state.tail()).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store. `clock` is the store's own; `ids` tell its log from others.
    pub fn new(clock: Arc<dyn Clock>, ids: &dyn Ids) -> Self {
        Self::with(clock, ids.v4().as_u64_pair().1, None)
    }

    /// An empty store that keeps every commit, for [`MemoryStore::image_after`]. It grows
    /// without bound: for tests.
    pub fn recording(clock: Arc<dyn Clock>, ids: &dyn Ids) -> Self {
        Self::with(clock, ids.v4().as_u64_pair().1, Some(Vec::new()))
    }

    fn with(clock: Arc<dyn Clock>, log: u64, journal: Option<Vec<(Timestamp, Commit)>>) -> Self {
        let inner = Inner { state: State::new(log), listeners: Vec::new(), journal, refused_posts: 0 };
        Self { clock, inner: Arc::new(Mutex::new(inner)) }
    }

    /// How many commits are recorded: those that were applied.
    pub fn recorded(&self) -> usize {
        self.lock().journal.as_ref().map_or(0, Vec::len)
    }

    /// The store as if the process had died after the n-th recorded commit: a store of its
    /// own, which records too. Each commit is checked again as it is recovered.
    pub fn image_after(&self, n: usize) -> Result<Self, StoreError> {
        let (log, commits) = {
            let inner = self.lock();
            let journal = inner.journal.as_deref().unwrap_or_default();
            let no_image = || StoreError::NoImage { wanted: n, have: journal.len() };
            (inner.state.log, journal.get(..n).ok_or_else(no_image)?.to_vec())
        };
        let mut state = State::new(log);
        for (number, (at, commit)) in commits.iter().enumerate() {
            let receipt = state.apply(commit.clone(), *at)?;
            if receipt.applied().is_none() {
                return Err(StoreError::Damaged { what: format!("commit {} is there twice", number + 1) });
            }
        }
        state.check()?;
        let inner = Inner { state, listeners: Vec::new(), journal: Some(commits), refused_posts: 0 };
        Ok(Self { clock: Arc::clone(&self.clock), inner: Arc::new(Mutex::new(inner)) })
    }

    fn write(&self, commit: Commit) -> Result<Receipt, StoreError> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let copy = inner.journal.is_some().then(|| commit.clone());
        let receipt = inner.state.apply(commit, now)?;
        if let (Receipt::Applied(_), Some(journal), Some(copy)) = (&receipt, &mut inner.journal, copy) {
            journal.push((now, copy));
        }
        if let Receipt::Applied(applied) = &receipt {
            inner.tell(&applied.events, !applied.commands.is_empty(), &applied.queued);
        }
        Ok(receipt)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Tells those who listen; with the lock held, so in the order of the log.
    fn tell(&mut self, events: &[Arc<SessionEvent>], commanded: bool, queued: &[QueueName]) {
        if events.is_empty() && !commanded && queued.is_empty() {
            return;
        }
        let mut gone = false;
        for listener in &self.listeners {
            if is_gone(listener) {
                gone = true;
                continue;
            }
            if !events.is_empty() {
                listener.recorded(events);
            }
            if commanded {
                listener.commanded();
            }
            if !queued.is_empty() {
                listener.queued(Some(queued));
            }
        }
        if gone {
            self.listeners.retain(|listener| !is_gone(listener));
        }
    }
}

/// True if whoever listened is there no more.
fn is_gone(listener: &Arc<dyn LogListener>) -> bool {
    Arc::strong_count(listener) == 1
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<Receipt, StoreError> {
        self.write(commit)
    }

    fn post(&self, commit: Commit) -> Result<(), StoreError> {
        if let Err(error) = self.write(commit) {
            self.lock().refused_posts += 1;
            tracing::warn!(%error, "a commit that nobody waits for was refused");
        }
        Ok(())
    }

    fn refused_posts(&self) -> u64 {
        self.lock().refused_posts
    }

    fn append_now(&self, mut event: Arc<SessionEvent>) -> Result<(), Declined> {
        let mut inner = self.lock();
        if inner.journal.is_some() || event.event_type.is_terminal() {
            return Err(Declined(event));
        }
        // Copied only if somebody else holds it.
        Arc::make_mut(&mut event).sequence = Some(inner.state.tail().sequence);
        inner.tell(std::slice::from_ref(&event), false, &[]);
        inner.state.append_alone(event);
        Ok(())
    }

    fn listen(&self, listener: Weak<dyn LogListener>) {
        let mut inner = self.lock();
        inner.listeners.retain(|listener| !is_gone(listener));
        inner.listeners.extend(listener.upgrade());
    }

    async fn tail(&self) -> Result<Cursor, StoreError> {
        Ok(self.lock().state.tail())
    }

    async fn events(&self, from: Cursor, limit: usize) -> Result<EventPage, StoreError> {
        let state = &self.lock().state;
        state.check_place(from)?;
        let skip = usize::try_from(from.sequence - state.oldest).unwrap_or(usize::MAX);
        let events: Vec<_> = state.events.iter().skip(skip).take(limit).cloned().collect();
        let sequence = from.sequence + events.len() as u64;
        Ok(EventPage { events, next: Cursor { sequence, ..from } })
    }

    async fn event(&self, id: EventId) -> Result<Option<Arc<SessionEvent>>, StoreError> {
        Ok(self.lock().state.events.iter().rev().find(|event| event.id == id).cloned())
    }

    async fn commands(&self, to: &OwnerId, limit: usize) -> Result<Vec<Command>, StoreError> {
        let lock = self.lock();
        Ok(lock.state.commands.values().filter(|row| row.to == *to).take(limit).cloned().collect())
    }

    async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.lock().state.sessions.get(id).cloned())
    }

    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        let state = &self.lock().state;
        let rows = state.sessions.behind(filter.after.as_ref()).filter(|row| filter.fits(row));
        Ok(rows.take(filter.limit).cloned().collect())
    }

    async fn settled(&self, of: &ActivationId) -> Result<Option<Settled>, StoreError> {
        Ok(self.lock().state.settled.get(of).cloned())
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        Ok(self.lock().state.run(id).cloned())
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let state = &self.lock().state;
        let Some(session) = &filter.session else { return Ok(state.runs.find(filter)) };
        Ok(state.attempts.get(session).map_or_else(Vec::new, |place| state.runs.find_at(*place, filter)))
    }

    async fn ready_runs(&self, queue: &QueueName, limit: usize) -> Result<ReadyRuns, StoreError> {
        let now = self.clock.now();
        Ok(self.lock().state.runs.ready(queue, now, limit))
    }

    async fn count_queued(&self, queue: &QueueName) -> Result<u64, StoreError> {
        Ok(self.lock().state.runs.count(queue))
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        Ok(self.lock().state.runs.queues())
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        let now = self.clock.now();
        let lock = self.lock();
        Ok(lock.state.leases.get(key).map(|held| Lease {
            key: key.clone(),
            owner: held.owner.clone(),
            epoch: held.epoch,
            left: held.until.saturating_since(now),
        }))
    }

    async fn cursor(&self, consumer: &ConsumerName) -> Result<Option<Cursor>, StoreError> {
        Ok(self.lock().state.cursors.get(consumer).copied())
    }

    async fn grant(&self, of: &ActivationId) -> Result<Option<Grant>, StoreError> {
        Ok(self.lock().state.grants.get(of).cloned())
    }

    async fn counter(&self, counter: &CounterName) -> Result<u64, StoreError> {
        Ok(self.lock().state.counters.get(counter).copied().unwrap_or(0))
    }

    async fn key(&self, key: &DedupKey) -> Result<Option<Payload>, StoreError> {
        let now = self.clock.now();
        Ok(self.lock().state.kept(key, now).map(|kept| kept.value.clone()))
    }

    async fn keys(
        &self,
        prefix: &str,
        after: Option<&DedupKey>,
        limit: usize,
    ) -> Result<Vec<(DedupKey, Payload)>, StoreError> {
        let now = self.clock.now();
        let state = &self.lock().state;
        let fits = |(key, kept): &(&DedupKey, &Kept)| key.as_str().starts_with(prefix) && kept.until > now;
        let found = state.keys.entries_behind(after).filter(fits).take(limit);
        Ok(found.map(|(key, kept)| (key.clone(), kept.value.clone())).collect())
    }
    async fn issue(&self, id: &IssueId) -> Result<Option<IssueRow>, StoreError> {
        Ok(self.lock().state.issues.get(id).cloned())
    }

    async fn issues(&self, filter: &IssueFilter) -> Result<Vec<IssueRow>, StoreError> {
        Ok(self.lock().state.issues.find(filter))
    }

    async fn count_issues(&self) -> Result<IssueCounts, StoreError> {
        Ok(self.lock().state.issues.count())
    }

    async fn issue_notes(
        &self,
        id: &IssueId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<IssueNote>, StoreError> {
        Ok(self.lock().state.issues.notes(id, after, limit))
    }
}
