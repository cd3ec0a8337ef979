//! `amplifier event why` over the runs of background sessions: the sessions run here, and the built binary
//! reads what they have left.

use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_background::trigger::{TriggerHandle, TriggerRegistry};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_foundation::store::{RunState, Write};
use amplifier_foundation::{Host, Shutdown};
use amplifier_tests::fake::Step;
use amplifier_tests::process::run;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{all, config, name, runs, seen};

fn on(event: &str, then: &str) -> Value {
    let trigger = json!({"type": "session_event", "config": {"event_names": [event]}});
    json!({"triggers": [trigger], "on_complete_emit": then})
}

/// The last event of this name.
async fn last(host: &Host, event: &str) -> String {
    let tail = host.store().tail().await.unwrap();
    let from = amplifier_foundation::store::Cursor { sequence: 1, ..tail };
    let page = host.store().events(from, 1_000).await.unwrap();
    let found = page.events.iter().rev().find(|known| known.event_type.name() == event);
    found.unwrap_or_else(|| panic!("no {event}")).id.to_string()
}

/// What the binary prints of a chain, as JSON.
fn why(stage: &Stage, event: &str) -> Vec<Value> {
    run(&stage.project, ["event", "why", event, "--json"]).exits(0).json_lines()
}

/// The chain in short, the first cause first.
fn short(lines: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let one = |line: &Value| match line["kind"].as_str().unwrap() {
        "event" => text(&line["event"]["type"]),
        "session" => format!("session {}: {}", text(&line["bundle"]), text(&line["status"])),
        "run" => format!("run {}: {} {}", text(&line["queue"]), text(&line["state"]), line["attempt"]),
        "trigger" => {
            let by = text(&line["cause"]["kind"]);
            format!("trigger {} {by}", text(&line["type"]))
        }
        other => other.to_owned(),
    };
    lines.iter().map(one).collect()
}

#[tokio::test]
async fn why_prints_the_whole_chain_of_background_sessions_back_to_the_schedule() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let manager = BackgroundSessionManager::new(&host);
    let timer = json!([{"type": "timer", "name": "nightly", "config": {"every": "10s"}}]);
    let first = json!({"triggers": timer, "on_complete_emit": "work:planned"});
    manager.start(config("build", on("work:planned", "work:built"))).await.unwrap();
    manager.start(config("check", on("work:built", "work:checked"))).await.unwrap();
    manager.start(config("first", first)).await.unwrap();
    stage.clock.pass(Duration::from_secs(10)).await;
    let rows = runs(&host, "check", "the last of the chain", all(RunState::Completed, 1)).await;
    let event = last(&host, "work:checked").await;
    host.shutdown(Shutdown::Now).await;

    let lines = why(&stage, &event);
    let link = |queue: &str, trigger: &str, then: &str| {
        let queue = format!("run background/{queue}: completed 1");
        [
            trigger.to_owned(),
            queue,
            "session plain: completed".into(),
            "session_completed".into(),
            then.into(),
        ]
    };
    let of_event = "trigger session_event event";
    let expected = [
        link("first", "trigger timer schedule", "work:planned"),
        link("build", of_event, "work:built"),
        link("check", of_event, "work:checked"),
    ];
    assert_eq!(short(&lines), expected.concat());

    // Each line says who it is about, and of each other.
    let [trigger, run_line, session] = &lines[10..13] else { panic!() };
    let planned = &lines[9]["event"];
    assert_eq!(planned["type"], "work:built");
    assert_eq!((&trigger["cause"]["event"], &trigger["run_id"]), (&planned["id"], &json!(rows[0].id)));
    assert_eq!((&run_line["run_id"], &run_line["session_id"]), (&json!(rows[0].id), &json!(rows[0].session)));
    assert_eq!(session["session_id"], json!(rows[0].session));
    assert_eq!(lines[0]["trigger"], "first:nightly");
    assert_eq!(
        (&lines[0]["due"], &lines[0]["source"]),
        (&json!("2026-01-01T00:00:10.000000Z"), &json!("timer-trigger"))
    );
    // The terminal event names run and firing too.
    let end = &lines[13]["event"]["data"];
    assert_eq!((&end["run_id"], &end["trigger_id"]), (&json!(rows[0].id), &trigger["trigger_id"]));

    let text = run(&stage.project, ["event", "why", &event]).exits(0).stdout;
    let shown: Vec<&str> = text.lines().collect();
    assert_eq!(shown.len(), 15, "{text}");
    assert_eq!(shown[0], "trigger  first:nightly  timer  due 2026-01-01T00:00:10.000Z  by its schedule");
    assert!(
        shown[1].starts_with("run      first:nightly:") && shown[1].ends_with("  completed  attempt 1"),
        "{text}"
    );
    assert!(shown[2].starts_with("session  bg-first-") && shown[2].ends_with("  plain  completed"), "{text}");
    assert!(shown[10].contains("session_event  fired 2026") && shown[10].contains("  by event "), "{text}");
}

