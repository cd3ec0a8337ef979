//! Trees that are stopped: at every moment, from every side.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{CancelLevel, CancelReason, OutcomeKind, SessionId};
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::{Host, Shutdown, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::aftermath::eventually;
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, Step, agent, spawning};
use amplifier_tests::faulty::{Fault, FaultyStorage, When};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, modules};

const MINUTE: Duration = Duration::from_secs(60);

/// A tree of three levels, with tools and a child in the background, whose storage lets other tasks run at
/// each of its calls.
fn tree() -> Scene {
    let probe = FakeTool::new("tool-probe", Act::Say("found"));
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::default()), When::From(0), Fault::Yield);
    let bundle: BundleText = crew().tool("tool-probe");
    let scene = Scene::with(Stage::new(), bundle, |builder| {
        builder.storage(Arc::new(storage)).modules(modules([&probe]))
    });
    let mut aside = agent("worker", "aside");
    aside.background = true;
    let brain = &scene.stage.brain;
    brain.to("go", Step::Call(vec![spawning(&agent("explorer", "look")), spawning(&aside)]));
    brain.to("look", Step::Call(vec![spawning(&agent("worker", "dig")), ("probe", json!({}))]));
    for prompt in ["dig", "aside"] {
        brain.to(prompt, Step::Call(vec![("probe", json!({}))]));
    }
    scene.with_cuts()
}

fn go() -> SpawnRequest {
    SpawnRequest::new("crew", "go").session_id(SessionId::new("root").unwrap())
}

async fn moments(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Stops a tree at each moment of its life, until one comes when it has ended before. `stop` gets the root,
/// which may not exist yet; how the root ends, over all moments.
async fn sweep<S, F>(stop: S) -> BTreeSet<&'static str>
where
    S: Fn(Scene, usize) -> F,
    F: Future<Output = Option<&'static str>>,
{
    let mut ends = BTreeSet::new();
    let mut late = 0;
    for moment in 0.. {
        assert!(moment < 2_000, "the tree does not end");
        let end = stop(tree(), moment).await.unwrap_or("none");
        ends.insert(end);
        late = if end == "completed" { late + 1 } else { 0 };
        // Some moments behind the end too.
        if late > 5 {
            return ends;
        }
    }
    ends
}

/// The root in the background, stopped by its handle.
async fn stopped(scene: Scene, moment: usize, level: CancelLevel) -> Option<&'static str> {
    let root = scene.spawn(go().background(true)).await;
    moments(moment).await;
    root.task().cancel(level);
    let kind = end(&root).await.0.as_str();
    scene.over([root]).await;
    Some(kind)
}

#[tokio::test]
async fn gracefully_at_every_moment() {
    let ends = sweep(|scene, moment| stopped(scene, moment, CancelLevel::Graceful)).await;
    assert_eq!(ends, BTreeSet::from(["cancelled", "completed"]));
}

#[tokio::test]
async fn at_once_at_every_moment() {
    let ends = sweep(|scene, moment| stopped(scene, moment, CancelLevel::Immediate)).await;
    assert_eq!(ends, BTreeSet::from(["cancelled", "completed"]));
}

#[tokio::test]
async fn by_a_caller_that_goes_away_at_every_moment() {
    let ends = sweep(|scene, moment| async move {
        let caller = {
            let host = scene.host.clone();
            tokio::spawn(async move { spawn_bundle(&host, go()).await })
        };
        moments(moment).await;
        caller.abort();
        let returned = caller.await.is_ok();
        // The task that begins the session may not have run yet.
        moments(50).await;
        soon("the end of all sessions", scene.host.sessions().idle()).await;
        let id = SessionId::new("root").unwrap();
        let row = scene.host.store().session(&id).await.unwrap();
        let kind = row.map(|row| row.settled.unwrap().outcome.kind.as_str());
        assert!(!returned || kind == Some("completed"));
        scene.over([]).await;
        kind
    })
    .await;
    assert!(ends.contains("completed") && ends.contains("cancelled"), "{ends:?}");
}

#[tokio::test]
async fn by_a_shutdown_at_every_moment() {
    let ends = sweep(|scene, moment| async move {
        let spawning = {
            let host = scene.host.clone();
            tokio::spawn(async move { spawn_bundle(&host, go()).await })
        };
        moments(moment).await;
        let report = soon("the shutdown", scene.host.shutdown(Shutdown::Now)).await;
        assert!(report.stuck.is_empty() && scene.host.sessions().is_empty(), "{report:?}");
        let result = soon("the spawn", spawning).await.unwrap();
        let kind = result.as_ref().ok().map(|root| {
            root.session()
                .try_outcome()
                .expect("every session has its outcome after a shutdown")
                .kind
                .as_str()
        });
        scene.over(result).await;
        kind
    })
    .await;
    assert_eq!(ends, BTreeSet::from(["none", "cancelled", "completed"]));
}

