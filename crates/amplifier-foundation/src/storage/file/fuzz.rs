//! Transcripts and metadata, ours and the reference's, attacked with damaged lines.

use std::sync::Arc;

use amplifier_core::{Message, SessionId};
use amplifier_fuzz::fuzz;
use serde_json::{Value, json};

use super::transcript::{Lines, parse};
use crate::redact::Redactor;
use crate::storage::{SessionMetadata, is_kept, repair};

const TRANSCRIPTS: &[&str] = &[
    "{\"role\":\"user\",\"content\":\"one\"}\n{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"c1\",\"tool\":\"bash\",\"arguments\":{\"command\":\"ls\"}}]}\n\
     {\"role\":\"tool\",\"name\":\"bash\",\"tool_call_id\":\"c1\",\"content\":\"x\"}\n{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"two\"}]}\n",
    "{\"role\": \"user\", \"content\": \"hi\", \"metadata\": {\"timestamp\": \"2026-01-05T10:00:00.123456\"}}\n\
     {\"role\": \"assistant\", \"content\": [{\"type\": \"thinking\", \"thinking\": \"t\", \"signature\": \"s\"}, {\"type\": \"tool_call\", \"id\": \"c\", \"name\": \"f\", \"input\": {}}], \"thinking_text\": \"t\"}\n\
     {\"role\": \"tool\", \"tool_call_id\": \"c\", \"name\": \"f\", \"content\": \"{\\\"output\\\": \\\"é\\\"}\"}\n",
    "{\"role\":\"developer\",\"content\":\"left out\"}\r\n\n{\"role\":\"user\",\"content\":\"x\"}",
    "",
];
const PARTS: &[&str] = &[
    "\n",
    "\r\n",
    "{",
    "}",
    "\"",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "null",
    "\"role\":",
    "\"user\"",
    "\"content\":",
    "\"tool_calls\":",
    "{\"role\":\"user\",\"content\":\"y\"}\n",
    "\u{feff}",
    "\0",
    "\u{2028}",
    "1e999",
    "\\ud800",
    "{\"a\":",
    " ",
    "garbage\n",
];

#[test]
fn transcripts() {
    fuzz!(|script| {
        let content = script.bytes(TRANSCRIPTS, PARTS);
        // Read line by line, by somebody who knows nothing of torn tails.
        let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
        let read = |line: &[u8]| serde_json::from_slice::<Message>(line).ok();
        let empty = |line: &[u8]| line.trim_ascii().is_empty();
        let bad = lines.iter().position(|line| !empty(line) && read(line).is_none());
        let good: Vec<Arc<Message>> =
            lines.iter().filter_map(|line| read(line)).filter(is_kept).map(Arc::new).collect();
        match (parse(&content), bad) {
            (Ok(parsed), None) => {
                assert_eq!(parsed.messages, good);
                assert_eq!((parsed.good_len, parsed.torn_len), (content.len(), 0));
                assert_eq!(parsed.owes_line_feed, !content.is_empty() && !content.ends_with(b"\n"));
            }
            (Ok(parsed), Some(at)) => {
                // Only what has no end may be torn, and every line before it is there.
                assert!(at + 1 == lines.len() && !lines[at].ends_with(b"\n"));
                assert_eq!(parsed.messages, good);
                assert_eq!(parsed.torn_len, lines[at].len());
                assert_eq!(parsed.good_len + parsed.torn_len, content.len());
            }
            (Err(damage), at) => {
                assert_eq!(Some(damage.line), at.map(|at| at + 1), "the first bad line is named")
            }
        }
        // What was read can be written and read again, and its open calls can be closed.
        let id = SessionId::new("s").unwrap();
        let written = Lines::write(&id, &good).unwrap();
        let again = parse(&written.bytes).unwrap().messages;
        // As JSON: a block that says a key twice is kept as it is, and is of a known kind once it says it once.
        assert_eq!(json!(again), json!(good));
        assert_eq!(repair::open_calls(&repair::completed(&good)).len(), 0);
    });
}

const METADATA: &[&str] = &[
    r#"{"session_id":"s","created":"2026-01-01T00:00:00Z","bundle":"b","turn_count":2,"working_dir":"/p","amplifier":{"activation":2,"status":"completed","mode":"ask","permissions":{"layers":[]},"limits":{"max_turns":3}}}"#,
    r#"{"session_id": "a-1_x", "parent_id": "p", "trace_id": "t", "created": "2026-01-05T10:00:00.123456+00:00", "last_updated": "2026-01-05T10:00:00", "model": "p/m", "agent_name": "x", "child_span": "00ff", "self_delegation_depth": 1, "incremental": true, "config": {"api_key": "sk-abcdefghijklmnopqrstuvwxyz"}, "name": "n"}"#,
    r#"{"session_id":"f","forked_from_turn":1,"forked_at":"2026-01-01","amplifier":{"spawn":{"a": [1, 2.5]},"cause":{"event":"x"},"outcome":{"kind":"completed"}},"other":[null]}"#,
    "{}",
];

#[test]
fn metadata_files() {
    fuzz!(|script| {
        let content = script.bytes(METADATA, PARTS);
        let Ok(metadata) = serde_json::from_slice::<SessionMetadata>(&content) else { return };
        let redactor = Redactor::default();
        let written = metadata.to_redacted_json(&redactor).unwrap();
        let again: SessionMetadata = serde_json::from_slice(&written).unwrap();
        // Redaction is done once: what was written stays as it is when it is written again.
        assert_eq!(again.to_redacted_json(&redactor).unwrap(), written);
        assert_eq!(
            (&again.session_id, again.created, again.turn_count),
            (&metadata.session_id, metadata.created, metadata.turn_count)
        );
        // Keys of others stay.
        let before: Value = serde_json::from_slice(&content).unwrap();
        let after: Value = serde_json::from_slice(&written).unwrap();
        for key in metadata.extra.keys() {
            assert!(before.get(key).is_some() && after.get(key).is_some(), "{key}");
        }
    });
}
