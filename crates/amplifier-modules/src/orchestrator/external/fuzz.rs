//! What agents' command lines print, attacked with damaged lines.

use amplifier_fuzz::fuzz;
use serde_json::Value;

use super::claude::Claude;
use super::codex::Codex;
use super::event::Event;
use super::lines::{Line, Lines};

const CLAUDE: &[&str] = &[
    "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\",\"model\":\"m\"}\n\
     {\"type\":\"assistant\",\"message\":{\"id\":\"m1\",\"model\":\"m\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}},\"session_id\":\"s\"}\n\
     {\"type\":\"assistant\",\"message\":{\"id\":\"m1\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"Bash\",\"input\":{\"command\":\"ls\"}}]}}\n\
     {\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"is_error\":false}]}}\n\
     {\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"p\"}}}\n\
     {\"type\":\"rate_limit_event\",\"rate_limit_info\":{\"status\":\"rejected\",\"resetsAt\":1}}\n\
     {\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"one\",\"session_id\":\"s\",\"total_cost_usd\":0.01,\"usage\":{\"input_tokens\":3,\"output_tokens\":1},\"permission_denials\":[{\"tool_name\":\"Bash\"}]}\n",
    "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"sub\"}]},\"parent_tool_use_id\":\"c1\",\"error\":\"rate_limit\"}\n{\"type\":\"result\",\"subtype\":\"error_max_turns\",\"is_error\":true,\"errors\":[\"No conversation found\"]}\n",
];
const CODEX: &[&str] = &[
    "{\"type\":\"thread.started\",\"thread_id\":\"t\"}\n{\"type\":\"turn.started\"}\n\
     {\"type\":\"item.completed\",\"item\":{\"id\":\"i0\",\"type\":\"reasoning\",\"text\":\"r\"}}\n\
     {\"type\":\"item.started\",\"item\":{\"id\":\"i1\",\"type\":\"command_execution\",\"command\":\"ls\",\"aggregated_output\":\"\",\"exit_code\":null,\"status\":\"in_progress\"}}\n\
     {\"type\":\"item.completed\",\"item\":{\"id\":\"i1\",\"type\":\"command_execution\",\"command\":\"ls\",\"aggregated_output\":\"x\",\"exit_code\":0,\"status\":\"completed\"}}\n\
     {\"type\":\"item.completed\",\"item\":{\"id\":\"i2\",\"type\":\"mcp_tool_call\",\"server\":\"s\",\"tool\":\"t\",\"arguments\":{},\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"y\"}]},\"status\":\"failed\",\"error\":{\"message\":\"m\"}}}\n\
     {\"type\":\"item.completed\",\"item\":{\"id\":\"i3\",\"type\":\"file_change\",\"changes\":[{\"path\":\"a\",\"kind\":\"add\"}],\"status\":\"completed\"}}\n\
     {\"type\":\"item.updated\",\"item\":{\"id\":\"i4\",\"type\":\"todo_list\",\"items\":[{\"text\":\"z\",\"completed\":true}]}}\n\
     {\"type\":\"item.completed\",\"item\":{\"id\":\"i5\",\"type\":\"agent_message\",\"text\":\"done\"}}\n\
     {\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":5,\"cached_input_tokens\":1,\"output_tokens\":2}}\n",
    "{\"type\":\"error\",\"message\":\"429 Too Many\"}\n{\"type\":\"turn.failed\",\"error\":{\"message\":\"usage limit\"}}\n{\"type\":\"item.completed\",\"item\":{\"type\":\"web_search\",\"query\":\"q\"}}\n",
];
const PARTS: &[&str] = &[
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-1",
    "1e308",
    "18446744073709551615",
    "\"type\":",
    "\"text\"",
    "\"id\":\"c1\"",
    "\"id\":\"\"",
    "\"content\":",
    "\"item\":",
    "\"error\"",
    "é",
    "\\u0000",
    "\"usage\":",
    "\"is_error\":true",
    "{}",
    "\\",
    " ",
];

/// Lines as they are read from a pipe, and as a plain split gives them.
fn lines(content: &[u8]) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = runtime.block_on(async {
        let (mut lines, mut all) = (Lines::new(content), Vec::new());
        while let Some(line) = lines.next().await {
            let Line::Whole(line) = line else { panic!("no line is too long here") };
            all.push(line);
        }
        all
    });
    let mut plain: Vec<Vec<u8>> = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if plain.last().is_some_and(Vec::is_empty) {
        plain.pop();
    }
    assert_eq!(read, plain);
    read
}

/// Texts that are said as the agent's own.
fn said(events: &[Event]) -> String {
    let said = events.iter().filter_map(|event| match event {
        Event::Said(said) => Some(said.text.as_str()),
        _ => None,
    });
    said.collect()
}

#[test]
fn claude_lines() {
    fuzz!(|script| {
        let content = script.bytes(CLAUDE, PARTS);
        let (mut claude, mut events, mut own) = (Claude::default(), Vec::new(), String::new());
        for line in lines(&content) {
            let Ok(line) = serde_json::from_slice::<Value>(&line) else { continue };
            let Some(told) = claude.read(&line) else { continue };
            if line["type"] == "assistant" && line.get("parent_tool_use_id").is_none_or(Value::is_null) {
                let blocks = line["message"]["content"].as_array().into_iter().flatten();
                let texts =
                    blocks.filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
                own.extend(texts);
            }
            events.extend(told);
        }
        events.extend(claude.flush());
        assert!(claude.flush().is_none(), "what was told is told once");
        let spaceless = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(spaceless(&said(&events)), spaceless(&own), "no text is lost, and none told twice");
    });
}

#[test]
fn codex_lines() {
    fuzz!(|script| {
        let content = script.bytes(CODEX, PARTS);
        let (mut codex, mut events) = (Codex::new("r".to_owned()), Vec::new());
        for line in lines(&content) {
            let Ok(line) = serde_json::from_slice::<Value>(&line) else { continue };
            events.extend(codex.read(&line).unwrap_or_default());
        }
        events.extend(codex.flush());
        assert!(codex.flush().is_none(), "what was told is told once");
        let _ = codex.last_error();
        // A result belongs to a call that was told before it.
        let mut called: Vec<&str> = Vec::new();
        for event in &events {
            match event {
                Event::Said(said) => called.extend(said.calls.iter().map(|call| call.id.as_str())),
                Event::Result { call, .. } => assert!(called.contains(&call.as_str()), "{call} has no call"),
                _ => {}
            }
        }
    });
}
