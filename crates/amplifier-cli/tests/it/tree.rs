//! Sessions below others: by `--parent-session`, and how a tree is shown.

use std::fs;

use serde_json::{Value, json};

use crate::kit::{Done, Place};

const ROOT: &str = "a1b2c3d4-e5f6-4a1b-8c2d-3e4f5a6b7c8d";

/// A root, and a child of it that an agent of its own kind runs.
fn with_child() -> (Place, String) {
    let place = Place::new();
    let arguments = "{agent: self, instruction: job, context_depth: none}";
    let script = format!(
        "- {{when: {{prompt: go}}, tool_calls: [{{tool: delegate, arguments: {arguments}}}]}}\n\
         - {{when: {{after_tool: delegate}}, text: the answer}}\n- {{text: 'done: {{{{prompt}}}}'}}"
    );
    place.bundle("b", &script, "tools: [{module: tool-delegate}]");
    place.run(&["run", "-B", "b", "--session-id", ROOT, "--name", "first", "go"]).ok();
    let tree = place.run(&["session", "tree", ROOT, "--json"]).ok().json();
    let child = tree["children"][0]["session_id"].as_str().unwrap().to_owned();
    (place, child)
}

fn below(place: &Place, parent: &str, more: &[&str]) -> Done {
    let mut args = vec!["run", "-B", "b", "--parent-session", parent];
    args.extend(more);
    args.push("hello");
    place.run(&args)
}

fn shown(place: &Place, id: &str) -> Value {
    place.run(&["session", "show", id, "--json"]).ok().json()
}

#[test]
fn a_tree_is_shown_with_depth_who_runs_and_how_it_ended() {
    let (place, child) = with_child();
    below(&place, &child, &["--session-id", "deep"]).ok();
    place.run(&["run", "-B", "b", "--session-id", "other", "hi"]).ok();
    let lines = place.run(&["session", "tree"]).ok().stdout;
    let found: Vec<&str> = lines.lines().map(str::trim_end).collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(found[0]), ["SESSION", "STATUS", "TURNS", "AGENT", "OR", "BUNDLE", "NAME"]);
    assert_eq!(words(found[1]), ["other", "completed", "1", "b"]);
    assert_eq!(words(found[2]), [ROOT, "completed", "1", "b", "first"]);
    assert_eq!(words(found[3]), [child.as_str(), "completed", "1", "self"]);
    assert_eq!(words(found[4]), ["deep", "completed", "1", "b"]);
    assert!(found[3].starts_with("  ") && found[4].starts_with("    deep"), "{lines}");
    let tree = place.run(&["session", "tree", "--json"]).ok().json();
    assert_eq!((tree.as_array().unwrap().len(), &tree[1]["session_id"]), (2, &json!(ROOT)));
    let nested = &tree[1]["children"][0];
    assert_eq!((&nested["agent_name"], &nested["status"]), (&json!("self"), &json!("completed")));
    assert_eq!(nested["children"][0]["session_id"], "deep");
    let part = place.run(&["session", "tree", &child, "--json"]).ok().json();
    assert_eq!((&part["session_id"], &part["children"][0]["session_id"]), (&json!(child), &json!("deep")));
    place.run(&["session", "tree", "-n", "1"]).ok().says(&["1 more trees are not shown"]);
}

#[test]
fn a_damaged_session_is_in_the_tree_with_its_fault() {
    let (place, child) = with_child();
    fs::write(place.session_folder(&child).join("metadata.json"), "{ broken").unwrap();
    let lines = place.run(&["session", "tree"]).ok().stdout;
    let line = lines.lines().nth(2).unwrap();
    assert!(line.starts_with(&format!("  {child}  damaged")), "{lines}");
    let tree = place.run(&["session", "tree", "--json"]).ok().json();
    let damaged = &tree[0]["children"][0];
    assert_eq!((&damaged["status"], &damaged["oddity"]), (&json!("damaged"), &json!("placed by its id")));
    assert!(damaged["damage"].is_string(), "{damaged}");
    // A parent that is gone hides no child.
    let (place, child) = with_child();
    fs::remove_dir_all(place.session_folder(ROOT)).unwrap();
    let done = place.run(&["session", "tree"]).ok();
    assert!(done.stdout.contains("the session that spawned it is not there"), "{done:?}");
    assert!(done.stdout.contains(&child), "{done:?}");
    let empty = Place::new().run(&["session", "tree"]).ok().says(&["begin one with"]);
    assert_eq!(empty.stdout, "");
}

