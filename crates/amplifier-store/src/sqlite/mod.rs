//! The store in a file: SQLite with a write-ahead log, each commit flushed to the disk.
//!
//! Guarantees: the contract of [`Store`], for all processes that have the file open; `Ok` of a commit
//! is durable against a loss of power, as far as the disk keeps its word. One thread writes, and
//! takes whatever waits as one transaction; a few others read. No runtime is needed.
//! Never here: events held in memory, and network file systems.

mod answer;
mod apply;
mod backup;
mod check;
mod event;
mod fault;
mod feed;
mod find;
mod grant;
mod handle;
mod inspect;
mod issues;
mod marks;
mod open;
mod pool;
mod project;
mod queue;
mod retain;
mod rows;
mod sql;
mod watch;
mod write;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use amplifier_core::{Clock, EventId, Ids, IssueId, Payload, RunId, SessionEvent, SessionId};
use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    ActivationId, Command, Commit, ConsumerName, CounterName, Cursor, DedupKey, EventPage, Grant, Instance,
    IssueCounts, IssueFilter, IssueNote, IssueRow, Lease, LeaseKey, LogListener, OwnerId, QueueName,
    ReadyRuns, Receipt, Retained, Retention, RunFilter, RunRow, SessionFilter, SessionRow, Settled, Store,
    StoreError,
};
use event::Names;
use fault::{Done, Fault};
use handle::{Handle, Shared};
pub use inspect::{Inspection, backup as back_up, inspect};
use marks::Marks;
pub use project::{Prepare, ProjectStore, ProjectStoreOptions};
use queue::Job;

/// Where a store lies, and how much it may hold in memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// The database, `amplifier.db`. It and its folder are made if they are not there.
    pub path: PathBuf,
    /// The store's own clock.
    pub clock: Arc<dyn Clock>,
    /// Ids tell its log from others.
    pub ids: Arc<dyn Ids>,
    /// Who this process is among those at work on the project; `None` if there are no others that
    /// must be waited for in turn or woken.
    pub instance: Option<Arc<Instance>>,
    /// Bytes of commits that wait to be written; further ones wait for room. By default 64 MiB. A
    /// commit counts for at least 1 KiB.
    pub queue_bytes: usize,
    /// Commits that were posted and wait to be written; further ones are refused. By default 1,024.
    pub post_limit: usize,
    /// Threads that read. By default 2.
    pub readers: usize,
    /// How often it is looked what other processes have written, if nobody rings; once somebody
    /// listens. By default 1 s.
    pub poll: Duration,
    /// How long a commit waits for its turn among the processes of the project, and for a foreign program
    /// that has locked the database, before it is refused as busy; each by itself. By default 5 s.
    pub patience: Duration,
    /// Bytes that the database may have, the log that is written ahead apart; what does not fit is
    /// refused as [`StoreError::Full`]. By default no bound but the disk.
    pub max_bytes: Option<u64>,
    /// For measurements: every transaction takes so much longer before it is flushed, as it would on
    /// a slower disk. By default not at all.
    pub simulated_flush: Option<Duration>,
}

impl SqliteOptions {
    /// A store at `path` with all bounds as they are by default, alone at work.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self {
            path: path.into(),
            clock,
            ids,
            instance: None,
            queue_bytes: 64 << 20,
            post_limit: 1_024,
            readers: 2,
            poll: Duration::from_secs(1),
            patience: Duration::from_secs(5),
            max_bytes: None,
            simulated_flush: None,
        }
    }

    /// Shares the project with other processes.
    #[must_use]
    pub fn instance(mut self, instance: Arc<Instance>) -> Self {
        self.instance = Some(instance);
        self
    }
}

/// A store in a file. Cheap to clone; clones are the same store.
///
/// When the last clone is dropped, what was handed over is written and the threads end; that takes
/// 5 seconds at most, after which the rest is left to the thread that writes.
#[derive(Clone)]
pub struct SqliteStore {
    handle: Arc<Handle>,
}

