//! Answers as the services send them, one rich answer for each protocol.
//!
//! Each has reasoning, text with characters of several bytes, two tool calls whose
//! pieces come interleaved, and usage with cached tokens.

use std::fmt::Write;

use serde_json::{Value, json};

use super::provider_kit::Format;

/// The text of each rich answer.
pub const TEXT: &str = "Grüße 😀!";
/// Its reasoning.
pub const THINKING: &str = "hm, ja";

/// Events with their type as name, as Anthropic and OpenAI's Responses send them.
fn named(events: &[Value], line: &str) -> String {
    events.iter().fold(String::new(), |mut out, event| {
        let name = event["type"].as_str().unwrap();
        write!(out, "event: {name}{line}data: {event}{line}{line}").unwrap();
        out
    })
}

/// Events without a name.
fn data(events: &[Value], line: &str) -> String {
    events.iter().fold(String::new(), |mut out, event| {
        write!(out, "data: {event}{line}{line}").unwrap();
        out
    })
}

/// A rich answer.
pub fn rich(format: Format) -> String {
    match format {
        Format::Chat | Format::Azure | Format::Compatible => chat(),
        Format::Responses => named(&responses(), "\n"),
        Format::Anthropic => named(&anthropic(), "\n"),
        Format::Gemini => data(&gemini(), "\r\n"),
        Format::Ollama => ollama(),
    }
}

/// Anthropic's rich answer with lines that end as HTTP's do.
pub fn anthropic_crlf() -> String {
    named(&anthropic(), "\r\n")
}

fn chat() -> String {
    let delta = |delta: Value| json!({"model": "m-1x", "choices": [{"index": 0, "delta": delta}]});
    let call = |index: u32, id: &str, name: &str, arguments: &str| {
        let mut call = json!({"index": index, "function": {"arguments": arguments}});
        if !id.is_empty() {
            call["id"] = id.into();
            call["function"]["name"] = name.into();
        }
        delta(json!({"tool_calls": [call]}))
    };
    let events = [
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"reasoning_content": "hm, "})),
        delta(json!({"reasoning_content": "ja"})),
        delta(json!({"content": "Grüße "})),
        delta(json!({"content": "😀!"})),
        call(0, "c1", "read", "{\"pa"),
        call(1, "c2", "write", "{"),
        call(0, "", "", "th\":\"ä\"}"),
        call(1, "", "", "\"n\":2}"),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens_details": {"reasoning_tokens": 5}}}),
    ];
    data(&events, "\n") + "data: [DONE]\n\n"
}

