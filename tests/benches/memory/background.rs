//! What background sessions cost that wait for their time.
//!
//! By the memory that they hold, by what the system has given, and by the time of the process. What is kept of them
//! is in a file, as it is wherever a project is.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::store::{SqliteOptions, SqliteStore};
use serde_json::json;
use stats_alloc::Region;

use crate::ALLOCATOR;
use crate::kit::Wanted::{AtMost, Nothing};
use crate::kit::{Call, Rival, against, builder, row};

/// Background sessions that wait.
const COUNT: usize = 10_000;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// The word that makes this program a process with background sessions.
const IDLE: &str = "idle";
/// The same with tokio tasks that sleep.
const TASKS: &str = "tasks";

pub(crate) fn measure(call: &Call) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match call.words.first().map(String::as_str) {
        Some(IDLE) => runtime.block_on(idle()),
        Some(TASKS) => runtime.block_on(tasks()),
        // What a process holds varies little.
        _ => processes(call.runs.min(2)),
    }
}

fn processes(runs: usize) {
    let idle: Vec<[f64; 4]> = (0..runs).map(|_| in_a_process(IDLE)).collect();
    let tasks: Vec<[f64; 4]> = (0..runs).map(|_| in_a_process(TASKS)).collect();
    let column = |rows: &[[f64; 4]], at: usize| rows.iter().map(|row| row[at]).collect::<Vec<_>>();
    row("declared with a timer, of 10,000: held", "KiB", AtMost(4.0), &column(&idle, 0));
    let against_tasks = |what: &str, unit: &str, wanted, at| {
        let of_tasks = column(&tasks, at);
        let rival = Rival { what: "tasks that sleep", runs: &of_tasks, wanted: Nothing };
        against(what, unit, wanted, &column(&idle, at), &rival);
    };
    against_tasks("the same, as the system counts", "KiB", Nothing, 1);
    against_tasks("10,000 that wait: share of a core", "percent", AtMost(1.0), 2);
    row("10,000 are started within", "ms", Nothing, &column(&idle, 3));
}

fn in_a_process(what: &str) -> [f64; 4] {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["background", what]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Starts them, and then does nothing. Their configuration is made before and not counted.
async fn idle() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("amplifier.db");
    let options = SqliteOptions::new(path, Arc::new(SystemClock::new()), Arc::new(RandomIds::new()));
    let host = builder().store(Arc::new(SqliteStore::open(options).unwrap())).in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let mut configs: Vec<BackgroundConfig> = (0..=COUNT).map(declared).collect();
    manager.start(configs.swap_remove(0)).await.unwrap();
    settle().await;
    let (held, resident, began) = (Region::new(ALLOCATOR), resident_kib(), Instant::now());
    let started = manager.start_all(configs).await;
    assert!(started.iter().all(Result::is_ok));
    drop(started);
    let took = began.elapsed();
    settle().await;
    let change = held.change();
    // What grows or shrinks in its place is counted in these two already.
    let bytes = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    print(bytes as f64 / 1024.0 / COUNT as f64, resident, took).await;
}

fn declared(number: usize) -> BackgroundConfig {
    let triggers = json!([{"type": "timer", "config": {"every": "1h"}}]);
    let map = json!({"name": format!("night-{number}"), "bundle": "bench", "triggers": triggers});
    BackgroundConfig::parse(&map, &TriggerRegistry::new()).unwrap()
}

async fn tasks() {
    let (resident, began) = (resident_kib(), Instant::now());
    let tasks: Vec<_> = (0..COUNT)
        .map(|_| {
            tokio::spawn(async {
                loop {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            })
        })
        .collect();
    let took = began.elapsed();
    settle().await;
    print(0.0, resident, took).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Lets what was spawned come to rest.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn print(held_kib: f64, resident_before: f64, took: Duration) {
    let resident = (resident_kib() - resident_before) / COUNT as f64;
    let (ticks, began) = (cpu_ticks(), Instant::now());
    tokio::time::sleep(WATCHED).await;
    // A tick is a hundredth of a second.
    let share = (cpu_ticks() - ticks) / began.elapsed().as_secs_f64();
    println!("{held_kib} {resident} {share} {}", took.as_secs_f64() * 1e3);
}

/// What the system has given this process.
fn resident_kib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// User and system time of this process.
fn cpu_ticks() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind = text.rsplit(')').next().unwrap();
    let fields: Vec<&str> = behind.split_whitespace().collect();
    fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
}
