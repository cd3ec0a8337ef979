//! What a command reads on its input: the JSON that scripts for Claude Code and Codex know.
//!
//! Guarantees: the same keys at every event; a tool is told under the name that the command's matcher speaks of.

use amplifier_core::SessionEnv;
use serde_json::{Map, Value, json};

use super::config::Event;
use super::names;

/// Something that happened, as a command is told of it.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub(super) event: Event,
    /// What the matchers of this event speak of, beside a tool's own name.
    pub(super) names: Vec<String>,
    /// The keys of this event, without a tool's name.
    fields: Map<String, Value>,
    /// The tool's own name.
    tool: Option<String>,
}

impl Happening {
    pub(super) fn new(event: Event, name: Option<&str>, fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { event, names: name.map(str::to_owned).into_iter().collect(), fields, tool: None }
    }

    /// A call of a tool, before it or after it; `data` is the kernel's.
    pub(super) fn of_tool(event: Event, data: &Value, env: &SessionEnv) -> Self {
        let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let tool = text("tool_name");
        let input = data.get("tool_input").cloned().unwrap_or_default();
        let mut fields = json!({
            "amplifier_tool_name": tool,
            "tool_input": names::offered(&tool, &input, &env.cwd),
            "tool_use_id": text("tool_call_id"),
        });
        if event != Event::PreToolUse {
            let success = data.get("success").cloned().unwrap_or_default();
            fields["tool_response"] = json!({"content": data.get("result"), "success": success});
        }
        if event == Event::PostToolUseFailure {
            fields["error"] = text("result").into();
        }
        let mut happening = Self::new(event, Some(tool.as_str()), fields);
        happening.names.extend(names::aliases(&tool).iter().map(|name| (*name).to_owned()));
        happening.tool = Some(tool);
        happening
    }

    /// What a command with this matcher reads; `None` if it does not speak of this.
    pub(super) fn told(&self, matcher: Option<&regex::Regex>, env: &SessionEnv) -> Option<Vec<u8>> {
        let matching = |name: &&String| matcher.is_none_or(|matcher| matcher.is_match(name));
        // Without a matcher scripts expect the name that they know.
        let found = match matcher {
            None => Some(self.names.get(1).or(self.names.first()).cloned().unwrap_or_default()),
            Some(_) => self.names.iter().find(matching).cloned(),
        };
        let name = found?;
        let transcript = env.folder.as_ref().map(|folder| folder.join("transcript.jsonl"));
        let mut all = Map::new();
        all.insert("session_id".into(), env.session.as_str().into());
        all.insert(
            "transcript_path".into(),
            transcript.map_or_else(String::new, |path| path.to_string_lossy().into_owned()).into(),
        );
        all.insert("cwd".into(), env.cwd.to_string_lossy().into());
        all.insert("hook_event_name".into(), self.event.name().into());
        if let Some(parent) = &env.parent {
            all.insert("parent_session_id".into(), parent.as_str().into());
        }
        if self.tool.is_some() {
            all.insert("tool_name".into(), name.into());
        }
        all.extend(self.fields.clone());
        let mut bytes = serde_json::to_vec(&all).ok()?;
        bytes.push(b'\n');
        Some(bytes)
    }
}
