//! What is written here has the keys and shapes of the reference system, so that its programs read it.
//!
//! Compared is what they rely on: names and types of keys, ids, times, one message a line.

use std::collections::BTreeSet;
use std::path::Path;

use amplifier_core::Timestamp;
use amplifier_tests::process::run;
use amplifier_tests::project::{TempProject, metadata, transcript};
use serde_json::Value;

/// A project in which the example `delegate` has run, and been continued.
fn written() -> TempProject {
    let project = TempProject::new();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for file in ["bundle.md", "agents/reader.md", "CHANGES.md"] {
        let path = format!("docs/examples/delegate/{file}");
        project.write(&path, std::fs::read(workspace.join(&path)).unwrap());
    }
    run(&project, ["run", "-B", "docs/examples/delegate", "What changed last?"]).exits(0);
    run(&project, ["continue", "And before?"]).exits(0);
    project
}

/// The sessions that nobody spawned, and the others.
fn by_level(project: &TempProject) -> [Vec<Value>; 2] {
    let all: Vec<Value> = project.sessions().iter().map(|folder| metadata(folder)).collect();
    let (children, roots) = all.into_iter().partition(|one| one.get("parent_id").is_some());
    [roots, children]
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is no text: {value}"))
}

fn is_time(text: &str) -> bool {
    // As `datetime.fromisoformat` takes it: date, `T`, time, zone.
    text.parse::<Timestamp>().is_ok() && text.as_bytes().get(10) == Some(&b'T')
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(map) => map.values().any(has_null),
        _ => false,
    }
}

#[test]
fn a_transcript_has_one_message_a_line_with_the_references_keys() {
    let project = written();
    let known: BTreeSet<&str> =
        ["role", "content", "tool_calls", "tool_call_id", "name", "metadata"].into_iter().collect();
    let (mut calls, mut results) = (0, 0);
    for folder in project.sessions() {
        let file = std::fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
        assert!(file.ends_with('\n') && !file.contains("\n\n"), "{file}");
        for message in transcript(&folder) {
            let keys: BTreeSet<&str> = message.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(keys.is_subset(&known), "{message}");
            assert!(!has_null(&message), "{message}");
            assert!(["user", "assistant", "tool"].contains(&text(&message, "role")), "{message}");
            assert!(message["content"].is_string() || message["content"].is_array(), "{message}");
            assert!(is_time(text(&message["metadata"], "timestamp")), "{message}");
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                assert!(!text(call, "id").is_empty() && !text(call, "tool").is_empty(), "{call}");
                assert!(call["arguments"].is_object(), "{call}");
                calls += 1;
            }
            if message["role"] == "tool" {
                assert!(!text(&message, "tool_call_id").is_empty() && !text(&message, "name").is_empty());
                results += 1;
            }
        }
    }
    assert!(calls >= 2 && calls == results, "{calls} calls, {results} results");
}

#[test]
fn metadata_has_the_references_keys_and_ours_lie_under_one() {
    let project = written();
    let [roots, children] = by_level(&project);
    assert_eq!((roots.len(), children.len()), (1, 1));
    let root = &roots[0];
    let id = text(root, "session_id");
    assert!(id.len() == 36 && !id.contains('_'), "a root's id is a UUID: {id}");
    assert!(is_time(text(root, "created")) && text(root, "model").contains('/'), "{root}");
    assert_eq!(root["turn_count"], 2, "prompts of the user");
    assert_eq!(Path::new(text(root, "working_dir")), project.path());
    assert!(!text(root, "bundle").is_empty());
    let child = &children[0];
    assert_eq!((text(child, "parent_id"), text(child, "trace_id")), (id, id));
    assert_eq!(text(child, "agent_name"), "reader");
    let child_id = text(child, "session_id");
    let (spans, agent) = child_id.split_once('_').unwrap();
    let (above, own) = spans.split_once('-').unwrap();
    let is_span = |text: &str| {
        text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    assert!(is_span(above) && is_span(own) && agent == "reader", "{child_id}");
    assert_eq!(own, text(child, "child_span"));
    let theirs: BTreeSet<&str> = [
        "session_id",
        "parent_id",
        "trace_id",
        "name",
        "description",
        "bundle",
        "model",
        "created",
        "last_updated",
        "turn_count",
        "working_dir",
        "agent_name",
        "child_span",
        "self_delegation_depth",
        "incremental",
        "amplifier",
    ]
    .into_iter()
    .collect();
    for one in [root, child] {
        let keys: BTreeSet<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(keys.is_subset(&theirs), "{:?}", keys.difference(&theirs));
        assert!(one["turn_count"].is_u64() && one["amplifier"].is_object(), "{one}");
    }
}

#[test]
fn settings_are_written_under_the_references_keys_and_its_registry_is_left_alone() {
    let project = TempProject::new();
    let registry =
        "{\"version\": 1, \"bundles\": {\"kit\": {\"uri\": \"file:///nowhere\", \"name\": \"kit\"}}}\n";
    std::fs::create_dir_all(project.home()).unwrap();
    std::fs::write(project.home().join("registry.json"), registry).unwrap();
    std::fs::write(
        project.home().join("settings.yaml"),
        "# mine\nconfig:\n  notifications: {desktop: true}\n",
    )
    .unwrap();
    project.bundle("near", "---\nbundle: {name: near}\n---\nx");
    let address = project.path().join(".amplifier/bundles/near.md").display().to_string();
    run(&project, ["bundle", "add", &address, "--name", "far", "--global"]).exits(0);
    run(&project, ["bundle", "use", "near", "--global"]).exits(0);
    let written = std::fs::read_to_string(project.home().join("settings.yaml")).unwrap();
    let lines: Vec<&str> = written.lines().map(str::trim_end).collect();
    assert!(lines.starts_with(&["# mine", "config:", "  notifications: {desktop: true}"]), "{written}");
    let at = |line: &str| {
        lines
            .iter()
            .position(|known| known.starts_with(line))
            .unwrap_or_else(|| panic!("no `{line}`: {written}"))
    };
    let bundle = at("bundle:");
    assert!(
        at("  active: near") > bundle && at("  added:") > bundle && at("    far: ") > at("  added:"),
        "{written}"
    );
    assert_eq!(std::fs::read_to_string(project.home().join("registry.json")).unwrap(), registry);
}
