//! A run for people: a table, a line that sums it up, and what to do next.

use std::time::Duration;

use amplifier_app::terminal;
use amplifier_core::SessionOutcome;
use amplifier_crew::issue::{IssueResult, RunReport};
use amplifier_foundation::settings::duration;

use super::output::shortened;

/// As much of a session's id as a person needs to name it.
const SHORT_ID: usize = 8;

/// What stands for nothing.
const NONE: &str = "-";

/// How an issue may come out, in the order of a summary.
pub(crate) const OUTCOMES: [&str; 9] = [
    "completed",
    "failed",
    "timed_out",
    "limit_reached",
    "lost",
    "abandoned",
    "blocked",
    "cancelled",
    "skipped",
];

/// One row an issue.
pub(crate) fn table(report: &RunReport) -> String {
    let heading = ["ISSUE", "TITLE", "SESSION", "OUTCOME", "TURNS", "TOKENS", "COST", "TIME"];
    let rows: Vec<[String; 8]> = report.results.iter().map(row).collect();
    terminal::table(heading, &rows)
}

fn row(result: &IssueResult) -> [String; 8] {
    let outcome = result.outcome.as_deref();
    let session = result.session.as_ref().map(|id| id.as_str().chars().take(SHORT_ID).collect());
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    [
        result.issue.to_string(),
        shortened(&result.title),
        or_none(session),
        result.outcome_name().to_owned(),
        or_none(outcome.map(|outcome| outcome.turns.to_string())),
        or_none(result.tree.as_ref().map(|tree| tree.usage.total().to_string())),
        or_none(result.tree.as_ref().and_then(|tree| tree.cost_micro_usd).map(dollars)),
        or_none(outcome.map(|outcome| duration::format(time(outcome)))),
    ]
}

/// `4 issues: 2 completed, 1 failed, 1 blocked`.
pub(crate) fn summary(report: &RunReport) -> String {
    let count = report.results.len();
    let parts: Vec<String> = OUTCOMES
        .iter()
        .map(|outcome| (report.count(outcome), outcome))
        .filter(|(count, _)| *count > 0)
        .map(|(count, outcome)| format!("{count} {}", outcome.replace('_', " ")))
        .collect();
    match count {
        0 => "there are no issues".to_owned(),
        1 => format!("1 issue: {}", parts.join(", ")),
        _ => format!("{count} issues: {}", parts.join(", ")),
    }
}

/// How to go on with what was not completed.
pub(crate) fn hint(report: &RunReport) -> Option<String> {
    let left = |result: &&IssueResult| result.outcome_name() != "completed";
    let session = report.results.iter().filter(left).find_map(|result| result.session.as_ref())?;
    Some(format!("sessions are kept; go on with one by: amplifier run --resume {session} \"…\""))
}

/// How long a session took, as exactly as a person wants to know.
pub(crate) fn time(outcome: &SessionOutcome) -> Duration {
    let took = Duration::from_millis(outcome.duration_ms);
    if took.as_secs() >= 10 { Duration::from_secs(took.as_secs()) } else { took }
}

fn dollars(micro_usd: u64) -> String {
    match micro_usd {
        0 => "$0".to_owned(),
        some => format!("${:.4}", some as f64 / 1e6),
    }
}