#[tokio::test]
async fn why_begins_at_what_somebody_fired_or_delivered_and_finds_the_run_of_an_earlier_attempt() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let secret = |_: &str| Some("a secret of forty letters and a few more".to_owned());
    let manager = BackgroundSessionManager::with(&host, TriggerRegistry::new(), secret);
    stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    manager.start(config("hand", json!({}))).await.unwrap();
    manager.fire(&name("hand"), json!({"why": "tests"})).await.unwrap();
    runs(&host, "hand", "another attempt", |rows| rows.iter().any(|row| row.attempt == 2)).await;
    let failed = last(&host, "background_spawn_error").await;
    stage.clock.asleep_within(Duration::from_secs(1)).await;
    stage.clock.advance(Duration::from_secs(1));
    runs(&host, "hand", "the end", all(RunState::Completed, 1)).await;
    let done = last(&host, "background_spawn_completed").await;

    let hook =
        json!([{"type": "webhook", "config": {"path": "in", "secret_env": "SECRET", "scheme": "bearer"}}]);
    manager.start(config("hook", json!({"triggers": hook, "permissions": "dontAsk"}))).await.unwrap();
    seen(&manager, "hook", "its trigger", |_| !manager.handles(&name("hook")).unwrap().is_empty()).await;
    let handles = manager.handles(&name("hook")).unwrap();
    let Some(TriggerHandle::Webhook(handle)) = handles.values().next() else { panic!("{handles:?}") };
    let bearer = b"Bearer a secret of forty letters and a few more".as_slice();
    let headers = [("authorization", bearer), ("webhook-id", b"d-7".as_slice())];
    let answer = handle.deliver("in", headers, "{}".into()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    runs(&host, "hook", "the end", all(RunState::Completed, 1)).await;
    let delivered = last(&host, "background_spawn_completed").await;
    host.shutdown(Shutdown::Now).await;

    let whole = |trigger: &str, run: &str, status: &str, ends: [&str; 2]| {
        let session = format!("session plain: {status}");
        [trigger.to_owned(), run.to_owned(), session, ends[0].to_owned(), ends[1].to_owned()]
    };
    let (ended, told) =
        (["session_completed", "background_spawn_completed"], ["session_error", "background_spawn_error"]);
    let manual = "trigger manual manual";
    assert_eq!(
        short(&why(&stage, &done)),
        whole(manual, "run background/hand: completed 2", "completed", ended)
    );
    // The run has gone on with another session, and is still found.
    let lines = why(&stage, &failed);
    assert_eq!(short(&lines), whole(manual, "run background/hand: completed 2", "failed", told));
    assert_ne!(lines[1]["session_id"], lines[2]["session_id"]);
    let hooked = why(&stage, &delivered);
    assert_eq!(
        short(&hooked),
        whole("trigger webhook delivery", "run background/hook: completed 1", "completed", ended)
    );
    assert_eq!(hooked[0]["cause"]["delivery"], "d-7");
    let text = run(&stage.project, ["event", "why", &delivered]).exits(0).stdout;
    assert!(text.lines().next().unwrap().ends_with("  by delivery d-7"), "{text}");
}

#[tokio::test]
async fn why_says_which_cause_the_log_has_dropped_and_still_names_run_and_trigger() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("build", on("work:new", "work:built"))).await.unwrap();
    let began = host.router().emit("work:new", json!({})).await.unwrap().to_string();
    runs(&host, "build", "a run", all(RunState::Completed, 1)).await;
    let event = last(&host, "work:built").await;
    let prune = |before| Write::Prune { before }.into();
    let _ = host.store().commit(prune(2)).await.unwrap();
    let chain = ["pruned", "trigger session_event event", "run background/build: completed 1"];
    let ends = ["session plain: completed", "session_completed", "work:built"];
    let lines = why(&stage, &event);
    assert_eq!(short(&lines), [chain, ends].concat());
    assert_eq!((&lines[0]["id"], &lines[1]["cause"]["event"]), (&json!(began), &json!(began)));

    // Without the end of the session no event names the cause any more; the run still does.
    let tail = host.store().tail().await.unwrap().sequence;
    let _ = host.store().commit(prune(tail - 1)).await.unwrap();
    let lines = why(&stage, &event);
    let kinds = ["pruned", "pruned", "trigger session_event event", "run background/build: completed 1"];
    assert_eq!(short(&lines), [&kinds[..], &["session plain: completed", "work:built"]].concat());
    assert_eq!(lines[0]["id"], began);
    let text = run(&stage.project, ["event", "why", &event]).exits(0).stdout;
    assert_eq!(text.matches("the log no longer holds it, nor what led to it").count(), 2, "{text}");
    host.shutdown(Shutdown::Now).await;
}
