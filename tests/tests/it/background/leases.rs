//! Several processes at one queue, and one among them that hangs.
//!
//! A process here is a host of its own on the project's database and folders, with a clock of its own: one
//! whose clock stands gives no sign of life, as if it were stopped.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::{BackgroundSessionManager, BackgroundState, queue_of};
use amplifier_core::env::EmitError;
use amplifier_core::{Activation, CustomName, NewEvent, OutcomeKind};
use amplifier_foundation::Host;
use amplifier_foundation::router::Cursor;
use amplifier_foundation::store::{ActivationId, Lease, LeaseKey, RunState, StoreError};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::project::{shape, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, fire_all, name, runs, seen};

const HEARTBEAT: Duration = Duration::from_secs(20);

/// A host of the stage's project with a clock of its own.
async fn process(stage: &Stage) -> (ManualClock, Host) {
    let clock = ManualClock::new();
    let host = stage.builder().clock(Arc::new(clock.clone())).open(stage.project.path()).await.unwrap();
    (clock, host)
}

async fn lease(host: &Host, of: &Host) -> Option<Lease> {
    let key = LeaseKey::new(format!("work/{}", of.owner())).unwrap();
    host.store().lease(&key).await.unwrap()
}

/// What `draft:ready` events of the log say.
async fn drafts(host: &Host) -> Vec<serde_json::Value> {
    let from = Cursor { sequence: 1, ..host.router().tail().await.unwrap() };
    let page = host.store().events(from, 1_000).await.unwrap();
    let drafts = page.events.iter().filter(|event| event.event_type.name() == "draft:ready");
    drafts.map(|event| event.payload.decode().unwrap()).collect()
}

#[tokio::test]
async fn what_another_process_has_queued_is_begun_without_a_moment_passing() {
    let stage = Stage::new();
    let ((_, one), (_, two)) = (process(&stage).await, process(&stage).await);
    let (owner, other) = (BackgroundSessionManager::new(&one), BackgroundSessionManager::new(&two));
    owner.start(config("night", json!({"pool_size": 2}))).await.unwrap();
    seen(&owner, "night", "its beginning", |status| status.state == BackgroundState::Running).await;
    // The other one takes firings in, and has no place for them: its own sessions wait.
    let gate = Gate::new();
    stage.brain.then(Step::Wait("first".into(), gate.clone()));
    other.work(config("night", json!({}))).await.unwrap();
    fire_all(&other, "night", 4).await;
    // No clock has moved.
    let done = |rows: &[amplifier_foundation::store::RunRow]| {
        rows.iter().filter(|row| row.state == RunState::Completed).count() == 3
    };
    runs(&one, "night", "three of four", done).await;
    gate.open();
    runs(&one, "night", "all four", all(RunState::Completed, 4)).await;
    assert_eq!(stage.brain.requests().len(), 4, "one model call a run");
    conserved(&one, "night").await;
}

#[tokio::test]
async fn what_a_process_that_hangs_has_left_is_gone_on_with_and_what_it_writes_then_is_refused() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("too late".into(), gate.clone()));
    let ((hung_clock, hung), (clock, host)) = (process(&stage).await, process(&stage).await);
    let (hangs, works) = (BackgroundSessionManager::new(&hung), BackgroundSessionManager::new(&host));
    hangs.start(config("night", json!({}))).await.unwrap();
    hangs.fire(&name("night"), json!("hello")).await.unwrap();
    gate.reached(1).await;
    let status = seen(&hangs, "night", "a session", |status| status.active.len() == 1).await;
    let session = status.active[0].clone();
    let live = hung.sessions().get(&session).unwrap();
    let tell =
        |n: u32| live.env().events.emit(NewEvent::custom(CustomName::new("draft:ready").unwrap(), json!(n)));
    tell(1).await.unwrap();
    works.work(config("night", json!({}))).await.unwrap();
    for _ in 0..4 {
        clock.pass(HEARTBEAT).await;
        assert_eq!(stage.brain.requests().len(), 1, "its lease holds, or has run out only just now");
    }
    clock.pass(HEARTBEAT).await;
    let rows = runs(&host, "night", "the run to go on", all(RunState::Completed, 1)).await;
    assert_eq!(
        (rows[0].session.as_ref(), rows[0].attempt),
        (Some(&session), 1),
        "the same session and attempt"
    );
    let row = host.store().session(&session).await.unwrap().unwrap();
    assert_eq!((row.activation, &row.owner), (Activation(2), host.owner()));
    assert_eq!(lease(&host, &hung).await.unwrap().owner, *host.owner(), "the lease tells who has taken it");
    let folder = stage.project.sessions().into_iter().find(|path| path.ends_with(session.as_str())).unwrap();
    let before = shape(&transcript(&folder));

    // It wakes up in the middle of its answer, and tells what it was about to tell.
    let refused = tell(2).await.unwrap_err();
    assert!(matches!(refused, EmitError::TakenOver { activation: Activation::FIRST, .. }), "{refused:?}");
    let told = drafts(&host).await;
    assert_eq!(told, [json!(1)], "what it told as long as it was the session's");
    gate.open();
    seen(&hangs, "night", "the end of its session", |status| status.active.is_empty()).await;
    assert_eq!(shape(&transcript(&folder)), before, "nothing of it is in the transcript");
    assert!(!before.contains("too late"), "{before}");
    let first = ActivationId::new(session.clone(), Activation::FIRST);
    let settled = host.store().settled(&first).await.unwrap().unwrap();
    assert_eq!(settled.outcome.kind, OutcomeKind::Lost);
    let row = host.store().session(&session).await.unwrap().unwrap();
    assert_eq!((row.activation, row.settled.unwrap().outcome.kind), (Activation(2), OutcomeKind::Completed));
    let metadata = amplifier_tests::project::metadata(&folder);
    assert_eq!(metadata["amplifier"]["activation"], json!(2), "nor in what describes the session");

    // Then it works as before, under a lease of its own.
    works.shutdown(amplifier_foundation::Shutdown::Now).await;
    hung_clock.advance(HEARTBEAT);
    fire_all(&hangs, "night", 2).await;
    runs(&host, "night", "three runs", all(RunState::Completed, 3)).await;
    assert_eq!(lease(&host, &hung).await.unwrap().owner, *hung.owner());
    conserved(&host, "night").await;
}

