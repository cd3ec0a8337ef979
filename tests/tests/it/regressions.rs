//! Faults of the reference system that show at the command line, each under its number in `docs/regressions.md`.

use std::time::{Duration, SystemTime};

use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::run;
use amplifier_tests::project::{TempProject, transcript};
use serde_json::{Value, json};

/// A project with the bundle `b`, which follows a script.
fn project(script: Value) -> TempProject {
    let project = TempProject::new();
    let bundle = BundleText::bare("b").orchestrator("loop-streaming").context("context-simple");
    let bundle = bundle.provider("provider-scripted", json!({"script": script, "default": "done"}));
    let bundle = bundle.tool("tool-filesystem").tool("tool-delegate");
    let agents = json!({"reader": {"description": "reads", "instruction": "You read."}});
    project.bundle("b", bundle.section("agents", agents));
    project
}

/// Its first session delegates once.
fn family() -> TempProject {
    let task = json!({"agent": "reader", "instruction": "look"});
    let project = project(json!([
        {"when": {"prompt": "go"}, "tool_calls": [{"tool": "delegate", "arguments": task}]},
    ]));
    run(&project, ["run", "-B", "b", "--session-id", "root", "go"]).exits(0);
    assert_eq!(project.sessions().len(), 2);
    project
}

#[test]
fn fault_43_a_fork_with_an_underscore_in_its_name_is_listed() {
    let project = project(json!([]));
    run(&project, ["run", "-B", "b", "--session-id", "first", "hi"]).exits(0);
    let fork = ["session", "fork", "first", "-n"];
    run(&project, [&fork[..], &["my_copy"]].concat()).exits(0);
    let listed = run(&project, ["session", "list", "--json"]).exits(0).json();
    let mut ids: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["session_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["first", "my_copy"]);
    run(&project, ["run", "--resume", "my_copy", "on"]).exits(0);
    for name in ["../up", "a/b", "..", "first"] {
        run(&project, [&fork[..], &[name]].concat()).exits(2);
    }
    assert_eq!(project.sessions().len(), 2);
}

#[test]
fn fault_44_an_argument_that_is_null_stays() {
    let arguments = json!({"path": "a.txt", "offset": null, "more": {"deep": [null]}});
    let project = project(json!([
        {"when": {"prompt": "go"}, "tool_calls": [{"tool": "read_file", "arguments": arguments}]},
    ]));
    run(&project, ["run", "-B", "b", "go"]);
    let said = transcript(&project.session());
    assert_eq!(said[1]["tool_calls"][0]["arguments"], arguments, "{said:#?}");
}

#[test]
fn fault_45_what_a_session_spawned_is_deleted_and_cleaned_up_with_it() {
    let project = family();
    run(&project, ["session", "delete", "root", "-f"]).exits(0);
    assert_eq!(project.sessions(), Vec::<std::path::PathBuf>::new());
    let project = family();
    // The child was written to today, and its parent was not: they go by the parent.
    let month = SystemTime::now() - Duration::from_secs(40 * 24 * 60 * 60);
    let root = project.sessions().into_iter().find(|folder| folder.ends_with("root")).unwrap();
    for entry in std::fs::read_dir(&root).unwrap() {
        let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(month).unwrap();
    }
    run(&project, ["session", "cleanup", "-f"]).exits(0);
    assert_eq!(project.sessions(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn fault_46_parallel_calls_of_one_name_each_have_their_own_result_in_the_trace() {
    let read = |name: &str| json!({"tool": "read_file", "arguments": {"path": name}});
    let project = project(json!([
        {"when": {"prompt": "go"}, "tool_calls": [read("a.txt"), read("b.txt"), read("c.txt")]},
    ]));
    for name in ["a", "b", "c"] {
        project.write(&format!("{name}.txt"), format!("this is {name}\n"));
    }
    let done = run(&project, ["run", "-B", "b", "--output-format", "json-trace", "go"]).exits(0).json();
    let trace = done["execution_trace"].as_array().unwrap();
    assert_eq!(trace.len(), 3);
    for call in trace {
        let name = &call["arguments"]["path"].as_str().unwrap()[..1];
        let output = call["result"]["output"].as_str().unwrap();
        assert!(output.contains(&format!("this is {name}")), "{call}");
    }
}

#[test]
fn fault_51_a_foreman_keeps_its_conversation_and_heeds_its_hooks() {
    let project = TempProject::new();
    let create =
        json!([{"tool": "issue_manager", "arguments": {"operation": "create", "params": {"title": "no"}}}]);
    let script = json!([{"when": {"prompt": "build"}, "tool_calls": create}]);
    let hooks = json!({"rules": [{"tool": "issue_manager", "action": "deny"}]});
    let lead = BundleText::bare("lead").orchestrator_with("orchestrator-foreman", json!({}));
    let lead = lead.context("context-simple").tool("tool-issue");
    let lead = lead.provider("provider-scripted", json!({"script": script, "default": "{{prompt}}"}));
    project.bundle("lead", lead.section("hooks", json!([{"module": "hooks-approval", "config": hooks}])));
    run(&project, ["run", "-B", "lead", "--session-id", "s", "turn 0"]).exits(0);
    for turn in 1..8 {
        run(&project, ["run", "--resume", "s", &format!("turn {turn}")]).exits(0);
    }
    run(&project, ["run", "--resume", "s", "build"]);
    let said = transcript(&project.session());
    let shape: Vec<&str> = said.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(shape.len(), 8 * 2 + 4, "{shape:?}");
    assert_eq!(shape[16..], ["user", "assistant", "tool", "assistant"], "tool turns are kept");
    assert_eq!(said[18]["metadata"]["is_error"], true, "{}", said[18]);
    let issues = run(&project, ["session", "show", "s", "--json"]).exits(0);
    assert_eq!(issues.json()["session_id"], "s");
    let listed = amplifier_tests::process::call_foreman(&project, ["issue", "list", "--all", "--json"]);
    assert_eq!(listed.done().exits(0).json(), json!([]));
}
