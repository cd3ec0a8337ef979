//! A store that answers too late: what it does after it was given up comes to an end all the same.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_core::{Clock, OutcomeKind};
use amplifier_foundation::store::{MemoryStore, RunState, SessionFilter};
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, name, runs, seen};

#[tokio::test]
async fn a_run_whose_session_was_recorded_after_its_start_was_given_up_comes_to_its_end() {
    let stage = Stage::new();
    let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
    let memory = MemoryStore::new(clock, &SeededIds::new(7));
    let gate = Gate::new();
    let store = FaultyStore::new(Arc::new(memory), When::Method("open"), StoreFault::Late(gate.clone()));
    let host = stage.builder().store(Arc::new(store.clone())).in_memory();
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

    let ticks = stage.clock.clone();
    let ticks = tokio::spawn(async move {
        loop {
            ticks.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let rows = runs(&host, "night", "its end", all(RunState::Completed, 1)).await;
    ticks.abort();
    assert_eq!(rows[0].attempt, 2, "the first attempt is counted");
    let sessions = host.store().sessions(&SessionFilter::default()).await.unwrap();
    let kinds: Vec<_> = sessions.iter().map(|row| row.settled.as_ref().unwrap().outcome.kind).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.contains(&OutcomeKind::Lost) && kinds.contains(&OutcomeKind::Completed), "{kinds:?}");
    conserved(&host, "night").await;
}