/// Between the commit that opens a session and its first message a process may be lost as at any other moment.
#[tokio::test]
async fn a_session_that_was_lost_before_it_was_told_anything_is_told_its_instruction() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("too late".into(), gate.clone()));
    let ((_, hung), (clock, host)) = (process(&stage).await, process(&stage).await);
    let (hangs, works) = (BackgroundSessionManager::new(&hung), BackgroundSessionManager::new(&host));
    let settings = || json!({"instruction_template": "Do {event_data}", "context": "You are a test."});
    hangs.start(config("night", settings())).await.unwrap();
    hangs.fire(&name("night"), json!("what is to be done")).await.unwrap();
    gate.reached(1).await;
    let status = seen(&hangs, "night", "a session", |status| status.active.len() == 1).await;
    let folder = stage.project.sessions().into_iter().find(|path| path.ends_with(status.active[0].as_str()));
    let folder = folder.unwrap();
    let told = shape(&transcript(&folder));
    assert!(told.contains("what is to be done"), "{told}");
    std::fs::write(folder.join("transcript.jsonl"), "").unwrap();

    works.work(config("night", settings())).await.unwrap();
    for _ in 0..5 {
        clock.pass(HEARTBEAT).await;
    }
    let rows = runs(&host, "night", "the run to go on", all(RunState::Completed, 1)).await;
    assert_eq!((rows[0].session.as_ref(), rows[0].attempt), (Some(&status.active[0]), 1));
    let now = shape(&transcript(&folder));
    assert!(now.starts_with(&told), "it is told what the lost one was told: {now}");
    gate.open();
    seen(&hangs, "night", "the end of its session", |status| status.active.is_empty()).await;
    assert_eq!(shape(&transcript(&folder)), now);
}

#[tokio::test]
async fn a_process_that_gives_its_sign_of_life_keeps_its_runs_with_one_write_for_all_of_them() {
    let stage = Stage::new();
    let gate = Gate::new();
    for _ in 0..3 {
        stage.brain.then(Step::Wait("done".into(), gate.clone()));
    }
    let ((slow_clock, slow), (clock, host)) = (process(&stage).await, process(&stage).await);
    let (works, looks) = (BackgroundSessionManager::new(&slow), BackgroundSessionManager::new(&host));
    works.start(config("night", json!({"pool_size": 3}))).await.unwrap();
    fire_all(&works, "night", 3).await;
    gate.reached(3).await;
    seen(&works, "night", "three sessions", |status| status.active.len() == 3).await;
    looks.work(config("night", json!({"pool_size": 3}))).await.unwrap();
    let epoch = lease(&host, &slow).await.unwrap().epoch;
    for _ in 0..9 {
        slow_clock.pass(HEARTBEAT).await;
        let renewed = async {
            while lease(&host, &slow).await.unwrap().left < Duration::from_secs(80) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("a sign of life", renewed).await;
        clock.pass(HEARTBEAT).await;
    }
    gate.open();
    runs(&host, "night", "three runs", all(RunState::Completed, 3)).await;
    assert_eq!(stage.brain.requests().len(), 3, "nothing was run twice");
    assert_eq!(lease(&host, &slow).await.unwrap().epoch, epoch);
}

#[tokio::test]
async fn a_run_is_not_begun_under_a_lease_that_was_lost() {
    use amplifier_foundation::store::Write;
    let stage = Stage::new();
    let (_, host) = process(&stage).await;
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({}))).await.unwrap();
    fire_all(&manager, "night", 1).await;
    runs(&host, "night", "a run", all(RunState::Completed, 1)).await;
    let held = lease(&host, &host).await.unwrap();
    let other = amplifier_foundation::store::OwnerId::new("other").unwrap();
    let ttl = Duration::from_secs(60);
    let take = Write::TakeLease { key: held.key.clone(), owner: other, ttl, over: Some(held.epoch) };
    let _ = host.store().commit(take.into()).await.unwrap();
    let stale = Write::RenewLease { key: held.key, epoch: held.epoch, ttl };
    assert!(matches!(host.store().commit(stale.into()).await, Err(StoreError::LeaseLost { .. })));
    fire_all(&manager, "night", 1).await;
    runs(&host, "night", "another run", all(RunState::Completed, 2)).await;
    let now = lease(&host, &host).await.unwrap();
    assert_eq!(now.owner, *host.owner());
    assert!(now.epoch > held.epoch, "it was taken anew first");
    assert_eq!(host.store().count_queued(&queue_of(&name("night"))).await.unwrap(), 0);
}
