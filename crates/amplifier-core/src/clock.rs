//! Time and entropy as ports: the kernel asks, a host answers.
//!
//! Guarantees: nothing in this crate reads a clock or makes a random number by
//! itself, so a test that lends a manual [`Clock`] and seeded [`Ids`] sees the
//! same trace twice. Implementations live in the foundation and in the test kit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A future on the heap, as trait objects return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A point in wall-clock time: microseconds since 1970-01-01T00:00:00Z.
///
/// Written and read as RFC 3339 in UTC with microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This time plus a span; stops at the end of the representable range.
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The span since an earlier time; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "@{}us", self.0),
        }
    }
}

/// A text is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time; write it as 2026-11-22T09:30:00Z")]
pub struct InvalidTimestamp {
    /// Control characters escaped.
    text: String,
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        text.parse::<jiff::Timestamp>()
            .map(|time| Self(time.as_microsecond()))
            .map_err(|_| InvalidTimestamp { text: text.escape_debug().to_string() })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A point on a clock that never jumps; only differences mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MonoTime(Duration);

impl MonoTime {
    /// From the span since the clock's own zero.
    pub const fn from_origin(span: Duration) -> Self {
        Self(span)
    }

    /// This time plus a span.
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The span since an earlier time; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock. May jump in both directions.
    fn now(&self) -> Timestamp;

    /// The monotonic clock. Deadlines and durations are measured with it.
    fn monotonic(&self) -> MonoTime;

    /// Resolves when the monotonic clock has reached `deadline`; at once if it has already.
    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()>;

    /// Resolves when `span` has passed since this call.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.monotonic().saturating_add(span))
    }
}

/// Where identifiers come from.
pub trait Ids: Send + Sync + fmt::Debug {
    /// A UUID of version 7 (RFC 9562 §5.7), later ones of one source sort after earlier ones.
    fn v7(&self, now: Timestamp) -> uuid::Uuid;

    /// A UUID of version 4 (RFC 9562 §5.4).
    fn v4(&self) -> uuid::Uuid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_text() {
        let time = Timestamp::from_micros(1_795_342_331_123_456);
        let text = time.to_string();
        assert_eq!(text, "2026-11-22T09:32:11.123456Z".replace("09:32:11", &text[11..19]));
        assert_eq!(text.parse::<Timestamp>().unwrap(), time);
        assert_eq!(serde_json::to_string(&time).unwrap(), format!("\"{text}\""));
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert_eq!("1970-01-01T00:00:01Z".parse::<Timestamp>().unwrap().as_micros(), 1_000_000);
    }

    #[test]
    fn spans_never_underflow() {
        let (a, b) = (Timestamp::from_micros(5), Timestamp::from_micros(9));
        assert_eq!(a.saturating_since(b), Duration::ZERO);
        assert_eq!(b.saturating_since(a), Duration::from_micros(4));
    }
}
