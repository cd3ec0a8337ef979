//! One ring for all readers of equal filters.
//!
//! Guarantees: an event is put in once, however many read it; a reader sees each event once, in order,
//! and is told how many it lost; the ring holds at most [`CAPACITY`] events and [`MAX_BYTES`] of payload,
//! and nothing that everybody has read once all wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use amplifier_core::SessionEvent;

use super::filter::{Decoded, EventFilter};

/// Events that a reader may be behind before it lags.
pub(super) const CAPACITY: usize = 1_024;
/// Bytes of payload that a ring keeps for readers that are behind.
const MAX_BYTES: usize = 64 << 20;
/// Events that a reader takes at once.
const BATCH: usize = 64;

/// The events that pass one filter.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) filter: Arc<EventFilter>,
    passes: Passes,
    // Held to push, to take a batch, or to wait; readers are woken outside.
    state: Mutex<State>,
}

/// Which events of a name that matches pass, as far as that is known before they come.
#[derive(Debug, Clone, Copy)]
enum Passes {
    All,
    /// All that are recorded; of others some.
    Recorded,
    Some,
}

/// What a ring holds. What is asked of an event stands beside it, so that nobody need look into it.
#[derive(Debug)]
enum Entry {
    /// Sequence 0: an ephemeral one. Then the bytes of its payload.
    Event(u64, u32, Arc<SessionEvent>),
    /// So many places of the log, from `from` on, could not be told.
    Gap { missed: u64, from: u64 },
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The place behind the last entry, counted from the first that there ever was.
    head: u64,
    bytes: usize,
    /// Entries that are gaps.
    gaps: usize,
    /// Ephemeral events that were put in, and that were pushed out.
    ephemeral: u64,
    ephemeral_out: u64,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots that may hold a waker.
    queued: Vec<usize>,
    readers: usize,
    waiting: usize,
    closed: bool,
}

/// Where a reader waits.
#[derive(Debug, Default)]
struct Slot {
    waker: Option<Waker>,
    queued: bool,
}

