//! Triggers over the event log: what fires them, what was missed, what comes in masses, what goes in circles.

use std::time::Duration;

use amplifier_background::trigger::BackgroundName;
use amplifier_background::{BackgroundConfig, BackgroundStatus};
use amplifier_core::EventId;
use amplifier_foundation::Host;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use serde_json::{Value, json};

use super::world::{BOTH, Life, On, World, lapse, with};
use super::{all, conserved, name, runs, seen};

fn on(events: Value, more: Value) -> Value {
    with(json!({"type": "session_event", "name": "log", "config": {"event_names": events}}), more)
}

fn declared(events: Value, more: Value) -> Value {
    json!({"triggers": [on(events, more)]})
}

async fn emit(host: &Host, event: &str, data: Value) -> EventId {
    host.router().emit(event, data).await.unwrap()
}

/// What `night` was told, run by run.
async fn told(life: &Life) -> Vec<Value> {
    life.firings().await.iter().map(|firing| firing["payload"].clone()).collect()
}

#[tokio::test]
async fn patterns_sources_and_data_choose() {
    for place in BOTH {
        let world = World::new(place);
        let life = world.life().await;
        let config = json!({
            "event_names": ["session_completed", "work:*"], "source_sessions": ["bg-scout"],
            "match": {"data.bundle": "plain"},
        });
        life.start(json!({"triggers": [{"type": "session_event", "config": config}]})).await;
        life.start_as("scout", json!({})).await;
        life.start_as("other", json!({})).await;
        // A custom event of nobody, a session of somebody else: neither fires it.
        emit(&life.host, "work:new", json!({"bundle": "plain"})).await;
        life.manager.fire(&name("other"), json!(1)).await.unwrap();
        runs(&life.host, "other", "a run", all(RunState::Completed, 1)).await;
        life.manager.fire(&name("scout"), json!(1)).await.unwrap();
        life.fired(1).await;
        let firing = &life.firings().await[0];
        assert_eq!(firing["event_name"], "session_completed");
        assert_eq!(firing["payload"]["name"], "bg-scout");
        assert!(firing["source"].as_str().unwrap().starts_with("bg-scout-"), "{firing}");
        conserved(&life.host, "scout").await;
        life.end().await;
    }
}

#[tokio::test]
async fn a_name_that_no_event_can_have_is_an_error_at_start() {
    let world = World::new(On::Memory);
    let life = world.life().await;
    let error = life.manager.start(super::config("night", declared(json!(["session:finished"]), json!({}))));
    let told = amplifier_core::causes::chain(&error.await.unwrap_err());
    assert!(told.contains("session:finished") && life.manager.statuses().is_empty(), "{told}");
}

/// Starts, misses three events while no process runs, and hears one more; what the runs were told.
async fn missed(place: On, policies: Value) -> (Vec<Value>, amplifier_background::Counts) {
    let world = World::new(place);
    let declared = || declared(json!(["work:*"]), policies.clone());
    let life = world.life().await;
    life.start(declared()).await;
    emit(&life.host, "work:new", json!(0)).await;
    life.fired(1).await;
    life.manager.stop(&name("night"), amplifier_foundation::Shutdown::Now).await.unwrap();
    for at in 1..=3 {
        emit(&life.host, "work:new", json!(at)).await;
        emit(&life.host, "other:new", json!(at)).await;
        world.pass(3_600);
    }
    life.end().await;
    let life = world.life().await;
    life.start(declared()).await;
    emit(&life.host, "work:new", json!(4)).await;
    let last = |rows: &[amplifier_foundation::store::RunRow]| {
        rows.iter().any(|row| {
            let payload: Value = row.payload.decode().unwrap();
            payload["event"]["payload"] == json!(4) && row.state == RunState::Completed
        })
    };
    runs(&life.host, "night", "the last one", last).await;
    life.quiet().await;
    let (found, counts) = (told(&life).await, conserved(&life.host, "night").await);
    life.end().await;
    (found, counts)
}

