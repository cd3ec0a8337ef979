//! A store that fails when a test wants it to.
//!
//! Guarantees: a commit that fails has no effect on the store behind it, but for one in doubt; every
//! commit is counted and named, after its first write, in order. Reads fail by [`FaultyStore::fail_reads`] and
//! [`FaultyStore::fail_tails`] alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use amplifier_core::{EventId, IssueId, Payload, RunId, SessionEvent, SessionId};
use amplifier_foundation::store::{
    ActivationId, Command, Commit, ConsumerName, CounterName, Cursor, DedupKey, EventPage, Grant,
    IssueCounts, IssueFilter, IssueNote, IssueRow, Lease, LeaseKey, LogListener, OwnerId, QueueName,
    ReadyRuns, Receipt, Retained, Retention, RunFilter, RunRow, RunState, SessionFilter, SessionRow, Settled,
    Store, StoreError, Write,
};
use async_trait::async_trait;

use crate::faulty::When;
use crate::gate::Gate;

/// How a commit fails.
#[derive(Debug, Clone)]
pub enum StoreFault {
    /// With an error, as of a full disk.
    Error,
    /// With a panic.
    Panic,
    /// It waits at the gate first, and then works.
    Wait(Gate),
    /// It works, and then says that it does not know.
    InDoubt,
    /// It is at work until the gate opens, also if nobody waits for it any more; what is posted comes behind it.
    Late(Gate),
}

/// A store in front of another one. Clones share the count.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Arc<Mutex<(When, StoreFault)>>,
    reads: Arc<Mutex<Option<StoreFault>>>,
    tails: Arc<AtomicBool>,
    commits: Arc<Mutex<Vec<&'static str>>>,
    steps: Arc<Mutex<Vec<Step>>>,
    /// Held by a commit that is late.
    line: Arc<tokio::sync::Mutex<()>>,
}

/// A step of a run: from where to where.
pub type Step = (RunState, RunState);

impl FaultyStore {
    /// A store in front of `inner` that fails when `when` says so.
    pub fn new(inner: Arc<dyn Store>, when: When, fault: StoreFault) -> Self {
        let fault = Arc::new(Mutex::new((when, fault)));
        let line = Arc::default();
        let (reads, tails, commits, steps) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        Self { inner, fault, reads, tails, commits, steps, line }
    }

    /// The store behind it, as another process would have it: nothing fails there.
    pub fn behind(&self) -> Self {
        Self::new(Arc::clone(&self.inner), When::Never, StoreFault::Error)
    }

    /// Fails at other commits from now on.
    pub fn set(&self, when: When, fault: StoreFault) {
        *self.fault.lock().unwrap() = (when, fault);
    }

    /// Lets every read of a session or key fail, or none.
    pub fn fail_reads(&self, fault: Option<StoreFault>) {
        *self.reads.lock().unwrap() = fault;
    }

    /// Lets it say no more where its log ends, nor which one it is; or say so again.
    pub fn fail_tails(&self, fail: bool) {
        self.tails.store(fail, Ordering::SeqCst);
    }

    /// The commits that were tried, in order; those that nobody waited for too.
    pub fn commits(&self) -> Vec<&'static str> {
        self.commits.lock().unwrap().clone()
    }

    /// The steps of runs that the store has carried out, commit by commit.
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }

    /// What shall become of a commit.
    fn verdict(&self, commit: &Commit) -> Option<StoreFault> {
        let name = name(commit);
        let index = {
            let mut commits = self.commits.lock().unwrap();
            commits.push(name);
            commits.len() - 1
        };
        let (when, fault) = self.fault.lock().unwrap().clone();
        let hit = match when {
            When::Never => false,
            When::At(at) => index == at,
            When::From(from) => index >= from,
            When::Method(method) => name == method,
        };
        hit.then_some(fault)
    }

    async fn read(&self) -> Result<(), StoreError> {
        let fault = self.reads.lock().unwrap().clone();
        match fault {
            None => Ok(()),
            Some(StoreFault::Wait(gate)) => {
                gate.pass().await;
                Ok(())
            }
            Some(StoreFault::Panic) => panic!("the store panicked at a read"),
            Some(_) => Err(full("read")),
        }
    }
}

fn name(commit: &Commit) -> &'static str {
    match commit.writes.first() {
        Some(Write::Open { .. }) => "open",
        Some(Write::Settle { .. }) => "settle",
        Some(Write::Append(_)) => "append",
        Some(Write::MoveRun(_)) => "move",
        Some(Write::SetValue { key, .. }) if key.as_str().starts_with("background-status/") => "publish",
        _ => "other",
    }
}

fn full(action: &'static str) -> StoreError {
    let source = Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
    StoreError::Backend { action, source }
}

