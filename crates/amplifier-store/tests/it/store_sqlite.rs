//! The store in a file: the contract, two handles on one file as two processes have them, who
//! listens, the end, retention, backups.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use amplifier_core::{Clock, CustomName, EventId, EventType, Ids, NewEvent, Payload, RunId, SessionEvent};
use amplifier_core::{SessionId, Timestamp};
use amplifier_store::{
    CommandName, Commit, ConsumerName, CounterName, Cursor, DedupKey, Instance, Keep, LeaseKey, LogListener,
    OwnerId, QueueName, Retention, RunFilter, RunMove, RunState, SqliteOptions, SqliteStore, Store,
    StoreError, Write, conformance,
};
use uuid::Uuid;

use crate::store::{Fixed, note, open, owner, read_beside_writers, settle};

pub(crate) fn options(folder: &Path, fixed: &Arc<Fixed>) -> SqliteOptions {
    let (clock, ids) = (Arc::clone(fixed) as Arc<dyn Clock>, Arc::clone(fixed) as Arc<dyn Ids>);
    SqliteOptions::new(folder.join("project/amplifier.db"), clock, ids)
}

pub(crate) fn sqlite(folder: &Path, fixed: &Arc<Fixed>) -> SqliteStore {
    SqliteStore::open(options(folder, fixed)).unwrap()
}

/// A folder, and a store in it.
pub(crate) fn place() -> (tempfile::TempDir, Arc<Fixed>, SqliteStore) {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let store = sqlite(folder.path(), &fixed);
    (folder, fixed, store)
}

pub(crate) async fn applied(store: &dyn Store, commit: impl Into<Commit>) {
    assert!(store.commit(commit.into()).await.unwrap().applied().is_some());
}

/// All sequences that the log holds, in its order.
pub(crate) async fn sequences(store: &dyn Store) -> Vec<u64> {
    let tail = store.tail().await.unwrap();
    let Err(StoreError::Gone { oldest }) = store.events(Cursor { sequence: 0, ..tail }, 1).await else {
        panic!("there is no sequence 0")
    };
    let (mut at, mut found) = (oldest, Vec::new());
    loop {
        let page = store.events(at, 777).await.unwrap();
        if page.events.is_empty() {
            return found;
        }
        found.extend(page.events.iter().map(|event| event.sequence.unwrap()));
        at = page.next;
    }
}

