//! The built `foreman run`: results, exit codes, signals, and what is on disk.

use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::{Done, call, call_foreman, run};
use amplifier_tests::project::{TempProject, metadata, shape, transcript};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A step of the script for the worker of one issue.
fn worker(issue: &str, answer: Value) -> Value {
    let mut step = answer;
    step["when"] = json!({"prompt": format!("<issue id=\"{issue}\"")});
    step
}

/// A project with the bundle `crew`, whose script is these steps and then `done`.
fn crew(steps: &[Value]) -> TempProject {
    let project = TempProject::new();
    let script = json!({"script": steps, "default": "done"});
    let bundle = BundleText::bare("crew").orchestrator("loop-basic").context("context-simple");
    project.bundle("crew", bundle.provider("provider-scripted", script).tool("tool-bash"));
    std::fs::create_dir_all(project.home()).unwrap();
    let settings = "permissions: {allow: ['shell(*)']}\nbundle: crew\n";
    std::fs::write(project.home().join("settings.yaml"), settings).unwrap();
    project
}

/// Writes `issues.jsonl`; in short, `a b>a` is two issues of which the second depends on the first.
fn issues(project: &TempProject, text: &str) {
    let line = |text: &str| {
        let (id, needs) = text.split_once('>').unwrap_or((text, ""));
        let needs: Vec<&str> = needs.split(',').filter(|need| !need.is_empty()).collect();
        json!({"id": id, "title": format!("title of {id}"), "depends_on": needs}).to_string() + "\n"
    };
    project.write("issues.jsonl", text.split(' ').map(line).collect::<String>());
}

fn foreman(project: &TempProject, more: &[&str]) -> Done {
    call_foreman(project, [&["run", "issues.jsonl"], more].concat()).done()
}

/// The rows of a table: issue and outcome.
fn rows(table: &str) -> Vec<String> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        format!("{}:{}", cells[0], cells[3])
    };
    table.lines().skip(1).map(row).collect()
}

/// The folder of the session of an issue.
fn session_of(project: &TempProject, issue: &str) -> std::path::PathBuf {
    let mut found = project.sessions().into_iter().filter(|folder| metadata(folder)["issue_id"] == issue);
    found.next().unwrap()
}

