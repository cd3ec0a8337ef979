//! One bundle and one instruction, however the session is started: what is left is the same.
//!
//! Compared are transcript, keys of the metadata, sequence of events, usage and outcome; ids, times and
//! lineage apart. A further way to start sessions is one more line in [`LEGS`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amplifier_background::control::wait_for_run;
use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use amplifier_core::{Payload, SessionId};
use amplifier_crew::prompt::REPORTING;
use amplifier_crew::{Crew, CrewConfig};
use amplifier_foundation::{Host, Shutdown, SpawnRequest, spawn_bundle};
use amplifier_issue::{IssueId, IssueStatus, NewIssue};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::{call, call_foreman, run};
use amplifier_tests::project::{TempProject, metadata, transcript};
use amplifier_tests::soon;
use serde_json::{Value, json};

/// A way to start a session of the bundle `parity` with an instruction; the id of the session.
type Leg = fn(&TempProject, &str) -> String;

/// Every way there is.
const LEGS: [(&str, Leg); 11] = [
    ("the library", by_the_library),
    ("the library, in the background", in_the_background),
    ("a bundle's session as a child", as_a_bundle_child),
    ("an agent", as_an_agent),
    ("the tool delegate", by_delegating),
    ("amplifier run", by_amplifier_run),
    ("amplifier run --output-format stream-json", by_a_stream),
    ("foreman run", by_foreman_run),
    ("a trigger", by_a_trigger),
    ("amplifier background start", by_background_start),
    ("a worker of a pool", by_a_worker),
];

/// Keys that say whose a session is, and who asked for it.
const LINEAGE: [&str; 13] = [
    "parent_id",
    "trace_id",
    "child_span",
    "agent_name",
    "self_delegation_depth",
    "name",
    "issue_id",
    "background_session",
    "run_id",
    "trigger_id",
    "trigger_type",
    "amplifier.spawn",
    "amplifier.bundle_by_project",
];

/// What a session has left, without ids, times and lineage.
#[derive(Debug, Clone, PartialEq)]
struct Left {
    transcript: Vec<Value>,
    keys: BTreeSet<String>,
    described: Vec<Value>,
    events: Vec<String>,
    outcome: Value,
}

/// The bundle: it reads a file, writes another and says what it did; told to delegate, it delegates that.
fn bundle(instruction: &str) -> BundleText {
    let delegate = json!({"agent": "self", "instruction": instruction, "context_depth": "none"});
    let script = json!([
        {"when": {"prompt": "please delegate"}, "tool_calls": [{"tool": "delegate", "arguments": delegate}]},
        {"when": {"prompt": "<issue id=\"parity\""}, "text": "I look.", "usage": {"input_tokens": 70, "output_tokens": 7},
            "cost_usd": 0.002, "tool_calls": [{"tool": "read_file", "arguments": {"file_path": "notes.md"}}]},
        {"when": {"after_tool": "read_file"}, "usage": {"input_tokens": 90, "output_tokens": 9}, "cost_usd": 0.001,
            "tool_calls": [{"tool": "write_file", "arguments": {"file_path": "made.md", "content": "by the model"}}]},
        {"when": {"after_tool": "write_file"}, "text": "It is done.", "thinking": "All of it."},
    ]);
    BundleText::bare("parity")
        .orchestrator("loop-basic")
        .context("context-simple")
        .provider("provider-scripted", json!({"script": script, "default": "done"}))
        .tool("tool-filesystem")
        .tool("tool-delegate")
        .hook("hooks-logging")
        .instruction("You are the same everywhere.")
}

fn project(instruction: &str) -> TempProject {
    let project = TempProject::new();
    project.bundle("parity", bundle(instruction));
    project.write("notes.md", "what is to be done\n");
    project.write(
        "issues.jsonl",
        json!({"id": "parity", "title": "Do it", "description": "All of it."}).to_string(),
    );
    std::fs::create_dir_all(project.home()).unwrap();
    project
}

/// The message that `foreman run` makes of the issue: the instruction of every leg.
fn instruction() -> String {
    let project = project("");
    let id = by_foreman_run(&project, "");
    transcript(&folder(&project, &id))[0]["content"].as_str().unwrap().to_owned()
}

fn folder(project: &TempProject, id: &str) -> PathBuf {
    let mut found = project.sessions().into_iter().filter(|folder| folder.ends_with(id));
    found.next().unwrap_or_else(|| panic!("session {id} is not on disk"))
}

/// Runs a part of the library.
fn with_host<F: Future<Output = SessionId>>(project: &TempProject, work: impl FnOnce(Host) -> F) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let id = runtime.block_on(async {
        let builder = Host::builder().modules(amplifier_modules::builtin()).home(project.home());
        let host = builder.open(project.path()).await.unwrap();
        soon("the session", work(host)).await
    });
    id.as_str().to_owned()
}

async fn spawned(host: &Host, request: SpawnRequest) -> SessionId {
    let result = spawn_bundle(host, request).await.unwrap();
    assert!(result.outcome().await.is_completed());
    result.id().clone()
}

