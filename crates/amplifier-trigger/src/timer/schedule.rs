//! When a timer is due, as a function of nothing but its configuration, its anchor and a time.
//!
//! Guarantees: no firing depends on the one before, so none drifts; times rise strictly.

use std::time::Duration;

use amplifier_core::Timestamp;

use super::cron::CronSchedule;
use super::zone::{from_jiff, to_jiff};

/// A schedule.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    /// Each span from the anchor on, the anchor itself not.
    Every { anchor: Timestamp, span: Duration },
    /// The times of an expression.
    Cron(Box<CronSchedule>),
    /// One time.
    At(Timestamp),
}

/// How far back [`Schedule::latest`] looks at first; doubled until something is found.
const FIRST_WINDOW: Duration = Duration::from_secs(60);

impl Schedule {
    /// The first time after `time`.
    pub(crate) fn after(&mut self, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every { anchor, span } => nth(*anchor, *span, count(*anchor, *span, time)?.max(0) + 1),
            Self::Cron(cron) => cron.after(to_jiff(time)?).map(from_jiff),
            Self::At(at) => (*at > time).then_some(*at),
        }
    }

    /// The last time after `after` that is not after `until`.
    pub(crate) fn latest(&mut self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every { anchor, span } => {
                let due = nth(*anchor, *span, count(*anchor, *span, until)?)?;
                (due > after && due > *anchor).then_some(due)
            }
            Self::Cron(_) => {
                let first = self.after(after).filter(|due| *due <= until)?;
                let from = self.window(first, until);
                let mut latest = self.after(from)?;
                while let Some(due) = self.after(latest).filter(|due| *due <= until) {
                    latest = due;
                }
                Some(latest)
            }
            Self::At(at) => (*at > after && *at <= until).then_some(*at),
        }
    }

    /// A time shortly before the last firing up to `until`, of which `first` is one.
    fn window(&mut self, first: Timestamp, until: Timestamp) -> Timestamp {
        let mut span = FIRST_WINDOW;
        loop {
            let from = minus(until, span);
            if from < first {
                return minus(first, Duration::from_micros(1));
            }
            if self.after(from).is_some_and(|due| due <= until) {
                return from;
            }
            span = span.saturating_mul(2);
        }
    }

    /// How many times lie after `after`, up to `until`; stops counting at `most`.
    pub(crate) fn between(&mut self, after: Timestamp, until: Timestamp, most: u64) -> u64 {
        if let Self::Every { anchor, span } = self {
            let number = |time| count(*anchor, *span, time).unwrap_or(0).max(0);
            return u64::try_from(number(until) - number(after)).unwrap_or(0);
        }
        let (mut number, mut at) = (0, after);
        while let Some(due) = self.after(at).filter(|due| *due <= until) {
            (number, at) = (number + 1, due);
            if number >= most {
                break;
            }
        }
        number
    }

    /// Gives the memory free that only computing needs.
    pub(crate) fn rest(&mut self) {
        if let Self::Cron(cron) = self {
            cron.rest();
        }
    }
}

/// How many whole spans lie between the anchor and a time; negative before it.
fn count(anchor: Timestamp, span: Duration, time: Timestamp) -> Option<i64> {
    let span = i64::try_from(span.as_micros()).ok().filter(|span| *span > 0)?;
    Some(time.as_micros().checked_sub(anchor.as_micros())?.div_euclid(span))
}

fn nth(anchor: Timestamp, span: Duration, number: i64) -> Option<Timestamp> {
    let span = i64::try_from(span.as_micros()).ok()?;
    let micros = anchor.as_micros().checked_add(span.checked_mul(number)?)?;
    Some(Timestamp::from_micros(micros))
}

/// An earlier time.
pub(crate) fn minus(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_sub(span))
}

#[cfg(test)]
mod tests {
    use super::super::zone::Zone;
    use super::*;

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    #[test]
    fn an_interval_counts_from_its_anchor() {
        let mut every = Schedule::Every { anchor: secs(100), span: Duration::from_secs(30) };
        for (time, due) in [(0, 130), (100, 130), (129, 130), (130, 160), (1_000, 1_030)] {
            assert_eq!(every.after(secs(time)), Some(secs(due)), "{time}");
        }
        assert_eq!(every.latest(secs(100), secs(200)), Some(secs(190)));
        assert_eq!(every.latest(secs(190), secs(200)), None);
        assert_eq!(every.latest(secs(0), secs(120)), None);
        assert_eq!(every.between(secs(0), secs(200), 1), 3);
    }

    #[test]
    fn the_latest_of_an_expression_is_found_from_the_end() {
        let cron =
            |text: &str| Schedule::Cron(Box::new(CronSchedule::parse(text, false, Zone::utc()).unwrap()));
        let (year, day) = (31_536_000, 86_400);
        assert_eq!(cron("* * * * *").latest(secs(0), secs(10 * year)), Some(secs(10 * year)));
        assert_eq!(cron("@yearly").latest(secs(0), secs(10 * year)), Some(secs(9 * year + 2 * day)));
        assert_eq!(cron("@yearly").latest(secs(0), secs(day)), None);
        assert_eq!(cron("@daily").latest(secs(0), secs(day + 1)), Some(secs(day)));
        assert_eq!(cron("@daily").between(secs(0), secs(10 * day), 100), 10);
        assert_eq!(cron("@daily").between(secs(0), secs(10 * day), 4), 4);
    }
}
