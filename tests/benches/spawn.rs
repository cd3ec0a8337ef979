//! How fast sessions are spawned and go on; started by `cargo xtask bench spawn`.
//!
//! Prints one JSON object a line, see [`kit::row`]. The number of runs is the first argument.
//! Rivals are measured in the same run, turn by turn. All but the durable sessions run on one core.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark measures real time on real files, and a failure shall stop it"
)]

#[path = "kit/durable.rs"]
mod durable;
mod kit;

use std::sync::Arc;
use std::time::Instant;

use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::spawn::BundleRef;
use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};
use kit::Wanted::{AtLeast, AtMost, Nothing};
use kit::{in_memory, row};

/// Sessions that are timed together.
const SESSIONS: usize = 1_000;
/// Callers that spawn at the same time.
const CALLERS: usize = 100;
/// Turns that are timed together, and how many sessions have them.
const TURNS: usize = 50;
const TURN_SESSIONS: usize = 20;

fn main() {
    let runs = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(15);
    let only: Option<String> = std::env::args().skip(1).find(|arg| arg.starts_with(char::is_alphabetic));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let one_core = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one_core.block_on(async {
        if wanted("alone") {
            alone(runs).await;
        }
        if wanted("from_uri") {
            from_uri(runs).await;
        }
        if wanted("concurrent") {
            concurrent(runs).await;
        }
        if wanted("turns") {
            turns(runs).await;
        }
    });
    if wanted("durable") {
        durable::measure(runs);
    }
}

async fn spawn(host: &Host, bundle: impl Into<BundleRef>) {
    let session = spawn_bundle(host, SpawnRequest::new(bundle, "hi")).await.unwrap();
    assert_eq!(session.output().await.unwrap(), "done");
}

fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// One caller: prepared bundle, one turn of the scripted provider, outcome. The rival is the least that a
/// session needs: a task and its end.
async fn alone(runs: usize) {
    let (host, bundle) = in_memory().await;
    let (mut rates, mut medians, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let began = Instant::now();
        let mut each = Vec::with_capacity(SESSIONS);
        for _ in 0..SESSIONS {
            let began = Instant::now();
            spawn(&host, Arc::clone(&bundle)).await;
            each.push(began.elapsed().as_secs_f64() * 1e6);
        }
        rates.push(rate(SESSIONS, began));
        each.sort_by(f64::total_cmp);
        medians.push(each[SESSIONS / 2]);
        let began = Instant::now();
        for _ in 0..SESSIONS {
            tokio::spawn(async {}).await.unwrap();
        }
        tasks.push(rate(SESSIONS, began));
    }
    row("spawn, one turn, finish", "per s", AtLeast(60_000.0), &rates[1..]);
    row("spawn, one turn, finish: p50", "µs", AtMost(20.0), &medians[1..]);
    row("rival: tokio spawn and join", "per s", Nothing, &tasks[1..]);
}

/// The same from the address of a file: the bundle that is kept is checked by `stat`.
async fn from_uri(runs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.md");
    std::fs::write(&path, kit::BUNDLE).unwrap();
    let uri = format!("file://{}", path.display());
    let (host, _) = in_memory().await;
    let (mut rates, mut stats) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let began = Instant::now();
        for _ in 0..SESSIONS {
            spawn(&host, uri.as_str()).await;
        }
        rates.push(rate(SESSIONS, began));
        let began = Instant::now();
        for _ in 0..SESSIONS {
            assert!(std::fs::metadata(&path).unwrap().is_file());
        }
        stats.push(rate(SESSIONS, began));
    }
    row("spawn from a bundle's address", "per s", AtLeast(5_000.0), &rates[1..]);
    row("rival: one stat", "per s", Nothing, &stats[1..]);
}

/// Many callers at once against one, by the rate of them all.
async fn concurrent(runs: usize) {
    let (host, bundle) = in_memory().await;
    let (mut many, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let began = Instant::now();
        for _ in 0..SESSIONS {
            spawn(&host, Arc::clone(&bundle)).await;
        }
        let one = rate(SESSIONS, began);
        let began = Instant::now();
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(caller(host.clone(), Arc::clone(&bundle)))).collect();
        for caller in callers {
            caller.await.unwrap();
        }
        many.push(rate(SESSIONS, began));
        ratios.push(many[many.len() - 1] / one);
    }
    row("spawn by 100 concurrent callers", "per s", Nothing, &many[1..]);
    row("100 concurrent callers against one", "times", AtLeast(0.8), &ratios[1..]);
}

async fn caller(host: Host, bundle: Arc<PreparedBundle>) {
    for _ in 0..SESSIONS / CALLERS {
        spawn(&host, Arc::clone(&bundle)).await;
    }
}

/// One more turn of sessions whose conversation has 10 messages, and of one that has 10,000.
async fn turns(runs: usize) {
    let (host, bundle) = in_memory().await;
    let open = async |messages: usize| {
        let request = SpawnRequest::new(Arc::clone(&bundle), "hi").keep_open();
        let session = spawn_bundle(&host, request).await.unwrap().session().clone();
        while session.messages().len() < messages {
            session.execute("and now?").await.unwrap();
        }
        session
    };
    let long = open(10_000).await;
    let (mut at_10, mut at_10_000) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let (mut short, mut of_long) = (0.0, 0.0);
        for _ in 0..TURN_SESSIONS {
            let session = open(10).await;
            for (session, took) in [(&session, &mut short), (&long, &mut of_long)] {
                let began = Instant::now();
                for _ in 0..TURNS {
                    session.execute("and now?").await.unwrap();
                }
                *took += began.elapsed().as_secs_f64();
            }
            session.end().await;
        }
        at_10.push((TURN_SESSIONS * TURNS) as f64 / short);
        at_10_000.push((TURN_SESSIONS * TURNS) as f64 / of_long);
    }
    row("one more turn at 10 messages", "per s", AtLeast(200_000.0), &at_10[1..]);
    row("one more turn at 10,000 messages", "per s", AtLeast(200_000.0), &at_10_000[1..]);
}
