//! The lines of `codex exec --json`.
//!
//! Guarantees: each command, change, search and call of a tool becomes a call with its result; kinds of items that are
//! not known do too, with what they hold. A thread's tokens are told as its total.
//! Never here: a count of model calls that is exact. The format has none: each time the agent goes on after a
//! tool counts as one.

use amplifier_core::message::{ToolCall, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::event::{End, Event, Fault, Said, Spent};
use super::failure;

/// Reads lines, in their order.
#[derive(Debug)]
pub(super) struct Codex {
    /// Sets the ids of this run's items apart from those of earlier ones.
    run: String,
    rounds: u32,
    /// A tool has ended, so that what comes next is of another model call.
    after_tool: bool,
    said: Said,
    /// Calls that are told and have no result.
    open: Vec<String>,
    /// The last error, which may be the reason of the end.
    error: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Counted {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_output_tokens: u64,
}

impl Codex {
    /// Reads a run whose calls get ids that begin with `run`.
    pub(super) fn new(run: String) -> Self {
        Self { run, rounds: 0, after_tool: true, said: Said::default(), open: Vec::new(), error: None }
    }

    /// What a line tells. `None`: it is not of this format.
    pub(super) fn read(&mut self, line: &Value) -> Option<Vec<Event>> {
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let events = match line.get("type")?.as_str()? {
            "thread.started" => vec![Event::Session { id: text("/thread_id")?, model: None }],
            kind @ ("item.started" | "item.updated" | "item.completed") => {
                let item = line.get("item")?.as_object()?.clone();
                self.item(item, kind)?
            }
            "turn.completed" => {
                let counted = line.get("usage").and_then(|usage| Counted::deserialize(usage).ok());
                self.ended(None, counted)
            }
            "turn.failed" => {
                let message = text("/error/message").or_else(|| self.error.take());
                self.ended(Some(message.unwrap_or_else(|| "its turn failed".into())), None)
            }
            "error" => {
                let message = text("/message").unwrap_or_default();
                self.error = Some(message.clone());
                vec![Event::Notice(message)]
            }
            _ => Vec::new(),
        };
        Some(events)
    }

    /// What is told so far of a message that was not ended.
    pub(super) fn flush(&mut self) -> Option<Event> {
        let said = std::mem::take(&mut self.said);
        (!said.is_empty()).then_some(Event::Said(said))
    }

    /// The last error that was told, where no end was.
    pub(super) fn last_error(&mut self) -> Option<String> {
        self.error.take()
    }

    fn ended(&mut self, fault: Option<String>, counted: Option<Counted>) -> Vec<Event> {
        let fault = fault.map(|message| match failure::is_unknown_session(&message) {
            true => Fault::UnknownSession,
            false => Fault::Failed { kind: failure::kind(&message), message },
        });
        let total = counted.map(|counted| Usage {
            input_tokens: counted.input_tokens,
            output_tokens: counted.output_tokens,
            cache_read_tokens: counted.cached_input_tokens,
            cache_write_tokens: 0,
            reasoning_tokens: counted.reasoning_output_tokens,
        });
        self.said.total = total;
        let mut events: Vec<Event> = self.flush().into_iter().collect();
        let usage = total.map(Spent::Total);
        events.push(Event::Ended(Box::new(End { fault, text: None, usage, cost_micro_usd: None })));
        events
    }

    fn item(&mut self, item: Map<String, Value>, told: &str) -> Option<Vec<Event>> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, done) = (text("type"), told == "item.completed");
        match kind.as_str() {
            "agent_message" | "reasoning" if !done => Some(Vec::new()),
            // Held until something follows: at the end it carries what the thread has used.
            "agent_message" => {
                let mut events = self.round();
                events.extend(self.flush_text());
                self.said.text = text("text");
                events.push(Event::Text(text("text")));
                Some(events)
            }
            "reasoning" => {
                let mut events = self.round();
                events.extend(self.flush_text());
                self.said.thinking.push((text("text"), None));
                events.push(Event::Thinking(text("text")));
                Some(events)
            }
            "error" => Some(if done { vec![Event::Notice(text("message"))] } else { Vec::new() }),
            "todo_list" if !done => Some(Vec::new()),
            _ => self.tool(&item, &kind, done),
        }
    }

    /// A message that has its text is whole.
    fn flush_text(&mut self) -> Option<Event> {
        if self.said.text.is_empty() { None } else { self.flush() }
    }

    /// Another model call, if a tool has ended since the last.
    fn round(&mut self) -> Vec<Event> {
        if !std::mem::take(&mut self.after_tool) {
            return Vec::new();
        }
        self.rounds += 1;
        let id = format!("{}-{}", self.run, self.rounds);
        let flushed = self.flush();
        flushed.into_iter().chain([Event::Round { id, model: None, usage: None }]).collect()
    }

    fn tool(&mut self, item: &Map<String, Value>, kind: &str, done: bool) -> Option<Vec<Event>> {
        let id = format!("{}-{}", self.run, item.get("id")?.as_str()?);
        let mut events = Vec::new();
        if !self.open.contains(&id) {
            events.extend(self.round());
            self.said.calls.push(call(&id, kind, item));
            events.extend(self.flush());
            self.open.push(id.clone());
        }
        if done {
            self.open.retain(|open| *open != id);
            self.after_tool = true;
            let (text, is_error) = result(kind, item);
            events.push(Event::Result { call: id, text, is_error });
        }
        Some(events)
    }
}

