//! The lines of `claude -p --output-format stream-json --verbose`.
//!
//! Guarantees: each line holds a block of a model call, and text and calls are told at once; reasoning goes with what
//! follows it. What a sub-agent says is counted and not told as the agent's own. Lines of a kind that is not known are
//! signs of life and nothing else.

use amplifier_core::message::{ToolCall, Usage};
use amplifier_core::module::provider::ProviderErrorKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::{End, Event, Fault, Said, Spent};
use super::failure;

/// Reads lines, in their order.
#[derive(Debug, Default)]
pub(super) struct Claude {
    /// The model call that is being told.
    round: Option<String>,
    said: Said,
    /// What a message has named as the reason of its failure.
    error: Option<ProviderErrorKind>,
    /// The service or the subscription refuses for now.
    limited: bool,
}

#[derive(Deserialize)]
struct Assistant {
    message: Body,
    parent_tool_use_id: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    id: String,
    model: Option<String>,
    #[serde(default)]
    content: Vec<Value>,
    usage: Option<Counted>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct Counted {
    input_tokens: u64,
    output_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
}

impl From<Counted> for Usage {
    fn from(counted: Counted) -> Self {
        let cached = counted.cache_creation_input_tokens.saturating_add(counted.cache_read_input_tokens);
        Self {
            input_tokens: counted.input_tokens.saturating_add(cached),
            output_tokens: counted.output_tokens,
            cache_read_tokens: counted.cache_read_input_tokens,
            cache_write_tokens: counted.cache_creation_input_tokens,
            reasoning_tokens: 0,
        }
    }
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    subtype: String,
    #[serde(default)]
    is_error: bool,
    result: Option<String>,
    #[serde(default)]
    errors: Vec<String>,
    session_id: Option<String>,
    total_cost_usd: Option<f64>,
    usage: Option<Counted>,
    #[serde(default)]
    permission_denials: Vec<Value>,
}

impl Claude {
    /// What a line tells. `None`: it is not of this format.
    pub(super) fn read(&mut self, line: &Value) -> Option<Vec<Event>> {
        let events = match line.get("type")?.as_str()? {
            "system" => system(line),
            "assistant" => self.assistant(Assistant::deserialize(line).ok()?),
            "user" => self.user(line),
            "stream_event" => piece(line).into_iter().collect(),
            "rate_limit_event" => self.rate_limit(line),
            "result" => self.result(Outcome::deserialize(line).ok()?),
            _ => Vec::new(),
        };
        Some(events)
    }

    /// What is told so far of a message that was not ended.
    pub(super) fn flush(&mut self) -> Option<Event> {
        let said = std::mem::take(&mut self.said);
        (!said.is_empty()).then_some(Event::Said(said))
    }

    fn assistant(&mut self, line: Assistant) -> Vec<Event> {
        let Assistant { message, parent_tool_use_id, error } = line;
        let usage = message.usage.map(Usage::from);
        let round = Event::Round { id: message.id.clone(), model: message.model, usage };
        if parent_tool_use_id.is_some() {
            return vec![round];
        }
        self.error = error.as_deref().map(named_error).or(self.error);
        let mut events = Vec::new();
        if self.round.as_ref() != Some(&message.id) {
            events.extend(self.flush());
            self.round = Some(message.id);
        }
        // What the program says itself, such as that nobody is logged in, is no call of a model.
        if error.is_none() {
            events.push(round);
        }
        message.content.into_iter().for_each(|block| self.block(block));
        // What is said or begun is told at once: its tool may run for long.
        if !self.said.text.is_empty() || !self.said.calls.is_empty() {
            events.extend(self.flush());
        }
        events
    }

    fn block(&mut self, mut block: Value) {
        let text = |block: &Value, key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
        match block.get("type").and_then(Value::as_str) {
            Some("text") => self.said.text.push_str(&text(&block, "text").unwrap_or_default()),
            Some("thinking") => {
                let thinking = text(&block, "thinking").unwrap_or_default();
                self.said.thinking.push((thinking, text(&block, "signature")));
            }
            Some("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                let (id, name) = (text(&block, "id"), text(&block, "name"));
                let input = block.get_mut("input").map_or(Value::Object(Map::new()), Value::take);
                if let (Some(id), Some(name)) = (id, name) {
                    self.said.calls.push(ToolCall::new(id, name, input));
                }
            }
            _ => {}
        }
    }

