//! A cron of its own, as plain as can be: it looks at every minute. Shares no code with what it checks.
//!
//! The rule: with one minute and one hour a local time that is skipped fires once right after the gap, and
//! one that is repeated fires the first time; with anything else each minute whose local time matches fires.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A field: the numbers that match, and whether it was `*`.
struct Field {
    values: BTreeSet<i64>,
    star: bool,
}

fn field(text: &str, low: i64, high: i64) -> Field {
    let mut values = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) =
            part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        values.extend((from..=to).step_by(step));
    }
    Field { values, star: text == "*" }
}

/// An expression: five fields of numbers, `*`, lists, ranges and steps; `L` as a day of month.
pub(crate) struct Model {
    minute: Field,
    hour: Field,
    day: Field,
    last_day: bool,
    month: Field,
    weekday: Field,
    single: bool,
    zone: TimeZone,
}

impl Model {
    pub(crate) fn new(text: &str, zone: &str) -> Self {
        let parts: Vec<&str> = text.split(' ').collect();
        let number = |text: &str| text.parse::<i64>().is_ok();
        let last_day = parts[2] == "L";
        Self {
            minute: field(parts[0], 0, 59),
            hour: field(parts[1], 0, 23),
            day: field(if last_day { "32" } else { parts[2] }, 1, 31),
            last_day,
            month: field(parts[3], 1, 12),
            weekday: field(parts[4], 0, 7),
            single: number(parts[0]) && number(parts[1]),
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn day_matches(&self, date: Date) -> bool {
        let by_month = match self.last_day {
            true => date.day() == date.last_of_month().day(),
            false => self.day.values.contains(&i64::from(date.day())),
        };
        let weekday = i64::from(date.weekday().to_sunday_zero_offset());
        let by_week =
            self.weekday.values.contains(&weekday) || (weekday == 0 && self.weekday.values.contains(&7));
        let day = match (self.day.star, self.weekday.star) {
            (false, false) => by_month || by_week,
            (false, true) => by_month,
            (true, false) => by_week,
            (true, true) => true,
        };
        day && self.month.values.contains(&i64::from(date.month()))
    }

    fn matches(&self, local: DateTime) -> bool {
        self.minute.values.contains(&i64::from(local.minute()))
            && self.hour.values.contains(&i64::from(local.hour()))
            && self.day_matches(local.date())
    }

    /// Every firing at or after `from` and before `to`, both whole minutes.
    pub(crate) fn firings(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let mut firings = Vec::new();
        // The latest local minute that the wall has shown, for what is shown again.
        let mut highest: Option<DateTime> = None;
        let mut at = from.checked_sub(26.hours()).unwrap();
        while at < to {
            let local = self.zone.to_datetime(at);
            let shown_before = highest.is_some_and(|highest| local <= highest);
            let skipped = highest.and_then(|highest| self.skipped(highest, local));
            let fires = match self.single {
                true => (self.matches(local) && !shown_before) || skipped.is_some(),
                false => self.matches(local),
            };
            if fires && at >= from {
                firings.push(at);
            }
            highest = highest.max(Some(local));
            at = at.checked_add(1.minute()).unwrap();
        }
        firings
    }

    /// A matching minute that the wall has jumped over between two minutes that it shows.
    fn skipped(&self, before: DateTime, now: DateTime) -> Option<DateTime> {
        let mut local = before.checked_add(1.minute()).unwrap();
        while local < now {
            if self.matches(local) {
                return Some(local);
            }
            local = local.checked_add(1.minute()).unwrap();
        }
        None
    }
}
