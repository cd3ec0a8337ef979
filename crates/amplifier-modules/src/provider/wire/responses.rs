//! OpenAI's Responses: typed events, and `response.completed` or `response.incomplete` at the end.

use amplifier_core::module::provider::StopReason;
use serde_json::{Map, Value};

use super::answer::{Answer, usage};
use super::{Decoder, Fault, Step, items, number, object, text};

/// Parts of one output item: its index times this, plus the part's own index.
const PARTS_AN_ITEM: u64 = 1_000;
/// The part that an item itself is, where it goes back as it came.
const WHOLE: u64 = PARTS_AN_ITEM - 1;

#[derive(Debug, Default)]
pub(super) struct Responses {
    /// The last part of reasoning; another one begins a new paragraph.
    reasoning: Option<u64>,
}

impl Decoder for Responses {
    fn frame(&mut self, data: &str, answer: &mut Answer) -> Result<Step, Fault> {
        let data = data.trim();
        if data == "[DONE]" {
            return Ok(Step::More);
        }
        let event = object(data)?;
        let item = number(&event, "/output_index");
        let part =
            item * PARTS_AN_ITEM + number(&event, "/content_index").max(number(&event, "/summary_index"));
        let delta = text(&event, "/delta");
        match text(&event, "/type") {
            "" => return Err(Fault::Malformed("an event has no type".into())),
            "error" | "response.failed" => return Err(Fault::Service(event)),
            "response.created" => model(&event, answer),
            "response.output_text.delta" | "response.refusal.delta" => answer.text(part, delta),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                self.reasoning(item * PARTS_AN_ITEM, part, delta, answer);
            }
            "response.output_item.added" => call(item, &event, answer),
            "response.function_call_arguments.delta" => answer.arguments(item, delta),
            "response.output_item.done" => item_done(item, &event, answer),
            "response.completed" | "response.incomplete" => {
                completed(&event, answer);
                return Ok(Step::End);
            }
            _ => {}
        }
        Ok(Step::More)
    }
}

impl Responses {
    /// The parts of one item's reasoning are one block.
    fn reasoning(&mut self, block: u64, part: u64, delta: &str, answer: &mut Answer) {
        if self.reasoning.is_some_and(|last| last != part && last / PARTS_AN_ITEM == part / PARTS_AN_ITEM) {
            answer.thinking(block, "\n\n");
        }
        self.reasoning = Some(part);
        answer.thinking(block, delta);
    }
}

fn model(event: &Value, answer: &mut Answer) {
    let name = text(event, "/response/model");
    if !name.is_empty() {
        name.clone_into(&mut answer.model);
    }
}

fn call(item: u64, event: &Value, answer: &mut Answer) {
    if text(event, "/item/type") == "function_call" {
        answer.call(item, text(event, "/item/call_id"), text(event, "/item/name"));
    }
}

fn item_done(item: u64, event: &Value, answer: &mut Answer) {
    call(item, event, answer);
    let arguments = text(event, "/item/arguments");
    match text(event, "/item/type") {
        "function_call" if !arguments.is_empty() => {
            answer.whole_arguments(item, Value::Null);
            answer.arguments(item, arguments);
        }
        "reasoning" if !text(event, "/item/encrypted_content").is_empty() => {
            if let Some(block) = event.pointer("/item").and_then(Value::as_object) {
                answer.opaque(item * PARTS_AN_ITEM + WHOLE, reasoning(block));
            }
        }
        _ => {}
    }
}

/// Of a reasoning item, what goes back: the text is in a block of its own.
fn reasoning(item: &Map<String, Value>) -> Map<String, Value> {
    let wanted = |name: &&String| matches!(name.as_str(), "type" | "id" | "encrypted_content");
    item.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn completed(event: &Value, answer: &mut Answer) {
    model(event, answer);
    // A server that sends nothing but the end has the whole answer in it.
    if answer.is_empty() {
        for (index, output) in items(event, "/response/output").iter().enumerate() {
            let index = index as u64;
            let event = serde_json::json!({"item": output});
            item_done(index, &event, answer);
            for (part, content) in items(output, "/content").iter().enumerate() {
                answer.text(index * PARTS_AN_ITEM + part as u64, text(content, "/text"));
            }
        }
    }
    if let Some(counted) = event.pointer("/response/usage").filter(|usage| usage.is_object()) {
        answer.usage = Some(usage(
            counted,
            [
                "/input_tokens",
                "/output_tokens",
                "/input_tokens_details/cached_tokens",
                "/input_tokens_details/cache_write_tokens",
                "/output_tokens_details/reasoning_tokens",
            ],
        ));
    }
    answer.stop = match text(event, "/response/incomplete_details/reason") {
        "" => Some(StopReason::EndTurn),
        "max_output_tokens" => Some(StopReason::MaxTokens),
        "content_filter" => Some(StopReason::Refused),
        other => Some(StopReason::Other(other.to_owned())),
    };
}
