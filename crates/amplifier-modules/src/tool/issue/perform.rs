//! Each operation, with its result as the reference's tool gives it.

use amplifier_core::IssueId;
use amplifier_core::causes::chain;
use amplifier_core::module::tool::{ToolContext, ToolError, ToolOutput};
use amplifier_foundation::redact::Redactor;
use amplifier_issue::exchange::{Shape, line};
use amplifier_issue::queue::{HistoryEntry, LinkKind};
use amplifier_issue::{Edit, IssueFilter, IssueQueue, NewIssue, NoteKind, QueueError, QueuedIssue};
use serde_json::{Map, Value, json};

use super::WORKER;
use super::arguments::{Arguments, Operation, Params};

/// Issues of one result, where the model does not say.
const DEFAULT_LIMIT: u64 = 50;
/// Most issues of one result.
const MAX_LIMIT: u64 = 1_000;
/// Comments that are shown with an issue.
const MAX_COMMENTS: usize = 100;

pub(super) async fn perform(
    args: Arguments,
    queue: IssueQueue,
    cx: &ToolContext<'_>,
) -> Result<ToolOutput, ToolError> {
    let Arguments { operation, mut params } = args;
    if let Some(redactor) = cx.env.coordinator.capability::<Redactor>() {
        params.redact(&redactor);
    }
    // What works on an issue is the root of its tree: a run starts a session that nobody spawned.
    let own = queue.worked_on_by(&cx.env.root).await.map_err(refused)?;
    let queue = match &own {
        Some(_) => queue.by(queue.actor().clone().named(WORKER)),
        None => queue,
    };
    let told = match operation {
        Operation::Create => create(&queue, own, params).await,
        Operation::List => list(&queue, &params).await,
        Operation::Get => get(&queue, &params.issue()?).await,
        Operation::Update => {
            params.only(own.as_ref(), &params.issue()?)?;
            update(&queue, params).await
        }
        Operation::Close => {
            let issue = params.issue()?;
            params.only(own.as_ref(), &issue)?;
            shown(queue.close(&issue, params.reason.as_deref()).await)
        }
        Operation::Comment => shown(queue.comment(&params.issue()?, &params.text.unwrap_or_default()).await),
        Operation::Answer if own.is_some() => {
            return Err(ToolError::Refused(
                "only a person answers questions; this session works on an issue".into(),
            ));
        }
        Operation::Answer => shown(queue.answer(&params.issue()?, &params.text.unwrap_or_default()).await),
        Operation::AddDependency => depend(&queue, &params, true).await,
        Operation::RemoveDependency => depend(&queue, &params, false).await,
        Operation::GetReady => {
            let ready = queue.ready(params.limit()).await;
            ready.map(|ready| json!({"ready_issues": lines(&ready), "count": ready.len()}))
        }
        Operation::GetBlocked => blocked(&queue, params.limit()).await,
        Operation::GetSessions => sessions(&queue, &params.issue()?).await,
    };
    told.map(|told| ToolOutput::text(told.to_string())).map_err(refused)
}

/// What the queue refuses is a result that the model can act on.
fn refused(error: QueueError) -> ToolError {
    match error {
        QueueError::Store(error) => ToolError::failed("changing the issues", error),
        other => ToolError::Refused(chain(&other)),
    }
}

fn shown(issue: Result<QueuedIssue, QueueError>) -> Result<Value, QueueError> {
    Ok(json!({"issue": line(&issue?, Shape::Own)}))
}

fn lines(issues: &[QueuedIssue]) -> Vec<Value> {
    issues.iter().map(|issue| json!(line(issue, Shape::Own))).collect()
}

impl Params {
    fn issue(&self) -> Result<IssueId, ToolError> {
        self.issue_id.clone().ok_or_else(|| ToolError::Arguments("`issue_id` is missing".to_owned()))
    }

    fn limit(&self) -> usize {
        usize::try_from(self.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)).unwrap_or(usize::MAX)
    }

    /// A worker changes its own issue alone.
    fn only(&self, own: Option<&IssueId>, issue: &IssueId) -> Result<(), ToolError> {
        match own {
            Some(own) if own != issue => Err(ToolError::Refused(format!(
                "this session works on issue `{own}` and may change that one only; comment on `{issue}` instead"
            ))),
            _ => Ok(()),
        }
    }

    /// Takes the secrets out of all that will be written.
    fn redact(&mut self, redactor: &Redactor) {
        let texts = [
            &mut self.title,
            &mut self.description,
            &mut self.blocking_notes,
            &mut self.question,
            &mut self.result,
            &mut self.reason,
            &mut self.text,
        ];
        for text in texts.into_iter().flatten() {
            let mut value = Value::String(std::mem::take(text));
            redactor.redact(&mut value);
            if let Value::String(clean) = value {
                *text = clean;
            }
        }
        if let Some(metadata) = self.metadata.take() {
            let mut value = Value::Object(metadata);
            redactor.redact(&mut value);
            if let Value::Object(clean) = value {
                self.metadata = Some(clean);
            }
        }
    }
}

async fn create(queue: &IssueQueue, own: Option<IssueId>, params: Params) -> Result<Value, QueueError> {
    let mut new = NewIssue::new(params.title.unwrap_or_default(), params.description.unwrap_or_default());
    new.id = params.issue_id;
    new.priority = params.priority.unwrap_or_default();
    new.issue_type = params.issue_type.unwrap_or_default();
    new.depends_on = params.depends_on;
    new.metadata = params.metadata.unwrap_or_default();
    new.details.assignee = params.assignee.filter(|name| !name.is_empty());
    new.details.parent_id = params.parent_id;
    new.details.discovered_from = params.discovered_from.or(own);
    shown(queue.open(new).await)
}

