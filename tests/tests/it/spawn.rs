//! `spawn_bundle`: each way in which a session ends, and what is told of it.

use amplifier_core::event::EventType;
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::outcome::FailureKind;
use amplifier_core::permission::{Layer, Mode};
use amplifier_core::{
    CancelLevel, Limits, OutcomeKind, Permissions, SessionEvent, SessionId, SessionOutcome,
};
use amplifier_foundation::host::Host;
use amplifier_foundation::router::Delivery;
use amplifier_foundation::{SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeHook, FakeTool, Step};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(crate) async fn spawn(host: &Host, request: impl Into<SpawnRequest>) -> SpawnResult {
    soon("the spawn", spawn_bundle(host, request)).await.unwrap()
}

/// Every terminal event that the router has recorded so far.
pub(crate) async fn terminals(host: &Host) -> Vec<Arc<SessionEvent>> {
    let tail = host.router().tail().await.unwrap();
    let mut found = Vec::new();
    let mut from = amplifier_foundation::router::Cursor { sequence: 1, ..tail };
    while from.sequence < tail.sequence {
        let next = host.router().wait_after("session:end", from, Duration::ZERO).await.unwrap();
        let Some((event, behind)) = next else { break };
        found.push(event);
        from = behind;
    }
    found
}

/// Asserts what holds for every session that ended: one terminal event, the same outcome everywhere.
pub(crate) async fn settled(host: &Host, result: &SpawnResult) -> Arc<SessionOutcome> {
    let outcome = soon("the outcome", result.outcome()).await;
    let own: Vec<_> = terminals(host)
        .await
        .into_iter()
        .filter(|event| event.source.as_ref() == Some(result.id()))
        .collect();
    let activation =
        |event: &Arc<SessionEvent>| event.payload.decode::<Value>().unwrap()["activation"].clone();
    let of_this = own.iter().filter(|event| activation(event) == json!(outcome.activation));
    let events: Vec<_> = of_this.collect();
    assert_eq!(events.len(), 1, "one terminal event of activation {:?}", outcome.activation);
    let completed = outcome.kind == OutcomeKind::Completed;
    let expected = if completed { EventType::SessionCompleted } else { EventType::SessionError };
    assert_eq!(events[0].event_type, expected);
    let payload: Value = events[0].payload.decode().unwrap();
    assert_eq!(payload["outcome"], json!(outcome.kind));
    assert!(host.sessions().get(result.id()).is_none(), "an ended session is in the table");
    if !outcome.unrecorded {
        let stored = host.storage().load(result.id()).await.unwrap();
        let recorded: SessionOutcome = stored.metadata.amplifier.outcome.unwrap().decode().unwrap();
        assert_eq!(recorded, *outcome, "the recorded outcome is the returned one");
        assert_eq!(stored.metadata.amplifier.status.as_deref(), Some(outcome.kind.as_str()));
        assert_eq!(stored.metadata.amplifier.terminal_event_id, Some(events[0].id));
    }
    outcome
}

#[tokio::test]
async fn a_foreground_spawn_returns_with_the_answer() {
    let stage = Stage::new();
    stage.brain.say("42");
    let host = stage.host_in_memory();
    let result = spawn(&host, ("plain", "what is it?")).await;
    assert!(result.task().is_finished());
    let outcome = settled(&host, &result).await;
    assert_eq!(
        (outcome.kind, outcome.turns, outcome.cost_micro_usd),
        (OutcomeKind::Completed, 1, Some(1_000))
    );
    assert_eq!((outcome.usage.input_tokens, outcome.usage.output_tokens), (10, 5));
    assert_eq!(result.output().await.unwrap(), "42");
    assert_eq!(stage.brain.last_request(), [("user".to_owned(), "what is it?".to_owned())]);
    assert_eq!(stage.brain.requests()[0].system.as_deref(), Some("You are tested."));
}

