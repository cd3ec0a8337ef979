//! What an outcome means for the issue and for its run: a function, without a store and without time.
//!
//! | outcome | issue | run |
//! |---|---|---|
//! | completed, nothing reported | completed, with its output | completed |
//! | the worker has reported | as it was reported | completed |
//! | failed, timed out; rules name another pool | open, for that pool | cancelled |
//! | failed, timed out; an attempt is left | open, kept by the run | queued |
//! | failed, timed out; none is left | failed | dead |
//! | a limit was reached | failed | dead |
//! | lost | in progress, its session goes on; or the next attempt, by `on_lost` | running; queued |
//! | cancelled, while the foreman stops | open; its session goes on next time | cancelled |
//! | cancelled, by somebody | blocked | cancelled |

use std::time::Duration;

use amplifier_background::work::{Next, WorkEnd, WorkRun};
use amplifier_core::{OutcomeKind, SessionId, SessionOutcome};
use amplifier_issue::{End, IssueStatus, QueuedIssue};
use amplifier_store::RunState;

use super::facts;
use crate::config::{OnLost, PoolConfig};
use crate::routing::Routing;

/// An attempt that has ended.
pub(super) struct Case<'a> {
    pub(super) of: &'a WorkRun,
    pub(super) issue: &'a QueuedIssue,
    pub(super) pool: &'a PoolConfig,
    pub(super) routing: &'a Routing,
    /// How long the next attempt waits.
    pub(super) backoff: Duration,
}

/// What becomes of it.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    /// Of the issue; `None`: nothing.
    pub(super) end: Option<End>,
    /// Of the run.
    pub(super) next: Next,
    /// In which session.
    pub(super) session: Option<SessionId>,
}

impl Verdict {
    fn new(end: End, next: Next) -> Self {
        Self { end: Some(end), next, session: None }
    }

    fn nothing() -> Self {
        Self { end: None, next: Next::AsUsual, session: None }
    }
}

pub(super) fn verdict(case: &Case<'_>, end: WorkEnd<'_>) -> Verdict {
    match end {
        WorkEnd::Session { session, outcome, usual } => {
            let verdict = of_session(case, outcome, usual);
            Verdict { session: Some(session.clone()), ..verdict }
        }
        WorkEnd::Nothing { reason, last: true } => {
            Verdict::new(End::Failed { reason: reason.to_owned() }, Next::AsUsual)
        }
        WorkEnd::Nothing { reason, .. } if case.issue.issue.status == IssueStatus::InProgress => {
            Verdict::new(End::Retry { reason: reason.to_owned(), delay: Duration::ZERO }, Next::AsUsual)
        }
        _ => Verdict::nothing(),
    }
}

fn of_session(case: &Case<'_>, outcome: &SessionOutcome, usual: Option<RunState>) -> Verdict {
    let why = || {
        outcome.error.as_ref().map_or_else(|| outcome.kind.as_str().to_owned(), |error| error.message.clone())
    };
    if outcome.kind == OutcomeKind::Lost && usual.is_none() && case.pool.on_lost == OnLost::Resume {
        return Verdict::nothing();
    }
    if outcome.kind == OutcomeKind::Completed {
        return Verdict::new(End::Completed { result: outcome.output.as_str().to_owned() }, Next::AsUsual);
    }
    // What its worker has said of the issue counts more than how its session ended.
    if case.issue.issue.status != IssueStatus::InProgress {
        return Verdict::new(End::Reported, Next::Completed);
    }
    match outcome.kind {
        OutcomeKind::Failed | OutcomeKind::TimedOut | OutcomeKind::Lost => again(case, why()),
        OutcomeKind::Cancelled if case.of.stopping => {
            let reason = "the foreman was stopped".to_owned();
            Verdict::new(End::Released { reason, resume: true }, Next::AsUsual)
        }
        OutcomeKind::Cancelled => {
            let reason = "its worker was cancelled; retry the issue or close it".to_owned();
            Verdict::new(End::Blocked { reason }, Next::AsUsual)
        }
        _ => Verdict::new(End::Failed { reason: why() }, Next::Dead { reason: why() }),
    }
}

/// After an attempt that failed: another pool, another attempt, or the end.
fn again(case: &Case<'_>, why: String) -> Verdict {
    let mut facts = facts(case.issue, Some("failed"));
    facts.retries = facts.retries.saturating_add(1);
    facts.status = "open";
    match case.routing.pool_of(facts) {
        Ok(pool) if *pool != case.pool.name => {
            let reason = format!("escalated to {pool}");
            Verdict::new(End::Escalated { reason: format!("{reason}: {why}") }, Next::Cancelled { reason })
        }
        _ if case.of.attempt < case.of.attempts => {
            let end = End::Retry { reason: why.clone(), delay: case.backoff };
            Verdict::new(end, Next::Again { reason: why })
        }
        _ => Verdict::new(End::Failed { reason: why.clone() }, Next::Dead { reason: why }),
    }
}
