//! The queue of a project's issues, on its store.
//!
//! Guarantees: each change is one commit: the rows under the revisions at which they were read, a note that
//! says who did it, and the event. Two who change one issue at once do so one after the other, and nothing
//! that either did is lost. A dependency that is done is counted once by each that waits for it, whoever
//! crashes when; a dependency never leads in a circle.
//! Never here: workers, sessions, which pool an issue goes to.

mod actor;
mod body;
mod change;
mod claim;
mod depend;
mod error;
mod history;
mod open;
mod read;
mod scene;
mod steps;
mod view;

use std::sync::Arc;

use amplifier_core::{Clock, Ids, IssueId};
use amplifier_store::{Commit, IssueFilter, IssueRow, Receipt, RunState, Store};

pub use actor::{Actor, SealEvent};
pub use body::{Bound, Details, Link, LinkKind, QueuedIssue};
pub use change::Edit;
pub use claim::End;
pub use error::QueueError;
pub use history::{HistoryEntry, IssueSession, Noted};
pub use open::{ForeignEvent, NewIssue};
pub use view::{IssueView, NoteView};

use error::conflict;
use scene::{By, Scene};

/// How often a change is tried while others change the same issue.
const ATTEMPTS: usize = 8;
/// Rows that are read at once.
const PAGE: usize = 1_000;

/// The issues of a project. Cheap to clone; each clone may have another actor.
#[derive(Debug, Clone)]
pub struct IssueQueue {
    shared: Arc<Shared>,
    actor: Actor,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    seal: Box<dyn SealEvent>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

/// What is read before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The issue alone.
    Issue,
    /// Those that depend on it too: it may become done or undone.
    Dependents,
}

impl IssueQueue {
    /// The issues of a store. `seal` completes events, as an event router does.
    pub fn new(
        store: Arc<dyn Store>,
        seal: impl SealEvent + 'static,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        actor: Actor,
    ) -> Self {
        Self { shared: Arc::new(Shared { store, seal: Box::new(seal), clock, ids }), actor }
    }

    /// The same issues; changes are noted as those of `actor`.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self { shared: Arc::clone(&self.shared), actor }
    }

    /// Whose changes these are.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The store that they are in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    fn as_actor(&self) -> By<'_> {
        By { seal: self.shared.seal.as_ref(), actor: &self.actor, now: self.shared.clock.now() }
    }

    fn scene(&self, row: IssueRow) -> Result<Scene<'_>, QueueError> {
        Scene::new(row, self.as_actor())
    }

    async fn row(&self, issue: &IssueId) -> Result<IssueRow, QueueError> {
        let row = self.shared.store.issue(issue).await?;
        row.ok_or_else(|| QueueError::Unknown { issue: issue.clone() })
    }

    /// The rows of all that depend on an issue, in the order of their places. Read them after the issue's own
    /// row, under whose revision they are written.
    pub async fn dependents(&self, issue: &IssueId) -> Result<Vec<IssueRow>, QueueError> {
        self.all_of(IssueFilter::needing(issue.clone())).await
    }

    /// All rows of a filter.
    async fn all_of(&self, mut filter: IssueFilter) -> Result<Vec<IssueRow>, QueueError> {
        filter.limit = PAGE;
        let mut rows = Vec::new();
        loop {
            let page = self.shared.store.issues(&filter).await?;
            let Some(last) = page.last() else { return Ok(rows) };
            let is_last = page.len() < PAGE;
            filter.after = Some(filter.order.key(last));
            rows.extend(page);
            if is_last {
                return Ok(rows);
            }
        }
    }

    /// Changes one issue, as often as others get in between. `step` says what is done to what was read.
    async fn change<F>(&self, issue: &IssueId, reach: Reach, step: F) -> Result<QueuedIssue, QueueError>
    where
        F: Fn(&mut Scene<'_>) -> Result<(), QueueError> + Send + Sync,
    {
        for _ in 0..ATTEMPTS {
            let row = self.row(issue).await?;
            let is_queued = self.is_queued(&row).await?;
            let dependents = match reach {
                Reach::Dependents => self.dependents(issue).await?,
                Reach::Issue => Vec::new(),
            };
            let (issue, commit) = {
                let mut scene = self.scene(row)?;
                (scene.dependents, scene.is_queued) = (&dependents, is_queued);
                step(&mut scene)?;
                (scene.issue()?, scene.commit()?)
            };
            let Some(commit) = commit else { return Ok(issue) };
            if self.written(commit).await? {
                return Ok(issue);
            }
        }
        Err(QueueError::Contended { issue: issue.clone() })
    }

    /// Commits what was planned for an issue, as often as others get in between.
    async fn planned<F>(&self, issue: &IssueId, reach: Reach, plan: F) -> Result<(), QueueError>
    where
        F: Fn(&IssueRow, &[IssueRow]) -> Result<Commit, QueueError> + Send + Sync,
    {
        for _ in 0..ATTEMPTS {
            let row = self.row(issue).await?;
            let dependents = match reach {
                Reach::Dependents => self.dependents(issue).await?,
                Reach::Issue => Vec::new(),
            };
            if self.written(plan(&row, &dependents)?).await? {
                return Ok(());
            }
        }
        Err(QueueError::Contended { issue: issue.clone() })
    }

    /// False if somebody else has changed what the commit relies on.
    async fn written(&self, commit: Commit) -> Result<bool, QueueError> {
        match self.shared.store.commit(commit).await {
            Ok(Receipt::Applied(_)) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if conflict(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// True if a run has claimed it and waits in its queue.
    async fn is_queued(&self, row: &IssueRow) -> Result<bool, QueueError> {
        let Some(run) = &row.run else { return Ok(false) };
        let run = self.shared.store.run(run).await?;
        Ok(run.is_some_and(|run| run.state == RunState::Queued))
    }
}
