//! `spawn_bundle`: sessions that are opened again.

use std::path::Path;
use std::sync::Arc;

use amplifier_core::message::INTERRUPTED;
use amplifier_core::permission::{Layer, Mode};
use amplifier_core::{Activation, Limits, OutcomeKind, Permissions, SessionId};
use amplifier_foundation::storage::{MemoryStorage, StorageError};
use amplifier_foundation::{Host, SpawnError, SpawnRequest, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::faulty::{Fault, FaultyStorage, When};
use amplifier_tests::gate::Gate;
use amplifier_tests::project::{metadata, shape, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use crate::spawn::{settled, spawn, terminals};

async fn refused(host: &Host, request: SpawnRequest) -> SpawnError {
    soon("the spawn", spawn_bundle(host, request)).await.unwrap_err()
}

#[tokio::test]
async fn a_finished_session_goes_on_in_a_new_activation_with_its_history() {
    let stage = Stage::new();
    stage.brain.say("one").say("two");
    let first = {
        let host = stage.host_on_disk().await;
        let result = spawn(&host, ("plain", "1")).await;
        settled(&host, &result).await;
        result.id().clone()
    };
    let host = stage.host_on_disk().await;
    let result = spawn(&host, SpawnRequest::resume(first.clone(), "2")).await;
    assert_eq!((result.id(), result.session().activation()), (&first, Activation(2)));
    let outcome = settled(&host, &result).await;
    assert_eq!((outcome.output.as_str(), outcome.turns, outcome.activation), ("two", 1, Activation(2)));
    let asked: Vec<String> = stage.brain.last_request().into_iter().map(|(_, text)| text).collect();
    assert_eq!(asked, ["1", "one", "2"]);
    let folder = stage.project.session();
    assert_eq!(shape(&transcript(&folder)), "u:1 a:one u:2 a:two");
    assert_eq!(metadata(&folder)["turn_count"], 2);
    assert_eq!((stage.hook.count("session:start"), stage.hook.count("session:resume")), (1, 1));
}

#[tokio::test]
async fn each_activation_has_its_own_terminal_event() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let first = spawn(&host, ("plain", "1")).await;
    let old = settled(&host, &first).await;
    let second = spawn(&host, SpawnRequest::resume(first.id().clone(), "2")).await;
    settled(&host, &second).await;
    let ended: Vec<Value> = terminals(&host)
        .await
        .iter()
        .map(|event| event.payload.decode::<Value>().unwrap()["activation"].clone())
        .collect();
    assert_eq!(ended, [json!(1), json!(2)]);
    assert_eq!(first.outcome().await, old, "the first handle keeps the first outcome");
}

/// A session that was killed in the middle of the second of three parallel tool calls.
fn killed_in_a_tool(stage: &Stage, gate: &Gate) -> SessionId {
    let calls = vec![("quick", json!({"n": 1})), ("slow", json!({"n": 2})), ("quick", json!({"n": 3}))];
    stage.brain.then(Step::Call(calls));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (host, id) = runtime.block_on(async {
        let host = stage.host_on_disk().await;
        let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
        gate.reached(1).await;
        (host, result.id().clone())
    });
    // The tasks end where they are, as in a process that dies; the lock goes with the host.
    drop(runtime);
    drop(host);
    id
}

#[test]
fn a_session_that_was_cut_off_in_a_tool_goes_on_without_running_anything_twice() {
    let gate = Gate::new();
    let (quick, slow) =
        (FakeTool::new("tool-quick", Act::Say("ok")), FakeTool::new("tool-slow", Act::Wait(gate.clone())));
    let stage = Stage::with_tools([quick.clone(), slow.clone()]);
    let id = killed_in_a_tool(&stage, &gate);
    let folder = stage.project.session();
    assert_eq!(shape(&transcript(&folder)), "u:go a:>>> t:ok", "what was durable at the kill");
    assert_eq!(metadata(&folder)["amplifier"]["status"], "running");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = stage.host_on_disk().await;
        stage.brain.say("I see");
        let result = spawn(&host, SpawnRequest::resume(id, "go on")).await;
        assert_eq!(settled(&host, &result).await.output, "I see");
    });
    let messages = transcript(&folder);
    assert_eq!(shape(&messages), "u:go a:>>> t:ok t:! t:! u:go on a:I see");
    for message in &messages[3..5] {
        assert_eq!(
            (&message["metadata"][INTERRUPTED], &message["metadata"]["is_error"]),
            (&json!(true), &json!(true))
        );
    }
    let ids: Vec<&str> =
        messages[2..5].iter().map(|message| message["tool_call_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["call-1-0", "call-1-1", "call-1-2"]);
    assert_eq!((quick.calls().len(), slow.calls().len()), (1, 1), "nothing ran twice");
    assert_eq!(stage.hook.count("provider:tool_sequence_repaired"), 1, "hooks hear of the repair");
}

#[test]
fn a_call_that_changes_nothing_runs_again_however_often_the_session_is_cut_off() {
    let (gate, look) = (Gate::new(), Gate::new());
    let slow = FakeTool::new("tool-slow", Act::Wait(gate.clone()));
    let quick = FakeTool::new("tool-quick", Act::Wait(look.clone())).pure();
    look.open();
    let stage = Stage::with_tools([quick.clone(), slow.clone()]);
    let id = killed_in_a_tool(&stage, &gate);
    let folder = stage.project.session();
    assert_eq!(shape(&transcript(&folder)), "u:go a:>>> t:passed");
    look.shut();
    for round in 1..=2 {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let host = runtime.block_on(async {
            let host = stage.host_on_disk().await;
            let result = spawn(&host, SpawnRequest::resume(id.clone(), "and?").background(true)).await;
            look.reached(1 + round).await;
            drop(result);
            host
        });
        drop(runtime);
        drop(host);
        assert_eq!(
            shape(&transcript(&folder)),
            "u:go a:>>> t:passed",
            "nothing is durable before all are there"
        );
    }
    look.open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = stage.host_on_disk().await;
        stage.brain.say("I see");
        let result = spawn(&host, SpawnRequest::resume(id, "go on")).await;
        assert_eq!(settled(&host, &result).await.output, "I see");
    });
    assert_eq!(shape(&transcript(&folder)), "u:go a:>>> t:passed t:! t:passed u:go on a:I see");
    assert_eq!((quick.calls().len(), slow.calls().len()), (4, 1), "only what changes nothing ran again");
    assert_eq!(quick.calls()[3], json!({"n": 3}), "with the arguments of its call");
}

