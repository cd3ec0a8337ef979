//! A run's way through an issue: claimed, begun, ended. Each step as a part of the commit that moves the run.
//!
//! Guarantees: one run at most has an issue, and only a ready one can be claimed. A step of a run that has
//! lost its claim is refused, and nothing of the commit that it joined is written. What somebody else has
//! said of the issue meanwhile stays.
//! Never here: moving the run.

use std::time::Duration;

use amplifier_core::{EventType, IssueId, RunId, SessionId};
use amplifier_store::{Commit, IssueRow, IssueStatus};

use super::body::cut;
use super::error::QueueError;
use super::scene::{Said, Scene};
use super::{IssueQueue, Reach};

/// How a run of an issue has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Its session completed.
    Completed {
        /// What came out; cut at 64 KiB.
        result: String,
    },
    /// There will be no other attempt.
    Failed {
        /// Why.
        reason: String,
    },
    /// The same run will be tried again: it keeps the claim.
    Retry {
        /// Why this attempt failed.
        reason: String,
        /// After how long.
        delay: Duration,
    },
    /// Another pool is to try it: it is free.
    Escalated {
        /// Why, and where to.
        reason: String,
    },
    /// It was not tried to its end: it is free.
    Released {
        /// Why.
        reason: String,
        /// Whether its next worker goes on in the same session.
        resume: bool,
    },
    /// Something stands in its way.
    Blocked {
        /// What.
        reason: String,
    },
    /// Only the claim ends: whatever the issue is now was said by others.
    Reported,
}

impl IssueQueue {
    /// Claims a ready issue for a run. Joins the commit that enqueues it.
    pub fn plan_claim(&self, row: &IssueRow, run: &RunId) -> Result<Commit, QueueError> {
        let mut scene = self.scene(row.clone())?;
        if !row.is_ready() {
            let (issue, status) = (row.id.clone(), row.status);
            let help = "wait until it is open, free, and all that it depends on is done";
            return Err(QueueError::Status { issue, status, wanted: "claimed", help });
        }
        let item = scene.write();
        item.row.run = Some(run.clone());
        item.body.details.started = false;
        written(scene)
    }

    /// The session of the run that has claimed an issue begins. Joins the commit that opens the session.
    pub fn plan_start(&self, row: &IssueRow, run: &RunId, session: &SessionId) -> Result<Commit, QueueError> {
        let mut scene = self.scene(row.clone())?;
        if row.run.as_ref() != Some(run) || !matches!(row.status, IssueStatus::Open | IssueStatus::InProgress)
        {
            return Err(not_claimed(row, run));
        }
        let item = scene.write();
        item.row.status = IssueStatus::InProgress;
        item.row.session = Some(session.clone());
        let details = &mut item.body.details;
        (details.started, details.resume, details.not_before) = (true, false, None);
        scene.tell(EventType::IssueStarted, Said::default())?;
        written(scene)
    }

    /// The run ends. Joins the commit that settles it. `dependents` is what [`IssueQueue::dependents`] said
    /// after `row` was read; needed for [`End::Completed`] alone.
    pub fn plan_end(
        &self,
        row: &IssueRow,
        dependents: &[IssueRow],
        run: &RunId,
        end: End,
    ) -> Result<Commit, QueueError> {
        let mut scene = self.scene(row.clone())?;
        if row.run.as_ref() != Some(run) {
            return Err(not_claimed(row, run));
        }
        scene.dependents = dependents;
        let never_begun = row.status == IssueStatus::Open && !scene.item.body.details.started;
        // The run is told of with what it did, so the claim ends after that.
        if row.status == IssueStatus::InProgress || never_begun {
            settle(&mut scene, end)?;
        } else {
            reported(&mut scene, end)?;
        }
        written(scene)
    }

    /// Claims a ready issue for a run, in a commit of its own.
    pub async fn claim(&self, issue: &IssueId, run: &RunId) -> Result<(), QueueError> {
        self.planned(issue, Reach::Issue, |row, _| self.plan_claim(row, run)).await
    }

    /// The session of a run begins, in a commit of its own.
    pub async fn start(&self, issue: &IssueId, run: &RunId, session: &SessionId) -> Result<(), QueueError> {
        self.planned(issue, Reach::Issue, |row, _| self.plan_start(row, run, session)).await
    }

    /// The run ends, in a commit of its own.
    pub async fn end(&self, issue: &IssueId, run: &RunId, end: End) -> Result<(), QueueError> {
        self.planned(issue, Reach::Dependents, |row, dependents| {
            self.plan_end(row, dependents, run, end.clone())
        })
        .await
    }
}

fn settle(scene: &mut Scene<'_>, end: End) -> Result<(), QueueError> {
    let was = scene.status();
    let text = |reason: String| Some(cut(reason));
    let mut keeps = false;
    match end {
        End::Completed { result } => scene.complete(Some(result))?,
        End::Failed { reason } => {
            let details = &mut scene.write().body.details;
            details.retry_count = details.retry_count.saturating_add(1);
            scene.fail(text(reason))?;
        }
        End::Escalated { reason } => scene.escalate(text(reason))?,
        End::Blocked { reason } => scene.block(text(reason))?,
        End::Released { reason, resume } => {
            let item = scene.write();
            item.opens();
            item.body.details.resume = resume && item.row.session.is_some();
            scene.tell(EventType::IssueUpdated, Said::because(text(reason)))?;
        }
        End::Retry { reason, delay } => {
            let not_before = scene.by.now.saturating_add(delay);
            let item = scene.write();
            item.row.status = IssueStatus::Open;
            let details = &mut item.body.details;
            details.retry_count = details.retry_count.saturating_add(1);
            (details.not_before, details.reason) = (Some(not_before), text(reason.clone()));
            scene.tell(EventType::IssueRetried, Said::because(text(reason)))?;
            keeps = true;
        }
        // Its worker has begun and said nothing: it is free, as nobody works on it any more.
        End::Reported if was == IssueStatus::InProgress => {
            scene.write().opens();
            scene.tell(EventType::IssueUpdated, Said::because(Some("nobody works on it any more".into())))?;
        }
        End::Reported => {
            let details = &mut scene.write().body.details;
            details.round = details.round.saturating_add(1);
        }
    }
    unclaimed(scene, keeps);
    Ok(())
}

/// Others have said where it stands; what came out is kept with that.
fn reported(scene: &mut Scene<'_>, end: End) -> Result<(), QueueError> {
    let is_completed = scene.status() == IssueStatus::Completed;
    let details = &mut scene.write().body.details;
    if let End::Completed { result } = end
        && is_completed
        && details.result.is_none()
    {
        details.result = Some(cut(result));
    }
    let frees = scene.status() == IssueStatus::Open;
    unclaimed(scene, false);
    if frees {
        scene.tell(EventType::IssueUpdated, Said::because(Some("its last run has ended".into())))?;
    }
    Ok(())
}

fn unclaimed(scene: &mut Scene<'_>, keeps: bool) {
    let item = scene.write();
    item.body.details.started = false;
    if !keeps {
        item.row.run = None;
    }
}

fn not_claimed(row: &IssueRow, run: &RunId) -> QueueError {
    QueueError::NotClaimed { issue: row.id.clone(), run: run.clone() }
}

fn written(scene: Scene<'_>) -> Result<Commit, QueueError> {
    Ok(scene.commit()?.unwrap_or_default())
}
