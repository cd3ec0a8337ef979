//! Delegating from the command line: the example, a restart between two calls, the agents of the built-in bundle.

use std::path::{Path, PathBuf};

use amplifier_tests::process::{call, run};
use amplifier_tests::project::{TempProject, metadata, transcript};
use amplifier_tests::server::{Reply, Server};
use serde_json::{Value, json};

use crate::delegate_default::settings;

/// The session of an agent, by its metadata.
fn session_of(project: &TempProject, agent: &str) -> (PathBuf, Value) {
    let mut all = project.sessions().into_iter().map(|folder| (folder.clone(), metadata(&folder)));
    all.find(|(_, metadata)| metadata["agent_name"] == agent).unwrap()
}

#[test]
fn the_example_delegate_answers_with_what_its_agent_found() {
    let project = TempProject::new();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_str().unwrap();
    let args = ["run", "-C", workspace, "-B", "docs/examples/delegate", "What changed last?"];
    let done = run(&project, args).exits(0);
    let expected = [
        "The reader (success) says:",
        "CHANGES.md begins like this:",
        "2.1  The parser reads dates with a time zone.",
    ];
    expected.iter().for_each(|line| assert!(done.stdout.contains(line), "{}", done.stdout));
    let (folder, metadata) = session_of(&project, "reader");
    assert_eq!(project.sessions().len(), 2);
    assert!(metadata["amplifier"]["permissions"].to_string().contains("agent delegate:reader"), "{metadata}");
    assert!(transcript(&folder)[0]["content"].as_str().unwrap().contains("What changed last? Look into"));
}

#[test]
fn a_child_goes_on_in_a_later_process() {
    let project = TempProject::new();
    let root = json!({"script": [
        {"when": {"turn": 1}, "tool_calls": [{"tool": "delegate", "arguments": {"agent": "helper", "instruction": "first"}}]},
        {"when": {"turn": 2}, "tool_calls": [{"tool": "delegate", "arguments": {"session_id": "{{prompt}}", "instruction": "second"}}]},
        {"when": {"after_tool": "delegate"}, "text": "{{result.status}}: {{result.response}}"}]});
    let helper = json!({"script": [
        {"when": {"turn": 1}, "text": "one"}, {"when": {"turn": 2}, "text": "two, after one"}]});
    let agents = json!({"helper": {"instruction": "You help.", "providers": [{"module": "provider-scripted", "config": helper}]}});
    project.bundle(
        "lead",
        format!(
            "---\nbundle: {{name: lead}}\nsession: {{orchestrator: loop-basic, context: context-simple}}\n\
             providers: {}\ntools: [{{module: tool-delegate}}]\nagents: {agents}\n---\nYou lead.\n",
            json!([{"module": "provider-scripted", "config": root}])
        ),
    );
    assert_eq!(run(&project, ["run", "-B", "lead", "begin"]).exits(0).stdout, "success: one\n");
    let (folder, _) = session_of(&project, "helper");
    let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(run(&project, ["continue", id.as_str()]).exits(0).stdout, "success: two, after one\n");
    assert_eq!((project.sessions().len(), transcript(&folder).len()), (2, 4));
}

#[test]
fn of_the_built_in_agents_one_reads_and_one_builds() {
    let work = |agent: &str, file: &str| {
        [
            Reply::Call("delegate", json!({"agent": agent, "instruction": "write it"})),
            Reply::Call("write_file", json!({"path": file, "content": "by an agent"})),
            Reply::Say("I have tried"),
            Reply::Say("over"),
        ]
    };
    let (project, server) = (TempProject::new(), Server::start([]));
    settings(&project, &server.url());
    for (agent, file) in [("explorer", "explored.txt"), ("default:builder", "built.txt")] {
        work(agent, file).into_iter().for_each(|reply| server.then(reply));
        assert_eq!(call(&project, ["run", "go"]).done().exits(0).stdout, "over\n");
    }
    assert!(!project.path().join("explored.txt").exists());
    assert_eq!(project.read("built.txt"), "by an agent");
    let requests = server.requests();
    let refusal = requests[2]["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    assert!(refusal.contains("(agent default:explorer)"), "{refusal}");
    let result = requests[3]["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    assert!(result.contains("I have tried") && result.contains("success"), "{result}");
    let shown = run(&project, ["bundle", "show", "default"]).exits(0).stdout;
    for part in ["tool-delegate", "explorer", "builder"] {
        assert!(shown.contains(part), "{shown}");
    }
}
