//! `--output-format stream-json`: one object a line, as things happen.
//!
//! Guarantees: the first line of a session is `system`/`init`, of a sub-session too; every line carries
//! `session_id`, `parent_session_id`, `seq` (from 0, without gaps) and `ts`; the last line of a
//! sub-session that ended is `system`/`session_end`; the last line of all, and only that, is a `result`,
//! the run's own. Where no session came to be, the result is the only line.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::approval::{Display, NoticeLevel, Origin, Shown};
use amplifier_core::{Clock, Message, Role, SessionId};
use serde_json::{Map, Value, json};

use super::json::{cost, error_keys};
use super::{Ended, Facts, Output, Stdout, children, structured};
use crate::exit::{Code, Failure, Signalled, subtype_of};
use amplifier_app::terminal::Progress;

/// Writes lines.
#[derive(Debug)]
pub(super) struct Stream {
    progress: Progress,
    stdout: Stdout,
    clock: Arc<dyn Clock>,
    // Held while one line is written, so that `seq` is the order of the lines.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    facts: Facts,
    seq: u64,
    begun: bool,
    ended: bool,
    /// Sub-sessions of which the first line was written.
    children: HashSet<SessionId>,
    /// Lines of those of which it was not: what was said while they were made.
    early: Vec<(Origin, Value)>,
}

impl Stream {
    pub(super) fn new(progress: Progress, clock: Arc<dyn Clock>) -> Self {
        Self { progress, stdout: Stdout::new(), clock, state: Mutex::default() }
    }

    fn line(&self, state: &mut State, origin: Option<&Origin>, body: Value) {
        let Value::Object(body) = body else { return };
        if state.ended {
            return;
        }
        let mut line = Map::new();
        let (kind, rest): (Vec<_>, Vec<_>) =
            body.into_iter().partition(|(key, _)| matches!(key.as_str(), "type" | "subtype"));
        line.extend(kind);
        let own: (Option<&SessionId>, Option<&SessionId>) =
            (state.facts.session.as_ref(), state.facts.parent.as_ref());
        let (session, parent) = origin.map_or(own, |origin| (Some(&origin.session), origin.parent.as_ref()));
        line.insert("session_id".into(), json!(session));
        line.insert("parent_session_id".into(), json!(parent));
        line.insert("seq".into(), json!(state.seq));
        line.insert("ts".into(), json!(self.clock.now()));
        line.extend(rest);
        state.seq += 1;
        self.stdout.write(&format!("{}\n", Value::Object(line)));
    }

    /// What the run's own session shows: one without a name until now has its own.
    fn own(&self, state: &mut State, origin: &Origin) {
        state.facts.session.get_or_insert_with(|| origin.session.clone());
        self.init(state);
    }

    fn init(&self, state: &mut State) {
        if std::mem::replace(&mut state.begun, true) {
            return;
        }
        let facts = &state.facts;
        let mut body = json!({
            "type": "system", "subtype": "init",
            "cwd": facts.cwd, "bundle": facts.bundle, "model": facts.model,
            "permission_mode": facts.permission_mode, "version": env!("CARGO_PKG_VERSION"),
        });
        if facts.scripted {
            body["scripted"] = json!(true);
        }
        self.line(state, None, body);
    }

    /// A sub-session begins: its first line, then what it has said already.
    fn child_began(&self, state: &mut State, origin: &Origin, body: Value) {
        state.children.insert(origin.session.clone());
        self.line(state, Some(origin), body);
        let early = std::mem::take(&mut state.early);
        let (own, others) = early.into_iter().partition(|(early, _)| early.session == origin.session);
        state.early = others;
        let own: Vec<(Origin, Value)> = own;
        own.into_iter().for_each(|(_, body)| self.line(state, Some(origin), body));
    }

    fn result(&self, state: &mut State, body: Value) {
        self.line(state, None, body);
        state.ended = true;
    }
}

