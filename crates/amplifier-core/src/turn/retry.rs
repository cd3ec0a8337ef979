//! When a model call is made again, and how long to wait before.
//!
//! Guarantees: what the service asks for (`Retry-After`) is obeyed; without it
//! the wait doubles, with up to a quarter taken off at random so that parallel
//! sessions do not come back together. A permanent error is never tried again.

use std::time::Duration;

use crate::module::provider::{ProviderError, ProviderErrorKind};

/// How often and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, for failures. Default 4.
    pub max_attempts: u32,
    /// The first wait. Default 500 ms.
    pub first_wait: Duration,
    /// The longest wait that is not asked for by the service. Default 30 s.
    pub longest_wait: Duration,
    /// How long one model call waits in all, for rate limits and between attempts. Default 2 min.
    pub rate_limit_patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            rate_limit_patience: Duration::from_secs(120),
        }
    }
}

/// The state of one model call.
#[derive(Debug)]
pub(super) struct Retry<'a> {
    policy: &'a RetryPolicy,
    failures: u32,
    limited: u32,
    waited: Duration,
}

impl<'a> Retry<'a> {
    pub(super) fn new(policy: &'a RetryPolicy) -> Self {
        Self { policy, failures: 0, limited: 0, waited: Duration::ZERO }
    }

    /// How long to wait before the next attempt; `None` if there shall be none.
    /// `random` is any number; it chooses the jitter.
    pub(super) fn after(&mut self, error: &ProviderError, random: u64) -> Option<Duration> {
        if !error.kind.is_retryable() {
            return None;
        }
        let limited = error.kind == ProviderErrorKind::RateLimited;
        let count = if limited { &mut self.limited } else { &mut self.failures };
        *count += 1;
        let count = *count;
        if !limited && count >= self.policy.max_attempts {
            return None;
        }
        let doubled = self.policy.first_wait.saturating_mul(1 << (count - 1).min(16));
        let own = doubled.min(self.policy.longest_wait);
        let jitter = own / 4 * u32::try_from(random % 1_000).unwrap_or(0) / 1_000;
        let wait = match error.retry_after {
            // A service that says "now" each time would be asked without pause or end.
            Some(asked) if limited && asked.is_zero() && count > 1 => own - jitter,
            Some(asked) => asked,
            None => own - jitter,
        };
        self.count_wait(wait);
        (self.waited <= self.policy.rate_limit_patience).then_some(wait)
    }

    /// Takes note of a rate limit that somebody else waits out.
    pub(super) fn count_limit(&mut self) {
        self.limited += 1;
    }

    /// Takes note of a wait.
    pub(super) fn count_wait(&mut self, span: Duration) {
        self.waited = self.waited.saturating_add(span);
    }

    /// How long this call may still wait.
    pub(super) fn patience_left(&self) -> Duration {
        self.policy.rate_limit_patience.saturating_sub(self.waited)
    }

    /// The error for whoever asked, after the last attempt: of a rate limit also what it would have taken.
    pub(super) fn given_up(&self, mut error: ProviderError) -> ProviderError {
        if error.kind != ProviderErrorKind::RateLimited {
            return error;
        }
        let patience_s = self.policy.rate_limit_patience.as_secs();
        let why = match error.retry_after {
            Some(wait) => format!("for {} s, and rate_limit_patience is {patience_s} s", wait.as_secs()),
            None => format!("for longer than rate_limit_patience, {patience_s} s"),
        };
        error.message = format!("{}; it asks to wait {why}; try again later", error.message);
        error
    }

    pub(super) fn attempt(&self) -> u32 {
        self.failures + self.limited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ProviderErrorKind, retry_after: Option<u64>) -> ProviderError {
        let mut error = ProviderError::new("p", kind, "m");
        error.retry_after = retry_after.map(Duration::from_secs);
        error
    }

    fn waits(kind: ProviderErrorKind, retry_after: Option<u64>) -> Vec<u64> {
        let policy = RetryPolicy::default();
        let mut retry = Retry::new(&policy);
        std::iter::from_fn(|| retry.after(&error(kind, retry_after), 0))
            .map(|w| w.as_millis() as u64)
            .collect()
    }

    #[test]
    fn failures_are_tried_a_few_times_with_growing_waits() {
        assert_eq!(waits(ProviderErrorKind::StreamCut, None), [500, 1_000, 2_000]);
        assert_eq!(waits(ProviderErrorKind::Unavailable, Some(7)), [7_000, 7_000, 7_000]);
    }

    #[test]
    fn permanent_errors_are_not_tried_again() {
        for kind in [ProviderErrorKind::Auth, ProviderErrorKind::Invalid, ProviderErrorKind::Quota] {
            assert!(waits(kind, Some(1)).is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn rate_limits_are_waited_out_until_patience_ends() {
        assert_eq!(waits(ProviderErrorKind::RateLimited, Some(40)), [40_000; 3]);
        let own = waits(ProviderErrorKind::RateLimited, None);
        assert_eq!(own[..4], [500, 1_000, 2_000, 4_000]);
        assert!(own.iter().sum::<u64>() <= 120_000);
        assert!(waits(ProviderErrorKind::RateLimited, Some(121)).is_empty());
    }

    #[test]
    fn a_service_that_says_now_each_time_is_not_asked_without_end() {
        let asked = waits(ProviderErrorKind::RateLimited, Some(0));
        assert_eq!(asked[..4], [0, 1_000, 2_000, 4_000]);
        assert!(asked.iter().sum::<u64>() <= 120_000);
    }

    #[test]
    fn a_rate_limit_that_is_given_up_says_what_it_would_have_taken() {
        let policy = RetryPolicy::default();
        let check = |kind, after, expect: &str| {
            assert_eq!(Retry::new(&policy).given_up(error(kind, after)).message, expect);
        };
        let asked = "m; it asks to wait for 3000 s, and rate_limit_patience is 120 s; try again later";
        check(ProviderErrorKind::RateLimited, Some(3000), asked);
        let unsaid = "m; it asks to wait for longer than rate_limit_patience, 120 s; try again later";
        check(ProviderErrorKind::RateLimited, None, unsaid);
        check(ProviderErrorKind::Auth, Some(3000), "m");
    }

    #[test]
    fn jitter_takes_off_at_most_a_quarter() {
        let policy = RetryPolicy::default();
        let wait = Retry::new(&policy).after(&error(ProviderErrorKind::Transport, None), 999).unwrap();
        assert!(wait > Duration::from_millis(374) && wait < Duration::from_millis(376), "{wait:?}");
    }
}