#[tokio::test]
async fn the_store_in_a_file_keeps_the_contract() {
    let folders = Mutex::new(Vec::new());
    let fixed = Arc::new(Fixed::default());
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path(), &fixed);
        folders.lock().unwrap().push(folder);
        Arc::new(store) as Arc<dyn Store>
    };
    assert_eq!(conformance::run(make).await.unwrap().len(), 49);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_of_an_earlier_version_is_brought_up_to_date_by_whoever_opens_it_first() {
    let (folder, fixed, store) = place();
    let run = RunId::new("r").unwrap();
    let (queue, payload) = (QueueName::new("q").unwrap(), Payload::null());
    let enqueue = Write::Enqueue {
        run: run.clone(),
        queue,
        trigger: None,
        payload,
        priority: 0,
        delay: Duration::ZERO,
    };
    let step = |from, to| RunMove::new(run.clone(), from, to);
    let start = step(RunState::Leased, RunState::Running).session(SessionId::new("s").unwrap());
    let lease = step(RunState::Queued, RunState::Leased);
    let begun = Commit::from(enqueue).write(Write::MoveRun(lease)).write(Write::MoveRun(start));
    applied(&store, begun.write(note())).await;
    drop(store);
    let conn = rusqlite::Connection::open(folder.path().join("project/amplifier.db")).unwrap();
    let version: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let later = "DROP TABLE issues; DROP TABLE issue_needs; DROP TABLE issue_counts; DROP TABLE issue_notes; \
                 ALTER TABLE meta DROP COLUMN issue; ALTER TABLE meta DROP COLUMN note; \
                 DROP TABLE run_sessions";
    conn.execute_batch(later).unwrap();
    conn.pragma_update(None, "user_version", version - 2).unwrap();
    drop(conn);
    let stores: Vec<_> = (0..4).map(|_| sqlite(folder.path(), &fixed)).collect();
    for store in &stores {
        let of = |session: &str| RunFilter::of_session(SessionId::new(session).unwrap());
        let rows = store.runs(&of("s")).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), std::slice::from_ref(&run));
        assert_eq!(store.runs(&of("t")).await.unwrap(), []);
        assert_eq!(sequences(store).await, [1]);
        assert_eq!(store.count_issues().await.unwrap().total(), 0);
        applied(store, Write::AddCounter { counter: CounterName::new("n").unwrap(), by: 1 }).await;
        assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_file_and_its_folder_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _, store) = place();
    store.ready().await.unwrap();
    applied(&store, note()).await;
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("project"), mode("project/amplifier.db")), (0o700, 0o600));
    assert_eq!(mode("project/amplifier.db-wal"), 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_on_one_file_are_one_store() {
    let (folder, fixed, a) = place();
    let b = sqlite(folder.path(), &fixed);
    let log = a.tail().await.unwrap().log;
    assert_eq!(b.tail().await.unwrap().log, log);
    let count = || Write::AddCounter { counter: CounterName::new("n").unwrap(), by: 1 };
    let key = LeaseKey::new("l").unwrap();
    let take = |name| {
        let ttl = Duration::from_secs(60);
        Write::TakeLease { key: key.clone(), owner: owner(name), ttl, over: None }
    };
    applied(&a, take("a")).await;
    assert!(
        matches!(b.commit(take("b").into()).await, Err(StoreError::LeaseTaken { owner, .. }) if owner.as_str() == "a")
    );
    let writers: Vec<_> = [&a, &b, &a, &b]
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    applied(&store, Commit::new().write(note()).write(count()).write(note())).await;
                }
            })
        })
        .into();
    for writer in writers {
        writer.await.unwrap();
    }
    for store in [&a, &b] {
        assert_eq!(store.counter(&CounterName::new("n").unwrap()).await.unwrap(), 400);
        assert_eq!(sequences(store).await, (1..=800).collect::<Vec<_>>());
    }
    assert!(a.check().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_beside_writers_sees_no_gap_and_no_half_of_a_commit() {
    let (_folder, _, store) = place();
    read_beside_writers(store, 100).await;
}

/// What a listener was told.
#[derive(Debug, Default)]
struct Heard {
    state: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Told {
    sequences: Vec<u64>,
    missed: Vec<u64>,
    commands: usize,
    /// The queues where runs were queued; `?` for somewhere.
    queued: Vec<String>,
}

impl LogListener for Heard {
    fn recorded(&self, events: &[Arc<SessionEvent>]) {
        self.note(|told| told.sequences.extend(events.iter().map(|event| event.sequence.unwrap())));
    }

    fn missed(&self, resume: Cursor) {
        self.note(|told| told.missed.push(resume.sequence));
    }

    fn commanded(&self) {
        self.note(|told| told.commands += 1);
    }

    fn queued(&self, queues: Option<&[QueueName]>) {
        let queues =
            queues.map(|queues| queues.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"));
        self.note(|told| told.queued.push(queues.unwrap_or_else(|| "?".to_owned())));
    }
}

impl Heard {
    fn at(store: &SqliteStore) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        let listener: Weak<dyn LogListener> = Arc::downgrade(&(Arc::clone(&heard) as Arc<dyn LogListener>));
        store.listen(listener);
        heard
    }

    fn note(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn told(&self) -> Told {
        self.state.lock().unwrap().clone()
    }

    /// Waits until `enough`, which must come within a minute.
    fn wait(&self, enough: impl Fn(&Told) -> bool) -> Told {
        let state = self.state.lock().unwrap();
        let late = |told: &mut Told| !enough(told);
        let (state, waited) = self.changed.wait_timeout_while(state, Duration::from_secs(60), late).unwrap();
        assert!(!waited.timed_out(), "{state:?}");
        state.clone()
    }
}

fn send(to: &str) -> Write {
    let name = CommandName::new("cancel").unwrap();
    Write::Send { to: owner(to), name, payload: Payload::null() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_listens_is_told_of_each_event_once_and_in_order_whoever_wrote_it() {
    let (folder, fixed, a) = place();
    let b = sqlite(folder.path(), &fixed);
    let heard = [Heard::at(&a), Heard::at(&b)];
    assert_eq!((a.tail().await.unwrap().sequence, b.tail().await.unwrap().sequence), (1, 1));
    let writers: Vec<_> = [&a, &b, &a, &b]
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    applied(&store, Commit::new().write(note()).write(note())).await;
                }
            })
        })
        .into();
    for writer in writers {
        writer.await.unwrap();
    }
    // The tail takes note of what others wrote.
    assert_eq!((a.tail().await.unwrap().sequence, b.tail().await.unwrap().sequence), (801, 801));
    for heard in heard {
        let told = heard.told();
        assert_eq!(told.sequences, (1..=800).collect::<Vec<_>>());
        assert_eq!((told.missed.len(), told.commands), (0, 0));
    }
}

