//! A crew: the pools of a project, as background sessions over the queue of its issues.
//!
//! Guarantees: starting it starts all of it or nothing; what was left by a process that is gone goes on, and an
//! issue whose run has ended without it is set right, at the start and from time to time. Stopping, draining,
//! pausing and going on are the manager's.
//! Never here: a queue of runs, and what a pool's places are given to.

mod end;
mod mend;
mod ready;
mod source;
mod steward;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use amplifier_background::{BackgroundConfig, BackgroundError, BackgroundSessionManager, BackgroundStatus};
use amplifier_core::{CancelLevel, CancelReason, CancelToken, CustomName};
use amplifier_foundation::storage::ProjectPaths;
use amplifier_foundation::{Host, Shutdown};
use amplifier_issue::{Actor, IssueQueue, QueueError};
use amplifier_store::IssueRow;
use amplifier_trigger::config::IssueEventConfig;
use amplifier_trigger::{BackgroundName, TriggerConfig, TriggerKey, TriggerSpec};

use crate::config::{CrewConfig, PoolConfig};
use crate::routing::{Facts, NoPool};
use crate::worktree::Worktrees;
use work::PoolWork;

/// The key of a pool's trigger.
const TRIGGER: &str = "issues";
/// What every pool says when a worker has completed its run: the name that configurations of the reference system wait for.
const WORKER_COMPLETED: &str = "worker:completed";
/// What it says when a worker's run has ended otherwise, and is not tried again.
const WORKER_FAILED: &str = "worker:failed";
/// Whose changes those are that no person and no session makes.
pub const ACTOR: &str = "foreman";

/// Why a crew does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrewError {
    /// A pool or a background session does not start; none of them runs.
    #[error("{name} cannot be started")]
    Start {
        /// Which one.
        name: BackgroundName,
        /// Why.
        #[source]
        source: BackgroundError,
    },
    /// The issues cannot be read.
    #[error("the issues cannot be read")]
    Issues(#[from] QueueError),
    /// One of them knows nothing of this.
    #[error(transparent)]
    Manager(#[from] BackgroundError),
}

/// What the parts of a crew share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) config: CrewConfig,
    pub(crate) queue: IssueQueue,
    pub(crate) worktrees: Option<Worktrees>,
    pub(crate) ready: ready::Ready,
}

/// The pools of a project at work. Cheap to clone; the last handle that is dropped stops what it looks after,
/// the manager's own go on.
#[derive(Debug, Clone)]
pub struct Crew(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    manager: BackgroundSessionManager,
    /// Ends what looks after the issues.
    life: CancelToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.life.cancel(CancelLevel::Immediate, CancelReason::Dropped);
    }
}

impl Crew {
    /// A crew that has not started.
    pub fn new(host: &Host, manager: &BackgroundSessionManager, config: CrewConfig) -> Self {
        let router = host.router().clone();
        let (clock, ids) = (Arc::clone(host.clock()), Arc::clone(host.ids()));
        let seal = move |event| router.seal(event);
        let queue = IssueQueue::new(Arc::clone(host.store()), seal, clock, ids, Actor::new(ACTOR));
        let worktrees =
            folder(host).map(|root| Worktrees::new(host.project(), root, Arc::clone(host.clock())));
        let ready = ready::Ready::default();
        let shared = Arc::new(Shared { host: host.clone(), config, queue, worktrees, ready });
        Self(Arc::new(Inner { shared, manager: manager.clone(), life: CancelToken::new() }))
    }

    /// What was declared.
    pub fn config(&self) -> &CrewConfig {
        &self.0.shared.config
    }

    /// The queue of the issues; its changes are the foreman's own, see [`IssueQueue::by`].
    pub fn queue(&self) -> &IssueQueue {
        &self.0.shared.queue
    }

    /// Where the workers of pools with `worktree: true` work; `None` for a host in memory.
    pub fn worktrees(&self) -> Option<&Worktrees> {
        self.0.shared.worktrees.as_ref()
    }

    /// Its background sessions: the pools, then the others.
    pub fn names(&self) -> impl Iterator<Item = &BackgroundName> {
        let config = &self.0.shared.config;
        let sessions = config.background_sessions.iter().map(|session| &session.name);
        config.pools.iter().map(|pool| &pool.name).chain(sessions)
    }

    /// Sets issues right that a process has left behind, starts every pool and every background session, and
    /// becomes the owner of the project's triggers. `Err`: none of them runs.
    pub async fn start(&self) -> Result<(), CrewError> {
        let shared = &self.0.shared;
        // Whoever owns them now is told before anything is changed.
        self.0.manager.own().await?;
        shared.mend().await?;
        let pools = shared.config.pools.iter().enumerate();
        let pools = pools.map(|(at, pool)| pool_session(shared, pool, at == 0));
        for config in pools.chain(shared.config.background_sessions.iter().cloned()) {
            let name = config.name.clone();
            if let Err(source) = self.0.manager.start(config).await {
                self.stop(Shutdown::Now).await;
                return Err(CrewError::Start { name, source });
            }
        }
        tokio::spawn(steward::keep(Arc::downgrade(shared), self.0.life.clone()));
        Ok(())
    }

