//! A pool's part in the runs of its background session: the issue that each of them is about.
//!
//! Guarantees: a run becomes durable with its claim, its session with the issue's beginning, its outcome with what
//! becomes of the issue. A run that has no claim begins no session.
//! Never here: which outcome means what.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::work::{Beginning, Ending, Heard, Taking, Work, WorkEnd, WorkError, WorkRun};
use amplifier_core::permission::{Layer, Permissions};
use amplifier_core::{RunId, SessionId};
use amplifier_foundation::spawn::SpawnRequest;
use amplifier_issue::queue::HistoryEntry;
use amplifier_issue::{Actor, IssueId, NoteKind, QueueError, QueuedIssue};
use amplifier_store::{Commit, IssueRow, StoreError};
use amplifier_trigger::{TriggerConfig, TriggerEvent, TriggerSource, TriggerSpec};
use async_trait::async_trait;

use super::Shared;
use super::end::{self, Verdict};
use super::source::{Fired, ReadyIssues};
use crate::config::PoolConfig;
use crate::prompt::{self, Brief, Comment, MAX_NEEDS, Need};
use crate::storage::ForemanSessionStorage;

/// The first wait before another attempt, as that of its run.
const FIRST_BACKOFF: Duration = amplifier_background::FIRST_BACKOFF;

/// The work of one pool.
#[derive(Debug)]
pub(super) struct PoolWork {
    shared: Arc<Shared>,
    pool: PoolConfig,
    blocks: bool,
}

/// How a worker begins.
enum Told {
    /// A new session.
    New(String),
    /// In the session that it had.
    Again(SessionId, String),
}

impl PoolWork {
    pub(super) fn new(shared: Arc<Shared>, pool: PoolConfig, blocks: bool) -> Self {
        Self { shared, pool, blocks }
    }

    async fn row(&self, fired: &Fired) -> Result<Option<IssueRow>, StoreError> {
        self.shared.host.store().issue(&fired.issue_id).await
    }

    /// What the worker of an issue is told.
    async fn told(&self, issue: &QueuedIssue) -> Result<Told, QueueError> {
        let history = self.shared.queue.whole_history(&issue.issue.id).await?;
        if let Some(session) = issue.session.as_ref().filter(|_| issue.details.resume)
            && self.shared.host.storage().exists(session).await.unwrap_or(false)
        {
            return Ok(Told::Again(session.clone(), again(issue, &history, 0)));
        }
        Ok(Told::New(self.brief(issue, &history).await?))
    }

    /// What a worker is told whose process was lost before this run had told it anything.
    async fn told_late(&self, heard: Heard, issue: &QueuedIssue) -> Result<String, QueueError> {
        let history = self.shared.queue.whole_history(&issue.issue.id).await?;
        match heard {
            Heard::Nothing => self.brief(issue, &history).await,
            // The last beginning was that of this attempt.
            _ => Ok(again(issue, &history, 1)),
        }
    }

    async fn brief(&self, issue: &QueuedIssue, history: &[HistoryEntry]) -> Result<String, QueueError> {
        let mut brief = Brief::new(&issue.issue);
        brief.comments = history.iter().filter_map(comment).collect();
        brief.needs = self.needs(&issue.issue.depends_on).await?;
        brief.failed = issue.details.reason.clone().filter(|_| issue.details.retry_count > 0);
        Ok(prompt::worker(&brief))
    }

    async fn needs(&self, ids: &[IssueId]) -> Result<Vec<Need>, QueueError> {
        let mut needs = Vec::new();
        for id in ids.iter().take(MAX_NEEDS) {
            let Some(row) = self.shared.host.store().issue(id).await? else { continue };
            let need = QueuedIssue::of(&row)?;
            let result = need.details.result.or(need.details.reason).unwrap_or_default();
            needs.push(Need { id: id.clone(), title: need.issue.title, result });
        }
        Ok(needs)
    }

