//! What an answer becomes, over every protocol.

use amplifier_core::module::provider::{ChatDelta, StopReason};
use amplifier_core::{Content, ContentBlock, KnownBlock, Usage};
use serde_json::{Value, json};

use super::provider_bodies::{TEXT, THINKING, begun, event, plain, rich};
use super::provider_kit::{FORMATS, Format, ask, hi};
use super::provider_server::{Reply, Server};

#[tokio::test]
async fn plain_text_is_one_text() {
    for format in FORMATS {
        let server = Server::always(Reply::ok(plain(format)));
        let heard = ask(&format.provider(&server, json!({})).await, hi()).await;
        assert_eq!(heard.text, "hello", "{format:?}");
        let done = heard.done();
        assert_eq!(done.message.content, Content::Text("hello".into()), "{format:?}");
        assert_eq!((done.stop, done.usage), (StopReason::EndTurn, None), "{format:?}");
        assert_eq!(done.model, "m-1", "{format:?}");
    }
}

#[tokio::test]
async fn reasoning_text_calls_and_usage_are_all_there() {
    for format in FORMATS {
        let server = Server::always(Reply::ok(rich(format)));
        let heard = ask(&format.provider(&server, json!({})).await, hi()).await;
        assert_eq!((heard.text.as_str(), heard.thinking.as_str()), (TEXT, THINKING), "{format:?}");
        assert_eq!(heard.starts, ["c1:read", "c2:write"], "{format:?}");
        let done = heard.done();
        assert_eq!(done.message.text(), TEXT, "{format:?}");
        assert_eq!((done.stop, done.model.as_str()), (StopReason::ToolUse, "m-1x"), "{format:?}");
        let calls: Vec<_> =
            done.message.tool_calls.iter().map(|c| (c.id.as_str(), c.name.as_str())).collect();
        assert_eq!(calls, [("c1", "read"), ("c2", "write")], "{format:?}");
        assert_eq!(done.message.tool_calls[0].arguments, json!({"path": "ä"}), "{format:?}");
        assert_eq!(done.message.tool_calls[1].arguments, json!({"n": 2}), "{format:?}");
        let expect = Usage {
            input_tokens: 100,
            output_tokens: 20,
            cache_read_tokens: 40,
            cache_write_tokens: if format == Format::Anthropic { 10 } else { 0 },
            reasoning_tokens: if format == Format::Ollama { 0 } else { 5 },
        };
        assert_eq!(done.usage, Some(expect), "{format:?}");
        let Content::Blocks(blocks) = &done.message.content else { panic!("{format:?}") };
        let ContentBlock::Known(KnownBlock::Thinking { thinking, signature, .. }) = &blocks[0] else {
            panic!("{format:?}")
        };
        let signed = (format == Format::Anthropic).then_some("sign");
        assert_eq!((thinking.as_str(), signature.as_deref()), (THINKING, signed), "{format:?}");
    }
}

#[tokio::test]
async fn proofs_of_reasoning_are_kept() {
    let server = Server::always(Reply::ok(rich(Format::Gemini)));
    let done = ask(&Format::Gemini.provider(&server, json!({})).await, hi()).await.done();
    assert_eq!(done.message.tool_calls[0].extra["thought_signature"], "sig");
    assert!(done.message.tool_calls[1].extra.is_empty());

    let server = Server::always(Reply::ok(rich(Format::Responses)));
    let done = ask(&Format::Responses.provider(&server, json!({})).await, hi()).await.done();
    let Content::Blocks(blocks) = done.message.content else { panic!() };
    let kept = blocks.iter().find_map(|block| match block {
        ContentBlock::Other(map) => Some(Value::Object(map.clone())),
        _ => None,
    });
    assert_eq!(kept, Some(json!({"type": "reasoning", "id": "rs", "encrypted_content": "blob"})));

    let redacted = json!({"type": "redacted_thinking", "data": "xyz"});
    let body = event(
        Format::Anthropic,
        &json!({"type": "content_block_start", "index": 0, "content_block": redacted}).to_string(),
    );
    let server =
        Server::always(Reply::ok(body + &plain(Format::Anthropic).replace("\"index\":0", "\"index\":1")));
    let done = ask(&Format::Anthropic.provider(&server, json!({})).await, hi()).await.done();
    let Content::Blocks(blocks) = done.message.content else { panic!() };
    assert_eq!(serde_json::to_value(&blocks[0]).unwrap(), redacted);
}

#[tokio::test]
async fn a_service_that_counts_nothing_gives_no_usage() {
    let counted = json!({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}});
    let server = Server::always(Reply::ok(event(Format::Chat, &counted.to_string()) + &plain(Format::Chat)));
    let done = ask(&Format::Chat.provider(&server, json!({})).await, hi()).await.done();
    assert_eq!(done.usage, None);
}

