//! `--output-format json` and `json-trace`: one object at the end.
//!
//! Guarantees: exactly one object, with the keys of the reference system; what is not known is
//! `null`, and a cost that is not known is not zero.

use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::approval::{Display, Origin, Shown};
use amplifier_core::{Clock, Message, SessionId, Timestamp};
use serde_json::{Map, Value, json};

use super::{Ended, Facts, Output, Stdout, children, structured};
use crate::exit::{Code, Failure};
use amplifier_app::terminal::Progress;

/// How much the object tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// The answer.
    Answer,
    /// The answer and every tool call.
    Trace,
}

/// Writes one object.
#[derive(Debug)]
pub(super) struct Json {
    progress: Progress,
    stdout: Stdout,
    clock: Arc<dyn Clock>,
    detail: Detail,
    // Held for one change; never across an await.
    state: Mutex<(Facts, Vec<Step>)>,
}

/// A tool call of the trace. Matched by session and the call's id, because calls overlap.
#[derive(Debug)]
struct Step {
    session: SessionId,
    id: String,
    tool: String,
    arguments: Value,
    began: Timestamp,
    result: Option<Value>,
    duration_ms: Option<u64>,
}

impl Json {
    pub(super) fn new(progress: Progress, clock: Arc<dyn Clock>, detail: Detail) -> Self {
        Self { progress, stdout: Stdout::new(), clock, detail, state: Mutex::default() }
    }

    fn trace(&self, origin: &Origin, shown: &Shown<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = &mut state.1;
        match shown {
            Shown::ToolStarted(call) => steps.push(Step {
                session: origin.session.clone(),
                id: call.id.clone(),
                tool: call.name.clone(),
                arguments: call.arguments.clone(),
                began: self.clock.now(),
                result: None,
                duration_ms: None,
            }),
            Shown::ToolEnded { call, took, .. } => {
                if let Some(step) = step_of(steps, origin, &call.id) {
                    step.duration_ms = u64::try_from(took.as_millis()).ok();
                }
            }
            Shown::Message(message) => note_result(steps, origin, message),
            _ => {}
        }
    }

    fn write(&self, object: Map<String, Value>) {
        self.stdout.write(&format!("{}\n", Value::Object(object)));
    }
}

fn step_of<'a>(steps: &'a mut [Step], origin: &Origin, id: &str) -> Option<&'a mut Step> {
    steps.iter_mut().rev().find(|step| step.id == id && step.session == origin.session)
}

fn note_result(steps: &mut [Step], origin: &Origin, message: &Message) {
    let Some(id) = &message.tool_call_id else { return };
    if let Some(step) = step_of(steps, origin, id) {
        step.result = Some(json!({ "success": !message.is_error(), "output": message.text() }));
    }
}

fn step_json((sequence, step): (usize, &Step)) -> Value {
    json!({
        "type": "tool_call",
        "tool": step.tool,
        "arguments": step.arguments,
        "result": step.result,
        "timestamp": step.began,
        "duration_ms": step.duration_ms,
        "sequence": sequence + 1,
        "session_id": step.session,
    })
}

/// The keys that an error has; `None` for a run that did what was asked.
pub(super) fn error_keys(ended: &Ended<'_>) -> Option<(String, Value)> {
    if ended.code == Code::Success {
        return None;
    }
    if let Some(error) = &ended.outcome.error {
        return Some((error.message.clone(), json!(error.kind)));
    }
    if let Some((told, code)) = &ended.facts.goal
        && *code == ended.code
    {
        return Some((told.clone(), json!("goal")));
    }
    let (message, kind) = match ended.code {
        _ if ended.tree.denied_unasked => ("a permission was needed and nobody could be asked", "permission"),
        Code::Interrupted | Code::Terminated => ("the run was interrupted", "cancelled"),
        Code::Abandoned => {
            ("background sessions were left, or failed with nobody waiting", "abandoned_children")
        }
        _ if ended.outcome.unrecorded => ("the end of the session could not be written to disk", "storage"),
        _ => ("the answer could not be written to the file of -o", "failed"),
    };
    Some((message.to_owned(), json!(kind)))
}

impl Display for Json {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        if self.detail == Detail::Trace {
            self.trace(origin, &shown);
        }
        self.progress.show(origin, &shown);
    }
}

impl Output for Json {
    fn prepare(&self, facts: Facts) {
        self.progress.of(facts.session.clone());
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = facts;
    }

    fn begin(&self) {}

    fn leave(&self) {
        self.progress.leave();
    }

    fn end(&self, ended: &Ended<'_>) {
        let Ended { facts, outcome, tree, .. } = ended;
        let mut object = Map::new();
        let error = error_keys(ended);
        object.insert("status".into(), json!(if error.is_some() { "error" } else { "success" }));
        object.insert("response".into(), json!(outcome.output));
        if let Some(value) = structured(ended) {
            object.insert("structured_output".into(), value);
        }
        object.insert("session_id".into(), json!(facts.session));
        object.insert("bundle".into(), json!(facts.bundle));
        object.insert("model".into(), json!(facts.model));
        object.insert("timestamp".into(), json!(self.clock.now()));
        object.insert("usage".into(), json!(tree.usage));
        object.insert("children".into(), children(tree));
        object.insert("outcome".into(), json!(outcome.kind));
        object.insert("num_turns".into(), json!(outcome.turns));
        object.insert("duration_ms".into(), json!(outcome.duration_ms));
        object.insert("total_cost_usd".into(), cost(tree.cost_micro_usd));
        if facts.scripted {
            object.insert("scripted".into(), json!(true));
        }
        if let Some((message, kind)) = error {
            object.insert("error".into(), json!(message));
            object.insert("error_type".into(), kind);
        }
        if self.detail == Detail::Trace {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let steps: Vec<Value> = state.1.iter().enumerate().map(step_json).collect();
            let agents =
                state.1.iter().filter(|step| matches!(step.tool.as_str(), "delegate" | "task")).count();
            let metadata = json!({
                "total_tool_calls": steps.len(),
                "total_agents_invoked": agents,
                "duration_ms": outcome.duration_ms,
            });
            object.insert("metadata".into(), metadata);
            object.insert("execution_trace".into(), json!(steps));
        }
        self.write(object);
    }

    fn refuse(&self, failure: &Failure) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut object = Map::new();
        object.insert("status".into(), json!("error"));
        object.insert("error".into(), json!(failure.message));
        object.insert("error_type".into(), json!(failure.kind));
        object.insert("session_id".into(), json!(state.0.session));
        object.insert("timestamp".into(), json!(self.clock.now()));
        self.write(object);
    }

    fn stdout(&self) -> &Stdout {
        &self.stdout
    }
}

/// Millionths of a dollar as dollars; `null` where no price is known.
pub(crate) fn cost(micro_usd: Option<u64>) -> Value {
    json!(micro_usd.map(|micro| micro as f64 / 1e6))
}
