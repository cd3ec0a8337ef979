//! Correct in time, through the manager: suspends, restarts, clocks that are set, zones, ends.

use std::collections::HashSet;
use std::time::Duration;

use amplifier_background::{BackgroundConfig, BackgroundSessionManager, TriggerState};
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use serde_json::{Value, json};

use super::world::{BOTH, Life, On, World, shown, with};
use super::{all, config, conserved, name, runs, seen};

fn timer(config: Value, more: Value) -> Value {
    json!({"triggers": [with(json!({"type": "timer", "name": "tick", "config": config}), more)]})
}

fn hourly(more: Value) -> Value {
    timer(json!({"cron": "0 * * * *"}), more)
}

fn hours(hours: impl IntoIterator<Item = u32>) -> Vec<String> {
    hours.into_iter().map(|hour| format!("2026-03-01T{hour:02}:00:00Z")).collect()
}

/// The misfire policies, and what they make of the hours 2 to 9 of which hour 10 is not one any more: the runs
/// of them, and how many were coalesced and skipped.
fn policies() -> [(Value, Vec<u32>, (u64, u64)); 5] {
    [
        (json!({}), vec![9], (7, 0)),
        (json!({"misfire": "once"}), vec![9], (7, 0)),
        (json!({"misfire": "skip"}), vec![], (0, 8)),
        (json!({"misfire": "all"}), (2..=9).collect(), (0, 0)),
        (json!({"misfire": "all", "max_age": "3h"}), vec![7, 8, 9], (0, 5)),
    ]
}

/// The hour before, what was missed, and the hour after.
async fn made_up_for(life: &Life, (policy, missed, (coalesced, skipped)): &(Value, Vec<u32>, (u64, u64))) {
    life.quiet().await;
    assert_eq!(life.dues().await, hours([1].into_iter().chain(missed.clone()).chain([10])), "{policy}");
    let counts = conserved(&life.host, "night").await;
    assert_eq!((counts.triggered, counts.coalesced, counts.skipped), (10, *coalesced, *skipped), "{policy}");
}

#[tokio::test]
async fn eight_hours_of_suspend_are_made_up_for_as_each_misfire_policy_says() {
    for on in BOTH {
        for case in policies() {
            let world = World::at(on, "2026-03-01T00:30:00Z");
            let life = world.life().await;
            life.start(hourly(case.0.clone())).await;
            world.pass(30 * 60);
            life.fired(1).await;
            world.pass(10 * 60);
            // The machine sleeps: the wall clock goes on alone. A minute after it has woken the timer looks.
            world.stage.clock.set_by(8 * 3_600);
            world.pass(60);
            if case.1.is_empty() {
                world.stage.clock.asleep_within(Duration::from_secs(60)).await;
            } else {
                life.fired(9).await;
            }
            world.pass(49 * 60);
            life.fired(10).await;
            made_up_for(&life, &case).await;
            life.end().await;
        }
    }
}

#[tokio::test]
async fn eight_hours_without_a_process_are_made_up_for_as_each_misfire_policy_says() {
    for on in BOTH {
        for case in policies() {
            let world = World::at(on, "2026-03-01T00:30:00Z");
            let life = world.life().await;
            life.start(hourly(case.0.clone())).await;
            world.pass(30 * 60);
            life.fired(1).await;
            life.quiet().await;
            world.pass(10 * 60);
            life.end().await;
            world.pass(8 * 3_600);
            let life = world.life().await;
            life.start(hourly(case.0.clone())).await;
            if !case.1.is_empty() {
                life.fired(8).await;
            }
            world.pass(50 * 60);
            life.fired(9).await;
            made_up_for(&life, &case).await;
            life.end().await;
        }
    }
}

