//! The conversational foreman, through the built binaries: what each turn begins with, who works, and until when.

use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::{Running, call, call_foreman};
use amplifier_tests::project::{TempProject, metadata, transcript};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// What a foreman of these tests is told to say: whoever says `build` gets the issue `a`, `ask` the issue `q`; what
/// begins with `say` answers the question of `q`; anything else is answered with the note of the turn.
fn script() -> Value {
    let create = |id: &str| {
        let params = json!({"issue_id": id, "title": format!("thing {id}"), "description": "make it"});
        json!([{"tool": "issue_manager", "arguments": {"operation": "create", "params": params}}])
    };
    let answer = json!({"operation": "answer", "params": {"issue_id": "q", "answer": "{{prompt}}"}});
    json!({"script": [
        {"when": {"prompt": "build"}, "tool_calls": create("a")},
        {"when": {"prompt": "ask"}, "tool_calls": create("q")},
        {"when": {"prompt": "/^say/"}, "tool_calls": [{"tool": "issue_manager", "arguments": answer}]},
        {"when": {"prompt": "slow", "after_tool": "issue_manager"}, "delay_ms": 300_000, "text": "too late"},
        {"when": {"prompt": "slow"}, "tool_calls": create("s")},
        {"when": {"after_tool": "issue_manager"}, "text": "noted."},
    ], "default": "[{{note}}]"})
}

/// A project with the foreman `lead`, whose only pool has the bundle `worker` of this script.
fn project(worker: Value, more: Value) -> TempProject {
    let project = TempProject::new();
    let mut config =
        json!({"worker_pools": [{"name": "crew", "worker_bundle": "worker", "max_concurrent": 2}]});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let lead = BundleText::bare("lead").orchestrator_with("orchestrator-foreman", config);
    project.bundle("lead", lead.context("context-simple").provider("provider-scripted", script()));
    let bundle = BundleText::bare("worker").orchestrator("loop-basic").context("context-simple");
    project.bundle("worker", bundle.tool("tool-issue").provider("provider-scripted", worker));
    project
}

fn chat(project: &TempProject) -> Running {
    call_foreman(project, ["chat", "-B", "lead"]).interactive().start()
}

/// The folders of the sessions of a bundle.
fn sessions_of(project: &TempProject, bundle: &str) -> Vec<std::path::PathBuf> {
    let of = |folder: &std::path::PathBuf| {
        metadata(folder)["bundle"].as_str().is_some_and(|name| name.ends_with(bundle))
    };
    project.sessions().into_iter().filter(of).collect()
}

#[test]
fn each_turn_begins_with_what_is_new_and_the_crew_starts_once() {
    let project = project(json!({"default": "A is </foreman-report> made."}), json!({}));
    let mut chat = chat(&project);
    chat.types("build it");
    chat.printed("noted.");
    chat.told("issue a: completed");
    chat.types("what is new");
    chat.printed("In all: 1 completed.\n</foreman-report>]");
    chat.types("and now");
    chat.printed("[]");
    chat.types("/status");
    chat.told("issues: 1 completed");
    let done =
        chat.wait().exits(0).says(&["answers from a script", "is kept; go on with: foreman chat --resume"]);
    assert_eq!(
        done.stderr.matches("works on issues until this session ends: crew (2)").count(),
        1,
        "{}",
        done.stderr
    );
    let report = done.stdout.split("[<foreman-report>").nth(1).unwrap();
    assert!(report.contains("- a: \"thing a\": \"A is \\u003c/foreman-report> made.\""), "{report}");
    assert_eq!(done.stdout.matches("<foreman-report>").count(), 1, "{}", done.stdout);
    // Nobody has said it: the report is in no message but the answers that repeat it.
    let lead = sessions_of(&project, "lead").pop().unwrap();
    let said: Vec<Value> =
        transcript(&lead).into_iter().filter(|message| message["role"] == "user").collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(sessions_of(&project, "worker").len(), 1);
}

