//! `amplifier trigger simulate`.

use crate::kit::Place;

const FROM: &str = "2026-03-28T00:00:00Z";

fn simulate(args: &[&str]) -> String {
    let done = Place::new().run(&[&["trigger", "simulate"], args].concat()).ok();
    assert_eq!(done.stderr, "");
    done.stdout.clone()
}

#[test]
fn the_firings_between_two_times_are_told() {
    let cron = ["--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", FROM];
    let json = simulate(&[&cron[..], &["--count", "3", "--json"]].concat());
    // The second night has no 02:30.
    let expect = "{\"due\":\"2026-03-28T01:30:00Z\"}\n{\"due\":\"2026-03-29T01:00:00Z\"}\n{\"due\":\"2026-03-30T00:30:00Z\"}\n";
    assert_eq!(json, expect);
    let text = simulate(&[&cron[..], &["--to", "2026-03-29T12:00"]].concat());
    let expect = "2026-03-28T02:30:00+01:00[Europe/Berlin]\n2026-03-29T03:00:00+02:00[Europe/Berlin]\n";
    assert_eq!(text, expect);
    let every = simulate(&["--every", "90m", "--from", FROM, "--to", "2026-03-28T04:30:00Z", "--json"]);
    assert_eq!(every, "{\"due\":\"2026-03-28T01:30:00Z\"}\n{\"due\":\"2026-03-28T03:00:00Z\"}\n");
    let many = simulate(&["--cron", "* * * * *", "--from", FROM, "--count", "20000", "--json"]);
    assert_eq!(many.lines().count(), 20_000);
}

#[test]
fn a_file_s_timers_are_told_together() {
    let place = Place::new();
    place.write(
        "background.yaml",
        "background_sessions:\n  - name: nightly\n    triggers:\n      - {type: timer, name: report, config: {cron: 0 3 * * *}}\n      - {type: manual}\n  - name: watch\n    triggers:\n      - {type: timer, name: tick, config: {every: 2h}, enabled: yes}\n      - {type: timer, name: off, config: {every: 1m}, enabled: false}\n",
    );
    let args =
        ["trigger", "simulate", "--config", "background.yaml", "--from", FROM, "--to", "2026-03-28T05:00Z"];
    let done = place.run(&args).ok();
    let expect = "2026-03-28T02:00:00Z  watch/tick\n2026-03-28T03:00:00Z  nightly/report\n2026-03-28T04:00:00Z  watch/tick\n";
    assert_eq!(done.stdout, expect);
    let json = place.run(&[&args[..], &["--json"]].concat()).ok();
    assert!(json.stdout.starts_with("{\"due\":\"2026-03-28T02:00:00Z\",\"trigger\":\"watch/tick\"}\n"));
    place.write("bad.yaml", "\ntriggers:\n  - {type: timer, config: {cron: 61 * * * *, timezone: Mars}}\n");
    let bad = place.run(&["trigger", "simulate", "--config", "bad.yaml", "--from", FROM, "--count", "1"]);
    let parts =
        ["bad.yaml:3: triggers[0].config.cron: the minute `61`", "config.timezone: `Mars` is no time zone"];
    assert_eq!(bad.code(2).says(&parts).stdout, "");
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let place = Place::new();
    place.write("empty.yaml", "triggers:\n  - type: manual\n");
    let check = |args: &[&str], part: &str| {
        let done = place.run(&[&["trigger", "simulate"], args].concat()).code(2).says(&[part]);
        assert_eq!(done.stdout, "", "{args:?}");
    };
    check(&["--cron", "* * *", "--from", FROM, "--count", "1"], "it has 3 fields; write minute");
    check(&["--cron", "0 0 30 2 *", "--from", FROM, "--count", "1"], "no day ever matches");
    check(&["--cron", "@daily", "--timezone", "Mars", "--from", FROM, "--count", "1"], "is no time zone");
    check(&["--every", "5", "--from", FROM, "--count", "1"], "`5` is no duration");
    check(&["--every", "1ms", "--from", FROM, "--count", "1"], "too short");
    check(&["--every", "5m", "--from", "yesterday", "--count", "1"], "--from: `yesterday` is no time");
    check(&["--every", "5m", "--from", FROM, "--to", "2025-01-01T00:00Z"], "--to is before --from");
    check(&["--every", "5m", "--from", FROM], "--to");
    check(&["--every", "5m", "--cron", "@daily", "--from", FROM, "--count", "1"], "cannot be used with");
    check(&["--from", FROM, "--count", "1"], "--cron");
    check(&["--config", "empty.yaml", "--from", FROM, "--count", "1"], "there is no timer in this file");
    check(&["--config", "none.yaml", "--from", FROM, "--count", "1"], "does not exist");
}
