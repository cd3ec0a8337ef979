//! The hooks: what they write down, take out, and tell.

use std::path::Path;

use amplifier_core::*;
use amplifier_modules::hook::{HooksLogging, HooksRedaction, HooksStreamingUi};
use serde_json::{Value, json};

use crate::support::*;

const KEY: &str = "sk-ant-0123456789";

fn logged(folder: &Path, config: Value, kit: Kit) -> (Bench, Vec<Value>) {
    let mut kit = kit.module(HooksLogging, config);
    kit.folder = Some(folder.to_owned());
    kit.variables = vec![("ANTHROPIC_API_KEY", KEY)];
    let mut bench = kit.build();
    bench.turn().unwrap();
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    (bench, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn one_tool(does: Does) -> Kit {
    Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", does)
}

#[test]
fn a_line_has_the_format_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let (_, lines) = logged(folder.path(), json!({}), Kit::new(vec![]));
    let first = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let time = lines[0]["data"]["timestamp"].as_str().unwrap();
    let expected = format!(
        "{{\"ts\":\"{time}\",\"lvl\":\"INFO\",\"schema\":{{\"name\":\"amplifier.log\",\"ver\":\"1.0.0\"}},\
         \"event\":\"session:start\",\"session_id\":\"s\",\"data\":{{\"session_id\":\"s\","
    );
    assert!(first.starts_with(&expected), "{first}");
    time.parse::<Timestamp>().unwrap();
}

#[test]
fn all_events_but_deltas_are_logged_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, lines) = logged(folder.path(), json!({}), one_tool(Does::Fails));
    let names: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let seen = bench.hook.seen.lock().unwrap();
    let expected: Vec<&str> = seen
        .iter()
        .map(|(event, _)| event.reference_name())
        .filter(|name| !name.ends_with("delta"))
        .collect();
    assert_eq!(names, expected);
    assert!(names.contains(&"tool:error") && expected.len() < seen.len());
    assert_eq!(lines[names.iter().position(|name| *name == "tool:error").unwrap()]["lvl"], "ERROR");
}

#[test]
fn events_can_be_left_out_and_deltas_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"exclude": ["llm:*", "session_start"], "include_deltas": true});
    let (_, lines) = logged(folder.path(), config, Kit::new(vec![]));
    let names: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert!(names.contains(&"content_block:delta") && names.contains(&"provider:request"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("llm:") || *name == "session:start"), "{names:?}");
}

#[test]
fn the_log_holds_no_secret_and_is_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut kit = one_tool(Does::Says("the key is sk-ant-0123456789, and more"));
    kit.answers = vec![Answer::Calls(vec![ToolCall::new("c1", "t", json!({"password": "hunter2", "n": 1}))])];
    let (_, lines) = logged(folder.path(), json!({}), kit);
    let path = folder.path().join("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(KEY) && !text.contains("hunter2"));
    let pre = lines.iter().find(|line| line["event"] == "tool:pre").unwrap();
    assert_eq!(pre["data"]["tool_input"], json!({"password": "[REDACTED]", "n": 1}));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

fn notices(bench: &Bench) -> Vec<String> {
    bench.display.0.lock().unwrap().iter().filter(|line| line.starts_with("Notice")).cloned().collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_once_and_fails_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("events.jsonl")).unwrap();
    let mut kit = Kit::new(vec![]).module(HooksLogging, json!({}));
    kit.folder = Some(folder.path().to_owned());
    let mut bench = kit.build();
    assert_eq!(bench.turn().unwrap().text, "done");
    assert_eq!(bench.turn().unwrap().text, "done");
    let notices = notices(&bench);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("events.jsonl") && notices[0].contains("hooks-logging"));
}

#[test]
fn a_session_in_memory_has_no_log() {
    let mut bench = Kit::new(vec![]).module(HooksLogging, json!({})).build();
    bench.turn().unwrap();
    assert!(notices(&bench).is_empty());
}

#[test]
fn known_secrets_do_not_reach_the_model_or_later_hooks() {
    for says in ["token: sk-ant-0123456789", "{\"nested\": [\"sk-ant-0123456789\"]}", "MY_API_KEY=abc"] {
        let mut kit = one_tool(Does::Says(says)).module(HooksRedaction, json!({}));
        kit.variables = vec![("ANTHROPIC_API_KEY", KEY)];
        let mut bench = kit.build();
        bench.turn().unwrap();
        let result = bench.provider.request_texts(1).pop().unwrap();
        assert!(
            result.contains("[REDACTED]") && !result.contains(KEY) && !result.contains("abc"),
            "{result}"
        );
        let seen = bench.hook.data(EventType::ToolPost);
        assert_eq!(seen[0]["result"], result.as_str());
    }
}

#[test]
fn what_goes_into_a_tool_is_left_alone() {
    let mut kit = one_tool(Does::Answers).module(HooksRedaction, json!({}));
    kit.answers = vec![Answer::Calls(vec![ToolCall::new("c1", "t", json!({"password": "hunter2"}))])];
    let mut bench = kit.build();
    bench.turn().unwrap();
    assert_eq!(bench.tools[0].calls.lock().unwrap()[0], json!({"password": "hunter2"}));
}

#[test]
fn each_model_call_is_told_with_its_tokens_unless_switched_off() {
    for (config, expected) in [
        (json!({}), 2),
        (json!({"ui": {"show_token_usage": true, "show_tool_lines": 5}}), 2),
        (json!({"show_token_usage": false}), 0),
    ] {
        let mut bench = one_tool(Does::Answers).module(HooksStreamingUi, config).build();
        bench.turn().unwrap();
        let notices = notices(&bench);
        assert_eq!(notices.len(), expected, "{notices:?}");
        assert!(notices.iter().all(|notice| notice.contains("fake-1: 10 tokens in, 5 out")), "{notices:?}");
    }
}
