//! Timers as streams, under clocks that are set, and machines that sleep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{CancelLevel, CancelReason, Clock};
use amplifier_trigger::timer::rfc3339;
use amplifier_trigger::{Cause, Generation, TriggerConfig, TriggerRegistry, TriggerRow, TriggerStream};
use amplifier_trigger::{SourceEnv, TriggerEvent, TriggerSpec, simulate};
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::kit::{TestClock, all, before, context, dues, one};

const START: &str = "2026-03-01T00:00:00Z";

fn watch(config: &TriggerConfig, row: TriggerRow, clock: &TestClock) -> TriggerStream {
    let env = SourceEnv::new(".", Arc::new(clock.clone()), |_| None);
    let built = TriggerRegistry::new().build(config, &env).unwrap();
    built.source.watch(context(row, Arc::new(clock.clone())))
}

/// A timer that is seen for the first time now.
fn fresh(entry: Value, clock: &TestClock) -> TriggerStream {
    let config = one(entry);
    let row = TriggerRow::first(&config, clock.now());
    watch(&config, row, clock)
}

fn cron(text: &str, misfire: &str) -> Value {
    json!({"type": "timer", "config": {"cron": text}, "misfire": misfire})
}

fn ids(events: &[TriggerEvent]) -> BTreeSet<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

#[tokio::test]
async fn an_interval_keeps_its_phase_for_a_million_ticks() {
    let config = one(json!({"type": "timer", "config": {"interval_seconds": 7.3}}));
    let TriggerSpec::Timer(timer) = &config.spec else { panic!() };
    let from = START.parse().unwrap();
    let last = simulate(timer, &config.policy, from, None).nth(999_999).unwrap();
    assert_eq!(last.due, from.saturating_add(Duration::from_millis(7_300 * 1_000_000)));
    // Awaited, and by a consumer that is late each time.
    let clock = TestClock::at(START);
    let mut stream = fresh(json!({"type": "timer", "config": {"every": "30s"}}), &clock);
    for tick in 1..=1_000_u32 {
        let event = before(&mut stream, &clock, "2027-01-01T00:00:00Z".parse().unwrap()).await.unwrap();
        assert_eq!(event.due, from.saturating_add(Duration::from_secs(30) * tick));
        clock.pass(Duration::from_millis(1_234));
    }
}

#[tokio::test]
async fn an_id_follows_from_the_due_time_and_a_restart_goes_on() {
    let clock = TestClock::at(START);
    let config = one(json!({"type": "timer", "name": "report", "config": {"every": "1h"}}));
    let mut row = TriggerRow::first(&config, clock.now());
    let events = all(&mut watch(&config, row.clone(), &clock), &clock, "2026-03-01T02:30:00Z").await;
    assert_eq!(
        events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(),
        ["bg/report/1/2026-03-01T01:00:00Z", "bg/report/1/2026-03-01T02:00:00Z"]
    );
    assert!(events.iter().all(|event| event.cause == Cause::Schedule));
    row.advance(&events[0]);
    // The second was not committed before the crash: it comes again, under the same id.
    let again = all(&mut watch(&config, row.clone(), &clock), &clock, "2026-03-01T03:10:00Z").await;
    assert_eq!(dues(&again), ["2026-03-01T02:00:00Z", "2026-03-01T03:00:00Z"]);
    assert_eq!((again[0].id.clone(), &again[0].cause), (events[1].id.clone(), &Cause::Misfire));
    // Another configuration is another generation, with an anchor of its own.
    let changed = one(json!({"type": "timer", "name": "report", "config": {"every": "2h"}}));
    let next = TriggerRow::adopt(Some(row.clone()), &changed, clock.now());
    assert_eq!((next.generation, next.last_due, next.anchor), (Generation(2), None, clock.now()));
    let paused =
        json!({"type": "timer", "name": "report", "config": {"interval_seconds": 3600}, "enabled": false});
    assert_eq!(TriggerRow::adopt(Some(row.clone()), &one(paused), clock.now()), row);
}

#[tokio::test]
async fn immediate_fires_once_for_each_start_of_the_owner() {
    let clock = TestClock::at(START);
    let config = one(json!({"type": "timer", "config": {"every": "1h", "immediate": true}}));
    let row = TriggerRow::first(&config, clock.now());
    let mut first = watch(&config, row.clone(), &clock);
    let events = all(&mut first, &clock, "2026-03-01T01:00:30Z").await;
    assert_eq!(
        events.iter().map(|event| &event.cause).collect::<Vec<_>>(),
        [&Cause::Start, &Cause::Schedule]
    );
    // The source starts again within the same start: the same id.
    let again = all(&mut watch(&config, row, &clock), &clock, "2026-03-01T01:00:40Z").await;
    assert_eq!(again[0].id, events[0].id);
}