#[tokio::test]
async fn what_all_makes_up_for_is_bounded_by_the_free_queue() {
    for on in BOTH {
        let world = World::at(on, "2026-03-01T00:30:00Z");
        let gate = Gate::new();
        world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        let life = world.life().await;
        life.start(with(hourly(json!({"misfire": "all"})), json!({"queue": {"capacity": 2}}))).await;
        world.pass(40 * 60);
        gate.reached(1).await;
        seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
        world.stage.clock.set_by(8 * 3_600);
        world.pass(60);
        life.triggered(9).await;
        gate.open();
        life.quiet().await;
        assert_eq!(life.dues().await, hours([1, 2, 3]), "the oldest first");
        let counts = conserved(&life.host, "night").await;
        assert_eq!((counts.triggered, counts.skipped), (9, 6), "what has no room is counted");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_fires_nothing_twice_and_misses_nothing() {
    for (on, seconds) in BOTH.into_iter().flat_map(|on| [3_600, -3_600, 86_400, -86_400].map(|by| (on, by))) {
        let world = World::at(on, "2026-03-05T00:10:00Z");
        let life = world.life().await;
        life.start(timer(json!({"cron": "*/30 * * * *"}), json!({"misfire": "all", "max_age": "2d"}))).await;
        for fired in 1..=6 {
            world.pass(1_800);
            life.fired(fired).await;
        }
        world.stage.clock.set_by(seconds);
        // To 06:10 of the day that it is without the set clock, or the same span later.
        let left = 3 * 3_600 + if seconds < 0 { seconds.unsigned_abs() } else { 0 };
        let forward = u64::try_from(seconds).unwrap_or(0) / 1_800;
        for step in 1..=left / 1_800 {
            world.pass(1_800);
            let settled = if seconds < 0 { seconds.unsigned_abs() / 1_800 } else { 0 };
            let fired = 6 + forward + step.saturating_sub(settled);
            life.fired(fired).await;
        }
        let rows = life.quiet().await;
        let ids: HashSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        assert_eq!((ids.len() as u64, rows.len() as u64), (12 + forward, 12 + forward), "{on:?} {seconds}");
        assert!(rows.iter().all(|row| row.state == RunState::Completed));
        assert_eq!(conserved(&life.host, "night").await.triggered, 12 + forward);
        life.end().await;
    }
}

#[tokio::test]
async fn a_run_that_waits_while_the_clock_is_set_back_does_not_wait_for_a_day() {
    for on in BOTH {
        let world = World::new(on);
        let gate = Gate::new();
        world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        let life = world.life().await;
        life.start(json!({})).await;
        life.manager.fire(&name("night"), json!(1)).await.unwrap();
        gate.reached(1).await;
        life.manager.fire(&name("night"), json!(2)).await.unwrap();
        world.stage.clock.set_by(-86_400);
        gate.open();
        runs(&life.host, "night", "both", all(RunState::Completed, 2)).await;
        conserved(&life.host, "night").await;
        life.end().await;
    }
}

#[tokio::test]
async fn a_timer_that_was_wrong_by_years_goes_on() {
    let world = World::at(On::Memory, "2026-03-05T00:10:00Z");
    let life = world.life().await;
    life.start(timer(json!({"cron": "0 0 * * *"}), json!({}))).await;
    world.stage.clock.set_by(10 * 365 * 86_400);
    world.pass(60);
    seen(&life.manager, "night", "the wrong years", |status| status.triggered > 3_600).await;
    let before = life.manager.status(&name("night")).unwrap().triggered;
    world.stage.clock.set_by(-10 * 365 * 86_400);
    world.pass(60);
    world.stage.clock.asleep_within(Duration::from_secs(60)).await;
    world.pass(86_400);
    life.fired(before + 1).await;
    life.quiet().await;
    assert_eq!(life.dues().await[1], "2026-03-06T00:00:00Z");
}

/// Fires over some hours, with a restart in the middle: exactly at these times.
async fn over(on: On, from: &str, hours: u32, config: Value, expect: &[&str]) {
    let world = World::at(on, from);
    let declared = || timer(config.clone(), json!({"misfire": "all"}));
    let due = |clock: &str| expect.iter().filter(|due| **due <= clock).count() as u64;
    let (mut life, mut before) = (world.life().await, 0);
    life.start(declared()).await;
    for hour in 0..hours {
        if hour == hours / 2 {
            life.end().await;
            life = world.life().await;
            before = due(&shown(&world.stage));
            life.start(declared()).await;
        }
        world.pass(3_600);
        life.fired(due(&shown(&world.stage)) - before).await;
    }
    assert_eq!(life.dues().await, expect, "{config}");
    life.end().await;
}

#[tokio::test]
async fn clock_changes_of_zones_fire_by_the_rule_also_with_a_restart_between() {
    let cron = |text: &str, zone: &str| json!({"cron": text, "timezone": zone});
    for on in BOTH {
        // A time that is skipped: right after the gap.
        let skipped = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        let berlin = cron("30 2 * * *", "Europe/Berlin");
        over(on, "2026-03-27T12:00:00Z", 72, berlin.clone(), &skipped).await;
        // A time that is repeated: the first one.
        let repeated = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        over(on, "2026-10-23T12:00:00Z", 72, berlin, &repeated).await;
        // With a list real time counts.
        let list =
            ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
        over(on, "2026-10-24T23:00:00Z", 4, cron("0,30 2 * * *", "Europe/Berlin"), &list).await;
        // Half an hour is skipped.
        let half = ["2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"];
        over(on, "2026-10-02T00:00:00Z", 72, cron("15 2 * * *", "Australia/Lord_Howe"), &half).await;
        // Nothing changes.
        let plain = ["2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z"];
        over(on, "2026-03-27T12:00:00Z", 48, cron("30 5 * * *", "Asia/Kolkata"), &plain).await;
    }
}

#[tokio::test]
async fn an_interval_keeps_its_phase_for_a_million_ticks() {
    for on in BOTH {
        let world = World::at(on, "2026-03-01T00:00:00Z");
        let life = world.life().await;
        life.start(timer(json!({"every": "700ms"}), json!({}))).await;
        world.stage.clock.advance(Duration::from_millis(700 * 999_999 + 350));
        life.fired(999_999).await;
        world.stage.clock.advance(Duration::from_millis(350));
        life.fired(1_000_000).await;
        life.quiet().await;
        assert_eq!(life.dues().await, ["2026-03-09T02:26:39.3Z", "2026-03-09T02:26:40Z"]);
        assert_eq!(conserved(&life.host, "night").await.coalesced, 999_998);
        life.end().await;
    }
}

#[tokio::test]
async fn february_29_and_the_ends_of_months() {
    for (text, from, days, expect) in [
        ("0 0 29 2 *", "2027-12-31T12:00:00Z", 60_u64, "2028-02-29T00:00:00Z"),
        ("0 0 L 2 *", "2027-01-31T12:00:00Z", 28, "2027-02-28T00:00:00Z"),
        ("0 0 31 * *", "2026-04-01T12:00:00Z", 60, "2026-05-31T00:00:00Z"),
    ] {
        let world = World::at(On::Memory, from);
        let life = world.life().await;
        life.start(timer(json!({ "cron": text }), json!({}))).await;
        world.pass(days * 86_400);
        life.fired(1).await;
        life.quiet().await;
        assert_eq!(life.dues().await, [expect], "{text}");
    }
}

#[tokio::test]
async fn an_end_time_ends_each_source_and_what_was_due_before_it_is_made_up_for() {
    let world = World::at(On::Memory, "2026-03-01T00:30:00Z");
    let life = world.life().await;
    let end = json!({"end_time": "2026-03-01T02:30", "misfire": "all"});
    let event = json!({"type": "session_event", "name": "log", "end_time": "2026-03-01T02:30Z", "config": {"event_names": ["work:new"]}});
    let Value::Array(mut triggers) = hourly(end)["triggers"].clone() else { panic!() };
    triggers.push(event);
    life.start(json!({ "triggers": triggers })).await;
    world.pass(5_400);
    life.fired(2).await;
    life.host.router().emit("work:new", json!(1)).await.unwrap();
    life.fired(3).await;
    world.pass(7_200);
    life.host.router().emit("work:new", json!(2)).await.unwrap();
    let ended = |status: &amplifier_background::BackgroundStatus| {
        status.triggers.values().all(|trigger| trigger.state == TriggerState::Ended)
    };
    seen(&life.manager, "night", "the end of both", ended).await;
    life.quiet().await;
    assert_eq!(conserved(&life.host, "night").await.triggered, 3);
}

#[tokio::test]
async fn jitter_moves_a_run_by_what_follows_from_its_id_and_leaves_its_due_time() {
    let world = World::at(On::Memory, "2026-03-01T00:00:00Z");
    let life = world.life().await;
    life.start(hourly(json!({"jitter": "10m"}))).await;
    for hour in 1..=12 {
        world.pass(3_600);
        // At the latest when the jitter is over.
        if hour == 12 {
            world.pass(600);
        }
    }
    seen(&life.manager, "night", "twelve hours", |status| status.triggered >= 12).await;
    life.quiet().await;
    // Any event: its run waits, and the span is the same for the same firing.
    let event = json!({"type": "session_event", "name": "log", "jitter": "1h", "config": {"event_names": ["work:new"]}});
    life.start_as("day", json!({"triggers": [event]})).await;
    for at in 0..20 {
        life.host.router().emit("work:new", json!(at)).await.unwrap();
    }
    let rows = runs(&life.host, "day", "twenty runs", |rows| rows.len() == 20).await;
    let waits: HashSet<_> = rows.iter().map(|row| row.ready_at.saturating_since(row.created)).collect();
    assert!(waits.len() > 10 && waits.iter().all(|wait| *wait < Duration::from_secs(3_600)), "{waits:?}");
    assert!(rows.iter().any(|row| row.state == RunState::Queued));
    world.pass(3_600);
    runs(&life.host, "day", "all of them", all(RunState::Completed, 20)).await;
    conserved(&life.host, "day").await;
}

#[tokio::test]
async fn immediate_fires_once_for_each_start_of_the_owner() {
    for on in BOTH {
        let world = World::at(on, "2026-03-01T00:30:00Z");
        let declared = || timer(json!({"cron": "0 * * * *", "immediate": true}), json!({}));
        let life = world.life().await;
        life.start(declared()).await;
        life.fired(1).await;
        // Stopped and started within the same process it is the same start.
        life.manager.stop(&name("night"), amplifier_foundation::Shutdown::Now).await.unwrap();
        life.start(declared()).await;
        world.pass(3_600);
        life.fired(1).await;
        life.quiet().await;
        life.end().await;
        let life = world.life().await;
        life.start(declared()).await;
        life.fired(1).await;
        life.quiet().await;
        let dues = life.dues().await;
        assert_eq!((dues.len(), dues[1].as_str()), (3, "2026-03-01T01:00:00Z"), "{dues:?}");
        assert!(dues[0].starts_with("start-") && dues[2].starts_with("start-") && dues[0] != dues[2]);
        life.end().await;
    }
}

#[tokio::test]
async fn a_changed_configuration_is_a_new_generation_that_counts_from_now() {
    for on in BOTH {
        let world = World::at(on, "2026-03-01T00:30:00Z");
        let life = world.life().await;
        life.start(timer(json!({"every": "1h"}), json!({}))).await;
        world.pass(3_600);
        life.fired(1).await;
        life.quiet().await;
        life.end().await;
        world.pass(5 * 3_600);
        let life = world.life().await;
        // Nothing is made up for by another schedule; the policies are not the schedule.
        life.start(timer(json!({"every": "2h"}), json!({"misfire": "all"}))).await;
        world.pass(7_200);
        life.fired(1).await;
        life.quiet().await;
        life.end().await;
        let life = world.life().await;
        life.start(timer(json!({"every": "2h"}), json!({"misfire": "skip"}))).await;
        world.pass(7_200);
        life.fired(1).await;
        let ids: Vec<String> = life.quiet().await.iter().map(|row| row.id.to_string()).collect();
        assert_eq!(
            ids,
            [
                "night:tick:1:2026-03-01T01:30:00Z",
                "night:tick:2:2026-03-01T08:30:00Z",
                "night:tick:2:2026-03-01T10:30:00Z"
            ]
        );
        life.end().await;
    }
}

#[tokio::test]
async fn an_unknown_zone_is_an_error_at_start_and_starts_nothing() {
    let fault = |entry: Value| {
        let map = json!({"name": "night", "bundle": "plain", "triggers": [entry]});
        BackgroundConfig::parse(&map, &amplifier_background::trigger::TriggerRegistry::new())
            .unwrap_err()
            .to_string()
    };
    for entry in [
        json!({"type": "timer", "config": {"cron": "0 9 * * *", "timezone": "Europe/Atlantis"}}),
        json!({"type": "timer", "timezone": "Europe/Atlantis", "config": {"at": "2026-03-29T03:00"}}),
        json!({"type": "manual", "timezone": "Europe/Atlantis", "end_time": "2026-03-29T03:00"}),
    ] {
        let told = fault(entry);
        assert!(told.contains("triggers[0]") && told.contains("timezone"), "{told}");
        assert!(told.contains("`Europe/Atlantis` is no time zone; write an IANA name"), "{told}");
    }
    let stage = amplifier_tests::stage::Stage::new();
    let manager = BackgroundSessionManager::new(&stage.host_in_memory());
    assert!(manager.statuses().is_empty());
    manager.start(config("night", json!({}))).await.unwrap();
}