fn by_the_library(project: &TempProject, text: &str) -> String {
    with_host(project, |host| async move { spawned(&host, SpawnRequest::new("parity", text)).await })
}

fn in_the_background(project: &TempProject, text: &str) -> String {
    with_host(project, |host| async move {
        spawned(&host, SpawnRequest::new("parity", text).background(true)).await
    })
}

fn as_a_bundle_child(project: &TempProject, text: &str) -> String {
    with_host(project, |host| async move {
        let root = spawn_bundle(&host, SpawnRequest::new("parity", "hello").keep_open()).await.unwrap();
        let id = spawned(&host, SpawnRequest::new("parity", text).parent(root.session())).await;
        root.session().end().await;
        id
    })
}

fn as_an_agent(project: &TempProject, text: &str) -> String {
    with_host(project, |host| async move {
        let root = spawn_bundle(&host, SpawnRequest::new("parity", "hello").keep_open()).await.unwrap();
        let id = spawned(&host, SpawnRequest::agent(root.session(), "self", text)).await;
        root.session().end().await;
        id
    })
}

fn by_delegating(project: &TempProject, _text: &str) -> String {
    with_host(project, |host| async move {
        let root = spawn_bundle(&host, SpawnRequest::new("parity", "please delegate")).await.unwrap();
        assert!(root.outcome().await.is_completed());
        root.descendants()[0].id.clone()
    })
}

fn by_amplifier_run(project: &TempProject, text: &str) -> String {
    let done = run(project, ["run", "-B", "parity", "--output-format", "json", text]).exits(0);
    done.json()["session_id"].as_str().unwrap().to_owned()
}

/// A run as those are that nobody sits at: `default` where nobody can be asked is the same by another name.
fn by_an_unattended_run(project: &TempProject, text: &str) -> String {
    let words = ["run", "-B", "parity", "--permission-mode", "dontAsk", "--output-format", "json", text];
    run(project, words).exits(0).json()["session_id"].as_str().unwrap().to_owned()
}

fn by_a_stream(project: &TempProject, text: &str) -> String {
    let done = run(project, ["run", "-B", "parity", "--output-format", "stream-json", text]).exits(0);
    let last: Value = serde_json::from_str(done.stdout.lines().last().unwrap()).unwrap();
    last["session_id"].as_str().unwrap().to_owned()
}

fn by_foreman_run(project: &TempProject, _text: &str) -> String {
    let done = call_foreman(project, ["run", "issues.jsonl", "-B", "parity", "--json"]).done().exits(0);
    let first: Value = serde_json::from_str(done.stdout.lines().next().unwrap()).unwrap();
    first["session_id"].as_str().unwrap().to_owned()
}

/// The background session that is told this, and nothing of what fires it.
fn declared(text: &str) -> Value {
    let template = text.replace('{', "{{").replace('}', "}}");
    json!({"name": "same", "bundle": "parity", "instruction_template": template})
}

fn by_a_trigger(project: &TempProject, text: &str) -> String {
    with_host(project, |host| async move {
        let config = BackgroundConfig::parse(&declared(text), &TriggerRegistry::new()).unwrap();
        let (name, manager) = (config.name.clone(), BackgroundSessionManager::new(&host));
        manager.start(config).await.unwrap();
        let run = manager.fire(&name, Payload::null()).await.unwrap();
        let ended = wait_for_run(&host, &run, Duration::from_secs(20)).await.unwrap().expect("it ends");
        manager.shutdown(Shutdown::Now).await;
        ended.row.session.expect("a session ran")
    })
}

