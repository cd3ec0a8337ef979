//! `foreman issue …`: what is done to issues.
//!
//! Guarantees: each change is durable when it is told, and stands under the name of who made it; of several
//! issues that one command names each is told for itself.

use amplifier_app::exit::print_json;
use amplifier_app::terminal::{Code, Stdout, say};
use amplifier_core::{CancelLevel, IssueId};
use amplifier_foundation::host::ReachError;
use amplifier_issue::queue::{Bound, IssueView};
use amplifier_issue::{Edit, IssueStatus, QueueError, QueuedIssue};

use super::list::{list, standing};
use super::show::show;
use super::{Queue, metadata, text};
use crate::args::issue::{IssueCommand, LinkArgs, Linked, ReasonArgs, UpdateArgs};
use crate::exit::Failure;

/// Does what was asked.
pub(super) async fn issue(command: IssueCommand, queue: &Queue) -> Result<Code, Failure> {
    match command {
        IssueCommand::List(args) => list(&args, queue).await,
        IssueCommand::Show(args) => show(&args, queue).await,
        IssueCommand::Update(args) => {
            let (id, json) = (args.id.clone(), args.json);
            told(queue.issues.update(&id, edit(*args)?).await, json, queue).await
        }
        IssueCommand::Comment(args) => {
            let said = text(args.text, Bound::Comment)?;
            told(queue.issues.comment(&args.id, &said).await, args.json, queue).await
        }
        IssueCommand::Answer(args) => {
            let said = text(args.text, Bound::Text)?;
            told(queue.issues.answer(&args.id, &said).await, args.json, queue).await
        }
        IssueCommand::Link(args) => told(link(&args, queue).await, args.json, queue).await,
        IssueCommand::Close(args) => each(&args, Act::Close, queue).await,
        IssueCommand::Retry(args) => each(&args, Act::Retry, queue).await,
        IssueCommand::Cancel(args) => each(&args, Act::Cancel, queue).await,
        IssueCommand::Reopen(args) => each(&args, Act::Reopen, queue).await,
    }
}

async fn told(
    changed: Result<QueuedIssue, QueueError>,
    as_json: bool,
    queue: &Queue,
) -> Result<Code, Failure> {
    match changed {
        Ok(issue) if as_json => print_json(&IssueView::from(issue)),
        Ok(issue) => {
            say(&line(&issue));
            Ok(Code::Success)
        }
        Err(error) => Err(queue.refused(error).await),
    }
}

fn line(issue: &QueuedIssue) -> String {
    format!("{}: {}", issue.issue.id, standing(issue))
}

fn edit(args: UpdateArgs) -> Result<Edit, Failure> {
    let mut edit = Edit::default();
    edit.description = args.body.map(|body| text(body, Bound::Description)).transpose()?;
    edit.metadata = args.metadata.as_deref().map(metadata).transpose()?;
    (edit.title, edit.issue_type, edit.priority) = (args.title, args.kind, args.priority);
    (edit.status, edit.bundle, edit.assignee) = (args.status, args.bundle, args.assignee);
    (edit.parent_id, edit.blocking_notes) = (args.parent, args.notes);
    (edit.result, edit.reason) = (args.result, args.reason);
    Ok(edit)
}

async fn link(args: &LinkArgs, queue: &Queue) -> Result<QueuedIssue, QueueError> {
    match (args.kind, args.remove) {
        (Linked::DependsOn, false) => queue.issues.add_dependency(&args.id, &args.to).await,
        (Linked::DependsOn, true) => queue.issues.remove_dependency(&args.id, &args.to).await,
        (Linked::As(kind), _) => queue.issues.link(&args.id, kind, &args.to).await,
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Close,
    Retry,
    Cancel,
    Reopen,
}

/// Does it to each that was named; the last failure is that of the command.
async fn each(args: &ReasonArgs, act: Act, queue: &Queue) -> Result<Code, Failure> {
    let (stdout, mut failed) = (Stdout::new(), None::<Failure>);
    for id in &args.ids {
        match one(id, args.reason.as_deref(), act, queue).await {
            Ok(issue) if args.json => {
                let line = serde_json::to_string(&IssueView::from(issue));
                stdout.write(&format!("{}\n", line.map_err(|error| Failure::work(&error))?));
            }
            Ok(issue) => say(&line(&issue)),
            Err(failure) => {
                if let Some(before) = failed.replace(failure) {
                    before.report();
                }
            }
        }
    }
    failed.map_or_else(|| Ok(stdout.code(Code::Success)), Err)
}

async fn one(id: &IssueId, reason: Option<&str>, act: Act, queue: &Queue) -> Result<QueuedIssue, Failure> {
    let issues = &queue.issues;
    let done = match act {
        Act::Close => issues.close(id, reason).await,
        Act::Retry => issues.retry(id, reason).await,
        Act::Reopen => issues.reopen(id, reason).await,
        Act::Cancel => return cancel(id, reason, queue).await,
    };
    match done {
        Ok(issue) => Ok(issue),
        Err(error) => Err(queue.refused(error).await),
    }
}

/// Closes an issue, and stops the session that works on it.
async fn cancel(id: &IssueId, reason: Option<&str>, queue: &Queue) -> Result<QueuedIssue, Failure> {
    let cancelled = async {
        let before = queue.issues.get(id).await?;
        Ok((before, queue.issues.cancel(id, reason).await?))
    };
    let (before, after) = match cancelled.await {
        Ok(both) => both,
        Err(error) => return Err(queue.refused(error).await),
    };
    let works = before.session.filter(|_| before.issue.status == IssueStatus::InProgress);
    if let Some(session) = works {
        match queue.host.project_sessions().cancel(&session, CancelLevel::Graceful).await {
            Ok(()) => say(&format!("session {session} was asked to stop")),
            Err(ReachError::Ended { .. } | ReachError::Lost { .. } | ReachError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(after)
}
