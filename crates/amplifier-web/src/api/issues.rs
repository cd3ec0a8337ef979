//! Issues: the queue as programs see and change it.

use std::sync::Arc;

use amplifier_core::{CancelLevel, IssueId};
use amplifier_foundation::host::ReachError;
use amplifier_issue::queue::{IssueView, LinkKind};
use amplifier_issue::{
    Edit, IssueFilter, IssueQueue, IssueStatus, IssueType, NewIssue, Priority, QueuedIssue,
};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::runs::number;
use super::{Answer, Fault, Reply};
use crate::auth::{Given, Who};
use crate::form::Form;
use crate::state::App;
use crate::view::IssueHistory;

/// Most issues of one answer.
const MOST: usize = 1_000;

/// What a query for issues says.
pub(crate) fn filter(text: Option<String>) -> Result<IssueFilter, Fault> {
    let mut form = Form::read(text.unwrap_or_default());
    let mut filter = match form.take("ready").as_deref() {
        Some("true") => IssueFilter::ready(),
        None | Some("false") => IssueFilter::default(),
        Some(_) => return Err(Fault::bad("`ready` is true or false")),
    };
    match form.take("order").as_deref() {
        None => {}
        Some("urgency") => filter = filter.by_urgency(),
        Some("place") => filter.order = amplifier_issue::IssueOrder::Place,
        Some(_) => return Err(Fault::bad("`order` is `place` or `urgency`")),
    }
    for name in form.all("status").iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()) {
        let status = IssueStatus::from_name(name);
        filter.statuses.push(status.ok_or_else(|| Fault::bad("`status` is no status of an issue"))?);
    }
    if let Some(name) = form.take("type") {
        let kind = IssueType::new(&name).map_err(|error| Fault::bad(error.to_string()))?;
        filter.issue_type = Some(kind.as_str().into());
    }
    filter.limit = number(form.take("limit"), 100, MOST)?;
    if let Some(after) = form.take("after") {
        let pair = after.split_once('-').and_then(|(one, two)| Some((one.parse().ok()?, two.parse().ok()?)));
        filter.after = Some(pair.ok_or_else(|| Fault::bad("`after` is what `next` was"))?);
    }
    match form.left() {
        Some(left) => Err(Fault::bad(format!("`{}` is no part of this query", left.escape_debug()))),
        None => Ok(filter),
    }
}

/// A page of issues, and where the next one begins.
pub(crate) async fn page(
    queue: &IssueQueue,
    filter: &IssueFilter,
) -> Result<(Vec<QueuedIssue>, Option<String>), Fault> {
    let rows = queue.store().issues(filter).await?;
    let last = rows.last().filter(|_| rows.len() >= filter.limit).map(|row| filter.order.key(row));
    let issues = rows.iter().map(QueuedIssue::of).collect::<Result<Vec<_>, _>>()?;
    Ok((issues, last.map(|(one, two)| format!("{one}-{two}"))))
}

pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Answer {
    let (issues, next) = page(app.issues(), &filter(text)?).await?;
    let issues: Vec<IssueView> = issues.into_iter().map(IssueView::from).collect();
    Reply::of(&json!({ "issues": issues, "next": next }))
}

pub(super) async fn counts(State(app): State<Arc<App>>) -> Answer {
    let counts = app.issues().counts().await?;
    let of = |status: IssueStatus| (status.as_str().to_owned(), Value::from(counts.of(status)));
    let by_status: Map<String, Value> = IssueStatus::ALL.into_iter().map(of).collect();
    Reply::of(&json!({ "by_status": by_status, "ready": counts.ready, "claimed": counts.claimed }))
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    Reply::of(&IssueHistory::read(&app, &IssueId::new(id)?).await?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) id: Option<String>,
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) issue_type: Option<String>,
    pub(crate) priority: Option<u64>,
    #[serde(default)]
    pub(crate) depends_on: Vec<String>,
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    pub(crate) bundle: Option<String>,
}

fn kind(name: &str) -> Result<IssueType, Fault> {
    IssueType::new(name).map_err(|error| Fault::bad(error.to_string()))
}

fn urgency(number: u64) -> Result<Priority, Fault> {
    Priority::new(number).map_err(|error| Fault::bad(error.to_string()))
}

impl Wanted {
    pub(crate) fn into_issue(self) -> Result<NewIssue, Fault> {
        let mut issue = NewIssue::new(self.title, self.description);
        issue.id = self.id.map(IssueId::new).transpose()?;
        if let Some(name) = self.issue_type {
            issue.issue_type = kind(&name)?;
        }
        if let Some(number) = self.priority {
            issue.priority = urgency(number)?;
        }
        issue.depends_on = self.depends_on.into_iter().map(IssueId::new).collect::<Result<_, _>>()?;
        (issue.metadata, issue.bundle) = (self.metadata, self.bundle);
        Ok(issue)
    }
}

