//! An answer while it comes: pieces are put together, and given out as they arrive.
//!
//! Guarantees: parts and calls keep the order in which they began, also where their
//! pieces come interleaved; arguments that are no JSON are kept as the text they were.

use std::collections::VecDeque;

use amplifier_core::module::provider::{ChatDelta, ChatResponse, StopReason};
use amplifier_core::{Content, ContentBlock, KnownBlock, Message, ToolCall, Usage};
use serde_json::{Map, Value};

/// Key in [`ToolCall::extra`] of Gemini's proof of the reasoning behind a call.
pub(super) const THOUGHT_SIGNATURE: &str = "thought_signature";

/// One answer.
#[derive(Debug)]
pub(in crate::provider) struct Answer {
    /// Makes ids for calls that the service gave none.
    id_seed: u64,
    parts: Vec<(u64, ContentBlock)>,
    calls: Vec<Call>,
    pub(super) usage: Option<Usage>,
    pub(super) stop: Option<StopReason>,
    pub(super) model: String,
    deltas: VecDeque<ChatDelta>,
}

#[derive(Debug)]
struct Call {
    key: u64,
    call: ToolCall,
    raw: String,
    announced: bool,
}

impl Answer {
    /// An empty answer of a model. `id_seed` is any number, new for each answer.
    pub(in crate::provider) fn new(model: String, id_seed: u64) -> Self {
        Self {
            id_seed,
            parts: Vec::new(),
            calls: Vec::new(),
            usage: None,
            stop: None,
            model,
            deltas: VecDeque::new(),
        }
    }

    /// The next piece to give out.
    pub(super) fn next(&mut self) -> Option<ChatDelta> {
        self.deltas.pop_front()
    }

    /// Puts a piece behind those that wait to be given out.
    pub(super) fn push(&mut self, delta: ChatDelta) {
        self.deltas.push_back(delta);
    }

    /// Forgets what waits to be given out.
    pub(super) fn clear(&mut self) {
        self.deltas.clear();
    }

    /// More text of the part `key`.
    pub(super) fn text(&mut self, key: u64, more: &str) {
        if more.is_empty() {
            return;
        }
        if let ContentBlock::Known(KnownBlock::Text { text, .. }) = self.part(key, || ContentBlock::text(""))
        {
            text.push_str(more);
        }
        self.deltas.push_back(ChatDelta::Text(more.to_owned()));
    }

    /// More reasoning of the part `key`.
    pub(super) fn thinking(&mut self, key: u64, more: &str) {
        if more.is_empty() {
            return;
        }
        let part = self.part(key, || ContentBlock::thinking("", None));
        if let ContentBlock::Known(KnownBlock::Thinking { thinking, .. }) = part {
            thinking.push_str(more);
        }
        self.deltas.push_back(ChatDelta::Thinking(more.to_owned()));
    }

    /// More of the signature of the reasoning in part `key`.
    pub(super) fn signature(&mut self, key: u64, more: &str) {
        if more.is_empty() {
            return;
        }
        let part = self.part(key, || ContentBlock::thinking("", None));
        if let ContentBlock::Known(KnownBlock::Thinking { signature, .. }) = part {
            signature.get_or_insert_default().push_str(more);
        }
    }

    /// A block that goes back to the service as it came.
    pub(super) fn opaque(&mut self, key: u64, block: Map<String, Value>) {
        self.part(key, || ContentBlock::Other(block));
    }

