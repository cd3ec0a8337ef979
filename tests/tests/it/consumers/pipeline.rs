//! The example `pipeline`, as the README runs it: two bundles that talk, each in a process of its own.

use std::path::Path;

use amplifier_tests::process::{Done, call, run};
use amplifier_tests::project::TempProject;
use serde_json::Value;

const WRITER: &str = "docs/examples/pipeline/writer";
const REVIEWER: &str = "docs/examples/pipeline/reviewer";
const ANSWER: &str = "A page about caches: good, but shorter (received)";

/// A project that holds the example and nothing else.
fn project() -> TempProject {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let project = TempProject::new();
    for bundle in [WRITER, REVIEWER] {
        let path = format!("{bundle}/bundle.md");
        project.write(&path, std::fs::read(workspace.join(&path)).unwrap());
    }
    project
}

fn write(project: &TempProject) -> Done {
    run(project, ["run", "-B", WRITER, "A page about caches"])
}

fn review(project: &TempProject) -> Done {
    run(project, ["run", "-B", REVIEWER, "Review the next draft"])
}

/// Both events are in the log, the second because of the first, and `why` tells how.
fn check_log(project: &TempProject) {
    let events = run(project, ["event", "replay", "--json", "draft:*,review:*"]).exits(0).json_lines();
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["draft:ready", "review:done"]);
    let (draft, review) = (&events[0], &events[1]);
    assert_eq!((&review["causationid"], &review["correlationid"]), (&draft["id"], &draft["id"]));
    assert_ne!(draft["subject"], review["subject"]);
    let why = run(project, ["event", "why", review["id"].as_str().unwrap(), "--json"]).exits(0).json_lines();
    let told = |line: &Value| match line["kind"].as_str().unwrap() {
        "event" => line["event"]["type"].as_str().unwrap().to_owned(),
        _ => line["bundle"].as_str().unwrap().to_owned(),
    };
    assert_eq!(
        why.iter().map(told).collect::<Vec<_>>(),
        ["writer", "draft:ready", "reviewer", "review:done"]
    );
    let text = run(project, ["event", "why", review["id"].as_str().unwrap()]).exits(0).stdout;
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.starts_with("session  ") && text.contains("writer  completed"), "{text}");
}

#[test]
fn the_reviewer_finds_a_draft_from_before_it_began() {
    let project = project();
    let begun = run(&project, ["run", "--background", "-B", WRITER, "A page about caches"]).exits(0);
    let writer = begun.stdout.trim().to_owned();
    // Only then the reviewer comes too late to be there already.
    run(&project, ["event", "wait", "draft:ready", "--from", "1", "--timeout", "20s"]).exits(0);
    assert_eq!(review(&project).exits(0).stdout, "Reviewed.\n");
    let end = ["event", "wait", "session:end", "--session", &writer, "--timeout", "20s", "--json"];
    let ended = run(&project, end).exits(0).json();
    assert_eq!((&ended["type"], &ended["data"]["output"]), (&"session_completed".into(), &ANSWER.into()));
    check_log(&project);
}

#[test]
fn the_reviewer_that_waits_first_is_given_the_draft() {
    let project = project();
    let args = ["run", "-B", REVIEWER, "--output-format", "stream-json", "Review the next draft"];
    let reviewer = call(&project, args).start();
    reviewer.printed("\"tool_start\"");
    assert_eq!(write(&project).exits(0).stdout, format!("{ANSWER}\n"));
    reviewer.wait().exits(0);
    check_log(&project);
}