#[tokio::test]
async fn a_tool_loop_goes_through_the_transcript_and_the_hooks() {
    let probe = FakeTool::new("tool-probe", Act::Say("it is blue"));
    let stage = Stage::with_tools([probe.clone()]);
    stage.brain.then(Step::Call(vec![("probe", json!({"of": "sky"}))])).say("blue");
    let host = stage.host_in_memory();
    let result = spawn(&host, ("plain", "which colour?")).await;
    let outcome = settled(&host, &result).await;
    assert_eq!((outcome.output.as_str(), outcome.turns), ("blue", 2));
    assert_eq!(probe.calls(), [json!({"of": "sky"})]);
    let texts: Vec<String> = stage.brain.last_request().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["which colour?", "", "it is blue"]);
    for event in ["session:start", "prompt:submit", "tool:pre", "tool:post", "execution:end", "session:end"] {
        assert_eq!(stage.hook.count(event), 1, "{event}");
    }
    assert_eq!(probe.cleaned(), 1);
}

/// How a session ends that meets this, and what it says.
async fn check(
    prepare: impl FnOnce(&Stage),
    stage: Stage,
    kind: OutcomeKind,
    failure: FailureKind,
    says: &str,
) {
    prepare(&stage);
    let host =
        stage.builder().bundle("panicky", BundleText::new("panicky").orchestrator("loop-panics")).in_memory();
    let bundle = if says.contains("the loop broke") { "panicky" } else { "plain" };
    let result = spawn(&host, (bundle, "go")).await;
    let outcome = settled(&host, &result).await;
    let error = outcome.error.as_ref().unwrap();
    assert_eq!((outcome.kind, error.kind), (kind, failure), "{error}");
    assert!(error.message.contains(says), "{error}");
    let failed = result.output().await.unwrap_err();
    assert!(failed.to_string().contains(says) && failed.id == *result.id(), "{failed}");
    assert_eq!(stage.hook.count("session:end"), 1);
}

#[tokio::test]
async fn each_failure_is_an_outcome_of_its_kind() {
    let fail = |kind| {
        move |stage: &Stage| {
            stage.brain.then(Step::Fail(kind));
        }
    };
    check(
        fail(ProviderErrorKind::Auth),
        Stage::new(),
        OutcomeKind::Failed,
        FailureKind::Provider,
        "told to fail",
    )
    .await;
    check(fail(ProviderErrorKind::Quota), Stage::new(), OutcomeKind::Failed, FailureKind::Provider, "brain")
        .await;
    let panics = |stage: &Stage| {
        stage.brain.then(Step::Panic);
    };
    check(panics, Stage::new(), OutcomeKind::Failed, FailureKind::Provider, "the brain hurts").await;
    check(|_| {}, Stage::new(), OutcomeKind::Failed, FailureKind::Module, "the loop broke").await;
    let denied = Stage::new().watched_by(FakeHook::denying("prompt:submit"));
    check(|_| {}, denied, OutcomeKind::Failed, FailureKind::Denied, "told to deny").await;
    let denied = Stage::new().watched_by(FakeHook::denying("llm:request"));
    check(|_| {}, denied, OutcomeKind::Failed, FailureKind::Denied, "told to deny").await;
}

#[tokio::test]
async fn a_denied_prompt_is_in_no_transcript() {
    let stage = Stage::new().watched_by(FakeHook::denying("prompt:submit"));
    let host = stage.host_in_memory();
    let result = spawn(&host, ("plain", "go")).await;
    assert!(host.storage().load(result.id()).await.unwrap().transcript.is_empty());
    assert!(stage.brain.requests().is_empty());
}

#[tokio::test]
async fn a_message_that_a_hook_adds_is_kept_and_counts_as_no_turn() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("ok"))]);
    let stage = stage.watched_by(FakeHook::injecting("tool:post"));
    stage.brain.call("probe");
    let host = stage.host_in_memory();
    let result = spawn(&host, ("plain", "go")).await;
    settled(&host, &result).await;
    let stored = host.storage().load(result.id()).await.unwrap();
    assert_eq!((stored.transcript.len(), stored.transcript[3].text().as_str()), (5, "by the way"));
    assert_eq!(stored.metadata.turn_count, Some(1));
}

