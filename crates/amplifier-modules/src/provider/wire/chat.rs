//! OpenAI's Chat Completions: `data:` chunks, and `data: [DONE]` at the end.

use amplifier_core::module::provider::StopReason;
use serde_json::Value;

use super::answer::{Answer, usage};
use super::{Decoder, Fault, Step, items, object, text};

/// Keys of the two parts that an answer can have.
const THINKING: u64 = 0;
const TEXT: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct Chat;

impl Decoder for Chat {
    fn frame(&mut self, data: &str, answer: &mut Answer) -> Result<Step, Fault> {
        if data.trim() == "[DONE]" {
            return Ok(Step::End);
        }
        let chunk = object(data)?;
        if let Some(counted) = chunk.get("usage").filter(|usage| usage.is_object()) {
            answer.usage = Some(usage(
                counted,
                [
                    "/prompt_tokens",
                    "/completion_tokens",
                    "/prompt_tokens_details/cached_tokens",
                    "/prompt_tokens_details/cache_write_tokens",
                    "/completion_tokens_details/reasoning_tokens",
                ],
            ));
        }
        if !text(&chunk, "/model").is_empty() {
            text(&chunk, "/model").clone_into(&mut answer.model);
        }
        if let Some(choice) = chunk.pointer("/choices/0") {
            read(choice, answer);
        }
        Ok(Step::More)
    }
}

fn read(choice: &Value, answer: &mut Answer) {
    for pointer in ["/delta/reasoning_content", "/delta/reasoning"] {
        answer.thinking(THINKING, text(choice, pointer));
    }
    answer.text(TEXT, text(choice, "/delta/content"));
    // Mistral sends reasoning and text as items of a list.
    for item in items(choice, "/delta/content") {
        answer.text(TEXT, text(item, "/text"));
        for thought in items(item, "/thinking") {
            answer.thinking(THINKING, text(thought, "/text"));
        }
    }
    answer.text(TEXT, text(choice, "/delta/refusal"));
    for (position, call) in items(choice, "/delta/tool_calls").iter().enumerate() {
        let key = call.get("index").and_then(Value::as_u64).unwrap_or(position as u64);
        answer.call(key, text(call, "/id"), text(call, "/function/name"));
        answer.arguments(key, text(call, "/function/arguments"));
    }
    answer.stop = match text(choice, "/finish_reason") {
        "" => answer.stop.take(),
        "stop" => Some(StopReason::EndTurn),
        "tool_calls" | "function_call" => Some(StopReason::ToolUse),
        "length" => Some(StopReason::MaxTokens),
        "content_filter" => Some(StopReason::Refused),
        other => Some(StopReason::Other(other.to_owned())),
    };
}