#[async_trait]
impl Store for FaultyStore {
    async fn commit(&self, commit: Commit) -> Result<Receipt, StoreError> {
        match self.verdict(&commit) {
            None => {
                let moves = commit.writes.iter().filter_map(|write| match write {
                    Write::MoveRun(step) => Some((step.from, step.to)),
                    _ => None,
                });
                let moves: Vec<Step> = moves.collect();
                let receipt = self.inner.commit(commit).await?;
                if matches!(receipt, Receipt::Applied(_)) {
                    self.steps.lock().unwrap().extend(moves);
                }
                Ok(receipt)
            }
            Some(StoreFault::Error) => Err(full("commit")),
            Some(StoreFault::Panic) => panic!("the store panicked"),
            Some(StoreFault::Wait(gate)) => {
                gate.pass().await;
                self.inner.commit(commit).await
            }
            Some(StoreFault::InDoubt) => {
                let _ = self.inner.commit(commit).await?;
                let source = Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
                Err(StoreError::InDoubt { source })
            }
            Some(StoreFault::Late(gate)) => {
                let (inner, line) = (Arc::clone(&self.inner), Arc::clone(&self.line).lock_owned().await);
                let late = tokio::spawn(async move {
                    gate.pass().await;
                    let receipt = inner.commit(commit).await;
                    drop(line);
                    receipt
                });
                late.await.unwrap()
            }
        }
    }

    fn post(&self, commit: Commit) -> Result<(), StoreError> {
        match self.verdict(&commit) {
            Some(StoreFault::Error) => Err(full("commit")),
            Some(StoreFault::Panic) => panic!("the store panicked"),
            _ if self.line.try_lock().is_err() => {
                let (inner, line) = (Arc::clone(&self.inner), Arc::clone(&self.line));
                tokio::spawn(async move {
                    let _line = line.lock_owned().await;
                    inner.commit(commit).await
                });
                Ok(())
            }
            _ => self.inner.post(commit),
        }
    }

    fn refused_posts(&self) -> u64 {
        self.inner.refused_posts()
    }

    fn listen(&self, listener: Weak<dyn LogListener>) {
        self.inner.listen(listener);
    }

    async fn event(&self, id: EventId) -> Result<Option<Arc<SessionEvent>>, StoreError> {
        self.inner.event(id).await
    }

    async fn commands(&self, to: &OwnerId, limit: usize) -> Result<Vec<Command>, StoreError> {
        self.inner.commands(to, limit).await
    }

    async fn tail(&self) -> Result<Cursor, StoreError> {
        if self.tails.load(Ordering::SeqCst) {
            return Err(full("read"));
        }
        self.inner.tail().await
    }

    async fn events(&self, from: Cursor, limit: usize) -> Result<EventPage, StoreError> {
        self.inner.events(from, limit).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.read().await?;
        self.inner.session(id).await
    }

    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        self.inner.sessions(filter).await
    }

    async fn settled(&self, of: &ActivationId) -> Result<Option<Settled>, StoreError> {
        self.inner.settled(of).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        self.inner.run(id).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.inner.runs(filter).await
    }

    async fn ready_runs(&self, queue: &QueueName, limit: usize) -> Result<ReadyRuns, StoreError> {
        self.inner.ready_runs(queue, limit).await
    }

    async fn count_queued(&self, queue: &QueueName) -> Result<u64, StoreError> {
        self.inner.count_queued(queue).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.inner.queues().await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.inner.lease(key).await
    }

    async fn cursor(&self, consumer: &ConsumerName) -> Result<Option<Cursor>, StoreError> {
        self.inner.cursor(consumer).await
    }

    async fn grant(&self, of: &ActivationId) -> Result<Option<Grant>, StoreError> {
        self.inner.grant(of).await
    }

    async fn counter(&self, counter: &CounterName) -> Result<u64, StoreError> {
        self.inner.counter(counter).await
    }

    async fn key(&self, key: &DedupKey) -> Result<Option<Payload>, StoreError> {
        self.read().await?;
        self.inner.key(key).await
    }

    async fn keys(
        &self,
        prefix: &str,
        after: Option<&DedupKey>,
        limit: usize,
    ) -> Result<Vec<(DedupKey, Payload)>, StoreError> {
        self.read().await?;
        self.inner.keys(prefix, after, limit).await
    }

    async fn retain(&self, retention: &Retention) -> Result<Retained, StoreError> {
        self.inner.retain(retention).await
    }

    async fn issue(&self, id: &IssueId) -> Result<Option<IssueRow>, StoreError> {
        self.inner.issue(id).await
    }

    async fn issues(&self, filter: &IssueFilter) -> Result<Vec<IssueRow>, StoreError> {
        self.inner.issues(filter).await
    }

    async fn count_issues(&self) -> Result<IssueCounts, StoreError> {
        self.inner.count_issues().await
    }

    async fn issue_notes(
        &self,
        id: &IssueId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<IssueNote>, StoreError> {
        self.inner.issue_notes(id, after, limit).await
    }
}
