//! The log and the readers, behind one lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use amplifier_core::SessionEvent;

use super::{Cursor, Delivery, EventFilter, RouterError};

/// Events that a reader may be behind before it lags.
pub(super) const READER_CAPACITY: usize = 1_024;
/// Recorded events that are kept for readers who look back.
pub(super) const LOG_CAPACITY: usize = 16_384;

#[derive(Debug)]
pub(super) struct Shared {
    // Held to append, fan out, or copy a range; no await, no callback but filters.
    state: Mutex<State>,
    /// Tells this log's cursors from another's.
    pub(super) log: u64,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<SessionEvent>>,
    next: u64,
    readers: Vec<Arc<Reader>>,
    closed: bool,
}

/// One reader's queue.
#[derive(Debug)]
pub(super) struct Reader {
    filter: EventFilter,
    // Held to push or pop; the waker is woken outside.
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<SessionEvent>>,
    missed: u64,
    /// Sequence of the first recorded event that was missed.
    resume_at: u64,
    waker: Option<Waker>,
    closed: bool,
    log: u64,
}

impl Shared {
    pub(super) fn new(log: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { next: 1, ..State::default() }), log })
    }

    /// Appends an event and fans it out. `make` gets its sequence.
    pub(super) fn append(
        &self,
        make: impl FnOnce(u64) -> SessionEvent,
    ) -> Result<Arc<SessionEvent>, RouterError> {
        let mut state = self.lock();
        if state.closed {
            return Err(RouterError::Closed);
        }
        let event = Arc::new(make(state.next));
        state.next += 1;
        if state.events.len() == LOG_CAPACITY {
            state.events.pop_front();
        }
        state.events.push_back(Arc::clone(&event));
        state.fan_out(&event);
        Ok(event)
    }

    pub(super) fn add(&self, filter: EventFilter) -> Result<Arc<Reader>, RouterError> {
        let mut state = self.lock();
        if state.closed {
            return Err(RouterError::Closed);
        }
        let queue = Queue { log: self.log, ..Queue::default() };
        let reader = Arc::new(Reader { filter, queue: Mutex::new(queue) });
        state.readers.push(Arc::clone(&reader));
        Ok(reader)
    }

    pub(super) fn remove(&self, reader: &Arc<Reader>) {
        self.lock().readers.retain(|other| !Arc::ptr_eq(other, reader));
    }

    /// How many subscriptions there are.
    pub(super) fn readers(&self) -> usize {
        self.lock().readers.len()
    }

    /// The place behind the last recorded event.
    pub(super) fn tail(&self) -> Cursor {
        Cursor { log: self.log, sequence: self.lock().next }
    }

    /// The first recorded event from `cursor` on that passes.
    pub(super) fn find(
        &self,
        cursor: Cursor,
        filter: &EventFilter,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError> {
        Ok(self.lock().from(self.log, cursor)?.find(|event| filter.matches(event)).cloned())
    }

    /// What a reader that lagged has missed, up to the end of the log; with it, its queue
    /// holds no recorded event any more, also none that it missed meanwhile.
    pub(super) fn refill(
        &self,
        reader: &Reader,
        cursor: Cursor,
    ) -> Result<Vec<Arc<SessionEvent>>, RouterError> {
        let state = self.lock();
        let missed =
            state.from(self.log, cursor)?.filter(|event| reader.filter.matches(event)).cloned().collect();
        let mut queue = reader.lock();
        queue.waiting.retain(|event| event.sequence.is_none());
        queue.missed = 0;
        Ok(missed)
    }

    pub(super) fn close(&self) {
        let readers = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.readers)
        };
        for reader in readers {
            let waker = {
                let mut queue = reader.lock();
                queue.closed = true;
                queue.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fan_out(&self, event: &Arc<SessionEvent>) {
        for reader in self.readers.iter().filter(|reader| reader.filter.matches(event)) {
            reader.push(event);
        }
    }

    fn from(
        &self,
        log: u64,
        cursor: Cursor,
    ) -> Result<impl Iterator<Item = &Arc<SessionEvent>>, RouterError> {
        let oldest = self.next - self.events.len() as u64;
        if cursor.log != log || cursor.sequence < oldest {
            return Err(RouterError::Gone { oldest: Cursor { log, sequence: oldest } });
        }
        let skip = usize::try_from(cursor.sequence - oldest).unwrap_or(usize::MAX);
        Ok(self.events.iter().skip(skip))
    }
}

impl Reader {
    fn push(&self, event: &Arc<SessionEvent>) {
        let waker = {
            let mut queue = self.lock();
            if queue.missed > 0 || queue.waiting.len() == READER_CAPACITY {
                if queue.missed == 0 {
                    queue.resume_at = event.sequence.unwrap_or(queue.resume_at);
                }
                queue.missed += 1;
            } else {
                queue.waiting.push_back(Arc::clone(event));
            }
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut queue = self.lock();
        if let Some(event) = queue.waiting.pop_front() {
            return Poll::Ready(Some(Delivery::Event(event)));
        }
        if queue.missed > 0 {
            let missed = std::mem::take(&mut queue.missed);
            let resume_at = Cursor { log: queue.log, sequence: queue.resume_at };
            return Poll::Ready(Some(Delivery::Lagged { missed, resume_at }));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::{CustomName, EventId, NewEvent, Payload, Timestamp};

    fn append(shared: &Shared, count: u64) {
        for _ in 0..count {
            let name = CustomName::new("tick").unwrap();
            let event = NewEvent::custom(name, Payload::null());
            let id = EventId(uuid::Uuid::nil());
            let seal = |sequence| {
                SessionEvent::seal(event, id, Some(sequence), "p".into(), Timestamp::from_micros(0))
            };
            shared.append(seal).unwrap();
        }
    }

    fn drain(reader: &Reader) -> (Vec<u64>, Option<Cursor>) {
        let mut sequences = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match reader.poll(&mut cx) {
                Poll::Ready(Some(Delivery::Event(event))) => sequences.extend(event.sequence),
                Poll::Ready(Some(Delivery::Lagged { resume_at, .. })) => return (sequences, Some(resume_at)),
                _ => return (sequences, None),
            }
        }
    }

    #[test]
    fn a_reader_that_lags_again_before_its_refill_gets_nothing_twice() {
        let shared = Shared::new(1);
        let reader = shared.add(EventFilter::all()).unwrap();
        let capacity = READER_CAPACITY as u64;
        append(&shared, capacity + 10);
        let (mut seen, lag) = drain(&reader);
        // Between the notice and the refill others go on emitting, more than the queue holds.
        append(&shared, capacity + 10);
        let missed = shared.refill(&reader, lag.unwrap()).unwrap();
        seen.extend(missed.iter().filter_map(|event| event.sequence));
        append(&shared, 5);
        let (rest, lag) = drain(&reader);
        assert_eq!(lag, None);
        seen.extend(rest);
        assert_eq!(seen, (1..=2 * capacity + 25).collect::<Vec<_>>());
    }
}