fn responses() -> Vec<Value> {
    let call = |kind: &str, index: u32, id: &str, name: &str, arguments: &str| {
        json!({"type": kind, "output_index": index,
            "item": {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}})
    };
    let more = |index: u32, delta: &str| json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": delta});
    let (added, done) = ("response.output_item.added", "response.output_item.done");
    let text = |delta: &str| json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": delta});
    vec![
        json!({"type": "response.created", "response": {"model": "m-1x"}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm, "}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "ja"}),
        json!({"type": done, "output_index": 0, "item": {"type": "reasoning", "id": "rs", "encrypted_content": "blob", "summary": []}}),
        text("Grüße "),
        text("😀!"),
        call(added, 2, "c1", "read", ""),
        call(added, 3, "c2", "write", ""),
        more(2, "{\"pa"),
        more(3, "{"),
        more(2, "th\":\"ä\"}"),
        more(3, "\"n\":2}"),
        call(done, 2, "c1", "read", "{\"path\":\"ä\"}"),
        json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "model": "m-1x", "output": [],
            "usage": {"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 40},
                "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120}}}),
    ]
}

fn anthropic() -> Vec<Value> {
    let start = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta =
        |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let input =
        |index: u32, more: &str| delta(index, json!({"type": "input_json_delta", "partial_json": more}));
    let tool = |id: &str, name: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    vec![
        json!({"type": "message_start", "message": {"model": "m-1x", "usage": {"input_tokens": 50,
            "cache_read_input_tokens": 40, "cache_creation_input_tokens": 10, "output_tokens": 1}}}),
        start(0, json!({"type": "thinking", "thinking": ""})),
        json!({"type": "ping"}),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm, "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "ja"})),
        delta(0, json!({"type": "signature_delta", "signature": "si"})),
        delta(0, json!({"type": "signature_delta", "signature": "gn"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Grüße "})),
        delta(1, json!({"type": "text_delta", "text": "😀!"})),
        stop(1),
        start(2, tool("c1", "read")),
        start(3, tool("c2", "write")),
        input(2, "{\"pa"),
        input(3, "{"),
        input(2, "th\":\"ä\"}"),
        input(3, "\"n\":2}"),
        stop(2),
        stop(3),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}}}),
        json!({"type": "message_stop"}),
    ]
}

fn gemini() -> Vec<Value> {
    let parts = |parts: Value| json!({"modelVersion": "m-1x", "candidates": [{"content": {"role": "model", "parts": parts}}]});
    let mut last = parts(json!([{"functionCall": {"id": "c2", "name": "write", "args": {"n": 2}}}]));
    last["candidates"][0]["finishReason"] = "STOP".into();
    last["usageMetadata"] = json!({"promptTokenCount": 100, "candidatesTokenCount": 15,
        "thoughtsTokenCount": 5, "cachedContentTokenCount": 40});
    vec![
        parts(json!([{"text": "hm, ", "thought": true}])),
        parts(json!([{"text": "ja", "thought": true}])),
        parts(json!([{"text": "Grüße "}])),
        parts(
            json!([{"functionCall": {"id": "c1", "name": "read", "args": {"path": "ä"}}, "thoughtSignature": "sig"}]),
        ),
        parts(json!([{"text": "😀!"}])),
        last,
    ]
}

fn ollama() -> String {
    let line = |message: Value| json!({"model": "m-1x", "message": message, "done": false});
    let call = |id: &str, name: &str, arguments: Value| json!({"id": id, "function": {"name": name, "arguments": arguments}});
    let lines = [
        line(json!({"role": "assistant", "content": "", "thinking": "hm, "})),
        line(json!({"role": "assistant", "content": "", "thinking": "ja"})),
        line(json!({"role": "assistant", "content": "Grüße "})),
        line(
            json!({"role": "assistant", "content": "", "tool_calls": [call("c1", "read", json!({"path": "ä"}))]}),
        ),
        line(json!({"role": "assistant", "content": "😀!"})),
        line(
            json!({"role": "assistant", "content": "", "tool_calls": [call("c2", "write", json!({"n": 2}))]}),
        ),
        json!({"model": "m-1x", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
            "prompt_eval_count": 100, "eval_count": 20, "prompt_eval_cached_count": 40}),
    ];
    lines.iter().fold(String::new(), |out, line| out + &line.to_string() + "\n")
}

/// A plain answer that says `hello`.
pub fn plain(format: Format) -> String {
    match format {
        Format::Chat | Format::Azure | Format::Compatible => {
            let event = json!({"choices": [{"delta": {"content": "hello"}, "finish_reason": "stop"}]});
            data(&[event], "\n") + "data: [DONE]\n\n"
        }
        Format::Responses => named(
            &[
                json!({"type": "response.output_text.delta", "delta": "hello"}),
                json!({"type": "response.completed", "response": {}}),
            ],
            "\n",
        ),
        Format::Anthropic => named(
            &[
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
                json!({"type": "message_stop"}),
            ],
            "\n",
        ),
        Format::Gemini => {
            let candidate = json!({"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"});
            data(&[json!({"candidates": [candidate]})], "\r\n")
        }
        Format::Ollama => "{\"message\":{\"content\":\"hello\"},\"done\":true}\n".into(),
    }
}

/// The first piece of a plain answer: more must come.
pub fn begun(format: Format) -> String {
    match format {
        Format::Chat | Format::Azure | Format::Compatible => {
            data(&[json!({"choices": [{"delta": {"content": "he"}}]})], "\n")
        }
        Format::Responses => named(&[json!({"type": "response.output_text.delta", "delta": "he"})], "\n"),
        Format::Anthropic => {
            let delta = json!({"type": "text_delta", "text": "he"});
            named(&[json!({"type": "content_block_delta", "index": 0, "delta": delta})], "\n")
        }
        Format::Gemini => data(&[json!({"candidates": [{"content": {"parts": [{"text": "he"}]}}]})], "\r\n"),
        Format::Ollama => "{\"message\":{\"content\":\"he\"},\"done\":false}\n".into(),
    }
}

/// An event as the protocol frames it.
pub fn event(format: Format, event: &str) -> String {
    match format {
        Format::Ollama => format!("{event}\n"),
        _ => format!("event: x\ndata: {event}\n\n"),
    }
}

/// An error in mid-stream, as each service words it: asking to wait.
pub fn limited(format: Format) -> String {
    let body = match format {
        Format::Chat | Format::Azure | Format::Compatible => {
            json!({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}})
        }
        Format::Responses => json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}),
        Format::Anthropic => {
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "slow down"}})
        }
        Format::Gemini => {
            json!({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}]}})
        }
        Format::Ollama => json!({"error": "rate limit: slow down"}),
    };
    event(format, &body.to_string())
}
