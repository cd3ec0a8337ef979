//! Sessions that go on: with what they had, and never with more.

use std::sync::Arc;

use amplifier_core::permission::{Access, Layer, Mode, ResolvedPath, Ruling};
use amplifier_core::{Activation, CancelLevel, Limits, OutcomeKind, Permissions, SessionId};
use amplifier_foundation::router::Delivery;
use amplifier_foundation::spawn::{Inherit, Selection};
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::{SpawnError, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Brain, Step, Witness};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, limits, modules, spawner};

/// What a session is made of, as it runs.
#[derive(Debug, PartialEq)]
struct Inventory {
    tools: Vec<String>,
    hooks: Vec<&'static str>,
    agents: Vec<String>,
    provider: Option<String>,
    system: Option<String>,
    layers: Vec<String>,
    limits: Limits,
    depth: u32,
}

/// Modules that tell whether a session has them.
struct Kit {
    first: Witness,
    second: Witness,
    hook: Witness,
    other: Brain,
}

impl Kit {
    fn new() -> Self {
        Self {
            first: Witness::tool("tool-first"),
            second: Witness::tool("tool-second"),
            hook: Witness::hook("hooks-own"),
            other: Brain::named("provider-other"),
        }
    }

    /// A bundle with an agent that has modules of its own.
    fn crew() -> BundleText {
        let agents = json!({
            "explorer": {"instruction": "You explore.", "tools": [{"module": "tool-second"}], "hooks": [{"module": "hooks-own"}], "agents": ["worker"]},
            "worker": {"instruction": "You work."},
        });
        crew().tool("tool-first").provider("provider-other", json!({})).section("agents", agents)
    }

    fn modules(&self) -> Vec<Arc<dyn amplifier_core::module::Module>> {
        modules([&self.first, &self.second, &self.hook, &self.other])
    }

    fn inventory(&self, stage: &Stage, result: &SpawnResult) -> Inventory {
        let session = result.session();
        let asked = [&stage.brain, &self.other].into_iter().flat_map(Brain::requests);
        let own = asked.filter(|request| request.cache_key.as_deref() == Some(result.id().as_str())).last();
        Inventory {
            tools: session.tools().iter().map(|tool| tool.schema().name.clone()).collect(),
            hooks: self.hook.in_session(result.id()).map(|_| "hooks-own").into_iter().collect(),
            agents: spawner(result).agents().into_iter().map(|agent| agent.name).collect(),
            provider: session.model(),
            system: own.and_then(|request| request.system.map(|system| system.to_string())),
            layers: session.permissions().layers().iter().map(|layer| layer.origin.clone()).collect(),
            limits: session.limits().clone(),
            depth: session.env().depth,
        }
    }
}

/// A child of an agent, with everything that a request may narrow.
fn narrow(root: &SpawnResult) -> SpawnRequest {
    let layer = Layer::of_mode("the request", Mode::Plan, Vec::new());
    SpawnRequest::agent(root.session(), "explorer", "look")
        .inherit(Inherit::default().tools(Selection::Only(vec!["tool-spawn".into()])))
        .provider("other")
        .permissions(Permissions::unrestricted().with(layer))
        .limits(limits(|limits| (limits.max_turns, limits.max_descendants) = (Some(7), Some(3))))
}

#[tokio::test]
async fn a_child_goes_on_as_it_was_with_its_parent_there() {
    let kit = Kit::new();
    let scene = Scene::with(Stage::new(), Kit::crew(), |builder| builder.modules(kit.modules()));
    let root = scene.root().await;
    let child = scene.spawn(narrow(&root)).await;
    let before = kit.inventory(&scene.stage, &child);
    assert_eq!(before.tools, ["spawn", "second"]);
    assert_eq!((before.hooks.len(), before.agents.as_slice()), (1, ["worker".to_owned()].as_slice()));
    assert_eq!((before.provider.as_deref(), before.depth), (Some("other/brain-1"), 1));
    assert_eq!(before.system.as_deref(), Some("You explore."));
    kit.hook.forget();
    let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "and now?")).await;
    assert_eq!((again.id(), again.session().activation()), (child.id(), Activation(2)));
    assert_eq!(kit.inventory(&scene.stage, &again), before);
    assert_eq!(again.session().parent_id(), Some(root.id()));
    assert_eq!(root.descendants().len(), 2, "each activation is told of");
    root.session().end().await;
    drop(kit);
    scene.over([root, child, again]).await;
}

#[tokio::test]
async fn a_child_goes_on_as_it_was_with_its_parent_gone() {
    let kit = Kit::new();
    let scene = Scene::with(Stage::new(), Kit::crew(), |builder| builder.modules(kit.modules()));
    let root = scene.root().await;
    let child = scene.spawn(narrow(&root)).await;
    let before = kit.inventory(&scene.stage, &child);
    root.session().end().await;
    let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "and now?")).await;
    assert_eq!(kit.inventory(&scene.stage, &again), before);
    drop(kit);
    scene.over([root, child, again]).await;
}

