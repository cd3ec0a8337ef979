//! The store of a project directory, which many never get: made with the first thing that is written, or
//! by the first who listens, as others cannot tell what they write to a process that has no place there.
//!
//! Guarantees: reading makes nothing; where there is no database yet, a read sees an empty store. Whoever
//! opens the database is known among the processes of the project from before its first commit.
//! Never here: an answer of its own, once there is a database.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use amplifier_core::{Clock, EventId, Ids, IssueId, Payload, RunId, SessionEvent, SessionId};
use async_trait::async_trait;

use super::{SqliteOptions, SqliteStore};
use crate::{
    ActivationId, Command, Commit, ConsumerName, CounterName, Cursor, DedupKey, EventPage, Expect, Grant,
    Instance, IssueCounts, IssueFilter, IssueNote, IssueRow, Lease, LeaseKey, LogListener, OwnerId,
    QueueName, ReadyRuns, Receipt, Retained, Retention, RunFilter, RunRow, SessionFilter, SessionRow,
    Settled, Store, StoreError, Write,
};

/// The log of a database that is not there yet. A place in it is that place of whatever log the database
/// will have; only the beginning can be asked for before.
const NO_LOG: u64 = 0;

/// What makes the folder of the project.
pub type Prepare = dyn Fn() -> std::io::Result<()> + Send + Sync;

/// Where the store of a project is, and whose it will be.
#[derive(Clone)]
#[non_exhaustive]
pub struct ProjectStoreOptions {
    /// The database, `amplifier.db`.
    pub path: PathBuf,
    /// The folder in which the processes of the project know each other.
    pub run: PathBuf,
    /// This start of this process.
    pub owner: OwnerId,
    /// The store's own clock.
    pub clock: Arc<dyn Clock>,
    /// Ids tell its log from others.
    pub ids: Arc<dyn Ids>,
    /// Called before the database is made.
    pub prepare: Arc<Prepare>,
}

impl ProjectStoreOptions {
    /// All of it.
    pub fn new(
        (path, run): (PathBuf, PathBuf),
        owner: OwnerId,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        prepare: Arc<Prepare>,
    ) -> Self {
        Self { path, run, owner, clock, ids, prepare }
    }
}

/// The store of a project directory.
pub struct ProjectStore {
    options: ProjectStoreOptions,
    // Held to open the database, which returns at once, or to note a listener; never across an await.
    state: Mutex<State>,
}

/// What is done once a database is open.
type OnOpen = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    store: Option<SqliteStore>,
    /// Those who listen before there is anything to hear.
    listeners: Vec<Weak<dyn LogListener>>,
    /// What is to be done once the database is open.
    then: Vec<OnOpen>,
}

impl fmt::Debug for ProjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.lock().store.is_some();
        f.debug_struct("ProjectStore").field("path", &self.options.path).field("open", &open).finish()
    }
}

