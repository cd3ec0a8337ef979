//! A storage or a store that fails at any of its calls: one outcome all the same, and nothing left behind.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{Activation, EventType, NewEvent, OutcomeKind, SessionId, SessionOutcome};
use amplifier_foundation::router::Delivery;
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::store::{MemoryStore, Store, Write};
use amplifier_foundation::{Shutdown, SpawnError, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::aftermath::{eventually, terminals};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::fake::{Step, agent, spawning};
use amplifier_tests::faulty::{Fault, FaultyStorage, When};
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, tool_results};

fn storage(when: When, fault: Fault) -> FaultyStorage {
    FaultyStorage::new(Arc::new(MemoryStorage::default()), when, fault)
}

fn store(clock: &ManualClock, when: When, fault: StoreFault) -> FaultyStore {
    let memory = MemoryStore::new(Arc::new(clock.clone()), &SeededIds::new(7));
    FaultyStore::new(Arc::new(memory), when, fault)
}

/// A root whose model delegates once. In the background, so that the test sees its handle whatever happens.
fn delegating(stage: &Stage) -> SpawnRequest {
    let call = Step::Call(vec![spawning(&agent("explorer", "look"))]);
    stage.brain.to("go", call).to("go", Step::Say("thanks".into()));
    SpawnRequest::new("crew", "go").session_id(SessionId::new("root").unwrap())
}

/// What a tree of two sessions asks of its storage.
async fn calls() -> Vec<&'static str> {
    let storage = storage(When::Never, Fault::Error);
    let scene = Scene::with(Stage::new(), crew(), |builder| builder.storage(Arc::new(storage.clone())));
    let request = delegating(&scene.stage);
    let root = scene.spawn(request).await;
    let calls = storage.calls();
    drop(storage);
    scene.over([root]).await;
    calls
}

/// The storage fails in a tree of two sessions.
async fn failing_storage(when: When, fault: Fault) {
    let told = format!("{when:?} {fault:?}");
    let storage = storage(when, fault);
    let scene = Scene::with(Stage::new(), crew(), |builder| builder.storage(Arc::new(storage.clone())));
    let request = delegating(&scene.stage);
    let spawned = soon(&told, spawn_bundle(&scene.host, request)).await;
    if let Err(error) = &spawned {
        assert!(matches!(error, SpawnError::Storage(_)), "{told}: {error}");
    }
    if let Ok(root) = &spawned {
        let (kind, outcome) = end(root).await;
        assert!(matches!(kind, OutcomeKind::Completed | OutcomeKind::Failed), "{told}: {outcome:?}");
    }
    storage.set(When::Never, Fault::Error);
    drop(storage);
    scene.with_a_failing_storage().over(spawned).await;
}

#[tokio::test]
async fn a_storage_that_fails_at_each_call() {
    let calls = calls().await;
    assert!(calls.len() > 10, "{calls:?}");
    for n in 0..calls.len() {
        failing_storage(When::At(n), Fault::Error).await;
        failing_storage(When::From(n), Fault::Error).await;
    }
}

#[tokio::test]
async fn a_storage_that_panics_at_each_call() {
    for n in 0..calls().await.len() {
        failing_storage(When::At(n), Fault::Panic).await;
        failing_storage(When::From(n), Fault::Panic).await;
    }
}

/// The commits of a tree of two sessions.
const COMMITS: [&str; 4] = ["open", "open", "settle", "settle"];

struct Failing {
    scene: Scene,
    store: FaultyStore,
    spawned: Result<SpawnResult, SpawnError>,
}

/// The store fails in a tree of two sessions.
async fn failing_store(when: When, fault: StoreFault) -> Failing {
    let stage = Stage::new();
    let told = format!("{when:?} {fault:?}");
    let store = store(&stage.clock, when, fault);
    let scene = Scene::with(stage, crew(), |builder| builder.store(Arc::new(store.clone())));
    let request = delegating(&scene.stage);
    let spawned = soon(&told, spawn_bundle(&scene.host, request)).await;
    Failing { scene, store, spawned }
}

#[tokio::test]
async fn a_tree_of_two_commits_four_times() {
    let Failing { scene, store, spawned } = failing_store(When::Never, StoreFault::Error).await;
    assert_eq!(store.commits(), COMMITS);
    drop(store);
    scene.over(spawned).await;
}