#[tokio::test]
async fn who_listens_hears_of_other_processes_without_asking() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let run = folder.path().join("run");
    let enter = |name| Instance::enter(&run, OwnerId::new(name).unwrap()).unwrap();
    // With a doorbell, and by looking alone.
    let mut quick = options(folder.path(), &fixed);
    quick.poll = Duration::from_millis(5);
    let rung = options(folder.path(), &fixed).instance(enter("a"));
    let writer = SqliteStore::open(options(folder.path(), &fixed).instance(enter("b"))).unwrap();
    for options in [quick, rung] {
        let store = SqliteStore::open(options).unwrap();
        let heard = Heard::at(&store);
        let first = store.tail().await.unwrap().sequence;
        applied(&writer, note()).await;
        applied(&writer, Commit::new().write(note()).write(send("a"))).await;
        let told = heard.wait(|told| told.sequences.len() == 2 && told.commands == 1);
        assert_eq!(
            told,
            Told { sequences: vec![first, first + 1], missed: vec![], commands: 1, queued: vec![] }
        );
    }
}

fn enqueue(name: &str) -> Write {
    let (run, queue) = (RunId::new(name).unwrap(), QueueName::new("q").unwrap());
    Write::Enqueue { run, queue, trigger: None, payload: Payload::null(), priority: 0, delay: Duration::ZERO }
}

#[tokio::test]
async fn who_listens_hears_at_once_of_runs_that_another_process_has_queued() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let run = folder.path().join("run");
    let enter = |name| Instance::enter(&run, OwnerId::new(name).unwrap()).unwrap();
    let mut rung = options(folder.path(), &fixed).instance(enter("a"));
    // Only the bell can bring it.
    rung.poll = Duration::from_secs(3_600);
    let writer = SqliteStore::open(options(folder.path(), &fixed).instance(enter("b"))).unwrap();
    applied(&writer, enqueue("before")).await;
    let store = SqliteStore::open(rung).unwrap();
    let heard = Heard::at(&store);
    store.tail().await.unwrap();
    assert_eq!(heard.told().queued, Vec::<String>::new(), "what was there is not told");
    applied(&writer, enqueue("one")).await;
    assert_eq!(heard.wait(|told| !told.queued.is_empty()).queued, ["?"]);
    applied(&store, Commit::new().write(enqueue("two")).write(enqueue("three"))).await;
    assert_eq!(heard.told().queued, ["?", "q+q"], "its own are named");
    let step = |from, to| Write::MoveRun(RunMove::new(RunId::new("one").unwrap(), from, to));
    applied(&writer, step(RunState::Queued, RunState::Leased)).await;
    applied(&writer, step(RunState::Leased, RunState::Queued)).await;
    assert_eq!(heard.wait(|told| told.queued.len() == 3).queued, ["?", "q+q", "?"]);
}

