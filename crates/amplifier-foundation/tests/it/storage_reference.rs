//! Sessions that the reference system left on disk open here as they are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use amplifier_core::{Activation, Role};
use amplifier_foundation::storage::{
    ProjectScope, SessionQuery, SessionStorage, delete_tree, descendants, repair, resolve_prefix,
};
use serde_json::{Value, json};

use crate::storage::{Place, id, users};

const ROOT: &str = "4a0c2e9e-7f8f-4d0f-9f4e-0123456789ab";
const CHILD: &str = "0000000000000000-a1b2c3d4e5f60718_explorer";
const GRANDCHILD: &str = "a1b2c3d4e5f60718-1122334455667788_git-ops";
const FORK: &str = "9b7e3f10-1111-4222-8333-444455556666";

fn put(place: &Place, session: &str, metadata: &Value, transcript: &[Value]) {
    let folder = place.paths().session(&id(session));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("metadata.json"), serde_json::to_string_pretty(metadata).unwrap()).unwrap();
    let lines: String = transcript.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.join("transcript.jsonl"), &lines).unwrap();
    fs::write(folder.join("transcript.jsonl.backup"), &lines).unwrap();
    fs::write(folder.join("metadata.json.backup"), metadata.to_string()).unwrap();
    let event = json!({"ts": "2026-01-02T03:04:05.678+00:00", "lvl": "INFO", "event": "session:start",
        "schema": {"name": "amplifier.log", "ver": "1.0.0"}, "session_id": session, "data": {}});
    fs::write(folder.join("events.jsonl"), format!("{event}\n")).unwrap();
}

fn transcript() -> Vec<Value> {
    vec![
        json!({"role": "user", "content": "look around", "metadata": {"timestamp": "2026-01-02T03:04:05.678+00:00"}}),
        json!({"role": "assistant", "content": "", "thinking_text": "hm",
            "tool_calls": [{"id": "c1", "tool": "bash", "arguments": {"command": "ls"}},
                           {"id": "c2", "name": "read_file", "arguments": {"path": "a"}}]}),
        json!({"role": "tool", "tool_call_id": "c1", "name": "bash", "content": "{\"stdout\": \"a\"}"}),
        json!({"role": "tool", "tool_call_id": "c2", "name": "read_file", "content": "text"}),
        json!({"role": "assistant", "content": [{"type": "text", "text": "one file"}]}),
    ]
}

