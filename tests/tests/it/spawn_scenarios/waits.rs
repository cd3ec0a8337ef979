//! Waiting for sessions by their ids: a deadline holds, whatever the sessions do.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{CancelLevel, OutcomeKind, SessionId};
use amplifier_foundation::host::WaitError;
use amplifier_foundation::store::MemoryStore;
use amplifier_foundation::{SpawnRequest, SpawnResult};
use amplifier_tests::fake::{FakeLoop, LoopAct, Step};
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, modules};

const MINUTE: Duration = Duration::from_secs(60);

/// A child in the background that waits at the gate.
async fn waiting(scene: &Scene, root: &SpawnResult, gate: &Gate) -> SpawnResult {
    scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
    scene.spawn(SpawnRequest::agent(root.session(), "worker", "wait").background(true)).await
}

#[tokio::test]
async fn a_deadline_holds_and_an_outcome_that_is_there_counts() {
    let (scene, gate) = (Scene::new(), Gate::new());
    let root = scene.root().await;
    let slow = waiting(&scene, &root, &gate).await;
    let quick = scene.spawn(SpawnRequest::agent(root.session(), "worker", "x").background(true)).await;
    let ids = [slow.id().clone(), quick.id().clone()];
    let sessions = scene.host.sessions();
    let (first, _) = soon("the first", sessions.wait_any(&ids, MINUTE)).await.unwrap().unwrap();
    assert_eq!(first, ids[1]);
    let clock = scene.stage.clock.clone();
    let all = {
        let (host, ids) = (scene.host.clone(), ids.clone());
        tokio::spawn(async move { host.sessions().wait_all(&ids, MINUTE).await })
    };
    clock.pass(MINUTE).await;
    let all = soon("all of them", all).await.unwrap().unwrap();
    let kinds: Vec<_> = all.iter().map(|(id, outcome)| (id, outcome.as_ref().map(|one| one.kind))).collect();
    assert_eq!(kinds, [(&ids[0], None), (&ids[1], Some(OutcomeKind::Completed))], "in the order of the ids");
    // Nothing is left of a deadline: only what is there already.
    assert!(soon("no time", sessions.wait(&ids[0], Duration::ZERO)).await.unwrap().is_none());
    assert!(soon("no time", sessions.wait(&ids[1], Duration::ZERO)).await.unwrap().is_some());
    assert!(soon("no time", sessions.wait_any(&ids[..1], Duration::ZERO)).await.unwrap().is_none());
    gate.open();
    assert_eq!(soon("it", sessions.wait(&ids[0], MINUTE)).await.unwrap().unwrap().output, "half");
    root.session().end().await;
    scene.over([root, slow, quick]).await;
}

/// An orchestrator that heeds no cancellation.
#[tokio::test]
async fn a_deadline_holds_though_a_session_heeds_nothing() {
    let gate = Gate::new();
    let stuck = FakeLoop("loop-stuck", LoopAct::Stuck(gate.clone()));
    let agents = json!({"worker": {"instruction": "You work.", "session": {"orchestrator": "loop-stuck"}}});
    let scene = Scene::with(Stage::new(), crew().section("agents", agents), |builder| {
        builder.modules(modules([&stuck]))
    });
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "x").background(true)).await;
    gate.reached(1).await;
    child.task().cancel(CancelLevel::Graceful);
    for _ in 0..2 {
        let wait = {
            let (host, id) = (scene.host.clone(), child.id().clone());
            tokio::spawn(async move { host.sessions().wait(&id, MINUTE / 2).await })
        };
        scene.stage.clock.pass(MINUTE / 2).await;
        assert!(soon("the deadline", wait).await.unwrap().unwrap().is_none());
    }
    child.task().cancel(CancelLevel::Immediate);
    assert_eq!(end(&child).await.0, OutcomeKind::Cancelled);
    root.session().end().await;
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_deadline_holds_though_the_store_hangs() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let memory = MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7));
    let store = FaultyStore::new(Arc::new(memory), When::Never, StoreFault::Error);
    let scene = Scene::with(stage, crew(), |builder| builder.store(Arc::new(store.clone())));
    let root = scene.spawn(("crew", "go")).await;
    let ids = [root.id().clone()];
    store.fail_reads(Some(StoreFault::Wait(gate.clone())));
    let wait = |what: u8| {
        let (host, ids) = (scene.host.clone(), ids.clone());
        tokio::spawn(async move {
            let sessions = host.sessions();
            match what {
                0 => sessions.wait(&ids[0], MINUTE).await.map(|one| one.is_some()),
                1 => sessions.wait_all(&ids, MINUTE).await.map(|all| all[0].1.is_some()),
                _ => sessions.wait_any(&ids, MINUTE).await.map(|one| one.is_some()),
            }
        })
    };
    for what in 0..3 {
        let waiting = wait(what);
        gate.reached(usize::from(what) + 1).await;
        scene.stage.clock.pass(MINUTE).await;
        assert!(!soon("the deadline", waiting).await.unwrap().unwrap());
    }
    store.fail_reads(Some(StoreFault::Error));
    let error = soon("the error", wait(0)).await.unwrap().unwrap_err();
    assert!(matches!(error, WaitError::Store(_)), "{error}");
    store.fail_reads(None);
    drop(store);
    gate.open();
    scene.over([root]).await;
}