async fn get(queue: &IssueQueue, issue: &IssueId) -> Result<Value, QueueError> {
    let found = queue.get(issue).await?;
    let history = queue.whole_history(issue).await?;
    let comments: Vec<_> = history.iter().filter(|entry| entry.kind == NoteKind::Comment).collect();
    let latest = comments.iter().skip(comments.len().saturating_sub(MAX_COMMENTS));
    let comment =
        |entry: &&&HistoryEntry| json!({"actor": &*entry.actor, "at": entry.at, "text": entry.noted.text});
    let comments: Vec<Value> = latest.map(|entry| comment(&entry)).collect();
    let blockers = queue.blockers(&found).await?;
    Ok(json!({"issue": line(&found, Shape::Own), "blockers": blockers, "comments": comments}))
}

async fn list(queue: &IssueQueue, params: &Params) -> Result<Value, QueueError> {
    let limit = params.limit();
    let mut filter = IssueFilter::default();
    filter.statuses = params.status.into_iter().collect();
    filter.issue_type = params.issue_type.as_ref().map(|one| one.as_str().into());
    let (mut issues, mut more) = (Vec::new(), false);
    loop {
        let page = queue.list(&filter).await?;
        let Some(last) = page.last() else { break };
        filter.after = Some((0, last.place));
        issues.extend(page.into_iter().filter(|issue| params.fits(issue)));
        if issues.len() > limit {
            issues.truncate(limit);
            more = true;
            break;
        }
    }
    let mut told = json!({"issues": lines(&issues), "count": issues.len()});
    if let (true, Some(told)) = (more, told.as_object_mut()) {
        told.insert("more".to_owned(), json!("there are others; narrow it or give a larger limit"));
    }
    Ok(told)
}

impl Params {
    fn fits(&self, issue: &QueuedIssue) -> bool {
        let (one, details) = (&issue.issue, &issue.details);
        self.priority.is_none_or(|wanted| wanted == one.priority)
            && self.assignee.as_ref().is_none_or(|wanted| Some(wanted) == details.assignee.as_ref())
            && self.parent_id.as_ref().is_none_or(|wanted| Some(wanted) == details.parent_id.as_ref())
            && self.discovered_from.as_ref().is_none_or(|from| Some(from) == details.discovered_from.as_ref())
    }
}

async fn update(queue: &IssueQueue, params: Params) -> Result<Value, QueueError> {
    let Some(issue) = params.issue_id else { return Err(QueueError::Empty { what: "`issue_id`" }) };
    let mut edit = Edit::default();
    (edit.title, edit.description) = (params.title, params.description);
    (edit.priority, edit.issue_type) = (params.priority, params.issue_type);
    (edit.status, edit.assignee) = (params.status, params.assignee);
    (edit.parent_id, edit.discovered_from) = (params.parent_id, params.discovered_from);
    (edit.metadata, edit.blocking_notes) = (params.metadata, params.blocking_notes);
    (edit.question, edit.result, edit.reason) = (params.question, params.result, params.reason);
    shown(queue.update(&issue, edit).await)
}

async fn depend(queue: &IssueQueue, params: &Params, adds: bool) -> Result<Value, QueueError> {
    let from = params.from_id.as_ref().or(params.issue_id.as_ref());
    let (Some(from), Some(to)) = (from, params.to_id.as_ref()) else {
        return Err(QueueError::Empty { what: "`from_id` or `to_id`" });
    };
    let kind = params.dep_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("blocks");
    let changed = match LinkKind::from_name(kind) {
        Some(kind) if adds => queue.link(from, kind, to).await?,
        None if kind == "blocks" && adds => queue.add_dependency(from, to).await?,
        None if kind == "blocks" => queue.remove_dependency(from, to).await?,
        _ => {
            return Err(QueueError::Empty {
                what: "`dep_type` of blocks, related, parent-child, discovered-from",
            });
        }
    };
    let made = changed.updated;
    Ok(json!({"dependency": {"from_id": from, "to_id": to, "dep_type": kind, "created_at": made}}))
}

async fn blocked(queue: &IssueQueue, limit: usize) -> Result<Value, QueueError> {
    let mut all = Vec::new();
    for (issue, blockers) in queue.blocked(limit).await? {
        let mut shown = Vec::with_capacity(blockers.len());
        for blocker in blockers.iter().take(DEFAULT_LIMIT as usize) {
            let blocker = queue.get(blocker).await?;
            shown.push(json!({
                "id": blocker.issue.id, "title": blocker.issue.title, "status": blocker.issue.status.as_str(),
            }));
        }
        all.push(json!({"issue": line(&issue, Shape::Own), "blockers": shown}));
    }
    Ok(json!({"blocked_issues": all, "count": all.len()}))
}

async fn sessions(queue: &IssueQueue, issue: &IssueId) -> Result<Value, QueueError> {
    let sessions = queue.sessions(issue).await?;
    let linked: Vec<_> = sessions.iter().map(|one| &one.session).collect();
    let mut events = Map::new();
    for one in &sessions {
        let event = |entry: &HistoryEntry| json!({"event_type": entry.noted.event, "actor": &*entry.actor, "timestamp": entry.at});
        events.insert(one.session.to_string(), one.entries.iter().map(event).collect());
    }
    Ok(json!({
        "issue_id": issue, "linked_sessions": linked, "session_count": linked.len(), "events_by_session": events,
    }))
}
