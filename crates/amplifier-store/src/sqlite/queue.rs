//! What waits for the writer.
//!
//! Guarantees: first in, first out; bounded by what it holds in bytes; once it is closed nothing
//! comes in, and what is in it is still handed out.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::apply::Txn;
use super::fault::Done;
use crate::{Commit, Receipt, StoreError, Write};

/// Bytes that a unit of room stands for. A commit takes at least one.
const UNIT: usize = 1_024;

/// Bytes of commits that go into one transaction; the one that reaches it is the last.
const BATCH_UNITS: u32 = 8_192;

type Task = Box<dyn FnOnce(&mut Txn<'_>) -> Done + Send>;

/// Something for the writer to do.
pub(super) enum Job {
    Commit {
        commit: Commit,
        reply: Option<oneshot::Sender<Result<Receipt, StoreError>>>,
        units: u32,
    },
    /// A change that is no commit of the contract's: retention.
    Task {
        task: Task,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Says whether the database is open.
    Ready(oneshot::Sender<Result<(), StoreError>>),
}

impl Job {
    fn units(&self) -> u32 {
        match self {
            Self::Commit { units, .. } => *units,
            _ => 1,
        }
    }
}

/// The room that a commit takes.
pub(super) fn units_of(commit: &Commit) -> u32 {
    let bytes: usize = commit.writes.iter().map(size).sum();
    u32::try_from(bytes / UNIT + 1).unwrap_or(u32::MAX)
}

fn size(write: &Write) -> usize {
    match write {
        Write::Append(event) => event.payload.as_bytes().len() + 256,
        Write::Settle { outcome, event, .. } => event.payload.as_bytes().len() + outcome.output.len() + 512,
        Write::Enqueue { payload, .. } | Write::Send { payload, .. } => payload.as_bytes().len() + 256,
        Write::PutKey { value, .. } | Write::SetValue { value, .. } => value.as_bytes().len() + 256,
        _ => 256,
    }
}

/// What is taken as one transaction.
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    /// The room that it takes, to be given back.
    pub(super) units: u32,
}

/// How many are expected to come together, and how long those who are late are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) expected: usize,
    pub(super) window: Duration,
    /// How many windows at most.
    pub(super) windows: u32,
}

pub(super) struct Queue {
    // One lock for the queue and its end. Held to put something in or to take it out.
    state: Mutex<State>,
    wake: Condvar,
    /// Units of room.
    room: Semaphore,
    units: u32,
    post_limit: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Commits that nobody waits for.
    posted: usize,
    closed: bool,
    /// The writer sleeps until so many are here; 0 while it works.
    wanted: usize,
}

impl Queue {
    pub(super) fn new(bytes: usize, post_limit: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let room = Semaphore::new(usize::try_from(units).unwrap_or(1));
        Self { state: Mutex::default(), wake: Condvar::new(), room, units, post_limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, then puts a commit in.
    pub(super) async fn commit(
        &self,
        commit: Commit,
        reply: oneshot::Sender<Result<Receipt, StoreError>>,
    ) -> Result<(), StoreError> {
        let units = units_of(&commit).min(self.units);
        let permit = self.room.acquire_many(units).await.map_err(|_| StoreError::Closed)?;
        permit.forget();
        self.put(Job::Commit { commit, reply: Some(reply), units })
    }

    /// Puts a commit in without waiting for room; it has a bound of its own.
    pub(super) fn post(&self, commit: Commit) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.posted >= self.post_limit {
            return Err(StoreError::Busy { holder: None });
        }
        state.posted += 1;
        self.put_into(state, Job::Commit { commit, reply: None, units: 0 })
    }

    pub(super) fn put(&self, job: Job) -> Result<(), StoreError> {
        self.put_into(self.lock(), job)
    }

    fn put_into(&self, mut state: MutexGuard<'_, State>, job: Job) -> Result<(), StoreError> {
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.jobs.push_back(job);
        let wake = state.wanted > 0 && state.jobs.len() >= state.wanted;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The next jobs; waits until there are some. `None` once it is closed and empty.
    pub(super) fn take(&self, pace: Pace) -> Option<Batch> {
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            state.wanted = 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state = self.gather(state, pace);
        state.wanted = 0;
        if state.jobs.is_empty() {
            return None;
        }
        let mut batch = Batch { jobs: Vec::with_capacity(state.jobs.len()), units: 0 };
        let mut weight = 0_u32;
        while weight < BATCH_UNITS {
            let Some(job) = state.jobs.pop_front() else { break };
            if let Job::Commit { reply: None, .. } = &job {
                state.posted -= 1;
            }
            weight = weight.saturating_add(job.units().max(1));
            batch.units += if matches!(job, Job::Commit { .. }) { job.units() } else { 0 };
            batch.jobs.push(job);
        }
        Some(batch)
    }

    /// Waits for those who are late, one window after the other as long as somebody comes.
    fn gather<'q>(&'q self, mut state: MutexGuard<'q, State>, pace: Pace) -> MutexGuard<'q, State> {
        let late = |state: &mut State| state.jobs.len() < pace.expected && !state.closed;
        for _ in 0..pace.windows {
            let before = state.jobs.len();
            if !late(&mut state) {
                break;
            }
            state.wanted = pace.expected;
            let waited = self.wake.wait_timeout_while(state, pace.window, late);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.jobs.len() == before {
                break;
            }
        }
        state
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Gives room back.
    pub(super) fn done(&self, units: u32) {
        self.room.add_permits(usize::try_from(units).unwrap_or(0));
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.wake.notify_all();
    }

    /// Throws away what is left, so that whoever waits for it is told.
    pub(super) fn clear(&self) {
        let left = std::mem::take(&mut self.lock().jobs);
        drop(left);
    }
}
