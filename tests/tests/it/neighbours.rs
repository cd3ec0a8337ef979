//! Agents of other programs from the command line: listed, delegated to, and held to what their files say.

use amplifier_tests::process::run;
use amplifier_tests::project::{TempProject, metadata};
use amplifier_tests::server::{Reply, Server};
use serde_json::json;

use crate::delegate_default::settings;

const REVIEWER: &str = "---\nname: reviewer\ndescription: Reviews changes.\ntools: Read, Grep, Teleport\npermissionMode: plan\n\
                        maxTurns: 3\n---\nYou review.\n";

/// The names of the tools in a request.
fn tools(request: &serde_json::Value) -> Vec<&str> {
    let tools = request["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect()
}

#[test]
fn an_agent_of_claude_code_is_delegated_to_and_sees_only_its_tools() {
    let project = TempProject::new();
    project.write(".claude/agents/reviewer.md", REVIEWER);
    project.write("AGENTS.md", "Tabs, never spaces.");
    let delegate = json!({"agent": "reviewer", "instruction": "look", "context_depth": "none"});
    let server =
        Server::start([Reply::Call("delegate", delegate), Reply::Say("fine"), Reply::Say("it is fine")]);
    settings(&project, &server.url());
    let file = project.home().join("settings.yaml");
    let text = std::fs::read_to_string(&file).unwrap() + "agents: {claude: true}\n";
    std::fs::write(&file, text).unwrap();
    assert_eq!(run(&project, ["run", "review it"]).exits(0).stdout, "it is fine\n");
    let requests = server.requests();
    assert!(tools(&requests[0]).len() > 5, "{:?}", tools(&requests[0]));
    assert_eq!(tools(&requests[1]), ["read_file", "grep"]);
    let system = requests[1]["messages"][0]["content"].to_string();
    assert!(system.contains("You review.") && system.contains("Tabs, never spaces."), "{system}");
    let all: Vec<_> = project.sessions().iter().map(|folder| metadata(folder)).collect();
    let child = all.iter().find(|one| one["agent_name"] == "reviewer").unwrap();
    assert!(child["amplifier"]["permissions"].to_string().contains("agent reviewer"), "{child}");
    assert_eq!(child["amplifier"]["limits"]["max_turns"], 3, "{child}");
}

#[test]
fn agents_list_and_show_tell_where_an_agent_comes_from_and_what_it_does_not_get() {
    let project = TempProject::new();
    project.write(".claude/agents/reviewer.md", REVIEWER);
    project.bundle("kit", "---\nbundle: {name: kit}\nagents: {include_claude: true}\n---\nx");
    let done = run(&project, ["agents", "list", "-B", "kit"]).exits(0);
    assert!(
        done.stdout.contains("reviewer") && done.stdout.contains(".claude/agents/reviewer.md"),
        "{}",
        done.stdout
    );
    assert!(
        done.stderr.contains("reviewer.md:4:8: warning: the agent does not get Teleport"),
        "{}",
        done.stderr
    );
    let shown = run(&project, ["agents", "show", "reviewer", "-B", "kit", "--json"]).exits(0).json();
    assert_eq!(shown["allowed_tools"], json!(["read_file", "grep"]));
    assert_eq!((&shown["permission_mode"], &shown["max_turns"]), (&json!("plan"), &json!(3)));
}

#[test]
fn settings_of_a_project_that_nobody_trusts_switch_nothing_on() {
    let project = TempProject::new();
    project.write(".claude/agents/reviewer.md", REVIEWER);
    project.write(".amplifier/settings.yaml", "agents: {claude: true}\n");
    project.bundle("kit", "---\nbundle: {name: kit}\n---\nx");
    let done = run(&project, ["agents", "list", "-B", "kit"]).exits(0);
    assert!(!done.stdout.contains("reviewer"), "{}", done.stdout);
    run(&project, ["trust"]).exits(0);
    let done = run(&project, ["agents", "list", "-B", "kit"]).exits(0);
    assert!(done.stdout.contains("reviewer"), "{}", done.stdout);
}