#[tokio::test]
async fn a_session_that_nobody_knows() {
    let scene = Scene::new();
    let id = SessionId::new("nobody").unwrap();
    let sessions = scene.host.sessions();
    for error in [
        soon("it", sessions.wait(&id, MINUTE)).await.unwrap_err(),
        soon("it", sessions.wait_all(std::slice::from_ref(&id), MINUTE)).await.unwrap_err(),
        soon("it", sessions.wait_any(std::slice::from_ref(&id), MINUTE)).await.unwrap_err(),
    ] {
        assert!(matches!(&error, WaitError::Unknown { session } if *session == id), "{error}");
    }
    assert!(soon("nobody", sessions.wait_all::<SessionId>(&[], MINUTE)).await.unwrap().is_empty());
    scene.over([]).await;
}

/// Who was given the outcome of a failed child has taken care of it.
#[tokio::test]
async fn a_wait_by_id_takes_care_of_a_child() {
    let scene = Scene::new();
    let root = scene.root().await;
    let mut children = Vec::new();
    for _ in 0..3 {
        scene.stage.brain.to("fail", Step::Fail(amplifier_core::module::provider::ProviderErrorKind::Auth));
        let request = SpawnRequest::agent(root.session(), "worker", "fail").background(true);
        let child = scene.spawn(request).await;
        // Neither the result nor its task was asked.
        soon("its end", child.session().outcome()).await;
        children.push(child);
    }
    let abandoned = || root.descendants().iter().filter(|child| child.is_abandoned()).count();
    assert_eq!(abandoned(), 3);
    soon("it", scene.host.sessions().wait(children[0].id(), MINUTE)).await.unwrap();
    assert_eq!(abandoned(), 2);
    let ids: Vec<SessionId> = children.iter().map(|child| child.id().clone()).collect();
    soon("them", scene.host.sessions().wait_all(&ids[..2], MINUTE)).await.unwrap();
    assert_eq!(abandoned(), 1);
    soon("it", children[2].task().wait(MINUTE)).await.unwrap();
    assert_eq!(abandoned(), 0);
    root.session().end().await;
    scene.over(children.into_iter().chain([root])).await;
}

/// A wait for a session that was resumed waits for what runs now.
#[tokio::test]
async fn a_session_that_runs_again() {
    let (scene, gate) = (Scene::new(), Gate::new());
    let root = scene.spawn(("crew", "go")).await;
    scene.stage.brain.to("again", Step::Wait("second".into(), gate.clone()));
    let again = scene.spawn(SpawnRequest::resume(root.id().clone(), "again").background(true)).await;
    gate.reached(1).await;
    assert!(soon("it", scene.host.sessions().wait(root.id(), Duration::ZERO)).await.unwrap().is_none());
    gate.open();
    let outcome = soon("it", scene.host.sessions().wait(root.id(), MINUTE)).await.unwrap().unwrap();
    assert_eq!((outcome.output.as_str(), outcome.activation.0), ("second", 2));
    assert_eq!(end(&root).await.1.activation.0, 1, "the first handle keeps its own");
    scene.over([root, again]).await;
}