#[tokio::test]
async fn a_tool_that_panics_or_fails_is_a_result_that_the_model_sees() {
    for (act, says) in [(Act::Panic, "the tool broke"), (Act::Fail, "told to fail")] {
        let stage = Stage::with_tools([FakeTool::new("tool-probe", act)]);
        stage.brain.call("probe").say("never mind");
        let host = stage.host_in_memory();
        let result = spawn(&host, ("plain", "go")).await;
        assert_eq!(settled(&host, &result).await.output, "never mind");
        let last = stage.brain.last_request();
        assert!(last[2].0 == "tool" && last[2].1.contains(says), "{last:?}");
        assert_eq!(stage.hook.count("tool:error"), 1);
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_waited_out_on_the_hosts_clock() {
    let stage = Stage::new();
    stage
        .brain
        .then(Step::Cut("half an ans".into()))
        .then(Step::Fail(ProviderErrorKind::Unavailable))
        .say("whole");
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    for _ in 0..2 {
        stage.clock.asleep_within(Duration::from_secs(2)).await;
        stage.clock.advance(Duration::from_secs(2));
    }
    let outcome = settled(&host, &result).await;
    assert_eq!((outcome.output.as_str(), outcome.duration_ms), ("whole", 4_000));
    assert_eq!(stage.display.notices().len(), 2);
}

#[tokio::test]
async fn a_limit_of_model_calls_ends_the_session_with_the_limit_in_its_outcome() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("more"))]);
    stage.brain.call("probe").call("probe").call("probe");
    let mut limits = Limits::default();
    limits.max_turns = Some(2);
    let host = stage.builder().limits(limits).in_memory();
    let result = spawn(&host, ("plain", "go")).await;
    let outcome = settled(&host, &result).await;
    assert_eq!((outcome.kind, outcome.turns), (OutcomeKind::LimitReached, 2));
    let limit = outcome.error.as_ref().unwrap().limit.clone().unwrap();
    assert_eq!((limit.value, limit.used), (2, 2));
    let stored = host.storage().load(result.id()).await.unwrap();
    assert_eq!(stored.transcript.len(), 5, "both results are kept");
}

#[tokio::test]
async fn a_call_that_nobody_can_allow_is_refused_and_the_outcome_says_so() {
    let probe = FakeTool::new("tool-probe", Act::Say("done it")).needs_shell();
    let stage = Stage::with_tools([probe.clone()]);
    stage.brain.call("probe").say("I was not allowed to");
    let layer = Layer::of_mode("mode plan (test)", Mode::Plan, Vec::new());
    let host = stage.builder().permissions(Permissions::unrestricted().with(layer)).in_memory();
    let result = spawn(&host, ("plain", "go")).await;
    let outcome = settled(&host, &result).await;
    assert!(outcome.is_completed() && probe.calls().is_empty());
    let last = stage.brain.last_request();
    assert!(last[2].1.contains("mode plan (test)"), "{last:?}");
}

#[tokio::test]
async fn the_terminal_event_carries_what_came_out() {
    let stage = Stage::new();
    let long = format!("x{}", "ä".repeat(20_000));
    stage.brain.say(&long);
    let host = stage.host_in_memory();
    let mut events = host.router().subscribe("session_completed").unwrap();
    let metadata = json!({"ticket": 7}).as_object().cloned().unwrap();
    let request = SpawnRequest::new("plain", "go").name("reviewer").metadata(metadata);
    let result = spawn(&host, request).await;
    let Some(Delivery::Event(event)) = soon("the event", events.next()).await else { panic!("no event") };
    let data: Value = event.payload.decode().unwrap();
    let cut = data["output"].as_str().unwrap();
    assert!(cut.len() <= 16 * 1024 && long.starts_with(cut) && cut.len() > 16 * 1024 - 4);
    for (key, expected) in [
        ("session_id", json!(result.id())),
        ("activation", json!(1)),
        ("parent_id", Value::Null),
        ("root_id", json!(result.id())),
        ("name", json!("reviewer")),
        ("bundle", json!("plain")),
        ("agent", Value::Null),
        ("outcome", json!("completed")),
        ("output_truncated", json!(true)),
        ("error", Value::Null),
        ("usage", json!(result.outcome().await.usage)),
        ("cost_usd", json!(0.001)),
        ("duration_ms", json!(0)),
        ("turns", json!(1)),
        ("run_id", Value::Null),
        ("trigger_id", Value::Null),
        ("metadata", json!({"ticket": 7})),
    ] {
        assert_eq!(data.get(key), Some(&expected), "{key}");
    }
    assert_eq!(data.as_object().unwrap().len(), 18);
}