impl ProjectStore {
    /// The store of a project. Touches nothing.
    pub fn new(options: ProjectStoreOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    /// Calls `then` once this process has the database open, whatever opens it; at once if it has. It must
    /// not wait, nor ask this store for anything.
    pub fn on_open(&self, then: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        match state.store {
            Some(_) => {
                drop(state);
                then();
            }
            None => state.then.push(Box::new(then)),
        }
    }

    /// True if there is a database.
    pub fn exists(&self) -> bool {
        self.lock().store.is_some() || amplifier_fs::read::is_file(&self.options.path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database, if there is one.
    fn there(&self) -> Result<Option<SqliteStore>, StoreError> {
        let mut state = self.lock();
        if state.store.is_none() && amplifier_fs::read::is_file(&self.options.path) {
            return self.open(&mut state).map(Some);
        }
        Ok(state.store.clone())
    }

    /// The database, made if there is none.
    fn made(&self) -> Result<SqliteStore, StoreError> {
        let mut state = self.lock();
        match &state.store {
            Some(store) => Ok(store.clone()),
            None => self.open(&mut state),
        }
    }

    /// A place that was named before there was a database, as one of its log.
    async fn placed(store: &SqliteStore, cursor: Cursor) -> Result<Cursor, StoreError> {
        match cursor.log {
            NO_LOG => Ok(Cursor { log: store.tail().await?.log, ..cursor }),
            _ => Ok(cursor),
        }
    }

    /// The same for the places that a commit names.
    async fn all_placed(store: &SqliteStore, commit: &mut Commit) -> Result<(), StoreError> {
        let written = commit.writes.iter_mut().filter_map(|write| match write {
            Write::SetCursor { cursor, .. } => Some(cursor),
            _ => None,
        });
        let expected = commit.expects.iter_mut().filter_map(|expect| match expect {
            Expect::CursorAt { cursor, .. } => cursor.as_mut(),
            _ => None,
        });
        for cursor in written.chain(expected).filter(|cursor| cursor.log == NO_LOG) {
            *cursor = Self::placed(store, *cursor).await?;
        }
        Ok(())
    }

    fn open(&self, state: &mut State) -> Result<SqliteStore, StoreError> {
        let ProjectStoreOptions { path, run, owner, clock, ids, prepare } = &self.options;
        let failed = |action| move |source| StoreError::Backend { action, source: Box::new(source) };
        prepare().map_err(failed("make the project's folder"))?;
        let instance = Instance::enter(run, owner.clone()).map_err(failed("make this process known"))?;
        let options = SqliteOptions::new(path, Arc::clone(clock), Arc::clone(ids)).instance(instance);
        let store = SqliteStore::open(options)?;
        state.listeners.drain(..).for_each(|listener| store.listen(listener));
        state.store = Some(store.clone());
        state.then.drain(..).for_each(|then| then());
        Ok(store)
    }
}

/// Where a store that is not there yet begins.
const BEGINNING: Cursor = Cursor { log: NO_LOG, sequence: 1 };

#[async_trait]
impl Store for ProjectStore {
    async fn commit(&self, mut commit: Commit) -> Result<Receipt, StoreError> {
        let store = self.made()?;
        Self::all_placed(&store, &mut commit).await?;
        store.commit(commit).await
    }

    fn post(&self, commit: Commit) -> Result<(), StoreError> {
        self.made()?.post(commit)
    }

    fn refused_posts(&self) -> u64 {
        self.lock().store.as_ref().map_or(0, SqliteStore::refused_posts)
    }

    fn expect_commit(&self) {
        // The commit gets the error, or tries again.
        let _ = self.made();
    }

    fn listen(&self, listener: Weak<dyn LogListener>) {
        match self.made() {
            Ok(store) => store.listen(listener),
            // A home that cannot be written: the first use that gets an answer says so.
            Err(error) => {
                tracing::debug!(%error, "there is no store to listen to yet");
                let mut state = self.lock();
                state.listeners.retain(|listener| listener.strong_count() > 0);
                state.listeners.push(listener);
            }
        }
    }

    async fn tail(&self) -> Result<Cursor, StoreError> {
        match self.there()? {
            Some(store) => store.tail().await,
            None => Ok(BEGINNING),
        }
    }

    async fn events(&self, from: Cursor, limit: usize) -> Result<EventPage, StoreError> {
        match self.there()? {
            Some(store) => store.events(Self::placed(&store, from).await?, limit).await,
            None if from == BEGINNING => Ok(EventPage { events: Vec::new(), next: from }),
            None => Err(StoreError::Gone { oldest: BEGINNING }),
        }
    }

    async fn event(&self, id: EventId) -> Result<Option<Arc<SessionEvent>>, StoreError> {
        match self.there()? {
            Some(store) => store.event(id).await,
            None => Ok(None),
        }
    }

    async fn commands(&self, to: &OwnerId, limit: usize) -> Result<Vec<Command>, StoreError> {
        match self.there()? {
            Some(store) => store.commands(to, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        match self.there()? {
            Some(store) => store.session(id).await,
            None => Ok(None),
        }
    }

    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        match self.there()? {
            Some(store) => store.sessions(filter).await,
            None => Ok(Vec::new()),
        }
    }

    async fn settled(&self, of: &ActivationId) -> Result<Option<Settled>, StoreError> {
        match self.there()? {
            Some(store) => store.settled(of).await,
            None => Ok(None),
        }
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        match self.there()? {
            Some(store) => store.run(id).await,
            None => Ok(None),
        }
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        match self.there()? {
            Some(store) => store.runs(filter).await,
            None => Ok(Vec::new()),
        }
    }

    async fn ready_runs(&self, queue: &QueueName, limit: usize) -> Result<ReadyRuns, StoreError> {
        match self.there()? {
            Some(store) => store.ready_runs(queue, limit).await,
            None => Ok(ReadyRuns::default()),
        }
    }

    async fn count_queued(&self, queue: &QueueName) -> Result<u64, StoreError> {
        match self.there()? {
            Some(store) => store.count_queued(queue).await,
            None => Ok(0),
        }
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        match self.there()? {
            Some(store) => store.queues().await,
            None => Ok(Vec::new()),
        }
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        match self.there()? {
            Some(store) => store.lease(key).await,
            None => Ok(None),
        }
    }

    async fn cursor(&self, consumer: &ConsumerName) -> Result<Option<Cursor>, StoreError> {
        match self.there()? {
            Some(store) => store.cursor(consumer).await,
            None => Ok(None),
        }
    }

    async fn grant(&self, of: &ActivationId) -> Result<Option<Grant>, StoreError> {
        match self.there()? {
            Some(store) => store.grant(of).await,
            None => Ok(None),
        }
    }

    async fn counter(&self, counter: &CounterName) -> Result<u64, StoreError> {
        match self.there()? {
            Some(store) => store.counter(counter).await,
            None => Ok(0),
        }
    }

    async fn key(&self, key: &DedupKey) -> Result<Option<Payload>, StoreError> {
        match self.there()? {
            Some(store) => store.key(key).await,
            None => Ok(None),
        }
    }

    async fn keys(
        &self,
        prefix: &str,
        after: Option<&DedupKey>,
        limit: usize,
    ) -> Result<Vec<(DedupKey, Payload)>, StoreError> {
        match self.there()? {
            Some(store) => store.keys(prefix, after, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn retain(&self, retention: &Retention) -> Result<Retained, StoreError> {
        match self.there()? {
            Some(store) => store.retain(retention).await,
            None => Ok(Retained::default()),
        }
    }
    async fn issue(&self, id: &IssueId) -> Result<Option<IssueRow>, StoreError> {
        match self.there()? {
            Some(store) => store.issue(id).await,
            None => Ok(None),
        }
    }

    async fn issues(&self, filter: &IssueFilter) -> Result<Vec<IssueRow>, StoreError> {
        match self.there()? {
            Some(store) => store.issues(filter).await,
            None => Ok(Vec::new()),
        }
    }

    async fn count_issues(&self) -> Result<IssueCounts, StoreError> {
        match self.there()? {
            Some(store) => store.count_issues().await,
            None => Ok(IssueCounts::default()),
        }
    }

    async fn issue_notes(
        &self,
        id: &IssueId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<IssueNote>, StoreError> {
        match self.there()? {
            Some(store) => store.issue_notes(id, after, limit).await,
            None => Ok(Vec::new()),
        }
    }
}
