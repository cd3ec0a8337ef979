//! What looks after the issues of a crew beside its pools: rules about what is blocked, worktrees that nobody needs
//! any more, and issues whose run has ended without them.
//!
//! Guarantees: one task for a crew; it ends with it. What it misses it finds at its next look.

use std::sync::{Arc, Weak};
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{CancelToken, IssueId, SessionEvent};
use amplifier_foundation::router::Delivery;
use amplifier_issue::{IssueStatus, QueueError, QueuedIssue};
use amplifier_trigger::BackgroundName;
use serde::Deserialize;

use super::{Shared, facts};

/// How often all claimed issues are looked at.
const LOOK: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Told {
    issue_id: IssueId,
}

/// Looks after the issues until the end of `life`.
pub(super) async fn keep(shared: Weak<Shared>, life: CancelToken) {
    let Some((mut bell, clock)) = shared.upgrade().and_then(|shared| {
        let bell =
            shared.host.router().subscribe(["issue_blocked", "issue_completed", "issue_closed"]).ok()?;
        Some((bell, Arc::clone(shared.host.clock())))
    }) else {
        return;
    };
    loop {
        let woken = until(bell.next(), clock.sleep(LOOK));
        let Some(woken) = until(woken, life.cancelled()).await else { return };
        let Some(shared) = shared.upgrade() else { return };
        let seen = match woken {
            Some(None) => return,
            Some(Some(Delivery::Event(event))) => shared.heard(&event).await,
            _ => shared.mend().await,
        };
        if let Err(error) = seen {
            tracing::warn!(%error, "issues could not be looked after; it is tried again");
        }
    }
}

impl Shared {
    async fn heard(&self, event: &SessionEvent) -> Result<(), QueueError> {
        let Ok(told) = event.payload.decode::<Told>() else { return Ok(()) };
        match event.event_type.name() {
            "issue_blocked" => self.blocked(&told.issue_id).await,
            _ => self.tidy(&told.issue_id).await,
        }
    }

    /// A worker says that something is in its way: a rule may know another pool.
    async fn blocked(&self, id: &IssueId) -> Result<(), QueueError> {
        if !self.config.routing.speaks_of("blocked") {
            return Ok(());
        }
        let Some(row) = self.host.store().issue(id).await? else { return Ok(()) };
        let issue = QueuedIssue::of(&row)?;
        let Some(last) = self.last_pool(id).await? else { return Ok(()) };
        let mut facts = facts(&issue, Some("blocked"));
        facts.retries = facts.retries.saturating_add(1);
        let target = self.config.routing.pool_of(facts).ok().filter(|pool| **pool != last);
        if let Some(pool) = target.filter(|_| row.status == IssueStatus::Blocked) {
            let why = issue.details.blocking_notes.as_deref().unwrap_or("it was blocked");
            self.queue.escalate(id, Some(&format!("escalated to {pool}: {why}"))).await?;
        }
        Ok(())
    }

    /// The pool whose worker has blocked an issue; `None` where no worker did.
    async fn last_pool(&self, id: &IssueId) -> Result<Option<BackgroundName>, QueueError> {
        let history = self.queue.whole_history(id).await?;
        let blocked = history.iter().rev().find(|entry| entry.noted.event == "issue_blocked");
        let run =
            blocked.filter(|entry| entry.session.is_some()).and_then(|entry| entry.noted.run_id.as_deref());
        Ok(run.and_then(|run| BackgroundName::new(run.split(':').next()?).ok()))
    }

    /// An issue is done: its worktree goes, where it holds nothing that is not saved or merged. What a completed
    /// one holds is for somebody to look at, and stays until the issue is closed.
    async fn tidy(&self, id: &IssueId) -> Result<(), QueueError> {
        let Some(worktrees) = self.worktrees.as_ref().filter(|worktrees| worktrees.exists(id)) else {
            return Ok(());
        };
        let Some(row) = self.host.store().issue(id).await? else { return Ok(()) };
        let (Some(session), None) = (&row.session, &row.run) else { return Ok(()) };
        let removed = match row.status {
            IssueStatus::Closed => worktrees.remove(id, session).await.map(drop),
            IssueStatus::Completed => worktrees.remove_if_empty(id, session).await.map(drop),
            _ => return Ok(()),
        };
        if let Err(error) = removed {
            tracing::warn!(issue = %id, %error, "a worktree stays");
        }
        Ok(())
    }
}
