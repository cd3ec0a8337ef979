//! What grows: a cost at 10, 100, … 10^6 of what it depends on, in short to 10^4.
//!
//! One store for each kind, filled on from size to size. A figure is the time of one call, after one that is not
//! counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amplifier_core::{
    Activation, Clock, CustomName, EventId, EventType, Ids, IssueId, NewEvent, OutcomeKind, Payload, RunId,
    SessionEvent, SessionId, SessionOutcome,
};
use amplifier_foundation::EventRouter;
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::router::{Delivery, Subscription};
use amplifier_foundation::store::{
    ActivationId, Commit, Cursor, IssueFilter, IssueRow, IssueStatus, OwnerId, QueueName, SessionFilter,
    SqliteOptions, SqliteStore, Store, StoreError, Write,
};
use tempfile::TempDir;

use crate::kit::{Call, quick, sized};

/// Sizes of what lies on disk, and of what is in memory.
const SIZES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// The largest one in short.
const QUICK: usize = 10_000;
/// Writes of one commit that fills.
const AT_ONCE: usize = 1_000;
/// Events that each subscriber gets.
const EVENTS: usize = 16;
/// Subscribers at most, each with a name of its own: each has a ring.
const NAMES: usize = 100_000;

pub(crate) fn measure(call: &Call) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if call.wants("log") {
            log(call.runs).await;
        }
        if call.wants("subscribers") {
            subscribers(call.runs).await;
        }
        if call.wants("sessions") {
            sessions(call.runs).await;
        }
        if call.wants("issues") {
            issues(call.runs).await;
        }
        if call.wants("queue") {
            queue(call.runs).await;
        }
    });
}

