//! What issues have to do with one another in the queue.
//!
//! Guarantees: a new dependency is written together with the row of what is depended on, so that whoever
//! completes that one meanwhile counts it or is told to look again. All rows along which a circle was looked
//! for must still be as they were read.

use std::collections::{HashMap, VecDeque};

use amplifier_core::{EventType, IssueId};
use amplifier_store::{IssueFilter, IssueRow, IssueStatus};
use serde_json::{Map, json};

use super::body::{Bound, Link, LinkKind, QueuedIssue};
use super::error::QueueError;
use super::scene::{Said, Scene};
use super::{ATTEMPTS, IssueQueue, Reach};

impl IssueQueue {
    /// Makes `issue` wait for `needed`. One that is there already is no error and writes nothing. A run that
    /// has claimed `issue` and waits is cancelled if `needed` is not done.
    pub async fn add_dependency(&self, issue: &IssueId, needed: &IssueId) -> Result<QueuedIssue, QueueError> {
        if issue == needed {
            return Err(QueueError::Cycle { path: vec![issue.clone(), needed.clone()] });
        }
        for _ in 0..ATTEMPTS {
            let row = self.row(issue).await?;
            if row.needs.contains(needed) {
                return QueuedIssue::of(&row);
            }
            Bound::Dependencies.check(row.needs.len() + 1)?;
            let is_queued = self.is_queued(&row).await?;
            let Some(other) = self.shared.store.issue(needed).await? else {
                return Err(QueueError::UnknownNeed { issue: issue.clone(), needed: needed.clone() });
            };
            let seen = self.look_for_cycle(&row, &other).await?;
            let (issue, commit) = {
                let mut scene = self.scene(row)?;
                scene.is_queued = is_queued;
                seen.iter().for_each(|row| scene.rely_on(row));
                scene.depend(other)?;
                (scene.issue()?, scene.commit()?)
            };
            if self.written(commit.unwrap_or_default()).await? {
                return Ok(issue);
            }
        }
        Err(QueueError::Contended { issue: issue.clone() })
    }

    /// Walks from what is to be depended on along its dependencies; the rows that it went through.
    async fn look_for_cycle(&self, row: &IssueRow, other: &IssueRow) -> Result<Vec<IssueRow>, QueueError> {
        let mut first = IssueFilter::needing(row.id.clone());
        first.limit = 1;
        if self.shared.store.issues(&first).await?.is_empty() {
            // Nobody depends on it, so no way leads to it; who does from now on writes its row.
            return Ok(Vec::new());
        }
        let mut from: HashMap<IssueId, IssueId> = HashMap::new();
        let mut seen = Vec::new();
        let mut next = VecDeque::from([other.clone()]);
        while let Some(here) = next.pop_front() {
            for need in &here.needs {
                if *need == row.id {
                    return Err(QueueError::Cycle { path: way(&from, row, other, &here.id) });
                }
                if *need == other.id || from.contains_key(need) {
                    continue;
                }
                from.insert(need.clone(), here.id.clone());
                if let Some(found) = self.shared.store.issue(need).await? {
                    next.push_back(found);
                }
            }
            if here.id != other.id {
                seen.push(here);
            }
        }
        Ok(seen)
    }

    /// Makes `issue` wait for `needed` no longer.
    pub async fn remove_dependency(
        &self,
        issue: &IssueId,
        needed: &IssueId,
    ) -> Result<QueuedIssue, QueueError> {
        for _ in 0..ATTEMPTS {
            // Its own row first: whoever completes `needed` after that changes it.
            let row = self.row(issue).await?;
            let other = self.shared.store.issue(needed).await?;
            let was_unmet = other.is_none_or(|other| !other.status.is_done());
            let (issue, commit) = {
                let mut scene = self.scene(row)?;
                scene.depend_no_more(needed, was_unmet)?;
                (scene.issue()?, scene.commit()?)
            };
            if self.written(commit.unwrap_or_default()).await? {
                return Ok(issue);
            }
        }
        Err(QueueError::Contended { issue: issue.clone() })
    }

    /// Links an issue to another one, which need not be there and holds it up in no way.
    pub async fn link(
        &self,
        issue: &IssueId,
        kind: LinkKind,
        to: &IssueId,
    ) -> Result<QueuedIssue, QueueError> {
        let link = Link { kind, to: to.clone() };
        self.change(issue, Reach::Issue, |scene| {
            if scene.item.body.details.links.contains(&link) {
                return Ok(());
            }
            scene.write().body.details.links.push(link.clone());
            let changes = Map::from_iter([("links".to_owned(), json!({"new": link}))]);
            scene.tell(EventType::IssueUpdated, Said { changes, ..Said::default() })
        })
        .await
    }
}

/// The circle that a dependency of `row` on `other` would close, where `last` depends on `row`.
fn way(from: &HashMap<IssueId, IssueId>, row: &IssueRow, other: &IssueRow, last: &IssueId) -> Vec<IssueId> {
    let mut path = vec![row.id.clone()];
    let mut here = last;
    while *here != other.id {
        path.push(here.clone());
        let Some(before) = from.get(here) else { break };
        here = before;
    }
    path.push(other.id.clone());
    path.push(row.id.clone());
    path.reverse();
    path
}

impl Scene<'_> {
    fn depend(&mut self, other: IssueRow) -> Result<(), QueueError> {
        let is_unmet = !other.status.is_done();
        if is_unmet {
            self.unclaim("the issue depends on another one now");
        }
        let by_worker = self.by.actor.session.is_some();
        let item = self.write();
        item.row.needs.push(other.id.clone());
        item.row.unmet = item.row.unmet.saturating_add(is_unmet.into());
        if is_unmet && by_worker && item.row.status == IssueStatus::Blocked {
            item.body.details.waits_for_needs = true;
        }
        let changes = Map::from_iter([("depends_on".to_owned(), json!({"new": other.id}))]);
        self.tell(EventType::IssueUpdated, Said { changes, ..Said::default() })?;
        self.write_other(other);
        Ok(())
    }

    fn depend_no_more(&mut self, needed: &IssueId, was_unmet: bool) -> Result<(), QueueError> {
        let item = self.write();
        let Some(at) = item.row.needs.iter().position(|need| need == needed) else {
            return Err(QueueError::NoDependency { issue: item.row.id.clone(), needed: needed.clone() });
        };
        item.row.needs.remove(at);
        item.row.unmet = item.row.unmet.saturating_sub(was_unmet.into());
        let is_free = was_unmet && item.row.unmet == 0;
        if is_free && item.row.status == IssueStatus::Blocked && item.body.details.waits_for_needs {
            item.opens();
        }
        let is_unblocked = is_free && item.row.status == IssueStatus::Open;
        let event = if is_unblocked { EventType::IssueUnblocked } else { EventType::IssueUpdated };
        let changes = Map::from_iter([("depends_on".to_owned(), json!({"old": needed}))]);
        self.tell(event, Said { changes, ..Said::default() })
    }
}
