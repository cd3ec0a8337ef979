//! Faults of the reference system's background sessions, each under its number in `docs/regressions.md`.

use std::collections::BTreeSet;

use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use amplifier_foundation::Shutdown;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::project::metadata;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, name, runs};

#[tokio::test]
async fn fault_17_firing_returns_an_id_while_the_session_still_runs() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({}))).await.unwrap();
    let run = manager.fire(&name("night"), json!(1)).await.unwrap();
    gate.reached(1).await;
    let row = &runs(&host, "night", "a run", |rows| rows.len() == 1).await[0];
    assert_eq!((&row.id, row.state), (&run, RunState::Running));
    gate.open();
    runs(&host, "night", "its end", all(RunState::Completed, 1)).await;
    conserved(&host, "night").await;
}

#[tokio::test]
async fn fault_22_names_outlive_the_process_and_no_session_id_comes_twice() {
    let stage = Stage::new();
    let mut sessions = BTreeSet::new();
    for process in 1..=3 {
        let host = stage.host_on_disk().await;
        let manager = BackgroundSessionManager::new(&host);
        let night = config("night", json!({}));
        assert_eq!(night.id().as_str(), "bg-night");
        manager.start(night).await.unwrap();
        manager.fire(&name("night"), json!(process)).await.unwrap();
        let rows = runs(&host, "night", "all runs so far", all(RunState::Completed, process)).await;
        sessions.extend(rows.into_iter().map(|row| row.session.unwrap()));
        assert_eq!(sessions.len(), process, "{sessions:?}");
        manager.shutdown(Shutdown::Now).await;
        host.shutdown(Shutdown::Now).await;
    }
}

#[tokio::test]
async fn fault_24_a_session_says_what_triggered_it() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let manager = BackgroundSessionManager::new(&host);
    let triggers =
        json!([{"type": "session_event", "name": "plans", "config": {"event_names": ["work:planned"]}}]);
    manager.start(config("build", json!({ "triggers": triggers }))).await.unwrap();
    host.router().emit("work:planned", json!({"what": "a door"})).await.unwrap();
    let row = runs(&host, "build", "a run", all(RunState::Completed, 1)).await.remove(0);
    let said = metadata(&stage.project.session());
    assert_eq!(said["session_id"], json!(row.session));
    assert_eq!((&said["run_id"], &said["background_session"]), (&json!(row.id), &json!("build")));
    assert_eq!(said["trigger_type"], "session_event");
    assert!(said["trigger_id"].as_str().unwrap().starts_with("build/plans/"), "{said}");
    host.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn fault_49_a_declaration_without_a_template_has_the_references_own() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let bare = json!({"name": "night", "bundle": "plain", "instruction_template": null});
    manager.start(BackgroundConfig::parse(&bare, &TriggerRegistry::new()).unwrap()).await.unwrap();
    manager.fire(&name("night"), json!({"why": "tests"})).await.unwrap();
    runs(&host, "night", "a run", all(RunState::Completed, 1)).await;
    let told = stage.brain.last_request();
    let (_, said) = told.iter().find(|(role, _)| role == "user").unwrap();
    assert!(said.starts_with("Handle this event: "), "{said}");
}