pub(super) async fn add(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let issue = app.issues_by(&who).open(given.json::<Wanted>()?.into_issue()?).await?;
    Ok(Reply::of(&IssueView::from(issue))?.status(StatusCode::CREATED))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    title: Option<String>,
    description: Option<String>,
    issue_type: Option<String>,
    priority: Option<u64>,
    status: Option<String>,
    assignee: Option<String>,
    bundle: Option<String>,
    metadata: Option<Map<String, Value>>,
    blocking_notes: Option<String>,
    result: Option<String>,
    reason: Option<String>,
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let (id, changes) = (IssueId::new(id)?, given.json::<Changes>()?);
    let status = changes.status.as_deref().map(|name| {
        IssueStatus::from_name(name).ok_or_else(|| Fault::bad("`status` is no status of an issue"))
    });
    let mut edit = Edit::default();
    edit.title = changes.title;
    edit.description = changes.description;
    edit.issue_type = changes.issue_type.as_deref().map(kind).transpose()?;
    edit.priority = changes.priority.map(urgency).transpose()?;
    edit.status = status.transpose()?;
    edit.assignee = changes.assignee;
    edit.bundle = changes.bundle;
    edit.metadata = changes.metadata;
    edit.blocking_notes = changes.blocking_notes;
    edit.result = changes.result;
    edit.reason = changes.reason;
    Reply::of(&IssueView::from(app.issues_by(&who).update(&id, edit).await?))
}

/// What can be done to an issue, with what is said to it.
#[derive(Debug)]
pub(crate) enum Act {
    Comment(String),
    Answer(String),
    Retry(Option<String>),
    Cancel(Option<String>),
    Close(Option<String>),
    Reopen(Option<String>),
}

/// Does it, in the name of whoever asks.
pub(crate) async fn act(app: &App, who: &Who, id: &IssueId, act: Act) -> Result<QueuedIssue, Fault> {
    let queue = app.issues_by(who);
    Ok(match act {
        Act::Comment(text) => queue.comment(id, &text).await?,
        Act::Answer(text) => queue.answer(id, &text).await?,
        Act::Retry(reason) => queue.retry(id, reason.as_deref()).await?,
        Act::Close(reason) => queue.close(id, reason.as_deref()).await?,
        Act::Reopen(reason) => queue.reopen(id, reason.as_deref()).await?,
        Act::Cancel(reason) => {
            let before = queue.get(id).await?;
            let cancelled = queue.cancel(id, reason.as_deref()).await?;
            if before.issue.status == IssueStatus::InProgress
                && let Some(session) = &before.session
            {
                stop(app, session).await?;
            }
            cancelled
        }
    })
}

/// Stops the worker of an issue that nobody wants any more; one that has ended needs no stop.
async fn stop(app: &App, session: &amplifier_core::SessionId) -> Result<(), Fault> {
    match app.host().project_sessions().cancel(session, CancelLevel::Graceful).await {
        Ok(()) | Err(ReachError::Ended { .. } | ReachError::Lost { .. } | ReachError::Unknown { .. }) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

pub(super) async fn comment(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let said = Act::Comment(given.json::<Text>()?.text);
    Reply::of(&IssueView::from(act(&app, &who, &IssueId::new(id)?, said).await?))
}

pub(super) async fn answer(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let said = Act::Answer(given.json::<Text>()?.text);
    Reply::of(&IssueView::from(act(&app, &who, &IssueId::new(id)?, said).await?))
}

macro_rules! with_reason {
    ($($name:ident => $act:ident),* $(,)?) => {$(
        pub(super) async fn $name(
            State(app): State<Arc<App>>,
            Path(id): Path<String>,
            Extension(who): Extension<Who>,
            Extension(given): Extension<Given>,
        ) -> Answer {
            let said = Act::$act(given.json::<Reason>()?.reason);
            Reply::of(&IssueView::from(act(&app, &who, &IssueId::new(id)?, said).await?))
        }
    )*};
}

with_reason!(retry => Retry, cancel => Cancel, close => Close, reopen => Reopen);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkTo {
    to: String,
    kind: String,
}

/// Links an issue to another one, or has it depend on that.
pub(super) async fn link(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let (id, LinkTo { to, kind }) = (IssueId::new(id)?, given.json()?);
    let (to, queue) = (IssueId::new(to)?, app.issues_by(&who));
    let linked = match (kind.as_str(), LinkKind::from_name(&kind)) {
        ("depends-on", _) => queue.add_dependency(&id, &to).await?,
        (_, Some(kind)) => queue.link(&id, kind, &to).await?,
        _ => return Err(Fault::bad("`kind` is depends-on, related, parent-child or discovered-from")),
    };
    Reply::of(&IssueView::from(linked))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    to: String,
}

/// Takes a dependency away.
pub(super) async fn unlink(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    Extension(given): Extension<Given>,
) -> Answer {
    let (id, to) = (IssueId::new(id)?, IssueId::new(given.json::<To>()?.to)?);
    Reply::of(&IssueView::from(app.issues_by(&who).remove_dependency(&id, &to).await?))
}
