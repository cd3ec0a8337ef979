//! How the issues of a run came out.
//!
//! Guarantees: each issue of the list has exactly one result.
//! Never here: exit codes and tables, which are the binaries' own.

use std::sync::Arc;

use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_core::{IssueId, OutcomeKind, SessionId, SessionOutcome, Usage};
use amplifier_issue::IssueStatus;

use amplifier_foundation::spawn::{SpawnError, TreeOutcome};

/// How one issue came out.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssueResult {
    /// The issue.
    pub issue: IssueId,
    /// What it was about.
    pub title: String,
    /// How it came out.
    pub state: IssueState,
    /// Its worker's session; `None` if it had none.
    pub session: Option<SessionId>,
    /// The bundle of the worker, as it was named.
    pub bundle: Option<String>,
    /// `provider/model` that answered.
    pub model: Option<String>,
    /// The outcome of the session.
    pub outcome: Option<Arc<SessionOutcome>>,
    /// What the session and those that it spawned come to together.
    pub tree: Option<TreeOutcome>,
}

/// How an issue came out.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum IssueState {
    /// Its worker has answered.
    Completed,
    /// Its worker did not get that far.
    Failed(IssueError),
    /// It did not begin, because this one was not completed.
    Blocked {
        /// What it depends on.
        by: IssueId,
    },
    /// The run was stopped before it was completed, or before it began.
    Cancelled,
    /// It was done before.
    Skipped(IssueStatus),
}

/// Why an issue was not completed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// There was no session.
    #[error(transparent)]
    Spawn(Arc<SpawnError>),
    /// The session ended otherwise than by an answer.
    #[error(transparent)]
    Session(OutcomeError),
    /// The session answered, and its end is not on disk.
    #[error("the end of the session could not be written to disk")]
    Unrecorded,
    /// The session answered, and left children behind that nobody took care of: they failed in the
    /// background, or still run.
    #[error("{children} of the sessions that it spawned failed or still run, and nobody waited for them")]
    Abandoned {
        /// How many.
        children: usize,
    },
    /// The session did not stop when it was told to.
    #[error("the session did not stop and was left; its transcript so far is kept")]
    Stuck,
    /// Nothing was left of the run's budget.
    #[error("nothing is left of the budget of the run")]
    Budget,
}

impl IssueResult {
    /// How it came out, in a word: `completed`, `failed`, `timed_out`, `limit_reached`, `lost`,
    /// `abandoned`, `blocked`, `cancelled` or `skipped`.
    pub fn outcome_name(&self) -> &'static str {
        let kind = self.outcome.as_ref().map(|outcome| outcome.kind);
        match (&self.state, kind) {
            (IssueState::Completed, _) => OutcomeKind::Completed.as_str(),
            (IssueState::Failed(IssueError::Budget), _) => OutcomeKind::LimitReached.as_str(),
            (IssueState::Failed(IssueError::Session(_)), Some(kind)) => kind.as_str(),
            (IssueState::Failed(IssueError::Abandoned { .. }), _) => "abandoned",
            (IssueState::Failed(_), _) => OutcomeKind::Failed.as_str(),
            (IssueState::Blocked { .. }, _) => "blocked",
            (IssueState::Cancelled, _) => OutcomeKind::Cancelled.as_str(),
            (IssueState::Skipped(_), _) => "skipped",
        }
    }

    /// Why it failed.
    pub fn error(&self) -> Option<&IssueError> {
        match &self.state {
            IssueState::Failed(error) => Some(error),
            _ => None,
        }
    }

    fn is_rate_limited(&self) -> bool {
        matches!(self.error(), Some(IssueError::Session(error)) if error.kind == FailureKind::RateLimited)
    }

    fn is_misconfigured(&self) -> bool {
        matches!(self.error(), Some(IssueError::Spawn(error)) if error.is_configuration())
    }
}

/// How a run came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunVerdict {
    /// Everything that was to be done was completed.
    Completed,
    /// Something was not completed.
    Failed,
    /// Something failed, and each failure is a rate limit: it may go well later.
    RateLimited,
    /// No session came to be at all, because of the configuration.
    Misconfigured,
}

/// How all issues came out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RunReport {
    /// One result an issue, in the order of the list.
    pub results: Vec<IssueResult>,
}

impl RunReport {
    /// How the run came out.
    pub fn verdict(&self) -> RunVerdict {
        // What was blocked has its reason in what failed.
        let is_cause = |result: &&IssueResult| match result.state {
            IssueState::Completed | IssueState::Skipped(_) | IssueState::Blocked { .. } => false,
            IssueState::Failed(_) | IssueState::Cancelled => true,
        };
        let causes: Vec<&IssueResult> = self.results.iter().filter(is_cause).collect();
        let no_session = || self.results.iter().all(|result| result.session.is_none());
        if causes.is_empty() {
            RunVerdict::Completed
        } else if causes.iter().all(|result| result.is_rate_limited()) {
            RunVerdict::RateLimited
        } else if no_session() && causes.iter().all(|result| result.is_misconfigured()) {
            RunVerdict::Misconfigured
        } else {
            RunVerdict::Failed
        }
    }

    /// How many issues came out so, by [`IssueResult::outcome_name`].
    pub fn count(&self, outcome_name: &str) -> usize {
        self.results.iter().filter(|result| result.outcome_name() == outcome_name).count()
    }

    /// Model calls of all workers, without those of what they spawned.
    pub fn turns(&self) -> u64 {
        self.results.iter().filter_map(|result| result.outcome.as_ref()).map(|own| u64::from(own.turns)).sum()
    }

