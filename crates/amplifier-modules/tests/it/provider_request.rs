//! What is sent, over every protocol.

use amplifier_core::module::provider::{ChatRequest, ReasoningEffort};
use amplifier_core::{Content, ContentBlock, ImageSource, Message, Role, ToolCall};
use serde_json::{Map, Value, json};

use super::provider_bodies::plain;
use super::provider_kit::{FORMATS, Format, KEY, ask, conversation, hi, tools, try_mount};
use super::provider_server::{Reply, Seen, Server};

/// Sends a request and returns what arrived.
async fn sent(format: Format, config: Value, request: ChatRequest) -> Seen {
    let server = Server::always(Reply::ok(plain(format)));
    ask(&format.provider(&server, config).await, request).await.done();
    server.seen().remove(0)
}

/// A round with two parallel calls, one of which failed.
fn round() -> ChatRequest {
    let mut calls = [
        ToolCall::new("c1", "read", json!({"path": "ä"})),
        ToolCall::new("c2", "read", json!({"path": "b"})),
    ];
    calls[0].extra.insert("thought_signature".into(), "sig".into());
    let mut said = Message::assistant("");
    said.content = Content::Blocks(vec![
        ContentBlock::thinking("hm", Some("sign".into())),
        ContentBlock::Other(Map::from_iter([
            ("type".to_owned(), json!("reasoning")),
            ("encrypted_content".to_owned(), json!("blob")),
        ])),
        ContentBlock::text("I look"),
    ]);
    said.tool_calls = calls.to_vec();
    let results =
        [Message::tool_result(&calls[0], "found", false), Message::tool_result(&calls[1], "gone", true)];
    let mut messages = vec![Message::user("look"), said];
    messages.extend(results);
    let mut request = conversation(messages);
    request.system = Some("be brief".into());
    request.tools = tools(1);
    request
}

