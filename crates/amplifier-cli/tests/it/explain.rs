//! `amplifier spawn --explain`: what a run would be, and which layer said so.

use serde_json::{Value, json};

use crate::kit::Place;

fn place() -> Place {
    let place = Place::new();
    let more = "tools: [{module: tool-filesystem}, {module: tool-nope}]\n\
                agents: {scout: {description: looks around, instruction: look, tools: [{module: tool-todo}]}}";
    place.bundle("b", "- text: hello", more);
    place
}

fn explain(place: &Place, more: &[&str]) -> Value {
    let mut args = vec!["spawn", "--explain", "-B", "b", "--json"];
    args.extend(more);
    place.run(&args).ok().json()
}

/// Modules of a kind with the layer of each.
fn modules<'a>(explained: &'a Value, kind: &str) -> Vec<(&'a str, &'a str)> {
    let all = explained["modules"].as_array().unwrap().iter().filter(|module| module["kind"] == kind);
    all.map(|module| (module["module"].as_str().unwrap(), module["from"].as_str().unwrap())).collect()
}

fn limit<'a>(explained: &'a Value, name: &str) -> (&'a Value, &'a str) {
    let limits = explained["limits"].as_array().unwrap();
    let found = limits.iter().find(|limit| limit["limit"] == name).unwrap_or_else(|| panic!("{explained}"));
    (&found["value"], found["set_by"].as_str().unwrap())
}

fn has_mode(explained: &Value, mode: &str) -> bool {
    explained["permissions"].as_array().unwrap().iter().any(|layer| layer["mode"] == mode)
}

#[test]
fn modules_are_told_with_the_layer_and_the_place_that_they_come_from() {
    let place = place();
    let explained = explain(&place, &[]);
    assert_eq!((&explained["bundle"], &explained["agents"]), (&json!("b"), &json!(["scout"])));
    assert_eq!(modules(&explained, "orchestrator"), [("loop-streaming", "bundle")]);
    assert_eq!(modules(&explained, "provider"), [("provider-scripted", "bundle")]);
    assert_eq!(modules(&explained, "tool"), [("tool-filesystem", "bundle")]);
    assert!(explained["left_out"].as_str().unwrap().contains("tool-nope"));
    let written = explained["modules"][0]["places"][0].as_str().unwrap();
    assert!(written.contains("b.yaml:"), "{written}");
    assert_eq!(place.sessions(), Vec::<String>::new(), "nothing is recorded");
}

#[test]
fn limits_and_permissions_are_told_with_who_set_them() {
    let place = place();
    place.write_home("settings.yaml", "limits: {max_tokens: 5000}\n");
    let explained = explain(&place, &["--max-turns", "7", "--permission-mode", "plan", "-m", "large"]);
    assert_eq!(limit(&explained, "turns"), (&json!(7), "flag --max-turns"));
    let (value, by) = limit(&explained, "tokens");
    assert!(*value == json!(5000) && by.contains("settings.yaml:1"), "{explained}");
    assert_eq!(limit(&explained, "depth"), (&json!(3), "the default"));
    assert!(has_mode(&explained, "plan"), "{explained}");
    assert_eq!(explained["model"], json!({"value": "large", "set_by": "flag --model"}));
    assert_eq!(explained["provider"], Value::Null);
    let args = ["spawn", "--explain", "-B", "b", "--json"];
    let with_variable = place.call(&args).env("AMPLIFIER_MAX_BUDGET_USD", "2.50").done().ok().json();
    assert_eq!(limit(&with_variable, "cost"), (&json!(2_500_000), "environment AMPLIFIER_MAX_BUDGET_USD"));
}

#[test]
fn an_agent_is_explained_as_the_session_would_spawn_it() {
    let place = place();
    let check = |explained: &Value| {
        assert_eq!((&explained["agent"], &explained["depth"]), (&json!("scout"), &json!(1)));
        assert_eq!(modules(explained, "tool"), [("tool-filesystem", "parent"), ("tool-todo", "agent")]);
        assert_eq!(modules(explained, "provider"), [("provider-scripted", "parent")]);
        assert_eq!(limit(explained, "turns"), (&json!(50), "the default"));
    };
    let ahead = explain(&place, &["--agent", "scout"]);
    check(&ahead);
    assert_eq!(ahead.get("parent"), None, "there is no such session yet");
    place.run(&["run", "-B", "b", "--session-id", "root", "--permission-mode", "plan", "hi"]).ok();
    let args = ["spawn", "--explain", "--agent", "scout", "--parent-session", "root", "--json"];
    let below = place.run(&args).ok().json();
    check(&below);
    assert!(below["parent"] == "root" && has_mode(&below, "plan"), "{below}");
    assert_eq!(place.sessions(), ["root"]);
    place
        .run(&["spawn", "--explain", "-B", "b", "--agent", "nobody"])
        .code(2)
        .says(&["no agent `nobody`", "scout"]);
}

#[test]
fn people_read_tables_and_a_prompt_changes_nothing() {
    let place = place();
    let args = ["spawn", "--explain", "-B", "b", "--max-budget-usd", "2.50", "--timeout", "15m", "do it"];
    let text = place.run(&args).ok().stdout;
    let has = |parts: &[&str]| {
        let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        assert!(line.is_some(), "{parts:?}: {text}");
    };
    has(&["bundle:", "b ("]);
    has(&["agents:", "scout"]);
    has(&["notice:", "left out", "tool-nope"]);
    has(&["tool ", "tool-filesystem", "bundle", "b.yaml:"]);
    has(&["default", "0", "mode default"]);
    has(&["max_cost", "2.500000 USD", "flag --max-budget-usd"]);
    has(&["timeout", "15m", "flag --timeout"]);
    has(&["max_depth", "3", "the default"]);
    let done = place.run(&["spawn", "--explain", "--resume", "x", "--fork-session"]).code(2);
    done.says(&["--explain makes nothing"]);
}
