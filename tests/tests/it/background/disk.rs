//! Faults below: a full disk, a store that cannot say, a database that somebody else has locked, a bundle that
//! disappears. Nothing is lost, nothing runs twice, and no run stays without an end.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::trigger::{TriggerHandle, TriggerKey};
use amplifier_background::{BackgroundError, BackgroundStatus};
use amplifier_core::Clock;
use amplifier_foundation::host::RandomIds;
use amplifier_foundation::store::{MemoryStore, RunState, SqliteOptions, SqliteStore, Store};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::Step;
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::world::{Life, On, World, hook, lapse, with};
use super::{all, config, conserved, name, rows, runs, seen};

const STEP: Duration = Duration::from_millis(250);

/// A world whose store fails when it is told to.
pub(super) fn faulty() -> (World, FaultyStore) {
    let stage = Stage::new();
    let memory: Arc<dyn Store> =
        Arc::new(MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7)));
    let store = FaultyStore::new(memory, When::Never, StoreFault::Error);
    (World::over(Arc::new(store.clone()), stage), store)
}

fn each_source() -> Value {
    json!({
        "triggers": [
            {"type": "timer", "name": "tick", "config": {"every": "1h"}},
            {"type": "session_event", "name": "log", "config": {"event_names": ["work:new"]}},
            {"type": "manual", "name": "button"},
            hook(json!({})),
        ],
        "pool_size": 8,
    })
}

/// One firing of each source while commits fail in this way; what they became once they do not.
async fn one_of_each(fault: StoreFault) -> (Life, World) {
    let (world, store) = faulty();
    let life = world.life().await;
    life.start(each_source()).await;
    store.set(When::Method("other"), fault.clone());
    world.pass(3_600);
    life.host.router().emit("work:new", json!(1)).await.unwrap();
    let mut handles = life.manager.handles(&name("night")).unwrap();
    let Some(TriggerHandle::Manual(button)) = handles.remove(&TriggerKey::named("button").unwrap()) else {
        panic!()
    };
    let call = tokio::spawn(async move { button.fire_once("key", json!(2)).await });
    let by_hand = life.manager.fire(&name("night"), json!(3)).await.unwrap_err();
    assert!(matches!(by_hand, BackgroundError::Store(_)), "{by_hand}");
    let told = |status: &BackgroundStatus| {
        status.triggers.values().filter(|trigger| trigger.error.is_some()).count() == 3
    };
    seen(&life.manager, "night", "three triggers that cannot go on", told).await;
    store.set(When::Never, StoreFault::Error);
    let called = soon("the answer", lapse(&world.stage, STEP, call)).await.unwrap();
    called.unwrap();
    let expected = if matches!(fault, StoreFault::InDoubt) { 4 } else { 3 };
    let done = runs(&life.host, "night", "all of them", all(RunState::Completed, expected));
    lapse(&world.stage, STEP, done).await;
    assert_eq!(life.deliver("a", &json!({})).await.status, 202);
    runs(&life.host, "night", "one more", all(RunState::Completed, expected + 1)).await;
    (life, world)
}

#[tokio::test]
async fn a_full_disk_delays_each_source_and_loses_nothing() {
    let (life, _world) = one_of_each(StoreFault::Error).await;
    assert_eq!(conserved(&life.host, "night").await.triggered, 4);
    life.end().await;
}

#[tokio::test]
async fn a_store_that_cannot_say_whether_it_committed_makes_nothing_twice() {
    let (life, world) = one_of_each(StoreFault::InDoubt).await;
    assert_eq!(conserved(&life.host, "night").await.triggered, 5, "what was fired by hand is there, too");
    assert_eq!(world.stage.brain.requests().len(), 5);
    life.end().await;
}

