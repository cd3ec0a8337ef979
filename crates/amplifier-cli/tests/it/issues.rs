//! `tool-issue` in the built program: what one process writes, the next one reads.

use serde_json::{Value, json};

use crate::kit::Place;

const SCRIPT: &str = r#"- {when: {prompt: survey}, tool_calls: [{tool: issue_manager, arguments: {operation: create, params: {issue_id: a, title: Survey, priority: high}}}]}
- {when: {prompt: build}, tool_calls: [{tool: issue_manager, arguments: {operation: create, params: {issue_id: b, title: Build, depends_on: [a]}}}]}
- {when: {prompt: finish}, tool_calls: [{tool: issue_manager, arguments: {operation: update, params: {issue_id: a, status: completed}}}]}
- {when: {prompt: look}, tool_calls: [{tool: issue_manager, arguments: {operation: get_ready}}]}
- {when: {after_tool: issue_manager}, text: done}"#;

/// The results of the tool in the session's transcript, in order.
fn results(place: &Place, session: &str) -> Vec<Value> {
    let folder = walk(&place.home(), session);
    let text = std::fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["role"] == "tool")
        .map(|line| serde_json::from_str(line["content"].as_str().unwrap()).unwrap())
        .collect()
}

fn walk(below: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut next = vec![below.to_owned()];
    while let Some(here) = next.pop() {
        if here.file_name().is_some_and(|file| file == name) {
            return here;
        }
        let entries = std::fs::read_dir(&here).into_iter().flatten().flatten();
        next.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    panic!("there is no {name} below {}", below.display())
}

#[test]
fn issues_outlive_the_process_that_opened_them() {
    let place = Place::new();
    place.bundle("b", SCRIPT, "tools: [{module: tool-issue}]");
    let run = |prompt: &str| {
        let told = place.run(&["run", "-B", "b", "--output-format", "json", prompt]).ok().json();
        told["session_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(results(&place, &run("survey"))[0]["issue"]["priority"], 1);
    assert_eq!(results(&place, &run("build"))[0]["issue"]["depends_on"], json!(["a"]));
    assert_eq!(results(&place, &run("finish"))[0]["issue"]["status"], "completed");
    let ready = results(&place, &run("look")).remove(0);
    assert_eq!((&ready["ready_issues"][0]["id"], &ready["count"]), (&json!("b"), &json!(1)));
    let events = place.run(&["event", "replay", "issue_*", "--json"]).ok().stdout;
    let names: Vec<String> = events
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            format!("{} {}", event["type"].as_str().unwrap(), event["data"]["issue_id"].as_str().unwrap())
        })
        .collect();
    assert_eq!(names, ["issue_opened a", "issue_opened b", "issue_completed a", "issue_unblocked b"]);
    place.run(&["event", "emit", "issue_completed", "{}"]).code(2);
}