/// The program is started anew over the same files.
#[tokio::test]
async fn a_child_goes_on_as_it_was_after_its_host_is_gone() {
    let (kit, stage) = (Kit::new(), Stage::new());
    let scene = Scene::on_disk(stage, Kit::crew(), |builder| builder.modules(kit.modules())).await;
    let root = scene.root().await;
    let child = scene.spawn(narrow(&root)).await;
    let below = scene.spawn(SpawnRequest::agent(child.id().clone(), "worker", "dig")).await;
    let before = [&child, &below].map(|one| kit.inventory(&scene.stage, one));
    let ids = [child.id().clone(), below.id().clone()];
    root.session().end().await;
    let stage = scene.over([root, child, below]).await;
    for _ in 0..2 {
        kit.hook.forget();
    }
    let scene = Scene::on_disk(stage, Kit::crew(), |builder| builder.modules(kit.modules())).await;
    let mut results = Vec::new();
    for round in 0..2 {
        for (id, before) in ids.iter().zip(&before) {
            let again = scene.spawn(SpawnRequest::resume(id.clone(), "and now?")).await;
            assert_eq!(kit.inventory(&scene.stage, &again), *before, "{round}");
            assert_eq!(again.session().activation(), Activation(2 + round));
            results.push(again);
        }
    }
    drop(kit);
    scene.over(results).await;
}

#[tokio::test]
async fn a_resume_never_widens() {
    let scene = Scene::new();
    let root = scene.root().await;
    let plan = Layer::of_mode("the request", Mode::Plan, Vec::new());
    let request = SpawnRequest::agent(root.session(), "worker", "x")
        .permissions(Permissions::unrestricted().with(plan))
        .limits(limits(|limits| limits.max_turns = Some(5)));
    let child = scene.spawn(request).await;
    let write = Access::Write(ResolvedPath::vouched("/x".into()));
    let denied = |result: &SpawnResult| result.session().permissions().decide(&write, false).ruling;
    assert_eq!(denied(&child), Ruling::Deny);
    let wide = Layer::of_mode("everything", Mode::BypassPermissions, Vec::new());
    let resume = |turns| {
        SpawnRequest::resume(child.id().clone(), "more")
            .permissions(Permissions::unrestricted().with(wide.clone()))
            .limits(limits(|limits| limits.max_turns = Some(turns)))
    };
    // By a session: its limits only narrow. By a person: within the host's and the parent's.
    let asked = soon("it", spawner(&root).spawn(resume(40))).await.unwrap();
    assert_eq!((denied(&asked), asked.session().limits().max_turns), (Ruling::Deny, Some(5)));
    let typed = scene.spawn(resume(40)).await;
    assert_eq!((denied(&typed), typed.session().limits().max_turns), (Ruling::Deny, Some(40)));
    root.session().end().await;
    scene.over([root, child, asked, typed]).await;
}

/// The host's own permissions hold for what a recorded parent lends, too.
#[tokio::test]
async fn a_child_of_a_recorded_parent_is_bounded_by_the_host_of_now() {
    let stage = Stage::new();
    let scene = Scene::on_disk(stage, crew(), |builder| builder).await;
    let root = scene.spawn(("crew", "go")).await;
    let id = root.id().clone();
    let stage = scene.over([root]).await;
    let plan = Permissions::unrestricted().with(Layer::of_mode("the host", Mode::Plan, Vec::new()));
    let scene = Scene::on_disk(stage, crew(), |builder| builder.permissions(plan)).await;
    let child = scene.spawn(SpawnRequest::agent(id, "worker", "x")).await;
    let origins: Vec<_> =
        child.session().permissions().layers().iter().map(|layer| layer.origin.as_str()).collect();
    assert_eq!(origins, ["the host"]);
    scene.over([child]).await;
}

/// 584b79f and 2ed24cf of the reference: a resumed child had no cancellation.
#[tokio::test]
async fn a_child_that_goes_on_ends_with_its_parent() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "x")).await;
    scene.stage.brain.to("again", Step::Wait("half".into(), gate.clone()));
    let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "again").background(true)).await;
    gate.reached(1).await;
    assert_eq!(root.tree_usage().running, 1, "it takes a place of its parent");
    root.task().cancel(CancelLevel::Immediate);
    assert_eq!(end(&again).await.0, OutcomeKind::Cancelled);
    assert_eq!(end(&root).await.0, OutcomeKind::Cancelled);
    scene.over([root, child, again]).await;
}