#[test]
fn a_tree_of_a_process_that_was_killed_says_what_is_lost() {
    let place = Place::new();
    let arguments = "{agent: self, instruction: job, context_depth: none, background: true}";
    let script = format!(
        "- {{when: {{prompt: go}}, tool_calls: [{{tool: delegate, arguments: {arguments}}}]}}\n\
         - {{text: late, delay_ms: 60000}}"
    );
    place.bundle("b", &script, "tools: [{module: tool-delegate}]");
    let args = ["run", "-B", "b", "--session-id", ROOT, "--output-format", "stream-json", "go"];
    let mut running = place.call(&args).start();
    running.until(|line| line["type"] == "user" && line["parent_session_id"].is_string());
    let status = || {
        let tree = place.run(&["session", "tree", ROOT, "--json"]).ok().json();
        [&tree, &tree["children"][0]].map(|one| one["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(status(), ["running", "running"]);
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(running.done().code, None);
    assert_eq!(status(), ["lost", "lost"]);
}

#[test]
fn a_run_below_a_session_is_its_child_and_can_go_on() {
    let (place, _) = with_child();
    let done = below(&place, "a1b2", &["--output-format", "stream-json"]).ok();
    let lines = done.lines();
    assert!(lines.iter().all(|line| line["parent_session_id"] == ROOT), "{done:#?}");
    let inits = lines.iter().filter(|line| line["subtype"] == "init").count();
    assert_eq!((inits, &lines[0]["subtype"]), (1, &json!("init")), "{done:#?}");
    let end = lines.last().unwrap();
    assert_eq!((&end["result"], &end["children"]), (&json!("done: hello"), &json!([])));
    let id = end["session_id"].as_str().unwrap();
    assert!(id.starts_with("e5f64a1b8c2d3e4f-") && id.ends_with("_b"), "{id}");
    let child = shown(&place, id);
    assert_eq!((&child["parent_id"], &child["root_id"]), (&json!(ROOT), &json!(ROOT)));
    let text = place.run(&["session", "show", id]).ok().stdout;
    assert!(text.contains("parent_id:   a1b2") && text.contains("root_id:     a1b2"), "{text}");
    let top = place.run(&["session", "list", "--json"]).ok().json();
    assert_eq!(top.as_array().unwrap().len(), 1, "{top}");
    let tree = place.run(&["session", "tree", ROOT, "--json"]).ok().json();
    assert_eq!(tree["children"][1]["session_id"], id);
    assert_eq!(place.run(&["run", "--resume", id, "more"]).ok().stdout, "done: more\n");
    assert_eq!(shown(&place, id)["parent_id"], ROOT, "a resume keeps the parent");
}

#[test]
fn a_run_below_a_session_may_have_its_provider_and_says_if_that_is_scripted() {
    let (place, _) = with_child();
    let text = "bundle: {name: bare, version: 1.0.0, description: for tests}\n\
                session: {orchestrator: loop-streaming, context: context-simple}\n";
    place.write(".amplifier/bundles/bare.yaml", text);
    place.run(&["run", "-B", "bare", "hello"]).code(2).says(&["no provider is configured"]);
    let run = |args: &[&str]| place.run(args).ok().says(&["provider scripted answers from a script"]);
    let below = ["run", "-B", "bare", "--parent-session", ROOT, "--session-id", "bare", "hello"];
    assert_eq!(run(&below).stdout, "done: hello\n");
    assert_eq!(run(&["run", "--resume", "bare", "more"]).stdout, "done: more\n");
}

#[test]
fn a_run_below_a_session_has_its_bounds() {
    let place = Place::new();
    let script = "- {when: {prompt: hello}, tool_calls: [{tool: write_file, arguments: {path: x.txt, content: x}}], cost_usd: 0.00001}
- {text: done, cost_usd: 0.00001}";
    place.bundle("b", script, "tools: [{module: tool-filesystem}]");
    let root =
        ["run", "-B", "b", "--session-id", "plan", "--permission-mode", "plan", "--max-turns", "1", "hi"];
    place.run(&root).ok();
    let bypass =
        ["--permission-mode", "bypassPermissions", "--max-turns", "9", "--output-format", "stream-json"];
    let done = below(&place, "plan", &bypass).code(3);
    assert_eq!(done.lines().last().unwrap()["subtype"], "error_max_turns");
    assert!(!place.project().join("x.txt").exists(), "a session that only reads has a child that writes");
    // Depth is one of the bounds.
    let depth = |args: &[&str]| place.call(args).env("AMPLIFIER_MAX_SPAWN_DEPTH", "0").done();
    depth(&["run", "-B", "b", "--session-id", "flat", "hi"]).ok();
    let args = ["run", "-B", "b", "--parent-session", "flat", "--output-format", "json", "hi"];
    let object = place.run(&args).code(3).says(&["max_depth is reached: 0 of 0"]).json();
    assert_eq!((&object["status"], &object["error_type"]), (&json!("error"), &json!("limit")));
}

#[test]
fn a_run_below_a_session_of_another_project_belongs_to_that() {
    let (place, _) = with_child();
    let elsewhere = place.project().join("sub");
    fs::create_dir(&elsewhere).unwrap();
    let args = ["run", "-B", "b", "--parent-session", ROOT, "--session-id", "sub", "hi"];
    let done = place.call(&args).cwd(&elsewhere).done().ok();
    assert_eq!(done.stdout, "done: hi\n");
    let child = shown(&place, "sub");
    assert_eq!(child["parent_id"], ROOT);
    assert_eq!(child["working_dir"], json!(fs::canonicalize(&elsewhere).unwrap()));
}
