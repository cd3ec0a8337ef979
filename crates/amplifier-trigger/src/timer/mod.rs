//! Timers: intervals, cron expressions, single times.
//!
//! A [`TimerConfig`] says when, [`TimerTrigger`] is the source that waits for it, [`simulate`] tells it
//! beforehand. All of it is one machine (`state`) that is asked what to do at a wall-clock time.
//!
//! Guarantees: while it waits the wall clock is looked at once a minute at least, so a clock that is set
//! or a machine that slept is noticed within a minute; nothing is missed and nothing fired twice.

mod cron;
#[cfg(test)]
mod fuzz;
mod schedule;
mod simulate;
mod state;
mod zone;

use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{Payload, Timestamp};
use futures_util::{StreamExt, stream};
use serde::Serialize;

pub use cron::{CronSchedule, InvalidCron};
pub use simulate::{Firing, Simulation, simulate, upcoming};
pub use zone::{InvalidTime, UnknownZone, Zone, rfc3339};

use self::schedule::{Schedule, minus};
use self::state::{Due, GRACE, Step, TimerState};
use crate::config::TriggerKind;
use crate::event::{Cause, TriggerEvent};
use crate::policy::TriggerPolicy;
use crate::row::{Generation, TriggerKey};
use crate::source::{TriggerContext, TriggerError, TriggerSource, TriggerStream};

/// The shortest interval.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// When a timer is due.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum When {
    /// At each multiple of a span, counted from when the timer was first seen.
    Every(Duration),
    /// At the times of a cron expression.
    Cron(CronSchedule),
    /// Once.
    At(Timestamp),
}

/// A timer as it is declared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TimerConfig {
    /// When it is due.
    pub when: When,
    /// True if it fires once at each start of its owner, too.
    pub immediate: bool,
    /// The zone in which local times are meant.
    pub zone: Zone,
}

impl TimerConfig {
    /// A timer that fires at these times, and not at starts.
    pub fn new(when: When) -> Self {
        let zone = match &when {
            When::Cron(cron) => cron.zone().clone(),
            When::Every(_) | When::At(_) => Zone::utc(),
        };
        Self { when, immediate: false, zone }
    }

    /// True if it fires at a start at this time.
    fn starts(&self, policy: &TriggerPolicy, now: Timestamp) -> bool {
        self.immediate && policy.end_time.is_none_or(|end| now <= end)
    }

    fn schedule(&self, anchor: Timestamp) -> Schedule {
        match &self.when {
            When::Every(span) => Schedule::Every { anchor, span: (*span).max(MIN_INTERVAL) },
            When::Cron(cron) => Schedule::Cron(Box::new(cron.clone())),
            When::At(at) => Schedule::At(*at),
        }
    }

    /// Up to where nominal times are settled when the timer is first seen. What is due at this very
    /// instant is not, but an interval's first firing is one interval away.
    fn first_mark(&self, anchor: Timestamp) -> Timestamp {
        match self.when {
            When::Every(_) => anchor,
            When::Cron(_) | When::At(_) => minus(anchor, Duration::from_micros(1)),
        }
    }
}

/// What the ids of a timer's firings begin with.
fn stem(background: &str, key: &TriggerKey, generation: Generation) -> String {
    format!("{background}/{key}/{generation}/")
}

/// What a timer's event says.
#[derive(Debug, Serialize)]
struct TimerPayload<'a> {
    due: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<&'a str>,
    timezone: &'a str,
    /// Firings of this start of the source.
    fire_count: u64,
    missed: u64,
}

/// The source of a timer's events.
#[derive(Debug)]
pub struct TimerTrigger {
    config: TimerConfig,
    policy: TriggerPolicy,
}

impl TimerTrigger {
    /// A timer with its policies.
    pub fn new(config: TimerConfig, policy: TriggerPolicy) -> Self {
        Self { config, policy }
    }
}

impl TriggerSource for TimerTrigger {
    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let Self { config, policy } = *self;
        let row = &context.resume;
        let stem = stem(context.background.as_str(), &row.key, row.generation);
        let mark = row.last_due.unwrap_or_else(|| config.first_mark(row.anchor));
        let start = config.starts(&policy, context.now()).then_some(());
        let enabled = policy.enabled;
        let state = TimerState::new(config.schedule(row.anchor), policy, stem, mark);
        // In a box: the state of a stream lies in its future twice.
        let watch = Box::new(Watch { config, state, context, start, fired: 0 });
        stream::unfold(enabled.then_some(watch), |watch| async {
            let mut watch = watch?;
            let event = watch.next().await?;
            // An id that is refused will be again: the error is the last word.
            let rest = event.is_ok().then_some(watch);
            Some((event, rest))
        })
        .boxed()
    }
}

/// A timer at work.
struct Watch {
    config: TimerConfig,
    state: TimerState,
    context: TriggerContext,
    start: Option<()>,
    fired: u64,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<TriggerEvent, TriggerError>> {
        loop {
            if self.context.cancel.is_cancelled() {
                return None;
            }
            let now = self.context.now();
            if self.start.take().is_some() {
                return Some(self.started(now));
            }
            match self.state.step(now) {
                Step::Fire(due) => return Some(self.event(&due, now)),
                Step::Wait(span) => {
                    let wake = self.context.clock.sleep(span.min(GRACE));
                    let cancelled = self.context.cancel.cancelled();
                    until(wake, Box::pin(cancelled)).await?;
                }
                Step::End => return None,
            }
        }
    }

    fn started(&mut self, now: Timestamp) -> Result<TriggerEvent, TriggerError> {
        let id = self.context.event_id(&format!("start-{}", self.context.start))?;
        let payload = self.payload(now, 0);
        Ok(TriggerEvent::new(id, TriggerKind::Timer, now, Cause::Start, payload))
    }

    fn event(&mut self, due: &Due, now: Timestamp) -> Result<TriggerEvent, TriggerError> {
        let id = self.context.event_id(&rfc3339(due.due))?;
        let missed = due.passed.coalesced.saturating_add(due.passed.skipped);
        let payload = self.payload(due.due, missed);
        let mut event = TriggerEvent::new(id, TriggerKind::Timer, now, due.cause(), payload);
        (event.due, event.passed) = (due.due, due.passed);
        Ok(event)
    }

    fn payload(&mut self, due: Timestamp, missed: u64) -> Payload {
        self.fired += 1;
        let (interval_seconds, cron) = match &self.config.when {
            When::Every(span) => (Some(span.as_secs_f64()), None),
            When::Cron(cron) => (None, Some(cron.as_str())),
            When::At(_) => (None, None),
        };
        let (timezone, fire_count) = (self.config.zone.name(), self.fired);
        let due = rfc3339(due);
        let payload = TimerPayload { due, interval_seconds, cron, timezone, fire_count, missed };
        Payload::encode(&payload).unwrap_or_else(|_| Payload::null())
    }
}