    fn user(&mut self, line: &Value) -> Vec<Event> {
        if line.get("parent_tool_use_id").is_some_and(|parent| !parent.is_null()) {
            return Vec::new();
        }
        let content = line.pointer("/message/content").and_then(Value::as_array);
        let results = content.into_iter().flatten().filter_map(|block| {
            let call = block.get("tool_use_id")?.as_str()?.to_owned();
            let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
            Some(Event::Result { call, text: shown(block.get("content")), is_error })
        });
        let results: Vec<Event> = results.collect();
        if results.is_empty() { results } else { self.flush().into_iter().chain(results).collect() }
    }

    fn rate_limit(&mut self, line: &Value) -> Vec<Event> {
        let info = |key: &str| line.pointer(&format!("/rate_limit_info/{key}"));
        let status = info("status").and_then(Value::as_str).unwrap_or_default();
        self.limited = status == "rejected";
        match status {
            "allowed" | "" => Vec::new(),
            status => {
                let kind = info("rateLimitType").and_then(Value::as_str).unwrap_or("a limit");
                vec![Event::Notice(format!("rate limit {kind}: {status}"))]
            }
        }
    }

    fn result(&mut self, line: Outcome) -> Vec<Event> {
        let mut events: Vec<Event> = self.flush().into_iter().collect();
        // One of a session that is not known is new, and empty.
        let words = match &line.result {
            Some(text) if !text.is_empty() => text.clone(),
            _ => line.errors.join("; "),
        };
        let fault = match line.subtype.as_str() {
            _ if line.is_error && failure::is_unknown_session(&words) => Some(Fault::UnknownSession),
            "error_max_turns" => Some(Fault::Turns),
            "error_max_budget_usd" => Some(Fault::Budget),
            "success" if !line.is_error => None,
            subtype => {
                let kind = match self.error {
                    _ if self.limited => ProviderErrorKind::RateLimited,
                    Some(kind) => kind,
                    None => failure::kind(&words),
                };
                let message = if words.is_empty() { subtype.to_owned() } else { words };
                Some(Fault::Failed { kind, message })
            }
        };
        if let Some(id) = line.session_id.filter(|_| fault != Some(Fault::UnknownSession)) {
            events.push(Event::Session { id, model: None });
        }
        if !line.permission_denials.is_empty() {
            let tools = line.permission_denials.iter().filter_map(|denial| denial.get("tool_name")?.as_str());
            let tools: Vec<&str> = tools.take(10).collect();
            events.push(Event::Notice(format!("was denied by its own permissions: {}", tools.join(", "))));
        }
        events.push(Event::Ended(Box::new(End {
            fault,
            text: line.result,
            usage: line.usage.map(|counted| Spent::Turn(counted.into())),
            cost_micro_usd: line.total_cost_usd.and_then(micro_usd),
        })));
        events
    }
}

fn system(line: &Value) -> Vec<Event> {
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    match text("subtype") {
        Some("init") => {
            let id = text("session_id").map(str::to_owned);
            let model = text("model").map(str::to_owned);
            id.map(|id| Event::Session { id, model }).into_iter().collect()
        }
        Some("api_retry") => vec![Event::Notice(format!(
            "asks its service again after: {}",
            text("error").unwrap_or("an error")
        ))],
        _ => Vec::new(),
    }
}

fn piece(line: &Value) -> Option<Event> {
    if line.get("parent_tool_use_id").is_some_and(|parent| !parent.is_null()) {
        return None;
    }
    let delta = line.pointer("/event/delta")?;
    let text = |key: &str| delta.get(key).and_then(Value::as_str).map(str::to_owned);
    match delta.get("type")?.as_str()? {
        "text_delta" => text("text").map(Event::Text),
        "thinking_delta" => text("thinking").map(Event::Thinking),
        _ => None,
    }
}

/// The names that a message gives to its failure.
fn named_error(name: &str) -> ProviderErrorKind {
    match name {
        "authentication_failed" => ProviderErrorKind::Auth,
        "billing_error" => ProviderErrorKind::Quota,
        "rate_limit" => ProviderErrorKind::RateLimited,
        "invalid_request" => ProviderErrorKind::Invalid,
        "server_error" => ProviderErrorKind::Unavailable,
        _ => ProviderErrorKind::Other,
    }
}

/// The content of a tool's result: a text, or blocks of which those that are no text are named.
fn shown(content: Option<&Value>) -> String {
    let block = |block: &Value| match block.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => format!("[{}]", block.get("type").and_then(Value::as_str).unwrap_or("unknown")),
    };
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => blocks.iter().map(block).collect::<Vec<_>>().join("\n"),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn micro_usd(usd: f64) -> Option<u64> {
    let micro = (usd * 1e6).ceil();
    (0.0..1e15).contains(&micro).then_some(micro as u64)
}
