//! Cron expressions, attacked with damaged texts.

use amplifier_fuzz::fuzz;

use super::{CronSchedule, Zone};

const EXPRESSIONS: &[&str] = &[
    "0 9 * * MON-FRI",
    "*/15 8-18/2 1,15 * *",
    "0 0 29 2 *",
    "0 0 LW * *",
    "30 2 * * *",
    "0 0 15W 1-12/3 *",
    "0 0 * * 5L",
    "0 0 * * MON#1",
    "@daily",
    "*/10 * * * * *",
    "59 59 23 31 12 *",
    "0 0 31 4,6,9,11 *",
    "0 0 29 2 MON#5",
];
const PARTS: &[&str] = &[
    "*",
    "/",
    ",",
    "-",
    "#",
    "L",
    "W",
    " ",
    "0",
    "7",
    "29",
    "31",
    "59",
    "FEB",
    "SUN",
    "@",
    "?",
    "\t",
    "99999999999",
    "é",
    "1-5",
    "*/",
];
const ZONES: &[&str] =
    &["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran"];

#[test]
fn cron_expressions() {
    fuzz!(|script| {
        let zone = Zone::named(script.one_of(ZONES)).unwrap();
        let seconds = script.coin();
        let from = jiff::Timestamp::from_second(script.number().rem_euclid(4_000_000_000)).unwrap();
        let text = script.text(EXPRESSIONS, PARTS);
        let Ok(mut schedule) = CronSchedule::parse(&text, seconds, zone.clone()) else { return };
        let again = CronSchedule::parse(schedule.as_str(), seconds, zone).unwrap();
        assert_eq!(again.as_str(), schedule.as_str(), "what was understood is understood again");
        let (mut before, second) = (from, jiff::Span::new().seconds(1));
        for _ in 0..5 {
            let next =
                schedule.after(before).unwrap_or_else(|| panic!("`{text}` never fires after {before}"));
            assert!(next > before, "`{text}`: {next} after {before}");
            // Nothing lies between: asked a moment before, it is the same firing.
            let close = next.checked_sub(second).unwrap().max(before);
            assert_eq!(schedule.after(close), Some(next), "`{text}` after {close}");
            before = next;
        }
    });
}
