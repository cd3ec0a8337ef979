//! The examples `chain` and `nightly`, as the README runs them: an owner in one shell, a person in another.

use std::path::Path;

use amplifier_tests::process::{Running, call, run};
use amplifier_tests::project::TempProject;
use amplifier_tests::skipped;
use serde_json::Value;

const CHAIN: &str = "docs/examples/chain";
const NIGHTLY: &str = "docs/examples/nightly";

/// A project that holds these files of the examples and nothing else.
fn project(files: &[&str]) -> TempProject {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let project = TempProject::new();
    for file in files {
        project.write(file, std::fs::read(workspace.join(file)).unwrap());
    }
    project
}

fn start(project: &TempProject, example: &str) -> Running {
    let owner = call(project, ["background", "start", "-B", example]).start();
    owner.told("Ctrl+C ends it");
    owner
}

fn end(project: &TempProject, owner: Running) {
    run(project, ["background", "stop"]).exits(0);
    owner.wait().exits(0);
}

/// Changes a note until somebody has read it: who watches may just be about to begin. The runs of that.
fn read_a_note(project: &TempProject) -> Vec<Value> {
    let field = "data.session_name=notes";
    let wait =
        ["event", "wait", "background:spawn:completed", "--field", field, "--from", "1", "--timeout", "3s"];
    let read = (0..10).any(|cup| {
        project.write("docs/examples/nightly/notes/today.md", format!("- {cup} cups of tea\n"));
        run(project, wait).code == Some(0)
    });
    assert!(read, "nobody reads the note");
    let report = run(project, ["runs", "--background", "notes", "--json"]).exits(0).json();
    report["runs"].as_array().unwrap().clone()
}

#[test]
fn three_background_sessions_follow_each_other_and_the_result_can_be_seen() {
    let project = project(&["docs/examples/chain/bundle.md"]);
    let owner = start(&project, CHAIN);
    run(&project, ["background", "fire", "-B", CHAIN, "plan", "{\"what\": \"a door\"}"]).exits(0);
    run(&project, ["event", "wait", "chain:done", "--from", "1", "--timeout", "20s"]).exits(0);
    let report = run(&project, ["runs", "--json"]).exits(0).json();
    let told: Vec<_> = report["runs"].as_array().unwrap().iter().collect();
    let of = |name: &str| *told.iter().find(|run| run["background_session"] == name).unwrap();
    assert_eq!(told.len(), 3, "{report:#}");
    assert_eq!(of("check")["result"], "Checked: it opens and it closes.");
    let text = run(&project, ["runs"]).exits(0).stdout;
    assert!(text.contains("Checked: it opens and it closes."), "{text}");
    let last = of("check")["number"].to_string();
    let shown = run(&project, ["runs", "show", &last, "--json"]).exits(0).json();
    let began: Vec<_> =
        shown["chain"].as_array().unwrap().iter().filter(|link| link["kind"] == "run").collect();
    assert_eq!(began.len(), 3, "each run is in the chain of the last: {shown:#}");
    let listed = run(&project, ["trigger", "list", "-B", CHAIN, "--json"]).exits(0).json();
    let waits: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["waits_for"].as_str().unwrap()).collect();
    assert_eq!(waits, ["by hand", "on chain:planned", "on chain:built"]);
    assert!(listed[1]["last_fired"].is_string() && listed[1]["state"] == "watching", "{listed:#}");
    end(&project, owner);
}

#[test]
fn the_report_of_the_night_can_be_had_at_once_and_a_note_is_read_when_it_changes() {
    let files = ["docs/examples/nightly/bundle.md", "docs/examples/nightly/notes/plans.md"];
    let project = project(&files);
    let owner = start(&project, NIGHTLY);
    let told = run(&project, ["background", "fire", "-B", NIGHTLY, "report", "--wait"]).exits(0);
    assert_eq!(told.stdout, "The night was quiet. One plan is open: water the plants.\n");
    if cfg!(not(target_os = "linux")) {
        skipped("a note is read when it changes", "notices of files are looked for on Linux");
        return end(&project, owner);
    }
    let runs = read_a_note(&project);
    assert_eq!(runs[0]["result"], "I have read the note; nothing in it is urgent.");
    assert_eq!(runs[0]["trigger"]["type"], "file_change");
    let history = run(&project, ["trigger", "history", "notes/changed", "--json"]).exits(0).json_lines();
    assert_eq!((history[0]["became"].as_str(), history.len()), (Some("completed"), runs.len()));
    let simulate = [
        "trigger",
        "simulate",
        "--config",
        "docs/examples/nightly/bundle.md",
        "--from",
        "2026-03-28T00:00Z",
        "--count",
        "2",
        "--json",
    ];
    let due: Vec<_> = run(&project, simulate).exits(0).json_lines();
    assert_eq!(
        (&due[0]["due"], &due[0]["trigger"]),
        (&"2026-03-28T02:00:00Z".into(), &"report/night".into())
    );
    assert_eq!(due[1]["due"], "2026-03-29T01:00:00Z", "clocks have gone forward");
    end(&project, owner);
}
