//! Deadlines of children: silence, and modules that do not even stop.

use std::time::Duration;

use amplifier_core::limits::LimitKind;
use amplifier_core::{OutcomeKind, SessionOutcome};
use amplifier_foundation::storage::StorageError;
use amplifier_foundation::{Shutdown, SpawnError, SpawnRequest};
use amplifier_tests::aftermath::eventually;
use amplifier_tests::fake::{Act, Blocker, FakeTool, Step, agent, spawning};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, limits, modules, tool_results};

const MINUTE: Duration = Duration::from_secs(60);

/// The limit that an outcome names.
fn named(outcome: &SessionOutcome) -> (LimitKind, u64, String) {
    let limit = outcome.error.as_ref().unwrap().limit.clone().unwrap();
    (limit.limit, limit.value, limit.set_by)
}

#[tokio::test]
async fn a_child_that_gives_no_sign_of_life() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    scene.stage.brain.to("look", Step::Late("too late".into(), gate.clone()));
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look").background(true)).await;
    gate.reached(1).await;
    scene.stage.clock.pass(2 * MINUTE).await;
    let (kind, outcome) = end(&child).await;
    assert_eq!(
        (kind, named(&outcome)),
        (OutcomeKind::TimedOut, (LimitKind::FirstProgress, 120_000, "the default".into()))
    );
    assert!(outcome.error.as_ref().unwrap().message.contains("no sign of life"), "{outcome:?}");
    root.session().end().await;
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_child_that_falls_silent() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let mut look = agent("explorer", "look");
    look.limits = limits(|limits| limits.idle_ms = Some(30_000));
    scene.stage.brain.to("go", Step::Call(vec![spawning(&look)])).to("go", Step::Say("too bad".into()));
    scene.stage.brain.to("look", Step::Wait("so far".into(), gate.clone()));
    let root = scene.spawn(SpawnRequest::new("crew", "go").background(true)).await;
    gate.reached(1).await;
    scene.stage.clock.pass(MINUTE / 2).await;
    assert_eq!(end(&root).await.1.output, "too bad");
    let [child] = scene.tool.take().try_into().unwrap();
    let (kind, outcome) = end(&child).await;
    assert_eq!((kind, outcome.output.as_str()), (OutcomeKind::TimedOut, "so far"));
    assert_eq!(named(&outcome), (LimitKind::Idle, 30_000, "the request".into()));
    assert!(tool_results(&scene.stage)[0].contains("no sign of life"));
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_running_tool_is_no_silence() {
    let gate = Gate::new();
    let slow = FakeTool::new("tool-slow", Act::Wait(gate.clone()));
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-slow"), |builder| builder.modules(modules([&slow])));
    scene.stage.brain.to("look", Step::Call(vec![("slow", json!({}))])).to("look", Step::Say("found".into()));
    let root = scene.root().await;
    let silence = limits(|limits| limits.idle_ms = Some(1_000));
    let request = SpawnRequest::agent(root.session(), "explorer", "look").background(true).limits(silence);
    let child = scene.spawn(request.timeout(10 * MINUTE)).await;
    gate.reached(1).await;
    scene.stage.clock.advance(9 * MINUTE);
    gate.open();
    let (kind, outcome) = end(&child).await;
    assert_eq!((kind, outcome.output.as_str()), (OutcomeKind::Completed, "found"));
    root.session().end().await;
    scene.over([root, child]).await;
}

/// A child whose tool blocks its thread, and its parent, that waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_module_that_blocks_its_thread() {
    let blocker = Blocker::default();
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-block"), |builder| builder.modules(modules([&blocker])));
    let mut look = agent("explorer", "look");
    look.limits = limits(|limits| limits.timeout_ms = Some(60_000));
    scene.stage.brain.to("go", Step::Call(vec![spawning(&look)])).to("go", Step::Say("too bad".into()));
    scene
        .stage
        .brain
        .to("look", Step::Call(vec![("block", json!({}))]))
        .to("look", Step::Say("never".into()));
    let root = scene.spawn(SpawnRequest::new("crew", "go").background(true)).await;
    blocker.reached(1);
    scene.stage.clock.pass(MINUTE).await;
    // The grace in which a session that heeds nothing may still stop by itself.
    scene.stage.clock.pass(MINUTE).await;
    assert_eq!(end(&root).await.1.output, "too bad");
    let child = root.descendants()[0].id.clone();
    let seen = tool_results(&scene.stage);
    assert!(seen[0].contains("timed_out: the session's time is up; a module does not stop"), "{seen:?}");
    assert_eq!(scene.host.sessions().stuck(), std::slice::from_ref(&child), "counted as stuck");
    soon("its way out of the table", scene.host.sessions().idle()).await;
    let error = scene.refused(SpawnRequest::resume(child.clone(), "again")).await;
    assert!(
        matches!(error, SpawnError::Storage(StorageError::Locked { .. })),
        "it still has its lock: {error}"
    );
    blocker.free();
    eventually("it is not stuck any more", || scene.host.sessions().stuck().is_empty()).await;
    let stored = scene.host.storage().load(&child).await.unwrap();
    let recorded: SessionOutcome = stored.metadata.amplifier.outcome.unwrap().decode().unwrap();
    assert_eq!(recorded.kind, OutcomeKind::TimedOut, "the outcome that was given out is the one on record");
    scene.over([root]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_shutdown_names_a_session_that_is_stuck() {
    let blocker = Blocker::default();
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-block"), |builder| builder.modules(modules([&blocker])));
    scene.stage.brain.to("go", Step::Call(vec![("block", json!({}))]));
    let root = scene.spawn(SpawnRequest::new("crew", "go").background(true).timeout(MINUTE)).await;
    blocker.reached(1);
    scene.stage.clock.pass(MINUTE).await;
    scene.stage.clock.pass(MINUTE).await;
    assert_eq!(end(&root).await.0, OutcomeKind::TimedOut);
    soon("its way out of the table", scene.host.sessions().idle()).await;
    let report = soon("the shutdown", scene.host.shutdown(Shutdown::Now)).await;
    assert_eq!((report.cancelled, report.stuck), (Vec::new(), vec![root.id().clone()]));
    blocker.free();
    eventually("it is not stuck any more", || scene.host.sessions().stuck().is_empty()).await;
    scene.over([root]).await;
}