#[tokio::test]
async fn requests_go_where_each_service_expects_them() {
    for (format, path, header, value) in [
        (Format::Chat, "/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        (Format::Responses, "/v1/responses", "authorization", format!("Bearer {KEY}")),
        (
            Format::Azure,
            "/openai/deployments/m-1/chat/completions?api-version=2024-10-21",
            "api-key",
            KEY.to_owned(),
        ),
        (Format::Compatible, "/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
        (Format::Anthropic, "/v1/messages", "x-api-key", KEY.to_owned()),
        (
            Format::Gemini,
            "/v1beta/models/m-1:streamGenerateContent?alt=sse",
            "x-goog-api-key",
            KEY.to_owned(),
        ),
        (Format::Ollama, "/api/chat", "authorization", format!("Bearer {KEY}")),
    ] {
        let seen = sent(format, json!({"headers": {"X-Team": "blue", "User-Agent": "me"}}), hi()).await;
        assert_eq!(seen.path(), path, "{format:?}");
        assert_eq!(seen.header(header), value, "{format:?}");
        assert_eq!((seen.header("x-team"), seen.header("user-agent")), ("blue", "me"), "{format:?}");
        let elsewhere = seen.body.to_string() + seen.path();
        assert!(!elsewhere.contains(KEY), "{format:?}: the key is outside its header");
        if !matches!(format, Format::Gemini) {
            assert_eq!(seen.body["model"], "m-1", "{format:?}");
            assert_eq!(seen.body["stream"], true, "{format:?}");
        }
    }
}

#[tokio::test]
async fn azure_takes_three_kinds_of_address() {
    let server = Server::always(Reply::ok(plain(Format::Azure)));
    for (path, expect) in [
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/openai/deployments/d", "/openai/deployments/d/chat/completions?api-version=v9"),
        ("/?api-version=v8", "/openai/deployments/m-1/chat/completions?api-version=v8"),
    ] {
        let config = json!({"base_url": server.url(path), "api_version": "v9"});
        ask(&Format::Azure.provider(&server, config).await, hi()).await.done();
        assert_eq!(server.seen().last().unwrap().path(), expect);
    }
}

#[tokio::test]
async fn a_round_of_tools_goes_back_in_openais_chat() {
    for format in [Format::Chat, Format::Azure, Format::Compatible] {
        let body = sent(format, json!({}), round()).await.body;
        assert_eq!(body["messages"][0], json!({"role": "system", "content": "be brief"}));
        assert_eq!(body["messages"][1], json!({"role": "user", "content": "look"}));
        let said = &body["messages"][2];
        assert_eq!((&said["role"], &said["content"]), (&json!("assistant"), &json!("I look")));
        assert_eq!(said["tool_calls"][0]["id"], "c1");
        let arguments: Value =
            serde_json::from_str(said["tool_calls"][1]["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({"path": "b"}));
        assert_eq!(body["messages"][3], json!({"role": "tool", "tool_call_id": "c1", "content": "found"}));
        assert_eq!(body["messages"][4]["tool_call_id"], "c2");
        let function = &body["tools"][0]["function"];
        assert_eq!(function["name"], "tool_0");
        assert_eq!(function["parameters"]["required"], json!(["path"]));
        assert_eq!(body["stream_options"]["include_usage"], true);
    }
}

#[tokio::test]
async fn a_round_of_tools_goes_back_in_openais_responses() {
    let body = sent(Format::Responses, json!({}), round()).await.body;
    assert_eq!((&body["instructions"], &body["store"]), (&json!("be brief"), &json!(false)));
    let kinds: Vec<_> =
        body["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap_or("-")).collect();
    let expect = [
        "-",
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
    ];
    assert_eq!(kinds, expect);
    assert_eq!(body["input"][1]["encrypted_content"], "blob");
    assert_eq!(body["input"][3]["call_id"], "c1");
    assert_eq!(body["input"][6], json!({"type": "function_call_output", "call_id": "c2", "output": "gone"}));
    assert_eq!(body["tools"][0]["name"], "tool_0");
    assert_eq!(body["tools"][0]["parameters"]["required"], json!(["path"]));
}

#[tokio::test]
async fn a_round_of_tools_goes_back_in_anthropics_messages() {
    let body = sent(Format::Anthropic, json!({}), round()).await.body;
    let cached = json!({"type": "ephemeral"});
    assert_eq!(body["system"], json!([{"type": "text", "text": "be brief", "cache_control": cached}]));
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
    let said = &body["messages"][1]["content"];
    assert_eq!(said[0], json!({"type": "thinking", "thinking": "hm", "signature": "sign"}));
    assert_eq!(said[1], json!({"type": "text", "text": "I look"}));
    assert_eq!(said[3], json!({"type": "tool_use", "id": "c2", "name": "read", "input": {"path": "b"}}));
    let results = &body["messages"][2]["content"];
    assert_eq!(results[0], json!({"type": "tool_result", "tool_use_id": "c1", "content": "found"}));
    assert_eq!((&results[1]["is_error"], &results[1]["cache_control"]), (&json!(true), &cached));
    assert_eq!(body["tools"][0]["input_schema"]["required"], json!(["path"]));
    assert!(body["max_tokens"].as_u64().unwrap() >= 4_096);

    let body = sent(Format::Anthropic, json!({"enable_prompt_caching": false}), round()).await.body;
    assert_eq!(body["system"], "be brief");
    assert!(!body.to_string().contains("cache_control"));
}

#[tokio::test]
async fn a_round_of_tools_goes_back_in_gemini() {
    let body = sent(Format::Gemini, json!({}), round()).await.body;
    assert_eq!(body["systemInstruction"]["parts"][0]["text"], "be brief");
    let said = &body["contents"][1];
    assert_eq!((&said["role"], &said["parts"][0]["text"]), (&json!("model"), &json!("I look")));
    assert_eq!(said["parts"][1]["functionCall"]["args"], json!({"path": "ä"}));
    assert_eq!(said["parts"][1]["thoughtSignature"], "sig");
    assert!(said["parts"][2].get("thoughtSignature").is_none());
    let results = body["contents"][2]["parts"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[1]["functionResponse"]["name"], "read");
    assert_eq!(results[1]["functionResponse"]["response"]["content"], "gone");
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["name"], "tool_0");
}

#[tokio::test]
async fn a_round_of_tools_goes_back_in_ollama() {
    let body = sent(Format::Ollama, json!({}), round()).await.body;
    let roles: Vec<_> =
        body["messages"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "tool"]);
    assert_eq!(body["messages"][2]["tool_calls"][1]["function"]["arguments"], json!({"path": "b"}));
    assert_eq!(body["messages"][4]["content"], "gone");
    assert_eq!(body["tools"][0]["function"]["name"], "tool_0");
}

#[tokio::test]
async fn reasoning_of_one_service_does_not_go_to_another() {
    for format in FORMATS {
        let body = sent(format, json!({}), round()).await.body.to_string();
        assert_eq!(body.contains("blob"), format == Format::Responses, "{format:?}");
        assert_eq!(body.contains("\"sign\""), format == Format::Anthropic, "{format:?}");
        assert_eq!(body.contains("\"sig\""), format == Format::Gemini, "{format:?}");
    }
}

fn image(data: &str) -> ContentBlock {
    ContentBlock::image(ImageSource::base64("image/png", data))
}

fn seeing(data: &str) -> Message {
    let mut message = Message::user("");
    message.content = Content::Blocks(vec![ContentBlock::text("see"), image(data)]);
    message
}

#[tokio::test]
async fn images_are_sent() {
    for format in FORMATS {
        let body = sent(format, json!({}), conversation(vec![seeing("aW1n")])).await.body.to_string();
        assert!(body.contains("aW1n") && body.contains("see"), "{format:?} {body}");
        let body = sent(format, json!({"images": false}), conversation(vec![seeing("aW1n")])).await.body;
        let body = body.to_string();
        assert!(!body.contains("aW1n") && body.contains("not shown here"), "{format:?} {body}");
    }
}

/// A round of two calls, each with an image in its result, and what comes after it.
fn round_with_images() -> ChatRequest {
    let mut request = round();
    let mut messages: Vec<Message> = request.messages.to_vec().iter().map(|one| (**one).clone()).collect();
    for (message, data) in messages.iter_mut().rev().zip(["Ymw=", "cmQ="]) {
        *message = message.clone().with_images(vec![ImageSource::base64("image/png", data)]);
    }
    messages.push(Message::assistant("I saw"));
    messages.push(Message::user("more"));
    request.messages = conversation(messages).messages;
    request
}

#[tokio::test]
async fn images_of_results_are_sent_to_services_that_see() {
    // Anthropic's results hold them.
    let body = sent(Format::Anthropic, json!({}), round_with_images()).await.body;
    let results = body["messages"][2]["content"].as_array().unwrap();
    let source = json!({"type": "base64", "media_type": "image/png", "data": "cmQ="});
    assert_eq!(results[0]["content"][0], json!({"type": "text", "text": "found"}), "{body}");
    assert_eq!(results[0]["content"][1], json!({"type": "image", "source": source}), "{body}");
    assert_eq!(
        (&results[1]["is_error"], &results[1]["content"][1]["source"]["data"]),
        (&json!(true), &json!("Ymw="))
    );
    // Elsewhere they stand behind all results of the round, in their order, as the user's.
    for (format, list, at, images) in [
        (Format::Chat, "/messages", 5, ["/content/1/image_url/url", "/content/2/image_url/url"]),
        (Format::Azure, "/messages", 5, ["/content/1/image_url/url", "/content/2/image_url/url"]),
        (Format::Responses, "/input", 7, ["/content/1/image_url", "/content/2/image_url"]),
        (Format::Gemini, "/contents", 3, ["/parts/1/inline_data/data", "/parts/2/inline_data/data"]),
    ] {
        let body = sent(format, json!({}), round_with_images()).await.body;
        let message = &body.pointer(list).unwrap()[at];
        let data = images.map(|path| message.pointer(path).and_then(Value::as_str).unwrap_or_default());
        assert_eq!(message["role"], "user", "{format:?} {body}");
        assert!(data[0].ends_with("cmQ=") && data[1].ends_with("Ymw="), "{format:?} {data:?} {body}");
        let body = body.to_string();
        assert!(body.contains(r"found\n[an image: it is shown behind these results]"), "{format:?} {body}");
        assert_eq!(body.matches("cmQ=").count(), 1, "{format:?} {body}");
    }
}

#[tokio::test]
async fn servers_whose_models_may_be_blind_are_sent_images_of_results_if_their_config_says_so() {
    for format in [Format::Compatible, Format::Ollama] {
        let body = sent(format, json!({}), round_with_images()).await.body.to_string();
        assert!(!body.contains("cmQ=") && body.contains("not shown here"), "{format:?} {body}");
        let body = sent(format, json!({"images": true}), round_with_images()).await.body.to_string();
        assert!(body.contains("cmQ=") && body.contains("Ymw="), "{format:?} {body}");
    }
    let body = sent(Format::Anthropic, json!({"images": false}), round_with_images()).await.body.to_string();
    assert!(!body.contains("cmQ=") && body.contains("not shown here"), "{body}");
}

#[tokio::test]
async fn of_many_images_the_latest_are_sent() {
    let check = |sizes: &[usize], expect: &[usize]| {
        let letters = ["AAAA", "BBBB", "CCCC", "DDDD"];
        let message = |(at, size): (usize, &usize)| seeing(&letters[at % 4].repeat(size / 4));
        let messages: Vec<Message> = sizes.iter().enumerate().map(message).collect();
        let expect: Vec<usize> = expect.to_vec();
        async move {
            let body = sent(Format::Anthropic, json!({}), conversation(messages)).await.body;
            let shown = |message: &Value| message["content"][1].to_string().len();
            let said = body["messages"].as_array().unwrap();
            let whole = (0..said.len()).filter(|at| shown(&said[*at]) > 400).collect::<Vec<_>>();
            assert_eq!(whole, expect);
            assert_eq!(body.to_string().matches("not shown here").count(), said.len() - expect.len());
        }
    };
    check(&[400; 22], &(2..22).collect::<Vec<_>>()).await;
    let mib = 1 << 20;
    check(&[mib, 5 * mib, 5 * mib, 2 * mib], &[1, 2, 3]).await;
    check(&[mib, 6 * mib, 6 * mib, mib], &[2, 3]).await;
}

#[tokio::test]
async fn limits_temperature_and_reasoning_are_sent() {
    for (format, max, temperature, reasoning) in [
        (Format::Chat, "/max_tokens", "/temperature", "/reasoning_effort"),
        (Format::Responses, "/max_output_tokens", "/temperature", "/reasoning/effort"),
        (
            Format::Gemini,
            "/generationConfig/maxOutputTokens",
            "/generationConfig/temperature",
            "/generationConfig/thinkingConfig",
        ),
        (Format::Ollama, "/options/num_predict", "/options/temperature", "/think"),
        (Format::Anthropic, "/max_tokens", "/-", "/thinking"),
    ] {
        let mut request = hi();
        request.max_output_tokens = Some(30_000);
        request.temperature = Some(0.5);
        request.reasoning = Some(ReasoningEffort::Low);
        let body = sent(format, json!({"max_tokens": 7, "temperature": 1.0}), request).await.body;
        assert_eq!(body.pointer(max), Some(&json!(30_000)), "{format:?} {body}");
        let expect = (format != Format::Anthropic).then_some(json!(0.5));
        assert_eq!(body.pointer(temperature), expect.as_ref(), "{format:?}");
        assert!(body.pointer(reasoning).is_some(), "{format:?} {body}");

        let body = sent(format, json!({"max_tokens": 5_000}), hi()).await.body;
        assert_eq!(body.pointer(max), Some(&json!(5_000)), "{format:?}");
        assert_eq!(body.pointer(reasoning), None, "{format:?}");
    }
}

#[tokio::test]
async fn reasoning_that_would_not_fit_is_lowered() {
    for (max, expect) in [(30_000, Some(8_000)), (5_000, Some(1_024)), (1_000, None)] {
        let config =
            json!({"extended_thinking": true, "max_tokens": max, "default_model": "claude-sonnet-4-0"});
        let body = sent(Format::Anthropic, config, hi()).await.body;
        assert_eq!(body.pointer("/thinking/budget_tokens").and_then(Value::as_u64), expect, "{max} {body}");
    }
}

#[tokio::test]
async fn a_models_name_is_sent_as_it_was_written() {
    for name in ["qwen-max", "gpt-oss:20b-high", "a::b", "org/model-low", "claude-x"] {
        for format in [Format::Chat, Format::Responses, Format::Compatible, Format::Anthropic, Format::Ollama]
        {
            if format == Format::Ollama && name.contains("::") {
                continue;
            }
            let mut request = hi();
            request.model = Some(name.into());
            let body = sent(format, json!({}), request).await.body;
            assert_eq!(body["model"], name, "{format:?}");
            for effort in ["reasoning_effort", "reasoning", "thinking", "think"] {
                assert!(body.get(effort).is_none(), "{format:?} {name} {body}");
            }
        }
        let mut request = hi();
        request.model = Some(name.into());
        let seen = sent(Format::Gemini, json!({}), request).await;
        assert!(seen.path().contains(&format!("models/{name}:stream")), "{}", seen.path());
    }
}

#[tokio::test]
async fn a_tool_named_like_a_service_of_the_provider_stays_a_tool() {
    for format in FORMATS {
        let mut request = hi();
        let mut own = tools(1).to_vec();
        own[0].name = "web_search".into();
        request.tools = own.into();
        let body = sent(format, json!({}), request).await.body.to_string();
        assert!(body.contains("does one thing") && !body.contains("web_search_2025"), "{format:?} {body}");
    }
}

#[tokio::test]
async fn a_later_instruction_stays_where_it_is() {
    for format in FORMATS {
        let note = Message::new(Role::System, "note well");
        let body = sent(format, json!({}), conversation(vec![Message::user("a"), note, Message::user("b")]))
            .await
            .body;
        let list = ["messages", "input", "contents"].iter().find_map(|name| body[name].as_array()).unwrap();
        assert_eq!(list.len(), 3, "{format:?} {body}");
        assert!(list[1].to_string().contains("note well"), "{format:?} {body}");
    }
}

#[tokio::test]
async fn arguments_that_were_no_object_go_back_in_one() {
    for format in FORMATS {
        let call = ToolCall::new("c1", "read", json!("{\"cut"));
        let mut said = Message::assistant("");
        said.tool_calls = vec![call.clone()];
        let request = conversation(vec![Message::user("a"), said, Message::tool_result(&call, "r", true)]);
        let body = sent(format, json!({}), request).await.body.to_string();
        assert!(body.contains("invalid_arguments"), "{format:?} {body}");
    }
}

#[tokio::test]
async fn ids_of_other_services_are_made_to_fit_anthropic() {
    let call = ToolCall::new("call#read#1", "read", Value::Null);
    let mut said = Message::assistant("");
    said.tool_calls = vec![call.clone()];
    let request = conversation(vec![Message::user("a"), said, Message::tool_result(&call, "r", false)]);
    let body = sent(Format::Anthropic, json!({}), request).await.body;
    assert_eq!(body["messages"][1]["content"][0]["id"], "call_read_1");
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({}));
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "call_read_1");
}

#[tokio::test]
async fn only_openai_itself_gets_the_name_of_a_cache() {
    for format in FORMATS {
        let mut request = hi();
        request.cache_key = Some("session-".repeat(20).into());
        let body = sent(format, json!({}), request).await.body;
        let key = body.get("prompt_cache_key").and_then(Value::as_str);
        let takes = matches!(format, Format::Chat | Format::Responses | Format::Azure);
        assert_eq!(key.map(str::len), takes.then_some(64), "{format:?}");
    }
}

/// A request for "hi" with eight tools is small: what the protocol adds to prompt and schemas.
#[tokio::test]
async fn the_protocol_adds_little_to_a_small_request() {
    let schemas = serde_json::to_string(tools(8).as_ref()).unwrap().len();
    for format in FORMATS {
        let mut request = hi();
        request.tools = tools(8);
        let size = sent(format, json!({}), request).await.raw.len();
        assert!(size < schemas + 800, "{format:?}: {size} bytes for {schemas} bytes of schemas");
    }
}

#[tokio::test]
async fn keys_and_addresses_come_from_variables() {
    for (module, names, format) in [
        ("provider-anthropic", ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"], Format::Anthropic),
        ("provider-openai", ["OPENAI_API_KEY", "OPENAI_BASE_URL"], Format::Chat),
        ("provider-azure-openai", ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"], Format::Azure),
        ("provider-gemini", ["GOOGLE_API_KEY", "GEMINI_BASE_URL"], Format::Gemini),
        ("provider-ollama", ["-", "OLLAMA_HOST"], Format::Ollama),
    ] {
        let server = Server::always(Reply::ok(plain(format)));
        let url = server.url(format.base());
        let variables = [(names[0], KEY), (names[1], url.as_str()), ("AZURE_OPENAI_DEPLOYMENT", "d")];
        let provider = try_mount(module, json!({}), &variables).await.unwrap();
        ask(&provider, hi()).await.done();
        let head = server.seen().remove(0).head;
        assert_eq!(head.contains(KEY), module != "provider-ollama", "{module}");
    }
    let server = Server::always(Reply::ok(plain(Format::Chat)));
    let config = json!({"api_key": "${MINE}", "base_url": server.url("/v1")});
    let provider = try_mount("provider-openai", config, &[("MINE", "sk-mine")]).await.unwrap();
    ask(&provider, hi()).await.done();
    assert_eq!(server.seen()[0].header("authorization"), "Bearer sk-mine");
}

#[tokio::test]
async fn a_server_without_key_gets_no_key() {
    let server = Server::always(Reply::ok(plain(Format::Compatible)));
    let config = json!({"base_url": server.url("/v1"), "default_model": "m"});
    let provider = try_mount("provider-openai-compatible", config, &[]).await.unwrap();
    ask(&provider, hi()).await.done();
    assert_eq!(server.seen()[0].header("authorization"), "");
}

#[tokio::test]
async fn models_are_listed_where_the_service_lists_them() {
    for (format, path, body) in [
        (Format::Chat, "/v1/models", json!({"data": [{"id": "a", "context_length": 9}, {"id": "b"}]})),
        (
            Format::Anthropic,
            "/v1/models?limit=1000",
            json!({"data": [{"id": "a", "max_input_tokens": 9}, {"id": "b"}]}),
        ),
        (
            Format::Gemini,
            "/v1beta/models?pageSize=1000",
            json!({"models": [{"name": "models/a", "inputTokenLimit": 9}, {"name": "models/b"}]}),
        ),
        (Format::Ollama, "/api/tags", json!({"models": [{"name": "a", "context_length": 9}, {"name": "b"}]})),
    ] {
        let server = Server::always(Reply::ok(body.to_string()));
        let models = format.provider(&server, json!({})).await.models().await.unwrap();
        let names: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
        assert_eq!(names, ["a", "b"], "{format:?}");
        assert_eq!(models[0].context_window, Some(9), "{format:?}");
        assert_eq!(server.seen()[0].path(), path);
    }
    let server = Server::always(Reply::status(401, "{}"));
    let models = Format::Azure.provider(&server, json!({})).await.models().await.unwrap();
    assert_eq!(models[0].id, "m-1");
    let error = Format::Chat.provider(&server, json!({})).await.models().await.unwrap_err();
    assert_eq!(error.status, Some(401));
}
