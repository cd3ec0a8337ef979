//! `foreman issue show`: all that is known of one issue.

use amplifier_app::command::runs::figures::{cut, second};
use amplifier_app::exit::print_json;
use amplifier_app::terminal::{Code, plain, print};
use amplifier_core::IssueId;
use amplifier_issue::QueuedIssue;
use amplifier_issue::queue::{IssueView, NoteView};
use serde_json::json;

use super::Queue;
use super::list::standing;
use crate::args::issue::OneArgs;
use crate::exit::Failure;

/// Most entries of a history that people are shown: the latest.
const MOST: usize = 50;
/// Characters of an entry.
const TEXT: usize = 400;

/// Shows an issue.
pub(super) async fn show(args: &OneArgs, queue: &Queue) -> Result<Code, Failure> {
    let about = match About::read(&args.id, queue).await {
        Ok(about) => about,
        Err(error) => return Err(queue.refused(error).await),
    };
    match args.json {
        true => print_json(&about.for_programs()),
        false => Ok(print(&about.for_people())),
    }
}

struct About {
    issue: QueuedIssue,
    blockers: Vec<IssueId>,
    dependents: Vec<IssueId>,
    notes: Vec<NoteView>,
}

impl About {
    async fn read(id: &IssueId, queue: &Queue) -> Result<Self, amplifier_issue::QueueError> {
        let issues = &queue.issues;
        let issue = issues.get(id).await?;
        let blockers = issues.blockers(&issue).await?;
        let dependents = issues.dependents(id).await?.into_iter().map(|row| row.id).collect();
        let notes = issues.whole_history(id).await?.into_iter().map(NoteView::from).collect();
        Ok(Self { issue, blockers, dependents, notes })
    }

    fn for_programs(self) -> serde_json::Value {
        let Self { issue, blockers, dependents, notes } = self;
        json!({
            "issue": IssueView::from(issue), "blockers": blockers, "dependents": dependents, "notes": notes,
        })
    }

    fn for_people(&self) -> String {
        let mut text = self.facts();
        let description = self.issue.issue.description.trim_end();
        if !description.is_empty() {
            text.push_str(&format!("\n{}\n", plain(description)));
        }
        let details = &self.issue.details;
        for (name, said) in [("result", &details.result), ("question", &details.question)] {
            if let Some(said) = said {
                text.push_str(&format!("\n{name}\n{}\n", plain(said.trim_end())));
            }
        }
        text.push_str("\nhistory\n");
        let left_out = self.notes.len().saturating_sub(MOST);
        if left_out > 0 {
            text.push_str(&format!("  {left_out} before\n"));
        }
        self.notes.iter().skip(left_out).for_each(|note| text.push_str(&entry(note)));
        text
    }

    fn facts(&self) -> String {
        let mut text = String::new();
        let mut fact = |name: &str, value: String| {
            if !value.is_empty() {
                text.push_str(&format!("{:<12}{}\n", format!("{name}:"), plain(&value)));
            }
        };
        let (issue, details) = (&self.issue.issue, &self.issue.details);
        let names = |ids: &[IssueId]| ids.iter().map(IssueId::as_str).collect::<Vec<_>>().join(", ");
        fact("issue", issue.id.to_string());
        fact("title", issue.title.clone());
        fact("status", standing(&self.issue));
        fact("type", issue.issue_type.as_str().to_owned());
        fact("priority", issue.priority.number().to_string());
        fact("waits for", names(&self.blockers));
        fact("depends on", names(&issue.depends_on));
        fact("needed by", names(&self.dependents));
        fact("part of", details.parent_id.as_ref().map(ToString::to_string).unwrap_or_default());
        fact("assignee", details.assignee.clone().unwrap_or_default());
        fact("bundle", issue.bundle.clone().unwrap_or_default());
        fact("blocked by", details.blocking_notes.clone().unwrap_or_default());
        fact("reason", details.reason.clone().unwrap_or_default());
        let failed = details.retry_count;
        fact("failed", if failed > 0 { format!("{failed} times") } else { String::new() });
        fact("run", self.issue.run.as_ref().map(ToString::to_string).unwrap_or_default());
        fact("session", self.issue.session.as_ref().map(ToString::to_string).unwrap_or_default());
        fact("opened", second(self.issue.opened_at()));
        fact("updated", second(self.issue.updated));
        text
    }
}

fn entry(note: &NoteView) -> String {
    let name = note.event.strip_prefix("issue_").unwrap_or(&note.event);
    let changed: Vec<&str> = note.changed().collect();
    let changed = if changed.is_empty() { String::new() } else { format!(" {}", changed.join(", ")) };
    let by = note.by.as_ref().map(|by| format!(" because of {by}")).unwrap_or_default();
    let line = format!("  {}  {name}{changed}{by} ({})", second(note.at), note.actor);
    let mut text = format!("{}\n", plain(&line));
    if let Some(said) = &note.text {
        text.push_str(&format!("{:24}{}\n", "", cut(said, TEXT)));
    }
    text
}