    /// The request with its folder, and with what may be done there.
    async fn placed(&self, request: SpawnRequest, issue: &IssueId) -> Result<SpawnRequest, WorkError> {
        if !self.pool.worktree {
            return Ok(request);
        }
        let failed = |reason: String| WorkError::Failed { reason };
        let none = || failed("a worktree needs a project on disk".to_owned());
        let worktrees = self.shared.worktrees.as_ref().ok_or_else(none)?;
        let opened = async {
            let worktree = worktrees.open(issue).await?;
            Ok((worktrees.roots(&worktree).await?, worktree.path))
        };
        let opened: Result<_, crate::worktree::WorktreeError> = opened.await;
        let (roots, path) = opened.map_err(|error| failed(amplifier_core::causes::chain(&error)))?;
        let mode = self.shared.config.permissions_of(&self.pool);
        let layer = Layer::of_mode(format!("worker pool {}", self.pool.name), mode, roots);
        Ok(request.cwd(path).permissions(Permissions::unrestricted().with(layer)))
    }

    /// The writes in which an attempt ends, and what becomes of its run.
    async fn ended(&self, of: &WorkRun, row: &IssueRow, verdict: Verdict) -> Result<Ending, QueueError> {
        let Verdict { end, next, session } = verdict;
        let Some(end) = end else { return Ok(Ending::new(Commit::new(), next)) };
        let dependents = self.shared.queue.dependents(&row.id).await?;
        let queue = match session {
            Some(session) => self.shared.queue.by(Actor::new(super::ACTOR).in_session(session)),
            None => self.shared.queue.clone(),
        };
        Ok(Ending::new(queue.plan_end(row, &dependents, &of.run, end)?, next))
    }
}

/// What is said of an issue.
fn comment(entry: &HistoryEntry) -> Option<Comment> {
    let noted = &entry.noted;
    let text = match entry.kind {
        NoteKind::Comment => noted.text.clone(),
        NoteKind::Question => noted.question.as_ref().map(|question| format!("Question: {question}")),
        NoteKind::Answer => noted.answer.as_ref().map(|answer| format!("Answer: {answer}")),
        _ => None,
    };
    Some(Comment { by: entry.actor.to_string(), text: text? })
}

/// What the store says; anything else is told and left.
fn of_store(error: QueueError) -> Result<(), StoreError> {
    match error {
        QueueError::Store(error) => Err(error),
        error => {
            tracing::warn!(%error, "an issue does not go along with its run");
            Ok(())
        }
    }
}

fn refused(reason: impl Into<String>) -> WorkError {
    WorkError::Refused { reason: reason.into() }
}

fn in_begin(error: QueueError) -> WorkError {
    match error {
        QueueError::Store(error) => error.into(),
        error => refused(error.to_string()),
    }
}

/// What a worker is told in the session that it had. `begun`: how often it has begun since it was to go on.
fn again(issue: &QueuedIssue, history: &[HistoryEntry], begun: usize) -> String {
    let nth_last = |event: &str, n: usize| {
        (0..history.len()).rev().filter(|at| history[*at].noted.event == event).nth(n)
    };
    let (id, details) = (&issue.issue.id, &issue.details);
    let is_new = nth_last("issue_answered", 0) > nth_last("issue_started", begun);
    match details.answer.as_deref().filter(|_| is_new) {
        Some(answer) => {
            prompt::answered(id, details.question.as_deref(), answer, details.answered_by.as_deref())
        }
        None => prompt::resumed(id),
    }
}

#[async_trait]
impl Work for PoolWork {
    fn source(&self, trigger: &TriggerConfig) -> Option<Box<dyn TriggerSource>> {
        let of_issues = matches!(trigger.spec, TriggerSpec::IssueEvent(_));
        let source = || ReadyIssues::new(Arc::clone(&self.shared), self.pool.name.clone(), self.blocks);
        of_issues.then(|| Box::new(source()) as _)
    }

