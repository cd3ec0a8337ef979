//! A kernel request in `genai`'s words, which turns them into the protocol's JSON.
//!
//! Guarantees: parallel calls and results keep their order and ids; reasoning goes
//! back only to the protocol that gave it; the model's name is sent as it was written; images are sent to services
//! that take them alone, the latest first, within [`MAX_IMAGES`] and [`MAX_IMAGE_BYTES`].

use amplifier_core::module::provider::{ChatRequest, ReasoningEffort, ToolSchema};
use amplifier_core::{Content, ContentBlock, KnownBlock, Message, Role, ToolCall};
use genai::chat::{
    CacheControl, ChatMessage, ChatOptions, ChatRole, ContentPart, CustomPart, MessageContent,
    MessageOptions, Tool, ToolName, ToolResponse,
};
use serde_json::{Map, Value, json};

use super::Wire;
use super::answer::THOUGHT_SIGNATURE;
use super::image::{self, Sight};

/// Longest name of a prompt cache that services take.
const CACHE_KEY_CHARS: usize = 64;

/// What a request takes from the configuration.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Defaults {
    pub(in crate::provider) max_tokens: Option<u64>,
    pub(in crate::provider) temperature: Option<f64>,
    pub(in crate::provider) reasoning: Option<ReasoningEffort>,
    pub(in crate::provider) prompt_caching: bool,
    pub(in crate::provider) cache_key: bool,
    /// Whether images of users, and of tools, are sent.
    pub(in crate::provider) images: image::Wanted,
}

/// The conversation of a request.
pub(in crate::provider) fn conversation(
    wire: Wire,
    request: &ChatRequest,
    defaults: Defaults,
) -> genai::chat::ChatRequest {
    let mut messages: Vec<ChatMessage> = Vec::with_capacity(request.messages.len() + 1);
    let given = request.messages.to_vec();
    let mut sight = Sight::of(&given, defaults.images);
    for message in &given {
        if message.role != Role::Tool {
            messages.extend(sight.beside_results());
        }
        add(wire, &mut messages, message, &mut sight);
    }
    messages.extend(sight.beside_results());
    let caching = wire == Wire::Anthropic && defaults.prompt_caching;
    let mut chat = genai::chat::ChatRequest::default();
    let system = request.system.as_deref().filter(|system| !system.is_empty()).map(str::to_owned);
    match system {
        Some(system) if caching => messages.insert(0, cached(ChatMessage::system(system))),
        system => chat.system = system,
    }
    if caching && messages.last().is_some_and(|last| last.role != ChatRole::System) {
        let last = messages.pop();
        messages.extend(last.map(cached));
    }
    chat.messages = messages;
    let own = matches!(wire, Wire::Anthropic | Wire::Responses);
    chat.tools = (!own && !request.tools.is_empty()).then(|| request.tools.iter().map(tool).collect());
    chat
}

fn cached(message: ChatMessage) -> ChatMessage {
    message.with_options(MessageOptions::from(CacheControl::Ephemeral))
}

fn tool(schema: &ToolSchema) -> Tool {
    let name = ToolName::Custom(schema.name.clone());
    Tool::new(name).with_description(schema.description.clone()).with_schema(schema.input_schema.clone())
}

fn add(wire: Wire, messages: &mut Vec<ChatMessage>, message: &Message, sight: &mut Sight) {
    let role = match message.role {
        Role::Assistant => ChatRole::Assistant,
        Role::Tool => return add_result(wire, messages, message, sight),
        Role::System | Role::Developer => return add_system(wire, messages, message),
        _ => ChatRole::User,
    };
    let parts = match role {
        ChatRole::Assistant => assistant(wire, message),
        _ => user(message, sight),
    };
    if !parts.is_empty() {
        messages.push(ChatMessage::new(role, MessageContent::from_parts(parts)));
    }
}

/// Services that keep the system prompt apart get later instructions as the user's, marked as what they are.
fn add_system(wire: Wire, messages: &mut Vec<ChatMessage>, message: &Message) {
    let text = message.text();
    messages.push(match wire {
        Wire::Anthropic | Wire::Gemini => {
            ChatMessage::user(format!("<system-reminder>\n{text}\n</system-reminder>"))
        }
        _ => ChatMessage::system(text),
    });
}

fn user(message: &Message, sight: &mut Sight) -> Vec<ContentPart> {
    let Content::Blocks(blocks) = &message.content else { return vec![ContentPart::Text(message.text())] };
    blocks
        .iter()
        .filter_map(|block| match image::of(block) {
            Some(_) if !sight.shows(Role::User) => Some(ContentPart::Text(image::NOT_SHOWN.to_owned())),
            Some(source) => image::part(source),
            None => block_text(block).map(ContentPart::Text),
        })
        .collect()
}

