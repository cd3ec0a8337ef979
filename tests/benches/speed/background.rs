//! What background sessions cost in time.
//!
//! The store is a file, and sessions are kept in memory, so that what is measured is the queue. A durable wait is what a
//! commit of one event takes at the same time on the same store; a slow disk is simulated by 4 ms a flush.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_background::{BackgroundConfig, BackgroundSessionManager, BackgroundState, queue_of};
use amplifier_core::module::Module;
use amplifier_core::{Payload, RunId};
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::store::{
    Commit, RunFilter, RunRow, RunState, SqliteOptions, SqliteStore, Store, Write,
};
use amplifier_foundation::{Host, HostBuilder};
use amplifier_tests::fake::{Brain, FakeContext, FakeLoop, LoopAct, ORCHESTRATOR, Step};
use amplifier_tests::gate::Gate;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::Wanted::{AtLeast, AtMost, Nothing};
use crate::kit::{self, Call, Rival, against, builder, row};

/// A flush of a disk that has other things to do.
const SLOW: Duration = Duration::from_millis(4);
/// Trivial runs that are timed together.
const RUNS: usize = 6_000;
/// The same with 4 ms for each flush.
const SLOW_RUNS: usize = 3_000;
/// Runs that wait at the start of a manager.
const WAITING: usize = 100_000;
/// Events of one measurement of the way to the first call.
const EVENTS: usize = 50;

pub(crate) fn measure(call: &Call) {
    let (runs, wanted) = (call.runs, |name: &str| call.wants(name));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if wanted("forty") {
        runtime.block_on(forty(runs.min(5)));
    }
    if wanted("first") {
        runtime.block_on(first_call(runs));
    }
    if wanted("rate") {
        runtime.block_on(rate(runs.min(5), None, RUNS, ("6,000 runs through a durable queue", 6_000.0)));
        runtime.block_on(rate(runs.min(5), Some(SLOW), SLOW_RUNS, ("3,000 runs, 4 ms a flush", 1_500.0)));
    }
    // One part of that alone, over and over, for whoever looks with a profiler.
    for _ in 0..runs {
        match call.words.first().map(String::as_str) {
            Some("fired") => drop(runtime.block_on(fired_meanwhile(None, RUNS))),
            Some("waiting") => drop(runtime.block_on(waiting_already(None, RUNS))),
            Some("alone") => drop(runtime.block_on(sessions_alone(None, RUNS))),
            _ => {}
        }
    }
    if wanted("start") {
        runtime.block_on(start(runs.min(3)));
    }
}

/// A store in a file of its own, and a home in which bundles are kept prepared.
struct Disk {
    folder: TempDir,
    store: Arc<SqliteStore>,
}

impl Disk {
    fn new(slow: Option<Duration>) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = Arc::new(open(&folder, slow));
        Self { folder, store }
    }

    fn opened_again(self, slow: Option<Duration>) -> Self {
        let Self { folder, store } = self;
        drop(store);
        let store = Arc::new(open(&folder, slow));
        Self { folder, store }
    }

    /// A host on this store that keeps sessions in memory.
    async fn host(&self, builder: HostBuilder) -> Host {
        let project = self.folder.path().join("project");
        std::fs::create_dir_all(&project).unwrap();
        let storage = Arc::new(MemoryStorage::new(Redactor::default()));
        let builder =
            builder.home(self.folder.path().join("home")).storage(storage).store(self.store.clone());
        builder.open(&project).await.unwrap()
    }
}

fn open(folder: &TempDir, slow: Option<Duration>) -> SqliteStore {
    let path = folder.path().join("amplifier.db");
    let mut options = SqliteOptions::new(path, Arc::new(SystemClock::new()), Arc::new(RandomIds::new()));
    options.simulated_flush = slow;
    SqliteStore::open(options).unwrap()
}

fn name() -> BackgroundName {
    BackgroundName::new("night").unwrap()
}

fn config(more: Value) -> BackgroundConfig {
    let mut map = json!({"name": "night", "bundle": "bench", "queue": {"capacity": 100_000}});
    for (key, value) in more.as_object().unwrap() {
        map[key] = value.clone();
    }
    BackgroundConfig::parse(&map, &TriggerRegistry::new()).unwrap()
}

