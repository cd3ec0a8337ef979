//! Time that stands still until a test moves it.
//!
//! Guarantees: a sleep ends only when the clock is moved to its deadline; a test can wait
//! until somebody sleeps, and so knows that a deadline is armed before it moves the clock. The wall clock can
//! be set, which ends no sleep.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime, Timestamp};
use tokio::sync::watch;

use crate::soon;

/// 2026-01-01T00:00:00Z, the wall clock's time at the beginning.
const EPOCH_MICROS: i64 = 1_767_225_600_000_000;

/// A clock that a test moves. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    now: watch::Sender<Duration>,
    /// The wall clock's time at the beginning, and by how much it was set since.
    wall: AtomicI64,
    // Held to count; never across an await.
    sleepers: Mutex<BTreeMap<MonoTime, usize>>,
    changed: watch::Sender<u64>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// A clock at the first instant of 2026.
    pub fn new() -> Self {
        let inner = Inner {
            now: watch::Sender::new(Duration::ZERO),
            wall: AtomicI64::new(EPOCH_MICROS),
            sleepers: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        Self(Arc::new(inner))
    }

    /// Moves the clock, and wakes whose deadline is reached.
    pub fn advance(&self, span: Duration) {
        self.0.now.send_modify(|now| *now += span);
    }

    /// Sets the wall clock forward, or back by a negative number of seconds. As after a sleep of the machine
    /// nobody who sleeps notices.
    pub fn set_by(&self, seconds: i64) {
        self.0.wall.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Sets the wall clock to a time in RFC 3339.
    pub fn set_to(&self, time: &str) {
        let to: Timestamp = time.parse().unwrap();
        self.0.wall.fetch_add(to.as_micros() - self.now().as_micros(), Ordering::SeqCst);
    }

    /// Waits until somebody sleeps who is to wake within `span` from now.
    pub async fn asleep_within(&self, span: Duration) {
        let latest = self.monotonic().saturating_add(span);
        let mut changed = self.0.changed.subscribe();
        let sleeps = |_: &u64| self.0.next_after(self.monotonic()).is_some_and(|deadline| deadline <= latest);
        let _ = soon("a sleeper", changed.wait_for(sleeps)).await;
    }

    /// Waits until somebody sleeps for exactly `span` from now, then moves the clock by it.
    pub async fn pass(&self, span: Duration) {
        let deadline = self.monotonic().saturating_add(span);
        let mut changed = self.0.changed.subscribe();
        let sleeps = |_: &u64| self.0.lock().contains_key(&deadline);
        let _ = soon(&format!("a sleeper of {span:?}"), changed.wait_for(sleeps)).await;
        self.advance(span);
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<MonoTime, usize>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next deadline; who has been woken and has not gone yet does not count.
    fn next_after(&self, now: MonoTime) -> Option<MonoTime> {
        self.lock().keys().find(|deadline| **deadline > now).copied()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<MonoTime, usize>)) {
        change(&mut self.lock());
        self.changed.send_modify(|version| *version += 1);
    }
}

/// One sleep, counted from when it is first polled until it is dropped.
struct Sleeper {
    clock: Arc<Inner>,
    deadline: MonoTime,
}

impl Sleeper {
    fn new(clock: Arc<Inner>, deadline: MonoTime) -> Self {
        clock.change(|sleepers| *sleepers.entry(deadline).or_default() += 1);
        Self { clock, deadline }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.change(|sleepers| {
            let left = sleepers.get(&self.deadline).map_or(0, |count| count - 1);
            match left {
                0 => drop(sleepers.remove(&self.deadline)),
                _ => drop(sleepers.insert(self.deadline, left)),
            }
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.wall.load(Ordering::SeqCst)).saturating_add(*self.0.now.borrow())
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(*self.0.now.borrow())
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        Box::pin(async move {
            let mut now = clock.now.subscribe();
            if MonoTime::from_origin(*now.borrow()) >= deadline {
                return;
            }
            let _sleeper = Sleeper::new(Arc::clone(&clock), deadline);
            // The sender lives in `clock`, so the wait ends only by the time.
            let _ = now.wait_for(|now| MonoTime::from_origin(*now) >= deadline).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_ends_when_the_clock_is_moved_and_is_seen_before() {
        let clock = ManualClock::new();
        let sleep = tokio::spawn(clock.sleep_until(clock.monotonic().saturating_add(Duration::from_secs(5))));
        clock.asleep_within(Duration::from_secs(5)).await;
        clock.advance(Duration::from_secs(4));
        assert!(!sleep.is_finished());
        clock.pass(Duration::from_secs(1)).await;
        soon("the sleep", sleep).await.unwrap();
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:05.000000Z");
        assert!(clock.0.lock().is_empty());
        clock.set_to("2026-03-01T00:00:00Z");
        clock.set_by(-60);
        assert_eq!(clock.now().to_string(), "2026-02-28T23:59:00.000000Z");
        assert_eq!(clock.monotonic(), MonoTime::from_origin(Duration::from_secs(5)));
    }
}