/// The last handle of the host is dropped; what is left is told by the sessions' handles alone.
#[tokio::test]
async fn by_a_host_that_is_dropped_at_every_moment() {
    let ends = sweep(|scene, moment| async move {
        let Scene { stage, tool, host, aftermath } = scene;
        let (storage, store) = (Arc::clone(host.storage()), Arc::clone(host.store()));
        let root = soon("the spawn", spawn_bundle(&host, go().background(true))).await.unwrap();
        moments(moment).await;
        drop((host, aftermath));
        let kind = end(&root).await.0.as_str();
        let spawned = tool.take();
        for one in spawned.iter().chain([&root]) {
            let (_, outcome) = end(one).await;
            let row = store.session(one.id()).await.unwrap().unwrap();
            assert_eq!(row.settled.unwrap().outcome, outcome);
            assert!(storage.holder(one.id()).await.unwrap().is_none());
        }
        // One whose start nobody waited for any more ends a moment later.
        eventually("places are free", || root.tree_usage().running == 0).await;
        assert_eq!(root.tree_usage().spawned as usize, root.descendants().len());
        drop((root, spawned, tool));
        let alone = || Arc::strong_count(&storage) == 1 && stage.brain.instances() == 1;
        eventually("the host is gone", alone).await;
        Some(kind)
    })
    .await;
    assert_eq!(ends, BTreeSet::from(["cancelled", "completed"]));
}

/// A child in the background, stopped by its id, with a grandchild that it waits for.
#[tokio::test]
async fn a_child_by_its_id() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let brain = &scene.stage.brain;
    brain.to("look", Step::Call(vec![spawning(&agent("worker", "dig"))]));
    brain.to("dig", Step::Wait("half".into(), gate.clone()));
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look").background(true)).await;
    gate.reached(1).await;
    assert!(scene.host.sessions().cancel(child.id(), CancelLevel::Immediate));
    assert_eq!(end(&child).await.0, OutcomeKind::Cancelled);
    let kinds: Vec<_> = root.descendants().iter().map(|one| one.outcome).collect();
    assert_eq!(kinds, [Some(OutcomeKind::Cancelled); 2], "what is below goes with it");
    assert!(!root.session().env().cancel.is_cancelled(), "what is above does not");
    assert!(!scene.host.sessions().cancel(child.id(), CancelLevel::Immediate), "it runs no more");
    root.session().end().await;
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_parent_that_ends_before_its_child() {
    let (scene, gate) = (Scene::new(), Gate::new());
    let mut aside = agent("worker", "aside");
    aside.background = true;
    scene.stage.brain.to("go", Step::Call(vec![spawning(&aside)])).to("go", Step::Say("done here".into()));
    scene.stage.brain.to("aside", Step::Wait("half".into(), gate.clone()));
    let root = scene.spawn(("crew", "go")).await;
    assert_eq!(end(&root).await.0, OutcomeKind::Completed);
    gate.reached(1).await;
    let [running] = root.descendants().try_into().unwrap();
    assert!(running.is_abandoned() && running.outcome.is_none(), "{running:?}");
    assert_eq!(root.tree_usage().running, 1);
    // Its parent runs no more, and bounds it all the same.
    let [child] = scene.tool.take().try_into().unwrap();
    let below = scene.spawn(SpawnRequest::agent(child.session(), "worker", "x")).await;
    assert_eq!((below.session().env().depth, root.tree_usage().spawned), (2, 2));
    gate.open();
    assert_eq!(end(&child).await.1.output, "half");
    assert!(root.descendants().iter().all(|one| !one.is_abandoned()));
    scene.over([root, child, below]).await;
}

#[tokio::test]
async fn a_parent_that_is_stopped_takes_its_children_along() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let root = scene.root().await;
    let mut children = Vec::new();
    for _ in 0..3 {
        scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
        let request = SpawnRequest::agent(root.session(), "worker", "wait").background(true);
        children.push(scene.spawn(request).await);
    }
    let open = scene.spawn(SpawnRequest::agent(root.session(), "worker", "chat").keep_open()).await;
    gate.reached(3).await;
    root.task().cancel(CancelLevel::Immediate);
    for child in children.iter().chain([&open]) {
        assert_eq!(end(child).await.0, OutcomeKind::Cancelled);
        assert_eq!(child.session().env().cancel.reason(), Some(CancelReason::Requested));
    }
    assert_eq!(end(&root).await.0, OutcomeKind::Cancelled);
    scene.over(children.into_iter().chain([root, open])).await;
}

