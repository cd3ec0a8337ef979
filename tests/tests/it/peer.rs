//! Each of the five protocols against a service that somebody else wrote.

use amplifier_tests::peer::Peer;
use amplifier_tests::process::run;
use amplifier_tests::project::{TempProject, metadata, transcript};
use amplifier_tests::skipped;
use serde_json::{Value, json};

/// The model asks for a file, sees that it is made, and goes on when it is asked to.
fn fixtures() -> Value {
    let arguments = json!({"file_path": "peer.txt", "content": "from the peer: ä\n"});
    let call = json!({"name": "write_file", "arguments": arguments});
    let one = |matching: Value, mut response: Value| {
        response["usage"] = json!({"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15});
        json!({"match": matching, "response": response})
    };
    json!({"fixtures": [
        one(json!({"userMessage": "make it", "hasToolResult": false}), json!({"content": "I make it.", "toolCalls": [call]})),
        one(json!({"userMessage": "make it", "hasToolResult": true}), json!({"content": "The file is made: ö."})),
        one(json!({"userMessage": "go on"}), json!({"content": "Gone on."})),
    ]})
}

fn check(name: &str, module: &str, path: &str, api: Option<&str>) {
    // The service counts no tokens in this one protocol.
    let tokens = if module == "provider-ollama" { (0, 0) } else { (22, 8) };
    let peer = match Peer::start(&fixtures()) {
        Ok(peer) => peer,
        Err(why) => return skipped(name, &why),
    };
    let project = TempProject::new();
    let mut config = json!({"base_url": format!("{}{path}", peer.url()), "api_key": "test", "default_model": "peer-model"});
    if let Some(api) = api {
        config["api"] = json!(api);
    }
    project.bundle(
        "peered",
        format!(
            "---\nbundle: {{name: peered}}\nsession: {{orchestrator: loop-streaming, context: context-simple}}\n\
             providers: [{}]\ntools: [{{module: tool-filesystem}}]\n---\nYou are tested.\n",
            json!({"module": module, "config": config})
        ),
    );
    let done =
        run(&project, ["run", "-B", ".amplifier/bundles/peered.md", "--output-format", "json", "make it"])
            .exits(0);
    let result = done.json();
    assert_eq!(result["response"], "The file is made: ö.", "{name}");
    let usage = &result["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"]),
        (&json!(tokens.0), &json!(tokens.1)),
        "{name}: {result}"
    );
    assert_eq!(project.read("peer.txt"), "from the peer: ä\n", "{name}");
    assert_eq!(run(&project, ["continue", "go on"]).exits(0).stdout, "Gone on.\n", "{name}");
    let messages = transcript(&project.session());
    let roles: Vec<&str> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user", "assistant"], "{name}");
    assert_eq!(messages[1]["tool_calls"][0]["id"], messages[2]["tool_call_id"], "{name}");
    assert_eq!(metadata(&project.session())["turn_count"], 2, "{name}");
}

#[test]
fn openai_chat_completions() {
    check("openai_chat_completions", "provider-openai", "/v1", Some("chat"));
}

#[test]
fn openai_compatible_servers() {
    check("openai_compatible_servers", "provider-openai-compatible", "/v1", None);
}

#[test]
fn openai_responses() {
    check("openai_responses", "provider-openai", "/v1", Some("responses"));
}

#[test]
fn anthropic_messages() {
    check("anthropic_messages", "provider-anthropic", "", None);
}

#[test]
fn gemini() {
    check("gemini", "provider-gemini", "/v1beta", None);
}

#[test]
fn ollama() {
    check("ollama", "provider-ollama", "", None);
}
