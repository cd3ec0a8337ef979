//! A run: one background session an issue, some at once, until each has its result.
//!
//! There is no scheduler and no task here: [`IssueRun::run`] is one future that starts what is ready
//! while there is room, and waits for what runs. The sessions are tasks of the host.
//!
//! Guarantees: never more than [`IssueRun::max_concurrent`] sessions at once; an issue begins once all
//! that it depends on is completed; what depends on a failure does not begin. After a stop nothing
//! begins, what runs is stopped as urgently, and the rest counts as cancelled. Each issue gets one
//! result, also if its session does not stop.
//! Never here: trying again, or writing the file of issues.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Budget;
use amplifier_core::clock::BoxFuture;
use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelToken, Limits, OutcomeKind, Permissions, SessionId, SessionOutcome};
use amplifier_issue::{Issue, IssueList};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Map;

use super::board::{Barred, Board};
use super::report::{IssueError, IssueResult, IssueState, RunReport};
use crate::prompt::instruction;
use crate::storage::{ForemanSessionStorage, ISSUE_ID};
use amplifier_foundation::host::Host;
use amplifier_foundation::spawn::{
    ChildSummary, SpawnError, SpawnRequest, SpawnResult, TreeOutcome, spawn_bundle,
};
use amplifier_foundation::storage::StorageError;

/// How many sessions run at once where nobody says.
pub const DEFAULT_CONCURRENT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// How long a session may take to settle once it was stopped at once.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// What a run does with a list of issues.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssueRun {
    /// The bundle of workers whose issue names none.
    pub bundle: String,
    /// True if settings of the project chose it, see [`SpawnRequest::chosen_by_project`]. What an issue
    /// names counts as chosen by the project: nobody typed it.
    pub chosen_by_project: bool,
    /// Most sessions at once.
    pub max_concurrent: NonZeroUsize,
    /// Layers of each worker, beside the host's.
    pub permissions: Permissions,
    /// Bounds of each worker, beside the host's.
    pub limits: Limits,
    /// The provider of all workers.
    pub provider: Option<String>,
    /// The model of all workers.
    pub model: Option<String>,
    /// Bounds the cost of all workers together, with all that they spawn, in millionths of a US dollar. Each
    /// of their model calls is reserved in this one budget; once nothing is left, no further worker begins.
    pub max_cost_micro_usd: Option<u64>,
    /// Stops the run: graceful lets running tools finish, immediate does not.
    pub stop: CancelToken,
}

/// What happens in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum IssueProgress<'a> {
    /// A session is about to be started for an issue.
    Starting {
        /// The issue.
        issue: &'a Issue,
        /// The id that its session will have.
        session: &'a SessionId,
    },
    /// An issue has its result.
    Ended(&'a IssueResult),
}

