//! What the tests share: a clock that stands, ids that count, both stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{
    Clock, EventId, Ids, IssueId, MonoTime, NewEvent, Payload, RunId, SessionEvent, SessionId, Timestamp,
};
use amplifier_issue::{Actor, IssueQueue, NewIssue, QueuedIssue};
use amplifier_store::{
    Commit, Cursor, MemoryStore, QueueName, RunMove, RunState, SqliteOptions, SqliteStore, Store, Write,
};
use uuid::{Builder, Uuid};

#[derive(Debug, Default)]
pub(crate) struct Fixed {
    micros: AtomicI64,
    count: AtomicU64,
}

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000 + self.micros.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(Duration::ZERO)
    }
    fn sleep_until(&self, _deadline: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Ids for Fixed {
    fn v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Builder::from_unix_timestamp_millis(u64::try_from(now.as_millis()).unwrap(), &random).into_uuid()
    }
    fn v4(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// One store with a queue on it.
pub(crate) struct Stage {
    pub(crate) queue: IssueQueue,
    pub(crate) store: Arc<dyn Store>,
    _folder: Option<tempfile::TempDir>,
}

impl Stage {
    pub(crate) fn memory() -> Self {
        let fixed = Arc::new(Fixed::default());
        let store = MemoryStore::new(Arc::clone(&fixed) as Arc<dyn Clock>, fixed.as_ref());
        Self::on(Arc::new(store), &fixed, None)
    }

    pub(crate) fn sqlite() -> Self {
        let fixed = Arc::new(Fixed::default());
        let folder = tempfile::tempdir().unwrap();
        let (clock, ids) = (Arc::clone(&fixed) as Arc<dyn Clock>, Arc::clone(&fixed) as Arc<dyn Ids>);
        let store = SqliteStore::open(SqliteOptions::new(folder.path().join("a.db"), clock, ids)).unwrap();
        Self::on(Arc::new(store), &fixed, Some(folder))
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::memory(), Self::sqlite()]
    }

    fn on(store: Arc<dyn Store>, fixed: &Arc<Fixed>, folder: Option<tempfile::TempDir>) -> Self {
        let sealing = Arc::clone(fixed);
        let seal = move |event: NewEvent| {
            let now = sealing.now();
            Ok(SessionEvent::seal(event, EventId(sealing.v7(now)), None, Arc::from("/p"), now))
        };
        let (clock, ids) = (Arc::clone(fixed) as Arc<dyn Clock>, Arc::clone(fixed) as Arc<dyn Ids>);
        let queue = IssueQueue::new(Arc::clone(&store), seal, clock, ids, Actor::new("ada"));
        Self { queue, store, _folder: folder }
    }

    /// Opens an issue in short: `a` or `a>b,c` for one that depends on others.
    pub(crate) async fn open(&self, short: &str) -> QueuedIssue {
        self.queue.open(new(short)).await.unwrap()
    }

    /// The names of all events so far, with their issues: `opened a`.
    pub(crate) async fn events(&self) -> Vec<String> {
        let from = Cursor { log: self.store.tail().await.unwrap().log, sequence: 1 };
        let page = self.store.events(from, 100_000).await.unwrap();
        let short = |event: &Arc<SessionEvent>| {
            let said: serde_json::Value = event.payload.decode().unwrap();
            let name = event.event_type.name().strip_prefix("issue_").unwrap().to_owned();
            format!("{name} {}", said["issue_id"].as_str().unwrap())
        };
        page.events.iter().map(short).collect()
    }

    /// Queues a run.
    pub(crate) async fn enqueue(&self, run: &str) -> RunId {
        let run = RunId::new(run).unwrap();
        let _ = self
            .store
            .commit(Commit::from(Write::Enqueue {
                run: run.clone(),
                queue: QueueName::new("pool").unwrap(),
                trigger: None,
                payload: Payload::null(),
                priority: 0,
                delay: Duration::ZERO,
            }))
            .await
            .unwrap();
        run
    }
}

impl Stage {
    /// Moves a run as far as its session.
    pub(crate) async fn begin(&self, run: &RunId, session: &str) {
        let leased = RunMove::new(run.clone(), RunState::Queued, RunState::Leased);
        let running = RunMove::new(run.clone(), RunState::Leased, RunState::Running);
        let running = running.session(SessionId::new(session).unwrap());
        let commit = Commit::from(Write::MoveRun(leased)).write(Write::MoveRun(running));
        let _ = self.store.commit(commit).await.unwrap();
    }
}

pub(crate) fn id(text: &str) -> IssueId {
    IssueId::new(text).unwrap()
}

pub(crate) fn new(short: &str) -> NewIssue {
    let (name, needs) = short.split_once('>').unwrap_or((short, ""));
    let mut issue = NewIssue::new(name, "");
    issue.id = Some(id(name));
    issue.depends_on = needs.split(',').filter(|need| !need.is_empty()).map(id).collect();
    issue
}
