//! Telling those who listen what the log has.
//!
//! Guarantees: each event once, in the order of the log, whoever wrote it and whichever thread
//! notices it first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use amplifier_core::SessionEvent;

use super::Reader;
use super::event;
use super::fault::Done;
use super::marks::Marks;
use super::sql::snapshot;
use super::writer::Written;
use crate::{Cursor, LogListener, QueueName};

/// Events that are read at once to be told.
const PAGE: usize = 1_000;

#[derive(Default)]
pub(super) struct Feed {
    // One lock for all that was told, held while it is told, so that two threads never tell at
    // once. Who holds it reads the database, and waits for nothing else.
    state: Mutex<State>,
    /// True once somebody listens.
    active: AtomicBool,
}

#[derive(Default)]
struct State {
    listeners: Vec<Weak<dyn LogListener>>,
    /// The next sequence to tell; `None` while it is not known where those who listen begin.
    next: Option<u64>,
    /// The last command that was told.
    command: u64,
    /// How often a run was queued, as was told.
    queued: u64,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds who listens; true if it is the first one ever.
    pub(super) fn add(&self, listener: Weak<dyn LogListener>) -> bool {
        self.lock().listeners.push(listener);
        !self.active.swap(true, Ordering::SeqCst)
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// Tells what a transaction of this process has written, and before it what others wrote. Who began to
    /// listen during it hears all of it, as nobody could read it before.
    pub(super) fn committed(&self, reader: &mut Reader<'_>, written: &Written) {
        let Written { events, marks, began, queued: (queues, before), .. } = written;
        let mut state = self.lock();
        if !state.is_heard() {
            return;
        }
        let first = events.first().and_then(|event| event.sequence).unwrap_or(marks.tail);
        let mut next = *state.next.get_or_insert(*began);
        if next < first {
            if let Err(error) = state.read(reader, first) {
                tracing::warn!(?error, "events of others cannot be read; those who listen are told");
                state.miss(Cursor { log: marks.log, sequence: first });
            }
            next = first;
        }
        let untold = usize::try_from(next - first).unwrap_or(usize::MAX);
        state.tell(events.get(untold..).unwrap_or_default());
        state.command_sent(marks.command);
        state.queued(*before, None);
        state.queued(marks.queued, Some(queues));
    }

    /// Takes note of where those who listen begin, and tells what they have not heard yet. The writer's
    /// alone: another thread may see what a transaction has written before the writer has told it.
    pub(super) fn note(&self, reader: &mut Reader<'_>) -> Done {
        let mut state = self.lock();
        if state.is_heard() && state.next.is_none() {
            let marks = Marks::read(reader.conn)?;
            (state.next, state.command) = (Some(marks.tail), marks.command);
            state.queued = marks.queued;
        }
        drop(state);
        self.catch_up(reader)
    }

    /// True while it is not known where those who listen begin.
    pub(super) fn is_unnoted(&self) -> bool {
        let is_unnoted = |state: MutexGuard<'_, State>| {
            state.next.is_none() && state.listeners.iter().any(|listener| listener.strong_count() > 0)
        };
        self.is_active() && is_unnoted(self.lock())
    }

    /// Tells what is in the database and was not told yet.
    pub(super) fn catch_up(&self, reader: &mut Reader<'_>) -> Done {
        let mut state = self.lock();
        if !state.is_heard() || state.next.is_none() {
            return Ok(());
        }
        let marks = Marks::read(reader.conn)?;
        state.read(reader, marks.tail)?;
        state.command_sent(marks.command);
        state.queued(marks.queued, None);
        Ok(())
    }
}

impl State {
    /// False if nobody listens any more; then it is forgotten what was told.
    fn is_heard(&mut self) -> bool {
        self.listeners.retain(|listener| listener.strong_count() > 0);
        if self.listeners.is_empty() {
            self.next = None;
        }
        !self.listeners.is_empty()
    }

    /// Reads and tells all before `end`.
    fn read(&mut self, reader: &mut Reader<'_>, end: u64) -> Done {
        while let Some(next) = self.next.filter(|next| *next < end) {
            let wanted = usize::try_from(end - next).unwrap_or(PAGE).min(PAGE);
            let Reader { conn, names } = reader;
            let (marks, events) = snapshot(conn, || {
                let marks = Marks::read(conn)?;
                let from = next.max(marks.oldest);
                let events = event::page(conn, names, marks.scope.as_ref(), from, wanted)?;
                Ok((marks, events))
            })?;
            if next < marks.oldest {
                self.miss(Cursor { log: marks.log, sequence: marks.oldest });
                if self.next >= Some(end) {
                    return Ok(());
                }
            }
            // Not past `end`: what lies behind it the caller has in hand.
            let count = usize::try_from(end.saturating_sub(next.max(marks.oldest))).unwrap_or(usize::MAX);
            match events.get(..count.min(events.len())) {
                None | Some([]) => return Ok(()),
                Some(events) => self.tell(events),
            }
        }
        Ok(())
    }

    fn tell(&mut self, events: &[Arc<SessionEvent>]) {
        if let Some(last) = events.last().and_then(|event| event.sequence) {
            self.each(|listener| listener.recorded(events));
            self.next = Some(last + 1);
        }
    }

    fn miss(&mut self, resume: Cursor) {
        self.each(|listener| listener.missed(resume));
        self.next = Some(resume.sequence);
    }

    fn command_sent(&mut self, last: u64) {
        if last != self.command {
            self.command = last;
            self.each(|listener| listener.commanded());
        }
    }

    fn queued(&mut self, count: u64, queues: Option<&[QueueName]>) {
        if count != self.queued {
            self.queued = count;
            self.each(|listener| listener.queued(queues));
        }
    }

    /// A listener that panics does not take the writer with it.
    fn each(&self, tell: impl Fn(&dyn LogListener)) {
        for listener in self.listeners.iter().filter_map(Weak::upgrade) {
            if catch_unwind(AssertUnwindSafe(|| tell(&*listener))).is_err() {
                tracing::error!("a listener of the log panicked");
            }
        }
    }
}
