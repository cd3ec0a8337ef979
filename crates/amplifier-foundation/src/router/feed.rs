//! The feed: what the store tells, and what is told without it, to the rings.
//!
//! Guarantees: recorded events reach the rings in the order of the log, each once; a reader is registered
//! before it is returned; what the store could not tell is told as lost. A feed without readers asks the
//! store for nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use amplifier_core::{EventType, SessionEvent, SessionId};
use amplifier_store::{Cursor, LogListener, Store};
use tokio::sync::Notify;

use super::RouterError;
use super::filter::EventFilter;
use super::index::Index;
use super::ring::{Reader, Woken};

/// What all handles and readers of a router share.
#[derive(Debug, Default)]
pub(super) struct Feed {
    // Held to fan out one batch, or to add or remove a reader; no await, no callback. Rings are locked within.
    state: Mutex<State>,
    listening: OnceLock<()>,
    /// Set once the store has taken note of where we begin.
    pub(super) noted: OnceLock<()>,
    /// One bit for each hook event that somebody asks for. Relaxed: who asks later sees what comes later.
    hooks: AtomicU64,
    /// Set with the lock held, so that no reader is added after the last was told; read without.
    closed: AtomicBool,
    /// Tells this log's cursors from another's, once that is known.
    pub(super) log: OnceLock<u64>,
    /// Leases of consumers that were dropped.
    pub(super) released: Notify,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    readers: usize,
    /// Sequences of the first and behind the last event that the store has told; 0: none yet.
    first: u64,
    next: u64,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a reader, and with the first one the feed itself.
    pub(super) fn add(
        self: &Arc<Self>,
        store: &dyn Store,
        filter: EventFilter,
    ) -> Result<Reader, RouterError> {
        // Without our lock: the store calls us with its own held. Who comes second waits for who came first.
        self.listening.get_or_init(|| {
            let weak: Weak<Self> = Arc::downgrade(self);
            store.listen(weak);
        });
        let mut state = self.lock();
        if self.is_closed() {
            return Err(RouterError::Closed);
        }
        let ring = state.index.ring(filter);
        let reader = ring.reader(state.next);
        state.readers += 1;
        self.hooks.store(state.index.hook_bits(), Ordering::Relaxed);
        Ok(reader)
    }

    pub(super) fn remove(&self, reader: &Reader) {
        let mut state = self.lock();
        state.readers -= 1;
        if reader.ring.leave(reader) {
            state.index.remove(&reader.ring);
            self.hooks.store(state.index.hook_bits(), Ordering::Relaxed);
        }
    }

    /// How many readers there are.
    pub(super) fn readers(&self) -> usize {
        self.lock().readers
    }

    /// The sequence of the first event that the store has told.
    pub(super) fn first(&self) -> u64 {
        self.lock().first
    }

    /// True if somebody asks for a hook event from there.
    pub(super) fn wants(&self, event: &EventType, source: &SessionId, root: &SessionId) -> bool {
        let bits = self.hooks.load(Ordering::Relaxed);
        bits != 0
            && event.index().is_some_and(|at| bits & (1 << at) != 0)
            && self.lock().index.wants(event, Some(source), Some(root))
    }

    /// Tells an ephemeral event.
    pub(super) fn tell(&self, event: &Arc<SessionEvent>) {
        let mut woken = Woken::default();
        let mut state = self.lock();
        if !self.is_closed() {
            state.index.push(event, &mut woken);
        }
        drop(state);
        woken.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        let mut woken = Woken::default();
        let state = self.lock();
        self.closed.store(true, Ordering::Release);
        state.index.each(|ring| ring.close(&mut woken));
        self.hooks.store(0, Ordering::Relaxed);
        drop(state);
        woken.wake();
        self.released.notify_waiters();
    }
}

impl LogListener for Feed {
    fn recorded(&self, events: &[Arc<SessionEvent>]) {
        let mut woken = Woken::default();
        let mut state = self.lock();
        for event in events {
            let Some(sequence) = event.sequence else { continue };
            if state.next == 0 {
                state.first = sequence;
            }
            state.next = sequence + 1;
            if !self.is_closed() {
                state.index.push(event, &mut woken);
            }
        }
        drop(state);
        woken.wake();
    }

    fn missed(&self, resume: Cursor) {
        let _ = self.log.set(resume.log);
        let mut woken = Woken::default();
        let mut state = self.lock();
        let from = if state.next == 0 { resume.sequence } else { state.next };
        if state.next == 0 {
            state.first = resume.sequence;
        }
        let missed = resume.sequence.saturating_sub(from).max(1);
        state.next = resume.sequence;
        if !self.is_closed() {
            state.index.each(|ring| ring.push_gap(missed, from, &mut woken));
        }
        drop(state);
        woken.wake();
    }

    fn commanded(&self) {}
}
