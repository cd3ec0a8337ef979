//! `foreman issue list`.
//!
//! Guarantees: a title takes one line, and no more of it than fits.

use amplifier_app::command::runs::figures::cut;
use amplifier_app::exit::print_json;
use amplifier_app::terminal::{Code, print, say, table};
use amplifier_core::IssueId;
use amplifier_issue::queue::IssueView;
use amplifier_issue::{IssueFilter, IssueOrder, IssueStatus, QueuedIssue};
use serde_json::json;

use super::{Queue, refused};
use crate::args::issue::ListArgs;
use crate::exit::Failure;

/// Characters of a title in a list.
const TITLE: usize = 44;

/// What is wanted.
fn filter(args: &ListArgs) -> IssueFilter {
    let mut filter = IssueFilter::default();
    (filter.ready, filter.needing, filter.limit) = (args.ready, args.needing.clone(), args.limit);
    filter.issue_type = args.kind.as_ref().map(|kind| kind.as_str().into());
    filter.statuses.clone_from(&args.status);
    if !args.all {
        filter.order = IssueOrder::Urgency;
    }
    if !args.all && args.status.is_empty() && !args.ready {
        filter.statuses = IssueStatus::ALL.into_iter().filter(|status| !status.is_done()).collect();
    }
    filter
}

/// Lists issues.
pub(super) async fn list(args: &ListArgs, queue: &Queue) -> Result<Code, Failure> {
    let found: Vec<(QueuedIssue, Vec<IssueId>)> = match args.blocked {
        true => queue.issues.blocked(args.limit).await.map_err(|error| refused(&error))?,
        false => {
            let found = queue.issues.list(&filter(args)).await.map_err(|error| refused(&error))?;
            found.into_iter().map(|issue| (issue, Vec::new())).collect()
        }
    };
    let is_cut = found.len() == args.limit;
    if args.json {
        let lines: Vec<_> = found
            .into_iter()
            .map(|(issue, blockers)| {
                let mut line = json!(IssueView::from(issue));
                if args.blocked {
                    line["blockers"] = json!(blockers);
                }
                line
            })
            .collect();
        return print_json(&lines);
    }
    if found.is_empty() {
        say("no issues; `foreman add` adds one, `foreman issue list --all` lists those that are done too");
        return Ok(Code::Success);
    }
    let rows: Vec<[String; 5]> = found.iter().map(|(issue, blockers)| row(issue, blockers)).collect();
    let code = print(&table(["ISSUE", "P", "TYPE", "STATUS", "TITLE"], &rows));
    if is_cut {
        say(&format!("at most {} are shown; --limit shows more", args.limit));
    }
    Ok(code)
}

fn row(issue: &QueuedIssue, blockers: &[IssueId]) -> [String; 5] {
    let mut title = cut(&issue.issue.title, TITLE);
    if !blockers.is_empty() {
        let names: Vec<&str> = blockers.iter().map(IssueId::as_str).collect();
        title.push_str(&format!(" (waits for {})", cut(&names.join(", "), TITLE)));
    }
    [
        issue.issue.id.to_string(),
        issue.issue.priority.number().to_string(),
        issue.issue.issue_type.as_str().to_owned(),
        standing(issue),
        title,
    ]
}

/// Where it stands, as a person wants to know it.
pub(super) fn standing(issue: &QueuedIssue) -> String {
    match issue.issue.status {
        IssueStatus::Open if issue.run.is_some() => "queued".to_owned(),
        IssueStatus::Open if issue.unmet > 0 => format!("waits for {}", issue.unmet),
        IssueStatus::PendingUserInput => "asks".to_owned(),
        status => status.as_str().replace('_', " "),
    }
}