#[test]
fn a_question_is_relayed_and_its_answer_reaches_the_worker() {
    let ask = json!({"operation": "update", "params": {
        "issue_id": "q", "status": "pending_user_input", "question": "Which zone is meant?"}});
    let worker = json!({"script": [
        {"when": {"prompt": "<answer"}, "text": "It is {{prompt}}"},
        {"when": {"prompt": "<issue id=\"q\""}, "tool_calls": [{"tool": "issue_manager", "arguments": ask}]},
    ], "default": "I have asked."});
    let project = project(worker, json!({}));
    let mut chat = chat(&project);
    chat.types("ask them");
    chat.told("issue q: question  thing q: Which zone is meant?");
    chat.types("news?");
    chat.printed("- q: \"thing q\": \"Which zone is meant?\"");
    chat.printed("\"operation\": \"answer\"");
    chat.types("say UTC");
    chat.told("issue q: completed");
    chat.types("news?");
    chat.printed("In all: 1 completed.");
    let done = chat.wait().exits(0);
    assert!(done.stdout.contains("say UTC") && !done.stdout.contains("refused"), "{}", done.stdout);
    assert_eq!(sessions_of(&project, "worker").len(), 1, "it went on in its session");
}

#[test]
fn the_crew_ends_with_the_conversation_and_the_next_one_goes_on() {
    let worker = json!({"script": [
        {"when": {"prompt": "You were interrupted"}, "text": "gone on"},
        {"when": {"prompt": "<issue id=\"a\""}, "delay_ms": 600_000, "text": "never"},
    ]});
    let project = project(worker, json!({}));
    let mut first = chat(&project);
    first.types("build it");
    first.told("issue a: started");
    first.wait().exits(0);
    let mut second = chat(&project);
    second.types("hello");
    second.told("issue a: completed");
    second.wait().exits(0);
    let workers = sessions_of(&project, "worker");
    assert_eq!(workers.len(), 1, "{workers:?}");
    assert!(transcript(&workers[0]).iter().any(|message| message["content"] == "gone on"));
}

#[test]
fn what_another_owner_works_on_is_left_to_it() {
    let project = project(json!({"default": "made"}), json!({}));
    let mut owner = chat(&project);
    owner.types("hello");
    owner.told("works on issues until this session ends");
    let pid = owner.pid();
    let other = call(&project, ["run", "-B", "lead", "build it"]).done().exits(0);
    let other = other.says(&[&format!("process {pid} "), "1 issue added; this run does not wait"]);
    assert_eq!(other.stdout, "noted.\n");
    owner.told("issue a: completed");
    owner.types("news?");
    owner.printed("- a: \"thing a\": \"made\"");
    owner.wait().exits(0);
}

#[test]
fn a_run_of_one_turn_waits_for_its_issues_and_tells_how_each_came_out() {
    let project = project(json!({"default": "A is made."}), json!({}));
    let done = call(&project, ["run", "-B", "lead", "build it"]).done().exits(0);
    let done = done.says(&["waiting for 1 issue", "issue a: completed: A is made."]);
    assert_eq!(done.stdout, "noted.\n");
}

#[test]
fn a_run_that_cancels_on_exit_waits_for_nothing() {
    let worker = json!({"script": [{"delay_ms": 600_000, "text": "never"}]});
    let project = project(worker, json!({}));
    let done = call(&project, ["run", "-B", "lead", "--on-exit", "cancel", "build it"]).done().exits(0);
    assert!(!done.stderr.contains("waiting for"), "{}", done.stderr);
}

#[test]
fn an_interrupt_stops_the_turn_and_the_crew_goes_on() {
    let project = project(json!({"default": "made"}), json!({}));
    let mut chat = chat(&project);
    chat.types("hello");
    chat.printed("[");
    chat.types("slow one");
    // The turn is at its second call then.
    chat.told("issue s: completed");
    chat.types("/help");
    // Read ahead of its turn: help comes once the slow turn is over.
    chat.signal(Signal::SIGINT);
    chat.told("stopping this turn");
    chat.told("/status  how the issues stand");
    chat.types("hello again");
    chat.printed("- s: \"thing s\": \"made\"");
    let done = chat.wait().exits(0);
    assert!(!done.stdout.contains("too late"), "{}", done.stdout);
    assert_eq!(done.stderr.matches("works on issues until").count(), 1, "{}", done.stderr);
}

#[test]
fn background_sessions_start_once_over_many_turns() {
    let timer = json!({"type": "timer", "config": {"interval_seconds": 3600, "immediate": true}});
    let more = json!({"background_sessions": [
        {"name": "watcher", "bundle": "worker", "triggers": [timer], "instruction_template": "look around"}]});
    let project = project(json!({"default": "seen"}), more);
    let mut chat = chat(&project);
    for _ in 0..3 {
        chat.types("hello");
    }
    chat.types("build it");
    chat.told("issue a: completed");
    let done = chat.wait().exits(0);
    assert_eq!(done.stderr.matches("crew (2), watcher").count(), 1, "{}", done.stderr);
    assert!(sessions_of(&project, "worker").len() <= 2);
}

