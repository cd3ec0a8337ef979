//! The pool: how many at once, who works on the runs, what survives.

use amplifier_background::{BackgroundSessionManager, BackgroundState};
use amplifier_core::OutcomeKind;
use amplifier_foundation::Shutdown;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, fire_all, name, runs, seen, states};

#[tokio::test]
async fn so_many_run_at_once_as_the_pool_has_places() {
    let stage = Stage::new();
    let gate = Gate::new();
    for _ in 0..7 {
        stage.brain.then(Step::Wait("done".into(), gate.clone()));
    }
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"pool_size": 3}))).await.unwrap();
    fire_all(&manager, "night", 7).await;
    gate.reached(3).await;
    let status = seen(&manager, "night", "three sessions", |status| status.active.len() == 3).await;
    assert_eq!(status.state, BackgroundState::Running);
    let waiting = states(&host, "night").await.iter().filter(|state| **state == RunState::Queued).count();
    assert_eq!((waiting, gate.arrived()), (4, 3), "the others wait");
    gate.open();
    let rows = runs(&host, "night", "seven runs", all(RunState::Completed, 7)).await;
    for row in rows {
        let session = host.store().session(&row.session.unwrap()).await.unwrap().unwrap();
        assert_eq!(session.settled.unwrap().outcome.kind, OutcomeKind::Completed);
    }
    assert_eq!(conserved(&host, "night").await.triggered, 7);
    let ended = manager.shutdown(Shutdown::Now).await;
    assert_eq!(ended[0].state, BackgroundState::Stopped);
}

/// What is read ahead of the queue may be less than the places that become free together.
#[tokio::test]
async fn places_that_become_free_at_once_are_all_taken_again() {
    let stage = Stage::new();
    let (alone, together, then) = (Gate::new(), Gate::new(), Gate::new());
    for (gate, count) in [(&alone, 1), (&together, 4), (&then, 4)] {
        for _ in 0..count {
            stage.brain.then(Step::Late("done".into(), gate.clone()));
        }
    }
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"pool_size": 4}))).await.unwrap();
    fire_all(&manager, "night", 40).await;
    alone.reached(1).await;
    together.reached(3).await;
    alone.open();
    together.reached(4).await;
    together.open();
    then.reached(4).await;
    then.open();
    runs(&host, "night", "forty runs", all(RunState::Completed, 40)).await;
    conserved(&host, "night").await;
}

#[tokio::test]
async fn two_managers_on_one_store_run_nothing_twice() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let (one, two) = (BackgroundSessionManager::new(&host), BackgroundSessionManager::new(&host));
    one.start(config("night", json!({"pool_size": 4}))).await.unwrap();
    let owned = two.start(config("night", json!({}))).await.unwrap_err();
    assert!(owned.to_string().contains("are owned by process"), "{owned}");
    two.work(config("night", json!({"pool_size": 4}))).await.unwrap();
    for _ in 0..20 {
        one.fire(&name("night"), json!("a")).await.unwrap();
        two.fire(&name("night"), json!("b")).await.unwrap();
    }
    runs(&host, "night", "forty runs", all(RunState::Completed, 40)).await;
    assert_eq!(stage.brain.requests().len(), 40, "one model call a run");
    assert_eq!(conserved(&host, "night").await.triggered, 40);
    one.shutdown(Shutdown::Now).await;
    two.start(config("day", json!({}))).await.unwrap();
}

#[tokio::test]
async fn what_waits_at_a_stop_runs_at_the_next_start() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({}))).await.unwrap();
    fire_all(&manager, "night", 3).await;
    gate.reached(1).await;
    let ended = manager.stop(&name("night"), Shutdown::Now).await.unwrap();
    assert_eq!((ended.state, ended.active.len()), (BackgroundState::Stopped, 0));
    let left = states(&host, "night").await;
    assert_eq!(left, [RunState::Cancelled, RunState::Queued, RunState::Queued]);
    manager.start(config("night", json!({}))).await.unwrap();
    runs(&host, "night", "what was left", |rows| {
        rows[1..].iter().all(|row| row.state == RunState::Completed)
    })
    .await;
    conserved(&host, "night").await;
}

#[tokio::test]
async fn who_fires_by_hand_is_told_when_the_queue_is_full() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"queue": {"capacity": 2}}))).await.unwrap();
    manager.fire(&name("night"), json!(0)).await.unwrap();
    gate.reached(1).await;
    seen(&manager, "night", "the first", |status| status.active.len() == 1).await;
    fire_all(&manager, "night", 2).await;
    let full = manager.fire(&name("night"), json!(3)).await.unwrap_err();
    assert!(full.to_string().contains("is full"), "{full}");
    gate.open();
    runs(&host, "night", "three runs", all(RunState::Completed, 3)).await;
    let counts = conserved(&host, "night").await;
    assert_eq!((counts.triggered, counts.rejected), (4, 1));
}