/// A connection with the names that were read from it.
struct Reader<'c> {
    conn: &'c Connection,
    names: &'c mut Names,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.shared().options.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// A store at a path. Returns at once: the file is opened, made or brought up to date meanwhile;
    /// the first use waits for that and gets its error, a later one tries again. `Err`: no thread
    /// can be started.
    pub fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        Ok(Self { handle: Arc::new(Handle::start(options)?) })
    }

    /// Waits until the database is open; `Err` says why it is not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        if self.shared().is_open() { Ok(()) } else { self.asked().await }
    }

    /// Waits until the writer has come to this place of its queue.
    async fn asked(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.put(Job::Ready(reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Lets nothing in any more: every later use is refused with [`StoreError::Closed`]. What was
    /// handed over is still written.
    pub fn close(&self) {
        self.shared().close();
    }

    /// Copies the store as it is now into a new file, whole or not at all, without keeping anybody from
    /// writing. `Ok`: durable. A store that is opened from the copy has a log of another number:
    /// cursors of this one are gone there.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.read(move |reader| backup::copy(reader.conn, &to)).await
    }

    /// Looks at every page and row: what is wrong, one sentence each; nothing if all is well.
    /// Takes as long as reading the file.
    pub async fn check(&self) -> Result<Vec<String>, StoreError> {
        self.read(|reader| check::store(reader.conn)).await
    }

    /// A change that is no commit of the contract's.
    async fn task(
        &self,
        task: impl FnOnce(&mut apply::Txn<'_>) -> Done + Send + 'static,
    ) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.put(Job::Task { task: Box::new(task), reply })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn shared(&self) -> &Arc<Shared> {
        self.handle.shared()
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader<'_>) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ready().await?;
        self.shared().pool.read(self.shared(), read).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<Receipt, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.commit(commit, reply).await?;
        let lost = || {
            Fault::InDoubt(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
                "the thread that writes has ended",
            )))
        };
        answer.await.unwrap_or_else(|_| Err(lost().into()))
    }

    fn post(&self, commit: Commit) -> Result<(), StoreError> {
        self.shared().queue.post(commit)
    }

    fn refused_posts(&self) -> u64 {
        self.shared().refused_posts()
    }

    fn listen(&self, listener: Weak<dyn LogListener>) {
        if self.shared().feed.add(listener) {
            self.handle.watch();
        }
        // The writer notes from where on to tell; if it has ended there is nothing to tell.
        let _ = self.shared().queue.put(Job::Ready(oneshot::channel().0));
    }

    async fn tail(&self) -> Result<Cursor, StoreError> {
        let shared = Arc::clone(self.shared());
        if shared.feed.is_unnoted() {
            self.asked().await?;
        }
        self.read(move |reader| {
            let end = Marks::read(reader.conn)?.end();
            if shared.feed.is_active() {
                shared.feed.catch_up(reader)?;
            }
            Ok(end)
        })
        .await
    }

    async fn events(&self, from: Cursor, limit: usize) -> Result<EventPage, StoreError> {
        self.read(move |reader| {
            let Reader { conn, names } = reader;
            sql::snapshot(conn, || {
                let marks = Marks::read(conn)?;
                marks.check(from)?;
                let events = event::page(conn, names, marks.scope.as_ref(), from.sequence, limit)?;
                let sequence = from.sequence + events.len() as u64;
                Ok(EventPage { events, next: Cursor { sequence, ..from } })
            })
        })
        .await
    }

    async fn event(&self, id: EventId) -> Result<Option<Arc<SessionEvent>>, StoreError> {
        self.read(move |reader| find::event(reader, id)).await
    }

    async fn commands(&self, to: &OwnerId, limit: usize) -> Result<Vec<Command>, StoreError> {
        let to = to.clone();
        self.read(move |reader| rows::commands(reader.conn, &to, limit)).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        let id = id.clone();
        self.read(move |reader| rows::session(reader.conn, &id)).await
    }

    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        let filter = filter.clone();
        self.read(move |reader| rows::sessions(reader.conn, &filter)).await
    }

    async fn settled(&self, of: &ActivationId) -> Result<Option<Settled>, StoreError> {
        let of = of.clone();
        self.read(move |reader| rows::settled(reader.conn, &of)).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        let id = id.clone();
        self.read(move |reader| rows::run(reader.conn, &id)).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let filter = filter.clone();
        self.read(move |reader| rows::runs(reader.conn, &filter)).await
    }

    async fn ready_runs(&self, queue: &QueueName, limit: usize) -> Result<ReadyRuns, StoreError> {
        let (queue, now) = (queue.clone(), self.shared().options.clock.now());
        self.read(move |reader| sql::snapshot(reader.conn, || rows::ready(reader.conn, &queue, now, limit)))
            .await
    }

    async fn count_queued(&self, queue: &QueueName) -> Result<u64, StoreError> {
        let queue = queue.clone();
        self.read(move |reader| rows::queued(reader.conn, &queue)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.read(|reader| rows::queues(reader.conn)).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        let (key, now) = (key.clone(), self.shared().options.clock.now());
        self.read(move |reader| {
            let held = rows::lease(reader.conn, &key)?;
            Ok(held.map(|held| Lease { left: held.left(now), key, owner: held.owner, epoch: held.epoch }))
        })
        .await
    }

    async fn cursor(&self, consumer: &ConsumerName) -> Result<Option<Cursor>, StoreError> {
        let consumer = consumer.clone();
        self.read(move |reader| {
            let Some(sequence) = rows::cursor(reader.conn, &consumer)? else { return Ok(None) };
            Ok(Some(Cursor { log: Marks::read(reader.conn)?.log, sequence }))
        })
        .await
    }

    async fn grant(&self, of: &ActivationId) -> Result<Option<Grant>, StoreError> {
        let of = of.clone();
        self.read(move |reader| rows::grant(reader.conn, &of)).await
    }

    async fn counter(&self, counter: &CounterName) -> Result<u64, StoreError> {
        let counter = counter.clone();
        self.read(move |reader| rows::counter(reader.conn, &counter)).await
    }

    async fn key(&self, key: &DedupKey) -> Result<Option<Payload>, StoreError> {
        let (key, now) = (key.clone(), self.shared().options.clock.now());
        self.read(move |reader| rows::key(reader.conn, &key, now)).await
    }

    async fn keys(
        &self,
        prefix: &str,
        after: Option<&DedupKey>,
        limit: usize,
    ) -> Result<Vec<(DedupKey, Payload)>, StoreError> {
        let after = after.map_or("", DedupKey::as_str).to_owned();
        let (prefix, now) = (prefix.to_owned(), self.shared().options.clock.now());
        self.read(move |reader| rows::keys(reader.conn, &prefix, &after, limit, now)).await
    }

    async fn retain(&self, retention: &Retention) -> Result<Retained, StoreError> {
        retain::run(self, retention).await
    }
    async fn issue(&self, id: &IssueId) -> Result<Option<IssueRow>, StoreError> {
        let id = id.clone();
        self.read(move |reader| issues::issue(reader.conn, &id)).await
    }

    async fn issues(&self, filter: &IssueFilter) -> Result<Vec<IssueRow>, StoreError> {
        let filter = filter.clone();
        self.read(move |reader| issues::issues(reader.conn, &filter)).await
    }

    async fn count_issues(&self) -> Result<IssueCounts, StoreError> {
        self.read(|reader| issues::counts(reader.conn)).await
    }

    async fn issue_notes(
        &self,
        id: &IssueId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<IssueNote>, StoreError> {
        let id = id.clone();
        self.read(move |reader| issues::notes(reader.conn, &id, after, limit)).await
    }
}
