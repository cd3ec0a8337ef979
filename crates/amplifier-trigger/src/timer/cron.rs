//! Cron expressions over the local time of a zone.
//!
//! The expression is matched against local times without a zone; what a clock change does to them is
//! decided here. Where minute and hour are one number each, a local time that is skipped fires once right
//! after the gap and one that is repeated fires the first time only. With any list, range, step or
//! `*` in either field real time counts: each instant whose local time matches fires.
//!
//! Guarantees: an expression that exists is well formed and fires at some time.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;

use super::zone::Zone;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 200;

/// Offsets of a zone that are looked through for one firing: more than any zone has in 50 years.
const MAX_CHANGES: usize = 400;

/// What stands for a whole expression.
const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field of an expression.
struct Field {
    name: &'static str,
    range: &'static str,
    /// Words that may stand in it.
    words: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { name: "second", range: "0-59", words: &[] },
    Field { name: "minute", range: "0-59", words: &[] },
    Field { name: "hour", range: "0-23", words: &[] },
    Field { name: "day of month", range: "1-31, L, or a day with W", words: &["L", "W", "LW"] },
    Field { name: "month", range: "1-12 or JAN-DEC", words: &MONTHS },
    Field { name: "day of week", range: "0-7 or SUN-SAT, with L or #1-#5 behind it", words: &DAYS },
];

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCron {
    /// Not the right number of fields.
    #[error("it has {found} fields; write {wanted}")]
    Fields {
        /// How many there are.
        found: usize,
        /// Which ones are wanted.
        wanted: &'static str,
    },
    /// `@something` that is not known.
    #[error("`{text}` is not known; there are {}", MACROS.map(|(name, _)| name).join(", "))]
    Macro {
        /// The text.
        text: String,
    },
    /// A field is malformed.
    #[error("the {field} `{text}` is not valid; write {range}, with `,` `-` `/` and `*`")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What stands in it.
        text: String,
        /// What may stand in it.
        range: &'static str,
    },
    /// No day matches, ever.
    #[error("no day ever matches: the day of month `{day}` does not come in the month `{month}`")]
    Never {
        /// The day of month.
        day: String,
        /// The month.
        month: String,
    },
    /// Too long.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// An expression in a zone.
#[derive(Clone)]
pub struct CronSchedule {
    /// Five fields, or six with seconds, in upper case.
    text: Box<str>,
    zone: Zone,
    /// True if minute and hour are one number each.
    single: bool,
    /// Kept only while firings are computed: it takes several kilobytes.
    open: Option<Box<Cron>>,
}

impl CronSchedule {
    /// Reads an expression: five fields, or six with the seconds first if `seconds`, or a macro.
    pub fn parse(text: &str, seconds: bool, zone: Zone) -> Result<Self, InvalidCron> {
        if text.len() > MAX_BYTES {
            return Err(InvalidCron::TooLong);
        }
        let text = expand(text.trim(), seconds)?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let wanted = match seconds {
            true => "second, minute, hour, day of month, month and day of week",
            false => "minute, hour, day of month, month and day of week (six with `seconds: true`)",
        };
        let first = if seconds { 0 } else { 1 };
        if fields.len() != FIELDS.len() - first {
            return Err(InvalidCron::Fields { found: fields.len(), wanted });
        }
        for (at, (field, text)) in FIELDS[first..].iter().zip(&fields).enumerate() {
            check(first + at, field, text)?;
        }
        let [.., minute, hour, day, month, _] = fields.as_slice() else {
            return Err(InvalidCron::Fields { found: fields.len(), wanted });
        };
        let number = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit());
        let single = number(minute) && number(hour);
        let (day, month) = (day.to_string(), month.to_string());
        let mut schedule = Self { text: fields.join(" ").into(), zone, single, open: None };
        let never = schedule.next_local(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true).is_none();
        schedule.rest();
        if never { Err(InvalidCron::Never { day, month }) } else { Ok(schedule) }
    }

    /// The expression, its macro expanded.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first firing after an instant.
    pub(crate) fn after(&mut self, at: jiff::Timestamp) -> Option<jiff::Timestamp> {
        match self.single {
            true => self.after_single(at),
            false => self.after_real(at),
        }
    }

    /// Gives the memory free that only computing needs.
    pub(crate) fn rest(&mut self) {
        self.open = None;
    }

    fn after_single(&mut self, at: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut local = self.zone.local(at);
        // A repeated hour can put a few local times before `at`; each step is a later one.
        loop {
            local = self.next_local(local, false)?;
            let instant = self.zone.instant(local)?;
            if instant > at {
                return Some(instant);
            }
        }
    }

    fn after_real(&mut self, at: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let (mut from, mut inclusive) = (at, false);
        for _ in 0..MAX_CHANGES {
            let offset = self.zone.offset(from);
            let change = self.zone.next_change(from);
            let local = self.next_local(offset.to_datetime(from), inclusive)?;
            let instant = offset.to_timestamp(local).ok()?;
            match change {
                Some(change) if instant >= change => (from, inclusive) = (change, true),
                _ => return Some(instant),
            }
        }
        None
    }

    /// The first local time that matches, as if there were no clock changes.
    fn next_local(&mut self, after: DateTime, inclusive: bool) -> Option<DateTime> {
        if self.open.is_none() {
            let seconds = self.text.split(' ').count() == FIELDS.len();
            self.open = Some(Box::new(parser(seconds).parse(&self.text).ok()?));
        }
        // Parts of a second are cut off, which is right for what lies after.
        self.open.as_ref()?.find_next_occurrence(&after, inclusive).ok()
    }
}

