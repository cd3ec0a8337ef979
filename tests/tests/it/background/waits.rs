//! How often a run waits for the disk: commits of the store, in a real file, with sessions in real files.

use std::sync::Arc;

use amplifier_background::BackgroundSessionManager;
use amplifier_foundation::Host;
use amplifier_foundation::store::RunState;
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::on_disk;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, name, runs, seen};

/// A host whose commits are counted, in the stage's project.
async fn counted(stage: &Stage) -> (FaultyStore, Host) {
    let store = on_disk::alone(&stage.project.around().join("store"));
    let store = FaultyStore::new(Arc::new(store), When::Never, StoreFault::Error);
    let host = stage.builder().store(Arc::new(store.clone())).open(stage.project.path()).await.unwrap();
    (store, host)
}

/// The commits since there were so many, without what tells other processes how it stands: no run waits for that.
fn since(store: &FaultyStore, before: usize) -> Vec<&'static str> {
    let mut commits = store.commits().split_off(before);
    commits.retain(|commit| *commit != "publish");
    commits
}

#[tokio::test]
async fn a_run_that_an_event_triggers_waits_four_times_at_most() {
    let stage = Stage::new();
    let (store, host) = counted(&stage).await;
    let manager = BackgroundSessionManager::new(&host);
    let triggers = json!([{"type": "session_event", "config": {"event_names": ["work:new"]}}]);
    let more = json!({"triggers": triggers, "pool_size": 2, "on_complete_emit": "work:done"});
    manager.start(config("night", more)).await.unwrap();
    let ended = async |count| {
        runs(&host, "night", "a run", all(RunState::Completed, count)).await;
        seen(&manager, "night", "its end", |status| status.active.is_empty()).await;
    };
    // The first one takes the lease of the process too.
    host.router().emit("work:new", json!(1)).await.unwrap();
    ended(1).await;
    let before = store.commits().len();
    host.router().emit("work:new", json!(2)).await.unwrap();
    ended(2).await;
    let commits = since(&store, before);
    // The event; the run; lease, session and beginning; outcome, end of the run and three events.
    assert_eq!(commits, ["append", "other", "open", "settle"]);
    let folder = stage.project.sessions().pop().unwrap();
    let shape = amplifier_tests::project::shape(&amplifier_tests::project::transcript(&folder));
    assert!(shape.starts_with("u:2") && shape.ends_with("a:done"), "{shape}");
    conserved(&host, "night").await;
}

#[tokio::test]
async fn a_run_that_somebody_fires_waits_three_times() {
    let stage = Stage::new();
    let (store, host) = counted(&stage).await;
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({}))).await.unwrap();
    for count in 1..=3 {
        let before = store.commits().len();
        manager.fire(&name("night"), json!("hello")).await.unwrap();
        runs(&host, "night", "a run", all(RunState::Completed, count)).await;
        seen(&manager, "night", "its end", |status| status.active.is_empty()).await;
        let commits = since(&store, before);
        let first = ["other", "other", "open", "settle"];
        assert_eq!(commits, if count == 1 { &first[..] } else { &first[1..] }, "the lease is taken once");
    }
    conserved(&host, "night").await;
}
