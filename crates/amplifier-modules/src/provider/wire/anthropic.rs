//! Anthropic's Messages: content blocks by index, and `message_stop` at the end.

use amplifier_core::Usage;
use amplifier_core::module::provider::StopReason;
use serde_json::Value;

use super::answer::Answer;
use super::{Decoder, Fault, Step, object, text};

#[derive(Debug, Default)]
pub(super) struct Anthropic {
    usage: Counted,
}

/// The latest number of each kind; the last event that names one wins.
#[derive(Debug, Default)]
struct Counted {
    seen: bool,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    reasoning: u64,
}

impl Decoder for Anthropic {
    fn frame(&mut self, data: &str, answer: &mut Answer) -> Result<Step, Fault> {
        let event = object(data)?;
        let index = event.get("index").and_then(Value::as_u64).unwrap_or(0);
        match text(&event, "/type") {
            "" => return Err(Fault::Malformed("an event has no type".into())),
            "error" => return Err(Fault::Service(event)),
            "message_start" => {
                let name = text(&event, "/message/model");
                if !name.is_empty() {
                    name.clone_into(&mut answer.model);
                }
                self.usage.read(event.pointer("/message/usage"));
            }
            "content_block_start" => start(index, &event, answer),
            "content_block_delta" => delta(index, &event, answer),
            "message_delta" => {
                self.usage.read(event.get("usage"));
                answer.stop = stop(text(&event, "/delta/stop_reason")).or(answer.stop.take());
            }
            "message_stop" => {
                answer.usage = self.usage.total();
                return Ok(Step::End);
            }
            _ => {}
        }
        Ok(Step::More)
    }
}

fn start(index: u64, event: &Value, answer: &mut Answer) {
    let Some(block) = event.get("content_block").and_then(Value::as_object) else { return };
    match text(event, "/content_block/type") {
        "text" => answer.text(index, text(event, "/content_block/text")),
        "thinking" => {
            answer.thinking(index, text(event, "/content_block/thinking"));
            answer.signature(index, text(event, "/content_block/signature"));
        }
        "redacted_thinking" => answer.opaque(index, block.clone()),
        "tool_use" => {
            answer.call(index, text(event, "/content_block/id"), text(event, "/content_block/name"));
            let input =
                block.get("input").filter(|input| input.as_object().is_some_and(|map| !map.is_empty()));
            if let Some(input) = input {
                answer.whole_arguments(index, input.clone());
            }
        }
        _ => {}
    }
}

fn delta(index: u64, event: &Value, answer: &mut Answer) {
    match text(event, "/delta/type") {
        "text_delta" => answer.text(index, text(event, "/delta/text")),
        "thinking_delta" => answer.thinking(index, text(event, "/delta/thinking")),
        "signature_delta" => answer.signature(index, text(event, "/delta/signature")),
        "input_json_delta" => answer.arguments(index, text(event, "/delta/partial_json")),
        _ => {}
    }
}

fn stop(reason: &str) -> Option<StopReason> {
    Some(match reason {
        "" => return None,
        "end_turn" | "stop_sequence" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
        "refusal" => StopReason::Refused,
        other => StopReason::Other(other.to_owned()),
    })
}

impl Counted {
    fn read(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
        self.seen = true;
        for (pointer, slot) in [
            ("/input_tokens", &mut self.input),
            ("/output_tokens", &mut self.output),
            ("/cache_read_input_tokens", &mut self.cache_read),
            ("/cache_creation_input_tokens", &mut self.cache_write),
            ("/output_tokens_details/thinking_tokens", &mut self.reasoning),
        ] {
            if let Some(value) = usage.pointer(pointer).and_then(Value::as_u64) {
                *slot = value;
            }
        }
    }

    /// Anthropic counts cached tokens beside the input; here they are part of it.
    fn total(&self) -> Option<Usage> {
        self.seen.then(|| Usage {
            input_tokens: self.input.saturating_add(self.cache_read).saturating_add(self.cache_write),
            output_tokens: self.output,
            cache_read_tokens: self.cache_read,
            cache_write_tokens: self.cache_write,
            reasoning_tokens: self.reasoning,
        })
    }
}
