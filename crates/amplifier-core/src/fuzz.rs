//! Names of events, patterns over them and messages, attacked with damaged texts.

use amplifier_fuzz::fuzz;
use serde_json::{Value, json};

use crate::{CustomName, EventPattern, EventType, Message};

const NAMES: &[&str] = &[
    "work:done",
    "tool:pre",
    "tool_pre",
    "session:completed",
    "a.b-c_d:e9",
    "deploy.*:**:x",
    "*",
    "**:done",
    "session:*",
    "x",
];
const PARTS: &[&str] = &[
    "*",
    "**",
    ":",
    ".",
    "_",
    "-",
    "a",
    "b",
    "session",
    "tool",
    "hook",
    "é",
    "A",
    " ",
    "\0",
    "provider:",
    "orchestrator",
];

/// What a pattern means, step by step: the states that can be reached behind each byte of the name.
fn matches_plainly(pattern: &str, name: &str) -> bool {
    let mut items: Vec<(u8, bool)> = Vec::new();
    let mut rest = pattern.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let stars = rest.iter().take_while(|byte| **byte == b'*').count();
        items.push((first, stars > 1));
        rest = if stars > 0 { &rest[stars..] } else { after };
    }
    let through = |reached: &mut Vec<bool>| {
        for at in 0..items.len() {
            reached[at + 1] |= reached[at] && items[at].0 == b'*';
        }
    };
    let mut reached = vec![false; items.len() + 1];
    reached[0] = true;
    through(&mut reached);
    for byte in name.bytes() {
        let mut next = vec![false; items.len() + 1];
        for (at, (wanted, crosses)) in items.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match wanted {
                b'*' => next[at] |= *crosses || !matches!(byte, b':' | b'.'),
                wanted => next[at + 1] |= *wanted == byte,
            }
        }
        through(&mut next);
        reached = next;
    }
    reached[items.len()]
}

#[test]
fn event_names() {
    fuzz!(|script| {
        let text = script.text(NAMES, PARTS);
        let json = Value::from(text.as_str());
        let read = serde_json::from_value::<EventType>(json.clone());
        match CustomName::new(&text) {
            Ok(name) => {
                assert_eq!(name.as_str(), text);
                assert_eq!(EventType::kernel(&text), None, "a custom name is no kernel event");
                let event = read.unwrap();
                assert_eq!(serde_json::to_value(&event).unwrap(), json);
                assert!(
                    EventPattern::new(&text).unwrap().matches(&event),
                    "an exact pattern is its own name"
                );
            }
            // What is no custom name is a kernel event or nothing.
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{error:?}");
                assert_eq!(read.ok(), EventType::kernel(&text));
            }
        }
    });
}

#[test]
fn event_patterns() {
    fuzz!(|script| {
        let text = script.text(NAMES, PARTS);
        let name = script.text(NAMES, &PARTS[2..8]);
        let pattern = match EventPattern::new(&text) {
            Ok(pattern) => pattern,
            Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        };
        assert_eq!(pattern.as_str(), text);
        if !pattern.is_all() {
            assert_eq!(pattern.matches_name(&name), matches_plainly(&text, &name), "{text} against {name}");
        }
    });
}

const MESSAGES: &[&str] = &[
    r#"{"role":"user","content":"one"}"#,
    r#"{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"x"}],"tool_calls":[{"id":"c1","tool":"bash","arguments":{"command":"ls"}}]}"#,
    r#"{"role":"tool","name":"bash","tool_call_id":"c1","content":"out","metadata":{"a":1},"thinking_text":"kept"}"#,
    r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c2","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
    r#"{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{"x":[1,2.5,null]}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aW1n"}},{"type":"redacted_thinking","data":"x"}]}"#,
    r#"{"role":"system","content":"s","timestamp":"2026-01-01T00:00:00Z"}"#,
];
const JSON: &[&str] = &[
    "null",
    "true",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"\"",
    "\"role\":",
    "\"content\":",
    "\"type\":",
    "\"text\"",
    "1e400",
    "-0.0",
    "18446744073709551615",
    "\\ud800",
    "\\u0000",
    "\"tool_calls\":",
    "\"metadata\":",
    "\"arguments\":",
    "{}",
    "[]",
    "\"more\":null,",
];

#[test]
fn messages() {
    fuzz!(|script| {
        let bytes = script.bytes(MESSAGES, JSON);
        let Ok(message) = serde_json::from_slice::<Message>(&bytes) else { return };
        // What was read can be written, and is the same when it is read again.
        let written = serde_json::to_vec(&message).unwrap();
        let again: Message = serde_json::from_slice(&written).unwrap();
        // As JSON: a block that says a key twice is kept as it is, and is of a known kind once it says it once.
        assert_eq!(json!(again), json!(message));
        // Of the content nothing is lost either, but for a signature that is none.
        let mut plain: Value = serde_json::from_slice(&bytes).unwrap();
        for block in plain.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
            if block["type"] == "thinking" && block["signature"].is_null() {
                block.as_object_mut().unwrap().remove("signature");
            }
        }
        if plain.get("content").is_some() {
            assert_eq!(json!(message)["content"], plain["content"]);
        }
        let _ = (message.text(), format!("{message:?}"));
    });
}