#[tokio::test]
async fn eight_hours_of_sleep_are_made_up_for_as_the_policy_says() {
    let sleep = |misfire: &'static str, extra: Value| async move {
        let clock = TestClock::at("2026-03-01T00:30:00Z");
        let mut entry = cron("0 * * * *", misfire);
        entry.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut stream = fresh(entry, &clock);
        let mut events = all(&mut stream, &clock, "2026-03-01T01:10:00Z").await;
        // The monotonic clock stands still meanwhile.
        clock.set_by(8 * 3_600);
        events.extend(all(&mut stream, &clock, "2026-03-01T11:10:00Z").await);
        events
    };
    let hour = |hour: u32| format!("2026-03-01T{hour:02}:00:00Z");
    let once = sleep("once", json!({})).await;
    assert_eq!(dues(&once), [hour(1), hour(9), hour(10), hour(11)]);
    assert_eq!((once[1].cause.clone(), once[1].passed.coalesced), (Cause::Misfire, 7));
    let late = once[1].fired.saturating_since("2026-03-01T09:10:00Z".parse().unwrap());
    assert!(late <= Duration::from_secs(61), "{late:?} after waking");
    let skip = sleep("skip", json!({})).await;
    assert_eq!(dues(&skip), [hour(1), hour(10), hour(11)]);
    assert_eq!((skip[1].cause.clone(), skip[1].passed.skipped), (Cause::Schedule, 8));
    let every = sleep("all", json!({})).await;
    assert_eq!(dues(&every), (1..=11).map(hour).collect::<Vec<_>>());
    let young = sleep("all", json!({"max_age": "3h"})).await;
    assert_eq!(dues(&young), [hour(1), hour(7), hour(8), hour(9), hour(10), hour(11)]);
    assert_eq!(young[1].passed.skipped, 5);
}

/// Lets a timer run while the wall is set by some seconds at noon; tells the due times.
async fn set_at_noon(misfire: &str, seconds: i64, until: &str) -> Vec<TriggerEvent> {
    let clock = TestClock::at("2026-03-05T00:10:00Z");
    let mut stream = fresh(cron("*/30 * * * *", misfire), &clock);
    let mut events = all(&mut stream, &clock, "2026-03-05T12:10:00Z").await;
    clock.set_by(seconds);
    events.extend(all(&mut stream, &clock, until).await);
    events
}