/// The line of something that was shown; `None` for what has none.
fn body_of(shown: &Shown<'_>) -> Option<Value> {
    Some(match shown {
        Shown::Text(text) => json!({"type": "text_delta", "text": text}),
        Shown::Thinking(text) => json!({"type": "thinking_delta", "text": text}),
        Shown::Restarted { reason } => json!({"type": "system", "subtype": "restarted", "reason": reason}),
        Shown::Message(message) => message_body(message)?,
        Shown::ToolStarted(call) => json!({"type": "tool_start", "tool_use_id": call.id, "name": call.name}),
        Shown::ToolEnded { call, is_error, took, .. } => json!({
            "type": "tool_end", "tool_use_id": call.id, "name": call.name, "is_error": is_error,
            "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }),
        Shown::Notice { level, source, text } => {
            let level = match level {
                NoticeLevel::Info => "info",
                NoticeLevel::Warning => "warning",
                _ => "error",
            };
            json!({"type": "system", "subtype": "notice", "level": level, "source": source, "text": text})
        }
        Shown::ChildStarted { agent, bundle, depth } => json!({
            "type": "system", "subtype": "init", "bundle": bundle, "agent": agent, "depth": depth,
        }),
        Shown::ChildEnded { outcome } => {
            let error = outcome.error.as_ref();
            json!({
                "type": "system", "subtype": "session_end", "outcome": outcome.kind,
                "num_turns": outcome.turns, "duration_ms": outcome.duration_ms,
                "total_cost_usd": cost(outcome.cost_micro_usd), "usage": outcome.usage,
                "error": error.map(|error| &error.message), "error_type": error.map(|error| error.kind),
            })
        }
        _ => return None,
    })
}

fn message_body(message: &Message) -> Option<Value> {
    let text = message.text();
    let mut content = Vec::new();
    match message.role {
        Role::Tool => content.push(json!({
            "type": "tool_result", "tool_use_id": message.tool_call_id, "content": text,
            "is_error": message.is_error(),
        })),
        Role::User | Role::Assistant => {
            if !text.is_empty() {
                content.push(json!({"type": "text", "text": text}));
            }
            content.extend(message.tool_calls.iter().map(
                |call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}),
            ));
        }
        _ => return None,
    }
    let kind = if message.role == Role::Assistant { "assistant" } else { "user" };
    Some(json!({"type": kind, "message": {"role": kind, "content": content}}))
}

impl Display for Stream {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        let own = self.progress.is_own(origin);
        if let Some(body) = body_of(&shown) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match (&shown, own) {
                // Its first and last line are the stream's.
                (Shown::ChildStarted { .. } | Shown::ChildEnded { .. }, true) => self.own(&mut state, origin),
                (_, true) => {
                    self.own(&mut state, origin);
                    self.line(&mut state, Some(origin), body);
                }
                (Shown::ChildStarted { .. }, false) => self.child_began(&mut state, origin, body),
                (_, false) if state.children.contains(&origin.session) => {
                    self.line(&mut state, Some(origin), body);
                    if matches!(shown, Shown::ChildEnded { .. }) {
                        // It may be resumed, and begins again then.
                        state.children.remove(&origin.session);
                    }
                }
                (_, false) => state.early.push((origin.clone(), body)),
            }
        }
        self.progress.show(origin, &shown);
    }
}

impl Output for Stream {
    fn prepare(&self, facts: Facts) {
        self.progress.of(facts.session.clone());
        self.state.lock().unwrap_or_else(PoisonError::into_inner).facts = facts;
    }

    fn begin(&self) {
        self.init(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn leave(&self) {
        self.progress.leave();
    }

    fn end(&self, ended: &Ended<'_>) {
        let Ended { facts, outcome, tree, .. } = ended;
        let mut body = json!({
            "type": "result", "subtype": subtype_of(outcome, ended.code), "is_error": ended.code != Code::Success,
            "result": outcome.output, "num_turns": outcome.turns, "duration_ms": outcome.duration_ms,
            "total_cost_usd": cost(tree.cost_micro_usd), "usage": tree.usage, "children": children(tree),
            "model": facts.model,
        });
        if let Some(value) = structured(ended) {
            body["structured_output"] = value;
        }
        if facts.scripted {
            body["scripted"] = json!(true);
        }
        if let Some((message, kind)) = error_keys(ended) {
            body["error"] = json!(message);
            body["error_type"] = kind;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.init(&mut state);
        self.result(&mut state, body);
    }

    fn refuse(&self, failure: &Failure) {
        let signalled =
            [Signalled::Interrupt, Signalled::Terminate].map(Signalled::code).contains(&failure.code);
        let subtype = match failure.code {
            _ if signalled => "cancelled",
            Code::TimedOut => "error_timeout",
            Code::Limit if failure.kind == "budget" => "error_max_budget",
            _ => "error_during_execution",
        };
        let body = json!({
            "type": "result", "subtype": subtype, "is_error": true, "result": "", "num_turns": 0, "duration_ms": 0,
            "total_cost_usd": null, "usage": null, "children": [],
            "error": failure.message, "error_type": failure.kind,
        });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.begun {
            // An id that no session has would mislead.
            state.facts.session = None;
        }
        self.result(&mut state, body);
    }

    fn stdout(&self) -> &Stdout {
        &self.stdout
    }
}