/// Who is told. Called from the run's own future, one call at a time; must return at once.
pub type OnProgress<'a> = &'a (dyn Fn(IssueProgress<'_>) + Send + Sync);

impl IssueRun {
    /// A run whose workers have this bundle, four at a time, without bounds of their own.
    pub fn new(bundle: impl Into<String>) -> Self {
        Self {
            bundle: bundle.into(),
            chosen_by_project: false,
            max_concurrent: DEFAULT_CONCURRENT,
            permissions: Permissions::unrestricted(),
            limits: Limits::default(),
            provider: None,
            model: None,
            max_cost_micro_usd: None,
            stop: CancelToken::new(),
        }
    }

    /// The bundles that workers will have, each once, in the order in which they are needed.
    pub fn bundles<'a>(&'a self, issues: &'a IssueList) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for issue in issues.issues().iter().filter(|issue| !issue.status.is_done()) {
            let (name, _) = self.bundle_of(issue);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Works on all issues; returns once each has its result. Dropped before, sessions that were begun go
    /// on until the host ends.
    pub async fn run(&self, host: &Host, issues: &IssueList, on_progress: OnProgress<'_>) -> RunReport {
        let mut crew = Crew {
            board: Board::new(issues),
            budget: Budget::new("the run", None, self.max_cost_micro_usd, None),
            running: FuturesUnordered::new(),
            results: (0..issues.issues().len()).map(|_| None).collect(),
            run: self,
            host,
            issues,
            on_progress,
        };
        crew.skip_done();
        crew.work().await;
        RunReport { results: crew.results.into_iter().flatten().collect() }
    }

    /// The bundle of an issue's worker, and whether the project chose it.
    fn bundle_of<'a>(&'a self, issue: &'a Issue) -> (&'a str, bool) {
        match &issue.bundle {
            Some(bundle) => (bundle, true),
            None => (&self.bundle, self.chosen_by_project),
        }
    }

    /// The request for an issue's worker.
    fn request(&self, host: &Host, issue: &Issue, session: SessionId, budget: &Arc<Budget>) -> SpawnRequest {
        let (bundle, by_project) = self.bundle_of(issue);
        // As input, so that mentions in it are not followed: whoever wrote it is not here.
        let mut request = SpawnRequest::new(bundle, "")
            .input(instruction(issue))
            .session_id(session)
            .name(format!("worker-{}", issue.id))
            .chosen_by_project(by_project)
            .background(true)
            .permissions(self.permissions.clone())
            .limits(self.limits.clone())
            .within(Arc::clone(budget));
        if let Some(provider) = &self.provider {
            request = request.provider(provider.clone());
        }
        if let Some(model) = &self.model {
            request = request.model(model.clone());
        }
        kept_with_issue(request, host, issue)
    }

    /// Waits for something of a worker, which a stop of the run stops too; `None` if that does not help.
    async fn unless_stuck<T>(
        &self,
        host: &Host,
        worker: &SpawnResult,
        wanted: impl Future<Output = T>,
    ) -> Option<T> {
        let stopped = async {
            self.stop.cancelled().await;
            worker.task().cancel(CancelLevel::Graceful);
            self.stop.cancelled_now().await;
            worker.task().cancel(CancelLevel::Immediate);
            let clock = host.clock();
            clock.sleep(STUCK_AFTER).await;
        };
        until(wanted, stopped).await
    }
}

/// Lets the session be kept with its issue, and its events name it.
fn kept_with_issue(request: SpawnRequest, host: &Host, issue: &Issue) -> SpawnRequest {
    let (below, clock) = (Arc::clone(host.storage()), Arc::clone(host.clock()));
    let storage = ForemanSessionStorage::new(below, issue.id.clone(), clock);
    let mut metadata = Map::new();
    metadata.insert(ISSUE_ID.to_owned(), issue.id.as_str().into());
    request.storage(Arc::new(storage)).metadata(metadata)
}

/// Waits until all that a worker has spawned in the background has ended.
async fn children_ended(host: &Host, worker: &SpawnResult) {
    let running = |child: &ChildSummary| match child.outcome {
        None => host.sessions().get(&child.id),
        Some(_) => None,
    };
    while let Some(child) = worker.descendants().iter().find_map(running) {
        child.outcome().await;
    }
}

/// A session that was begun, and how it ended.
struct Ended {
    state: IssueState,
    session: Option<SessionId>,
    model: Option<String>,
    outcome: Option<Arc<SessionOutcome>>,
    tree: Option<TreeOutcome>,
}

/// A run under way.
struct Crew<'a> {
    board: Board,
    /// Of all workers together.
    budget: Arc<Budget>,
    running: FuturesUnordered<BoxFuture<'a, (usize, Ended)>>,
    results: Vec<Option<IssueResult>>,
    run: &'a IssueRun,
    host: &'a Host,
    issues: &'a IssueList,
    on_progress: OnProgress<'a>,
}

