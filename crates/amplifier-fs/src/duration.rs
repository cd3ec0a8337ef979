//! Spans of time as people write them: `500ms`, `90s`, `15m`, `2h`, `7d`, `1w`, `1h30m`.
//!
//! Guarantees: one parser for command line, settings, bundles and triggers; what [`format()`]
//! writes, [`parse`] reads back. A day has 24 hours.
//! Never here: a number without a unit, a fraction, a sign, a span over [`MAX`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest span that is accepted: ten years of 365 days.
pub const MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The units, longest first, with their milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDuration {
    /// No number, no unit, or something else between.
    #[error(
        "`{text}` is no duration; write numbers with the units ms, s, m, h, d or w, as in `90s` or `1h30m`"
    )]
    Form {
        /// The text, control characters escaped, cut to 40 characters.
        text: String,
    },
    /// A unit that stands twice or after a shorter one.
    #[error(
        "`{text}` names its units out of order; write each of w, d, h, m, s, ms at most once, the longest first"
    )]
    Order {
        /// The text, control characters escaped, cut to 40 characters.
        text: String,
    },
    /// Longer than [`MAX`].
    #[error("`{text}` is too long; at most ten years (3650d) are accepted")]
    TooLong {
        /// The text, control characters escaped, cut to 40 characters.
        text: String,
    },
}

/// Reads a span. White space around it does not matter.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let shown = || text.escape_debug().take(40).collect::<String>();
    let form = || InvalidDuration::Form { text: shown() };
    let too_long = || InvalidDuration::TooLong { text: shown() };
    let mut rest = text.trim();
    let mut units = UNITS.as_slice();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(form());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() || !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(form());
        }
        let at = units.iter().position(|(name, _)| *name == unit);
        let at = at.ok_or_else(|| InvalidDuration::Order { text: shown() })?;
        let number: u64 = number.parse().map_err(|_| too_long())?;
        let part = number.checked_mul(units[at].1).ok_or_else(too_long)?;
        millis = millis.checked_add(part).ok_or_else(too_long)?;
        units = &units[at + 1..];
        rest = tail;
    }
    let span = Duration::from_millis(millis);
    if span > MAX { Err(too_long()) } else { Ok(span) }
}

/// Writes a span in its longest units: `1h30m`. What is below a millisecond is dropped; `0s` for nothing.
pub fn format(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A span that is written and read as people do; for fields of serde types and arguments of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format(self.0))
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;
    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        parse(text).map(Self)
    }
}

impl From<HumanDuration> for Duration {
    fn from(span: HumanDuration) -> Duration {
        span.0
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// For `#[serde(with = "duration")]` on a [`Duration`].
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    HumanDuration(*span).serialize(serializer)
}

/// For `#[serde(with = "duration")]` on a [`Duration`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    HumanDuration::deserialize(deserializer).map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_their_units() {
        let check =
            |text: &str, millis: u64| assert_eq!(parse(text).unwrap().as_millis() as u64, millis, "{text}");
        check("500ms", 500);
        check("90s", 90_000);
        check("15m", 900_000);
        check("2h", 7_200_000);
        check("7d", 604_800_000);
        check("1w", 604_800_000);
        check("1h30m", 5_400_000);
        check("1w2d3h4m5s6ms", 788_645_006);
        check("1m1ms", 60_001);
        check(" 0s ", 0);
        check("3650d", 315_360_000_000);
    }

    #[test]
    fn what_is_no_span_is_refused_with_the_units_named() {
        for bad in ["", " ", "5", "h", "1.5h", "-1s", "+1s", "1 h", "1y", "1H", "5sec", "1h-", "1h 30m", "١s"]
        {
            let error = parse(bad).unwrap_err();
            assert!(matches!(error, InvalidDuration::Form { .. }), "{bad}: {error}");
            assert!(error.to_string().contains("ms, s, m, h, d or w"), "{error}");
        }
        for bad in ["30m1h", "1h1h", "1ms1s"] {
            assert!(matches!(parse(bad), Err(InvalidDuration::Order { .. })), "{bad}");
        }
        let long = "9".repeat(30) + "s";
        for bad in ["3651d", "522w", "3650d1ms", "18446744073709551615w", &long] {
            assert!(matches!(parse(bad), Err(InvalidDuration::TooLong { .. })), "{bad}");
        }
    }

    #[test]
    fn serde_reads_and_writes_the_same_text() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Wait {
            #[serde(with = "super")]
            time: Duration,
        }
        let wait: Wait = serde_json::from_str(r#"{"time":"90s"}"#).unwrap();
        assert_eq!(wait.time, Duration::from_secs(90));
        assert_eq!(serde_json::to_string(&wait).unwrap(), r#"{"time":"1m30s"}"#);
        assert!(serde_json::from_str::<Wait>(r#"{"time":90}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0u64..=315_360_000_000) {
            let span = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse(&format(span)), Ok(span));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9wdhms .-]{0,24}") {
            let _ = parse(&text);
        }
    }
}
