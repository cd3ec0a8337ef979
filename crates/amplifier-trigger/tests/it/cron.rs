//! Cron over years and clock changes, against a model that looks at every minute.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{Clock, Timestamp};
use amplifier_trigger::timer::{CronSchedule, TimerConfig, When, Zone, rfc3339, simulate};
use amplifier_trigger::{Passed, SourceEnv, TriggerPolicy, TriggerRegistry, TriggerRow};

use futures_util::{FutureExt, StreamExt};
use serde_json::json;

use crate::kit::{TestClock, context, one};
use crate::model::Model;

fn timer(text: &str, zone: &str) -> TimerConfig {
    TimerConfig::new(When::Cron(CronSchedule::parse(text, false, Zone::named(zone).unwrap()).unwrap()))
}

fn simulated(text: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().unwrap(), to.parse().unwrap());
    let firings = simulate(&timer(text, zone), &TriggerPolicy::default(), from, Some(to));
    firings.map(|firing| rfc3339(firing.due)).collect()
}

/// Compares ten years of an expression with the model.
fn ten_years(zone: &str, expressions: &[&str]) {
    let (from, to) = ("2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z");
    for text in expressions {
        let expect = Model::new(text, zone).firings(from.parse().unwrap(), to.parse().unwrap());
        let expect: Vec<String> = expect.iter().map(ToString::to_string).collect();
        let found = simulated(text, zone, from, to);
        let wrong = found.iter().zip(&expect).find(|(found, expect)| found != expect);
        assert_eq!(wrong, None, "{zone} {text}");
        assert_eq!(found.len(), expect.len(), "{zone} {text}");
        assert!(found.len() > 1, "{zone} {text}: the expression says nothing");
    }
}

#[test]
fn ten_years_in_berlin() {
    ten_years("Europe/Berlin", &["30 2 * * *", "0 9 * * 1-5", "*/20 1-3 * * *", "0 0 29 2 *"]);
}

#[test]
fn ten_years_in_new_york() {
    ten_years("America/New_York", &["30 2 * * *", "30 1 * * *", "15,45 1 * * *", "0 12 L * *"]);
}

#[test]
fn ten_years_on_lord_howe_where_half_an_hour_is_changed() {
    ten_years("Australia/Lord_Howe", &["15 2 * * *", "45 1 * * *", "*/10 2 * * *", "0 * 1 4,10 *"]);
}

#[test]
fn ten_years_in_kolkata_where_nothing_changes() {
    ten_years("Asia/Kolkata", &["30 5 * * *", "0 0 13 * 5", "0 */6 31 * *"]);
}

#[test]
fn ten_years_in_casablanca_where_the_change_follows_the_moon() {
    ten_years("Africa/Casablanca", &["30 2 * * *", "10 3 * * *", "30 2,3 * * *"]);
}

/// Ten years of a manual clock that is looked at once an hour, as on a machine that often sleeps: nothing is
/// missed, nothing comes twice, and each firing comes within the hour.
#[tokio::test]
async fn ten_years_of_a_clock_that_jumps_by_hours_miss_nothing_and_fire_nothing_twice() {
    for (text, zone) in [
        ("30 2 * * *", "Europe/Berlin"),
        ("0,30 1 * * 0", "America/New_York"),
        ("15 2 * * *", "Australia/Lord_Howe"),
        ("30 5 * * *", "Asia/Kolkata"),
        ("30 2 29 2 *", "Africa/Casablanca"),
    ] {
        let (from, to): (Timestamp, Timestamp) =
            ("2026-01-01T00:00:00Z".parse().unwrap(), "2036-01-01T00:00:00Z".parse().unwrap());
        let expect = Model::new(text, zone)
            .firings("2026-01-01T00:00:00Z".parse().unwrap(), "2036-01-01T00:00:00Z".parse().unwrap());
        let config = one(json!({
            "type": "timer", "config": {"cron": text, "timezone": zone}, "misfire": "all", "max_age": "2h",
        }));
        let clock = TestClock::at("2026-01-01T00:00:00Z");
        let env = SourceEnv::new(".", Arc::new(clock.clone()), |_| None);
        let context = context(TriggerRow::first(&config, from), Arc::new(clock.clone()));
        let mut stream = TriggerRegistry::new().build(&config, &env).unwrap().source.watch(context);
        let mut found = Vec::new();
        while clock.now() < to {
            clock.pass(Duration::from_secs(3_600));
            while let Some(event) = stream.next().now_or_never() {
                let event = event.unwrap().unwrap();
                assert!(event.fired.saturating_since(event.due) <= Duration::from_secs(3_600), "{event:?}");
                assert_eq!(event.passed, Passed::default());
                found.push(event.due);
            }
            tokio::task::yield_now().await;
        }
        let found: Vec<String> = found.into_iter().filter(|due| *due < to).map(rfc3339).collect();
        let expect: Vec<String> = expect.iter().map(ToString::to_string).collect();
        assert_eq!(found, expect, "{zone} {text}");
        assert!(found.len() > 1, "{zone} {text}");
    }
}