impl Crew<'_> {
    fn skip_done(&mut self) {
        for (place, issue) in self.issues.issues().iter().enumerate() {
            if issue.status.is_done() {
                self.tell(place, self.unbegun(place, IssueState::Skipped(issue.status)));
            }
        }
    }

    async fn work(&mut self) {
        let stop = &self.run.stop;
        loop {
            if stop.is_cancelled() {
                for place in self.board.clear() {
                    self.tell(place, self.unbegun(place, IssueState::Cancelled));
                }
            }
            self.fill();
            let ended = match stop.is_cancelled() {
                true => Some(self.running.next().await),
                false => until(self.running.next(), stop.cancelled()).await,
            };
            match ended {
                // The stop: what waits is cleared in the next round.
                None => {}
                Some(None) => return,
                Some(Some((place, ended))) => self.end(place, ended),
            }
        }
    }

    /// Begins what is ready while there is room.
    fn fill(&mut self) {
        while self.running.len() < self.run.max_concurrent.get()
            && let Some(place) = self.board.next()
        {
            if self.budget.left().micro_usd > 0 {
                self.begin(place);
            } else if !self.running.is_empty() {
                // What runs may leave something of what is set aside for it.
                return;
            } else {
                self.board.begin(place);
                let result = self.unbegun(place, IssueState::Failed(IssueError::Budget));
                self.tell(place, result);
                self.bar(place);
            }
        }
    }

    fn begin(&mut self, place: usize) {
        self.board.begin(place);
        let (issue, budget) = (&self.issues.issues()[place], Arc::clone(&self.budget));
        let attended = attend(self.run, self.host, issue, self.on_progress, budget);
        self.running.push(Box::pin(async move { (place, attended.await) }));
    }

    fn end(&mut self, place: usize, ended: Ended) {
        let Ended { state, session, model, outcome, tree } = ended;
        let completed = matches!(state, IssueState::Completed);
        let mut result = self.unbegun(place, state);
        (result.session, result.model, result.outcome) = (session, model, outcome);
        result.tree = tree;
        self.tell(place, result);
        match completed {
            true => self.board.complete(place),
            false => self.bar(place),
        }
    }

    /// What depends on an issue that was not completed does not begin.
    fn bar(&mut self, place: usize) {
        let issues = self.issues.issues();
        // Once the run is stopped, that is the reason.
        let stopped = self.run.stop.is_cancelled();
        for Barred { place, by } in self.board.fail(place) {
            let blocked = IssueState::Blocked { by: issues[by].id.clone() };
            let state = if stopped { IssueState::Cancelled } else { blocked };
            self.tell(place, self.unbegun(place, state));
        }
    }

    /// The result of an issue without a session.
    fn unbegun(&self, place: usize, state: IssueState) -> IssueResult {
        let issue = &self.issues.issues()[place];
        let bundle = (!issue.status.is_done()).then(|| self.run.bundle_of(issue).0.to_owned());
        let (issue, title) = (issue.id.clone(), issue.title.clone());
        IssueResult { issue, title, state, session: None, bundle, model: None, outcome: None, tree: None }
    }

    fn tell(&mut self, place: usize, result: IssueResult) {
        (self.on_progress)(IssueProgress::Ended(&result));
        self.results[place] = Some(result);
    }
}

/// One worker from its start to its end.
async fn attend(
    run: &IssueRun,
    host: &Host,
    issue: &Issue,
    on_progress: OnProgress<'_>,
    budget: Arc<Budget>,
) -> Ended {
    let mut ended =
        Ended { state: IssueState::Cancelled, session: None, model: None, outcome: None, tree: None };
    let worker = match start(run, host, issue, on_progress, &budget).await {
        Ok(worker) => worker,
        Err(error) => {
            ended.state = IssueState::Failed(IssueError::Spawn(Arc::new(error)));
            return ended;
        }
    };
    (ended.session, ended.model) = (Some(worker.id().clone()), worker.session().model());
    let Some(outcome) = run.unless_stuck(host, &worker, worker.outcome()).await else {
        ended.state = IssueState::Failed(IssueError::Stuck);
        return ended;
    };
    run.unless_stuck(host, &worker, children_ended(host, &worker)).await;
    let tree = worker.tree(&outcome);
    ended.state = state_of(&outcome, tree.abandoned().count());
    (ended.model, ended.outcome, ended.tree) = (worker.session().model(), Some(outcome), Some(tree));
    ended
}

async fn start(
    run: &IssueRun,
    host: &Host,
    issue: &Issue,
    on_progress: OnProgress<'_>,
    budget: &Arc<Budget>,
) -> Result<SpawnResult, SpawnError> {
    let session = SessionId::new(host.ids().v4().to_string()).map_err(StorageError::from)?;
    on_progress(IssueProgress::Starting { issue, session: &session });
    spawn_bundle(host, run.request(host, issue, session, budget)).await
}

fn state_of(outcome: &SessionOutcome, abandoned: usize) -> IssueState {
    match outcome.kind {
        OutcomeKind::Completed if outcome.unrecorded => IssueState::Failed(IssueError::Unrecorded),
        OutcomeKind::Completed if abandoned > 0 => {
            IssueState::Failed(IssueError::Abandoned { children: abandoned })
        }
        OutcomeKind::Completed => IssueState::Completed,
        OutcomeKind::Cancelled => IssueState::Cancelled,
        kind => {
            let unsaid = || {
                let message = format!("the session ended as {}", kind.as_str());
                OutcomeError::new(FailureKind::Module, message)
            };
            IssueState::Failed(IssueError::Session(outcome.error.clone().unwrap_or_else(unsaid)))
        }
    }
}
