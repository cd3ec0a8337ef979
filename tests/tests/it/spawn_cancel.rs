//! `spawn_bundle`: sessions that are stopped from outside.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use amplifier_core::outcome::FailureKind;
use amplifier_core::{CancelLevel, OutcomeKind, SessionId};
use amplifier_foundation::{Shutdown, SpawnRequest, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeLoop, FakeTool, LoopAct, Step};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use std::sync::Arc;

use crate::spawn::{settled, spawn, terminals};

const MINUTE: Duration = Duration::from_secs(60);

/// A stage whose session is in the middle of a tool call.
fn in_a_tool(gate: &Gate) -> (Stage, FakeTool) {
    let tool = FakeTool::new("tool-slow", Act::Wait(gate.clone()));
    let stage = Stage::with_tools([tool.clone()]);
    stage.brain.call("slow").say("after the tool");
    (stage, tool)
}

async fn roles_and_texts(host: &amplifier_foundation::Host, id: &SessionId) -> Vec<(String, String)> {
    let stored = host.storage().load(id).await.unwrap();
    let one = |message: &Arc<amplifier_core::Message>| {
        (format!("{:?}", message.role).to_lowercase(), message.text())
    };
    stored.transcript.iter().map(one).collect()
}

#[tokio::test]
async fn a_deadline_ends_a_model_call_in_the_background() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), gate.clone()));
    let host = stage.host_in_memory();
    let request = SpawnRequest::new("plain", "go").background(true).timeout(MINUTE);
    let result = spawn(&host, request).await;
    gate.reached(1).await;
    stage.clock.pass(MINUTE).await;
    let outcome = settled(&host, &result).await;
    assert_eq!((outcome.kind, outcome.output.as_str()), (OutcomeKind::TimedOut, "half"));
    assert_eq!((outcome.duration_ms, outcome.error.as_ref().unwrap().kind), (60_000, FailureKind::TimedOut));
}

#[tokio::test]
async fn a_deadline_ends_a_tool_in_the_foreground_and_its_result_is_marked() {
    let gate = Gate::new();
    let (stage, tool) = in_a_tool(&gate);
    let host = stage.host_in_memory();
    let spawning = {
        let host = host.clone();
        tokio::spawn(
            async move { spawn_bundle(&host, SpawnRequest::new("plain", "go").timeout(MINUTE)).await },
        )
    };
    gate.reached(1).await;
    stage.clock.pass(MINUTE).await;
    let result = soon("the spawn", spawning).await.unwrap().unwrap();
    let outcome = settled(&host, &result).await;
    assert_eq!(outcome.kind, OutcomeKind::TimedOut);
    let messages = roles_and_texts(&host, result.id()).await;
    assert!(messages[2].0 == "tool" && messages[2].1.contains("interrupted"), "{messages:?}");
    assert_eq!((messages.len(), tool.calls().len(), tool.cleaned()), (3, 1, 1));
}

#[tokio::test]
async fn the_hosts_deadline_counts_where_it_is_tighter() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), gate.clone()));
    let mut limits = amplifier_core::Limits::default();
    limits.timeout_ms = Some(1_000);
    let host = stage.builder().limits(limits).in_memory();
    let request = SpawnRequest::new("plain", "go").background(true).timeout(MINUTE);
    let result = spawn(&host, request).await;
    gate.reached(1).await;
    stage.clock.pass(Duration::from_secs(1)).await;
    assert_eq!(settled(&host, &result).await.kind, OutcomeKind::TimedOut);
}

#[tokio::test]
async fn a_session_that_is_kept_open_and_idle_ends_at_its_deadline() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open().timeout(MINUTE)).await;
    stage.clock.pass(MINUTE).await;
    assert_eq!(settled(&host, &chat).await.kind, OutcomeKind::TimedOut);
}

#[tokio::test]
async fn a_graceful_stop_lets_the_running_tool_finish_and_asks_no_model_again() {
    let gate = Gate::new();
    let (stage, _) = in_a_tool(&gate);
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    result.task().cancel(CancelLevel::Graceful);
    gate.open();
    let outcome = settled(&host, &result).await;
    assert_eq!(outcome.kind, OutcomeKind::Cancelled);
    assert_eq!(roles_and_texts(&host, result.id()).await[2].1, "passed");
    assert_eq!(stage.brain.requests().len(), 1);
}

#[tokio::test]
async fn an_immediate_stop_cuts_the_running_tool_off() {
    let gate = Gate::new();
    let (stage, _) = in_a_tool(&gate);
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    result.task().cancel(CancelLevel::Graceful);
    result.task().cancel(CancelLevel::Immediate);
    let outcome = settled(&host, &result).await;
    assert_eq!(
        (outcome.kind, outcome.error.as_ref().unwrap().kind),
        (OutcomeKind::Cancelled, FailureKind::Cancelled)
    );
    let messages = roles_and_texts(&host, result.id()).await;
    assert!(messages[2].1.contains("interrupted"), "{messages:?}");
}

#[tokio::test]
async fn either_stop_ends_a_model_call_and_keeps_what_was_said() {
    for level in [CancelLevel::Graceful, CancelLevel::Immediate] {
        let (stage, gate) = (Stage::new(), Gate::new());
        stage.brain.then(Step::Wait("half".into(), gate.clone()));
        let host = stage.host_in_memory();
        let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
        gate.reached(1).await;
        result.task().cancel(level);
        let outcome = settled(&host, &result).await;
        assert_eq!((outcome.kind, outcome.output.as_str()), (OutcomeKind::Cancelled, "half"));
        let failed = result.output().await.unwrap_err();
        assert_eq!(failed.partial, "half");
    }
}

