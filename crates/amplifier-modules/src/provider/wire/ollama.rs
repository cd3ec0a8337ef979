//! Ollama's chat: a JSON object a line; the one with `done: true` is the last.

use amplifier_core::module::provider::StopReason;
use serde_json::Value;

use super::answer::{Answer, usage};
use super::{Decoder, Fault, Step, items, object, text};

/// Keys of the two parts that an answer can have.
const THINKING: u64 = 0;
const TEXT: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct Ollama;

impl Decoder for Ollama {
    fn frame(&mut self, data: &str, answer: &mut Answer) -> Result<Step, Fault> {
        let line = object(data)?;
        if !text(&line, "/model").is_empty() {
            text(&line, "/model").clone_into(&mut answer.model);
        }
        for pointer in ["/message/thinking", "/message/reasoning_content"] {
            answer.thinking(THINKING, text(&line, pointer));
        }
        answer.text(TEXT, text(&line, "/message/content"));
        for call in items(&line, "/message/tool_calls") {
            let key = answer.calls() as u64;
            answer.call(key, text(call, "/id"), text(call, "/function/name"));
            answer.whole_arguments(key, call.pointer("/function/arguments").cloned().unwrap_or(Value::Null));
        }
        if line.get("done").and_then(Value::as_bool) != Some(true) {
            return Ok(Step::More);
        }
        if line.get("prompt_eval_count").is_some() || line.get("eval_count").is_some() {
            answer.usage = Some(usage(
                &line,
                ["/prompt_eval_count", "/eval_count", "/prompt_eval_cached_count", "/-", "/-"],
            ));
        }
        answer.stop = match text(&line, "/done_reason") {
            "" | "stop" => Some(StopReason::EndTurn),
            "length" => Some(StopReason::MaxTokens),
            other => Some(StopReason::Other(other.to_owned())),
        };
        Ok(Step::End)
    }
}
