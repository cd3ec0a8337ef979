//! How fast sessions are spawned and go on.
//!
//! All but the durable sessions run on one core.

use std::sync::Arc;
use std::time::Instant;

use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::spawn::BundleRef;
use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};

use crate::durable;
use crate::kit::Wanted::{AtLeast, AtMost, Nothing};
use crate::kit::{self, Call, Rival, against, in_memory, row};

/// Sessions that are timed together.
const SESSIONS: usize = 1_000;
/// Callers that spawn at the same time.
const CALLERS: usize = 100;
/// Turns that are timed together, and how many sessions have them.
const TURNS: usize = 50;
const TURN_SESSIONS: usize = 20;

pub(crate) fn measure(call: &Call) {
    let (runs, wanted) = (call.runs, |name: &str| call.wants(name));
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
    let rival = Rival { what: "tokio spawn and join", runs: &tasks[1..], wanted: Nothing };
    against("spawn, one turn, finish", "per s", AtLeast(60_000.0), &rates[1..], &rival);
    row("spawn, one turn, finish: p50", "µs", AtMost(20.0), &medians[1..]);
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
    let rival = Rival { what: "one stat", runs: &stats[1..], wanted: Nothing };
    against("spawn from a bundle's address", "per s", AtLeast(5_000.0), &rates[1..], &rival);
}

/// Many callers at once against one, by the rate of them all.
async fn concurrent(runs: usize) {
    let (host, bundle) = in_memory().await;
    let (mut many, mut ones) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let began = Instant::now();
        for _ in 0..SESSIONS {
            spawn(&host, Arc::clone(&bundle)).await;
        }
        ones.push(rate(SESSIONS, began));
        let began = Instant::now();
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(caller(host.clone(), Arc::clone(&bundle)))).collect();
        for caller in callers {
            caller.await.unwrap();
        }
        many.push(rate(SESSIONS, began));
    }
    let rival = Rival { what: "one caller", runs: &ones[1..], wanted: AtLeast(0.8) };
    against("spawn by 100 concurrent callers", "per s", Nothing, &many[1..], &rival);
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
