//! `foreman add` and `foreman import`.
//!
//! Guarantees: what is printed is durable; a file is imported whole or not at all.

use amplifier_app::exit::print_json;
use amplifier_app::terminal::{print, say};
use amplifier_core::IssueId;
use amplifier_issue::NewIssue;
use amplifier_issue::exchange::Import;
use amplifier_issue::queue::{Bound, IssueView};
use serde_json::json;

use super::{Queue, metadata, text, wait};
use crate::args::issue::{AddArgs, ImportArgs};
use crate::exit::{Code, Failure, unread};

/// Adds an issue.
pub(super) async fn add(args: AddArgs, queue: &Queue) -> Result<Code, Failure> {
    let body = args.body.map(|body| text(body, Bound::Description)).transpose()?;
    let mut issue = NewIssue::new(args.title, body.unwrap_or_default());
    (issue.id, issue.issue_type, issue.priority) = (args.id, args.kind, args.priority);
    (issue.depends_on, issue.bundle) = (args.depends_on, args.bundle);
    (issue.details.assignee, issue.details.parent_id) = (args.assignee, args.parent);
    if let Some(text) = &args.metadata {
        issue.metadata = metadata(text)?;
    }
    let opened = match queue.issues.open(issue).await {
        Ok(opened) => opened,
        Err(error) => return Err(queue.refused(error).await),
    };
    if args.wait {
        say(&format!("issue {}", opened.issue.id));
        return wait::until_done(&[opened.issue.id], args.timeout, args.json, queue).await;
    }
    match args.json {
        true => print_json(&IssueView::from(opened)),
        false => Ok(print(&format!("{}\n", opened.issue.id))),
    }
}

/// Adds the issues of a file.
pub(super) async fn import(args: &ImportArgs, queue: &Queue) -> Result<Code, Failure> {
    let import = Import::read(&args.path).map_err(|error| unread(&error))?;
    import.warnings.iter().for_each(|warning| say(&warning.to_string()));
    let opened = match queue.issues.open_many(&import.issues).await {
        Ok(opened) => opened,
        Err(error) => return Err(queue.refused(error).await),
    };
    let ids: Vec<&IssueId> = opened.iter().map(|opened| &opened.issue.id).collect();
    if args.json {
        return print_json(&json!({ "imported": ids.len(), "issues": ids }));
    }
    say(&match ids.len() {
        1 => "imported 1 issue".to_owned(),
        more => format!("imported {more} issues"),
    });
    Ok(print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()))
}
