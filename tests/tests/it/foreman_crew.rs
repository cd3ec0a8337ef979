//! The example of a crew, as the README tells it, with the built `foreman`.

use std::path::Path;

use amplifier_tests::process::{Done, call_foreman};
use amplifier_tests::project::TempProject;
use nix::sys::signal::Signal;
use serde_json::Value;

fn foreman(project: &TempProject, args: &[&str]) -> Done {
    call_foreman(project, args).done()
}

fn example() -> TempProject {
    let project = TempProject::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/examples/crew");
    for file in [
        "foreman.yaml",
        "issues.jsonl",
        "coding/bundle.md",
        "research/bundle.md",
        "testing/bundle.md",
        "bundle.md",
    ] {
        project.write(file, std::fs::read(from.join(file)).unwrap());
    }
    project
}

/// What happened to issues, in the order of the log: `<event> <issue>`.
fn log(project: &TempProject) -> Vec<String> {
    let told = amplifier_tests::process::run(project, ["event", "replay", "issue_*", "--json"]).exits(0);
    let entry = |event: Value| {
        format!("{} {}", event["type"].as_str().unwrap(), event["data"]["issue_id"].as_str().unwrap())
    };
    told.json_lines().into_iter().map(entry).collect()
}

#[test]
fn ten_issues_are_done_once_in_their_order_one_after_a_question_and_one_by_another_pool() {
    let project = example();
    let daemon = call_foreman(&project, ["start", "--foreground"]).start();
    daemon.told("works on issues");
    foreman(&project, &["import", "issues.jsonl"]).exits(0);
    // All that does not hang on the question is done.
    foreman(&project, &["wait", "parser-tests", "leap-tests", "importer", "--timeout", "30s"]).exits(0);
    let asked = foreman(&project, &["issue", "show", "zones", "--json"]).exits(0).json();
    assert_eq!(asked["issue"]["status"], "pending_user_input");
    assert!(asked.to_string().contains("Which zone does a time without one mean"), "{asked}");
    foreman(&project, &["issue", "answer", "release", "yes"]).exits(2);
    foreman(&project, &["issue", "answer", "zones", "UTC"]).exits(0);
    foreman(&project, &["issue", "answer", "zones", "local"]).exits(2);
    foreman(&project, &["wait", "release", "--timeout", "30s"]).exits(0);
    daemon.signal(Signal::SIGTERM);
    daemon.wait().exits(143);

    let log = log(&project);
    let place = |entry: &str| {
        let found: Vec<usize> = (0..log.len()).filter(|at| log[*at] == entry).collect();
        assert_eq!(found.len(), 1, "{entry} in {log:#?}");
        found[0]
    };
    for (first, then) in [
        ("formats", "parser"),
        ("parser", "parser-tests"),
        ("leap", "leap-tests"),
        ("zone-tests", "release"),
        ("importer", "release"),
        ("changelog", "release"),
    ] {
        assert!(place(&format!("issue_completed {first}")) < place(&format!("issue_started {then}")));
    }
    assert!(place("issue_question zones") < place("issue_answered zones"));
    assert!(place("issue_answered zones") < place("issue_completed zones"));
    assert!(place("issue_retried importer") < place("issue_escalated importer"));
    assert!(place("issue_escalated importer") < place("issue_completed importer"));
    // The one that asked goes on in the session in which it asked.
    let of_zones = project
        .sessions()
        .into_iter()
        .filter(|folder| amplifier_tests::project::metadata(folder)["issue_id"] == "zones");
    assert_eq!(of_zones.count(), 1);
}

#[test]
fn a_request_is_taken_apart_into_issues_that_depend_on_each_other() {
    let project = example();
    let told = foreman(&project, &["chat", "-B", ".", "Make the date parser ready for the release"]).exits(0);
    assert!(told.stdout.starts_with("Three issues:"), "{}", told.stdout);
    let issues = foreman(&project, &["issue", "list", "--all", "--json"]).exits(0).stdout;
    for id in ["leap", "zones", "zone-tests"] {
        assert!(issues.contains(&format!("\"{id}\"")), "{id} in {issues}");
    }
    let tests = foreman(&project, &["issue", "show", "zone-tests", "--json"]).exits(0).json();
    assert_eq!(tests["issue"]["depends_on"].as_array().unwrap().len(), 2, "{tests}");
}