#[tokio::test]
async fn a_gap_further_up_is_closed_for_the_model_and_left_on_disk() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let result = spawn(&host, ("plain", "1")).await;
    let id = result.id().clone();
    let folder = stage.project.session();
    let lines = [
        json!({"role": "user", "content": "1"}),
        json!({"role": "assistant", "content": "", "tool_calls": [{"id": "c", "tool": "probe", "arguments": {}}]}),
        json!({"role": "user", "content": "2"}),
        json!({"role": "assistant", "content": "two"}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("transcript.jsonl"), text).unwrap();
    let resumed = spawn(&host, SpawnRequest::resume(id, "3")).await;
    settled(&host, &resumed).await;
    let roles: Vec<String> = stage.brain.last_request().into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user", "assistant", "user"]);
    assert_eq!(shape(&transcript(&folder)), "u:1 a:> u:2 a:two u:3 a:done");
}

#[tokio::test]
async fn a_torn_last_line_is_kept_beside_and_told() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let result = spawn(&host, ("plain", "1")).await;
    let folder = stage.project.session();
    let mut text = std::fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
    text.push_str("{\"role\":\"user\",\"con");
    std::fs::write(folder.join("transcript.jsonl"), text).unwrap();
    let resumed = spawn(&host, SpawnRequest::resume(result.id().clone(), "2")).await;
    settled(&host, &resumed).await;
    assert_eq!(shape(&transcript(&folder)), "u:1 a:done u:2 a:done");
    assert!(folder.join("transcript.jsonl.torn-1").exists());
    let notices = stage.display.notices();
    assert!(notices.iter().any(|notice| notice.contains("torn")), "{notices:?}");
}

#[tokio::test]
async fn a_damaged_session_is_not_opened_and_not_changed() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let result = spawn(&host, ("plain", "1")).await;
    let folder = stage.project.session();
    std::fs::write(folder.join("transcript.jsonl"), "{\"role\":\"user\",\"content\":\"1\"}\nnonsense\n{}\n")
        .unwrap();
    let before = std::fs::read(folder.join("metadata.json")).unwrap();
    let error = refused(&host, SpawnRequest::resume(result.id().clone(), "2")).await;
    assert!(error.to_string().contains("transcript.jsonl:2 is damaged"), "{error}");
    assert_eq!(std::fs::read(folder.join("metadata.json")).unwrap(), before);
}

