//! A timer as a machine that is asked what is to be done now, and never waits itself.
//!
//! Guarantees: each nominal time is fired, made up for, coalesced or skipped once, whichever way
//! the wall clock jumps: what lies up to the *mark* is settled, and the mark rises. Only where
//! the mark lies more than [`MAX_AHEAD`] in the future was the clock wrong, and the mark falls back to now;
//! the ids of the events then tell what has fired before.
//!
//! Production and simulation are this code, with another clock.

use std::time::Duration;

use amplifier_core::Timestamp;

use super::schedule::{Schedule, minus};
use crate::event::{Cause, Passed};
use crate::jitter::jitter;
use crate::policy::{Misfire, TriggerPolicy};

/// A firing that is made within this span of its time was not missed: the span in which a wait
/// looks at the wall clock again.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// How far in the future the mark is believed.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(48 * 3_600);

/// Most firings that are counted one by one; an expression may have passed more.
const MAX_COUNTED: u64 = 10_000;

/// What a timer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Fire.
    Fire(Due),
    /// Nothing for this span.
    Wait(Duration),
    /// Nothing any more.
    End,
}

/// A firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Its nominal time.
    pub(crate) due: Timestamp,
    /// Its time with jitter.
    pub(crate) at: Timestamp,
    /// On time, or made up for.
    pub(crate) on_time: bool,
    /// What it stands for, and what was left out before it.
    pub(crate) passed: Passed,
}

impl Due {
    pub(crate) fn cause(&self) -> Cause {
        if self.on_time { Cause::Schedule } else { Cause::Misfire }
    }
}

/// A timer.
#[derive(Debug)]
pub(crate) struct TimerState {
    schedule: Schedule,
    policy: TriggerPolicy,
    /// What of an id is the same for all firings; jitter follows from the whole id.
    stem: Box<str>,
    /// Nominal times up to here are settled.
    mark: Timestamp,
    /// The first time after the mark, once it was computed.
    next: Option<(Timestamp, Timestamp)>,
    skipped: u64,
}

impl TimerState {
    /// A timer whose nominal times up to `mark` are settled.
    pub(crate) fn new(schedule: Schedule, policy: TriggerPolicy, stem: String, mark: Timestamp) -> Self {
        Self { schedule, policy, stem: stem.into(), mark, next: None, skipped: 0 }
    }

    /// What is to be done at this time of the wall clock.
    pub(crate) fn step(&mut self, now: Timestamp) -> Step {
        if self.mark > now.saturating_add(MAX_AHEAD) {
            (self.mark, self.next) = (now, None);
        }
        loop {
            let Some((due, at)) = self.next() else { return Step::End };
            if at > now {
                self.schedule.rest();
                return Step::Wait(at.saturating_since(now));
            }
            if let Some(due) = self.pending((due, at), now) {
                return Step::Fire(due);
            }
        }
    }

    /// The first firing after the mark: its nominal time, and its time with jitter.
    fn next(&mut self) -> Option<(Timestamp, Timestamp)> {
        if self.next.is_none() {
            let due = self.schedule.after(self.mark);
            let due = due.filter(|due| self.policy.end_time.is_none_or(|end| *due <= end))?;
            self.next = Some((due, self.moved(due)));
        }
        self.next
    }

    /// A nominal time moved by its jitter, which is less than the way to the next one.
    fn moved(&mut self, due: Timestamp) -> Timestamp {
        if self.policy.jitter.is_zero() {
            return due;
        }
        let gap = self.schedule.after(due).map_or(Duration::MAX, |next| next.saturating_since(due));
        let id = format!("{}{}", self.stem, super::zone::rfc3339(due));
        due.saturating_add(jitter(&id, self.policy.jitter.min(gap)))
    }

    fn settle(&mut self, mark: Timestamp) {
        (self.mark, self.next) = (mark, None);
    }

    /// Decides about what is due; `None` if it was all left out.
    fn pending(&mut self, first: (Timestamp, Timestamp), now: Timestamp) -> Option<Due> {
        if let Some(oldest) = self.policy.oldest()
            && now.saturating_since(first.0) > oldest
            && now.saturating_since(first.1) > GRACE
        {
            return self.too_old(minus(now, oldest));
        }
        if self.policy.misfire == Some(Misfire::All) {
            return Some(self.fire(first, 0, now));
        }
        let last = self.last_pending(first, now);
        let before = match last.0 > first.0 {
            true => self.schedule.between(self.mark, minus(last.0, Duration::from_micros(1)), MAX_COUNTED),
            false => 0,
        };
        if self.policy.misfire != Some(Misfire::Skip) {
            return Some(self.fire(last, before, now));
        }
        self.skipped = self.skipped.saturating_add(before);
        if now.saturating_since(last.1) <= GRACE {
            return Some(self.fire(last, 0, now));
        }
        self.skipped = self.skipped.saturating_add(1);
        self.settle(last.0);
        None
    }

    /// Leaves out what is due before `limit`.
    fn too_old(&mut self, limit: Timestamp) -> Option<Due> {
        let until = minus(limit, Duration::from_micros(1));
        let last = self.schedule.latest(self.mark, until).unwrap_or(until);
        let left_out = self.schedule.between(self.mark, last, MAX_COUNTED);
        self.skipped = self.skipped.saturating_add(left_out);
        self.settle(last);
        None
    }

    /// The last firing whose time has come, jitter included.
    fn last_pending(&mut self, first: (Timestamp, Timestamp), now: Timestamp) -> (Timestamp, Timestamp) {
        let until = self.policy.end_time.map_or(now, |end| end.min(now));
        let mut limit = until;
        while let Some(due) = self.schedule.latest(first.0, limit) {
            let at = self.moved(due);
            if at <= now {
                return (due, at);
            }
            limit = minus(due, Duration::from_micros(1));
        }
        first
    }

    fn fire(&mut self, (due, at): (Timestamp, Timestamp), coalesced: u64, now: Timestamp) -> Due {
        let passed = Passed { coalesced, skipped: std::mem::take(&mut self.skipped) };
        self.settle(due);
        Due { due, at, on_time: coalesced == 0 && now.saturating_since(at) <= GRACE, passed }
    }
}