/// A database as version 1 made it, with runs.
fn of_version_1(path: &Path) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(include_str!("../../src/sqlite/schema.sql")).unwrap();
    conn.execute_batch(
        "UPDATE meta SET log = 7, run = 3; \
         INSERT INTO runs (place, id, queue, trigger_id, state, attempt, ready_at, created, updated, payload) \
         VALUES (1, 'a', 'q', NULL, 'queued', 1, 5, 5, 5, x'6e756c6c'), \
         (2, 'b', 'q', NULL, 'cancelled', 1, 5, 5, 5, x'6e756c6c'), \
         (3, 'c', 'q', NULL, 'queued', 2, 900, 5, 5, x'6e756c6c'); \
         PRAGMA user_version = 1; PRAGMA application_id = 1095585868",
    )
    .unwrap();
}

#[tokio::test]
async fn runs_of_the_first_version_are_there_after_the_database_was_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = Arc::new(Fixed::default());
    std::fs::create_dir(folder.path().join("project")).unwrap();
    of_version_1(&folder.path().join("project/amplifier.db"));
    fixed.micros.store(100, Ordering::SeqCst);
    let store = sqlite(folder.path(), &fixed);
    let ready = store.ready_runs(&QueueName::new("q").unwrap(), 9).await.unwrap();
    assert_eq!(ready.runs.iter().map(|row| (row.id.as_str(), row.priority)).collect::<Vec<_>>(), [("a", 0)]);
    assert_eq!(ready.next, Some(Timestamp::from_micros(900)));
    assert_eq!(store.runs(&RunFilter::default()).await.unwrap().len(), 3);
    applied(&store, enqueue("d")).await;
    assert_eq!(store.run(&RunId::new("d").unwrap()).await.unwrap().unwrap().place, 4);
    assert!(store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_listens_is_told_what_it_missed_because_it_was_pruned() {
    let (folder, fixed, store) = place();
    let other = sqlite(folder.path(), &fixed);
    let heard = Heard::at(&store);
    store.tail().await.unwrap();
    let mut many = Commit::new();
    many.writes.resize(10, note());
    applied(&other, many).await;
    applied(&other, Write::Prune { before: 8 }).await;
    applied(&store, note()).await;
    assert_eq!(
        heard.told(),
        Told { sequences: vec![8, 9, 10, 11], missed: vec![8], commands: 0, queued: vec![] }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_begins_to_listen_while_something_is_written_hears_of_it_or_finds_it() {
    for round in 0..24_u32 {
        let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
        let mut options = options(folder.path(), &fixed);
        options.simulated_flush = Some(Duration::from_millis(3));
        let store = SqliteStore::open(options).unwrap();
        store.ready().await.unwrap();
        let log = store.tail().await.unwrap().log;
        // Others look at the tail all the time, and notice what was written before the writer tells it.
        let looking = store.clone();
        let looks = tokio::spawn(async move { while looking.tail().await.unwrap().sequence < 3 {} });
        store.post(note().into()).unwrap();
        for _ in 0..round * 5_000 {
            std::hint::spin_loop();
        }
        let heard = Heard::at(&store);
        let found = store.events(Cursor { log, sequence: 1 }, 10).await.unwrap().events.len() as u64;
        applied(&store, note()).await;
        let mut sequences = heard.told().sequences;
        assert_eq!(sequences.pop(), Some(2), "round {round}: what is committed later is told");
        let first = sequences.first().copied().unwrap_or(2);
        assert!(first <= found + 1, "round {round}: found {found}, heard from {first}");
        looks.await.unwrap();
    }
}

#[tokio::test]
async fn a_listener_that_panics_stops_nobody() {
    struct Bad;
    impl LogListener for Bad {
        fn recorded(&self, _: &[Arc<SessionEvent>]) {
            panic!("on purpose");
        }
        fn missed(&self, _: Cursor) {}
        fn commanded(&self) {}
    }
    let (_folder, _, store) = place();
    let bad: Arc<dyn LogListener> = Arc::new(Bad);
    store.listen(Arc::downgrade(&bad));
    let heard = Heard::at(&store);
    applied(&store, note()).await;
    applied(&store, note()).await;
    assert_eq!(heard.told().sequences, [1, 2]);
}

#[tokio::test]
async fn keys_leases_and_waits_survive_a_clock_that_jumps_back() {
    let (folder, clock, mut store) = place();
    let set = |seconds: i64| clock.micros.store(seconds * 1_000_000, Ordering::SeqCst);
    let ten = Duration::from_secs(10);
    set(100);
    let key = DedupKey::new("k").unwrap();
    let put = || Write::PutKey { key: key.clone(), value: Payload::null(), retain: ten };
    let lease = LeaseKey::new("l").unwrap();
    let take = |name| Write::TakeLease { key: lease.clone(), owner: owner(name), ttl: ten, over: None };
    let queue = QueueName::new("q").unwrap();
    let (run, trigger, payload) = (RunId::new("r").unwrap(), None, Payload::null());
    applied(&store, Write::Enqueue { run, queue: queue.clone(), trigger, payload, priority: 0, delay: ten })
        .await;
    applied(&store, Commit::new().write(put()).write(take("a"))).await;
    let ready = async |store: &dyn Store| store.ready_runs(&queue, 9).await.unwrap().runs.len();
    for (at, free) in [(109, false), (50, false), (110, true)] {
        set(at);
        drop(store);
        store = sqlite(folder.path(), &clock);
        assert_eq!(store.key(&key).await.unwrap().is_none(), free, "the key at {at}");
        // One that waits does not wait for a clock to come as far again as it was.
        assert_eq!(ready(&store).await, usize::from(free || at < 100), "the run at {at}");
        assert_eq!(store.commit(take("b").into()).await.is_ok(), free, "the lease at {at}");
    }
    applied(&store, put()).await;
    set(100);
    assert!(store.commit(put().into()).await.unwrap().applied().is_none());
}

#[tokio::test]
async fn an_event_is_found_by_its_id_wherever_its_clock_put_it() {
    let (_folder, _, store) = place();
    let mut ids = Vec::new();
    // A clock that goes forward, stands, and is set back by an hour in the middle.
    for (number, millis) in (0_u64..3_000)
        .map(|n| (n, if n < 2_000 { n / 3 } else { n }))
        .map(|(n, at)| (n, 1_800_000_000_000 + if n < 1_500 { at + 3_600_000 } else { at }))
    {
        let id = EventId(Uuid::from_u64_pair(millis << 16 | 7 << 12 | (number & 0xfff), 2 << 62 | number));
        let new = NewEvent::of(EventType::ToolPost, Payload::null());
        let at = Timestamp::from_micros(i64::try_from(millis).unwrap() * 1_000);
        ids.push((id, SessionEvent::seal(new, id, None, "p".into(), at)));
    }
    let mut commit = Commit::new();
    commit.writes.extend(ids.iter().map(|(_, event)| Write::Append(Box::new(event.clone()))));
    applied(&store, commit).await;
    for (number, (id, _)) in ids.iter().enumerate().step_by(37) {
        let found = store.event(*id).await.unwrap().unwrap();
        assert_eq!((found.id, found.sequence), (*id, Some(number as u64 + 1)));
    }
    assert!(store.event(EventId(Uuid::from_u64_pair(7 << 12, 2 << 62))).await.unwrap().is_none());
    applied(&store, Write::Prune { before: u64::MAX }).await;
    assert!(store.event(ids[2_999].0).await.unwrap().is_none(), "what was pruned is not found");
}

#[tokio::test]
async fn an_event_is_read_as_it_was_written() {
    let (folder, fixed, store) = place();
    let id = |number| EventId(Uuid::from_u128(number));
    let custom = EventType::Custom(CustomName::new("work:done").unwrap());
    let payload = Payload::from_json("{ \"b\": 1.50,\"a\": [\"\\u00e9\", null] }").unwrap();
    let mut new = NewEvent::of(custom, payload).from_session(SessionId::new("s-1").unwrap());
    (new.causation, new.correlation, new.hops) = (Some(id(3)), Some(id(2)), 7);
    let at = Timestamp::from_micros(-5);
    let event = SessionEvent::seal(new, id(9), None, "project é".into(), at);
    let mut other = event.clone();
    other.scope = "elsewhere".into();
    let both =
        Commit::new().write(Write::Append(Box::new(event.clone()))).write(Write::Append(Box::new(other)));
    applied(&store, both).await;
    drop(store);
    let store = sqlite(folder.path(), &fixed);
    let end = store.tail().await.unwrap();
    let page = store.events(Cursor { sequence: 1, ..end }, 10).await.unwrap();
    for (number, (read, scope)) in page.events.iter().zip(["project é", "elsewhere"]).enumerate() {
        let sequence = Some(number as u64 + 1);
        let mut wanted = event.clone();
        (wanted.scope, wanted.sequence) = (scope.into(), sequence);
        assert_eq!(serde_json::to_string(&**read).unwrap(), serde_json::to_string(&wanted).unwrap());
    }
    assert_eq!(page.events.len(), 2);
}

#[tokio::test]
async fn the_last_handle_writes_what_was_handed_over() {
    let (folder, fixed, store) = place();
    for _ in 0..1_000 {
        store.post(note().into()).unwrap();
    }
    drop(store);
    assert_eq!(sequences(&sqlite(folder.path(), &fixed)).await.len(), 1_000);
    assert!(!folder.path().join("project/amplifier.db-wal").exists(), "the last one puts the log away");
}

#[tokio::test]
async fn a_closed_store_refuses_everything_and_keeps_what_it_was_given() {
    let (folder, fixed, store) = place();
    store.post(note().into()).unwrap();
    store.close();
    let closed = |error: &StoreError| matches!(error, StoreError::Closed);
    assert!(closed(&store.post(note().into()).unwrap_err()));
    assert!(closed(&store.commit(note().into()).await.unwrap_err()));
    assert!(closed(&store.tail().await.unwrap_err()));
    assert!(closed(&store.retain(&Retention::default()).await.unwrap_err()));
    drop(store);
    assert_eq!(sequences(&sqlite(folder.path(), &fixed)).await, [1]);
}

#[tokio::test]
async fn a_commit_whose_caller_is_gone_is_there_whole_or_not_at_all() {
    let (folder, fixed, store) = place();
    for _ in 0..50 {
        let commit = store.commit(Commit::new().write(note()).write(note()));
        // Polled once, so that it is handed over, and dropped.
        let _ = futures_util::future::FutureExt::now_or_never(commit);
    }
    drop(store);
    let store = sqlite(folder.path(), &fixed);
    assert_eq!(sequences(&store).await.len(), 100);
}

#[tokio::test]
async fn a_backup_is_whole_and_old_cursors_are_gone_in_it() {
    let (folder, fixed, store) = place();
    let consumer = ConsumerName::new("c").unwrap();
    let mut commit = Commit::new().write(open("s", 1, "a")).write(settle("s", 1, "kept"));
    commit.writes.resize(50, note());
    applied(&store, commit).await;
    let tail = store.tail().await.unwrap();
    applied(&store, Write::SetCursor { consumer: consumer.clone(), cursor: Cursor { sequence: 20, ..tail } })
        .await;
    let copy = folder.path().join("backups/project");
    std::fs::create_dir_all(&copy).unwrap();
    let copy = copy.join("amplifier.db");
    store.backup(&copy).await.unwrap();
    applied(&store, note()).await;
    let again = store.backup(&copy).await.unwrap_err();
    assert!(matches!(again, StoreError::Backend { action: "write the backup", .. }), "{again}");

    let restored = sqlite(&folder.path().join("backups"), &fixed);
    assert!(restored.check().await.unwrap().is_empty());
    let end = restored.tail().await.unwrap();
    assert_eq!(end.sequence, tail.sequence);
    assert_ne!(end.log, tail.log);
    for sequence in [1, 20, tail.sequence] {
        let old = restored.events(Cursor { sequence, ..tail }, 1).await.unwrap_err();
        assert!(
            matches!(old, StoreError::Gone { oldest } if oldest == Cursor { sequence: 1, ..end }),
            "{old}"
        );
    }
    // A consumer of the store's own goes on where the backup has it.
    assert_eq!(restored.cursor(&consumer).await.unwrap(), Some(Cursor { sequence: 20, ..end }));
    drop(restored);
    let opened_again = sqlite(&folder.path().join("backups"), &fixed);
    assert_eq!(opened_again.tail().await.unwrap(), end, "the log keeps its new number");
    let names = std::fs::read_dir(copy.parent().unwrap()).unwrap();
    assert!(names.filter_map(Result::ok).all(|name| !name.file_name().to_string_lossy().contains(".tmp")));
}

#[tokio::test]
async fn retention_spares_what_a_consumer_has_not_read_up_to_a_bound_and_counts_what_it_loses() {
    let (_folder, _, store) = place();
    let (slow, quick) = (ConsumerName::new("slow").unwrap(), ConsumerName::new("quick").unwrap());
    let mut commit = Commit::new();
    commit.writes.resize(10_000, note());
    applied(&store, commit).await;
    let tail = store.tail().await.unwrap();
    let set = |consumer: &ConsumerName, sequence| {
        let cursor = Cursor { sequence, ..tail };
        Write::SetCursor { consumer: consumer.clone(), cursor }
    };
    applied(&store, Commit::new().write(set(&slow, 3_000)).write(set(&quick, 9_990))).await;
    let mut retention = Retention::default();
    retention.events = Keep::FOR_EVER.count(100);
    let retained = store.retain(&retention).await.unwrap();
    assert_eq!((retained.events, retained.lost.len()), (2_999, 0));
    assert_eq!(sequences(&store).await.first(), Some(&3_000));

    retention.unacknowledged = Keep::FOR_EVER.count(4_000);
    let retained = store.retain(&retention).await.unwrap();
    assert_eq!((retained.events, retained.lost), (3_001, vec![(slow.clone(), 3_001)]));
    let lost = CounterName::new("lost/slow").unwrap();
    assert_eq!(store.counter(&lost).await.unwrap(), 3_001);
    let at = store.cursor(&slow).await.unwrap().unwrap();
    assert!(
        matches!(store.events(at, 1).await, Err(StoreError::Gone { oldest }) if oldest.sequence == 6_001)
    );
    retention.unacknowledged = retention.events;
    store.retain(&retention).await.unwrap();
    assert_eq!(sequences(&store).await, (9_901..=10_000).collect::<Vec<_>>());
    assert!(store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn retention_by_age_and_bytes_drops_what_is_final_alone() {
    let (_folder, clock, store) = place();
    let set = |seconds: i64| clock.micros.store(seconds * 1_000_000, Ordering::SeqCst);
    let run = |name: &str| RunId::new(name).unwrap();
    let enqueue = |name: &str| {
        let (queue, payload) = (QueueName::new("q").unwrap(), Payload::null());
        Write::Enqueue { run: run(name), queue, trigger: None, payload, priority: 0, delay: Duration::ZERO }
    };
    let skip = |name: &str| Write::MoveRun(RunMove::new(run(name), RunState::Queued, RunState::Skipped));
    for (at, name) in [(10, "a"), (20, "b"), (30, "c")] {
        set(at);
        applied(&store, Commit::new().write(enqueue(name)).write(skip(name))).await;
        applied(&store, enqueue(&format!("{name}-waits"))).await;
        applied(&store, Commit::new().write(open(name, 1, "o")).write(settle(name, 1, "")).write(send("o")))
            .await;
    }
    applied(&store, open("runs-still", 1, "o")).await;
    set(40);
    let mut retention = Retention::default();
    retention.events = Keep::FOR_EVER.count(0);
    retention.runs = Keep::FOR_EVER.age(Duration::from_secs(15));
    retention.sessions = retention.runs;
    retention.commands = Keep::FOR_EVER.bytes(1);
    let retained = store.retain(&retention).await.unwrap();
    assert_eq!((retained.events, retained.runs, retained.sessions, retained.commands), (3, 2, 2, 3));
    let left = store.runs(&RunFilter::default()).await.unwrap();
    let left: Vec<_> = left.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(left, ["a-waits", "b-waits", "c", "c-waits"]);
    assert_eq!(store.counter(&CounterName::new("retired/q").unwrap()).await.unwrap(), 2);
    assert_eq!(store.sessions(&Default::default()).await.unwrap().len(), 2);
    assert_eq!(store.tail().await.unwrap().sequence, 4, "sequences are not given away again");
    assert!(store.check().await.unwrap().is_empty());
}