#[tokio::test]
async fn a_session_that_is_open_is_locked_and_says_by_whom() {
    for on_disk in [true, false] {
        let (stage, gate) = (Stage::new(), Gate::new());
        stage.brain.then(Step::Wait("first".into(), gate.clone()));
        let host = if on_disk { stage.host_on_disk().await } else { stage.host_in_memory() };
        let running = spawn(&host, SpawnRequest::new("plain", "1").background(true)).await;
        gate.reached(1).await;
        let error = refused(&host, SpawnRequest::resume(running.id().clone(), "2")).await;
        assert!(matches!(error, SpawnError::Storage(StorageError::Locked { .. })), "{error}");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        gate.open();
        assert_eq!(settled(&host, &running).await.output, "first");
        let resumed = spawn(&host, SpawnRequest::resume(running.id().clone(), "2")).await;
        assert_eq!(settled(&host, &resumed).await.activation, Activation(2));
    }
}

#[tokio::test]
async fn a_session_that_is_not_there_is_not_found() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let error = refused(&host, SpawnRequest::resume(SessionId::new("nobody").unwrap(), "2")).await;
    assert!(matches!(error, SpawnError::Storage(StorageError::NotFound { .. })), "{error}");
}

/// Two that resume at once: the one that read before the other finished must not reuse its activation.
#[tokio::test]
async fn a_resume_that_comes_late_takes_the_next_activation() {
    for others in [1, 2] {
        let (stage, gate) = (Stage::new(), Gate::new());
        let memory = Arc::new(MemoryStorage::default());
        let slow = FaultyStorage::new(memory.clone(), When::Method("open"), Fault::Wait(gate.clone()));
        let first = stage.builder().storage(memory).in_memory();
        let late = stage.builder().storage(Arc::new(slow)).in_memory();
        let id = spawn(&first, ("plain", "1")).await.id().clone();
        let waiting = {
            let (late, id) = (late.clone(), id.clone());
            tokio::spawn(async move { spawn_bundle(&late, SpawnRequest::resume(id, "late")).await })
        };
        gate.reached(1).await;
        for _ in 0..others {
            settled(&first, &spawn(&first, SpawnRequest::resume(id.clone(), "2")).await).await;
        }
        gate.open();
        let result = soon("the spawn", waiting).await.unwrap().unwrap();
        assert_eq!(settled(&late, &result).await.activation, Activation(2 + others));
        assert_eq!(stage.brain.last_request().len(), 3 + 2 * others as usize);
    }
}

#[tokio::test]
async fn an_activation_that_ends_late_takes_no_later_one_out_of_the_table() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let late = Fault::Late(gate.clone());
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::default()), When::Method("close"), late);
    let host = stage.builder().storage(Arc::new(storage.clone())).in_memory();
    let first = spawn(&host, SpawnRequest::new("plain", "1").background(true)).await;
    gate.reached(1).await;
    storage.set(When::Never, Fault::Error);
    let next = spawn(&host, SpawnRequest::resume(first.id().clone(), "2").keep_open()).await;
    gate.open();
    settled_late(&first).await;
    let live = host.sessions().get(first.id()).expect("the later activation runs");
    assert_eq!(live.activation(), Activation(2));
    next.session().end().await;
    assert!(host.sessions().is_empty());
}

async fn settled_late(result: &amplifier_foundation::SpawnResult) {
    soon("the outcome", result.outcome()).await;
    // The outcome comes before the session leaves the table, without a wait between.
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn a_resume_keeps_the_recorded_permissions_and_limits_within_the_hosts() {
    let stage = Stage::new();
    let layer = |origin: &str, mode| Layer::of_mode(origin, mode, Vec::new());
    let limits = |turns, tokens| {
        let mut limits = Limits::default();
        (limits.max_turns, limits.max_tokens) = (turns, tokens);
        limits
    };
    let recorded = Permissions::unrestricted().with(layer("recorded", Mode::Plan));
    let first = {
        let host = stage.host_on_disk().await;
        let request = SpawnRequest::new("plain", "1").permissions(recorded).limits(limits(Some(5), None));
        spawn(&host, request).await.id().clone()
    };
    let current = Permissions::unrestricted().with(layer("current", Mode::DontAsk));
    let host = stage
        .builder()
        .permissions(current)
        .limits(limits(Some(9), Some(1_000_000)))
        .open(stage.project.path())
        .await
        .unwrap();
    for _ in 0..2 {
        let result = spawn(&host, SpawnRequest::resume(first.clone(), "2")).await;
        let origins: Vec<&str> =
            result.session().permissions().layers().iter().map(|layer| layer.origin.as_str()).collect();
        assert_eq!(origins, ["recorded", "current"], "recorded layers first, none twice");
        let bounds = result.session().limits();
        assert_eq!((bounds.max_turns, bounds.max_tokens), (Some(5), Some(1_000_000)));
    }
}

#[tokio::test]
async fn recorded_permissions_that_cannot_be_read_are_no_permission() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let result = spawn(&host, ("plain", "1")).await;
    let path = stage.project.session().join("metadata.json");
    let mut changed = metadata(&stage.project.session());
    changed["amplifier"]["permissions"] = json!("whatever you like");
    std::fs::write(path, changed.to_string()).unwrap();
    let error = refused(&host, SpawnRequest::resume(result.id().clone(), "2")).await;
    assert!(matches!(error, SpawnError::Recorded { what: "permissions", .. }), "{error}");
}

