//! `hooks-redaction`: takes secrets out of tool results and event data.
//!
//! Guarantees: the value of a known key never reaches the model through a tool's
//! result, nor a later hook through event data; neither do values under names such as
//! `api_key`, in event data, in a result that is JSON, and in lines `NAME=value`.
//! Never here: changes to what goes into a tool or to a prompt; they would do
//! something else than what was asked. Prose and source code are not guessed at.

use std::sync::Arc;

use amplifier_core::EventPattern;
use amplifier_core::hook::{Hook, HookError, HookEvent, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_foundation::redact::Redactor;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::secrets;

const ID: &str = "hooks-redaction";

/// Everything but what goes into a tool or session, and pieces of streamed answers.
const EVENTS: &[&str] = &[
    "tool:post",
    "tool:error",
    "prompt:complete",
    "session:*",
    "provider:*",
    "llm:*",
    "context:*",
    "thinking:final",
    "content_block:end",
    "execution:*",
    "orchestrator:*",
    "plan:*",
    "user:*",
    "artifact:*",
    "policy:*",
    "approval:*",
    "cancel:*",
    "module:*",
];

/// The module `hooks-redaction`.
#[derive(Debug, Clone, Copy)]
pub struct HooksRedaction;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    /// Fields of event data that are left as they are.
    allowlist: Vec<String>,
    /// Variables whose values are secrets too.
    secret_variables: Vec<String>,
}

#[async_trait]
impl Module for HooksRedaction {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Hook,
            summary: "Takes secrets out of tool results and event data",
            config_keys: &["allowlist", "secret_variables"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings: Settings = parse_config(spec)?;
        let redactor = secrets::redactor(mount.env(), &settings.secret_variables);
        let events = EVENTS.iter().map(EventPattern::new).collect::<Result<_, _>>();
        let events = events.map_err(|error| MountError::config(spec, error.to_string()))?;
        mount.hook(Arc::new(Redaction { events, redactor, allowlist: settings.allowlist }));
        Ok(())
    }
}

#[derive(Debug)]
struct Redaction {
    events: Vec<EventPattern>,
    redactor: Redactor,
    allowlist: Vec<String>,
}

impl Redaction {
    /// The data without secrets; `None` if it held none.
    fn clean(&self, data: &Value) -> Option<Value> {
        let mut clean = data.clone();
        self.redactor.redact(&mut clean);
        if let Some(Value::String(result)) = clean.get_mut("result")
            && let Some(other) = clean_text(&self.redactor, result)
        {
            *result = other;
        }
        for field in &self.allowlist {
            if let (Some(clean), Some(given)) = (clean.get_mut(field), data.get(field)) {
                clean.clone_from(given);
            }
        }
        (clean != *data).then_some(clean)
    }
}

#[async_trait]
impl Hook for Redaction {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        1
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        Ok(self.clean(event.data).map_or(Verdict::Continue, Verdict::Modify))
    }
}

/// A text without values under secret names, where its form shows names and values.
fn clean_text(redactor: &Redactor, text: &str) -> Option<String> {
    if text.trim_start().starts_with(['{', '[']) {
        let given: Value = serde_json::from_str(text).ok()?;
        let mut clean = given.clone();
        redactor.redact(&mut clean);
        return (clean != given).then(|| match text.contains('\n') {
            true => format!("{clean:#}"),
            false => clean.to_string(),
        });
    }
    let lines: Vec<Option<String>> = text.split('\n').map(|line| clean_line(redactor, line)).collect();
    if lines.iter().all(Option::is_none) {
        return None;
    }
    let lines: Vec<&str> =
        text.split('\n').zip(&lines).map(|(given, clean)| clean.as_deref().unwrap_or(given)).collect();
    Some(lines.join("\n"))
}

/// A line `NAME=value` or `export NAME=value` without its value, if the name says that it is secret.
fn clean_line(redactor: &Redactor, line: &str) -> Option<String> {
    let (left, value) = line.split_once('=')?;
    let name = left.trim_start().trim_start_matches("export ").trim();
    let is_variable = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(is_variable) {
        return None;
    }
    let given = Value::String(value.trim().to_owned());
    let mut pair = Value::Object(Map::from_iter([(name.to_owned(), given.clone())]));
    redactor.redact(&mut pair);
    let clean = pair.get(name).filter(|clean| **clean != given)?;
    Some(format!("{left}={}", clean.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_foundation::redact::SecretValue;
    use serde_json::json;

    fn redaction() -> Redaction {
        let known = vec![SecretValue::from("sk-known-value".to_owned())];
        Redaction { events: Vec::new(), redactor: Redactor::new(known), allowlist: vec!["model".into()] }
    }

    fn result(text: &str) -> Option<String> {
        let clean = redaction().clean(&json!({"tool_name": "t", "result": text}))?;
        Some(clean["result"].as_str().unwrap().to_owned())
    }

    #[test]
    fn results_lose_secrets_and_nothing_else() {
        for (text, expected) in [
            ("the key is sk-known-value.", Some("the key is [REDACTED].")),
            ("A=1\nexport FOO_API_KEY=abc\nB=2\n", Some("A=1\nexport FOO_API_KEY=[REDACTED]\nB=2\n")),
            ("{\"password\": \"abc\", \"n\": 1.50}", Some("{\"password\":\"[REDACTED]\",\"n\":1.5}")),
            ("let password = read_password();\nself.api_key = key", None),
            ("MAX_TOKENS=4096\nPATH=/bin", None),
            ("{not json, password: x}", None),
            ("", None),
        ] {
            assert_eq!(result(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn event_data_loses_values_under_secret_names() {
        let data = json!({"tool_input": {"api_key": "abc", "path": "x"}, "model": "sk-known-value"});
        let clean = redaction().clean(&data).unwrap();
        assert_eq!(clean["tool_input"], json!({"api_key": "[REDACTED]", "path": "x"}));
        assert_eq!(clean["model"], "sk-known-value", "the allow list is left alone");
        assert_eq!(redaction().clean(&json!({"tool_input": {"path": "x"}})), None);
    }
}