    /// Stops all of them, all at once: their triggers now, their workers as `how` says. A worker that is cut off
    /// goes on in its session at the next start. How each of them stood at its end.
    pub async fn stop(&self, how: Shutdown) -> Vec<BackgroundStatus> {
        let stops = self.names().map(|name| self.0.manager.stop(name, how));
        futures_util::future::join_all(stops).await.into_iter().filter_map(Result::ok).collect()
    }

    /// Begins nothing more; what runs ends by itself. Durable, until [`Crew::resume`].
    pub async fn pause(&self) -> Result<(), CrewError> {
        for name in self.names() {
            self.0.manager.pause(name).await?;
        }
        Ok(())
    }

    /// Goes on after a pause.
    pub async fn resume(&self) -> Result<(), CrewError> {
        for name in self.names() {
            self.0.manager.resume(name).await?;
        }
        Ok(())
    }

    /// How each of them stands here, the pools first.
    pub fn statuses(&self) -> Vec<BackgroundStatus> {
        self.names().filter_map(|name| self.0.manager.status(name).ok()).collect()
    }

    /// The pool that an issue goes to now.
    pub async fn pool_of(&self, row: &IssueRow) -> Result<Result<BackgroundName, NoPool>, QueueError> {
        self.0.shared.pool_of(row).await
    }
}

/// A pool as the background session that it is. `blocks`: it sees to issues that no pool takes.
fn pool_session(shared: &Arc<Shared>, pool: &PoolConfig, blocks: bool) -> BackgroundConfig {
    let crew = &shared.config;
    let mut config = BackgroundConfig::new(pool.name.clone(), pool.worker_bundle.as_str());
    config.triggers = vec![trigger()];
    config.pool_size = pool.max_concurrent;
    config.limits = crew.limits_of(pool);
    config.permissions = Some(crew.permissions_of(pool));
    config.queue.attempts = crew.retry.attempts;
    config.chosen_by_project = crew.chosen_by_project;
    config.on_complete_emit = CustomName::new(WORKER_COMPLETED).ok();
    config.on_error_emit = CustomName::new(WORKER_FAILED).ok();
    config.work = Some(Arc::new(PoolWork::new(Arc::clone(shared), pool.clone(), blocks)));
    config
}

/// The trigger of every pool: an issue that is ready.
pub fn trigger() -> TriggerConfig {
    let mut trigger = TriggerConfig::new(TriggerSpec::IssueEvent(IssueEventConfig::default()));
    trigger.name = TriggerKey::named(TRIGGER).ok();
    trigger
}

/// The folder of a project's worktrees.
fn folder(host: &Host) -> Option<PathBuf> {
    let folders = ProjectPaths::resolve(host.home()?, host.project());
    Some(folders.ok()?.project().join("worktrees"))
}

impl Shared {
    /// The pool that an issue goes to. Costs no reading but for an issue that was tried before, where rules
    /// speak of that.
    pub(crate) async fn pool_of(&self, row: &IssueRow) -> Result<Result<BackgroundName, NoPool>, QueueError> {
        let issue = amplifier_issue::QueuedIssue::of(row)?;
        let routing = &self.config.routing;
        let asks = issue.details.retry_count > 0
            && ["blocked", "failed"].iter().any(|status| routing.speaks_of(status));
        let left = if asks { self.left(row).await? } else { None };
        let facts = facts(&issue, left);
        Ok(routing.pool_of(facts).cloned())
    }

    /// Where the last attempt at an issue has left it.
    async fn left(&self, row: &IssueRow) -> Result<Option<&'static str>, QueueError> {
        let history = self.queue.whole_history(&row.id).await?;
        let ended = ["issue_retried", "issue_escalated", "issue_failed"];
        let last = history.iter().rev().find(|entry| ended.contains(&entry.noted.event.as_str()));
        Ok(last.map(|entry| if entry.noted.from == "blocked" { "blocked" } else { "failed" }))
    }
}

/// What an issue's way depends on.
pub(crate) fn facts<'a>(issue: &'a amplifier_issue::QueuedIssue, left: Option<&'a str>) -> Facts<'a> {
    let mut facts = Facts::new(issue.issue.issue_type.as_str());
    facts.metadata_type = issue.issue.metadata.get("type").and_then(|kind| kind.as_str());
    facts.status = issue.issue.status.as_str();
    (facts.left, facts.retries) = (left, issue.details.retry_count);
    facts
}