#[tokio::test]
async fn what_was_recorded_while_nobody_looked_follows_the_misfire_policy() {
    for place in BOTH {
        for (policies, expect, coalesced, skipped) in [
            (json!({}), json!([0, 1, 2, 3, 4]), 0, 0),
            (json!({"misfire": "all"}), json!([0, 1, 2, 3, 4]), 0, 0),
            (json!({"misfire": "once"}), json!([0, 3, 4]), 2, 0),
            (json!({"misfire": "skip"}), json!([0, 4]), 0, 3),
            (json!({"max_age": "90m"}), json!([0, 3, 4]), 0, 2),
            (json!({"misfire": "once", "max_age": "10m"}), json!([0, 4]), 2, 1),
        ] {
            let (found, counts) = missed(place, policies.clone()).await;
            assert_eq!(json!(found), expect, "{policies}");
            let found = (counts.triggered, counts.coalesced, counts.skipped);
            assert_eq!(found, (5, coalesced, skipped), "{policies}");
        }
    }
}

#[tokio::test]
async fn a_changed_trigger_hears_what_comes_from_now_on() {
    for place in BOTH {
        let world = World::new(place);
        let life = world.life().await;
        life.start(declared(json!(["work:new"]), json!({}))).await;
        emit(&life.host, "work:new", json!(0)).await;
        life.fired(1).await;
        life.end().await;
        let life = world.life().await;
        emit(&life.host, "work:old", json!(1)).await;
        life.start(declared(json!(["work:old"]), json!({}))).await;
        emit(&life.host, "work:old", json!(2)).await;
        life.fired(1).await;
        assert_eq!(told(&life).await, [json!(0), json!(2)]);
        let ids: Vec<String> = life.quiet().await.iter().map(|row| row.id.to_string()).collect();
        assert!(ids[0].starts_with("night:log:1:") && ids[1].starts_with("night:log:2:"), "{ids:?}");
        life.end().await;
    }
}

#[tokio::test]
async fn a_full_queue_keeps_the_cursor_where_it_is_also_over_a_restart() {
    for place in BOTH {
        let world = World::new(place);
        let gate = Gate::new();
        world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        let declared = || with(declared(json!(["work:*"]), json!({})), json!({"queue": {"capacity": 2}}));
        let life = world.life().await;
        life.start(declared()).await;
        emit(&life.host, "work:new", json!(0)).await;
        gate.reached(1).await;
        seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
        for at in 1..10 {
            emit(&life.host, "work:new", json!(at)).await;
        }
        life.triggered(3).await;
        gate.open();
        life.end().await;
        let life = world.life().await;
        life.start(declared()).await;
        let done = runs(&life.host, "night", "all of them", |rows| {
            rows.len() == 10 && rows.iter().all(|row| row.state.is_final())
        });
        lapse(&world.stage, Duration::from_millis(500), done).await;
        assert_eq!(
            json!(told(&life).await),
            json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            "in the order of the log"
        );
        assert_eq!(conserved(&life.host, "night").await.triggered, 10);
        life.end().await;
    }
}

#[tokio::test]
async fn a_loop_of_two_stops_at_the_limit_of_hops_and_an_event_says_so() {
    for place in BOTH {
        let world = World::new(place);
        let life = world.life().await;
        let mut violations = life.host.router().subscribe("policy:violation").unwrap().events();
        let answers = |event: &str, more: &str| {
            with(declared(json!([event]), json!({})), json!({"on_complete_emit": more}))
        };
        life.start_as("ping", answers("work:ping", "work:pong")).await;
        life.start_as("pong", answers("work:pong", "work:ping")).await;
        let first = emit(&life.host, "work:ping", Value::Null).await;
        let event = soon("the end of the chain", violations.next()).await.unwrap().unwrap();
        let said: Value = event.payload.decode().unwrap();
        assert_eq!((&said["policy"], &said["limit"]), (&json!("max_hops"), &json!(16)));
        assert_eq!(event.correlation, Some(first), "it names the chain");
        let mut total = 0;
        for of in ["ping", "pong"] {
            seen(&life.manager, of, "an end", |status| status.active.is_empty()).await;
            total += conserved(&life.host, of).await.rows();
        }
        assert!((6..=17).contains(&total), "{total}");
        // The world goes on: another chain begins anew.
        emit(&life.host, "work:ping", Value::Null).await;
        soon("the end of another chain", violations.next()).await.unwrap().unwrap();
        life.end().await;
    }
}

