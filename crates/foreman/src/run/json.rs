//! A run for programs: one object a line.
//!
//! Guarantees: each issue has one line with `type: issue`, written when it ends; the last line is the
//! only one with `type: summary`, or `type: error` where there was no run. What is not known is `null`,
//! and a cost that is not known is not zero.

use amplifier_app::terminal::{Code, chain};
use amplifier_core::OutcomeKind;
use amplifier_core::outcome::FailureKind;
use amplifier_crew::issue::{IssueError, IssueResult, IssueState, RunReport};
use amplifier_foundation::spawn::ChildSummary;
use serde_json::{Map, Value, json};

use super::text::OUTCOMES;
use crate::exit::Failure;

/// The line of an issue; `scripted` tells that a script answers in place of a model.
pub(crate) fn issue(result: &IssueResult, scripted: bool) -> String {
    let outcome = result.outcome.as_deref();
    let tree = result.tree.as_ref();
    let children: Vec<Value> = tree.map(|tree| tree.children.iter().map(child).collect()).unwrap_or_default();
    let mut object = fields([
        ("type", json!("issue")),
        ("issue_id", json!(result.issue)),
        ("title", json!(result.title)),
        ("outcome", json!(result.outcome_name())),
        ("session_id", json!(result.session)),
        ("bundle", json!(result.bundle)),
        ("model", json!(result.model)),
        ("response", json!(outcome.map(|outcome| &outcome.output))),
        ("num_turns", json!(outcome.map(|outcome| outcome.turns))),
        ("duration_ms", json!(outcome.map(|outcome| outcome.duration_ms))),
        ("total_cost_usd", cost(tree.and_then(|tree| tree.cost_micro_usd))),
        ("usage", json!(tree.map(|tree| &tree.usage))),
        ("children", json!(children)),
    ]);
    match &result.state {
        IssueState::Failed(error) => {
            object.insert("error".into(), json!(chain(error)));
            object.insert("error_type".into(), kind(error));
        }
        IssueState::Blocked { by } => drop(object.insert("blocked_by".into(), json!(by))),
        IssueState::Skipped(status) => drop(object.insert("status".into(), json!(status.as_str()))),
        _ => {}
    }
    if scripted {
        object.insert("scripted".into(), json!(true));
    }
    if tree.is_some_and(|tree| tree.denied_unasked) {
        object.insert("denied_unasked".into(), json!(true));
    }
    line(object)
}

/// The last line.
pub(crate) fn summary(report: &RunReport, code: Code) -> String {
    let mut object = fields([("type", json!("summary")), ("total", json!(report.results.len()))]);
    for outcome in OUTCOMES {
        object.insert(outcome.to_owned(), json!(report.count(outcome)));
    }
    object.extend(fields([
        ("num_turns", json!(report.turns())),
        ("total_cost_usd", cost(report.cost_micro_usd())),
        ("usage", json!(report.usage())),
        ("exit_code", json!(code as u8)),
    ]));
    line(object)
}

/// The only line where there was no run.
pub(crate) fn refusal(failure: &Failure) -> String {
    line(fields([
        ("type", json!("error")),
        ("error", json!(failure.message)),
        ("error_type", json!(failure.kind)),
        ("exit_code", json!(failure.code as u8)),
    ]))
}

fn child(child: &ChildSummary) -> Value {
    let outcome = child.outcome.map_or("running", OutcomeKind::as_str);
    json!({ "session_id": child.id, "outcome": outcome })
}

fn kind(error: &IssueError) -> Value {
    match error {
        IssueError::Session(error) => json!(error.kind),
        IssueError::Spawn(error) if error.is_configuration() => json!("configuration"),
        IssueError::Spawn(_) => json!("failed"),
        IssueError::Unrecorded => json!(FailureKind::Storage),
        IssueError::Budget => json!(FailureKind::Limit),
        IssueError::Abandoned { .. } => json!("abandoned_children"),
        IssueError::Stuck => json!("stuck"),
        _ => json!("failed"),
    }
}

/// Millionths of a dollar as dollars.
fn cost(micro_usd: Option<u64>) -> Value {
    json!(micro_usd.map(|micro| micro as f64 / 1e6))
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn line(object: Map<String, Value>) -> String {
    format!("{}\n", Value::Object(object))
}
