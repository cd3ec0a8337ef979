//! Runs: one firing of a trigger each, as a state machine that is a table.
//!
//! Guarantees: [`RUN_STEPS`] is the only place that says which step is legal; the same
//! function takes a step when it is written and when it is recovered, and refuses all others.
//! Never here: policy. How often a run is tried again, and after which wait, its owner says.

use std::time::Duration;

use amplifier_core::{Payload, RunId, SessionId, Timestamp, TriggerId};

use super::{QueueName, StoreError};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RunState {
    /// It waits for its time and a free place.
    Queued,
    /// An owner has it and prepares its session.
    Leased,
    /// Its session is recorded and runs, or is to be resumed.
    Running,
    /// Its session completed. Final.
    Completed,
    /// Somebody stopped it. Final.
    Cancelled,
    /// Its last attempt failed, or a limit was reached. Final.
    Dead,
    /// It was joined to another run. Final.
    Coalesced,
    /// A policy left it out. Final.
    Skipped,
}

use RunState::{Cancelled, Coalesced, Completed, Dead, Leased, Queued, Running, Skipped};

/// Every legal step: from, to, by what.
pub const RUN_STEPS: &[(RunState, RunState, &str)] = &[
    (Queued, Leased, "an owner takes it"),
    (Queued, Coalesced, "policy"),
    (Queued, Skipped, "policy"),
    (Queued, Cancelled, "policy or a person"),
    (Leased, Running, "the commit that records its session"),
    (Leased, Dead, "no session could be started, and that was the last attempt"),
    (Leased, Queued, "given back, or its owner died before a session was recorded; no attempt is counted"),
    (Running, Completed, "the settling commit"),
    (Running, Cancelled, "the settling commit"),
    (Running, Dead, "a limit was reached, or the last attempt failed"),
    (Running, Queued, "it failed and is tried again; one more attempt is counted"),
];

impl RunState {
    /// Every state.
    pub const ALL: [Self; 8] = [Queued, Leased, Running, Completed, Cancelled, Dead, Coalesced, Skipped];

    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Queued => "queued",
            Leased => "leased",
            Running => "running",
            Completed => "completed",
            Cancelled => "cancelled",
            Dead => "dead",
            Coalesced => "coalesced",
            Skipped => "skipped",
        }
    }

    /// The state of that name, as a store has written it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// True if [`RUN_STEPS`] has this step.
    pub fn may_become(self, to: Self) -> bool {
        RUN_STEPS.iter().any(|(from, next, _)| (*from, *next) == (self, to))
    }

    /// True if no step leads on.
    pub fn is_final(self) -> bool {
        !RUN_STEPS.iter().any(|(from, ..)| *from == self)
    }
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunMove {
    /// The run.
    pub run: RunId,
    /// Where it must be now.
    pub from: RunState,
    /// Where it goes.
    pub to: RunState,
    /// The session that runs it; needed to reach [`RunState::Running`], elsewhere nothing.
    pub session: Option<SessionId>,
    /// How long it waits before it is ready again, by the store's clock.
    pub delay: Duration,
    /// Why, in one clause for people, without secrets.
    pub reason: Option<String>,
}

impl RunMove {
    /// A step without session, delay and reason.
    pub fn new(run: RunId, from: RunState, to: RunState) -> Self {
        Self { run, from, to, session: None, delay: Duration::ZERO, reason: None }
    }

    /// The session that runs it.
    #[must_use]
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// How long it waits before it is ready again.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Why, for people.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// A run as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunRow {
    /// The run.
    pub id: RunId,
    /// Its place in the order of enqueueing, over all queues; kept when it is tried again.
    pub place: u64,
    /// The queue.
    pub queue: QueueName,
    /// The trigger that fired.
    pub trigger: Option<TriggerId>,
    /// What the trigger said.
    pub payload: Payload,
    /// The higher one is begun first; kept when it is tried again.
    pub priority: i8,
    /// How far it is.
    pub state: RunState,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// The session that runs it, or that ran it last.
    pub session: Option<SessionId>,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
    /// When it may be leased, by the store's clock.
    pub ready_at: Timestamp,
    /// When it was enqueued, by the store's clock.
    pub created: Timestamp,
    /// When it took its last step, by the store's clock.
    pub updated: Timestamp,
}