/// The call that an item is.
fn call(id: &str, kind: &str, item: &Map<String, Value>) -> ToolCall {
    let get = |key: &str| item.get(key).cloned().unwrap_or_default();
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, arguments) = match kind {
        "command_execution" => (kind.to_owned(), json!({"command": get("command")})),
        "file_change" => (kind.to_owned(), json!({"changes": get("changes")})),
        "mcp_tool_call" => (format!("mcp__{}__{}", text("server"), text("tool")), get("arguments")),
        "web_search" => (kind.to_owned(), json!({"query": get("query")})),
        "todo_list" => (kind.to_owned(), json!({"items": get("items")})),
        _ => {
            let mut rest = item.clone();
            ["id", "type", "status"].iter().for_each(|key| drop(rest.shift_remove(*key)));
            (kind.to_owned(), Value::Object(rest))
        }
    };
    ToolCall::new(id, name, arguments)
}

/// The result of an item that has ended, and whether it failed.
fn result(kind: &str, item: &Map<String, Value>) -> (String, bool) {
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let status = text("status");
    let failed = matches!(status.as_str(), "failed" | "declined");
    match kind {
        "command_execution" => {
            let code = item.get("exit_code").and_then(Value::as_i64);
            let note = match code {
                Some(0) | None if !failed => String::new(),
                Some(code) => format!("[exit code {code}]"),
                None => format!("[{status}]"),
            };
            (joined(text("aggregated_output"), &note), failed || code.is_some_and(|code| code != 0))
        }
        "mcp_tool_call" => {
            let error = item.get("error").and_then(|error| error.get("message")).and_then(Value::as_str);
            match error {
                Some(error) => (error.to_owned(), true),
                None => (item.get("result").map(content).unwrap_or_default(), failed),
            }
        }
        _ if status.is_empty() => ("[completed]".to_owned(), false),
        _ => (format!("[{status}]"), failed),
    }
}

fn joined(mut text: String, note: &str) -> String {
    if !text.is_empty() && !note.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(note);
    text
}

/// The texts of what a tool of a server gave; all of it where there are none.
fn content(result: &Value) -> String {
    let blocks = result.get("content").and_then(Value::as_array);
    let texts = blocks.into_iter().flatten().filter_map(|block| block.get("text")?.as_str());
    let texts: Vec<&str> = texts.collect();
    if texts.is_empty() { result.to_string() } else { texts.join("\n") }
}