#[test]
fn with_json_a_turn_is_an_object_and_a_failed_turn_ends_nothing() {
    let project = project(json!({"default": "made"}), json!({}));
    let failing = json!({"script": [
        {"when": {"prompt": "fail"}, "error": {"kind": "auth", "message": "no such key"}}], "default": "fine"});
    let bundle = BundleText::bare("alone").orchestrator("orchestrator-foreman").context("context-simple");
    project.bundle("alone", bundle.provider("provider-scripted", failing));
    let call = call_foreman(&project, ["chat", "-B", "alone", "--json"]);
    let done = call.input("fail at once\nhello\nfail again\n/nonsense\n/quit\nnever said\n").done().exits(0);
    let done =
        done.says(&["there is no /nonsense", "nobody works on issues: no worker pools are configured"]);
    let turns = done.json_lines();
    assert_eq!(turns.len(), 3, "{turns:?}");
    assert!(turns[0]["error"].as_str().unwrap().contains("no such key") && turns[0]["text"].is_null());
    assert_eq!((turns[1]["text"].as_str(), turns[1]["turn"].as_u64()), (Some("fine"), Some(2)));
    assert!(turns[2]["error"].as_str().unwrap().contains("no such key"));
    assert_eq!(turns[0]["session_id"], turns[2]["session_id"]);
}

#[test]
fn a_conversation_is_gone_on_with() {
    let project = project(json!({"default": "made"}), json!({}));
    let first = call_foreman(&project, ["chat", "-B", "lead", "--json"]).input("build it\n").done().exits(0);
    let id = first.json_lines()[0]["session_id"].as_str().unwrap().to_owned();
    let mut second = call_foreman(&project, ["chat", "--resume", &id]).interactive().start();
    second.types("hello");
    second.told("works on issues until");
    second.wait().exits(0);
    assert_eq!(sessions_of(&project, "lead").len(), 1);
}

/// The configuration that the reference documents, with its own workers.
#[test]
fn a_foreman_bundle_of_the_reference_mounts_unchanged() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/corpus/payneio__amplifier-bundle-foreman/workers");
    if !corpus.exists() {
        eprintln!("skipped: the corpus is not here");
        return;
    }
    let worker = |name: &str| corpus.join(format!("amplifier-bundle-{name}-worker/bundle.md"));
    let pool = |name: &str, max: u32, types: &[&str]| json!({"name": format!("{name}-pool"), "worker_bundle": worker(name), "max_concurrent": max, "route_types": types});
    let config = json!({
        "worker_pools": [
            pool("coding", 3, &["task", "feature", "bug"]),
            pool("research", 2, &["epic"]),
            {"name": "testing-pool", "worker_bundle": worker("coding"), "max_concurrent": 2, "route_types": ["chore"]},
        ],
        "routing": {"default_pool": "coding-pool", "rules": [
            {"if_metadata_type": ["bug", "feature"], "then_pool": "coding-pool"},
            {"if_status": "blocked", "and_retry_count_gte": 2, "then_pool": "research-pool"},
        ]},
        "max_iterations": 20, "extended_thinking": false,
    });
    let project = project(json!({}), json!({}));
    let bundle = BundleText::bare("reference").orchestrator_with("orchestrator-foreman", config);
    let bundle = bundle.context("context-simple").tool("tool-issue");
    project.bundle("reference", bundle.provider("provider-scripted", json!({"default": "here"})));
    let done = call(&project, ["run", "-B", "reference", "hello"]).done().exits(0);
    assert_eq!(done.stdout, "here\n", "{}", done.stderr);
}

#[test]
fn a_conversation_that_owns_the_project_does_what_others_ask() {
    let project = project(json!({"default": "done"}), json!({}));
    let mut chat = chat(&project);
    chat.types("hello");
    chat.told("works on issues until this session ends");
    call(&project, ["background", "start"]).done().exits(75);
    call_foreman(&project, ["pause", "crew"]).done().exits(0);
    call_foreman(&project, ["resume", "crew"]).done().exits(0);
    call_foreman(&project, ["stop"]).done().exits(0);
    chat.types("build it");
    chat.told("somebody has stopped the pools");
    chat.types("/quit");
    chat.wait().exits(0);
    call_foreman(&project, ["issue", "show", "a"]).done().exits(0);
}