impl RunRow {
    /// True if it need not wait any more. A time before the one at which it was written says that the clock
    /// was set back: then it does not wait for the clock to come that far again.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.ready_at <= now || now < self.updated
    }

    /// The row after a step at `now`. A failed attempt's session is left behind.
    pub fn step(&self, step: &RunMove, now: Timestamp) -> Result<Self, StoreError> {
        if self.state != step.from {
            let (expected, found) = (step.from, Some(self.state));
            return Err(StoreError::RunIs { run: self.id.clone(), expected, found, attempt: None });
        }
        if !step.from.may_become(step.to) {
            return Err(StoreError::IllegalStep { run: self.id.clone(), from: step.from, to: step.to });
        }
        if (step.to == Running) != step.session.is_some() {
            return Err(StoreError::Malformed { what: "a run names its session exactly when it starts" });
        }
        let mut row = self.clone();
        (row.state, row.reason, row.updated) = (step.to, step.reason.clone(), now);
        match step.to {
            Running => row.session.clone_from(&step.session),
            Queued => {
                row.attempt = row.attempt.saturating_add(u32::from(step.from == Running));
                (row.session, row.ready_at) = (None, now.saturating_add(step.delay));
            }
            _ => {}
        }
        Ok(row)
    }

    /// Refuses a run that is elsewhere, and one that has come there again: at another attempt.
    pub(crate) fn compare(
        found: Option<&Self>,
        run: &RunId,
        state: RunState,
        attempt: Option<u32>,
    ) -> Result<(), StoreError> {
        let there = found.map(|row| row.state);
        let other = found.map(|row| row.attempt).filter(|now| attempt.is_some_and(|attempt| attempt != *now));
        if there == Some(state) && other.is_none() {
            return Ok(());
        }
        let attempt = other.filter(|_| there == Some(state));
        Err(StoreError::RunIs { run: run.clone(), expected: state, found: there, attempt })
    }

    /// Refuses a row that no legal steps lead to: for rows that a store reads back.
    pub fn check(&self) -> Result<(), StoreError> {
        let legal = match self.state {
            Running | Completed => self.session.is_some(),
            Queued | Leased | Coalesced | Skipped => self.session.is_none(),
            Cancelled | Dead => true,
        };
        if legal && self.attempt >= 1 {
            return Ok(());
        }
        Err(StoreError::Damaged { what: format!("run `{}`, {}", self.id, self.state.as_str()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: RunState) -> RunRow {
        let (at, id) = (Timestamp::from_micros(0), RunId::new("r").unwrap());
        let has_session = matches!(state, Running | Completed | Dead);
        RunRow {
            id,
            place: 1,
            queue: QueueName::new("q").unwrap(),
            trigger: None,
            payload: Payload::null(),
            priority: 0,
            state,
            attempt: 1,
            session: has_session.then(|| SessionId::new("s").unwrap()),
            reason: None,
            ready_at: at,
            created: at,
            updated: at,
        }
    }

    fn to(from: RunState, to: RunState) -> RunMove {
        let step = RunMove::new(RunId::new("r").unwrap(), from, to);
        if to == Running { step.session(SessionId::new("s").unwrap()) } else { step }
    }

    #[test]
    fn every_step_outside_the_table_is_refused_and_every_step_of_it_leads_to_a_sound_row() {
        for from in RunState::ALL {
            for next in RunState::ALL {
                let result = row(from).step(&to(from, next), Timestamp::from_micros(5));
                match from.may_become(next) {
                    true => result.unwrap().check().unwrap(),
                    false => {
                        assert!(matches!(result, Err(StoreError::IllegalStep { .. })), "{from:?} {next:?}")
                    }
                }
            }
        }
        let finals: Vec<_> = RunState::ALL.into_iter().filter(|state| state.is_final()).collect();
        assert_eq!(finals, [Completed, Cancelled, Dead, Coalesced, Skipped]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_run_waiting() {
        let at = Timestamp::from_micros;
        let waits = RunRow { updated: at(10), ready_at: at(13), ..row(Queued) };
        for (now, ready) in [(9, true), (10, false), (12, false), (13, true), (20, true)] {
            assert_eq!(waits.is_ready(at(now)), ready, "{now}");
        }
    }

    #[test]
    fn an_attempt_is_counted_when_a_session_failed_and_not_when_none_was_recorded() {
        let now = Timestamp::from_micros(7);
        let again = row(Running).step(&to(Running, Queued).delay(Duration::from_micros(3)), now).unwrap();
        assert_eq!((again.attempt, again.session, again.ready_at.as_micros()), (2, None, 10));
        assert_eq!(row(Leased).step(&to(Leased, Queued), now).unwrap().attempt, 1);
    }

    #[test]
    fn a_recovered_row_that_no_steps_lead_to_is_damage() {
        let without = RunRow { session: None, ..row(Running) };
        assert!(matches!(without.check(), Err(StoreError::Damaged { .. })));
        assert!(RunRow { attempt: 0, ..row(Queued) }.check().is_err());
        assert!(RunRow { session: row(Running).session, ..row(Leased) }.check().is_err());
    }

    #[test]
    fn names_of_states_are_read_back() {
        for state in RunState::ALL {
            assert_eq!(RunState::parse(state.as_str()), Some(state));
        }
        assert_eq!(RunState::parse("walking"), None);
    }
}
