//! The runs of a project, read out of its store.
//!
//! Guarantees: each run that the query is about is in the totals, told one by one or not; the totals are of
//! one pass over the store, in the order in which runs were triggered.

use std::collections::BTreeMap;
use std::sync::Arc;

use amplifier_core::{IssueId, OutcomeKind, RunId, SessionId, Timestamp};
use amplifier_foundation::Host;
use amplifier_foundation::router::{Link, Why};
use amplifier_foundation::storage::{self, ProjectScope};
use amplifier_store::{DEFAULT_ROWS, QueueName, RunFilter, RunRow, RunState, SessionFilter};
use amplifier_trigger::BackgroundName;
use serde::{Serialize, Serializer};

use super::error::ReportError;
use super::query::RunQuery;
use super::row::{RunOf, RunSummary, Spent, Standing};
use super::seen::{OfWorker, Seen};
use super::sessions::Attempt;
use super::totals::{Totals, Within};
use crate::run::{RunPayload, background_of};

/// What a report tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunReport {
    /// When it was made.
    pub at: Timestamp,
    /// From when on runs are told that are over.
    pub since: Option<Timestamp>,
    /// Runs, first those that want attention, of each kind the latest first.
    pub runs: Vec<RunSummary>,
    /// Runs that are not told one by one.
    pub left_out: usize,
    /// What all of them come to, those of issues too.
    pub within: Within,
    /// What each background session comes to, by name.
    pub totals: Vec<Totals>,
}

/// All that is known of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunDetails {
    /// The run.
    pub run: RunSummary,
    /// Its attempts that had a session, as far as the log tells of them.
    pub attempts: Vec<Attempt>,
    /// What led to it, the nearest first; empty where that is a schedule, a file or a person.
    pub why: Why,
}

/// The runs of a project. Cheap to make; reads anew at each call.
#[derive(Debug, Clone)]
pub struct Runs {
    host: Host,
}

/// What is gathered in one pass.
#[derive(Default)]
struct Pass {
    runs: Vec<RunSummary>,
    totals: BTreeMap<BackgroundName, Totals>,
    retried: BTreeMap<RunId, RunId>,
}

impl Runs {
    /// The runs of a host's project, whoever runs them.
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Tells what ran, what it cost, what waits and what failed.
    pub async fn report(&self, query: &RunQuery) -> Result<RunReport, ReportError> {
        let Pass { mut runs, mut totals, retried } = self.pass(query).await?;
        let oldest = runs.iter().map(|run| run.created).min();
        let from = query.since.into_iter().chain(oldest.filter(|_| query.since.is_some())).min();
        let seen = Seen::since(&self.host, from.unwrap_or(Timestamp::from_micros(0))).await?;
        for run in &mut runs {
            run.retried_as = retried.get(&run.id).cloned();
            self.complete(run, &seen).await?;
        }
        if query.background.is_none() {
            runs.extend(self.workers(seen.workers, query.since).await?);
        }
        runs.retain(|run| query.state.is_none_or(|state| state == run.state));
        let mut within = Within::default();
        for run in &runs {
            within.add(run);
            if let RunOf::Background(name) = &run.of
                && let Some(totals) = totals.get_mut(name)
            {
                totals.within.add(run);
            }
        }
        runs.sort_by_key(|run| (run.standing, std::cmp::Reverse((run.updated, run.number))));
        let left_out = runs.len().saturating_sub(query.limit);
        runs.truncate(query.limit);
        let totals = totals.into_values().collect();
        Ok(RunReport { at: self.host.clock().now(), since: query.since, runs, left_out, within, totals })
    }

    /// Reads all rows once.
    async fn pass(&self, query: &RunQuery) -> Result<Pass, ReportError> {
        let mut pass = Pass::default();
        let mut filter = RunFilter::default();
        filter.queue = query.background.as_ref().map(crate::run::queue_of);
        loop {
            let rows = self.host.store().runs(&filter).await?;
            let (read, last) = (rows.len(), rows.last().map(|row| row.place));
            for row in rows {
                self.note(row, query, &mut pass).await?;
            }
            match last.filter(|_| read >= filter.limit) {
                Some(last) => filter.after = last,
                None => break,
            }
        }
        for name in self.declared().await? {
            if query.background.as_ref().is_none_or(|wanted| *wanted == name)
                && !pass.totals.contains_key(&name)
            {
                pass.totals.insert(name.clone(), Totals::begin(&self.host, &name).await?);
            }
        }
        for totals in pass.totals.values_mut() {
            totals.end(&self.host).await?;
        }
        Ok(pass)
    }