    async fn taking(&self, run: &RunId, event: &TriggerEvent) -> Result<Option<Taking>, StoreError> {
        let Ok(fired) = event.payload.decode::<Fired>() else { return Ok(None) };
        let Some(row) = self.row(&fired).await? else { return Ok(None) };
        let planned = async {
            let issue = QueuedIssue::of(&row)?;
            let pool = self.shared.pool_of(&row).await?;
            if issue.details.round != fired.round
                || !row.is_ready()
                || pool.ok().as_ref() != Some(&self.pool.name)
            {
                return Ok(None);
            }
            self.shared.queue.plan_claim(&row, run).map(Some)
        };
        let commit = match planned.await {
            Ok(Some(commit)) => commit,
            Ok(None) => return Ok(None),
            Err(error) => return of_store(error).map(|()| None),
        };
        let mut taking = Taking::new(commit);
        taking.priority = 2_i8.saturating_sub_unsigned(row.priority);
        Ok(Some(taking))
    }

    async fn begin(
        &self,
        of: &WorkRun,
        session: &SessionId,
        request: SpawnRequest,
    ) -> Result<Beginning, WorkError> {
        let fired: Fired =
            of.firing.payload.decode().map_err(|_| refused("this run was fired by no issue"))?;
        let row = self.row(&fired).await?.ok_or_else(|| refused("its issue is not there any more"))?;
        if row.run.as_ref() != Some(&of.run) {
            return Err(refused(format!("issue `{}` is not this run's; retry the issue instead", row.id)));
        }
        let host = &self.shared.host;
        let storage = Arc::clone(host.storage());
        let storage = ForemanSessionStorage::new(storage, row.id.clone(), Arc::clone(host.clock()));
        let request = self.placed(request.storage(Arc::new(storage)), &row.id).await?;
        if of.resumes && of.heard == Heard::This {
            return Ok(Beginning::new(request, Commit::new()));
        }
        let issue = QueuedIssue::of(&row).map_err(in_begin)?;
        if of.resumes {
            let text = self.told_late(of.heard, &issue).await.map_err(in_begin)?;
            return Ok(Beginning::new(request.going_on(session.clone(), text), Commit::new()));
        }
        let (session, request) = match self.told(&issue).await.map_err(in_begin)? {
            Told::Again(session, text) => (session.clone(), request.going_on(session, text)),
            Told::New(text) => {
                let request = request.input(text);
                let request = match &issue.issue.bundle {
                    // Whoever wrote the issue is not the person who runs it.
                    Some(bundle) => request.of(bundle.as_str()).chosen_by_project(true),
                    None => request,
                };
                (session.clone(), request)
            }
        };
        let opening = self.shared.queue.plan_start(&row, &of.run, &session).map_err(in_begin)?;
        Ok(Beginning::new(request, opening))
    }

    async fn ending(&self, of: &WorkRun, end: WorkEnd<'_>) -> Result<Ending, StoreError> {
        let Ok(fired) = of.firing.payload.decode::<Fired>() else { return Ok(Ending::default()) };
        let Some(row) = self.row(&fired).await? else { return Ok(Ending::default()) };
        if row.run.as_ref() != Some(&of.run) {
            return Ok(Ending::default());
        }
        let ended = async {
            let issue = QueuedIssue::of(&row)?;
            let backoff = FIRST_BACKOFF.saturating_mul(1 << (of.attempt.clamp(1, 16) - 1));
            let case = end::Case {
                of,
                issue: &issue,
                pool: &self.pool,
                routing: &self.shared.config.routing,
                backoff: backoff.min(amplifier_background::MAX_BACKOFF),
            };
            self.ended(of, &row, end::verdict(&case, end)).await
        };
        match ended.await {
            Ok(ending) => Ok(ending),
            Err(error) => of_store(error).map(|()| Ending::default()),
        }
    }
}
