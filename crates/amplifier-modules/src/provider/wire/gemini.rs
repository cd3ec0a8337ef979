//! Google's Gemini: whole response objects as chunks; the one with a `finishReason` is the last.

use amplifier_core::module::provider::StopReason;
use serde_json::Value;

use super::answer::{Answer, THOUGHT_SIGNATURE, usage};
use super::{Decoder, Fault, Step, items, object, text};

/// Parts have no index on this wire: a change of kind begins a new one.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    part: u64,
    thinking: Option<bool>,
}

impl Decoder for Gemini {
    fn frame(&mut self, data: &str, answer: &mut Answer) -> Result<Step, Fault> {
        let chunk = object(data)?;
        if let Some(counted) = chunk.get("usageMetadata").filter(|usage| usage.is_object()) {
            let names = [
                "/promptTokenCount",
                "/candidatesTokenCount",
                "/cachedContentTokenCount",
                "/-",
                "/thoughtsTokenCount",
            ];
            let mut usage = usage(counted, names);
            usage.input_tokens =
                usage.input_tokens.saturating_add(super::number(counted, "/toolUsePromptTokenCount"));
            usage.output_tokens = usage.output_tokens.saturating_add(usage.reasoning_tokens);
            answer.usage = Some(usage);
        }
        if !text(&chunk, "/modelVersion").is_empty() {
            text(&chunk, "/modelVersion").clone_into(&mut answer.model);
        }
        for part in items(&chunk, "/candidates/0/content/parts") {
            self.read(part, answer);
        }
        if !text(&chunk, "/promptFeedback/blockReason").is_empty() {
            answer.stop = Some(StopReason::Refused);
            return Ok(Step::End);
        }
        let reason = text(&chunk, "/candidates/0/finishReason");
        answer.stop = stop(reason);
        Ok(if reason.is_empty() { Step::More } else { Step::End })
    }
}

impl Gemini {
    fn read(&mut self, part: &Value, answer: &mut Answer) {
        let signature = text(part, "/thoughtSignature");
        if let Some(call) = part.get("functionCall") {
            let key = answer.calls() as u64;
            answer.call(key, text(call, "/id"), text(call, "/name"));
            answer.whole_arguments(key, call.get("args").cloned().unwrap_or(Value::Null));
            if !signature.is_empty() {
                answer.call_extra(key, THOUGHT_SIGNATURE, signature);
            }
            return;
        }
        let said = text(part, "/text");
        if said.is_empty() {
            return;
        }
        let thinking = part.get("thought").and_then(Value::as_bool).unwrap_or(false);
        if self.thinking != Some(thinking) {
            self.part += 1;
            self.thinking = Some(thinking);
        }
        if thinking { answer.thinking(self.part, said) } else { answer.text(self.part, said) }
    }
}

fn stop(reason: &str) -> Option<StopReason> {
    Some(match reason {
        "" => return None,
        "STOP" => StopReason::EndTurn,
        "FUNCTION_CALL" => StopReason::ToolUse,
        "MAX_TOKENS" => StopReason::MaxTokens,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
            StopReason::Refused
        }
        other => StopReason::Other(other.to_owned()),
    })
}