/// What the store could not take at the beginning is no session; what it could not take at the end is an
/// outcome that says so.
async fn at_each_commit(fault: StoreFault) {
    for (n, commit) in COMMITS.iter().enumerate() {
        for when in [When::At(n), When::From(n)] {
            let told = format!("{when:?} {fault:?}");
            let alone = matches!(when, When::At(_));
            let Failing { scene, store, spawned } = failing_store(when, fault.clone()).await;
            match (n, &spawned) {
                (0, Err(SpawnError::Store(_))) => {}
                (_, Ok(root)) => {
                    let (kind, outcome) = end(root).await;
                    assert_eq!(kind, OutcomeKind::Completed, "{told}: {outcome:?}");
                    assert_eq!(outcome.unrecorded, n == 3 || !alone, "{told}: {outcome:?}");
                    let seen = tool_results(&scene.stage);
                    assert_eq!(seen == ["done"], *commit == "settle", "{told}: {seen:?}");
                }
                (_, Err(error)) => panic!("{told}: {error}"),
            }
            assert!(scene.host.sessions().is_empty(), "{told}");
            store.set(When::Never, StoreFault::Error);
            // Whatever was not settled: what is there can be opened again, and is settled then.
            let mut again = Vec::new();
            for id in
                spawned.iter().flat_map(|root| root.descendants()).map(|child| child.id).collect::<Vec<_>>()
            {
                again.push(scene.spawn(SpawnRequest::resume(id, "again")).await);
            }
            if let Ok(root) = &spawned {
                again.push(scene.spawn(SpawnRequest::resume(root.id().clone(), "again")).await);
            }
            for one in &again {
                let (kind, outcome) = end(one).await;
                assert_eq!((kind, outcome.activation), (OutcomeKind::Completed, Activation(2)), "{told}");
                assert!(!outcome.unrecorded, "{told}");
            }
            drop(store);
            scene.with_a_failing_store().over(again.into_iter().chain(spawned)).await;
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_at_each_commit() {
    at_each_commit(StoreFault::Error).await;
}

#[tokio::test]
async fn a_store_that_panics_at_each_commit() {
    at_each_commit(StoreFault::Panic).await;
}

/// It has written, and says that it does not know.
#[tokio::test]
async fn a_store_in_doubt_at_each_commit() {
    for n in 0..COMMITS.len() {
        let Failing { scene, store, spawned } = failing_store(When::At(n), StoreFault::InDoubt).await;
        let root = spawned.unwrap_or_else(|error| panic!("{n}: {error}"));
        let (kind, outcome) = end(&root).await;
        assert_eq!((kind, outcome.unrecorded), (OutcomeKind::Completed, false), "{n}");
        assert_eq!(tool_results(&scene.stage), ["done"], "{n}");
        drop(store);
        scene.over([root]).await;
    }
}

/// A store that hangs holds back no outcome for ever, and no caller that goes away.
#[tokio::test]
async fn a_store_that_hangs_at_each_commit() {
    for (n, commit) in COMMITS.iter().enumerate() {
        let (stage, gate) = (Stage::new(), Gate::new());
        let store = store(&stage.clock, When::At(n), StoreFault::Wait(gate.clone()));
        let scene = Scene::with(stage, crew(), |builder| builder.store(Arc::new(store.clone())));
        let request = delegating(&scene.stage).background(true);
        let spawning = {
            let host = scene.host.clone();
            tokio::spawn(async move { spawn_bundle(&host, request).await })
        };
        gate.reached(1).await;
        scene.stage.clock.pass(Duration::from_secs(30)).await;
        let spawned = soon("the spawn", spawning).await.unwrap();
        match (n, &spawned) {
            (0, Err(SpawnError::Store(error))) => {
                assert!(format!("{error:?}").contains("Late"), "{error:?}");
            }
            (1, Ok(root)) => {
                assert_eq!(end(root).await.0, OutcomeKind::Completed);
                assert!(tool_results(&scene.stage)[0].contains("took too long"));
            }
            (_, Ok(root)) => {
                let (kind, outcome) = end(root).await;
                assert_eq!((kind, outcome.unrecorded), (OutcomeKind::Completed, n == 3), "{n}: {commit}");
            }
            (_, Err(error)) => panic!("{n}: {error}"),
        }
        eventually("nothing runs", || scene.host.sessions().is_empty()).await;
        gate.open();
        drop(store);
        scene.with_a_failing_store().over(spawned).await;
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_while_the_store_hangs() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let store = store(&stage.clock, When::At(0), StoreFault::Wait(gate.clone()));
    let scene = Scene::with(stage, crew(), |builder| builder.store(Arc::new(store.clone())));
    let caller = {
        let (host, request) = (scene.host.clone(), delegating(&scene.stage));
        tokio::spawn(async move { drop(spawn_bundle(&host, request).await) })
    };
    gate.reached(1).await;
    caller.abort();
    let _ = caller.await;
    scene.stage.clock.pass(Duration::from_secs(30)).await;
    soon("the end of the start", scene.host.sessions().idle()).await;
    assert!(!scene.host.storage().exists(&SessionId::new("root").unwrap()).await.unwrap());
    drop(store);
    scene.with_a_failing_store().over([]).await;
}

/// Nobody may wait when a runtime ends: the store is told, and may panic.
#[test]
fn a_store_that_panics_when_the_runtime_is_gone() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, gate) = (runtime(), Gate::new());
    let (_stage, host, root, mut ends) = first.block_on(async {
        let stage = Stage::new();
        let store = store(&stage.clock, When::Method("settle"), StoreFault::Panic);
        stage.brain.to("go", Step::Wait("half".into(), gate.clone()));
        let host = stage.builder().store(Arc::new(store)).in_memory();
        let root =
            soon("the spawn", spawn_bundle(&host, SpawnRequest::new("plain", "go").background(true))).await;
        gate.reached(1).await;
        let ends = host.router().subscribe("session:end").unwrap();
        (stage, host, root.unwrap(), ends)
    });
    drop(first);
    assert!(host.sessions().is_empty(), "it is out of the table");
    runtime().block_on(async {
        assert_eq!(end(&root).await.0, OutcomeKind::Lost);
        let told = soon("the end, beside the log", ends.next()).await;
        assert!(matches!(told, Some(Delivery::Event(event)) if event.sequence.is_none()));
        assert!(terminals(&host).await.is_empty());
    });
}

/// Its end could not be written, so it counts as running; while a resume settles it, somebody else does.
#[tokio::test]
async fn a_resume_beside_somebody_who_settles_what_was_lost() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let store = store(&stage.clock, When::Method("settle"), StoreFault::Error);
    let scene = Scene::with(stage, crew(), |builder| builder.store(Arc::new(store.clone())));
    let first = scene.spawn(("crew", "go")).await;
    assert!(end(&first).await.1.unrecorded);
    store.set(When::Method("settle"), StoreFault::Wait(gate.clone()));
    let resuming = {
        let (host, id) = (scene.host.clone(), first.id().clone());
        tokio::spawn(async move { spawn_bundle(&host, SpawnRequest::resume(id, "go on")).await })
    };
    soon("the resume at the store", gate.reached(1)).await;
    store.set(When::Never, StoreFault::Error);
    let row = store.session(first.id()).await.unwrap().unwrap();
    assert_eq!((row.last().activation, row.settled.is_some()), (Activation::FIRST, false));
    let outcome = Arc::new(SessionOutcome::new(OutcomeKind::Lost, Activation::FIRST, "", None));
    let event = NewEvent::of(EventType::SessionError, json!({}).into()).from_session(first.id().clone());
    let event = Box::new(scene.host.router().seal(event).unwrap());
    let settle = Write::Settle { of: row.last(), outcome, event };
    assert!(store.commit(settle.into()).await.unwrap().applied().is_some());
    gate.open();
    let second = soon("the resume", resuming).await.unwrap().unwrap();
    assert_eq!((second.id(), second.session().activation()), (first.id(), Activation(2)));
    let (kind, outcome) = end(&second).await;
    assert_eq!((kind, outcome.unrecorded), (OutcomeKind::Completed, false));
    let row = store.session(first.id()).await.unwrap().unwrap();
    assert_eq!(row.settled.unwrap().outcome.activation, Activation(2));
    assert!(scene.host.shutdown(Shutdown::Now).await.stuck.is_empty());
}