#[tokio::test]
async fn the_terminal_event_of_a_failure_names_the_error() {
    let stage = Stage::new();
    stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    let host = stage.host_in_memory();
    let result = spawn(&host, ("plain", "go")).await;
    settled(&host, &result).await;
    let data: Value = terminals(&host).await[0].payload.decode().unwrap();
    assert_eq!(data["outcome"], "failed");
    assert_eq!(data["error"], json!({"kind": "provider", "message": "brain: told to fail"}));
}

#[tokio::test]
async fn a_background_spawn_returns_at_once_and_its_outcome_comes_later() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("later".into(), gate.clone()));
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    assert!(!result.task().is_finished());
    assert!(host.sessions().get(result.id()).is_some());
    assert!(result.task().wait(Duration::ZERO).await.is_none());
    assert_eq!(stage_status(&host, result.id()).await.as_deref(), Some("running"));
    gate.open();
    assert_eq!(settled(&host, &result).await.output, "later");
}

async fn stage_status(host: &Host, id: &SessionId) -> Option<String> {
    host.storage().load(id).await.unwrap().metadata.amplifier.status
}

#[tokio::test]
async fn dropping_a_background_result_changes_nothing() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("later".into(), gate.clone()));
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    let session = result.session().clone();
    drop(result);
    gate.reached(1).await;
    gate.open();
    assert_eq!(soon("the outcome", session.outcome()).await.output, "later");
}

#[tokio::test]
async fn a_session_that_is_kept_open_answers_turn_after_turn() {
    let stage = Stage::new();
    stage.brain.say("one").say("two").then(Step::Fail(ProviderErrorKind::Auth)).say("four");
    let host = stage.host_in_memory();
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open()).await;
    assert!(!chat.task().is_finished());
    assert_eq!(soon("a turn", chat.session().execute("2")).await.unwrap().text, "two");
    let failed = soon("a turn", chat.session().execute("3")).await.unwrap_err();
    assert!(failed.to_string().contains("told to fail"), "{failed}");
    let reply = soon("a turn", chat.session().execute("4")).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.turns), ("four", 4));
    let outcome = soon("the end", chat.session().end()).await;
    assert_eq!((outcome.kind, outcome.output.as_str()), (OutcomeKind::Completed, "four"));
    assert_eq!(settled(&host, &chat).await, outcome);
    let after = soon("a turn", chat.session().execute("5")).await.unwrap_err();
    assert!(after.to_string().contains("has ended"), "{after}");
    assert_eq!(stage.hook.count("session:start"), 1);
    let stored = host.storage().load(chat.id()).await.unwrap();
    assert_eq!(stored.metadata.turn_count, Some(4));
}

#[tokio::test]
async fn a_session_whose_last_turn_failed_ends_with_that_failure() {
    let stage = Stage::new();
    stage.brain.say("one").then(Step::Fail(ProviderErrorKind::Auth));
    let host = stage.host_in_memory();
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open()).await;
    soon("a turn", chat.session().execute("2")).await.unwrap_err();
    soon("the end", chat.session().end()).await;
    let outcome = settled(&host, &chat).await;
    assert_eq!(outcome.kind, OutcomeKind::Failed);
}

#[tokio::test]
async fn many_turns_that_are_asked_for_at_once_are_answered_one_by_one() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let chat = spawn(&host, SpawnRequest::new("plain", "0").keep_open()).await;
    let turns: Vec<_> = (0..30)
        .map(|number| {
            let session = chat.session().clone();
            tokio::spawn(async move { session.execute(number.to_string()).await })
        })
        .collect();
    for turn in turns {
        assert_eq!(soon("a turn", turn).await.unwrap().unwrap().text, "done");
    }
    assert_eq!(soon("the end", chat.session().end()).await.turns, 31);
    settled(&host, &chat).await;
}