fn by_a_worker(project: &TempProject, _text: &str) -> String {
    with_host(project, |host| async move {
        let pools = json!({"worker_pools": [{"name": "same", "worker_bundle": "parity"}]});
        let config = CrewConfig::parse(&pools, &TriggerRegistry::new()).unwrap();
        let manager = BackgroundSessionManager::new(&host);
        let crew = Crew::new(&host, &manager, config);
        crew.start().await.unwrap();
        let mut issue = NewIssue::new("Do it", "All of it.");
        issue.id = Some(IssueId::new("parity").unwrap());
        crew.queue().open(issue).await.unwrap();
        let ended = async {
            loop {
                let issue = crew.queue().get(&IssueId::new("parity").unwrap()).await.unwrap();
                if issue.issue.status == IssueStatus::Completed {
                    return issue.session.expect("a session ran");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let session = soon("the issue", ended).await;
        manager.shutdown(Shutdown::Now).await;
        session
    })
}

fn by_background_start(project: &TempProject, text: &str) -> String {
    project.write(".amplifier/background.yaml", json!({"background_sessions": [declared(text)]}).to_string());
    let owner = call(project, ["background", "start"]).start();
    owner.told("Ctrl+C ends it");
    let fired = run(project, ["background", "fire", "same", "--wait", "--json"]).exits(0).json();
    run(project, ["background", "stop"]).exits(0);
    owner.wait().exits(0);
    fired["session_id"].as_str().unwrap().to_owned()
}

/// What a session may do and use, and the bundle that it is pinned to; without the layer that names the
/// background session, which says again that nobody is there to ask.
fn allowed(project: &TempProject, id: &str) -> Value {
    let record = metadata(&folder(project, id))["amplifier"].clone();
    let layers = record["permissions"].as_array().unwrap().iter();
    let layers: Vec<Value> = layers
        .filter(|layer| layer["origin"] != "background session same")
        .map(|layer| json!([layer["mode"], layer["roots"], layer["rules"]]))
        .collect();
    let said =
        json!({"layers": layers, "limits": record["limits"], "bundle": record["bundle_hash"]}).to_string();
    let home = project.home().to_str().unwrap().to_owned();
    serde_json::from_str(&said.replace(&home, "~").replace(project.path().to_str().unwrap(), "…")).unwrap()
}

#[test]
fn a_triggered_session_may_do_what_a_run_may_that_nobody_sits_at() {
    let text = instruction();
    let mut first = None;
    for (name, leg) in [
        ("amplifier run", by_an_unattended_run as Leg),
        ("foreman run", by_foreman_run),
        ("amplifier background start", by_background_start),
    ] {
        let project = project(&text);
        let id = leg(&project, &text);
        let allowed = allowed(&project, &id);
        assert!(allowed["layers"].as_array().unwrap().len() >= 2, "{name}: {allowed:#}");
        assert_eq!(allowed, *first.get_or_insert_with(|| allowed.clone()), "{name}");
    }
}

/// Times are where they belong, and are not compared; nor are paths of the project.
fn timeless(mut message: Value, project: &Path) -> Value {
    // A worker's storage adds one of the reference's own.
    message.as_object_mut().unwrap().remove("timestamp");
    let time = message["metadata"].as_object_mut().and_then(|metadata| metadata.remove("timestamp"));
    assert!(time.is_some_and(|time| time.is_string()), "{message}");
    if let Some(content) = message["content"].as_str() {
        // A worker of a pool is told besides how to report.
        let content = content.replace(&format!("\n\n{REPORTING}"), "");
        message["content"] = json!(content.replace(project.to_str().unwrap(), "…"));
    }
    message
}

/// The keys of a map, of the kernel's own too.
fn keys(metadata: &Value) -> BTreeSet<String> {
    let own = metadata["amplifier"].as_object().unwrap().keys().map(|key| format!("amplifier.{key}"));
    let all = metadata.as_object().unwrap().keys().cloned().chain(own);
    all.filter(|key| !LINEAGE.contains(&key.as_str())).collect()
}

/// Each event with the keys of its data.
fn events(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap();
    let one = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let keys = event["data"].as_object().unwrap().keys().filter(|key| !LINEAGE.contains(&key.as_str()));
        let mut keys: Vec<&str> = keys.map(String::as_str).collect();
        keys.sort_unstable();
        (event["event"].as_str().unwrap().to_owned(), keys.join(" "))
    };
    // That a session was spawned is lineage too.
    let told = text.lines().map(one).filter(|(name, _)| name != "session:fork");
    told.map(|(name, keys)| format!("{name}: {keys}")).collect()
}

fn left(project: &TempProject, id: &str) -> Left {
    let folder = folder(project, id);
    let metadata = metadata(&folder);
    let mut outcome = metadata["amplifier"]["outcome"].clone();
    outcome.as_object_mut().unwrap().remove("duration_ms").expect("it took some time");
    Left {
        transcript: transcript(&folder)
            .into_iter()
            .map(|message| timeless(message, &project.path()))
            .collect(),
        keys: keys(&metadata),
        described: ["bundle", "model", "turn_count"].map(|key| metadata[key].clone()).to_vec(),
        events: events(&folder),
        outcome,
    }
}

#[test]
fn every_way_to_start_a_session_leaves_the_same() {
    let text = instruction();
    let mut first = None;
    for (name, leg) in LEGS {
        let project = project(&text);
        let left = left(&project, &leg(&project, &text));
        assert_eq!(project.read("made.md"), "by the model", "{name}");
        let expect = first.get_or_insert_with(|| {
            // What the others are held to is really something.
            assert_eq!(
                (left.transcript.len(), left.transcript[0]["content"].as_str()),
                (6, Some(text.as_str()))
            );
            assert!(left.events.len() > 20 && left.keys.len() > 10, "{left:#?}");
            assert_eq!((&left.outcome["kind"], &left.outcome["turns"]), (&json!("completed"), &json!(3)));
            left.clone()
        });
        assert_eq!(left.transcript, expect.transcript, "{name}: transcript");
        assert_eq!(left.keys, expect.keys, "{name}: keys of the metadata");
        assert_eq!(left.described, expect.described, "{name}: metadata");
        assert_eq!(left.outcome, expect.outcome, "{name}: outcome");
        assert_eq!(left.events, expect.events, "{name}: events");
    }
}
