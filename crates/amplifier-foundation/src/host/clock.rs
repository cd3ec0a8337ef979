//! The clock of the machine.
//!
//! Guarantees: [`SystemClock`] is the one place that asks the system for the time. Its
//! monotonic clock starts at zero when the value is made and never goes back.
//! Never here: a promise about the wall clock, which people and NTP may set at will.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime, Timestamp};

/// The system's wall clock and monotonic clock.
///
/// One value a process: monotonic times of two values have different zeros and cannot be
/// compared. `sleep_until` needs a tokio runtime with its timer on when it is first polled.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic zero is now.
    #[expect(clippy::disallowed_methods, reason = "this is the seam through which time enters")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam through which time enters")]
    fn now(&self) -> Timestamp {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        })
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(self.origin.elapsed())
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let at = self.origin.checked_add(deadline.saturating_since(MonoTime::default()));
        Box::pin(async move {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                // Later than the system can tell: never.
                None => std::future::pending().await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_the_systems() {
        let since = |time: Timestamp| time.as_millis() / 1_000 / 86_400 / 365;
        let year = 1970 + since(SystemClock::new().now());
        assert!((2025..2200).contains(&year), "{year}");
    }

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let clock = SystemClock::new();
        let times: Vec<MonoTime> = (0..10_000).map(|_| clock.monotonic()).collect();
        assert!(times.is_sorted());
    }

    #[tokio::test]
    async fn a_sleep_ends_at_its_deadline_and_not_before() {
        let clock = SystemClock::new();
        let deadline = clock.monotonic().saturating_add(Duration::from_millis(20));
        clock.sleep_until(deadline).await;
        assert!(clock.monotonic() >= deadline);
        clock.sleep_until(MonoTime::default()).await;
    }

    #[tokio::test]
    async fn a_deadline_beyond_all_time_does_not_panic() {
        let never = SystemClock::new().sleep_until(MonoTime::from_origin(Duration::MAX));
        let soon = SystemClock::new().sleep_until(MonoTime::default());
        tokio::select! {
            biased;
            () = never => panic!("the end of time came"),
            () = soon => {}
        }
    }
}
