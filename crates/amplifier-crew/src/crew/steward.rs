//! What looks after the issues of a crew beside its pools: rules about what is blocked, worktrees that nobody needs
//! any more, and issues whose run has ended without them.
//!
//! Guarantees: one task for a crew; it ends with it. It looks at least each minute, and finds then what it has
//! missed; so does the next one, after a crash.

use std::sync::{Arc, Weak};
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{CancelToken, IssueId, SessionEvent};
use amplifier_foundation::router::Delivery;
use amplifier_issue::{IssueStatus, QueueError, QueuedIssue};
use amplifier_trigger::BackgroundName;
use serde::Deserialize;

use super::{Shared, facts};
use crate::worktree::Worktrees;

/// How often all claimed issues are looked at, however much happens meanwhile.
const LOOK: Duration = Duration::from_secs(60);
/// After which there is something to see to.
const BELL: [&str; 4] = ["issue_blocked", "issue_completed", "issue_closed", "run_dropped"];

#[derive(Deserialize)]
struct Told {
    issue_id: IssueId,
}

/// What became of a worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tidied {
    /// Nothing is left to do.
    Done,
    /// A run still has its issue.
    Later,
}

/// Looks after the issues until the end of `life`.
pub(super) async fn keep(shared: Weak<Shared>, life: CancelToken) {
    let Some((mut bell, clock)) = shared.upgrade().and_then(|shared| {
        Some((shared.host.router().subscribe(BELL).ok()?, Arc::clone(shared.host.clock())))
    }) else {
        return;
    };
    let mut look = clock.monotonic().saturating_add(LOOK);
    // Worktrees of a time in which nobody looked.
    let mut untidy = true;
    loop {
        let wait = look.saturating_since(clock.monotonic());
        let woken = until(bell.next(), clock.sleep(wait));
        let Some(woken) = until(woken, life.cancelled()).await else { return };
        let Some(shared) = shared.upgrade() else { return };
        let mut due = clock.monotonic() >= look;
        match woken {
            Some(None) => return,
            Some(Some(Delivery::Event(event))) if event.event_type.name() == "run_dropped" => due = true,
            Some(Some(Delivery::Event(event))) => match shared.heard(&event).await {
                Ok(tidied) => untidy |= tidied == Tidied::Later,
                Err(error) => told(&error),
            },
            // Some were missed.
            Some(Some(_)) => (due, untidy) = (true, true),
            None => {}
        }
        if due {
            if let Err(error) = shared.mend().await {
                told(&error);
            }
            if untidy {
                untidy = shared.tidy_all().await == Tidied::Later;
            }
            look = clock.monotonic().saturating_add(LOOK);
        }
    }
}

fn told(error: &QueueError) {
    tracing::warn!(%error, "issues could not be looked after; it is tried again");
}

impl Shared {
    async fn heard(&self, event: &SessionEvent) -> Result<Tidied, QueueError> {
        let Ok(told) = event.payload.decode::<Told>() else { return Ok(Tidied::Done) };
        match event.event_type.name() {
            "issue_blocked" => self.blocked(&told.issue_id).await.map(|()| Tidied::Done),
            _ => self.tidy(&told.issue_id).await,
        }
    }

    /// Looks at every worktree there is.
    async fn tidy_all(&self) -> Tidied {
        let mut tidied = Tidied::Done;
        for id in self.worktrees.iter().flat_map(Worktrees::issues) {
            match self.tidy(&id).await {
                Ok(Tidied::Done) => {}
                Ok(Tidied::Later) => tidied = Tidied::Later,
                Err(error) => {
                    told(&error);
                    tidied = Tidied::Later;
                }
            }
        }
        tidied
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
    async fn tidy(&self, id: &IssueId) -> Result<Tidied, QueueError> {
        let Some(worktrees) = self.worktrees.as_ref().filter(|worktrees| worktrees.exists(id)) else {
            return Ok(Tidied::Done);
        };
        let Some(row) = self.host.store().issue(id).await? else { return Ok(Tidied::Done) };
        if row.status.is_done() && row.run.is_some() {
            return Ok(Tidied::Later);
        }
        let Some(session) = &row.session else { return Ok(Tidied::Done) };
        let removed = match row.status {
            IssueStatus::Closed => worktrees.remove(id, session).await.map(drop),
            IssueStatus::Completed => worktrees.remove_if_empty(id, session).await.map(drop),
            _ => return Ok(Tidied::Done),
        };
        if let Err(error) = removed {
            tracing::warn!(issue = %id, %error, "a worktree stays");
        }
        Ok(Tidied::Done)
    }
}