#[tokio::test]
async fn a_stop_between_turns_ends_a_session_that_is_kept_open() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open()).await;
    chat.task().cancel(CancelLevel::Graceful);
    assert_eq!(settled(&host, &chat).await.kind, OutcomeKind::Cancelled);
}

#[tokio::test]
async fn dropping_a_foreground_spawn_cancels_and_still_records_the_outcome() {
    let gate = Gate::new();
    let (stage, tool) = in_a_tool(&gate);
    let host = stage.host_in_memory();
    let id = SessionId::new("dropped").unwrap();
    let mut spawning = Box::pin(spawn_bundle(&host, SpawnRequest::new("plain", "go").session_id(id.clone())));
    soon("the tool", until_ready(&mut spawning, gate.reached(1))).await;
    let session = host.sessions().get(&id).unwrap();
    drop(spawning);
    assert_eq!(session.env().cancel.level(), CancelLevel::Graceful);
    gate.open();
    let outcome = soon("the outcome", session.outcome()).await;
    assert_eq!(outcome.kind, OutcomeKind::Cancelled);
    assert!(outcome.error.as_ref().unwrap().message.contains("stopped waiting"), "{outcome:?}");
    assert_eq!(terminals(&host).await.len(), 1);
    assert_eq!(roles_and_texts(&host, &id).await[2].1, "passed");
    assert_eq!(tool.cleaned(), 1);
    let stored = host.storage().load(&id).await.unwrap();
    assert_eq!(stored.metadata.amplifier.status.as_deref(), Some("cancelled"));
}

/// Polls `left` only as long as `right` is not done.
async fn until_ready<L: Future + Unpin, R: Future>(left: &mut L, right: R) -> R::Output {
    let mut right = Box::pin(right);
    std::future::poll_fn(move |cx| {
        let _ = std::pin::Pin::new(&mut *left).poll(cx).map(|_| ());
        match right.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn a_tool_that_ignores_a_dropped_caller_is_cut_off_after_ten_seconds() {
    let gate = Gate::new();
    let (stage, _) = in_a_tool(&gate);
    let host = stage.host_in_memory();
    let id = SessionId::new("dropped").unwrap();
    let mut spawning = Box::pin(spawn_bundle(&host, SpawnRequest::new("plain", "go").session_id(id.clone())));
    soon("the tool", until_ready(&mut spawning, gate.reached(1))).await;
    let session = host.sessions().get(&id).unwrap();
    drop(spawning);
    stage.clock.pass(Duration::from_secs(10)).await;
    assert_eq!(soon("the outcome", session.outcome()).await.kind, OutcomeKind::Cancelled);
    assert!(roles_and_texts(&host, &id).await[2].1.contains("interrupted"));
}

#[tokio::test]
async fn a_spawn_that_is_dropped_while_it_mounts_leaves_no_session() {
    for background in [false, true] {
        let gate = Gate::new();
        let tool = FakeTool::new("tool-slow", Act::SlowMount(gate.clone()));
        let stage = Stage::with_tools([tool.clone()]);
        let host = stage.host_in_memory();
        let id = SessionId::new("dropped").unwrap();
        let request = SpawnRequest::new("plain", "go").session_id(id.clone()).background(background);
        let mut spawning = Box::pin(spawn_bundle(&host, request));
        soon("the mount", until_ready(&mut spawning, gate.reached(1))).await;
        assert!(host.storage().exists(&id).await.unwrap());
        drop(spawning);
        let gone = async {
            while host.storage().exists(&id).await.unwrap() {
                tokio::task::yield_now().await;
            }
        };
        soon("the undoing", gone).await;
        assert!(host.sessions().is_empty() && stage.brain.requests().is_empty());
        assert_eq!(tool.cleaned(), 1);
    }
}

#[tokio::test]
async fn a_shutdown_waits_until_a_start_that_was_dropped_is_undone() {
    let gate = Gate::new();
    let stage = Stage::with_tools([FakeTool::new("tool-slow", Act::SlowMount(gate.clone()))]);
    let host = stage.host_in_memory();
    let id = SessionId::new("dropped").unwrap();
    let request = SpawnRequest::new("plain", "go").session_id(id.clone()).background(true);
    let mut spawning = Box::pin(spawn_bundle(&host, request));
    soon("the mount", until_ready(&mut spawning, gate.reached(1))).await;
    drop(spawning);
    let mut shutdown = Box::pin(host.shutdown(Shutdown::Now));
    let early = std::future::poll_fn(|context| Poll::Ready(shutdown.as_mut().poll(context))).await;
    assert!(early.is_pending());
    gate.open();
    soon("the shutdown", shutdown).await;
    assert!(!host.storage().exists(&id).await.unwrap());
}

#[tokio::test]
async fn an_orchestrator_that_heeds_nothing_is_left_at_the_deadline() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let stuck: Arc<dyn amplifier_core::module::Module> =
        Arc::new(FakeLoop("loop-stuck", LoopAct::Stuck(gate.clone())));
    let bundle = BundleText::new("stuck").orchestrator("loop-stuck");
    let host = stage.builder().modules([stuck]).bundle("stuck", bundle).in_memory();
    let request = SpawnRequest::new("stuck", "go").background(true).timeout(MINUTE);
    let result = spawn(&host, request).await;
    gate.reached(1).await;
    stage.clock.pass(MINUTE).await;
    assert_eq!(settled(&host, &result).await.kind, OutcomeKind::TimedOut);
}
