//! What sessions cost in memory: calls of the allocator, and what the system has given a process with idle ones.

use std::process::Command;
use std::sync::Arc;

use amplifier_foundation::{SpawnRequest, spawn_bundle};
use stats_alloc::Region;

use crate::ALLOCATOR;
use crate::kit::Wanted::{AtMost, Nothing};
use crate::kit::{Call, Rival, against, in_memory, quick, row};

/// Sessions that are counted together.
const SESSIONS: usize = 1_000;
/// The word that makes this program a process with idle sessions.
const IDLE: &str = "idle";
/// The same with tokio tasks that wait.
const TASKS: &str = "tasks";

pub(crate) fn measure(call: &Call) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match call.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [IDLE, count] => println!("{}", runtime.block_on(idle_sessions(count.parse().unwrap()))),
        [TASKS, count] => println!("{}", runtime.block_on(idle_tasks(count.parse().unwrap()))),
        _ => {
            runtime.block_on(allocations(call.runs));
            idle(call.runs);
        }
    }
}

/// Calls of the allocator for one session, from its request to its outcome.
async fn allocations(runs: usize) {
    let (host, bundle) = in_memory().await;
    let (mut calls, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let region = Region::new(ALLOCATOR);
        for _ in 0..SESSIONS {
            let request = SpawnRequest::new(Arc::clone(&bundle), "hi");
            spawn_bundle(&host, request).await.unwrap().output().await.unwrap();
        }
        let change = region.change();
        calls.push((change.allocations + change.reallocations) as f64 / SESSIONS as f64);
        bytes.push(change.bytes_allocated as f64 / SESSIONS as f64 / 1024.0);
    }
    row("allocations of one session", "calls", AtMost(400.0), &calls[1..]);
    row("allocated by one session", "KiB", Nothing, &bytes[1..]);
}

/// Sessions that have answered once and wait for the next message.
fn idle(runs: usize) {
    if resident_bytes().is_none() {
        return;
    }
    // What a process holds varies little, and a hundred thousand sessions take their time.
    let runs = runs.min(3);
    for (count, name) in [(10_000, "10,000"), (100_000, "100,000")] {
        if quick() && count > 10_000 {
            continue;
        }
        let each: Vec<f64> = (0..runs).map(|_| in_a_process(IDLE, count)).collect();
        let tasks: Vec<f64> = (0..runs).map(|_| in_a_process(TASKS, count)).collect();
        let rival = Rival { what: "an idle tokio task", runs: &tasks, wanted: Nothing };
        against(&format!("live idle session, of {name}"), "KiB", AtMost(8.0), &each, &rival);
    }
}

fn in_a_process(what: &str, count: usize) -> f64 {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["spawn", what, &count.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    bytes / 1024.0
}

/// Bytes of each of so many sessions.
async fn idle_sessions(count: usize) -> f64 {
    let (host, bundle) = in_memory().await;
    let open = async || {
        let request = SpawnRequest::new(Arc::clone(&bundle), "hi").keep_open();
        spawn_bundle(&host, request).await.unwrap()
    };
    for _ in 0..100 {
        open().await.session().end().await;
    }
    let mut sessions = Vec::with_capacity(count);
    let before = resident_bytes().unwrap();
    let region = Region::new(ALLOCATOR);
    for _ in 0..count {
        sessions.push(open().await);
    }
    let change = region.change();
    let held =
        change.bytes_allocated as i64 - change.bytes_deallocated as i64 + change.bytes_reallocated as i64;
    eprintln!(
        "{} bytes in {} allocations each, without what the allocator adds",
        held / count as i64,
        (change.allocations - change.deallocations) / count
    );
    (resident_bytes().unwrap() - before) as f64 / count as f64
}

/// Bytes of each of so many tasks.
async fn idle_tasks(count: usize) -> f64 {
    let mut tasks = Vec::with_capacity(count);
    let before = resident_bytes().unwrap();
    for _ in 0..count {
        tasks.push(tokio::spawn(std::future::pending::<()>()));
    }
    tokio::task::yield_now().await;
    (resident_bytes().unwrap() - before) as f64 / count as f64
}

/// What the system has given this process; `None` where it does not tell.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
