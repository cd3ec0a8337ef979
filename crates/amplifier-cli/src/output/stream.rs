//! `--output-format stream-json`: one object a line, as things happen.
//!
//! Guarantees: the first line of a session is `system`/`init`; every line carries `session_id`,
//! `parent_session_id`, `seq` (from 0, without gaps) and `ts`; the last line, and only that, is a
//! `result`. Where no session came to be, the result is the only line.

use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::approval::{Display, NoticeLevel, Origin, Shown};
use amplifier_core::{Clock, Message, Role, SessionId};
use serde_json::{Map, Value, json};

use super::display::Progress;
use super::json::{cost, error_keys};
use super::{Ended, Facts, Output, Stdout};
use crate::exit::{Code, Failure, Signalled, subtype_of};

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
        if let Some(body) = body_of(&shown) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.init(&mut state);
            self.line(&mut state, Some(origin), body);
        }
        self.progress.show(origin, &shown);
    }
}

impl Output for Stream {
    fn prepare(&self, facts: Facts) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).facts = facts;
    }

    fn begin(&self) {
        self.init(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn end(&self, ended: &Ended<'_>) {
        let (facts, outcome) = (ended.facts, ended.outcome);
        let mut body = json!({
            "type": "result", "subtype": subtype_of(outcome, ended.code), "is_error": ended.code != Code::Success,
            "result": outcome.output, "num_turns": outcome.turns, "duration_ms": outcome.duration_ms,
            "total_cost_usd": cost(outcome.cost_micro_usd), "usage": outcome.usage, "children": [],
            "model": facts.model,
        });
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