impl fmt::Debug for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronSchedule({} {})", self.text, self.zone.name())
    }
}

fn expand(text: &str, seconds: bool) -> Result<String, InvalidCron> {
    if !text.starts_with('@') {
        return Ok(text.to_ascii_uppercase());
    }
    let known = MACROS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    match known {
        Some((_, fields)) if seconds => Ok(format!("0 {fields}")),
        Some((_, fields)) => Ok((*fields).to_owned()),
        None => Err(InvalidCron::Macro { text: text.escape_debug().take(40).collect() }),
    }
}

fn parser(seconds: bool) -> CronParser {
    let seconds = if seconds { Seconds::Required } else { Seconds::Disallowed };
    CronParser::builder().seconds(seconds).year(Year::Disallowed).build()
}

/// Checks one field by itself, so that the error can name it.
fn check(at: usize, field: &Field, text: &str) -> Result<(), InvalidCron> {
    let shown = || text.escape_debug().take(40).collect();
    let invalid = || InvalidCron::Field { field: field.name, text: shown(), range: field.range };
    let symbol = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '/' | ',' | '-' | '#');
    // Names may stand in their own field alone; the library would take them anywhere.
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    let known =
        |word: &str| field.words.contains(&word) || (field.name == "day of week" && is_last_weekday(word));
    let empty = text.split(',').any(str::is_empty);
    if empty || !text.chars().all(symbol) || !words.all(known) {
        return Err(invalid());
    }
    let mut alone = ["0", "*", "*", "*", "*", "*"];
    alone[at] = text;
    parser(true).parse(&alone.join(" ")).map(drop).map_err(|_| invalid())
}

/// `L` behind a number, or behind a name: `5L`, `FRIL`.
fn is_last_weekday(word: &str) -> bool {
    word.strip_suffix('L').is_some_and(|day| day.is_empty() || DAYS.contains(&day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        CronSchedule::parse(text, false, Zone::utc()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_field() {
        let check = |text: &str, part: &str| {
            let error = refused(text);
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "0 fields");
        check("* * * *", "4 fields");
        check("0 * * * * *", "6 fields; write minute");
        check("61 * * * *", "the minute `61` is not valid; write 0-59");
        check("MON * * * *", "the minute `MON`");
        check("* 24 * * *", "the hour `24`");
        check("* * 0 * *", "the day of month `0`");
        check("* * 32 * *", "the day of month `32`");
        check("* * ? * *", "the day of month `?`");
        check("* * * 13 *", "the month `13`");
        check("* * * MON *", "the month `MON`");
        check("* * * JANUARY *", "the month `JANUARY`");
        check("* * * * 8", "the day of week `8`");
        check("* * * * +MON", "the day of week `+MON`");
        check("* * * * MON#6", "the day of week `MON#6`");
        check("*/0 * * * *", "the minute `*/0`");
        check("5-1 * * * *", "the minute `5-1`");
        check("1,,2 * * * *", "the minute `1,,2`");
        check("* * * * \u{1b}[31m", "the day of week");
        check("@reboot", "`@reboot` is not known; there are @hourly");
        check("0 0 30 2 *", "no day ever matches: the day of month `30`");
        check("0 0 31 4,6,9,11 *", "no day ever matches");
        check(&"1,".repeat(200), "longer than 200");
        let five = CronSchedule::parse("* * * * *", true, Zone::utc()).unwrap_err();
        assert!(five.to_string().contains("write second, minute"), "{five}");
    }

    #[test]
    fn what_is_well_formed_is_read() {
        for text in [
            "0 9 * * MON-FRI",
            "0 9 * jan,dec sun",
            "*/15 8-18/2 1,15 * *",
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 LW * *",
            "0 0 * * 5L",
            "0 0 * * MON#1",
            "0 0 * * 7",
            "0 0 29 2 *",
            "@Daily",
            " 0  0 * * * ",
        ] {
            let schedule = CronSchedule::parse(text, false, Zone::utc());
            assert!(schedule.is_ok(), "{text}: {schedule:?}");
            assert!(schedule.unwrap().open.is_none());
        }
        assert!(CronSchedule::parse("*/10 * * * * *", true, Zone::utc()).is_ok());
        assert_eq!(CronSchedule::parse("@weekly", true, Zone::utc()).unwrap().as_str(), "0 0 0 * * 0");
    }
}
