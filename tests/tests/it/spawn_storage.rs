//! `spawn_bundle` over a storage that fails, and what is on disk when it does not.

use std::sync::Arc;

use amplifier_core::OutcomeKind;
use amplifier_core::outcome::FailureKind;
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::{SpawnError, SpawnRequest, spawn_bundle};
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::faulty::{Fault, FaultyStorage, When};
use amplifier_tests::gate::Gate;
use amplifier_tests::project::{metadata, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};
use std::time::Duration;

use crate::spawn::{settled, spawn, terminals};

fn stage() -> (Stage, FakeTool) {
    let tool = FakeTool::new("tool-probe", Act::Say("found"));
    let stage = Stage::with_tools([tool.clone()]);
    stage.brain.call("probe").say("the answer");
    (stage, tool)
}

fn storage(when: When, fault: Fault) -> FaultyStorage {
    FaultyStorage::new(Arc::new(MemoryStorage::default()), when, fault)
}

/// What the storage is asked for in a session of one tool call.
const CALLS: [&str; 7] = ["create", "append", "append", "append", "append", "describe", "close"];

#[tokio::test]
async fn a_session_of_one_tool_call_asks_the_storage_for_seven_things() {
    let (stage, _) = stage();
    let storage = storage(When::Never, Fault::Error);
    let host = stage.builder().storage(Arc::new(storage.clone())).in_memory();
    spawn(&host, ("plain", "go")).await;
    assert_eq!(storage.calls(), CALLS);
}

/// Fails the n-th call, or it and all behind it.
async fn check(when: When, n: usize, fault: Fault) {
    let told = format!("{when:?} {fault:?}: {}", CALLS[n]);
    let (stage, tool) = stage();
    let panics = matches!(fault, Fault::Panic);
    let storage = storage(when.clone(), fault);
    let host = stage.builder().storage(Arc::new(storage.clone())).in_memory();
    let result = match soon(
        &told,
        tokio::spawn({
            let host = host.clone();
            async move { spawn_bundle(&host, ("plain", "go")).await }
        }),
    )
    .await
    {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            assert!(n == 0 && matches!(error, SpawnError::Storage(_)), "{told}: {error}");
            assert!(terminals(&host).await.is_empty() && host.sessions().is_empty(), "{told}");
            return;
        }
        Err(panic) => {
            assert!(n == 0 && panic.is_panic(), "{told}");
            return;
        }
    };
    let outcome = soon(&told, result.outcome()).await;
    assert_eq!(terminals(&host).await.len(), 1, "{told}");
    assert!(host.sessions().is_empty(), "{told}");
    assert_eq!(tool.cleaned(), 1, "{told}");
    let answered = n >= 4;
    assert_eq!(outcome.output, if answered { "the answer" } else { "" }, "{told}");
    assert_eq!(outcome.kind == OutcomeKind::Completed, n > 4, "{told}: {outcome:?}");
    if n < 5 {
        let error = outcome.error.as_ref().unwrap();
        assert_eq!(error.kind, FailureKind::Storage, "{told}: {outcome:?}");
        assert!(panics || error.message.ends_with(": no storage space"), "{told}: {}", error.message);
        // What the storage refused to keep did not happen: no tool without its call on record.
        assert_eq!(tool.calls().len(), usize::from(n > 2), "{told}");
    }
    assert_eq!(
        outcome.unrecorded,
        matches!(when, When::From(1..=5)) || n == 5 || n == 4,
        "{told}: {outcome:?}"
    );
}

#[tokio::test]
async fn whichever_call_of_the_storage_fails_there_is_one_outcome_and_no_answer_is_lost() {
    for n in 0..CALLS.len() {
        check(When::At(n), n, Fault::Error).await;
        check(When::From(n), n, Fault::Error).await;
    }
}

#[tokio::test]
async fn whichever_call_of_the_storage_panics_there_is_one_outcome() {
    for n in 0..CALLS.len() {
        check(When::At(n), n, Fault::Panic).await;
        check(When::From(n), n, Fault::Panic).await;
    }
}

#[tokio::test]
async fn a_storage_that_hangs_at_the_end_holds_no_outcome_back_for_ever() {
    let (stage, _) = stage();
    let gate = Gate::new();
    let storage = storage(When::Method("describe"), Fault::Wait(gate.clone()));
    let host = stage.builder().storage(Arc::new(storage)).in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    stage.clock.asleep_within(Duration::from_secs(60)).await;
    stage.clock.advance(Duration::from_secs(60));
    let outcome = soon("the outcome", result.outcome()).await;
    assert!(outcome.is_completed() && outcome.unrecorded, "{outcome:?}");
    assert_eq!(terminals(&host).await.len(), 1);
}

#[tokio::test]
async fn a_resume_whose_storage_fails_leaves_the_session_as_it_was() {
    for n in 0..2 {
        let (stage, _) = stage();
        let storage = storage(When::Never, Fault::Error);
        let host = stage.builder().storage(Arc::new(storage.clone())).in_memory();
        let first = spawn(&host, ("plain", "1")).await;
        let before = host.storage().load(first.id()).await.unwrap();
        // The call behind `load` and `open` that first writes.
        let writes = storage.calls().len() + 1 + n;
        storage.set(When::At(writes), Fault::Error);
        let error =
            soon("the spawn", spawn_bundle(&host, SpawnRequest::resume(first.id().clone(), "2"))).await;
        assert!(matches!(error.unwrap_err(), SpawnError::Storage(_)), "{n}");
        let after = host.storage().load(first.id()).await.unwrap();
        assert_eq!(after.metadata, before.metadata, "{n}");
        storage.set(When::Never, Fault::Error);
        let again = spawn(&host, SpawnRequest::resume(first.id().clone(), "2")).await;
        assert!(settled(&host, &again).await.is_completed(), "{n}");
    }
}