fn fill(place: &Place) {
    let root = json!({"session_id": ROOT, "created": "2026-01-02T03:04:05.678901+00:00", "bundle": "bundle:foundation",
        "model": "anthropic/claude-sonnet-4-5", "turn_count": 1, "working_dir": place.paths().directory(),
        "incremental": true, "name": "Looking around", "description": "a look", "name_generated_at": "x"});
    put(place, ROOT, &root, &transcript());
    let child = json!({"session_id": CHILD, "parent_id": ROOT, "trace_id": ROOT, "agent_name": "foundation:explorer",
        "child_span": "a1b2c3d4e5f60718", "created": "2026-01-02T03:05:00+00:00", "turn_count": 1,
        "config": {"session": {"orchestrator": {"module": "loop-streaming"}}, "providers": [{"module": "provider-anthropic",
            "config": {"api_key": "[REDACTED]", "max_tokens": 8192}}]},
        "agent_overlay": {"description": "d"}, "bundle_context": {"module_paths": {}, "mention_mappings": {"f": "/f"}},
        "self_delegation_depth": 0, "working_dir": "/elsewhere"});
    put(place, CHILD, &child, &transcript()[..1]);
    let grandchild = json!({"session_id": GRANDCHILD, "parent_id": CHILD, "trace_id": ROOT, "agent_name": "git-ops",
        "self_delegation_depth": null, "last_updated": "2026-01-02T03:06:00", "turn_count": 4});
    put(place, GRANDCHILD, &grandchild, &[]);
    let fork = json!({"session_id": FORK, "parent_id": ROOT, "forked_from_turn": 1, "forked_at": "2026-01-03T00:00:00+00:00",
        "created": "2026-01-03T00:00:00+00:00", "turn_count": 1, "bundle": "foundation", "model": "anthropic/claude"});
    put(place, FORK, &fork, &transcript());
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn each_kind_of_session_loads_without_a_warning_and_without_loss() {
    let place = Place::new();
    fill(&place);
    let storage = place.storage();
    for session in [ROOT, CHILD, GRANDCHILD, FORK] {
        let loaded = storage.load(&id(session)).await.unwrap();
        assert_eq!(loaded.warnings, [""; 0], "{session}");
        assert_eq!(loaded.activation, Activation::FIRST);
    }
    let root = storage.load(&id(ROOT)).await.unwrap();
    assert_eq!(root.metadata.bundle.as_deref(), Some("bundle:foundation"));
    assert_eq!(root.metadata.created.unwrap().to_string(), "2026-01-02T03:04:05.678901Z");
    let calls = &root.transcript[1].tool_calls;
    assert_eq!((calls[0].name.as_str(), calls[1].name.as_str()), ("bash", "read_file"));
    assert_eq!(root.transcript[4].text(), "one file");
    assert!(repair::open_calls(&root.transcript).is_empty());
    let child = storage.load(&id(CHILD)).await.unwrap().metadata;
    assert_eq!(child.parent_id, Some(id(ROOT)));
    assert_eq!(child.self_delegation_depth, Some(0));
    assert_eq!(child.extra["config"]["providers"][0]["config"]["max_tokens"], 8192);
}

#[tokio::test]
async fn a_session_goes_on_and_keeps_what_others_wrote() {
    let place = Place::new();
    fill(&place);
    let storage = place.storage();
    let folder = place.paths().session(&id(CHILD));
    let before = json_of(&folder.join("metadata.json"));
    let opened = storage.open(&id(CHILD), Activation(2)).await.unwrap();
    let mut metadata = opened.metadata;
    metadata.amplifier.activation = Activation(2);
    storage.append(&id(CHILD), Activation(2), &users(&["go on"])).await.unwrap();
    storage.describe(&id(CHILD), Activation(2), &Arc::new(metadata)).await.unwrap();
    storage.close(&id(CHILD)).await.unwrap();

    let mut after = json_of(&folder.join("metadata.json"));
    let record = after.as_object_mut().unwrap().remove("amplifier").unwrap();
    assert_eq!(record, json!({"activation": 2}));
    after["created"] = before["created"].clone();
    assert_eq!(after, before);
    let lines = fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
    assert!(lines.starts_with(&format!("{}\n", transcript()[0])), "{lines}");
    assert!(folder.join("events.jsonl").is_file());
    let last = storage.load(&id(CHILD)).await.unwrap().transcript.pop().unwrap();
    assert_eq!((last.role, last.text()), (Role::User, "go on".to_owned()));
}

#[tokio::test]
async fn lineage_is_read_from_the_metadata_and_forks_are_sessions_of_their_own() {
    let place = Place::new();
    fill(&place);
    let storage = place.storage();
    let mut top: Vec<_> = storage.list(&SessionQuery::default().top_level()).await.unwrap();
    top.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(top.iter().map(|summary| summary.id.as_str()).collect::<Vec<_>>(), [ROOT, FORK]);
    assert_eq!(top[0].name.as_deref(), Some("Looking around"));
    assert_eq!(descendants(&storage, &id(ROOT)).await.unwrap(), [id(CHILD), id(GRANDCHILD)]);
    let found = resolve_prefix(&storage, "4a0c", ProjectScope::All).await.unwrap();
    assert_eq!(found.id, id(ROOT));
    delete_tree(&storage, &id(ROOT)).await.unwrap();
    let left: Vec<_> =
        fs::read_dir(place.paths().sessions()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [FORK]);
}
