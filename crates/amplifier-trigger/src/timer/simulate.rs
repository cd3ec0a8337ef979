//! What a timer would do between two instants, told by the code that does it.
//!
//! Guarantees: pure; the same arguments give the same firings. Never here: what happens to firings in
//! a queue.

use amplifier_core::Timestamp;

use super::state::{Step, TimerState};
use super::{TimerConfig, stem};
use crate::event::{Cause, Passed};
use crate::policy::TriggerPolicy;
use crate::row::{BackgroundName, Generation, TriggerKey, TriggerRow};

/// A firing that a simulation tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Firing {
    /// Its nominal time.
    pub due: Timestamp,
    /// When it would be made: `due`, with jitter.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// What was passed over before it.
    pub passed: Passed,
}

/// The firings of a timer in their order; endless where the schedule is.
#[derive(Debug)]
pub struct Simulation {
    state: TimerState,
    now: Timestamp,
    to: Option<Timestamp>,
    start: Option<Timestamp>,
    done: bool,
}

/// What the timer would do if it were seen for the first time at `from`, and watched without a break
/// until `to`: firings that are due at `from` or later and before `to`. Without `to` take as many as are
/// wanted. A trigger that is not enabled fires never.
pub fn simulate(
    timer: &TimerConfig,
    policy: &TriggerPolicy,
    from: Timestamp,
    to: Option<Timestamp>,
) -> Simulation {
    let key = TriggerKey::hashed("simulated");
    let stem = stem("simulated", &key, Generation::FIRST);
    let state = TimerState::new(timer.schedule(from), policy.clone(), stem, timer.first_mark(from));
    let start = timer.starts(policy, from).then_some(from);
    Simulation { state, now: from, to, start, done: !policy.enabled }
}

/// What a timer of which a store keeps this row will do from now on, what it has missed first.
pub fn upcoming(
    timer: &TimerConfig,
    policy: &TriggerPolicy,
    background: &BackgroundName,
    row: &TriggerRow,
    now: Timestamp,
) -> Simulation {
    let stem = stem(background.as_str(), &row.key, row.generation);
    let mark = row.last_due.unwrap_or_else(|| timer.first_mark(row.anchor));
    let state = TimerState::new(timer.schedule(row.anchor), policy.clone(), stem, mark);
    Simulation { state, now, to: None, start: None, done: !policy.enabled }
}

impl Iterator for Simulation {
    type Item = Firing;

    fn next(&mut self) -> Option<Firing> {
        if self.done {
            return None;
        }
        if let Some(start) = self.start.take() {
            let passed = Passed::default();
            return self.within(Firing { due: start, at: start, cause: Cause::Start, passed });
        }
        loop {
            match self.state.step(self.now) {
                Step::Fire(due) => {
                    let (cause, passed) = (due.cause(), due.passed);
                    return self.within(Firing { due: due.due, at: due.at, cause, passed });
                }
                Step::Wait(span) => self.now = self.now.saturating_add(span),
                Step::End => {
                    self.done = true;
                    return None;
                }
            }
        }
    }
}

impl Simulation {
    fn within(&mut self, firing: Firing) -> Option<Firing> {
        self.done = self.to.is_some_and(|to| firing.due >= to);
        (!self.done).then_some(firing)
    }
}
