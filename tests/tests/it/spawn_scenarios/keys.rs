//! Session keys: one session, however often and from wherever it is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{CancelLevel, OutcomeKind, SessionId};
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::store::MemoryStore;
use amplifier_foundation::{SpawnError, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;

use super::{Scene, crew, end, modules};

fn keyed(text: &str) -> SpawnRequest {
    SpawnRequest::new("crew", text).key("run/1")
}

#[tokio::test]
async fn a_request_of_a_key_attaches_to_what_runs() {
    let (scene, gate) = (Scene::new(), Gate::new());
    scene.stage.brain.to("go", Step::Wait("once".into(), gate.clone()));
    let first = scene.spawn(keyed("go").background(true)).await;
    gate.reached(1).await;
    let second = scene.spawn(keyed("something else").background(true)).await;
    assert_eq!(second.id(), first.id());
    // In the foreground it waits for the same; who stops waiting stops nothing.
    let waiting = {
        let host = scene.host.clone();
        tokio::spawn(async move { spawn_bundle(&host, keyed("go")).await })
    };
    tokio::task::yield_now().await;
    waiting.abort();
    let _ = waiting.await;
    let third = {
        let host = scene.host.clone();
        tokio::spawn(async move { spawn_bundle(&host, keyed("go")).await })
    };
    gate.open();
    let third = soon("the third", third).await.unwrap().unwrap();
    assert_eq!((third.id(), third.output().await.unwrap().as_str()), (first.id(), "once"));
    assert_eq!(scene.stage.brain.requests().len(), 1);
    scene.over([first, second, third]).await;
}

#[tokio::test]
async fn a_request_of_a_key_gets_the_outcome_that_was_stored() {
    for kind in [OutcomeKind::Completed, OutcomeKind::Failed] {
        let scene = Scene::new();
        match kind {
            OutcomeKind::Completed => scene.stage.brain.to("go", Step::Say("once".into())),
            _ => scene.stage.brain.to("go", Step::Fail(ProviderErrorKind::Auth)),
        };
        let first = scene.spawn(keyed("go").name("the only one")).await;
        let (id, outcome) = (first.id().clone(), end(&first).await.1);
        drop(first);
        let again = scene.spawn(keyed("go")).await;
        assert!(again.task().is_finished());
        assert_eq!((again.id(), end(&again).await), (&id, (kind, outcome)));
        assert_eq!(again.session().messages().len(), if kind == OutcomeKind::Completed { 2 } else { 1 });
        assert!(again.session().execute("more").await.unwrap_err().to_string().contains("has ended"));
        assert_eq!((scene.stage.brain.requests().len(), again.descendants().len()), (1, 0));
        drop(again);
        scene.over([]).await;
    }
}

/// All at once, and on real threads.
async fn fifty(request: impl Fn() -> SpawnRequest) {
    let (scene, gate) = (Scene::new(), Gate::new());
    scene.stage.brain.to("go", Step::Wait("once".into(), gate.clone()));
    let spawns: Vec<_> = (0..50)
        .map(|number| {
            let (host, request) = (scene.host.clone(), request().background(number % 2 == 0));
            tokio::spawn(async move { spawn_bundle(&host, request).await })
        })
        .collect();
    gate.reached(1).await;
    gate.open();
    let mut results: Vec<SpawnResult> = Vec::new();
    for spawn in spawns {
        let spawned = soon("a spawn", spawn).await.unwrap();
        results.push(spawned.unwrap_or_else(|error| panic!("{error}")));
    }
    let ids: BTreeSet<_> = results.iter().map(SpawnResult::id).collect();
    assert_eq!((ids.len(), gate.arrived()), (1, 1));
    for result in &results {
        assert_eq!(end(result).await.1.output, "once");
    }
    assert_eq!(stored(&scene).await, 1, "no other one was ever begun");
    // Of one that had ended there is nothing to count.
    results.truncate(1);
    drop(results);
    scene.over([]).await;
}

async fn stored(scene: &Scene) -> usize {
    scene.host.storage().list(&Default::default()).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_requests_of_one_key_are_one_session() {
    fifty(|| keyed("go")).await;
}

/// As a run's session has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_requests_of_one_key_and_one_id_are_one_session() {
    fifty(|| keyed("go").session_id(SessionId::new("run-1").unwrap())).await;
}

/// A child's place is taken once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_requests_of_one_key_are_one_child() {
    let scene = Scene::new();
    let root = Arc::new(scene.root().await);
    let spawns: Vec<_> = (0..50)
        .map(|_| {
            let (host, root) = (scene.host.clone(), Arc::clone(&root));
            tokio::spawn(async move {
                let request = SpawnRequest::agent(root.session(), "worker", "x").key("only");
                spawn_bundle(&host, request).await.unwrap().id().clone()
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for spawn in spawns {
        ids.insert(soon("a spawn", spawn).await.unwrap());
    }
    assert_eq!((ids.len(), root.tree_usage().spawned), (1, 1));
    root.session().end().await;
    scene.over([Arc::into_inner(root).unwrap()]).await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_its_key_free() {
    let broken = FakeTool::new("tool-broken", Act::NoMount);
    let bundle = crew().tool("tool-broken").to_string().replacen("\"crew\"", "\"broken\"", 1);
    let scene = Scene::with(Stage::new(), crew(), |builder| {
        builder.modules(modules([&broken])).bundle("broken", bundle)
    });
    let error = scene.refused(SpawnRequest::new("broken", "go").key("run/1")).await;
    assert!(error.to_string().contains("told to fail"), "{error}");
    let root = scene.spawn(keyed("go")).await;
    assert_eq!(end(&root).await.0, OutcomeKind::Completed);
    scene.over([root]).await;
}

#[tokio::test]
async fn what_is_no_key() {
    let scene = Scene::new();
    for key in ["", "a\nb", &"x".repeat(200)] {
        let error = scene.refused(SpawnRequest::new("crew", "go").key(key)).await;
        assert!(matches!(error, SpawnError::Key(_)), "{key:?}: {error}");
    }
    scene.over([]).await;
}

/// Two hosts over one store and one storage, as two processes will have them.
#[tokio::test]
async fn a_session_of_another_owner_is_named_with_it() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let store = MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7));
    let storage = MemoryStorage::default();
    let with = |builder: amplifier_foundation::HostBuilder| {
        builder.store(Arc::new(store.clone())).storage(Arc::new(storage.clone()))
    };
    let other = with(stage.builder()).in_memory();
    let scene = Scene::with(stage, crew(), with);
    scene.stage.brain.to("go", Step::Wait("there".into(), gate.clone()));
    let there =
        soon("it", spawn_bundle(&other, SpawnRequest::new("plain", "go").key("run/1").background(true)));
    let there = there.await.unwrap();
    gate.reached(1).await;
    let error = scene.refused(keyed("go")).await;
    let SpawnError::AlreadyRunning { session, owner } = &error else { panic!("{error}") };
    let row = store_row(&scene, there.id()).await;
    assert_eq!((session, owner.as_str()), (there.id(), row.as_str()));
    gate.open();
    let outcome = end(&there).await.1;
    assert_eq!(end(&scene.spawn(keyed("go")).await).await.1, outcome, "once it has ended, its outcome");
    drop((there, other));
}

async fn store_row(scene: &Scene, id: &SessionId) -> String {
    scene.host.store().session(id).await.unwrap().unwrap().owner.to_string()
}

/// The session of a key is read where the request keeps it, and not where the host does.
#[tokio::test]
async fn a_key_of_a_session_in_a_storage_of_its_own() {
    let (scene, own) = (Scene::new(), Arc::new(MemoryStorage::default()));
    let first = scene.spawn(keyed("go").storage(own.clone())).await;
    let again = scene.spawn(keyed("go").storage(own.clone())).await;
    assert_eq!((again.id(), again.output().await.unwrap().as_str()), (first.id(), "done"));
    drop(again);
    scene.over([first]).await;
}

/// It has ended, and the store could not be told: its outcome stands beside its transcript.
#[tokio::test]
async fn a_key_whose_session_could_not_be_settled() {
    let stage = Stage::new();
    let memory = MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7));
    let store = FaultyStore::new(Arc::new(memory), When::Method("settle"), StoreFault::Error);
    let scene = Scene::with(stage, crew(), |builder| builder.store(Arc::new(store.clone())));
    let first = scene.spawn(keyed("go")).await;
    assert!(end(&first).await.1.unrecorded);
    let again = scene.spawn(keyed("go")).await;
    assert_eq!((again.id(), again.output().await.unwrap().as_str()), (first.id(), "done"));
    drop((again, store));
    scene.with_a_failing_store().over([first]).await;
}

/// A key's session that is cancelled stays what the key means.
#[tokio::test]
async fn a_key_of_a_session_that_was_cancelled() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    scene.stage.brain.to("go", Step::Wait("half".into(), gate.clone()));
    let first = scene.spawn(keyed("go").background(true)).await;
    gate.reached(1).await;
    first.task().cancel(CancelLevel::Immediate);
    assert_eq!(end(&first).await.0, OutcomeKind::Cancelled);
    let again = scene.spawn(keyed("go")).await;
    assert_eq!(again.output().await.unwrap_err().partial, "half");
    drop(again);
    scene.over([first]).await;
}
