//! Times as other programs write them.

use amplifier_core::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// An RFC 3339 time, or one without a zone, which is then local.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local: DateTime = text.parse().ok()?;
    let time = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_local() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let check = |text: &str, expect: Option<&str>| {
            let expect = expect.map(|expect| expect.parse::<Timestamp>().unwrap());
            assert_eq!(parse(text, &zone), expect, "{text}");
        };
        check("2026-01-05T10:00:00.123456", Some("2026-01-05T08:00:00.123456Z"));
        check("2026-01-05 10:00:00", Some("2026-01-05T08:00:00Z"));
        check("2026-01-05T10:00:00+05:00", Some("2026-01-05T05:00:00Z"));
        check("2026-01-05T10:00:00Z", Some("2026-01-05T10:00:00Z"));
        check("yesterday", None);
        check("", None);
    }
}
