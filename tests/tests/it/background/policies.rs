//! Overlap, overflow, debounce.

use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, name, runs, seen, states};

fn manual(overlap: &str) -> serde_json::Value {
    json!({"triggers": [{"type": "manual", "overlap": overlap}]})
}

#[tokio::test]
async fn skip_leaves_out_what_comes_while_all_places_are_taken() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", manual("skip"))).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    gate.reached(1).await;
    assert!(manager.fire(&name("night"), json!(2)).await.is_err());
    gate.open();
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    seen(&manager, "night", "a free place", |status| status.active.is_empty()).await;
    manager.fire(&name("night"), json!(3)).await.unwrap();
    runs(&host, "night", "two runs", all(RunState::Completed, 2)).await;
    let counts = conserved(&host, "night").await;
    assert_eq!((counts.triggered, counts.skipped), (3, 1));
}

#[tokio::test]
async fn allow_runs_beyond_the_pool() {
    let stage = Stage::new();
    let gate = Gate::new();
    for _ in 0..3 {
        stage.brain.then(Step::Wait("done".into(), gate.clone()));
    }
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", manual("allow"))).await.unwrap();
    for at in 0..3 {
        manager.fire(&name("night"), json!(at)).await.unwrap();
    }
    gate.reached(3).await;
    gate.open();
    runs(&host, "night", "three runs", all(RunState::Completed, 3)).await;
    conserved(&host, "night").await;
}

#[tokio::test]
async fn cancel_previous_takes_the_place_of_what_runs() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("old".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", manual("cancel_previous"))).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    gate.reached(1).await;
    seen(&manager, "night", "the first", |status| status.active.len() == 1).await;
    manager.fire(&name("night"), json!(2)).await.unwrap();
    // Gracefully: the answer that is under way may come to its end.
    gate.open();
    let rows = runs(&host, "night", "two ends", |rows| rows.iter().all(|row| row.state.is_final())).await;
    assert_eq!(rows[1].state, RunState::Completed);
    assert!(matches!(rows[0].state, RunState::Cancelled | RunState::Completed));
    conserved(&host, "night").await;
}

#[tokio::test]
async fn firings_of_a_timer_beyond_a_full_queue_become_one() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let timer = json!([{"type": "timer", "config": {"every": "10s"}}]);
    manager.start(config("night", json!({"triggers": timer, "queue": {"capacity": 1}}))).await.unwrap();
    for fired in 1..=5 {
        stage.clock.pass(Duration::from_secs(10)).await;
        seen(&manager, "night", "a firing", |status| status.triggered == fired).await;
        if fired == 1 {
            gate.reached(1).await;
            seen(&manager, "night", "the first", |status| status.active.len() == 1).await;
        }
    }
    assert_eq!(states(&host, "night").await, [RunState::Running, RunState::Queued]);
    let counts = conserved(&host, "night").await;
    assert_eq!((counts.triggered, counts.coalesced), (5, 3));
    gate.open();
    runs(&host, "night", "both", all(RunState::Completed, 2)).await;
}

#[tokio::test]
async fn a_burst_of_events_becomes_one_run() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let trigger = json!([{"type": "session_event", "debounce": "5s", "config": {"event_names": ["work:*"]}}]);
    manager.start(config("night", json!({"triggers": trigger}))).await.unwrap();
    for at in 0..4 {
        host.router().emit("work:done", json!({ "at": at })).await.unwrap();
    }
    seen(&manager, "night", "four firings", |status| status.triggered == 4).await;
    assert_eq!(states(&host, "night").await, [RunState::Queued]);
    stage.clock.asleep_within(Duration::from_secs(5)).await;
    stage.clock.advance(Duration::from_secs(5));
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    let counts = conserved(&host, "night").await;
    assert_eq!((counts.triggered, counts.coalesced), (4, 3));
}