    /// Tokens of all workers, and of what they spawned.
    pub fn usage(&self) -> Usage {
        self.trees().fold(Usage::default(), |mut sum, tree| {
            sum += tree.usage;
            sum
        })
    }

    /// Cost of all workers and of what they spawned, in millionths of a US dollar; `None` if that of one
    /// is not known, or none ran.
    pub fn cost_micro_usd(&self) -> Option<u64> {
        let mut trees = self.trees().peekable();
        trees.peek()?;
        trees.try_fold(0_u64, |sum, tree| Some(sum.saturating_add(tree.cost_micro_usd?)))
    }

    fn trees(&self) -> impl Iterator<Item = &TreeOutcome> {
        self.results.iter().filter_map(|result| result.tree.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use amplifier_core::Activation;

    use super::*;

    fn id(text: &str) -> IssueId {
        IssueId::new(text).unwrap()
    }

    fn result(state: IssueState, outcome: Option<SessionOutcome>) -> IssueResult {
        let session = outcome.as_ref().map(|_| SessionId::new("s").unwrap());
        let tree = outcome.as_ref().map(|outcome| TreeOutcome::new(outcome, Vec::new()));
        let (issue, title, outcome) = (id("a"), "A".into(), outcome.map(Arc::new));
        IssueResult { issue, title, state, session, bundle: None, model: None, outcome, tree }
    }

    fn ended(kind: OutcomeKind, error: Option<FailureKind>) -> IssueResult {
        let error = error.map(|kind| OutcomeError::new(kind, "told"));
        let mut outcome = SessionOutcome::new(kind, Activation::FIRST, "", error.clone());
        (outcome.turns, outcome.usage.input_tokens) = (2, 5);
        outcome.cost_micro_usd = Some(7);
        let state = match error {
            None => IssueState::Completed,
            Some(error) => IssueState::Failed(IssueError::Session(error)),
        };
        result(state, Some(outcome))
    }

    fn unspawned(error: SpawnError) -> IssueResult {
        result(IssueState::Failed(IssueError::Spawn(Arc::new(error))), None)
    }

    fn report(results: &[IssueResult]) -> RunReport {
        RunReport { results: results.to_vec() }
    }

    #[test]
    fn a_verdict_tells_what_may_go_well_later_from_what_may_not() {
        let done = ended(OutcomeKind::Completed, None);
        let limited = ended(OutcomeKind::Failed, Some(FailureKind::RateLimited));
        let failed = ended(OutcomeKind::Failed, Some(FailureKind::Provider));
        let blocked = result(IssueState::Blocked { by: id("b") }, None);
        let skipped = result(IssueState::Skipped(IssueStatus::Closed), None);
        let cancelled = result(IssueState::Cancelled, None);
        let wrong = unspawned(SpawnError::NoProvider);
        let shut = unspawned(SpawnError::ShutDown);
        let check = |results: &[&IssueResult], expect: RunVerdict| {
            let results: Vec<IssueResult> = results.iter().map(|result| (*result).clone()).collect();
            assert_eq!(report(&results).verdict(), expect, "{results:#?}");
        };
        check(&[], RunVerdict::Completed);
        check(&[&done, &skipped], RunVerdict::Completed);
        check(&[&done, &limited, &blocked], RunVerdict::RateLimited);
        check(&[&limited, &failed], RunVerdict::Failed);
        check(&[&limited, &cancelled], RunVerdict::Failed);
        check(&[&cancelled], RunVerdict::Failed);
        check(&[&wrong, &blocked, &wrong], RunVerdict::Misconfigured);
        check(&[&wrong, &done], RunVerdict::Failed);
        check(&[&wrong, &shut], RunVerdict::Failed);
    }

    #[test]
    fn each_result_has_its_word() {
        let check = |result: IssueResult, expect: &str| {
            assert_eq!(result.outcome_name(), expect, "{result:?}");
            assert_eq!(report(&[result]).count(expect), 1);
        };
        check(ended(OutcomeKind::Completed, None), "completed");
        check(ended(OutcomeKind::TimedOut, Some(FailureKind::TimedOut)), "timed_out");
        check(ended(OutcomeKind::LimitReached, Some(FailureKind::Limit)), "limit_reached");
        check(unspawned(SpawnError::ShutDown), "failed");
        check(result(IssueState::Failed(IssueError::Budget), None), "limit_reached");
        let mut unrecorded = ended(OutcomeKind::Completed, None);
        unrecorded.state = IssueState::Failed(IssueError::Unrecorded);
        check(unrecorded, "failed");
        check(result(IssueState::Blocked { by: id("b") }, None), "blocked");
        check(result(IssueState::Cancelled, None), "cancelled");
        check(result(IssueState::Skipped(IssueStatus::Closed), None), "skipped");
    }

    #[test]
    fn sums_are_of_all_workers_and_an_unknown_cost_is_not_zero() {
        let done = ended(OutcomeKind::Completed, None);
        let both = report(&[done.clone(), result(IssueState::Cancelled, None), done.clone()]);
        assert_eq!((both.turns(), both.usage().input_tokens, both.cost_micro_usd()), (4, 10, Some(14)));
        let unknown = SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, "", None);
        let some = report(&[done, result(IssueState::Completed, Some(unknown))]);
        assert_eq!(some.cost_micro_usd(), None);
        assert_eq!(report(&[]).cost_micro_usd(), None);
    }
}
