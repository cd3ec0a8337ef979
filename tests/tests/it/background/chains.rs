//! Chains: background sessions that are linked by events.

use amplifier_background::BackgroundSessionManager;
use amplifier_core::Payload;
use amplifier_foundation::store::RunState;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{all, config, conserved, runs, seen};

fn on(event: &str, more: Value) -> Value {
    let mut map = json!({"triggers": [{"type": "session_event", "config": {"event_names": [event]}}]});
    for (key, value) in more.as_object().unwrap() {
        map[key] = value.clone();
    }
    map
}

#[tokio::test]
async fn three_background_sessions_follow_each_other_by_events() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let mut told = host.router().subscribe("background:spawn:completed").unwrap().events();
    manager
        .start(config("build", on("work:planned", json!({"on_complete_emit": "work:built"}))))
        .await
        .unwrap();
    manager
        .start(config("first", on("work:new", json!({"on_complete_emit": "work:planned"}))))
        .await
        .unwrap();
    manager.start(config("check", on("work:built", json!({})))).await.unwrap();
    let began = host.router().emit("work:new", json!({"what": "a door"})).await.unwrap();
    runs(&host, "check", "the last of the chain", all(RunState::Completed, 1)).await;
    for expected in ["first", "build", "check"] {
        let event = soon("what is told", told.next()).await.unwrap().unwrap();
        let said: Value = event.payload.decode().unwrap();
        assert_eq!(said["session_name"], expected);
        assert_eq!((&said["success"], &said["trigger_type"]), (&json!(true), &json!("session_event")));
        assert_eq!(event.correlation, Some(began), "all of it follows from the first event");
        conserved(&host, expected).await;
    }
}

#[tokio::test]
async fn two_that_answer_each_other_stop_at_the_limit_of_hops() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let mut told = host.router().subscribe("policy:violation").unwrap().events();
    manager.start(config("ping", on("work:ping", json!({"on_complete_emit": "work:pong"})))).await.unwrap();
    manager.start(config("pong", on("work:pong", json!({"on_complete_emit": "work:ping"})))).await.unwrap();
    host.router().emit("work:ping", Payload::null()).await.unwrap();
    let event = soon("the end of the chain", told.next()).await.unwrap().unwrap();
    let said: Value = event.payload.decode().unwrap();
    assert_eq!((&said["policy"], &said["limit"]), (&json!("max_hops"), &json!(16)));
    for name in ["ping", "pong"] {
        seen(&manager, name, "an end", |status| status.active.is_empty()).await;
        let counts = conserved(&host, name).await;
        assert!(counts.rows() <= 9, "{counts:?}");
    }
}

#[tokio::test]
async fn it_does_not_react_to_its_own_runs() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", on("*", json!({"on_complete_emit": "work:done"})))).await.unwrap();
    host.router().emit("work:new", json!(1)).await.unwrap();
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    host.router().emit("work:new", json!(2)).await.unwrap();
    runs(&host, "night", "two runs", all(RunState::Completed, 2)).await;
    assert_eq!(conserved(&host, "night").await.triggered, 2);
}
