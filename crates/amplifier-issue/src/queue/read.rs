//! Reading issues.

use amplifier_core::{IssueId, SessionId};
use amplifier_store::{IssueCounts, IssueFilter, IssueStatus};

use super::IssueQueue;
use super::body::QueuedIssue;
use super::error::QueueError;

impl IssueQueue {
    /// One issue.
    pub async fn get(&self, issue: &IssueId) -> Result<QueuedIssue, QueueError> {
        QueuedIssue::of(&self.row(issue).await?)
    }

    /// Issues; at most as many as the filter says.
    pub async fn list(&self, filter: &IssueFilter) -> Result<Vec<QueuedIssue>, QueueError> {
        self.shared.store.issues(filter).await?.iter().map(QueuedIssue::of).collect()
    }

    /// At most `limit` issues that a run may claim, the most urgent one first.
    pub async fn ready(&self, limit: usize) -> Result<Vec<QueuedIssue>, QueueError> {
        let mut filter = IssueFilter::ready();
        filter.limit = limit;
        self.list(&filter).await
    }

    /// At most `limit` issues that wait for something other than a worker, in the order of their places, each
    /// with what it depends on that is not done. Costs the issues that are open or blocked.
    pub async fn blocked(&self, limit: usize) -> Result<Vec<(QueuedIssue, Vec<IssueId>)>, QueueError> {
        let mut blocked = Vec::new();
        let mut filter = IssueFilter::default();
        filter.statuses = vec![IssueStatus::Open, IssueStatus::Blocked];
        for row in self.all_of(filter).await? {
            if blocked.len() == limit {
                break;
            }
            let issue = QueuedIssue::of(&row)?;
            if issue.is_blocked() {
                let blockers = self.blockers(&issue).await?;
                blocked.push((issue, blockers));
            }
        }
        Ok(blocked)
    }

    /// What an issue depends on that is not done.
    pub async fn blockers(&self, issue: &QueuedIssue) -> Result<Vec<IssueId>, QueueError> {
        let mut blockers = Vec::new();
        if issue.unmet == 0 {
            return Ok(blockers);
        }
        for need in &issue.issue.depends_on {
            let row = self.shared.store.issue(need).await?;
            if row.is_none_or(|row| !row.status.is_done()) {
                blockers.push(need.clone());
            }
        }
        Ok(blockers)
    }

    /// The issue that a session works on for a run, whatever it has said of it already; `None` of any other
    /// session. Costs the issues that runs have claimed.
    pub async fn worked_on_by(&self, session: &SessionId) -> Result<Option<IssueId>, QueueError> {
        let mut filter = IssueFilter::default();
        filter.claimed = Some(true);
        let claimed = self.all_of(filter).await?;
        Ok(claimed.into_iter().find(|row| row.session.as_ref() == Some(session)).map(|row| row.id))
    }

    /// How many issues there are, by status. Reads no row.
    pub async fn counts(&self) -> Result<IssueCounts, QueueError> {
        Ok(self.shared.store.count_issues().await?)
    }
}