    fn part(&mut self, key: u64, make: impl FnOnce() -> ContentBlock) -> &mut ContentBlock {
        let index = self.parts.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
            self.parts.push((key, make()));
            self.parts.len() - 1
        });
        &mut self.parts[index].1
    }

    /// The call `key`; later names and ids complete earlier ones.
    pub(super) fn call(&mut self, key: u64, id: &str, name: &str) {
        let seed = self.id_seed & 0xffff_ffff_ffff;
        let entry = self.entry(key);
        if entry.call.id.is_empty() {
            entry.call.id = id.to_owned();
        }
        if entry.call.name.is_empty() {
            entry.call.name = name.to_owned();
        }
        if !entry.announced && !entry.call.name.is_empty() {
            entry.announced = true;
            if entry.call.id.is_empty() {
                entry.call.id = format!("call_{:012x}{key}", seed);
            }
            let (id, name) = (entry.call.id.clone(), entry.call.name.clone());
            self.deltas.push_back(ChatDelta::ToolCallStart { id, name });
        }
    }

    /// More of the arguments of call `key`, as text.
    pub(super) fn arguments(&mut self, key: u64, more: &str) {
        self.entry(key).raw.push_str(more);
    }

    /// The arguments of call `key` as a whole; they replace what came in pieces.
    pub(super) fn whole_arguments(&mut self, key: u64, arguments: Value) {
        let entry = self.entry(key);
        entry.raw.clear();
        entry.call.arguments = arguments;
    }

    /// Data beside call `key` that goes back with it.
    pub(super) fn call_extra(&mut self, key: u64, name: &str, value: &str) {
        self.entry(key).call.extra.insert(name.to_owned(), value.into());
    }

    /// How many calls have begun.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// True while nothing was said and no call has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.calls.is_empty()
    }

    fn entry(&mut self, key: u64) -> &mut Call {
        let index = self.calls.iter().position(|call| call.key == key).unwrap_or_else(|| {
            let call = ToolCall::new("", "", Value::Null);
            self.calls.push(Call { key, call, raw: String::new(), announced: false });
            self.calls.len() - 1
        });
        &mut self.calls[index]
    }

    /// The answer as a whole; resets this one.
    pub(super) fn finish(&mut self) -> ChatResponse {
        let mut message = Message::assistant("");
        let parts: Vec<ContentBlock> =
            std::mem::take(&mut self.parts).into_iter().map(|(_, part)| part).collect();
        let plain = |part: &ContentBlock| matches!(part, ContentBlock::Known(KnownBlock::Text { .. }));
        let all_plain = parts.iter().all(plain);
        message.content = Content::Blocks(parts);
        if all_plain {
            message.content = Content::Text(message.text());
        }
        message.tool_calls = std::mem::take(&mut self.calls).into_iter().map(Call::done).collect();
        let mut response = ChatResponse::new(message, std::mem::take(&mut self.model));
        // Nothing at all is what servers write that do not count; no request is free.
        response.usage = self.usage.take().filter(|usage| usage.total() > 0);
        match self.stop.take() {
            // Some services say "stop" also where they want tools to be run.
            Some(StopReason::EndTurn) | None => {}
            Some(stop) => response.stop = stop,
        }
        response
    }
}

impl Call {
    fn done(mut self) -> ToolCall {
        if !self.raw.trim().is_empty() {
            self.call.arguments = serde_json::from_str(&self.raw).unwrap_or(Value::String(self.raw));
        } else if self.call.arguments.is_null() {
            self.call.arguments = Value::Object(Map::new());
        }
        self.call
    }
}

/// Tokens by the service's own names: input, output, cache read, cache write, reasoning.
pub(super) fn usage(value: &Value, pointers: [&str; 5]) -> Usage {
    let [input, output, read, write, reasoning] = pointers.map(|pointer| super::number(value, pointer));
    Usage {
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: read,
        cache_write_tokens: write,
        reasoning_tokens: reasoning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_pieces_are_put_together_in_the_order_of_their_beginnings() {
        let mut answer = Answer::new("m".into(), 7);
        answer.call(3, "a", "one");
        answer.call(1, "b", "two");
        answer.arguments(3, "{\"x\":");
        answer.arguments(1, "not json");
        answer.arguments(3, "1}");
        answer.call(9, "", "three");
        let calls = answer.finish().message.tool_calls;
        let seen: Vec<_> = calls.iter().map(|call| (call.id.as_str(), call.arguments.to_string())).collect();
        assert_eq!(seen[0], ("a", "{\"x\":1}".into()));
        assert_eq!(seen[1], ("b", "\"not json\"".into()));
        assert_eq!(seen[2], ("call_0000000000079", "{}".into()));
    }
}
