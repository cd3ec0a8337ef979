//! Pauses, and what other processes see of an owner.

use std::time::Duration;

use amplifier_background::BackgroundState;
use amplifier_background::control::{
    ControlError, Owner, OwnerOptions, Published, Reload, Remote, StopHow, paused, set_paused,
};
use amplifier_background::declared::Sources;
use amplifier_background::{BackgroundError, BackgroundSessionManager, TriggerState};
use amplifier_core::CancelLevel;
use amplifier_foundation::Shutdown;
use amplifier_foundation::store::{Cursor, Keep, RunState, StoreError};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, name, rows, runs, seen};

fn hourly(misfire: &str) -> serde_json::Value {
    json!({"triggers": [{"type": "timer", "name": "hourly", "config": {"every": "1h"}, "misfire": misfire}]})
}

const HOUR: Duration = Duration::from_secs(3_600);

/// What a timer has missed in a pause of five hours becomes this many runs.
async fn check_misfires(misfire: &str, expect: usize) {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", hourly(misfire))).await.unwrap();
    assert!(manager.pause(&name("night")).await.unwrap());
    assert!(!manager.pause(&name("night")).await.unwrap());
    stage.clock.advance(HOUR * 5 + HOUR / 2);
    manager.fire(&name("night"), json!(1)).await.unwrap();
    let paused = manager.status(&name("night")).unwrap();
    let states = (paused.state, paused.triggers.values().map(|trigger| trigger.state).collect::<Vec<_>>());
    assert_eq!(states, (BackgroundState::Paused, vec![TriggerState::Paused]));
    assert_eq!(rows(&host, "night").await[0].state, RunState::Queued);
    assert!(manager.resume(&name("night")).await.unwrap());
    assert!(!manager.resume(&name("night")).await.unwrap());
    runs(&host, "night", "what was missed", all(RunState::Completed, expect + 1)).await;
    // Once the timer sleeps again the next hour comes on time.
    let minute = Duration::from_secs(60);
    stage.clock.pass(minute).await;
    stage.clock.advance(HOUR / 2 - minute);
    runs(&host, "night", "the next hour", all(RunState::Completed, expect + 2)).await;
    conserved(&host, "night").await;
    manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn what_is_due_in_a_pause_meets_its_misfire_policy() {
    check_misfires("once", 1).await;
    check_misfires("skip", 0).await;
    check_misfires("all", 5).await;
}

#[tokio::test]
async fn a_pause_outlives_its_manager() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    assert!(set_paused(&host, &name("night"), true, Some("ann")).await.unwrap());
    for _ in 0..2 {
        let manager = BackgroundSessionManager::new(&host);
        manager.start(config("night", hourly("once"))).await.unwrap();
        assert_eq!(manager.status(&name("night")).unwrap().state, BackgroundState::Paused);
        manager.shutdown(Shutdown::Now).await;
    }
    let paused = paused(host.store().as_ref(), &name("night")).await.unwrap();
    assert_eq!(paused.unwrap().by.as_deref(), Some("ann"));
    assert!(set_paused(&host, &name("night"), false, None).await.unwrap());
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", hourly("once"))).await.unwrap();
    seen(&manager, "night", "that it runs", |status| status.state == BackgroundState::Running).await;
    manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn the_owner_publishes_how_its_background_sessions_stand() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let published = |state: BackgroundState| {
        let host = host.clone();
        async move {
            loop {
                let told = Published::read(host.store().as_ref(), &name("night")).await.unwrap();
                if let Some(told) = told.filter(|told| told.state == state) {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", hourly("once"))).await.unwrap();
    seen(&manager, "night", "that it runs", |status| status.state == BackgroundState::Running).await;
    manager.publish_now().await;
    let told = soon("what is published", published(BackgroundState::Running)).await;
    assert_eq!(told.owner, host.owner().to_string());
    assert_eq!(told.triggers.values().next().unwrap().state, TriggerState::Watching);
    // By itself, within a quarter of a second of its own clock.
    manager.pause(&name("night")).await.unwrap();
    let waiting = published(BackgroundState::Paused);
    let advancing = async {
        loop {
            stage.clock.advance(Duration::from_millis(250));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = soon("the pause is published", waiting) => {}
        () = advancing => {}
    }
    manager.shutdown(Shutdown::Now).await;
    soon("the end is published", published(BackgroundState::Stopped)).await;
}

#[tokio::test]
async fn a_second_owner_is_told_who_the_first_one_is() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let first = BackgroundSessionManager::new(&host);
    first.own().await.unwrap();
    let other = stage.host_on_disk().await;
    let second = BackgroundSessionManager::new(&other);
    let refused = second.start(config("night", json!({}))).await.unwrap_err();
    let BackgroundError::Owned { owner } = refused else { panic!("{refused}") };
    assert_eq!((owner.owner, owner.pid), (host.owner().to_string(), std::process::id()));
    first.shutdown(Shutdown::Now).await;
    second.start(config("night", json!({}))).await.unwrap();
    second.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn an_owner_that_does_not_answer_or_is_gone_is_one_clear_error() {
    let stage = Stage::new();
    let (host, other) = (stage.host_on_disk().await, stage.host_on_disk().await);
    let manager = BackgroundSessionManager::new(&host);
    manager.own().await.unwrap();
    let remote = Remote::new(&other);
    let advancing = async {
        loop {
            stage.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let answer = tokio::select! {
        answer = soon("an error", remote.stop(None, StopHow::Now)) => answer,
        () = advancing => return,
    };
    let Err(ControlError::Silent { owner }) = answer else { panic!("{answer:?}") };
    assert_eq!(owner.pid, std::process::id());
    manager.shutdown(Shutdown::Now).await;
    let answer = remote.reload().await;
    assert!(matches!(answer, Err(ControlError::NoOwner)), "{answer:?}");
}

#[tokio::test]
async fn what_is_declared_otherwise_starts_anew_once_what_runs_has_ended() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("old".into(), gate.clone()));
    let declare = |told: &str| {
        let text =
            format!("background_sessions: [{{name: night, bundle: plain, instruction_template: {told}}}]\n");
        stage.project.write(".amplifier/background.yaml", text);
    };
    declare("before");
    let (host, other) = (stage.host_on_disk().await, stage.host_on_disk().await);
    let options = OwnerOptions::new(Sources::new());
    let owner = Owner::start(&host, BackgroundSessionManager::new(&host), options).await.unwrap();
    let manager = owner.manager().clone();
    let (stop, stops) = tokio::sync::mpsc::channel(1);
    let running = tokio::spawn(owner.run(stops));
    manager.fire(&name("night"), json!(1)).await.unwrap();
    gate.reached(1).await;

    let remote = Remote::new(&other);
    declare("after");
    let reload = soon("a reload", remote.reload()).await.unwrap();
    assert_eq!((reload.changed, reload.started), (vec![name("night")], Vec::new()));
    seen(&manager, "night", "that it ends", |status| status.state == BackgroundState::Stopping).await;
    // Twice while it ends: what is declared last counts, and nothing is started twice.
    declare("at_last");
    soon("a reload", remote.reload()).await.unwrap();
    gate.open();
    runs(&host, "night", "the end of the first", all(RunState::Completed, 1)).await;
    let goes_on = async {
        while manager.status(&name("night")).map(|status| status.state).ok() != Some(BackgroundState::Running)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("that it runs again", goes_on).await;
    manager.fire(&name("night"), json!(2)).await.unwrap();
    runs(&host, "night", "the second", all(RunState::Completed, 2)).await;
    assert!(
        stage.brain.last_request().iter().any(|(_, text)| text == "at_last"),
        "{:?}",
        stage.brain.last_request()
    );
    let reload = soon("a reload", remote.reload()).await.unwrap();
    assert_eq!(reload, Reload::default());
    stop.send(CancelLevel::Graceful).await.unwrap();
    soon("the end", running).await.unwrap();
}

#[tokio::test]
async fn an_owner_drops_what_is_too_old_a_minute_after_its_start_and_each_hour_then() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let emit = |count: usize| {
        let host = host.clone();
        async move {
            for number in 0..count {
                let _ = host.router().emit("night:told", json!({ "number": number })).await.unwrap();
            }
        }
    };
    emit(20).await;
    let mut options = OwnerOptions::new(Sources::new());
    options.retention.events = Keep::FOR_EVER.count(5);
    let owner = Owner::start(&host, BackgroundSessionManager::new(&host), options).await.unwrap();
    let (stop, stops) = tokio::sync::mpsc::channel(1);
    let running = tokio::spawn(owner.run(stops));
    let kept = async |wait: Duration| {
        stage.clock.pass(wait).await;
        soon("that old events are gone", async {
            loop {
                let beginning = Cursor { log: host.store().tail().await.unwrap().log, sequence: 1 };
                if let Err(StoreError::Gone { oldest }) = host.store().events(beginning, 1).await {
                    return host.store().tail().await.unwrap().sequence - oldest.sequence;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    };
    assert_eq!(kept(Duration::from_secs(60)).await, 5);
    emit(20).await;
    stage.clock.pass(HOUR).await;
    soon("that the next ones are gone", async {
        loop {
            let tail = host.store().tail().await.unwrap();
            let early = Cursor { log: tail.log, sequence: tail.sequence - 6 };
            if matches!(host.store().events(early, 1).await, Err(StoreError::Gone { .. })) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    stop.send(CancelLevel::Immediate).await.unwrap();
    soon("the end of the owner", running).await.unwrap();
}
