//! A store that fails at the wrong moment, or answers too late: each run comes to its end all the same.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_core::{Clock, OutcomeKind};
use amplifier_foundation::Host;
use amplifier_foundation::store::{MemoryStore, RunRow, RunState, SessionFilter};
use amplifier_tests::fake::Step;
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, name, runs, seen};

/// Lets time pass: a second each millisecond.
fn hurry(stage: &Stage) -> tokio::task::JoinHandle<()> {
    let clock = stage.clock.clone();
    tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

fn host_over(stage: &Stage, when: When, fault: StoreFault) -> (Host, FaultyStore) {
    let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
    let store = FaultyStore::new(Arc::new(MemoryStore::new(clock, &SeededIds::new(7))), when, fault);
    (stage.builder().store(Arc::new(store.clone())).in_memory(), store)
}

#[tokio::test]
async fn an_outcome_that_the_store_did_not_take_is_settled_by_the_same_process_later() {
    let stage = Stage::new();
    let (host, store) = host_over(&stage, When::Method("settle"), StoreFault::Error);
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"on_complete_emit": "night:done"}))).await.unwrap();
    manager.fire(&name("night"), json!({"say": "hello"})).await.unwrap();
    runs(&host, "night", "a run", all(RunState::Running, 1)).await;
    seen(&manager, "night", "the end", |status| status.spawned == 1 && status.active.is_empty()).await;
    assert!(store.commits().contains(&"settle"));
    store.set(When::Never, StoreFault::Error);
    let ticks = hurry(&stage);
    let rows = runs(&host, "night", "its end", all(RunState::Completed, 1)).await;
    ticks.abort();
    assert_eq!(rows[0].attempt, 1, "what was done is not done again");
    let done = host.router().wait_after("night:done", beginning(&host).await, Duration::ZERO).await.unwrap();
    assert!(done.is_some(), "what follows from it is told");
    conserved(&host, "night").await;
}

async fn beginning(host: &Host) -> amplifier_foundation::router::Cursor {
    amplifier_foundation::router::Cursor { sequence: 1, ..host.router().tail().await.unwrap() }
}

#[tokio::test]
async fn a_run_whose_session_was_recorded_after_its_start_was_given_up_comes_to_its_end() {
    let stage = Stage::new();
    let gate = Gate::new();
    let (host, store) = host_over(&stage, When::Method("open"), StoreFault::Late(gate.clone()));
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({}))).await.unwrap();
    manager.fire(&name("night"), json!({"say": "hello"})).await.unwrap();
    gate.reached(1).await;
    store.set(When::Never, StoreFault::Error);
    // Longer than anybody waits for a store.
    stage.clock.advance(Duration::from_secs(31));
    seen(&manager, "night", "that it did not start", |status| status.error.is_some()).await;
    gate.open();
    runs(&host, "night", "the session that came late", |rows| rows[0].session.is_some()).await;

    let ticks = hurry(&stage);
    let rows = runs(&host, "night", "its end", all(RunState::Completed, 1)).await;
    ticks.abort();
    assert_eq!(rows[0].attempt, 2, "the first attempt is counted");
    let sessions = host.store().sessions(&SessionFilter::default()).await.unwrap();
    let kinds: Vec<_> = sessions.iter().map(|row| row.settled.as_ref().unwrap().outcome.kind).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.contains(&OutcomeKind::Lost) && kinds.contains(&OutcomeKind::Completed), "{kinds:?}");
    conserved(&host, "night").await;
}

/// Two look after a run whose session has left nothing, and one of them is so slow that the other one has begun
/// the next attempt since: what it does is about the attempt that it has read of.
#[tokio::test]
async fn who_ends_an_attempt_too_late_leaves_the_next_one_alone() {
    let stage = Stage::new();
    let (recorded, moved, asked) = (Gate::new(), Gate::new(), Gate::new());
    stage.brain.then(Step::Wait("of the second attempt".into(), asked.clone()));
    let (slow, store) = host_over(&stage, When::Method("open"), StoreFault::Late(recorded.clone()));
    let late = BackgroundSessionManager::new(&slow);
    late.start(config("night", json!({}))).await.unwrap();
    late.fire(&name("night"), json!("first")).await.unwrap();
    recorded.reached(1).await;
    store.set(When::Method("move"), StoreFault::Wait(moved.clone()));
    stage.clock.advance(Duration::from_secs(31));
    seen(&late, "night", "that it did not start", |status| status.error.is_some()).await;
    recorded.open();
    runs(&slow, "night", "the session that came late", |rows| rows[0].session.is_some()).await;
    let ticks = hurry(&stage);
    moved.reached(1).await;

    let quick = stage.builder().store(Arc::new(store.behind())).in_memory();
    let prompt = BackgroundSessionManager::new(&quick);
    prompt.work(config("night", json!({}))).await.unwrap();
    asked.reached(1).await;
    ticks.abort();
    let second = |rows: &[RunRow]| (rows[0].state, rows[0].attempt) == (RunState::Running, 2);
    runs(&quick, "night", "the second attempt", second).await;
    moved.open();
    // It has one place, and so has the other one: this runs once its late move is over.
    late.fire(&name("night"), json!("second")).await.unwrap();
    let rows =
        runs(&quick, "night", "another run", |rows| rows.len() == 2 && rows[1].state == RunState::Completed);
    let rows = rows.await;
    assert_eq!((rows[0].state, rows[0].attempt), (RunState::Running, 2), "its second attempt is at work");
    asked.open();
    let rows = runs(&quick, "night", "both", all(RunState::Completed, 2)).await;
    assert_eq!((rows[0].attempt, rows[1].attempt), (2, 1));
    assert_eq!(stage.brain.requests().len(), 2, "nothing was asked twice");
    conserved(&quick, "night").await;
}