#[tokio::test]
async fn a_store_that_takes_no_session_costs_no_attempt() {
    let (world, store) = faulty();
    let life = world.life().await;
    life.start(json!({"queue": {"attempts": 1}})).await;
    store.set(When::Method("open"), StoreFault::Error);
    life.manager.fire(&name("night"), json!(1)).await.unwrap();
    let told =
        |status: &BackgroundStatus| status.error.as_deref().is_some_and(|error| error.contains("store"));
    seen(&life.manager, "night", "the error", told).await;
    let tries = async {
        while store.commits().iter().filter(|commit| **commit == "open").count() < 4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("four tries", lapse(&world.stage, STEP, tries)).await;
    store.set(When::Never, StoreFault::Error);
    let done = runs(&life.host, "night", "the run", all(RunState::Completed, 1));
    let rows = lapse(&world.stage, STEP, done).await;
    assert_eq!(rows[0].attempt, 1);
    conserved(&life.host, "night").await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_seconds_of_a_locked_database_delay_what_fires_and_what_ends() {
    let stage = Stage::new();
    let path = stage.project.around().join("amplifier.db");
    let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
    let mut options = SqliteOptions::new(&path, clock, Arc::new(RandomIds::new()));
    options.patience = Duration::from_millis(20);
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let world = World::over(Arc::new(SqliteStore::open(options).unwrap()), stage);
    let life = world.life().await;
    let mut told = life.host.router().subscribe("background:spawn:completed").unwrap().events();
    life.start(with(each_source(), json!({"pool_size": 1}))).await;
    life.manager.fire(&name("night"), json!("before")).await.unwrap();
    gate.reached(1).await;
    seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
    // Somebody else writes, for ten seconds.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.pass(3_600);
    let busy = |status: &BackgroundStatus| {
        status
            .triggers
            .values()
            .any(|trigger| trigger.error.as_deref().is_some_and(|error| error.contains("busy")))
    };
    seen(&life.manager, "night", "a timer that waits", busy).await;
    // A session ends meanwhile.
    gate.open();
    seen(&life.manager, "night", "its end", |status| status.active.is_empty()).await;
    for _ in 0..10 {
        world.pass(1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rows(&life.host, "night").await.len(), 1, "nothing is there that is not durable");
    other.execute_batch("ROLLBACK").unwrap();
    let done = runs(&life.host, "night", "both", all(RunState::Completed, 2));
    lapse(&world.stage, STEP, done).await;
    for data in [json!("before"), json!("2026-01-01T01:00:00Z")] {
        let said: Value = soon("an end", told.next()).await.unwrap().unwrap().payload.decode().unwrap();
        assert!(said["trigger_data"] == data || said["trigger_data"]["due"] == data, "{said}");
    }
    for row in rows(&life.host, "night").await {
        let session = life.host.store().session(&row.session.unwrap()).await.unwrap().unwrap();
        assert!(session.settled.is_some(), "no row stays without an outcome");
    }
    assert_eq!(conserved(&life.host, "night").await.triggered, 2);
    assert_eq!(world.stage.brain.requests().len(), 2, "nothing runs twice");
    life.end().await;
}

#[tokio::test]
async fn a_bundle_that_disappears_ends_its_runs_with_the_reason_and_one_that_returns_is_used() {
    let world = World::new(On::Disk);
    let text = BundleText::new("brief").to_string();
    let path = world.stage.project.bundle("brief", &text);
    let life = world.life().await;
    let mut told = life.host.router().subscribe("work:failed").unwrap().events();
    let more = json!({"bundle": "brief", "on_error_emit": "work:failed"});
    life.manager.start(config("night", more)).await.unwrap();
    life.start_as("day", json!({})).await;
    std::fs::remove_file(&path).unwrap();
    life.manager.fire(&name("night"), json!(1)).await.unwrap();
    let dead = runs(&life.host, "night", "an end", all(RunState::Dead, 1));
    let rows = lapse(&world.stage, STEP, dead).await;
    let reason = rows[0].reason.clone().unwrap();
    assert!(reason.contains("brief"), "{reason}");
    let said: Value = soon("what is told", told.next()).await.unwrap().unwrap().payload.decode().unwrap();
    assert_eq!(
        (&said["success"], &said["will_retry"], &said["spawned_session_id"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    assert!(life.manager.status(&name("night")).unwrap().error.unwrap().contains("brief"));
    // Others go on; and one that returns in time is used.
    life.manager.fire(&name("day"), json!(1)).await.unwrap();
    runs(&life.host, "day", "a run", all(RunState::Completed, 1)).await;
    life.manager.fire(&name("night"), json!(2)).await.unwrap();
    let waits = |rows: &[amplifier_foundation::store::RunRow]| rows[1].reason.is_some();
    runs(&life.host, "night", "a failed start", waits).await;
    std::fs::write(&path, &text).unwrap();
    let done = runs(&life.host, "night", "its run", |rows| rows[1].state == RunState::Completed);
    lapse(&world.stage, STEP, done).await;
    conserved(&life.host, "night").await;
    life.end().await;
}