fn block_text(block: &ContentBlock) -> Option<String> {
    let text = match block {
        ContentBlock::Known(KnownBlock::Text { text, .. }) => text.as_str(),
        ContentBlock::Other(map) => map.get("text").and_then(Value::as_str)?,
        _ => return None,
    };
    (!text.is_empty()).then(|| text.to_owned())
}

fn assistant(wire: Wire, message: &Message) -> Vec<ContentPart> {
    let mut parts = Vec::new();
    match &message.content {
        Content::Blocks(blocks) => {
            let calls = !message.tool_calls.is_empty();
            parts.extend(blocks.iter().filter_map(|block| assistant_block(wire, block, calls)));
        }
        _ => {
            let text = message.text();
            parts.extend((!text.is_empty()).then_some(ContentPart::Text(text)));
        }
    }
    parts.extend(message.tool_calls.iter().map(|call| ContentPart::ToolCall(tool_call(wire, call))));
    parts
}

fn assistant_block(wire: Wire, block: &ContentBlock, calls: bool) -> Option<ContentPart> {
    match block {
        ContentBlock::Known(KnownBlock::Thinking { thinking, signature, .. }) => match (wire, signature) {
            (Wire::Anthropic, Some(signature)) => {
                Some(custom(json!({"type": "thinking", "thinking": thinking, "signature": signature})))
            }
            // Servers that show their reasoning want it back within a round of tool calls, and only there.
            (Wire::Chat, None) if calls => Some(ContentPart::ReasoningContent(thinking.clone())),
            _ => None,
        },
        ContentBlock::Other(map) => match (wire, map.get("type").and_then(Value::as_str)) {
            (Wire::Anthropic, Some("redacted_thinking")) => Some(custom(Value::Object(map.clone()))),
            (Wire::Responses, Some("reasoning")) => {
                let blob = map.get("encrypted_content").and_then(Value::as_str)?;
                Some(ContentPart::ThoughtSignature(blob.to_owned()))
            }
            _ => block_text(block).map(ContentPart::Text),
        },
        _ => block_text(block).map(ContentPart::Text),
    }
}

fn custom(data: Value) -> ContentPart {
    ContentPart::Custom(CustomPart { model_iden: None, data })
}

fn tool_call(wire: Wire, call: &ToolCall) -> genai::chat::ToolCall {
    let signature = call.extra.get(THOUGHT_SIGNATURE).and_then(Value::as_str);
    genai::chat::ToolCall {
        call_id: call_id(wire, &call.id),
        fn_name: call.name.clone(),
        fn_arguments: arguments(&call.arguments),
        thought_signatures: signature.filter(|_| wire == Wire::Gemini).map(|one| vec![one.to_owned()]),
    }
}

/// Arguments that were no JSON object are wrapped in one: services refuse a conversation with others.
fn arguments(arguments: &Value) -> Value {
    match arguments {
        Value::Null => Value::Object(Map::new()),
        Value::Object(_) => arguments.clone(),
        other => json!({"invalid_arguments": other}),
    }
}

/// Anthropic refuses ids of other services that hold other characters than these.
fn call_id(wire: Wire, id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match wire {
        Wire::Anthropic => id.chars().map(|c| if fits(c) { c } else { '_' }).collect(),
        _ => id.to_owned(),
    }
}

fn add_result(wire: Wire, messages: &mut Vec<ChatMessage>, message: &Message, sight: &mut Sight) {
    let id = call_id(wire, message.tool_call_id.as_deref().unwrap_or_default());
    if wire == Wire::Anthropic {
        return add_anthropic_result(messages, message, &id, sight);
    }
    let mut response = ToolResponse::new(id, result_text(message, sight));
    response.fn_name.clone_from(&message.name);
    messages.push(ChatMessage::new(ChatRole::Tool, MessageContent::from_parts(vec![response.into()])));
}

/// These protocols carry no image in a result: it stands behind the results of its round, as the user's.
fn result_text(message: &Message, sight: &mut Sight) -> String {
    let mut text = message.text();
    if let Content::Blocks(blocks) = &message.content {
        for source in blocks.iter().filter_map(image::of) {
            text.push('\n');
            text.push_str(match sight.shows(Role::Tool) {
                true => sight.put_beside(source),
                false => image::NOT_SHOWN,
            });
        }
    }
    text
}