#[tokio::test]
async fn what_is_on_disk_has_the_shapes_of_the_reference_system() {
    let tool = FakeTool::new("tool-probe", Act::Say("found"));
    let stage = Stage::with_tools([tool]);
    stage.brain.then(Step::Call(vec![("probe", json!({"path": "ä"}))])).say("the answer");
    let host = stage.host_on_disk().await;
    let result = spawn(&host, SpawnRequest::new("plain", "go").name("a review")).await;
    settled(&host, &result).await;
    let folder = stage.project.session();
    assert_eq!(folder.file_name().unwrap().to_str(), Some(result.id().as_str()));
    let time = json!("2026-01-01T00:00:00.000000Z");
    assert_eq!(
        transcript(&folder),
        [
            json!({"role": "user", "content": "go", "metadata": {"timestamp": time}}),
            json!({"role": "assistant", "content": "", "metadata": {"timestamp": time},
                "tool_calls": [{"id": "call-1-0", "tool": "probe", "arguments": {"path": "ä"}}]}),
            json!({"role": "tool", "content": "found", "tool_call_id": "call-1-0", "name": "probe", "metadata": {"timestamp": time}}),
            json!({"role": "assistant", "content": "the answer", "metadata": {"timestamp": time}}),
        ]
    );
    let described = metadata(&folder);
    for (key, expected) in [
        ("session_id", json!(result.id())),
        ("created", time.clone()),
        ("bundle", json!("plain")),
        ("model", json!("brain/brain-1")),
        ("turn_count", json!(1)),
        ("working_dir", json!(stage.project.path())),
        ("name", json!("a review")),
    ] {
        assert_eq!(described.get(key), Some(&expected), "{key}");
    }
    assert_eq!(described["amplifier"]["outcome"]["kind"], "completed");
    assert_eq!(described["amplifier"]["outcome"]["output"], "the answer");
    assert!(described["amplifier"]["bundle_hash"].as_str().is_some_and(|hash| hash.len() > 20));
    private(&folder);
}

/// Files with content are readable by their owner alone.
fn private(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    for name in ["transcript.jsonl", "metadata.json"] {
        let mode = std::fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_value_that_looks_like_a_key_is_in_no_metadata() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let secret = json!({"api_key": "sk-live-0123456789abcdef0123456789"});
    let request = SpawnRequest::new("plain", "go").metadata(secret.as_object().cloned().unwrap());
    spawn(&host, request).await;
    let text = std::fs::read_to_string(stage.project.session().join("metadata.json")).unwrap();
    assert!(!text.contains("sk-live"), "{text}");
}

#[tokio::test]
async fn at_each_tool_call_the_call_is_on_disk_before_the_tool_runs() {
    let gate = Gate::new();
    let stage = Stage::with_tools([FakeTool::new("tool-slow", Act::Wait(gate.clone()))]);
    stage.brain.call("slow").say("done");
    let host = stage.host_on_disk().await;
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let roles: Vec<Value> =
        transcript(&stage.project.session()).iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant"]);
    gate.open();
    settled(&host, &result).await;
}

/// A session that was cut off in a tool, in a storage that fails when the session is resumed.
#[tokio::test]
async fn a_resume_that_cannot_mend_leaves_the_conversation_as_it_was() {
    use amplifier_core::{Activation, Message, SessionId, ToolCall};
    use amplifier_foundation::SessionStorage;
    use amplifier_foundation::storage::SessionMetadata;
    for method in ["append", "describe"] {
        let stage = Stage::new();
        let storage = storage(When::Never, Fault::Error);
        let id = SessionId::new("cut").unwrap();
        let mut metadata = SessionMetadata::new(id.clone(), amplifier_core::Timestamp::from_micros(0));
        metadata.bundle = Some("plain".into());
        storage.create(&id, &Arc::new(metadata)).await.unwrap();
        let mut caller = Message::assistant("");
        caller.tool_calls = vec![ToolCall::new("c", "probe", json!({}))];
        let messages = [Arc::new(Message::user("1")), Arc::new(caller)];
        storage.append(&id, Activation::FIRST, &messages).await.unwrap();
        storage.close(&id).await.unwrap();
        let before = storage.load(&id).await.unwrap();
        let host = stage.builder().storage(Arc::new(storage.clone())).in_memory();
        storage.set(When::Method(method), Fault::Error);
        let resumed = soon("the spawn", spawn_bundle(&host, SpawnRequest::resume(id.clone(), "2"))).await;
        let after = storage.load(&id).await.unwrap();
        match resumed {
            // The activation was recorded, so it has an outcome.
            Ok(result) => {
                let error = settled(&host, &result).await.error.clone().unwrap();
                assert_eq!((method, error.kind), ("append", FailureKind::Storage), "{error}");
                assert_eq!(after.metadata.amplifier.activation, Activation(2));
            }
            Err(error) => {
                assert!(matches!(error, SpawnError::Storage(_)), "{method}: {error}");
                assert_eq!((method, &after.metadata), ("describe", &before.metadata));
            }
        }
        assert_eq!(after.transcript, before.transcript, "{method}");
        assert!(stage.brain.requests().is_empty(), "{method}: no model was asked");
        storage.set(When::Never, Fault::Error);
        let again = spawn(&host, SpawnRequest::resume(id, "2")).await;
        assert!(settled(&host, &again).await.is_completed(), "{method}");
        let roles: Vec<String> = stage.brain.last_request().into_iter().map(|(role, _)| role).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "user"], "{method}");
    }
}