/// Readers to be woken once no lock is held.
#[derive(Debug, Default)]
pub(super) struct Woken {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Woken {
    fn add(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    #[inline]
    pub(super) fn wake(self) {
        // Most of the time nobody waits.
        if let Some(first) = self.first {
            first.wake();
            self.more.into_iter().for_each(Waker::wake);
        }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(super) enum Read {
    Event(Arc<SessionEvent>),
    /// So many are missing; what was recorded of them lies from this sequence on, or from where this reader is.
    Lagged {
        missed: u64,
        from: Option<u64>,
    },
}

/// One reader's place in a ring.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) ring: Arc<Ring>,
    slot: usize,
    at: u64,
    /// Events that were taken and not read yet, the next one last.
    batch: Vec<Arc<SessionEvent>>,
    /// The recorded event that this reader gets behind the batch is this one or a later one; 0: the first that
    /// the router is told of.
    pub(super) floor: u64,
    ephemeral: u64,
    /// Ephemeral events that this reader has lost.
    pub(super) lost: u64,
}

impl Ring {
    pub(super) fn new(filter: Arc<EventFilter>) -> Arc<Self> {
        let passes = match (filter.is_by_name(), filter.asks_for_hooks()) {
            (false, _) => Passes::Some,
            (true, true) => Passes::All,
            (true, false) => Passes::Recorded,
        };
        Arc::new(Self { filter, passes, state: Mutex::default() })
    }

    /// True if an event of a name that matches passes.
    pub(super) fn passes(&self, event: &Decoded<'_>) -> bool {
        match self.passes {
            Passes::All => true,
            Passes::Recorded if event.event.sequence.is_some() => true,
            _ => self.filter.matches_but_name(event),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of what is put in from now on.
    pub(super) fn reader(self: &Arc<Self>, floor: u64) -> Reader {
        let mut state = self.lock();
        let slot = state.free.pop().unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() - 1
        });
        state.readers += 1;
        let (at, ephemeral) = (state.head, state.ephemeral);
        drop(state);
        let batch = Vec::new();
        Reader { ring: Arc::clone(self), slot, at, batch, floor, ephemeral, lost: 0 }
    }

    /// Takes a reader away; true if it was the last.
    pub(super) fn leave(&self, reader: &Reader) -> bool {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(reader.slot) {
            let waited = slot.waker.take().is_some();
            state.waiting -= usize::from(waited);
        }
        state.free.push(reader.slot);
        state.readers -= 1;
        state.readers == 0
    }

    pub(super) fn push(&self, event: &Arc<SessionEvent>, woken: &mut Woken) {
        let bytes = u32::try_from(event.payload.as_bytes().len()).unwrap_or(u32::MAX);
        self.put(Entry::Event(event.sequence.unwrap_or(0), bytes, Arc::clone(event)), woken);
    }

    pub(super) fn push_gap(&self, missed: u64, from: u64, woken: &mut Woken) {
        self.put(Entry::Gap { missed, from }, woken);
    }

    fn put(&self, entry: Entry, woken: &mut Woken) {
        let mut state = self.lock();
        match &entry {
            Entry::Event(sequence, bytes, _) => {
                state.bytes += *bytes as usize;
                state.ephemeral += u64::from(*sequence == 0);
            }
            Entry::Gap { .. } => state.gaps += 1,
        }
        if state.entries.len() == CAPACITY || state.bytes > MAX_BYTES {
            state.make_room();
        }
        state.entries.push_back(entry);
        state.head += 1;
        state.wake_all(woken);
    }

    pub(super) fn close(&self, woken: &mut Woken) {
        let mut state = self.lock();
        state.closed = true;
        state.wake_all(woken);
    }
}

impl State {
    fn make_room(&mut self) {
        while self.entries.len() >= CAPACITY || self.bytes > MAX_BYTES {
            let Some(entry) = self.entries.pop_front() else { return };
            match &entry {
                Entry::Event(sequence, bytes, _) => {
                    self.bytes -= *bytes as usize;
                    self.ephemeral_out += u64::from(*sequence == 0);
                }
                Entry::Gap { .. } => self.gaps -= 1,
            }
        }
    }

    /// Gives the first entries away, which are events.
    fn hand_over(&mut self, count: usize, mut take: impl FnMut(u64, Arc<SessionEvent>)) {
        let (mut given, mut ephemeral) = (0, 0);
        for entry in self.entries.drain(..count) {
            if let Entry::Event(sequence, bytes, event) = entry {
                given += bytes as usize;
                ephemeral += u64::from(sequence == 0);
                take(sequence, event);
            }
        }
        self.bytes -= given;
        self.ephemeral_out += ephemeral;
    }

    fn wake_all(&mut self, woken: &mut Woken) {
        while let Some(at) = self.queued.pop() {
            let slot = &mut self.slots[at];
            slot.queued = false;
            if let Some(waker) = slot.waker.take() {
                woken.add(waker);
            }
        }
        self.waiting = 0;
    }

    fn wait(&mut self, at: usize, waker: &Waker) {
        let slot = &mut self.slots[at];
        match &mut slot.waker {
            Some(known) => known.clone_from(waker),
            None => {
                slot.waker = Some(waker.clone());
                self.waiting += 1;
            }
        }
        if !std::mem::replace(&mut slot.queued, true) {
            self.queued.push(at);
        }
        if self.waiting == self.readers {
            // Nobody is behind.
            self.entries.clear();
            (self.bytes, self.gaps) = (0, 0);
            self.ephemeral_out = self.ephemeral;
        }
    }
}

impl Reader {
    /// The next event or loss; `None` once the ring is closed and everything was read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Read>> {
        if let Some(event) = self.batch.pop() {
            return Poll::Ready(Some(Read::Event(event)));
        }
        let mut state = self.ring.lock();
        let tail = state.head - state.entries.len() as u64;
        if self.at < tail {
            let missed = tail - self.at;
            self.at = tail;
            self.lost += state.ephemeral_out.saturating_sub(self.ephemeral);
            self.ephemeral = state.ephemeral_out;
            return Poll::Ready(Some(Read::Lagged { missed, from: None }));
        }
        let skip = usize::try_from(self.at - tail).unwrap_or(usize::MAX);
        let mut end = state.entries.len().min(skip.saturating_add(BATCH));
        if state.gaps > 0 {
            let gap = |entry: &Entry| matches!(entry, Entry::Gap { .. });
            end = state.entries.range(skip..end).position(gap).map_or(end, |at| skip + at);
            if let Some(Entry::Gap { missed, from }) = state.entries.get(skip) {
                self.at += 1;
                return Poll::Ready(Some(Read::Lagged { missed: *missed, from: Some(*from) }));
            }
        }
        self.at += (end - skip) as u64;
        let (batch, ephemeral, mut last) = (&mut self.batch, &mut self.ephemeral, 0);
        let mut take = |sequence: u64, event| {
            last = sequence.max(last);
            *ephemeral += u64::from(sequence == 0);
            batch.push(event);
        };
        if state.readers == 1 && skip == 0 {
            // Nobody else wants them: they are handed over.
            state.hand_over(end, take);
            self.batch.reverse();
        } else {
            for entry in state.entries.range(skip..end).rev() {
                if let Entry::Event(sequence, _, event) = entry {
                    take(*sequence, Arc::clone(event));
                }
            }
        }
        if last > 0 {
            self.floor = last + 1;
        }
        if let Some(event) = self.batch.pop() {
            return Poll::Ready(Some(Read::Event(event)));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.wait(self.slot, cx.waker());
        Poll::Pending
    }
}