fn sizes(most: usize) -> impl Iterator<Item = usize> {
    let most = if quick() { most.min(QUICK) } else { most };
    SIZES.into_iter().filter(move |size| *size <= most)
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

fn us(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

/// A store in a file, and what makes events for it.
struct Disk {
    folder: TempDir,
    store: SqliteStore,
    ids: RandomIds,
    clock: SystemClock,
    filled: usize,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = open(&folder);
        Self { folder, store, ids: RandomIds::new(), clock: SystemClock::new(), filled: 0 }
    }

    /// Fills it up to a size with what `writes` makes of each number.
    async fn fill(&mut self, size: usize, writes: impl Fn(&Self, usize) -> Vec<Write>) {
        while self.filled < size {
            let mut commit = Commit::new();
            let end = size.min(self.filled + AT_ONCE);
            commit.writes = (self.filled..end).flat_map(|number| writes(self, number)).collect();
            let _ = self.store.commit(commit).await.unwrap().applied().unwrap();
            self.filled = end;
        }
    }

    fn event(&self, kind: EventType, source: Option<SessionId>) -> Box<SessionEvent> {
        let payload = Payload::from(serde_json::json!({"item": 4_711, "text": "x".repeat(100)}));
        let mut new = NewEvent::of(kind, payload);
        new.source = source;
        let now = self.clock.now();
        let id = EventId(self.ids.v7(now));
        Box::new(SessionEvent::seal(new, id, None, "project".into(), now))
    }
}

fn open(folder: &TempDir) -> SqliteStore {
    let path = folder.path().join("amplifier.db");
    SqliteStore::open(SqliteOptions::new(path, Arc::new(SystemClock::new()), Arc::new(RandomIds::new())))
        .unwrap()
}

/// Opening a store, the first page of its log, and all of it.
async fn log(runs: usize) {
    let mut disk = Disk::new();
    for size in sizes(1_000_000) {
        let kind = || EventType::Custom(CustomName::new("work:done").unwrap());
        disk.fill(size, |disk, _| vec![Write::Append(disk.event(kind(), None))]).await;
        let (mut opens, mut pages, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=runs.min(5) {
            let began = Instant::now();
            let store = open(&disk.folder);
            store.ready().await.unwrap();
            opens.push(ms(began));
            let start = oldest(&store).await;
            let began = Instant::now();
            assert!(!store.events(start, 10).await.unwrap().events.is_empty());
            pages.push(us(began));
            let began = Instant::now();
            assert!(replay(&store, start).await >= size);
            all.push(ms(began));
        }
        sized("log of N events: open", "ms", size, &opens[1..]);
        sized("log of N events: the first 10", "µs", size, &pages[1..]);
        sized("log of N events: all of them", "ms", size, &all[1..]);
    }
}

async fn oldest(store: &SqliteStore) -> Cursor {
    let tail = store.tail().await.unwrap();
    match store.events(Cursor { sequence: 0, ..tail }, 1).await {
        Err(StoreError::Gone { oldest }) => oldest,
        other => panic!("there is no sequence 0: {other:?}"),
    }
}

async fn replay(store: &SqliteStore, mut at: Cursor) -> usize {
    let mut count = 0;
    loop {
        let page = store.events(at, 1_000).await.unwrap();
        if page.events.is_empty() {
            return count;
        }
        (count, at) = (count + page.events.len(), page.next);
    }
}

/// An event to all of them, and one to one of them, who each have a name of their own.
async fn subscribers(runs: usize) {
    let payload = Payload::from(serde_json::json!({"status": "failed", "issue": 17}));
    let router = || EventRouter::in_memory(Arc::new(SystemClock::new()), Arc::new(RandomIds::new()), "/p");
    for size in sizes(1_000_000) {
        let router = router();
        let mut all: Vec<Subscription> = (0..size).map(|_| router.subscribe("*").unwrap()).collect();
        let name = CustomName::new("build:done").unwrap();
        let mut each = Vec::new();
        for _ in 0..=runs.min(5) {
            let began = Instant::now();
            for _ in 0..EVENTS {
                router.emit(name.clone(), payload.clone()).await.unwrap();
            }
            for subscription in &mut all {
                for _ in 0..EVENTS {
                    assert!(matches!(subscription.next().await, Some(Delivery::Event(_))));
                }
            }
            each.push(us(began) * 1e3 / (EVENTS * size) as f64);
        }
        sized("N subscribers of everything: a delivery", "ns", size, &each[1..]);
    }
    for size in sizes(NAMES) {
        let router = router();
        let name = |number: usize| CustomName::new(format!("work:item-{number}")).unwrap();
        let mut all: Vec<Subscription> =
            (0..size).map(|number| router.subscribe(name(number).as_str()).unwrap()).collect();
        let mut each = Vec::new();
        for _ in 0..=runs.min(5) {
            let mut took = Duration::ZERO;
            for at in 0..1_000 {
                let number = at * 7 % size;
                let name = name(number);
                let began = Instant::now();
                router.emit(name, payload.clone()).await.unwrap();
                assert!(matches!(all[number].next().await, Some(Delivery::Event(_))));
                took += began.elapsed();
            }
            each.push(took.as_secs_f64() * 1e6);
        }
        sized("N subscribers to a name each: an event to one of them", "ns", size, &each[1..]);
    }
}

fn session(number: usize) -> SessionId {
    SessionId::new(format!("s{number}")).unwrap()
}

/// The sessions that run, and the first page of all.
async fn sessions(runs: usize) {
    let mut disk = Disk::new();
    let owner = OwnerId::new("owner").unwrap();
    for size in sizes(1_000_000) {
        disk.fill(size, |disk, number| {
            let id = session(number);
            let of = ActivationId::new(id.clone(), Activation::FIRST);
            let open = Write::Open {
                of: of.clone(),
                owner: owner.clone(),
                parent: None,
                root: id.clone(),
                bundle: None,
            };
            let outcome =
                SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, "done".to_owned(), None);
            let event = disk.event(EventType::SessionCompleted, Some(id));
            // Ten run, however many have ended.
            let ended = number >= 10;
            let settle = ended.then(|| Write::Settle { of, outcome: Arc::new(outcome), event });
            std::iter::once(open).chain(settle).collect()
        })
        .await;
        let (mut running, mut first) = (Vec::new(), Vec::new());
        for _ in 0..=runs {
            let began = Instant::now();
            assert_eq!(disk.store.sessions(&SessionFilter::running()).await.unwrap().len(), 10);
            running.push(us(began));
            let mut filter = SessionFilter::default();
            filter.limit = 10;
            let began = Instant::now();
            assert_eq!(disk.store.sessions(&filter).await.unwrap().len(), 10);
            first.push(us(began));
        }
        sized("N sessions: those 10 that run", "µs", size, &running[1..]);
        sized("N sessions: the first 10", "µs", size, &first[1..]);
    }
}

/// The issues that are ready, and how many stand where.
async fn issues(runs: usize) {
    let mut disk = Disk::new();
    for size in sizes(1_000_000) {
        disk.fill(size, |_, number| {
            let id = IssueId::new(format!("i{number}")).unwrap();
            let body = Payload::from(serde_json::json!({"title": "number", "description": "x".repeat(100)}));
            let mut row = IssueRow::new(id, "task", 2, body);
            if number >= 10 {
                row.status = IssueStatus::Completed;
            }
            vec![Write::PutIssue(Box::new(row))]
        })
        .await;
        let (mut ready, mut counts) = (Vec::new(), Vec::new());
        for _ in 0..=runs {
            let began = Instant::now();
            assert_eq!(disk.store.issues(&IssueFilter::ready()).await.unwrap().len(), 10);
            ready.push(us(began));
            let began = Instant::now();
            assert_eq!(disk.store.count_issues().await.unwrap().of(IssueStatus::Open), 10);
            counts.push(us(began));
        }
        sized("N issues: those 10 that are ready", "µs", size, &ready[1..]);
        sized("N issues: how many stand where", "µs", size, &counts[1..]);
    }
}

/// The runs that begin next, how many wait, and one more.
async fn queue(runs: usize) {
    let mut disk = Disk::new();
    let queue = QueueName::new("background/night").unwrap();
    let run = |number: usize| {
        let payload = Payload::from(serde_json::json!({"text": "x".repeat(300)}));
        Write::Enqueue {
            run: RunId::new(format!("filled:{number}")).unwrap(),
            queue: queue.clone(),
            trigger: None,
            payload,
            priority: 0,
            delay: Duration::ZERO,
        }
    };
    for size in sizes(1_000_000) {
        disk.fill(size, |_, number| vec![run(number)]).await;
        let (mut ready, mut counts, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=runs {
            let began = Instant::now();
            assert_eq!(disk.store.ready_runs(&queue, 10).await.unwrap().runs.len(), 10);
            ready.push(us(began));
            let began = Instant::now();
            assert!(disk.store.count_queued(&queue).await.unwrap() >= size as u64);
            counts.push(us(began));
            let began = Instant::now();
            let _ = disk.store.commit(run(disk.filled).into()).await.unwrap().applied().unwrap();
            more.push(us(began));
            disk.filled += 1;
        }
        sized("N queued runs: the next 10", "µs", size, &ready[1..]);
        sized("N queued runs: how many wait", "µs", size, &counts[1..]);
        sized("N queued runs: one more, durable", "µs", size, &more[1..]);
    }
}
