//! Running one tool call: find, gate, judge, run, report.
//!
//! Guarantees: the result is a message in every case, also for an unknown tool,
//! bad arguments, a refusal, a panic. What a tool prints is cut to
//! [`MAX_RESULT_BYTES`], head and tail kept.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::gate::Allowed;
use super::{Turn, interrupted_result};
use crate::approval::Shown;
use crate::event::EventType;
use crate::message::{Message, ToolCall};
use crate::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use crate::panic::caught;
use crate::session::Core;
use crate::until::until;

/// Longest tool result that a model is shown, in bytes.
pub const MAX_RESULT_BYTES: usize = 256 * 1024;

impl Turn<'_> {
    /// Runs a tool call. The result is not appended yet: parallel calls are appended
    /// together, in the order of the calls.
    pub async fn run_tool(&self, call: &ToolCall) -> Message {
        let core = self.core;
        let _running = core.env.activity.tool();
        let started = core.env.clock.monotonic();
        core.env.display.show(&core.env.origin(), Shown::ToolStarted(call));
        let stop = core.env.cancel.cancelled_now();
        let (call, output) = match until(core.attempt(call), stop).await {
            Some(result) => result,
            None => {
                let took = core.env.clock.monotonic().saturating_since(started);
                let shown = Shown::ToolEnded { call, summary: "interrupted", is_error: true, took };
                core.env.display.show(&core.env.origin(), shown);
                return interrupted_result(call);
            }
        };
        let took = core.env.clock.monotonic().saturating_since(started);
        core.report(&call, output, took).await
    }
}

impl Core {
    /// The call as the hooks left it, and its output.
    async fn attempt(&self, call: &ToolCall) -> (ToolCall, ToolOutput) {
        let mut call = call.clone();
        let Some(tool) = self.tools.get(&call.name).cloned() else {
            let names: Vec<&str> = self.tools.iter().map(|tool| tool.schema().name.as_str()).collect();
            let text = format!("there is no tool `{}`; there are: {}", call.name, names.join(", "));
            return (call, ToolOutput::failure(text));
        };
        let data = || json!({"tool_name": call.name, "tool_call_id": call.id, "tool_input": call.arguments});
        match self.gate(&EventType::ToolPre, data).await {
            Err(denial) => {
                let text = format!("refused by {}: {}", denial.by, denial.reason);
                return (call, ToolOutput::failure(text));
            }
            Ok(Some(mut modified)) => {
                if let Some(input) = modified.get_mut("tool_input") {
                    call.arguments = input.take();
                }
            }
            Ok(None) => {}
        }
        let output =
            self.run(tool, &call).await.unwrap_or_else(|error| ToolOutput::failure(error.to_string()));
        (call, output)
    }

    async fn run(&self, tool: Arc<dyn Tool>, call: &ToolCall) -> Result<ToolOutput, ToolError> {
        let panicked = |panic| ToolError::Refused(format!("tool {} panicked: {panic}", call.name));
        let accesses = async { tool.access(&call.arguments, &self.env) };
        let accesses = caught(accesses).await.map_err(panicked)??;
        let allowed =
            self.judge(&call.name, &accesses).await.map_err(|denial| ToolError::Refused(denial.reason))?;
        let cx = ToolContext {
            env: &self.env,
            call,
            accesses: &accesses,
            permissions: &self.permissions,
            sandboxed: allowed == Allowed::InSandbox,
            cancel: &self.env.cancel,
        };
        caught(tool.call(call.arguments.clone(), &cx)).await.map_err(panicked)?
    }

    async fn report(&self, call: &ToolCall, output: ToolOutput, took: Duration) -> Message {
        let mut text = shortened(output.text);
        let event = if output.is_error { EventType::ToolError } else { EventType::ToolPost };
        let data = || {
            json!({
                "tool_name": call.name, "tool_call_id": call.id, "tool_input": call.arguments,
                "result": text, "success": !output.is_error, "duration_ms": took.as_millis() as u64,
            })
        };
        let mut round = self.ask_hooks(&event, data).await;
        let changed = round.modified.take().and_then(|mut data| data.get_mut("result").map(Value::take));
        if let Some(Value::String(changed)) = changed {
            text = changed;
        }
        self.absorb(round);
        let summary = text.lines().next().unwrap_or_default();
        let shown = Shown::ToolEnded { call, summary, is_error: output.is_error, took };
        self.env.display.show(&self.env.origin(), shown);
        Message::tool_result(call, text, output.is_error).with_images(output.images)
    }
}

/// Cuts a text in the middle, at character borders, and says how much is gone.
fn shortened(text: String) -> String {
    if text.len() <= MAX_RESULT_BYTES {
        return text;
    }
    let half = MAX_RESULT_BYTES / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len() - half);
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_keeps_head_and_tail() {
        let text = format!("head{}tail", "ä".repeat(MAX_RESULT_BYTES));
        let short = shortened(text);
        assert!(short.len() < MAX_RESULT_BYTES + 100);
        assert!(short.starts_with("head") && short.ends_with("tail") && short.contains("bytes left out"));
    }
}