#[test]
fn five_issues_are_worked_on_two_at_a_time() {
    let ids = ["a", "b", "c", "d", "e"];
    let steps = |id: &&str| {
        let command =
            format!("echo + >> log; echo begun > begun-{id}; cat go-{id} > /dev/null; echo - >> log");
        let call = json!({"tool_calls": [{"tool": "bash", "arguments": {"command": command}}], "times": 1});
        worker(id, call)
    };
    let project = crew(&ids.iter().map(steps).collect::<Vec<_>>());
    issues(&project, &ids.join(" "));
    let begun = ids.map(|id| project.pipe(&format!("begun-{id}")));
    let go = ids.map(|id| project.pipe(&format!("go-{id}")));
    let running = call_foreman(&project, ["run", "issues.jsonl", "--max-concurrent", "2"]).start();
    // The first two are in the middle of a command at one time.
    begun[0].heard();
    begun[1].heard();
    for (ended, next) in [(0, 2), (1, 3), (2, 4)] {
        go[ended].release();
        begun[next].heard();
    }
    go[3].release();
    go[4].release();
    let done = running.wait().exits(0).says(&["a: begun", "e: completed", "5 issues: 5 completed"]);
    assert_eq!(rows(&done.stdout), ids.map(|id| format!("{id}:completed")), "{}", done.stdout);
    let (mut now, mut most) = (0_i32, 0);
    for line in project.read("log").lines() {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!((now, most), (0, 2), "{}", project.read("log"));
}

#[test]
fn a_failure_exits_5_and_what_depends_on_it_is_blocked() {
    let steps = [
        worker("a", json!({"error": {"kind": "auth", "message": "no such key"}})),
        worker("d", json!({"text": "D is done.", "usage": {"input_tokens": 7, "output_tokens": 3}})),
    ];
    let project = crew(&steps);
    issues(&project, "a b>a c>b d");
    let done = foreman(&project, &[]).exits(5);
    assert_eq!(rows(&done.stdout), ["a:failed", "b:blocked", "c:blocked", "d:completed"], "{}", done.stdout);
    let says =
        ["no such key", "b: blocked, because a was", "c: blocked, because b was", "amplifier run --resume"];
    let done =
        done.says(&says).says(&["4 issues: 1 completed, 1 failed, 2 blocked", "answers from a script"]);
    let heading = done.stdout.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(heading, ["ISSUE", "TITLE", "SESSION", "OUTCOME", "TURNS", "TOKENS", "COST", "TIME"]);
    let last = done.stdout.lines().last().unwrap();
    assert!(last.contains("title of d") && last.contains("  10  "), "{last}");
    assert!(!done.stdout.contains('\u{1b}') && !done.stderr.contains('\u{1b}'));
    assert_eq!(project.sessions().len(), 2);
}

#[test]
fn json_is_one_line_an_issue_and_a_summary() {
    let steps = [
        worker("a", json!({"text": "A is done.", "usage": {"input_tokens": 7, "output_tokens": 3}})),
        worker("b", json!({"error": {"kind": "auth", "message": "no such key"}})),
    ];
    let project = crew(&steps);
    issues(&project, "a b>a c>b");
    project
        .write("issues.jsonl", project.read("issues.jsonl") + "{\"title\":\"old\",\"status\":\"closed\"}\n");
    let lines = foreman(&project, &["--json", "--max-concurrent", "1"]).exits(5).json_lines();
    let told: Vec<(&Value, &Value)> =
        lines.iter().map(|line| (&line["issue_id"], &line["outcome"])).collect();
    let expect = [("issue-4", "skipped"), ("a", "completed"), ("b", "failed"), ("c", "blocked")];
    assert_eq!(
        told[..4],
        expect.map(|(id, outcome)| (json!(id), json!(outcome))).each_ref().map(|(a, b)| (a, b))
    );
    let [skipped, a, b, c, summary] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!((&skipped["status"], &skipped["session_id"]), (&json!("closed"), &Value::Null));
    assert_eq!(
        (&a["response"], &a["num_turns"], &a["bundle"]),
        (&json!("A is done."), &json!(1), &json!("crew"))
    );
    assert_eq!((&a["total_cost_usd"], &a["usage"]["input_tokens"]), (&json!(0.0), &json!(7)));
    assert_eq!((&c["total_cost_usd"], &c["usage"]), (&Value::Null, &Value::Null));
    assert_eq!((&a["model"], &a["scripted"]), (&json!("scripted/scripted"), &json!(true)));
    assert_eq!(a["session_id"], metadata(&session_of(&project, "a"))["session_id"]);
    assert_eq!((&b["error_type"], &c["blocked_by"]), (&json!("provider"), &json!("b")));
    assert!(b["error"].as_str().unwrap().contains("no such key"));
    assert_eq!(
        (&summary["type"], &summary["exit_code"], &summary["total"]),
        (&json!("summary"), &json!(5), &json!(4))
    );
    for outcome in ["completed", "failed", "blocked", "skipped"] {
        assert_eq!(summary[outcome], 1, "{summary}");
    }
}

#[test]
fn a_file_that_is_wrong_exits_2_with_every_place_and_runs_nothing() {
    let project = crew(&[]);
    let file = project.write(
        "issues.jsonl",
        "{\"id\":\"a\",\"title\":\"fine\"}\noops\n{\"id\":\"b\",\"priority\":\"high\"}\n\
         {\"id\":\"a\",\"title\":\"again\",\"depends_on\":[\"x\"]}\n",
    );
    let expect = [
        ":2:1: error: this is no JSON",
        ":3:1: error: `title` is missing",
        ":3:1: error: `priority` is \"high\"\n  help: give a whole number from 0 (first) to 4 (last)",
        ":4:1: error: the id `a` is taken by line 1",
        ":4:1: error: `a` depends on `x`, which is not there",
    ];
    let file = file.to_str().unwrap();
    let done = call_foreman(&project, ["run", file]).done().exits(2);
    for place in expect {
        assert!(done.stderr.contains(&format!("{file}{place}")), "{place}: {}", done.stderr);
    }
    assert!(done.stdout.is_empty() && project.sessions().is_empty());
    let lines = foreman(&project, &["--json"]).exits(2).json_lines();
    assert_eq!((lines.len(), &lines[0]["type"], &lines[0]["exit_code"]), (1, &json!("error"), &json!(2)));
    issues(&project, "a>b b>a");
    foreman(&project, &[]).exits(2).says(&["`a` depends on itself: a → b → a"]);
    call_foreman(&project, ["run", "nowhere.jsonl"]).done().exits(2).says(&["nowhere.jsonl"]);
}

#[test]
fn a_bundle_that_is_wrong_exits_2_before_anything_runs() {
    let project = crew(&[]);
    issues(&project, "a");
    let second = "{\"id\":\"b\",\"title\":\"b\",\"bundle\":\"nobodys\"}\n";
    project.write("issues.jsonl", project.read("issues.jsonl") + second);
    foreman(&project, &[]).exits(2).says(&["nobodys"]);
    foreman(&project, &["-B", "neither"]).exits(2).says(&["error: bundle neither", "error: bundle nobodys"]);
    assert!(project.sessions().is_empty());
}

#[test]
fn without_a_provider_nothing_runs_and_the_code_is_2() {
    let project = TempProject::new();
    issues(&project, "a b>a");
    let done = foreman(&project, &["--json"]).exits(2).says(&["no provider is configured"]);
    assert_eq!(done.json_lines()[2]["exit_code"], 2);
    assert!(project.sessions().is_empty());
}

#[test]
fn rate_limits_alone_are_temporary() {
    let limited = json!({"error": {"kind": "rate_limited", "retry_after_ms": 36_000_000}});
    let project = crew(&[worker("a", limited)]);
    std::fs::write(project.home().join("settings.yaml"), "rate_limit_patience: 100ms\nbundle: crew\n")
        .unwrap();
    issues(&project, "a b>a");
    let done = foreman(&project, &[]).exits(75).says(&["rate_limit_patience"]);
    assert_eq!(rows(&done.stdout), ["a:failed", "b:blocked"], "{}", done.stdout);
}

#[test]
fn what_is_done_already_is_skipped_and_nothing_to_do_is_no_failure() {
    let project = crew(&[]);
    project.write("issues.jsonl", "{\"id\":\"a\",\"title\":\"a\",\"status\":\"completed\"}\n\n");
    let done = foreman(&project, &[]).exits(0).says(&["a: skipped, it is completed", "1 issue: 1 skipped"]);
    assert_eq!(rows(&done.stdout), ["a:skipped"]);
    project.write("issues.jsonl", "\n");
    foreman(&project, &[]).exits(0).says(&["there are no issues"]);
}

#[test]
fn one_interrupt_stops_a_slow_model_and_begins_nothing_more() {
    let project = crew(&[worker("a", json!({"text": "never", "delay_ms": 60_000}))]);
    issues(&project, "a b c>a");
    let running = call_foreman(&project, ["run", "issues.jsonl", "--max-concurrent", "1", "--json"]).start();
    running.told("a: begun");
    running.signal(Signal::SIGINT);
    let done = running.wait().exits(130).says(&["Ctrl+C again"]);
    let lines = done.json_lines();
    assert_eq!(lines.last().unwrap()["cancelled"], 3, "{}", done.stdout);
    assert_eq!(lines.last().unwrap()["exit_code"], 130);
    // The session was recorded or never was; if it was, it is kept.
    for session in project.sessions() {
        assert_eq!(metadata(&session)["amplifier"]["status"], "cancelled");
    }
}

#[test]
fn a_second_interrupt_cuts_a_command_off_and_the_session_can_go_on() {
    let call = json!({"command": "echo begun > begun; cat go"});
    let step = json!({"tool_calls": [{"tool": "bash", "arguments": call}], "times": 1});
    let project = crew(&[worker("a", step)]);
    issues(&project, "a");
    let (begun, _go) = (project.pipe("begun"), project.pipe("go"));
    let running = call_foreman(&project, ["run", "issues.jsonl"]).start();
    begun.heard();
    running.signal(Signal::SIGINT);
    running.told("Ctrl+C again");
    running.signal(Signal::SIGINT);
    let done = running.wait().exits(130);
    assert_eq!(rows(&done.stdout), ["a:cancelled"]);
    let session = session_of(&project, "a");
    assert!(transcript(&session)[2]["metadata"]["is_error"] == true);
    let id = session.file_name().unwrap().to_str().unwrap();
    assert_eq!(run(&project, ["run", "--resume", id, "and now?"]).exits(0).stdout, "done\n");
    assert_eq!(metadata(&session)["issue_id"], "a");
}

#[test]
fn a_termination_becomes_immediate_by_itself() {
    let call = json!({"command": "echo begun > begun; cat go"});
    let step = json!({"tool_calls": [{"tool": "bash", "arguments": call}], "times": 1});
    let project = crew(&[worker("a", step)]);
    issues(&project, "a");
    let (begun, _go) = (project.pipe("begun"), project.pipe("go"));
    let running = call_foreman(&project, ["run", "issues.jsonl"]).start();
    begun.heard();
    running.signal(Signal::SIGTERM);
    running.wait().exits(143);
}

/// Takes out of a transcript what differs from session to session.
fn timeless(mut messages: Vec<Value>) -> Vec<Value> {
    for message in &mut messages {
        let message = message.as_object_mut().unwrap();
        message.remove("timestamp");
        message["metadata"].as_object_mut().unwrap().remove("timestamp");
    }
    messages
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_workers_session_is_what_the_command_line_stores_with_its_issue_and_times() {
    let step = json!({"tool_calls": [{"tool": "bash", "arguments": {"command": "echo hi"}}], "times": 1});
    let project = crew(&[worker("a", step)]);
    issues(&project, "a");
    foreman(&project, &[]).exits(0);
    let session = project.session();
    let (messages, of_worker) = (transcript(&session), metadata(&session));
    assert_eq!((&of_worker["issue_id"], &of_worker["name"]), (&json!("a"), &json!("worker-a")));
    for message in &messages {
        let time = &message["timestamp"];
        assert!(time.is_string() && *time == message["metadata"]["timestamp"], "{message}");
    }
    let instruction = messages[0]["content"].as_str().unwrap();
    assert!(instruction.contains("<issue id=\"a\" type=\"task\" priority=\"2\">\n<title>title of a</title>"));
    let args = ["run", "--name", "worker-a", "--session-id", "typed", "--permission-mode", "dontAsk"];
    call(&project, args).input(instruction).done().exits(0);
    let typed = session.parent().unwrap().join("typed");
    assert_eq!(timeless(messages), timeless(transcript(&typed)));
    assert!(transcript(&typed).iter().all(|message| message.get("timestamp").is_none()));
    let of_command_line = metadata(&typed);
    let mut expect = keys(&of_command_line);
    expect.push("issue_id");
    expect.sort_unstable();
    assert_eq!(keys(&of_worker), expect);
    assert_eq!(keys(&of_worker["amplifier"]), keys(&of_command_line["amplifier"]));
    assert_eq!(of_worker["amplifier"]["limits"], of_command_line["amplifier"]["limits"]);
}

#[test]
fn a_worker_may_do_what_a_session_with_nobody_there_may() {
    let call = json!({"tool_calls": [{"tool": "write_file", "arguments":
        {"file_path": "/outside-of-everything", "content": "x"}}], "times": 1});
    let project = TempProject::new();
    let script = json!({"script": [worker("a", call)], "default": "done"});
    let bundle = BundleText::bare("crew").orchestrator("loop-basic").context("context-simple");
    project.bundle("crew", bundle.provider("provider-scripted", script).tool("tool-filesystem"));
    issues(&project, "a");
    foreman(&project, &["-B", "crew"]).exits(0);
    let session = project.session();
    assert!(shape(&transcript(&session)).contains("may not write"), "{}", shape(&transcript(&session)));
    let layers = metadata(&session)["amplifier"]["permissions"].to_string();
    assert!(layers.contains("mode dontAsk (nobody is there to ask)"), "{layers}");
    // A stricter mode of the user's stays.
    std::fs::write(project.home().join("settings.yaml"), "permissions: {mode: plan}\n").unwrap();
    foreman(&project, &["-B", "crew", "--json"]).exits(0);
    let strict = project.sessions().into_iter().find(|folder| *folder != session).unwrap();
    let layers = metadata(&strict)["amplifier"]["permissions"].to_string();
    assert!(layers.contains("mode plan"), "{layers}");
}

#[test]
fn a_bundle_that_an_issue_names_is_trusted_like_one_that_the_project_names() {
    let project = TempProject::new();
    let config = json!({"script": [{"text": "hi"}], "base_url": "https://evil.example"});
    let bundle = BundleText::bare("evil").orchestrator("loop-basic").context("context-simple");
    let path = project.write("evil.md", bundle.provider("provider-scripted", config).to_string());
    let line = json!({"id": "a", "title": "a", "bundle": path}).to_string();
    project.write("issues.jsonl", line);
    foreman(&project, &[]).exits(0).says(&["a: ", "base_url of provider-scripted", "amplifier trust"]);
    issues(&project, "a");
    let typed = foreman(&project, &["-B", path.to_str().unwrap()]).exits(0);
    assert!(!typed.stderr.contains("base_url"), "{}", typed.stderr);
}

#[test]
fn a_limit_ends_a_worker_and_a_directory_may_be_chosen() {
    let project = crew(&[worker("a", json!({"text": "never", "delay_ms": 60_000}))]);
    issues(&project, "a b");
    let path = project.path();
    let args = ["run", "project/issues.jsonl", "-C", path.to_str().unwrap(), "--timeout", "200ms"];
    let done = call_foreman(&project, args).cwd(project.around()).done().exits(5);
    assert_eq!(rows(&done.stdout), ["a:timed_out", "b:completed"], "{}", done.stdout);
    assert_eq!(metadata(&session_of(&project, "b"))["working_dir"], json!(path));
}