/// A grandchild that its grandparent opens again ends with its own parent.
#[tokio::test]
async fn a_grandchild_that_goes_on_ends_with_its_own_parent() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "x").keep_open()).await;
    let below = scene.spawn(SpawnRequest::agent(child.session(), "worker", "y")).await;
    scene.stage.brain.to("again", Step::Wait("half".into(), gate.clone()));
    let resume = SpawnRequest::resume(below.id().clone(), "again").background(true);
    let again = soon("it", spawner(&root).spawn(resume)).await.unwrap();
    gate.reached(1).await;
    child.task().cancel(CancelLevel::Immediate);
    assert_eq!(end(&again).await.0, OutcomeKind::Cancelled);
    root.session().end().await;
    scene.over([root, child, below, again]).await;
}

/// Its parent is deleted: the child keeps what it was, also the second time.
#[tokio::test]
async fn an_orphan_goes_on_as_it_was() {
    let kit = Kit::new();
    let scene = Scene::with(Stage::new(), Kit::crew(), |builder| builder.modules(kit.modules()));
    let root = scene.spawn(("crew", "go")).await;
    let child = scene.spawn(SpawnRequest::agent(root.id().clone(), "explorer", "look")).await;
    let before = kit.inventory(&scene.stage, &child);
    scene.host.storage().delete(root.id()).await.unwrap();
    let mut results = Vec::new();
    for _ in 0..3 {
        let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "and now?")).await;
        assert_eq!(kit.inventory(&scene.stage, &again), before);
        results.push(again);
    }
    // The root is in the store, and nowhere else: what is left of it cannot be opened.
    assert!(matches!(
        scene.refused(SpawnRequest::resume(root.id().clone(), "?")).await,
        SpawnError::Storage(_)
    ));
    drop(kit);
    scene.over(results.into_iter().chain([root, child])).await;
}

/// A child in a storage of its own, below a parent in the host's.
#[tokio::test]
async fn a_child_in_a_storage_of_its_own_finds_its_parent() {
    let (scene, own) = (Scene::new(), Arc::new(MemoryStorage::default()));
    let tight = SpawnRequest::new("crew", "go").limits(limits(|limits| limits.max_turns = Some(3)));
    let root = scene.spawn(tight.keep_open()).await;
    let request = SpawnRequest::agent(root.session(), "worker", "x").storage(own.clone());
    let child = scene.spawn(request).await;
    assert!(!scene.host.storage().exists(child.id()).await.unwrap());
    root.session().end().await;
    let resume = SpawnRequest::resume(child.id().clone(), "again").storage(own.clone());
    let wide = resume.limits(limits(|limits| limits.max_turns = Some(40)));
    let again = scene.spawn(wide).await;
    assert_eq!((again.session().env().depth, again.session().limits().max_turns), (1, Some(3)));
    assert_eq!(again.session().parent_id(), Some(root.id()));
    scene.over([root, child, again]).await;
}

/// Of two sessions of one id, kept in two places, one runs.
#[tokio::test]
async fn two_sessions_of_one_id_in_two_storages() {
    let (scene, gate) = (Scene::new(), Gate::new());
    scene.stage.brain.to("go", Step::Wait("first".into(), gate.clone()));
    let id = SessionId::new("same").unwrap();
    let first = scene.spawn(SpawnRequest::new("crew", "go").session_id(id.clone()).background(true)).await;
    gate.reached(1).await;
    let own = Arc::new(MemoryStorage::default());
    let request = SpawnRequest::new("crew", "x").session_id(id.clone()).storage(own.clone());
    let error = scene.refused(request).await;
    assert!(error.to_string().contains("exists already"), "{error}");
    let live = scene.host.sessions().get(&id).expect("the first one is in the table");
    assert_eq!(live.env().cancel.level(), CancelLevel::None);
    drop(live);
    gate.open();
    assert_eq!(end(&first).await.1.output, "first");
    scene.over([first]).await;
}

/// The terminal event comes last: who hears it finds the outcome, and can open the session again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_the_terminal_event_may_resume_at_once() {
    let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
    let mut ends = scene.host.router().subscribe("session:end").unwrap();
    let resuming = {
        let host = scene.host.clone();
        tokio::spawn(async move {
            let mut again = Vec::new();
            while again.len() < 20 {
                let Some(Delivery::Event(event)) = ends.next().await else { panic!("no event") };
                let id = event.source.clone().unwrap();
                let stored = host.storage().load(&id).await.unwrap();
                assert_eq!(stored.metadata.amplifier.status.as_deref(), Some("completed"));
                again.push(
                    spawn_bundle(&host, SpawnRequest::resume(id, "more").background(true)).await.unwrap(),
                );
            }
            again
        })
    };
    let root = scene.spawn(("crew", "go")).await;
    let again = soon("the resumes", resuming).await.unwrap();
    let activations: Vec<u32> = again.iter().map(|one| one.session().activation().0).collect();
    assert_eq!(activations, (2..22).collect::<Vec<u32>>());
    scene.over(again.into_iter().chain([root])).await;
}
