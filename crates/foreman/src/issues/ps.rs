//! `foreman ps`: what is worked on now.

use amplifier_app::command::runs::figures::{cut, span};
use amplifier_app::exit::print_json;
use amplifier_app::terminal::{Code, print, say, table};
use amplifier_foundation::store::RunRow;
use amplifier_issue::{IssueFilter, QueuedIssue};
use serde_json::json;

use super::{Queue, refused, store};
use crate::args::issue::PsArgs;
use crate::exit::Failure;

/// Characters of a title.
const TITLE: usize = 36;
/// As much of a session's id as a person needs to name it.
const SHORT_ID: usize = 8;

/// Shows the issues that runs have claimed, with their runs and sessions.
pub(super) async fn ps(args: &PsArgs, queue: &Queue) -> Result<Code, Failure> {
    let mut filter = IssueFilter::default().by_urgency();
    filter.claimed = Some(true);
    let mut found: Vec<(QueuedIssue, Option<RunRow>)> = Vec::new();
    for issue in queue.issues.list(&filter).await.map_err(|error| refused(&error))? {
        let run = match &issue.run {
            Some(run) => queue.host.store().run(run).await.map_err(|error| store(&error))?,
            None => None,
        };
        found.push((issue, run));
    }
    if args.json {
        let all: Vec<_> = found.iter().map(|(issue, run)| as_json(issue, run.as_ref())).collect();
        return print_json(&all);
    }
    if found.is_empty() {
        say("nothing is worked on");
        return Ok(Code::Success);
    }
    let now = queue.host.clock().now();
    let row = |(issue, run): &(QueuedIssue, Option<RunRow>)| {
        let run = run.as_ref();
        let session = issue.session.as_ref().map(|id| id.as_str().chars().take(SHORT_ID).collect::<String>());
        [
            issue.issue.id.to_string(),
            run.map_or_else(|| "-".to_owned(), |run| run.queue.to_string()),
            run.map_or("-", |run| run.state.as_str()).to_owned(),
            session.unwrap_or_else(|| "-".to_owned()),
            run.map_or_else(|| "-".to_owned(), |run| span(now.saturating_since(run.updated))),
            cut(&issue.issue.title, TITLE),
        ]
    };
    let rows: Vec<[String; 6]> = found.iter().map(row).collect();
    Ok(print(&table(["ISSUE", "POOL", "RUN", "SESSION", "FOR", "TITLE"], &rows)))
}

fn as_json(issue: &QueuedIssue, run: Option<&RunRow>) -> serde_json::Value {
    json!({
        "issue_id": issue.issue.id,
        "title": issue.issue.title,
        "status": issue.issue.status.as_str(),
        "priority": issue.issue.priority.number(),
        "session_id": issue.session,
        "run_id": issue.run,
        "pool": run.map(|run| run.queue.as_str()),
        "run_state": run.map(|run| run.state.as_str()),
        "attempt": run.map(|run| run.attempt),
        "since": run.map(|run| run.updated),
    })
}