#[tokio::test]
async fn a_resume_may_take_another_bundle_and_needs_one() {
    let stage = Stage::new();
    let other = BundleText::new("other").instruction("You are another.");
    let host = stage.builder().bundle("other", other).open(stage.project.path()).await.unwrap();
    let id = spawn(&host, ("plain", "1")).await.id().clone();
    let result = spawn(&host, SpawnRequest::resume(id.clone(), "2").bundle("other")).await;
    settled(&host, &result).await;
    assert_eq!(stage.brain.requests().last().unwrap().system.as_deref(), Some("You are another."));
    forget_bundle(&stage.project.session());
    let error = refused(&host, SpawnRequest::resume(id.clone(), "3")).await;
    assert!(matches!(error, SpawnError::NoBundle { .. }) && error.is_configuration(), "{error}");
    settled(&host, &spawn(&host, SpawnRequest::resume(id, "3").bundle("plain")).await).await;
}

fn forget_bundle(folder: &Path) {
    let mut changed = metadata(folder);
    changed.as_object_mut().unwrap().remove("bundle");
    changed["amplifier"].as_object_mut().unwrap().remove("bundle_source");
    std::fs::write(folder.join("metadata.json"), changed.to_string()).unwrap();
}

#[tokio::test]
async fn a_session_of_the_reference_system_goes_on() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    spawn(&host, ("plain", "1")).await;
    let folder = stage.project.session().parent().unwrap().join("0b9f2c1e-reference");
    std::fs::create_dir(&folder).unwrap();
    let old = json!({"session_id": "0b9f2c1e-reference", "created": "2025-06-01T10:00:00.123456+00:00", "bundle": "bundle:plain",
        "model": "anthropic/claude", "turn_count": 1, "incremental": true, "later": {"kept": null}});
    std::fs::write(folder.join("metadata.json"), old.to_string()).unwrap();
    std::fs::write(folder.join("transcript.jsonl"), "{\"role\":\"user\",\"content\":\"hi\"}\n{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}\n").unwrap();
    let id = SessionId::new("0b9f2c1e-reference").unwrap();
    let result = spawn(&host, SpawnRequest::resume(id, "2")).await;
    assert_eq!(settled(&host, &result).await.kind, OutcomeKind::Completed);
    let asked: Vec<String> = stage.brain.last_request().into_iter().map(|(_, text)| text).collect();
    assert_eq!(asked, ["hi", "hello", "2"]);
    let now = metadata(&folder);
    assert_eq!((&now["later"], &now["turn_count"]), (&json!({"kept": null}), &json!(2)));
}

#[tokio::test]
async fn a_working_directory_that_is_gone_is_no_reason_to_lose_the_session() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let elsewhere = stage.project.around().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let result = spawn(&host, SpawnRequest::new("plain", "1").cwd(&elsewhere)).await;
    assert_eq!(result.session().env().cwd, std::fs::canonicalize(&elsewhere).unwrap());
    std::fs::remove_dir(&elsewhere).unwrap();
    let resumed = spawn(&host, SpawnRequest::resume(result.id().clone(), "2")).await;
    assert_eq!(resumed.session().env().cwd, stage.project.path());
}

#[tokio::test]
async fn a_session_that_runs_again_shows_no_outcome_of_before() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.say("one").then(Step::Wait("two".into(), gate.clone()));
    let host = stage.host_on_disk().await;
    let first = spawn(&host, ("plain", "1")).await;
    let again = spawn(&host, SpawnRequest::resume(first.id().clone(), "2").background(true)).await;
    gate.reached(1).await;
    let record = metadata(&stage.project.session())["amplifier"].clone();
    assert_eq!((&record["status"], &record["activation"]), (&json!("running"), &json!(2)));
    assert!(record.get("outcome").is_none(), "{record}");
    gate.open();
    settled(&host, &again).await;
}
