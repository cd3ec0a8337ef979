//! Issues whose run has ended without them: set right.
//!
//! Guarantees: an issue that a run has claimed which is at its end, or not there, gets what the run's session has
//! left. It happens once, whoever does it.
//! Never here: runs that wait or run; those are the manager's.

use amplifier_core::OutcomeKind;
use amplifier_issue::{End, IssueFilter, QueueError};
use amplifier_store::{IssueRow, RunRow, RunState};

use super::Shared;

const PAGE: usize = 500;

impl Shared {
    /// Looks at all issues that are claimed.
    pub(super) async fn mend(&self) -> Result<(), QueueError> {
        let mut filter = IssueFilter::default();
        filter.claimed = Some(true);
        filter.limit = PAGE;
        loop {
            let rows = self.host.store().issues(&filter).await?;
            for row in &rows {
                if let Err(error) = self.mend_one(row).await {
                    match error {
                        QueueError::Store(error) => return Err(error.into()),
                        error => tracing::warn!(issue = %row.id, %error, "an issue could not be set right"),
                    }
                }
            }
            match rows.last() {
                Some(last) if rows.len() >= PAGE => filter = filter.behind(last),
                _ => return Ok(()),
            }
        }
    }

    async fn mend_one(&self, row: &IssueRow) -> Result<(), QueueError> {
        let Some(id) = &row.run else { return Ok(()) };
        let run = self.host.store().run(id).await?;
        if run.as_ref().is_some_and(|run| !run.state.is_final()) {
            return Ok(());
        }
        let end = self.left_by(run).await?;
        tracing::info!(issue = %row.id, run = %id, "an issue is set right whose run has ended");
        match self.queue.end(&row.id, id, end).await {
            // Somebody else did.
            Err(QueueError::NotClaimed { .. } | QueueError::Unknown { .. }) => Ok(()),
            other => other,
        }
    }

    /// What a run has left, as far as the store knows.
    async fn left_by(&self, run: Option<RunRow>) -> Result<End, QueueError> {
        let released = |reason: &str| End::Released { reason: reason.to_owned(), resume: true };
        let Some(run) = run else { return Ok(released("its run is not there any more")) };
        let outcome = match &run.session {
            Some(session) => self.host.store().session(session).await?.and_then(|session| session.settled),
            None => None,
        };
        let reason = run.reason.clone().unwrap_or_else(|| run.state.as_str().to_owned());
        Ok(match (run.state, outcome) {
            (RunState::Completed, Some(settled)) if settled.outcome.kind == OutcomeKind::Completed => {
                End::Completed { result: settled.outcome.output.as_str().to_owned() }
            }
            (RunState::Completed, _) => End::Reported,
            (RunState::Dead, _) => End::Failed { reason },
            // What a crew cancels itself, it ends the issue with.
            (RunState::Cancelled, ref outcome)
                if outcome.as_ref().is_none_or(|settled| settled.outcome.kind != OutcomeKind::Cancelled) =>
            {
                End::Blocked { reason: format!("{reason}; retry the issue or close it") }
            }
            _ => released(&reason),
        })
    }
}
