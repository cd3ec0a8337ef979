//! `hooks-streaming-ui`: tells the user what each model call cost in tokens.
//!
//! The kernel itself shows text, reasoning, messages and tools as they come; how much
//! of them is drawn is the display's decision. This hook adds what only an event knows.

use std::sync::Arc;

use amplifier_core::hook::{Hook, HookError, HookEvent, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::{EventPattern, Usage};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

const ID: &str = "hooks-streaming-ui";
/// Those of the reference's displays among them, which say nothing to this one.
const CONFIG_KEYS: &[&str] =
    &["ui", "show_token_usage", "show_thinking", "show_tools", "show_border", "show_progress_bar"];

/// The module `hooks-streaming-ui`.
#[derive(Debug, Clone, Copy)]
pub struct HooksStreamingUi;

/// Settings, flat or below `ui` as bundles of the reference system write them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    show_token_usage: Option<bool>,
    ui: Ui,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ui {
    show_token_usage: Option<bool>,
}

#[async_trait]
impl Module for HooksStreamingUi {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &["hooks-todo-display"],
            kind: ModuleKind::Hook,
            summary: "Tells the user what each model call cost in tokens",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings: Settings = parse_config(spec)?;
        if settings.show_token_usage.or(settings.ui.show_token_usage) != Some(false) {
            let event = EventPattern::new("llm:response");
            let event = event.map_err(|error| MountError::config(spec, error.to_string()))?;
            mount.hook(Arc::new(StreamingUi { events: [event] }));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct StreamingUi {
    events: [EventPattern; 1],
}

#[async_trait]
impl Hook for StreamingUi {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        let usage = event.data.get("usage").map(Usage::deserialize);
        let Some(Ok(usage)) = usage else { return Ok(Verdict::Continue) };
        let model = event.data.get("model").and_then(Value::as_str).unwrap_or("model");
        Ok(Verdict::Notify { text: line(model, usage) })
    }
}

fn line(model: &str, usage: Usage) -> String {
    let cached = match usage.cache_read_tokens {
        0 => String::new(),
        tokens => format!(" ({} cached)", grouped(tokens)),
    };
    let reasoning = match usage.reasoning_tokens {
        0 => String::new(),
        tokens => format!(" ({} reasoning)", grouped(tokens)),
    };
    let (input, output) = (grouped(usage.input_tokens), grouped(usage.output_tokens));
    format!("{model}: {input} tokens in{cached}, {output} out{reasoning}")
}

/// A number with a comma before each group of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_there_is() {
        let mut usage = Usage { input_tokens: 1_234_567, output_tokens: 12, ..Usage::default() };
        assert_eq!(line("m", usage), "m: 1,234,567 tokens in, 12 out");
        (usage.cache_read_tokens, usage.reasoning_tokens) = (1_000, 5);
        assert_eq!(line("m", usage), "m: 1,234,567 tokens in (1,000 cached), 12 out (5 reasoning)");
    }
}
