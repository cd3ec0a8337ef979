//! A cron of its own, as plain as can be: it looks at every minute. Shares no code with what it checks, but
//! the offsets of the zone, which it asks for each quarter of an hour.
//!
//! The rule: with one minute and one hour a local time that is skipped fires once right after the gap, and
//! one that is repeated fires the first time; with anything else each minute whose local time matches fires.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A field: whether each number matches, and whether it was `*`.
struct Field {
    values: [bool; 64],
    star: bool,
}

fn field(text: &str, low: usize, high: usize) -> Field {
    let mut values = [false; 64];
    for part in text.split(',') {
        let (range, step) =
            part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        (from..=to).step_by(step).for_each(|value| values[value] = true);
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

/// Year, month and day of a number of days since 1970-01-01, by counting.
fn date(days: i64) -> (i64, usize, usize) {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut rest) = (1970, days);
    while rest >= 365 + i64::from(leap(year)) {
        rest -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    while rest >= length(year, month) as i64 {
        rest -= length(year, month) as i64;
        month += 1;
    }
    (year, month, rest as usize + 1)
}

fn length(year: i64, month: usize) -> usize {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 => 28 + usize::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
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
            zone: TimeZoneDatabase::bundled().get(zone).unwrap(),
        }
    }

    fn day_matches(&self, days: i64) -> bool {
        let (year, month, day) = date(days);
        let by_month = match self.last_day {
            true => day == length(year, month),
            false => self.day.values[day],
        };
        // 1970-01-01 was a Thursday.
        let weekday = (days + 4).rem_euclid(7) as usize;
        let by_week = self.weekday.values[weekday] || (weekday == 0 && self.weekday.values[7]);
        let day = match (self.day.star, self.weekday.star) {
            (false, false) => by_month || by_week,
            (false, true) => by_month,
            (true, false) => by_week,
            (true, true) => true,
        };
        day && self.month.values[month]
    }

    /// If this local minute, counted from 1970-01-01T00:00, matches.
    fn matches(&self, local: i64) -> bool {
        let minute = local.rem_euclid(1_440) as usize;
        self.minute.values[minute % 60]
            && self.hour.values[minute / 60]
            && self.day_matches(local.div_euclid(1_440))
    }

    /// Every firing at or after `from` and before `to`, both whole quarters of an hour.
    pub(crate) fn firings(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let (from, to) = (from.as_second() / 60, to.as_second() / 60);
        let mut firings = Vec::new();
        // The latest local minute that the wall has shown.
        let mut highest = i64::MAX;
        for quarter in (from - 26 * 60..to).step_by(15) {
            let start = Timestamp::from_second(quarter * 60).unwrap();
            let offset = i64::from(self.zone.to_offset(start).seconds()) / 60;
            for at in quarter..quarter + 15 {
                let local = at + offset;
                let skipped = (highest.saturating_add(1)..local).any(|skipped| self.matches(skipped));
                let fires = match self.single {
                    true => (self.matches(local) && (local > highest || highest == i64::MAX)) || skipped,
                    false => self.matches(local),
                };
                if fires && at >= from {
                    firings.push(Timestamp::from_second(at * 60).unwrap());
                }
                highest = if highest == i64::MAX { local } else { highest.max(local) };
            }
        }
        firings
    }
}