#[tokio::test]
async fn a_draining_shutdown_lets_a_tree_finish_and_grow() {
    let (scene, gate) = (Scene::new(), Gate::new());
    let brain = &scene.stage.brain;
    brain.to("go", Step::Wait("thinking".into(), gate.clone()));
    let root = scene.spawn(SpawnRequest::new("crew", "go").keep_open().background(true)).await;
    gate.reached(1).await;
    let closing = {
        let host = scene.host.clone();
        tokio::spawn(async move { host.shutdown(Shutdown::Drain { within: MINUTE }).await })
    };
    scene.stage.clock.asleep_within(MINUTE).await;
    let error = scene.refused(("crew", "another")).await;
    assert!(error.to_string().contains("shut down"), "{error}");
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    assert_eq!(end(&child).await.0, OutcomeKind::Completed, "a child of what runs may start");
    gate.open();
    root.session().end().await;
    let report = soon("the shutdown", closing).await.unwrap();
    assert!(report.cancelled.is_empty() && report.stuck.is_empty(), "{report:?}");
    scene.over([root, child]).await;
}

/// A runtime that ends under a tree, as when a program leaves `main`.
#[test]
fn a_runtime_that_is_gone() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (first, gate) = (runtime(), Gate::new());
    let (stage, root, child) = first.block_on(async {
        let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
        let brain = &scene.stage.brain;
        brain.to("go", Step::Call(vec![spawning(&agent("worker", "dig"))]));
        brain.to("dig", Step::Wait("half".into(), gate.clone()));
        let root = scene.spawn(go().background(true)).await;
        gate.reached(1).await;
        let id = root.descendants()[0].id.clone();
        let child = scene.host.sessions().get(&id).unwrap();
        let Scene { stage, host, .. } = scene;
        (stage, (host, root), child)
    });
    drop(first);
    let (host, root) = root;
    runtime().block_on(async {
        assert_eq!(end(&root).await.0, OutcomeKind::Lost);
        let outcome = soon("the outcome", child.outcome()).await;
        // Its parent's task may have gone first, as a caller that stops waiting.
        assert!(matches!(outcome.kind, OutcomeKind::Lost | OutcomeKind::Cancelled), "{outcome:?}");
        assert_eq!(outcome.output, "half");
        for (id, known) in [(root.id(), end(&root).await.1), (child.id(), outcome)] {
            // It is told, and not asked: what was handed over is written a moment later.
            let settled = soon("the store", async {
                loop {
                    if let Some(settled) = host.store().session(id).await.unwrap().unwrap().settled {
                        return settled;
                    }
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(settled.await.outcome, known, "the store was told");
        }
        assert!(host.sessions().is_empty());
        assert_eq!(root.tree_usage().running, 0);
        let ids: [SessionId; 2] = [root.id().clone(), child.id().clone()];
        let storage = Arc::downgrade(host.storage());
        drop((host, root, child));
        // The lock goes with the last that holds the host, which may be the thread of deadlines.
        eventually("the host is gone", || storage.strong_count() == 0).await;
        let again = Scene::on_disk(stage, crew(), |builder| builder).await;
        for id in &ids {
            let resumed = again.spawn(SpawnRequest::resume(id.clone(), "go on")).await;
            assert_eq!(end(&resumed).await.0, OutcomeKind::Completed);
        }
        let resumed: Vec<SpawnResult> = Vec::new();
        again.over(resumed).await;
    });
}

/// What a test may still hold of a host does not keep its sessions running.
#[tokio::test]
async fn a_handle_that_does_not_count() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    scene.stage.brain.to("go", Step::Wait("half".into(), gate.clone()));
    let root = scene.spawn(go().background(true)).await;
    gate.reached(1).await;
    let spawner = super::spawner(&root);
    let Scene { host, aftermath, .. } = scene;
    let other: Host = host.clone();
    drop((host, aftermath));
    assert!(!root.session().env().cancel.is_cancelled(), "another handle is left");
    drop(other);
    assert_eq!(end(&root).await.0, OutcomeKind::Cancelled);
    let error = spawner.spawn(SpawnRequest::new("crew", "late").background(true)).await.unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
}
