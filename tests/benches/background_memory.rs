//! What background sessions cost that wait for their time; started by `cargo xtask bench background`.
//!
//! Apart from the benchmark of time, because an allocator that counts is slower. Prints one JSON object a
//! line, see [`kit::row`]. The number of runs is the first argument. They are counted in a process of
//! their own each time: by the memory that they hold, by what the system has given, and by its time.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark measures a real process, and a failure shall stop it"
)]

mod kit;

use std::alloc::System;
use std::process::Command;
use std::time::{Duration, Instant};

use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use kit::Wanted::{AtMost, Nothing};
use kit::{builder, row};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Background sessions that wait.
const COUNT: usize = 10_000;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(20);
/// The word that makes this program a process with background sessions.
const IDLE: &str = "idle";
/// The same with tokio tasks that sleep.
const TASKS: &str = "tasks";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match args.first().map(String::as_str) {
        Some(IDLE) => runtime.block_on(idle()),
        Some(TASKS) => runtime.block_on(tasks()),
        first => measure(first.and_then(|runs| runs.parse().ok()).unwrap_or(3)),
    }
}

fn measure(runs: usize) {
    // What a process holds varies little.
    let runs = runs.min(2);
    let idle: Vec<[f64; 4]> = (0..runs).map(|_| in_a_process(IDLE)).collect();
    let tasks: Vec<[f64; 4]> = (0..runs).map(|_| in_a_process(TASKS)).collect();
    let column = |rows: &[[f64; 4]], at: usize| rows.iter().map(|row| row[at]).collect::<Vec<_>>();
    row("declared with a timer, of 10,000: held", "KiB", AtMost(4.0), &column(&idle, 0));
    row("the same, as the system counts", "KiB", Nothing, &column(&idle, 1));
    row("10,000 that wait: share of a core", "percent", AtMost(1.0), &column(&idle, 2));
    row("10,000 are started within", "ms", Nothing, &column(&idle, 3));
    row("rival: a task that sleeps, as the system counts", "KiB", Nothing, &column(&tasks, 1));
    row("rival: 10,000 such tasks: share of a core", "percent", Nothing, &column(&tasks, 2));
}

fn in_a_process(what: &str) -> [f64; 4] {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).arg(what).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Starts them, and then does nothing. Their configuration is made before and not counted.
async fn idle() {
    let host = builder().in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let configs: Vec<BackgroundConfig> = (0..=COUNT).map(declared).collect();
    let mut configs = configs.into_iter();
    manager.start(configs.next().unwrap()).await.unwrap();
    settle().await;
    let (held, resident, began) = (Region::new(ALLOCATOR), resident_kib(), Instant::now());
    for config in configs {
        manager.start(config).await.unwrap();
    }
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