#[tokio::test]
async fn it_reacts_to_its_own_runs_only_where_it_says_so_and_then_up_to_the_limit() {
    for place in BOTH {
        let world = World::new(place);
        let life = world.life().await;
        let emits = json!({"on_complete_emit": "work:done"});
        life.start_as(
            "deaf",
            with(declared(json!(["work:*", "session_completed"]), json!({})), emits.clone()),
        )
        .await;
        let config = json!({"event_names": ["echo:*"], "own_events": true});
        let vain =
            json!({"triggers": [{"type": "session_event", "config": config}], "on_complete_emit": "echo:me"});
        let mut violations = life.host.router().subscribe("policy:violation").unwrap().events();
        life.start_as("vain", vain).await;
        emit(&life.host, "echo:me", Value::Null).await;
        soon("the end of the chain", violations.next()).await.unwrap().unwrap();
        seen(&life.manager, "vain", "an end", |status| status.active.is_empty()).await;
        let own = conserved(&life.host, "vain").await;
        assert!((3..=17).contains(&own.rows()), "{own:?}");
        // `deaf` has heard each end of a session of `vain`, and none of its own.
        let expect = own.rows();
        let heard = |status: &BackgroundStatus| status.triggered == expect && status.active.is_empty();
        seen(&life.manager, "deaf", "the ends of the others", heard).await;
        runs(&life.host, "deaf", "its runs", |rows| rows.iter().all(|row| row.state.is_final())).await;
        emit(&life.host, "work:new", json!(1)).await;
        seen(&life.manager, "deaf", "one more", |status| status.triggered == expect + 1).await;
        runs(&life.host, "deaf", "its runs", |rows| rows.iter().all(|row| row.state.is_final())).await;
        assert_eq!(conserved(&life.host, "deaf").await.triggered, expect + 1);
        life.end().await;
    }
}

/// Emits so many events as fast as it goes, from several tasks.
async fn storm(host: &Host, number: u64) {
    let emitters: Vec<_> = (0..20)
        .map(|task| {
            let router = host.router().clone();
            tokio::spawn(async move {
                for at in 0..number / 20 {
                    router.emit("work:new", json!({"task": task, "at": at})).await.unwrap();
                }
            })
        })
        .collect();
    for emitter in emitters {
        emitter.await.unwrap();
    }
}

fn busy(more: Value) -> BackgroundConfig {
    let base = json!({
        "name": "night", "bundle": "plain", "instruction_template": "work", "pool_size": 32,
        "triggers": [{"type": "session_event", "config": {"event_names": ["work:new"]}}],
    });
    BackgroundConfig::parse(&with(base, more), &amplifier_background::trigger::TriggerRegistry::new())
        .unwrap()
}

/// Waits, in large steps, until that many firings are counted.
async fn counted(life: &Life, number: u64) {
    let night = BackgroundName::new("night").unwrap();
    while life.manager.counts(&night).await.unwrap().triggered < number {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each of so many events becomes a run, or a number that says why not.
async fn all_count(place: On, number: u64, more: Value) -> amplifier_background::Counts {
    let world = World::new(place);
    let life = world.life().await;
    life.manager.start(busy(more)).await.unwrap();
    storm(&life.host, number).await;
    let patience = Duration::from_secs(240);
    tokio::time::timeout(patience, lapse(&world.stage, Duration::from_millis(200), counted(&life, number)))
        .await
        .expect("all events are taken in");
    let counts = conserved(&life.host, "night").await;
    assert_eq!(counts.triggered, number);
    life.end().await;
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_at_once_all_become_runs() {
    let more = json!({"queue": {"capacity": 20_000}, "pool_size": 1});
    assert_eq!(all_count(On::Memory, 10_000, more).await.rows(), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_at_once_are_all_counted_in_files() {
    let trigger =
        json!({"type": "session_event", "overlap": "skip", "config": {"event_names": ["work:new"]}});
    let some = all_count(On::Disk, 1_000, json!({"triggers": [trigger], "pool_size": 1})).await;
    assert!(some.rows() >= 1 && some.skipped + some.rows() == 1_000, "{some:?}");
}
