//! Workers that are another agent's command line.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::kit::Place;

const AGENT: &str = include_str!("../../../../tests/agents/agent.sh");

#[test]
fn claude_works_on_a_file_of_issues() {
    let place = Place::new();
    let bin = place.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("claude"), AGENT).unwrap();
    std::fs::set_permissions(bin.join("claude"), PermissionsExt::from_mode(0o755)).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/claude-worker");
    let issues = example.join("issues.jsonl");
    let (bundle, issues) = (example.to_str().unwrap(), issues.to_str().unwrap());
    let args = ["run", issues, "-B", bundle, "--max-concurrent", "1", "--json"];
    let done = place.run_behind(&bin, &args).exits(0);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let worked: Vec<&Value> = lines.iter().filter(|line| line["type"] == "issue").collect();
    let of = |line: &Value| {
        [&line["issue_id"], &line["outcome"], &line["num_turns"], &line["total_cost_usd"]].map(Value::clone)
    };
    assert_eq!(
        of(worked[0]),
        [json!("list"), json!("completed"), json!(3), json!(0.0123)],
        "{}",
        done.stdout
    );
    assert_eq!(worked[1]["response"], "There are two files.");
    assert!(done.stdout.contains("There are two files."), "{}", done.stdout);
    let prompts = std::fs::read_to_string(place.path("prompts.log")).unwrap();
    assert!(prompts.contains("List what is here") && prompts.contains("Check the list"), "{prompts}");
    assert!(prompts.contains("nobody can answer a question"), "the bundle's instruction: {prompts}");
    let summary = lines.last().unwrap();
    assert_eq!((&summary["completed"], &summary["total_cost_usd"]), (&json!(2), &json!(0.0246)));
}