/// All results of one round go into one message, with images and the mark of a failure.
fn add_anthropic_result(messages: &mut Vec<ChatMessage>, message: &Message, id: &str, sight: &mut Sight) {
    let content = result_content(message, sight);
    let mut result = json!({"type": "tool_result", "tool_use_id": id, "content": content});
    if message.is_error() {
        result["is_error"] = Value::Bool(true);
    }
    match messages.last_mut() {
        Some(last) if last.role == ChatRole::Tool => last.content.push(custom(result)),
        _ => {
            let content = MessageContent::from_parts(vec![custom(result)]);
            messages.push(ChatMessage::new(ChatRole::Tool, content));
        }
    }
}

fn result_content(message: &Message, sight: &mut Sight) -> Value {
    let Content::Blocks(blocks) = &message.content else { return Value::String(message.text()) };
    let blocks = blocks.iter().filter_map(|block| match image::of(block) {
        Some(source) if sight.shows(Role::Tool) => Some(json!({"type": "image", "source": source})),
        Some(_) => Some(json!({"type": "text", "text": image::NOT_SHOWN})),
        None => block_text(block).map(|text| json!({"type": "text", "text": text})),
    });
    Value::Array(blocks.collect())
}

/// The options of a request, and the name by which `genai` knows the model.
pub(in crate::provider) fn options(
    wire: Wire,
    request: &ChatRequest,
    defaults: Defaults,
    model: &str,
) -> (ChatOptions, String) {
    let max_tokens = request.max_output_tokens.or(defaults.max_tokens);
    let reasoning =
        request.reasoning.or(defaults.reasoning).and_then(|effort| fitting(wire, effort, max_tokens));
    let mut options = ChatOptions::default().with_capture_usage(true);
    options.max_tokens = max_tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
    options.temperature = request.temperature.or(defaults.temperature);
    if let Some(effort) = reasoning {
        options.reasoning_effort = Some(effort_of(effort));
        options.capture_reasoning_content = Some(true);
        if wire == Wire::Anthropic {
            // Anthropic refuses a temperature beside reasoning.
            options.temperature = None;
        }
    }
    if defaults.cache_key
        && let Some(key) = &request.cache_key
    {
        options.prompt_cache_key = Some(key.chars().take(CACHE_KEY_CHARS).collect());
    }
    options.extra_body = Some(extra(wire, request, model));
    (options, neutral(wire, model, reasoning.is_some()))
}

fn effort_of(effort: ReasoningEffort) -> genai::chat::ReasoningEffort {
    match effort {
        ReasoningEffort::Low => genai::chat::ReasoningEffort::Low,
        ReasoningEffort::High => genai::chat::ReasoningEffort::High,
        _ => genai::chat::ReasoningEffort::Medium,
    }
}

/// Anthropic counts reasoning into the longest answer: an effort that would not fit is lowered.
fn fitting(wire: Wire, effort: ReasoningEffort, max_tokens: Option<u64>) -> Option<ReasoningEffort> {
    let (Wire::Anthropic, Some(max)) = (wire, max_tokens) else { return Some(effort) };
    match effort {
        ReasoningEffort::High if max > 24_000 => Some(effort),
        ReasoningEffort::High | ReasoningEffort::Medium if max > 8_000 => Some(ReasoningEffort::Medium),
        _ if max > 1_024 => Some(ReasoningEffort::Low),
        _ => None,
    }
}

/// `genai` reads an effort from names such as `qwen-max` and cuts it off; an ending prevents that.
fn neutral(wire: Wire, model: &str, effort_given: bool) -> String {
    let ending = model.rsplit_once('-').map(|(_, last)| last);
    let read = ending.is_some_and(|last| genai::chat::ReasoningEffort::from_keyword(last).is_some());
    if read && !effort_given && wire != Wire::Ollama { format!("{model}-as-named") } else { model.to_owned() }
}

/// Fields that replace what `genai` would write: the model's own name, and tools
/// that it would take for services of the provider because of their names.
fn extra(wire: Wire, request: &ChatRequest, model: &str) -> Value {
    let mut body = Map::new();
    if matches!(wire, Wire::Chat | Wire::Responses | Wire::Anthropic) {
        body.insert("model".into(), model.into());
    }
    let shape: fn(&ToolSchema) -> Value = match wire {
        Wire::Anthropic => {
            |tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.input_schema})
        }
        Wire::Responses => |tool| {
            json!({"type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.input_schema, "strict": false})
        },
        _ => return Value::Object(body),
    };
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(shape).collect());
    }
    Value::Object(body)
}