    async fn note(&self, row: RunRow, query: &RunQuery, pass: &mut Pass) -> Result<(), ReportError> {
        if let Some(name) = background_of(&row.queue) {
            // The numbers are read when the first row is: what comes later is read later.
            if !pass.totals.contains_key(&name) {
                pass.totals.insert(name.clone(), Totals::begin(&self.host, &name).await?);
            }
            if let Some(totals) = pass.totals.get_mut(&name) {
                totals.count(&row);
            }
        }
        let late = query.since.is_none_or(|since| row.updated >= since);
        if late || !row.state.is_final() {
            let run = summary(row);
            if let Some(first) = &run.retry_of {
                pass.retried.insert(first.clone(), run.id.clone());
            }
            pass.runs.push(run);
        }
        Ok(())
    }

    /// Background sessions that have triggers, by what the store keeps of those.
    async fn declared(&self) -> Result<Vec<BackgroundName>, ReportError> {
        let (prefix, mut after, mut names) = (crate::intake::TRIGGERS, None, Vec::new());
        loop {
            let page = self.host.store().keys(prefix, after.as_ref(), DEFAULT_ROWS).await?;
            for (key, _) in &page {
                let name = key.as_str()[prefix.len()..].split('/').next().unwrap_or_default();
                if let Ok(name) = BackgroundName::new(name)
                    && names.last() != Some(&name)
                {
                    names.push(name);
                }
            }
            if page.len() < DEFAULT_ROWS {
                return Ok(names);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// Adds what its sessions tell; its attempts, the last one last.
    async fn complete(&self, run: &mut RunSummary, seen: &Seen) -> Result<Vec<Attempt>, ReportError> {
        let mut sessions = seen.attempts.get(&run.id).cloned().unwrap_or_default();
        sessions.extend(run.session.clone().map(|session| (run.attempt, session)));
        let mut attempts = Vec::with_capacity(sessions.len());
        for (number, session) in &sessions {
            let attempt = Attempt::read(&self.host, *number, session).await?;
            run.spent += attempt.spent;
            attempts.push(attempt);
        }
        let last = attempts.last().filter(|last| Some(&last.session) == run.session.as_ref());
        run.outcome = last.and_then(|last| last.outcome.clone());
        run.standing = standing(run, last);
        Ok(attempts)
    }

    /// Workers of issues, which have no rows: those that have ended since, and those that run.
    async fn workers(
        &self,
        ended: BTreeMap<SessionId, IssueId>,
        since: Option<Timestamp>,
    ) -> Result<Vec<RunSummary>, ReportError> {
        let mut workers = Vec::new();
        for (session, issue) in ended {
            workers.extend(self.worker(&session, issue).await?);
        }
        let mut filter = SessionFilter::running();
        loop {
            let rows = self.host.store().sessions(&filter).await?;
            for row in rows.iter().filter(|row| row.parent.is_none()) {
                if let Some(issue) = self.issue_of(&row.id).await {
                    workers.extend(self.worker(&row.id, issue).await?);
                }
            }
            if rows.len() < filter.limit {
                break;
            }
            filter.after = rows.last().map(|row| row.id.clone());
        }
        workers.retain(|run: &RunSummary| {
            since.is_none_or(|since| run.updated >= since) || !run.state.is_final()
        });
        workers.sort_by_key(|run| run.created);
        // A later worker for the same issue stands for the earlier one.
        for at in 0..workers.len() {
            let later = workers[at + 1..].iter().find(|later| later.of == workers[at].of);
            let later = later.map(|later| later.id.clone());
            if later.is_some() && workers[at].standing == Standing::Failed {
                (workers[at].standing, workers[at].retried_as) = (Standing::Retried, later);
            }
        }
        Ok(workers)
    }

    /// The issue that a session is a worker of.
    async fn issue_of(&self, session: &SessionId) -> Option<IssueId> {
        let stored = self.host.storage().load(session).await.ok()?;
        let metadata = serde_json::Value::Object(stored.metadata.extra);
        serde_json::from_value::<OfWorker>(metadata).ok()?.issue()
    }

    async fn worker(&self, session: &SessionId, issue: IssueId) -> Result<Option<RunSummary>, ReportError> {
        let attempt = Attempt::read(&self.host, 1, session).await?;
        let (Some(began), Ok(id)) = (attempt.began, RunId::new(session.as_str())) else { return Ok(None) };
        let state = match attempt.outcome.as_ref().map(|outcome| outcome.kind) {
            None => RunState::Running,
            Some(OutcomeKind::Completed) => RunState::Completed,
            Some(OutcomeKind::Cancelled) => RunState::Cancelled,
            Some(_) => RunState::Dead,
        };
        let mut run = RunSummary {
            id,
            number: None,
            of: RunOf::Issue(issue),
            event: None,
            state,
            standing: Standing::Running,
            attempt: 1,
            reason: None,
            session: Some(session.clone()),
            outcome: attempt.outcome.clone(),
            spent: attempt.spent,
            ready_at: began,
            created: began,
            updated: attempt.ended.unwrap_or(began),
            retry_of: None,
            retried_as: None,
        };
        run.standing = standing(&run, Some(&attempt));
        Ok(Some(run))
    }

    /// All that is known of a run.
    pub async fn details(&self, id: &RunId) -> Result<RunDetails, ReportError> {
        let Some(row) = self.host.store().run(id).await? else { return self.worker_details(id).await };
        let seen = match row.attempt {
            1 => Seen::default(),
            _ => Seen::since(&self.host, row.created).await?,
        };
        let cause = row.payload.decode::<RunPayload>().ok().and_then(|payload| payload.cause);
        let mut run = summary(row);
        if let Ok(again) = super::change::retry_id(&run)
            && self.host.store().run(&again).await?.is_some()
        {
            run.retried_as = Some(again);
        }
        let attempts = self.complete(&mut run, &seen).await?;
        let mut why = self.why(run.session.as_ref()).await?;
        if let (true, Some(cause)) = (why.links.is_empty(), cause) {
            why = self.host.router().why(cause.event).await?;
        }
        Ok(RunDetails { run, attempts, why })
    }

    async fn worker_details(&self, id: &RunId) -> Result<RunDetails, ReportError> {
        let unknown = || ReportError::Unknown { text: id.to_string() };
        let session = SessionId::new(id.as_str()).map_err(|_| unknown())?;
        let issue = self.issue_of(&session).await.ok_or_else(unknown)?;
        let run = self.worker(&session, issue).await?.ok_or_else(unknown)?;
        let attempts = vec![Attempt::read(&self.host, 1, &session).await?];
        let why = self.why(Some(&session)).await?;
        Ok(RunDetails { run, attempts, why })
    }

    /// What led to the end of a session; empty while it runs, and where the log does not hold it.
    async fn why(&self, session: Option<&SessionId>) -> Result<Why, ReportError> {
        let row = match session {
            Some(session) => self.host.store().session(session).await?,
            None => None,
        };
        let Some(settled) = row.and_then(|row| row.settled) else { return Ok(Why::default()) };
        let why = self.host.router().why(settled.event).await?;
        Ok(if matches!(why.links.first(), Some(Link::Pruned(_))) { Why::default() } else { why })
    }

    /// The run that a text names: its number, its id, a part of the id that no other one has, or the id of
    /// its session or the beginning of that.
    pub async fn find(&self, text: &str) -> Result<RunId, ReportError> {
        let unknown = || ReportError::Unknown { text: text.to_owned() };
        if let Ok(number) = text.strip_prefix('#').unwrap_or(text).parse::<u64>() {
            let mut filter = RunFilter::default();
            (filter.after, filter.limit) = (number.saturating_sub(1), 1);
            let row = self.host.store().runs(&filter).await?.pop();
            return row.filter(|row| row.place == number).map(|row| row.id).ok_or_else(unknown);
        }
        if let Ok(id) = RunId::new(text)
            && self.host.store().run(&id).await?.is_some()
        {
            return Ok(id);
        }
        if let Ok(session) = SessionId::new(text)
            && let Some(row) = self.host.store().runs(&RunFilter::of_session(session)).await?.pop()
        {
            return Ok(row.id);
        }
        let mut found = if text.is_empty() { Vec::new() } else { self.matching(text).await? };
        match (found.pop(), found.len()) {
            (Some(id), 0) => return Ok(id),
            (Some(_), more) => {
                return Err(ReportError::Ambiguous { text: text.to_owned(), found: more + 1 });
            }
            (None, _) => {}
        }
        let scope = ProjectScope::Current;
        let session = storage::resolve_prefix(self.host.storage().as_ref(), text, scope).await;
        let session = session.map_err(|_| unknown())?.id;
        self.run_of(&session).await?.ok_or_else(unknown)
    }

    async fn matching(&self, text: &str) -> Result<Vec<RunId>, ReportError> {
        let (mut filter, mut found) = (RunFilter::default(), Vec::new());
        loop {
            let rows = self.host.store().runs(&filter).await?;
            for row in &rows {
                let session = row.session.as_ref().map_or("", SessionId::as_str);
                if row.id.as_str().contains(text) || session.starts_with(text) {
                    found.push(row.id.clone());
                }
            }
            match rows.last().filter(|_| rows.len() >= filter.limit) {
                Some(last) => filter.after = last.place,
                None => return Ok(found),
            }
        }
    }

    /// The run that a session was an attempt of.
    async fn run_of(&self, session: &SessionId) -> Result<Option<RunId>, ReportError> {
        if let Some(row) = self.host.store().runs(&RunFilter::of_session(session.clone())).await?.pop() {
            return Ok(Some(row.id));
        }
        let stored = self.host.storage().load(session).await?;
        let metadata = serde_json::Value::Object(stored.metadata.extra);
        let Ok(of) = serde_json::from_value::<OfWorker>(metadata) else { return Ok(None) };
        Ok(match of {
            OfWorker { run_id: Some(run), .. } => Some(run),
            OfWorker { issue_id: Some(_), .. } => RunId::new(session.as_str()).ok(),
            _ => None,
        })
    }
}

/// What a row tells by itself.
fn summary(row: RunRow) -> RunSummary {
    let of = background_of(&row.queue).map_or_else(|| of_queue(&row.queue), RunOf::Background);
    let payload = row.payload.decode::<RunPayload>().ok();
    let (event, retry_of) = payload.map_or((None, None), |payload| (Some(payload.event), payload.retry_of));
    RunSummary {
        id: row.id,
        number: Some(row.place),
        of,
        event,
        state: row.state,
        standing: Standing::Waiting,
        attempt: row.attempt,
        reason: row.reason,
        session: row.session,
        outcome: None,
        spent: Spent::default(),
        ready_at: row.ready_at,
        created: row.created,
        updated: row.updated,
        retry_of,
        retried_as: None,
    }
}

fn of_queue(queue: &QueueName) -> RunOf {
    RunOf::Queue(queue.clone())
}

fn standing(run: &RunSummary, last: Option<&Attempt>) -> Standing {
    match run.state {
        RunState::Running if last.is_some_and(|last| last.works) => Standing::Running,
        RunState::Running => Standing::Interrupted,
        RunState::Queued if run.attempt > 1 || run.reason.is_some() => Standing::Retrying,
        RunState::Completed if last.is_some_and(|last| last.asks) => Standing::Asks,
        RunState::Completed => Standing::Completed,
        RunState::Dead | RunState::Cancelled if run.retried_as.is_some() => Standing::Retried,
        RunState::Dead => Standing::Failed,
        RunState::Cancelled => Standing::Cancelled,
        RunState::Coalesced | RunState::Skipped => Standing::LeftOut,
        _ => Standing::Waiting,
    }
}

impl Serialize for RunReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            at: Timestamp,
            since: Option<Timestamp>,
            #[serde(flatten)]
            spent: Spent,
            num_runs: u64,
            standings: &'a BTreeMap<Standing, u64>,
            runs: &'a [RunSummary],
            runs_left_out: usize,
            background_sessions: &'a [Totals],
        }
        let said = Said {
            at: self.at,
            since: self.since,
            spent: self.within.spent,
            num_runs: self.within.runs(),
            standings: &self.within.standings,
            runs: &self.runs,
            runs_left_out: self.left_out,
            background_sessions: &self.totals,
        };
        said.serialize(serializer)
    }
}

/// What a run's last session answered, whole.
impl RunDetails {
    /// The answer of its last session, whole; `None` while there is none.
    pub fn output(&self) -> Option<&str> {
        let outcome: Option<&Arc<_>> = self.run.outcome.as_ref();
        outcome.map(|outcome| outcome.output.as_str()).filter(|output| !output.is_empty())
    }
}
