//! What the store in a file costs.
//!
//! The rival is SQLite in a bare loop, one thread that inserts the same rows in transactions as large as the
//! number of those who commit at the same time, with the same settings, turn by turn in the same run.
//! A slow disk is simulated for both: each waits 4 ms at the end of a transaction.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amplifier_core::{CustomName, EventId, EventType, Ids, NewEvent, Payload, SessionEvent, SessionId};
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::store::{Commit, Cursor, SqliteOptions, SqliteStore, Store, StoreError, Write};
use rusqlite::{Connection, params};

use crate::kit::Wanted::{self, AtLeast, AtMost, Nothing};
use crate::kit::{Call, Rival, against, row};

/// Commits that are timed together.
const EMITS: usize = 64_000;
/// The same with 4 ms for each flush.
const SLOW_EMITS: usize = 16_000;
/// A flush of a disk that has other things to do.
const SLOW: Duration = Duration::from_millis(4);
/// Events of a large log.
const EVENTS: usize = 1_000_000;
/// The word that makes this program a process that holds a large log open.
const HOLD: &str = "hold";

pub(crate) fn measure(call: &Call) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let [word, path] = call.words.as_slice()
        && word == HOLD
    {
        runtime.block_on(hold(Path::new(path)));
        return;
    }
    let runs = call.runs;
    if call.wants("emits") {
        for (clients, least) in [(64, AtLeast(50_000.0)), (1_000, Nothing)] {
            emits(&runtime, runs, clients, None, least, 0.55);
        }
    }
    if call.wants("slow") {
        for (clients, least) in [(64, AtLeast(8_000.0)), (1_000, Nothing)] {
            emits(&runtime, runs, clients, Some(SLOW), least, 0.85);
        }
    }
    if call.wants("alone") {
        alone(&runtime, runs);
    }
    if call.wants("large") {
        large(&runtime, runs);
    }
}

/// What makes events, as a router does.
struct Maker {
    ids: RandomIds,
    clock: SystemClock,
    name: EventType,
    source: SessionId,
    scope: Arc<str>,
    payload: Payload,
}

impl Maker {
    fn new() -> Arc<Self> {
        let text = "x".repeat(100);
        Arc::new(Self {
            ids: RandomIds::new(),
            clock: SystemClock::new(),
            name: EventType::Custom(CustomName::new("work:done").unwrap()),
            source: SessionId::new("01947f3e-7d2c-7000-8000-000000000001").unwrap(),
            scope: "project".into(),
            payload: Payload::from(serde_json::json!({"item": 4_711, "text": text})),
        })
    }

    fn event(&self) -> SessionEvent {
        let now = amplifier_core::Clock::now(&self.clock);
        let new = NewEvent::of(self.name.clone(), self.payload.clone()).from_session(self.source.clone());
        SessionEvent::seal(new, EventId(self.ids.v7(now)), None, Arc::clone(&self.scope), now)
    }
}

fn open(path: &Path, slow: Option<Duration>) -> SqliteStore {
    let mut options = SqliteOptions::new(path, Arc::new(SystemClock::new()), Arc::new(RandomIds::new()));
    options.simulated_flush = slow;
    SqliteStore::open(options).unwrap()
}

/// Emits a second of so many that each wait for the one before.
async fn store_rate(store: &SqliteStore, maker: &Arc<Maker>, clients: usize, count: usize) -> f64 {
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (store, maker) = (store.clone(), Arc::clone(maker));
            tokio::spawn(async move {
                for _ in 0..count / clients {
                    let commit: Commit = Write::Append(Box::new(maker.event())).into();
                    let _ = store.commit(commit).await.unwrap().applied().unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    (count / clients * clients) as f64 / began.elapsed().as_secs_f64()
}

/// The same rows in the same batches by one thread that waits for nobody.
fn bare_rate(conn: &Connection, maker: &Maker, batch: usize, count: usize, slow: Option<Duration>) -> f64 {
    let began = Instant::now();
    let sql = "INSERT INTO events (id, at, kind, source, hops, causation, correlation, scope, payload, root) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    for _ in 0..count / batch {
        conn.prepare_cached("BEGIN IMMEDIATE").unwrap().execute([]).unwrap();
        let mut insert = conn.prepare_cached(sql).unwrap();
        for _ in 0..batch {
            let event = maker.event();
            let (id, at) = (event.id.0, event.at.as_micros());
            let (none, source) = (None::<&[u8]>, event.source.as_ref().map(SessionId::as_str));
            let (kind, payload) = (event.event_type.name(), event.payload.as_bytes());
            insert
                .execute(params![
                    &id.as_bytes()[..],
                    at,
                    kind,
                    source,
                    0,
                    none,
                    none,
                    None::<&str>,
                    payload,
                    None::<&str>
                ])
                .unwrap();
        }
        if let Some(slow) = slow {
            std::thread::sleep(slow);
        }
        conn.prepare_cached("COMMIT").unwrap().execute([]).unwrap();
    }
    (count / batch * batch) as f64 / began.elapsed().as_secs_f64()
}

fn bare(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -4096; \
         CREATE TABLE events (sequence INTEGER PRIMARY KEY, id BLOB NOT NULL, at INTEGER NOT NULL, \
         kind TEXT NOT NULL, source TEXT, hops INTEGER NOT NULL, causation BLOB, correlation BLOB, \
         scope TEXT, payload BLOB NOT NULL, root TEXT) STRICT",
    )
    .unwrap();
    conn
}

fn emits(
    runtime: &tokio::runtime::Runtime,
    runs: usize,
    clients: usize,
    slow: Option<Duration>,
    least: Wanted,
    times: f64,
) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("amplifier.db"), slow);
    let conn = bare(&folder.path().join("bare.db"));
    let maker = Maker::new();
    let count = if slow.is_some() { SLOW_EMITS } else { EMITS };
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        ours.push(runtime.block_on(store_rate(&store, &maker, clients, count)));
        rival.push(bare_rate(&conn, &maker, clients, count, slow));
    }
    let disk = if slow.is_some() { ", 4 ms a flush" } else { "" };
    let what = format!("bare SQLite, {clients} a transaction");
    let rival = Rival { what: &what, runs: &rival[1..], wanted: AtLeast(times) };
    against(&format!("durable emits, {clients} at once{disk}"), "per s", least, &ours[1..], &rival);
}