#[tokio::test]
async fn a_clock_that_is_set_back_fires_nothing_twice_and_misses_nothing() {
    for seconds in [-3_600, -86_400] {
        let events = set_at_noon("all", seconds, "2026-03-05T18:10:00Z").await;
        assert_eq!(ids(&events).len(), events.len(), "{seconds}: something fired twice");
        assert_eq!(events.len(), 36, "{seconds}: {:?}", dues(&events));
        assert_eq!(rfc3339(events[35].due), "2026-03-05T18:00:00Z");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forward_misses_nothing() {
    for (seconds, until, number) in
        [(3_600, "2026-03-05T18:10:00Z", 36), (86_400, "2026-03-06T18:10:00Z", 36 + 48)]
    {
        let events = set_at_noon("all", seconds, until).await;
        assert_eq!((ids(&events).len(), events.len()), (number, number), "{seconds}");
        let once = set_at_noon("once", seconds, until).await;
        let passed: u64 = once.iter().map(|event| event.passed.coalesced).sum();
        assert_eq!(once.len() as u64 + passed, number as u64, "{seconds}");
    }
}

#[tokio::test]
async fn a_clock_that_was_wrong_by_years_does_not_stop_a_timer() {
    let clock = TestClock::at("2026-03-05T00:10:00Z");
    let mut stream = fresh(cron("0 0 * * *", "once"), &clock);
    clock.set_by(10 * 365 * 86_400);
    let events = all(&mut stream, &clock, "2036-03-03T00:20:00Z").await;
    assert_eq!(dues(&events), ["2036-03-02T00:00:00Z", "2036-03-03T00:00:00Z"]);
    assert!(events[0].passed.coalesced > 3_600);
    clock.set_by(-10 * 365 * 86_400);
    let events = all(&mut stream, &clock, "2026-03-08T00:20:00Z").await;
    assert_eq!(dues(&events), ["2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z"]);
}

#[tokio::test]
async fn at_fires_once_also_after_a_restart_past_it() {
    let clock = TestClock::at(START);
    let entry = json!({"type": "timer", "config": {"at": "2026-03-29T02:30", "timezone": "Europe/Berlin"}});
    let config = one(entry);
    let mut row = TriggerRow::first(&config, clock.now());
    let mut stream = watch(&config, row.clone(), &clock);
    let events = all(&mut stream, &clock, "2026-04-01T00:00:00Z").await;
    assert_eq!(dues(&events), ["2026-03-29T01:00:00Z"]);
    // Not committed: made up for. Committed: over.
    assert_eq!(all(&mut watch(&config, row.clone(), &clock), &clock, "2026-04-02T00:00:00Z").await.len(), 1);
    row.advance(&events[0]);
    assert!(watch(&config, row, &clock).next().await.is_none());
    // Past before it was ever seen: over.
    clock.pass(Duration::from_secs(1));
    let late = TriggerRow::first(&config, clock.now());
    assert!(watch(&config, late, &clock).next().await.is_none());
}

#[tokio::test]
async fn an_end_a_pause_and_a_cancellation_end_the_stream() {
    let clock = TestClock::at(START);
    let entry = json!({"type": "timer", "config": {"every": "1h"}, "end_time": "2026-03-01T02:00"});
    let mut stream = fresh(entry, &clock);
    let events = all(&mut stream, &clock, "2026-03-02T00:00:00Z").await;
    assert_eq!(dues(&events), ["2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z"]);
    let paused = json!({"type": "timer", "config": {"every": "1h", "immediate": true}, "enabled": false});
    assert!(fresh(paused, &clock).next().await.is_none());
    let config = one(json!({"type": "timer", "config": {"every": "1h"}}));
    let context = context(TriggerRow::first(&config, clock.now()), Arc::new(clock.clone()));
    let cancel = context.cancel.clone();
    let env = SourceEnv::new(".", Arc::new(clock.clone()), |_| None);
    let mut stream = TriggerRegistry::new().build(&config, &env).unwrap().source.watch(context);
    assert!(stream.next().now_or_never().is_none());
    cancel.cancel(CancelLevel::Graceful, CancelReason::Shutdown);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn jitter_moves_firings_but_not_their_due_times() {
    let clock = TestClock::at(START);
    let entry = json!({"type": "timer", "config": {"cron": "0 * * * *"}, "jitter": "10m"});
    let mut events = all(&mut fresh(entry.clone(), &clock), &clock, "2026-03-02T00:00:00Z").await;
    assert_eq!(dues(&events), (0..24).map(|hour| format!("2026-03-01T{hour:02}:00:00Z")).collect::<Vec<_>>());
    let moved = |event: &TriggerEvent| event.fired.saturating_since(event.due);
    assert!(events.iter().all(|event| moved(event) < Duration::from_secs(600)));
    assert!(events.iter().any(|event| moved(event) > Duration::from_secs(60)));
    assert!(events.iter().all(|event| event.cause == Cause::Schedule));
    // The same firing, the same jitter.
    let clock = TestClock::at(START);
    let mut again = all(&mut fresh(entry, &clock), &clock, "2026-03-02T00:00:00Z").await;
    let times =
        |events: &mut Vec<TriggerEvent>| events.drain(..).map(|event| event.fired).collect::<Vec<_>>();
    assert_eq!(times(&mut events), times(&mut again));
}

#[tokio::test]
async fn jitter_longer_than_the_gap_keeps_order_and_loses_nothing() {
    let clock = TestClock::at(START);
    let entry = json!({"type": "timer", "config": {"cron": "*/5 * * * *"}, "jitter": "1h"});
    let events = all(&mut fresh(entry, &clock), &clock, "2026-03-01T06:00:00Z").await;
    assert!(events.iter().map(|event| event.due).is_sorted());
    let passed: u64 = events.iter().map(|event| event.passed.coalesced).sum();
    assert_eq!((events.len(), passed), (72, 0));
}

#[tokio::test]
async fn a_simulation_is_what_happens() {
    let entry = json!({
        "type": "timer", "config": {"cron": "*/7 3-5 * * *", "timezone": "America/New_York", "immediate": true}
    });
    let config = one(entry.clone());
    let TriggerSpec::Timer(timer) = &config.spec else { panic!() };
    let (from, to) = ("2026-03-06T00:00:00Z", "2026-03-12T00:00:00Z");
    let told: Vec<String> = simulate(timer, &config.policy, from.parse().unwrap(), Some(to.parse().unwrap()))
        .map(|firing| rfc3339(firing.due))
        .collect();
    let clock = TestClock::at(from);
    assert_eq!(dues(&all(&mut fresh(entry, &clock), &clock, to).await), told);
    assert!(told.len() > 100);
}