#[tokio::test]
async fn a_mention_brings_its_file_in_every_turn() {
    let stage = Stage::new();
    stage.project.write("notes.md", "the secret word is heron");
    let host = stage.host_on_disk().await;
    let chat = spawn(&host, SpawnRequest::new("plain", "see @notes.md").keep_open()).await;
    soon("a turn", chat.session().execute("again, see @notes.md")).await.unwrap();
    chat.session().end().await;
    let asked: Vec<String> = stage
        .brain
        .last_request()
        .into_iter()
        .filter(|(role, _)| role == "user")
        .map(|(_, text)| text)
        .collect();
    for text in &asked {
        assert!(text.contains("heron") && text.contains("@notes.md"), "{text}");
    }
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn two_sessions_of_a_bundle_share_no_state() {
    let stage = Stage::new();
    let text = BundleText::bare("own").provider("provider-brain", json!({"nested": {"list": [1]}}));
    let host = stage.builder().bundle("own", text).in_memory();
    let (first, second) = (spawn(&host, ("own", "first")).await, spawn(&host, ("own", "second")).await);
    assert_ne!(first.id(), second.id());
    assert_eq!(first.session().messages().len(), 2);
    assert_eq!(second.session().messages().len(), 2);
    assert_eq!(stage.brain.last_request(), [("user".to_owned(), "second".to_owned())]);
    assert_eq!(stage.brain.configs(), vec![json!({"nested": {"list": [1]}}); 2]);
    first.task().cancel(CancelLevel::Immediate);
    assert_eq!(second.session().env().cancel.level(), CancelLevel::None);
}

#[tokio::test]
async fn a_hundred_sessions_at_once_end_once_each() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("ok"))]);
    let host = stage.host_in_memory();
    let spawns: Vec<_> = (0..100)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move { spawn_bundle(&host, ("plain", number.to_string())).await.unwrap() })
        })
        .collect();
    for spawned in spawns {
        let result = soon("a spawn", spawned).await.unwrap();
        assert!(result.outcome().await.is_completed());
    }
    assert_eq!(terminals(&host).await.len(), 100);
    assert!(host.sessions().is_empty());
}

#[tokio::test]
async fn mentions_are_judged_and_context_has_none() {
    let stage = Stage::new();
    stage.brain.say("first").say("second");
    stage.project.write("open.md", "an open file");
    stage.project.write("private.md", "a private file");
    let rule = amplifier_core::permission::Rule::parse(
        amplifier_core::permission::RuleEffect::Deny,
        "read(private.md)",
        &stage.project.path().canonicalize().unwrap(),
        std::path::Path::new("/"),
    );
    let layer = Layer::of_rules("test", vec![rule.unwrap()]);
    let host = stage.host_on_disk().await;
    let request = SpawnRequest::new("plain", "see @open.md and @private.md")
        .permissions(Permissions::unrestricted().with(layer))
        .input("<stdin>\n@open.md\n</stdin>")
        .keep_open();
    let result = spawn(&host, request).await;
    let asked = stage.brain.last_request()[0].1.clone();
    assert_eq!(asked.matches("an open file").count(), 1, "{asked}");
    assert!(!asked.contains("a private file"), "{asked}");
    assert!(asked.ends_with("see @open.md and @private.md\n\n<stdin>\n@open.md\n</stdin>"), "{asked}");
    let notices = stage.display.notices();
    assert!(notices.iter().any(|line| line.starts_with("mentions: ") && line.ends_with(" @private.md")));
    soon("a turn", result.session().execute("@private.md again")).await.unwrap();
    let asked = stage.brain.last_request().last().unwrap().1.clone();
    assert_eq!(asked, "@private.md again");
    soon("the end", result.session().end()).await;
    stage.brain.say("third");
    let only = SpawnRequest::new("plain", "").input("all of it is piped: @open.md");
    spawn(&host, only).await;
    assert_eq!(stage.brain.last_request()[0].1, "all of it is piped: @open.md");
}