/// One who commits alone must not wait for others who might come.
fn alone(runtime: &tokio::runtime::Runtime, runs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("amplifier.db"), None);
    let conn = bare(&folder.path().join("bare.db"));
    let maker = Maker::new();
    let (mut ours, mut rival) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        ours.push(1e6 / runtime.block_on(store_rate(&store, &maker, 1, 1_000)));
        rival.push(1e6 / bare_rate(&conn, &maker, 1, 1_000, None));
    }
    let rival = Rival { what: "bare SQLite, 1 a transaction", runs: &rival[1..], wanted: Nothing };
    against("durable emit, one alone", "µs", Nothing, &ours[1..], &rival);
}

async fn fill(path: &Path) {
    let (store, maker) = (open(path, None), Maker::new());
    for _ in 0..EVENTS / 10_000 {
        let mut commit = Commit::new();
        commit.writes.extend((0..10_000).map(|_| Write::Append(Box::new(maker.event()))));
        let _ = store.commit(commit).await.unwrap().applied().unwrap();
    }
}

async fn oldest(store: &SqliteStore) -> Cursor {
    let tail = store.tail().await.unwrap();
    match store.events(Cursor { sequence: 0, ..tail }, 1).await {
        Err(StoreError::Gone { oldest }) => oldest,
        other => panic!("there is no sequence 0: {other:?}"),
    }
}

async fn replay(store: &SqliteStore) -> usize {
    let (mut at, mut count) = (oldest(store).await, 0);
    loop {
        let page = store.events(at, 1_000).await.unwrap();
        if page.events.is_empty() {
            return count;
        }
        (count, at) = (count + page.events.len(), page.next);
    }
}

/// A log of a million events: replay, opening, an id, memory.
fn large(runtime: &tokio::runtime::Runtime, runs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large/amplifier.db");
    runtime.block_on(fill(&path));
    let (mut rates, mut opens, mut finds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let began = Instant::now();
        let store = open(&path, None);
        runtime.block_on(store.ready()).unwrap();
        opens.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        assert_eq!(runtime.block_on(replay(&store)), EVENTS);
        rates.push(EVENTS as f64 / began.elapsed().as_secs_f64());
        runtime.block_on(async {
            let start = oldest(&store).await;
            let middle = Cursor { sequence: start.sequence + (EVENTS / 2) as u64, ..start };
            let id = store.events(middle, 1).await.unwrap().events[0].id;
            let began = Instant::now();
            assert!(store.event(id).await.unwrap().is_some());
            finds.push(began.elapsed().as_secs_f64() * 1e3);
        });
    }
    row("replay of 1 million events", "per s", AtLeast(1_500_000.0), &rates[1..]);
    row("open with 1 million events", "ms", AtMost(50.0), &opens[1..]);
    row("an event of 1 million by its id", "ms", Nothing, &finds[1..]);
    let empty = folder.path().join("empty/amplifier.db");
    let cost: Vec<f64> = (0..runs.min(3)).map(|_| held(&path) - held(&empty)).collect();
    row("memory of 1 million retained events", "KiB", AtMost(32.0 * 1_024.0), &cost);
}

/// KiB that a process has which holds a store open, has written to it and read it once.
fn held(path: &Path) -> f64 {
    let program: PathBuf = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["store", HOLD]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

async fn hold(path: &Path) {
    let (store, maker) = (open(path, None), Maker::new());
    store_rate(&store, &maker, 10, 10).await;
    replay(&store).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    println!("{}", line.trim_end_matches("kB").trim());
}
