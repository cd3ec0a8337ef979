//! How the issues stand: when somebody asks, and as it changes.
//!
//! Guarantees: what is told comes from the store and its events, whoever works.

use amplifier_app::terminal::{plain, say};
use amplifier_background::control::OwnerInfo;
use amplifier_core::IssueId;
use amplifier_foundation::Host;
use amplifier_foundation::router::Delivery;
use amplifier_issue::{IssueFilter, IssueStatus, QueuedIssue};
use serde::Deserialize;

use crate::exit::Failure;

/// Issues that are told of each status.
const LINES: usize = 10;

/// What is told as it happens.
const EVENTS: [&str; 7] = [
    "issue_started",
    "issue_completed",
    "issue_closed",
    "issue_failed",
    "issue_blocked",
    "issue_question",
    "issue_escalated",
];

#[derive(Deserialize)]
struct Told {
    issue_id: IssueId,
    title: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    question: Option<String>,
}

/// Tells what happens to issues, until it is dropped.
pub(super) async fn follow(host: Host) {
    let Ok(mut events) = host.router().subscribe(EVENTS) else { return };
    drop(host);
    while let Some(delivery) = events.next().await {
        let Delivery::Event(event) = delivery else { continue };
        let Ok(told) = event.payload.decode::<Told>() else { continue };
        let what = event.event_type.name().trim_start_matches("issue_");
        let said = told.question.or(told.reason).unwrap_or_default();
        let mut line = format!("issue {}: {what}  {}", told.issue_id, told.title);
        if !said.is_empty() {
            line.push_str(&format!(": {}", said.replace(['\n', '\r'], " ")));
        }
        say(&plain(&line));
    }
}

/// Tells how many there are, who works, and what somebody should look at.
pub(super) async fn tell(host: &Host) -> Result<(), Failure> {
    let store = host.store();
    let failed = |error| Failure::store(&error);
    let counts = store.count_issues().await.map_err(failed)?;
    let all = counts.by_status.iter().map(|(status, count)| format!("{count} {}", status.as_str()));
    let all = all.collect::<Vec<_>>().join(", ");
    say(&format!("issues: {}", if all.is_empty() { "none" } else { &all }));
    match OwnerInfo::read(host).await.map_err(failed)? {
        Some(owner) => say(&format!("{owner} works on them")),
        None => say("nobody works on them"),
    }
    for status in
        [IssueStatus::InProgress, IssueStatus::PendingUserInput, IssueStatus::Blocked, IssueStatus::Failed]
    {
        let rows = store.issues(&IssueFilter::of(status).limit(LINES)).await.map_err(failed)?;
        for issue in rows.iter().filter_map(|row| QueuedIssue::of(row).ok()) {
            let details = &issue.details;
            let said = match status {
                IssueStatus::PendingUserInput => details.question.as_deref(),
                IssueStatus::Blocked => details.blocking_notes.as_deref().or(details.reason.as_deref()),
                IssueStatus::Failed => details.reason.as_deref(),
                _ => None,
            };
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            say(&plain(&format!("  {}  {}  {}{said}", issue.issue.id, status.as_str(), issue.issue.title)));
        }
    }
    Ok(())
}