#[tokio::test]
async fn content_in_a_list_is_read() {
    let content = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "so"}]);
    let first = event(Format::Compatible, &json!({"choices": [{"delta": {"content": content}}]}).to_string());
    let server = Server::always(Reply::ok(first + "data: [DONE]\n\n"));
    let heard = ask(&Format::Compatible.provider(&server, json!({})).await, hi()).await;
    assert_eq!((heard.text.as_str(), heard.thinking.as_str()), ("so", "hm"));
}

#[tokio::test]
async fn arguments_that_are_no_json_stay_as_they_came() {
    let call = json!({"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\": tru"}});
    let first = event(Format::Chat, &json!({"choices": [{"delta": {"tool_calls": [call]}}]}).to_string());
    let server = Server::always(Reply::ok(first + "data: [DONE]\n\n"));
    let done = ask(&Format::Chat.provider(&server, json!({})).await, hi()).await.done();
    assert_eq!(done.message.tool_calls[0].arguments, json!("{\"a\": tru"));
}

#[tokio::test]
async fn calls_without_an_id_get_one_each() {
    let line = json!({"message": {"tool_calls": [{"function": {"name": "f"}}, {"function": {"name": "f"}}]}, "done": true});
    let server = Server::always(Reply::ok(line.to_string()));
    let provider = Format::Ollama.provider(&server, json!({})).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let done = ask(&provider, hi()).await.done();
        ids.extend(done.message.tool_calls.into_iter().map(|call| call.id));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[tokio::test]
async fn each_services_reason_to_stop_is_understood() {
    let chat = |reason: &str| {
        event(Format::Chat, &json!({"choices": [{"delta": {}, "finish_reason": reason}]}).to_string())
            + "data: [DONE]\n\n"
    };
    let anthropic = |reason: &str| {
        event(
            Format::Anthropic,
            &json!({"type": "message_delta", "delta": {"stop_reason": reason}}).to_string(),
        ) + &event(Format::Anthropic, "{\"type\":\"message_stop\"}")
    };
    let gemini =
        |reason: &str| event(Format::Gemini, &json!({"candidates": [{"finishReason": reason}]}).to_string());
    let responses = |reason: &str| {
        let response = json!({"incomplete_details": {"reason": reason}, "status": "incomplete"});
        event(Format::Responses, &json!({"type": "response.incomplete", "response": response}).to_string())
    };
    let blocked = event(Format::Gemini, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}");
    for (format, body, expect) in [
        (Format::Chat, chat("length"), StopReason::MaxTokens),
        (Format::Chat, chat("content_filter"), StopReason::Refused),
        (Format::Chat, chat("odd"), StopReason::Other("odd".into())),
        (Format::Anthropic, anthropic("max_tokens"), StopReason::MaxTokens),
        (Format::Anthropic, anthropic("refusal"), StopReason::Refused),
        (Format::Anthropic, anthropic("pause_turn"), StopReason::Other("pause_turn".into())),
        (Format::Gemini, gemini("FUNCTION_CALL"), StopReason::ToolUse),
        (Format::Gemini, gemini("MAX_TOKENS"), StopReason::MaxTokens),
        (Format::Gemini, gemini("SAFETY"), StopReason::Refused),
        (Format::Gemini, blocked, StopReason::Refused),
        (Format::Responses, responses("max_output_tokens"), StopReason::MaxTokens),
        (Format::Responses, responses("content_filter"), StopReason::Refused),
        (Format::Ollama, "{\"done\":true,\"done_reason\":\"length\"}\n".into(), StopReason::MaxTokens),
    ] {
        let server = Server::always(Reply::ok(&body));
        let done = ask(&format.provider(&server, json!({})).await, hi()).await.done();
        assert_eq!(done.stop, expect, "{format:?} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_all_in_the_last_event_is_read() {
    let output = json!([
        {"type": "message", "content": [{"type": "output_text", "text": "hello"}]},
        {"type": "function_call", "call_id": "c1", "name": "read", "arguments": "{\"a\":1}"},
    ]);
    let response = json!({"id": "r", "status": "completed", "model": "m", "output": output});
    let body = json!({"type": "response.completed", "response": response}).to_string();
    let server = Server::always(Reply::ok(event(Format::Responses, &body)));
    let heard = ask(&Format::Responses.provider(&server, json!({})).await, hi()).await;
    assert_eq!(heard.text, "hello");
    assert_eq!(heard.done().message.tool_calls[0].arguments, json!({"a": 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pieces_arrive_before_the_end_and_dropping_the_stream_ends_the_request() {
    for format in FORMATS {
        let server = Server::always(Reply::ok(begun(format)).silent());
        let provider = format.provider(&server, json!({})).await;
        let mut stream = provider.stream(hi()).await.unwrap();
        let first = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await;
        assert!(matches!(first, Some(Ok(ChatDelta::Text(text))) if text == "he"), "{format:?}");
        drop(stream);
        assert_eq!(server.finish(), 1, "{format:?}: the connection stayed open");
    }
}
