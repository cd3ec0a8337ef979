//! A clock that a test moves, seeded ids, contexts, and waits that end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{CancelToken, Clock, Ids, MonoTime, Timestamp};
use amplifier_trigger::{
    BackgroundName, ConfigError, TriggerConfig, TriggerContext, TriggerEvent, TriggerRegistry, TriggerRow,
    TriggerStream, parse_triggers,
};
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::sync::watch;

/// A wall clock and a monotonic clock that a test moves, each for itself.
#[derive(Debug, Clone)]
pub(crate) struct TestClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wall: Mutex<i64>,
    mono: watch::Sender<Duration>,
    /// The latest deadline that somebody asked for.
    asked: Mutex<Duration>,
}

impl TestClock {
    pub(crate) fn at(time: &str) -> Self {
        let wall = time.parse::<Timestamp>().unwrap().as_micros();
        let mono = watch::Sender::new(Duration::ZERO);
        Self(Arc::new(Inner { wall: Mutex::new(wall), mono, asked: Mutex::default() }))
    }

    /// Time passes, on both clocks.
    pub(crate) fn pass(&self, span: Duration) {
        *self.0.wall.lock().unwrap() += span.as_micros() as i64;
        self.0.mono.send_modify(|mono| *mono += span);
    }

    /// Time passes on the wall alone: the machine slept, or somebody set the clock.
    pub(crate) fn set_by(&self, seconds: i64) {
        *self.0.wall.lock().unwrap() += seconds * 1_000_000;
    }

    /// Time passes as far as the next sleeper waits.
    fn pass_to_deadline(&self) {
        let (now, deadline) = (*self.0.mono.borrow(), *self.0.asked.lock().unwrap());
        self.pass(deadline.saturating_sub(now));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(*self.0.wall.lock().unwrap())
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(*self.0.mono.borrow())
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let span = deadline.saturating_since(MonoTime::default());
        *self.0.asked.lock().unwrap() = span;
        let mut mono = self.0.mono.subscribe();
        Box::pin(async move {
            let _ = mono.wait_for(|mono| *mono >= span).await;
        })
    }
}

/// The clock of the machine, for tests of real files.
#[derive(Debug)]
pub(crate) struct RealClock(std::time::Instant);

impl RealClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(std::time::Instant::now()))
    }
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(since.as_micros() as i64)
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(self.0.elapsed())
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let at = self.0 + deadline.saturating_since(MonoTime::default());
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

/// Ids that count.
#[derive(Debug, Default)]
pub(crate) struct CountingIds(AtomicU64);

impl Ids for CountingIds {
    fn v7(&self, _: Timestamp) -> uuid::Uuid {
        self.v4()
    }

    fn v4(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// A context of the background session `bg`.
pub(crate) fn context(row: TriggerRow, clock: Arc<dyn Clock>) -> TriggerContext {
    let ids = Arc::new(CountingIds::default());
    TriggerContext::new(BackgroundName::new("bg").unwrap(), row, clock, ids, CancelToken::new())
}

/// The configuration of one trigger.
pub(crate) fn one(entry: Value) -> TriggerConfig {
    let list = Value::Array(vec![entry]);
    parse_triggers(&list, &TriggerRegistry::new()).unwrap().remove(0)
}

/// The faults of one trigger.
pub(crate) fn faults(entry: Value) -> ConfigError {
    let list = Value::Array(vec![entry]);
    parse_triggers(&list, &TriggerRegistry::new()).unwrap_err()
}

/// What becomes of this within ten seconds.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let done = tokio::time::timeout(Duration::from_secs(10), future).await;
    done.unwrap_or_else(|_| panic!("{what} did not come within ten seconds"))
}

/// The next event of a stream, while the clock is moved from deadline to deadline; `None` if nothing
/// comes before `until`.
pub(crate) async fn before(
    stream: &mut TriggerStream,
    clock: &TestClock,
    until: Timestamp,
) -> Option<TriggerEvent> {
    loop {
        if let Some(event) = stream.next().now_or_never() {
            return event.map(Result::unwrap);
        }
        if clock.now() >= until {
            return None;
        }
        clock.pass_to_deadline();
        // Without this a task that polls by hand uses its budget up, and nothing is ready any more.
        tokio::task::yield_now().await;
    }
}

/// All events of a stream until a time.
pub(crate) async fn all(stream: &mut TriggerStream, clock: &TestClock, until: &str) -> Vec<TriggerEvent> {
    let until: Timestamp = until.parse().unwrap();
    let mut events = Vec::new();
    while let Some(event) = before(stream, clock, until).await {
        events.push(event);
    }
    events
}

/// The due times of events, short.
pub(crate) fn dues(events: &[TriggerEvent]) -> Vec<String> {
    events.iter().map(|event| amplifier_trigger::timer::rfc3339(event.due)).collect()
}