/// Waits until so many runs of the queue have completed.
async fn completed(manager: &BackgroundSessionManager, host: &Host, count: usize) {
    // Looked at now and then: each look would cost what it looks at.
    loop {
        let status = manager.status(&name()).unwrap();
        if status.spawned >= count as u64 && status.active.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut filter = RunFilter::default();
    (filter.queue, filter.state, filter.limit) =
        (Some(queue_of(&name())), Some(RunState::Completed), count + 1);
    let rows: Vec<RunRow> = host.store().runs(&filter).await.unwrap();
    assert_eq!(rows.len(), count, "each run has completed once");
}

/// 40 events that lead to 100 ms of work each, four at once; and the same work in four tasks.
async fn forty(runs: usize) {
    let (mut took, mut over, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let disk = Disk::new(None);
        let slow = kit::BUNDLE.replace("{text: done}", "{text: done, delay_ms: 100}");
        let host = disk.host(builder().bundle("slow", slow)).await;
        let manager = BackgroundSessionManager::new(&host);
        let triggers = json!([{"type": "session_event", "config": {"event_names": ["work:new"]}}]);
        manager.start(config(json!({"bundle": "slow", "pool_size": 4, "triggers": triggers}))).await.unwrap();
        let flush = a_wait(&host).await;
        let began = Instant::now();
        for at in 0..40 {
            host.router().emit("work:new", json!({ "at": at })).await.unwrap();
        }
        completed(&manager, &host, 40).await;
        let all = began.elapsed().as_secs_f64() * 1e3;
        took.push(all);
        over.push((all - 1_000.0) / (20.0 * flush * 1e3));
        let began = Instant::now();
        let workers = (0..4).map(|_| {
            tokio::spawn(async {
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        rivals.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let rival = Rival { what: "the same sleeps in four tasks", runs: &rivals[1..], wanted: Nothing };
    against("40 events, pool 4, 100 ms of work each", "ms", AtMost(1_100.0), &took[1..], &rival);
    row("what is over 1.0 s, in 20 durable waits", "times", AtMost(1.0), &over[1..]);
}

/// What a commit of one event takes now, in seconds: the median of a few.
async fn a_wait(host: &Host) -> f64 {
    let mut each = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        host.router().emit("bench:wait", json!({})).await.unwrap();
        each.push(began.elapsed().as_secs_f64());
    }
    each.sort_by(f64::total_cmp);
    each[10]
}

/// From an event that is emitted to the first call of the provider, in an idle pool.
async fn first_call(runs: usize) {
    let disk = Disk::new(None);
    let brain = Brain::new();
    let (each, waits) = way(&disk.host(fake(&brain)).await, &brain, runs).await;
    let over: Vec<f64> = each.iter().zip(&waits).map(|(took, wait)| took - 2.0 * wait).collect();
    row("event to first provider call, durable", "ms", Nothing, &each);
    row("what is over two durable waits", "ms", AtMost(1.0), &over);
    row("one durable wait", "ms", Nothing, &waits);
    let brain = Brain::new();
    let (each, _) = way(&fake(&brain).in_memory(), &brain, runs).await;
    row("event to first provider call, store in memory", "ms", AtMost(0.2), &each);
}

/// A host whose provider waits at a gate.
fn fake(brain: &Brain) -> HostBuilder {
    let modules: [Arc<dyn Module>; 3] = [
        Arc::new(brain.clone()),
        Arc::new(FakeLoop(ORCHESTRATOR, LoopAct::Plain)),
        Arc::new(FakeContext::default()),
    ];
    Host::builder().modules(modules).bundle("bench", Stage::new().plain())
}

async fn way(host: &Host, brain: &Brain, runs: usize) -> (Vec<f64>, Vec<f64>) {
    let manager = BackgroundSessionManager::new(host);
    let triggers = json!([{"type": "session_event", "config": {"event_names": ["work:new"]}}]);
    manager.start(config(json!({"pool_size": 4, "triggers": triggers}))).await.unwrap();
    let (mut medians, mut waits, mut count) = (Vec::new(), Vec::new(), 0);
    for run in 0..=runs {
        let mut each = Vec::new();
        let wait = a_wait(host).await * 1e3;
        for at in 0..EVENTS {
            let gate = Gate::new();
            brain.then(Step::Late("done".into(), gate.clone()));
            let began = Instant::now();
            host.router().emit("work:new", json!({ "at": at })).await.unwrap();
            gate.reached(1).await;
            each.push(began.elapsed().as_secs_f64() * 1e3);
            gate.open();
            count += 1;
            completed(&manager, host, count).await;
        }
        each.sort_by(f64::total_cmp);
        if run > 0 {
            medians.push(each[EVENTS / 2]);
            waits.push(wait);
        }
    }
    (medians, waits)
}

/// Runs that are fired while others run, 64 callers and 64 places; those that wait already; and the same
/// sessions without a queue.
async fn rate(runs: usize, slow: Option<Duration>, count: usize, (what, least): (&str, f64)) {
    let (mut fired, mut waited, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        fired.push(fired_meanwhile(slow, count).await);
        waited.push(waiting_already(slow, count).await);
        alone.push(sessions_alone(slow, count).await);
    }
    let per_s = |all: &[Took]| all[1..].iter().map(|took| count as f64 / took.wall).collect::<Vec<_>>();
    let cpu = |all: &[Took]| all[1..].iter().map(|took| took.cpu * 1e6 / count as f64).collect::<Vec<_>>();
    let alone_per_s = per_s(&alone);
    let rival = Rival { what: "the sessions alone", runs: &alone_per_s, wanted: Nothing };
    against(&format!("{what}: fired meanwhile"), "per s", Nothing, &per_s(&fired), &rival);
    against(&format!("{what}: waiting already"), "per s", AtLeast(least), &per_s(&waited), &rival);
    let alone = cpu(&alone);
    let rival = Rival { what: "the sessions alone", runs: &alone, wanted: Nothing };
    against(&format!("{what}: processor time of one, fired meanwhile"), "µs", Nothing, &cpu(&fired), &rival);
    against(&format!("{what}: processor time of one, waiting already"), "µs", Nothing, &cpu(&waited), &rival);
}

/// What something took, in seconds: by the clock, and of all processors.
struct Took {
    wall: f64,
    cpu: f64,
}

struct Watch(Instant, f64);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu_seconds())
    }

    fn stop(&self) -> Took {
        Took { wall: self.0.elapsed().as_secs_f64(), cpu: cpu_seconds() - self.1 }
    }
}

/// User and system time of this process, which is little where others have the processors.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind = text.rsplit(')').next().unwrap();
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // A tick is a hundredth of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn fired_meanwhile(slow: Option<Duration>, count: usize) -> Took {
    let disk = Disk::new(slow);
    let host = disk.host(builder()).await;
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config(json!({"pool_size": 64}))).await.unwrap();
    let watch = Watch::start();
    let callers = (0..64).map(|caller| {
        let manager = manager.clone();
        tokio::spawn(async move {
            for at in (caller..count).step_by(64) {
                manager.fire(&name(), json!(at)).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    completed(&manager, &host, count).await;
    watch.stop()
}

async fn waiting_already(slow: Option<Duration>, count: usize) -> Took {
    let disk = Disk::new(None);
    fill(disk.store.as_ref(), count).await;
    let disk = disk.opened_again(slow);
    let host = disk.host(builder()).await;
    let manager = BackgroundSessionManager::new(&host);
    let watch = Watch::start();
    manager.start(config(json!({"pool_size": 64}))).await.unwrap();
    completed(&manager, &host, count).await;
    watch.stop()
}

async fn sessions_alone(slow: Option<Duration>, count: usize) -> Took {
    let disk = Disk::new(slow);
    let host = disk.host(builder()).await;
    let bundle = host.prepare("bench").await.unwrap();
    let watch = Watch::start();
    let callers = (0..64).map(|caller| {
        let (host, bundle) = (host.clone(), Arc::clone(&bundle));
        tokio::spawn(async move {
            for _ in (caller..count).step_by(64) {
                let request = amplifier_foundation::SpawnRequest::new(Arc::clone(&bundle), "hi");
                amplifier_foundation::spawn_bundle(&host, request).await.unwrap().output().await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    watch.stop()
}

/// Fills the queue with runs that a person has fired.
async fn fill(store: &SqliteStore, count: usize) {
    let payload = sample().await;
    for part in (0..count).collect::<Vec<_>>().chunks(1_000) {
        for at in part {
            let enqueue = Write::Enqueue {
                run: RunId::new(format!("filled:{at}")).unwrap(),
                queue: queue_of(&name()),
                trigger: None,
                payload: payload.clone(),
                priority: 0,
                delay: Duration::ZERO,
            };
            store.post(enqueue.into()).unwrap_or_default();
        }
        let _ = store.commit(Commit::new()).await.unwrap();
    }
}

/// The payload of a run as an intake writes it.
async fn sample() -> Payload {
    let host = builder().in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config(json!({}))).await.unwrap();
    let run = manager.fire(&name(), json!({"at": 1})).await.unwrap();
    host.store().run(&run).await.unwrap().unwrap().payload
}

/// A manager that starts where many runs wait.
async fn start(runs: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fill(&open(&folder, None), WAITING).await;
    let (mut took, mut firsts) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let brain = Brain::new();
        let gate = Gate::new();
        for _ in 0..4 {
            brain.then(Step::Late("done".into(), gate.clone()));
        }
        let host = fake(&brain).store(Arc::new(open(&folder, None))).in_memory();
        let began = Instant::now();
        let manager = BackgroundSessionManager::new(&host);
        manager.start(config(json!({"pool_size": 4}))).await.unwrap();
        let mut changes = manager.watch();
        let _ = changes
            .wait_for(|_| manager.status(&name()).unwrap().state == BackgroundState::Running)
            .await
            .unwrap();
        took.push(began.elapsed().as_secs_f64() * 1e3);
        gate.reached(4).await;
        firsts.push(began.elapsed().as_secs_f64() * 1e3);
        gate.open();
        manager.shutdown(amplifier_foundation::Shutdown::Now).await;
        host.shutdown(amplifier_foundation::Shutdown::Now).await;
    }
    row("start where 100,000 runs wait", "ms", AtMost(500.0), &took[1..]);
    row("its first four calls of a provider", "ms", Nothing, &firsts[1..]);
}
