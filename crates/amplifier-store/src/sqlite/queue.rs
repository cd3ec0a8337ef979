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

/// How many of those who are late are waited for at a time.
const TOGETHER: usize = 32;

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
    pub(super) jobs: VecDeque<Job>,
    /// The room that it takes, to be given back.
    pub(super) units: u32,
    /// How large it is, whether it took room or not.
    pub(super) weight: u32,
}

/// How many are expected to come together, and how long those who are late are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) expected: usize,
    pub(super) window: Duration,
    /// How long is waited for them all together, as long as somebody comes.
    pub(super) patience: Duration,
}

pub(super) struct Queue {
    // One lock for the queue and its end. Held to put something in or to take it out.
    state: Mutex<State>,
    wake: Condvar,
    /// What held the jobs of a batch that was carried out, to hold others. The writer's alone.
    spare: Mutex<VecDeque<Job>>,
    /// Units of room.
    room: Semaphore,
    units: u32,
    post_limit: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The room that they take, and how large they are, see [`Batch`].
    units: u32,
    weight: u32,
    /// Commits that nobody waits for.
    posted: usize,
    closed: bool,
    /// The writer sleeps until so many are here; 0 while it works.
    wanted: usize,
}

impl Job {
    /// The room that it takes.
    fn units(&self) -> u32 {
        match self {
            Self::Commit { units, .. } => *units,
            Self::Task { .. } | Self::Ready(_) => 0,
        }
    }

    fn weight(&self) -> u32 {
        self.units().max(1)
    }

    /// True if nobody waits for it.
    fn is_posted(&self) -> bool {
        matches!(self, Self::Commit { reply: None, .. })
    }
}

impl State {
    fn count_in(&mut self, job: &Job) {
        self.units += job.units();
        self.weight = self.weight.saturating_add(job.weight());
        self.posted += usize::from(job.is_posted());
    }

    /// Takes jobs up to a weight; the one that reaches it is the last. `spare` is empty.
    fn take(&mut self, weight: u32, spare: VecDeque<Job>) -> Batch {
        self.wanted = 0;
        if self.weight <= weight {
            // All of them, as they are: those who put jobs in wait for the lock meanwhile.
            let jobs = std::mem::replace(&mut self.jobs, spare);
            let batch = Batch { jobs, units: self.units, weight: self.weight };
            (self.units, self.weight, self.posted) = (0, 0, 0);
            return batch;
        }
        let mut batch = Batch { jobs: spare, units: 0, weight: 0 };
        while batch.weight < weight {
            let Some(job) = self.jobs.pop_front() else { break };
            batch.units += job.units();
            batch.weight = batch.weight.saturating_add(job.weight());
            self.posted -= usize::from(job.is_posted());
            batch.jobs.push_back(job);
        }
        self.units -= batch.units;
        self.weight = self.weight.saturating_sub(batch.weight);
        batch
    }
}

impl Queue {
    pub(super) fn new(bytes: usize, post_limit: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let room = Semaphore::new(usize::try_from(units).unwrap_or(1));
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            spare: Mutex::default(),
            room,
            units,
            post_limit,
        }
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
        let state = self.lock();
        if state.posted >= self.post_limit {
            return Err(StoreError::Busy { holder: None });
        }
        self.put_into(state, Job::Commit { commit, reply: None, units: 0 })
    }

    pub(super) fn put(&self, job: Job) -> Result<(), StoreError> {
        self.put_into(self.lock(), job)
    }

    fn put_into(&self, mut state: MutexGuard<'_, State>, job: Job) -> Result<(), StoreError> {
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.count_in(&job);
        state.jobs.push_back(job);
        let wake = state.wanted > 0 && state.jobs.len() >= state.wanted;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The next jobs; waits until there are some. `None` once it is closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        let spare = self.spare();
        let mut state = self.lock();
        while state.jobs.is_empty() && !state.closed {
            state.wanted = 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.jobs.is_empty()).then(|| state.take(BATCH_UNITS, spare))
    }

    /// More jobs for a transaction that has `have` already: those that are here, or else those that
    /// come within the window, if more are expected. Nothing if nobody comes.
    pub(super) fn more(&self, pace: Pace, have: usize, weight: u32) -> Batch {
        let spare = self.spare();
        let mut state = self.lock();
        let missing = pace.expected.saturating_sub(have);
        if state.jobs.is_empty() && missing > 0 && !state.closed {
            // Some at a time: each waking costs more than a commit.
            state.wanted = missing.min(TOGETHER);
            let late = |state: &mut State| state.jobs.len() < state.wanted && !state.closed;
            let waited = self.wake.wait_timeout_while(state, pace.window, late);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.take(BATCH_UNITS.saturating_sub(weight), spare)
    }

    /// Puts posted commits in again, before all others.
    pub(super) fn give_back(&self, posted: VecDeque<Job>) {
        let mut state = self.lock();
        for job in posted.into_iter().rev() {
            state.count_in(&job);
            state.jobs.push_front(job);
        }
    }

    /// Keeps what held the jobs of a batch, which is empty, for others.
    pub(super) fn recycle(&self, jobs: VecDeque<Job>) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    fn spare(&self) -> VecDeque<Job> {
        std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// Throws away what is left, so that whoever waits for it is told; how much of it nobody waits for.
    pub(super) fn clear(&self) -> usize {
        let mut state = self.lock();
        let posted = state.posted;
        let left = state.take(u32::MAX, VecDeque::new());
        drop(state);
        drop(left);
        posted
    }
}