#[test]
fn a_skipped_local_time_fires_right_after_the_gap_and_a_repeated_one_once() {
    let check = |text: &str, zone: &str, day: &str, expect: &[&str]| {
        let (from, to) = (format!("{day}T00:00:00Z"), format!("{day}T23:59:00Z"));
        assert_eq!(simulated(text, zone, &from, &to), expect, "{text} {zone} {day}");
    };
    check("30 2 * * *", "Europe/Berlin", "2026-03-29", &["2026-03-29T01:00:00Z"]);
    check("30 2 * * *", "Europe/Berlin", "2026-10-25", &["2026-10-25T00:30:00Z"]);
    // Real time counts.
    check("30 2-2 * * *", "Europe/Berlin", "2026-03-29", &[]);
    check("0,30 2 * * *", "Europe/Berlin", "2026-03-29", &[]);
    let both = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
    check(
        "30 */2 * * *",
        "Europe/Berlin",
        "2026-10-25",
        &[
            both[0],
            both[1],
            "2026-10-25T03:30:00Z",
            "2026-10-25T05:30:00Z",
            "2026-10-25T07:30:00Z",
            "2026-10-25T09:30:00Z",
            "2026-10-25T11:30:00Z",
            "2026-10-25T13:30:00Z",
            "2026-10-25T15:30:00Z",
            "2026-10-25T17:30:00Z",
            "2026-10-25T19:30:00Z",
            "2026-10-25T21:30:00Z",
            "2026-10-25T23:30:00Z",
        ],
    );
    check("30 2,4 * * *", "Europe/Berlin", "2026-10-25", &[both[0], both[1], "2026-10-25T03:30:00Z"]);
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-03", &["2026-10-03T15:30:00Z"]);
    check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04", &["2026-04-04T14:45:00Z"]);
    // A whole day that is skipped.
    check("0 12 30 12 *", "Pacific/Apia", "2011-12-30", &["2011-12-30T10:00:00Z"]);
}

#[test]
fn february_29_and_the_ends_of_months() {
    let check = |text: &str, from: &str, to: &str, expect: &[&str]| {
        assert_eq!(simulated(text, "UTC", from, to), expect, "{text}");
    };
    let (from, to) = ("2026-01-01T00:00:00Z", "2037-01-01T00:00:00Z");
    check("0 0 29 2 *", from, to, &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2036-02-29T00:00:00Z"]);
    check(
        "0 0 L 2 *",
        "2027-01-01T00:00:00Z",
        "2029-01-01T00:00:00Z",
        &["2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"],
    );
    check(
        "0 0 31 * *",
        from,
        "2026-06-01T00:00:00Z",
        &["2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
    );
    check("0 0 1W * *", "2026-07-31T00:00:00Z", "2026-09-01T00:00:00Z", &["2026-08-03T00:00:00Z"]);
    check("0 0 LW * *", "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z", &["2026-05-29T00:00:00Z"]);
    check("0 0 * * MON#1", from, "2026-02-10T00:00:00Z", &["2026-01-05T00:00:00Z", "2026-02-02T00:00:00Z"]);
    check("0 0 * * FRIL", from, "2026-02-01T00:00:00Z", &["2026-01-30T00:00:00Z"]);
    check(
        "0 0 13 * FRI",
        "2026-02-10T00:00:00Z",
        "2026-02-21T00:00:00Z",
        &["2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"],
    );
    check(
        "0 0 1 * 1",
        "2026-09-01T00:00:00Z",
        "2026-09-08T00:00:00Z",
        &["2026-09-01T00:00:00Z", "2026-09-07T00:00:00Z"],
    );
    // A step is given too: Mondays, and the 1st, 11th, 21st and 31st.
    check(
        "0 0 */10 * MON",
        "2026-08-21T00:00:00Z",
        "2026-09-02T00:00:00Z",
        &["2026-08-21T00:00:00Z", "2026-08-24T00:00:00Z", "2026-08-31T00:00:00Z", "2026-09-01T00:00:00Z"],
    );
}

#[test]
fn seconds_count_where_they_are_declared() {
    let cron = CronSchedule::parse("*/20 59 23 * * *", true, Zone::utc()).unwrap();
    let from = "2026-01-01T00:00:00Z".parse().unwrap();
    let firings = simulate(&TimerConfig::new(When::Cron(cron)), &TriggerPolicy::default(), from, None);
    let dues: Vec<String> = firings.take(4).map(|firing| rfc3339(firing.due)).collect();
    assert_eq!(
        dues,
        ["2026-01-01T23:59:00Z", "2026-01-01T23:59:20Z", "2026-01-01T23:59:40Z", "2026-01-02T23:59:00Z"]
    );
}

#[test]
fn a_simulation_takes_its_first_instant_in_and_leaves_its_last_out() {
    let hours = simulated("0 * * * *", "UTC", "2026-01-01T09:00:00Z", "2026-01-01T11:00:00Z");
    assert_eq!(hours, ["2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z"]);
}
