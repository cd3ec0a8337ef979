//! Time zones: IANA names, from the database that is built in.
//!
//! Guarantees: the same on every machine; no file of the system is read. A local time that a clock
//! change skips means the instant right after the gap, one that it repeats means the first of the two.

use std::fmt;

use amplifier_core::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

/// A time zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A text is no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no time zone; write an IANA name such as Europe/Berlin or UTC")]
pub struct UnknownZone {
    name: String,
}

/// A text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time; write it as 2026-11-23T03:00, or with Z or an offset as 2026-11-23T03:00:00Z")]
pub struct InvalidTime {
    text: String,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone of an IANA name, in any case of letters.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        let unknown = || UnknownZone { name: name.escape_debug().take(80).collect() };
        // The database answers `Etc/Unknown` with a zone of its own.
        if name.eq_ignore_ascii_case("Etc/Unknown") {
            return Err(unknown());
        }
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self::utc());
        }
        TimeZoneDatabase::bundled().get(name).map(Self).map_err(|_| unknown())
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Reads a point in time: with an offset or `Z` as it says, else as local time of this zone.
    pub fn time(&self, text: &str) -> Result<Timestamp, InvalidTime> {
        let text = text.trim();
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Timestamp::from_micros(time.as_microsecond()));
        }
        let invalid = || InvalidTime { text: text.escape_debug().take(80).collect() };
        let local: DateTime = text.parse().map_err(|_| invalid())?;
        self.instant(local).map(from_jiff).ok_or_else(invalid)
    }

    /// A time as this zone has it: `2026-11-23T03:00:00+01:00[Europe/Berlin]`.
    pub fn show(&self, time: Timestamp) -> String {
        to_jiff(time).map_or_else(|| time.to_string(), |at| at.to_zoned(self.0.clone()).to_string())
    }

    /// The local time of an instant.
    pub(crate) fn local(&self, at: jiff::Timestamp) -> DateTime {
        self.0.to_datetime(at)
    }

    /// The offset at an instant.
    pub(crate) fn offset(&self, at: jiff::Timestamp) -> Offset {
        self.0.to_offset(at)
    }

    /// The first change of the zone's rules after an instant.
    pub(crate) fn next_change(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        self.0.following(after).next().map(|change| change.timestamp())
    }

    /// The one instant that a local time means.
    pub(crate) fn instant(&self, local: DateTime) -> Option<jiff::Timestamp> {
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            // Read with the later offset a skipped time lies before the change that skips it.
            AmbiguousOffset::Gap { after, .. } => self.next_change(after.to_timestamp(local).ok()?),
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// `None` for a time beyond the year 9999.
pub(crate) fn to_jiff(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(time.as_micros()).ok()
}

pub(crate) fn from_jiff(time: jiff::Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_microsecond())
}

/// RFC 3339 in UTC, as short as it can be: `2026-11-22T03:00:00Z`.
pub fn rfc3339(time: Timestamp) -> String {
    to_jiff(time).map_or_else(|| time.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_means_one_instant() {
        let check = |zone: &str, text: &str, expect: &str| {
            assert_eq!(rfc3339(Zone::named(zone).unwrap().time(text).unwrap()), expect, "{zone} {text}");
        };
        check("Europe/Berlin", "2026-11-23T03:00", "2026-11-23T02:00:00Z");
        check("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00:00Z");
        check("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00Z");
        check("Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-03T15:30:00Z");
        check("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z");
        check("Asia/Kolkata", "2026-11-23", "2026-11-22T18:30:00Z");
        check("UTC", "2026-11-23T03:00:00+01:00", "2026-11-23T02:00:00Z");
        check("europe/berlin", "2026-11-23T03:00Z", "2026-11-23T03:00:00Z");
    }

    #[test]
    fn what_is_no_zone_and_no_time_is_refused() {
        for wrong in ["", "Mars/Olympus", "Etc/Unknown", "+01:00", "../etc/passwd"] {
            assert!(Zone::named(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "tomorrow", "2026-02-30T00:00", "25:00"] {
            assert!(Zone::utc().time(wrong).is_err(), "{wrong}");
        }
    }
}
