//! Faults that were found and mended, each under the name of what went wrong: ours, and those of the
//! reference system by the number or the commit under which they are known. Those of delegation are in
//! `delegate_faults`.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::approval::{Display, Origin, Shown};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{CancelLevel, OutcomeKind, Role, SessionId};
use amplifier_foundation::spawn::{ContextDepth, ContextRequest, ContextScope};
use amplifier_foundation::storage::{ProjectScope, SessionQuery, resolve_prefix};
use amplifier_foundation::{SpawnRequest, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, PROVIDER, SPAWN, Step, Witness, agent, spawning};
use amplifier_tests::gate::Gate;
use amplifier_tests::project::{metadata, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{Scene, agents, crew, end, limits, modules};

const MINUTE: Duration = Duration::from_secs(60);

/// A parent's node held its children's, and these held it: no tree was ever freed.
#[tokio::test]
async fn a_tree_that_has_ended_is_freed() {
    let scene = Scene::new();
    let storage = Arc::downgrade(scene.host.storage());
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    root.session().end().await;
    scene.over([root, child]).await;
    assert_eq!(storage.strong_count(), 0);
}

/// It took the outcome with it: nobody who waited was ever told.
#[tokio::test]
async fn a_display_that_panics() {
    #[derive(Debug)]
    struct Broken;
    impl Display for Broken {
        fn show(&self, _origin: &Origin, shown: Shown<'_>) {
            panic!("the display broke at {shown:?}");
        }
    }
    let scene = Scene::with(Stage::new(), crew(), |builder| builder.display(Arc::new(Broken)));
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    assert_eq!(end(&child).await.0, OutcomeKind::Completed);
    assert_eq!(root.session().end().await.kind, OutcomeKind::Completed);
    scene.over([root, child]).await;
}

/// Only a success was cleaned up.
#[tokio::test]
async fn fault_25_a_foreground_failure_cleans_up() {
    for step in [Step::Fail(ProviderErrorKind::Auth), Step::Panic] {
        let probe = FakeTool::new("tool-probe", Act::Say("found"));
        let scene = Scene::with(Stage::new(), crew().tool("tool-probe"), |builder| {
            builder.modules(modules([&probe]))
        });
        scene.stage.brain.to("go", Step::Call(vec![("probe", json!({}))])).to("go", step);
        let root = scene.spawn(("crew", "go")).await;
        assert_eq!(end(&root).await.0, OutcomeKind::Failed);
        assert_eq!((probe.cleaned(), scene.stage.hook.count("session:end")), (1, 1));
        let stored = scene.host.storage().load(root.id()).await.unwrap();
        assert_eq!(stored.transcript.len(), 3, "what there was is kept");
        scene.over([root]).await;
    }
}

/// The child's token stayed with the parent, and its session too.
#[tokio::test]
async fn fault_26_a_failure_before_the_turn_leaves_nothing_with_the_parent() {
    let broken = FakeTool::new("tool-broken", Act::NoMount);
    let agents = json!({"explorer": {"instruction": "You explore.", "tools": [{"module": "tool-broken"}]}});
    let scene = Scene::with(Stage::new(), crew().section("agents", agents), |builder| {
        builder.modules(modules([&broken]))
    });
    let root = scene.root().await;
    let instances = scene.stage.brain.instances();
    for _ in 0..20 {
        scene.refused(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    }
    assert_eq!(scene.stage.brain.instances(), instances);
    assert_eq!((root.descendants().len(), root.tree_usage().spawned, broken.cleaned()), (0, 0, 20));
    root.session().end().await;
    scene.over([root]).await;
}

/// The time-out, the parent and the metadata were dropped on the way to the background.
#[tokio::test]
async fn fault_27_the_background_is_given_what_was_asked_for() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
    let root = scene.root().await;
    let extra = json!({"ticket": 7}).as_object().cloned().unwrap();
    let request = SpawnRequest::agent(root.session(), "worker", "wait").metadata(extra).timeout(MINUTE);
    let child = scene.spawn(request.background(true)).await;
    gate.reached(1).await;
    let before = scene.host.storage().load(child.id()).await.unwrap().metadata;
    assert_eq!((before.spawned_by(), &before.extra["ticket"]), (Some(root.id()), &json!(7)));
    scene.stage.clock.pass(MINUTE).await;
    assert_eq!(end(&child).await.0, OutcomeKind::TimedOut);
    root.session().end().await;
    scene.over([root, child]).await;
}

/// Nobody held the task: it could not be listed, waited for or cancelled, and its end was not told.
#[tokio::test]
async fn fault_28_a_background_session_is_kept_hold_of() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    scene.stage.brain.to("go", Step::Wait("half".into(), gate.clone()));
    let root = scene.spawn(SpawnRequest::new("crew", "go").background(true)).await;
    let id = root.id().clone();
    drop(root);
    gate.reached(1).await;
    assert_eq!(scene.host.sessions().ids(), std::slice::from_ref(&id));
    assert!(scene.host.sessions().cancel(&id, CancelLevel::Immediate));
    let outcome = soon("it", scene.host.sessions().wait(&id, MINUTE)).await.unwrap().unwrap();
    assert_eq!((outcome.kind, outcome.output.as_str()), (OutcomeKind::Cancelled, "half"));
    scene.over([]).await;
}

/// An id that was named overwrote what was there; every save began anew.
#[tokio::test]
async fn fault_30_a_session_is_never_overwritten() {
    let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
    let id = SessionId::new("mine").unwrap();
    let first = scene.spawn(SpawnRequest::new("crew", "one").session_id(id.clone())).await;
    let folder = scene.stage.project.session();
    let created = metadata(&folder)["created"].clone();
    let before = std::fs::read(folder.join("transcript.jsonl")).unwrap();
    let error = scene.refused(SpawnRequest::new("crew", "two").session_id(id.clone())).await;
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(std::fs::read(folder.join("transcript.jsonl")).unwrap(), before);
    scene.stage.clock.advance(MINUTE);
    let again = scene.spawn(SpawnRequest::resume(id, "two")).await;
    let now = metadata(&folder);
    assert_eq!((&now["created"], &now["turn_count"]), (&created, &json!(2)));
    assert_eq!(now["amplifier"]["status"], "completed");
    scene.over([first, again]).await;
}

/// Messages with calls were kept and their results dropped, which services refuse.
#[tokio::test]
async fn fault_31_a_childs_context_holds_no_call_without_its_result() {
    let probe = FakeTool::new("tool-probe", Act::Say("found"));
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-probe"), |builder| builder.modules(modules([&probe])));
    scene.stage.brain.to("one", Step::Call(vec![("probe", json!({}))])).to("one", Step::Say("1".into()));
    let root = scene.spawn(SpawnRequest::new("crew", "one").keep_open()).await;
    let mut all = Vec::new();
    for scope in [ContextScope::Conversation, ContextScope::Agents, ContextScope::Full] {
        let request = SpawnRequest::agent(root.session(), "worker", "x")
            .context(ContextRequest::fork(ContextDepth::Recent(5), scope));
        all.push(scene.spawn(request).await);
        let asked = scene.stage.brain.requests().pop().unwrap().messages.to_vec();
        let calls: usize = asked.iter().map(|message| message.tool_calls.len()).sum();
        let results = asked.iter().filter(|message| message.role == Role::Tool).count();
        assert_eq!((calls, results), if scope == ContextScope::Full { (1, 1) } else { (0, 0) }, "{scope:?}");
    }
    root.session().end().await;
    all.push(root);
    scene.over(all).await;
}

/// Nothing was on disk before the end.
#[tokio::test]
async fn fault_32_what_a_child_has_done_is_on_disk_while_it_runs() {
    let gate = Gate::new();
    let slow = FakeTool::new("tool-slow", Act::Wait(gate.clone()));
    let scene =
        Scene::on_disk(Stage::new(), crew().tool("tool-slow"), |builder| builder.modules(modules([&slow])))
            .await;
    scene.stage.brain.to("look", Step::Call(vec![("slow", json!({}))]));
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "look").background(true)).await;
    gate.reached(1).await;
    let folder =
        scene.stage.project.sessions().into_iter().find(|folder| folder.ends_with(child.id().as_str()));
    let roles: Vec<Value> =
        transcript(&folder.unwrap()).iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant"]);
    gate.open();
    end(&child).await;
    root.session().end().await;
    scene.over([root, child]).await;
}

/// Names of folders grew with the depth.
#[tokio::test]
async fn commit_e6e336d_ids_stay_short_however_deep() {
    let scene = Scene::new();
    let deep = limits(|limits| (limits.max_depth, limits.max_concurrent) = (Some(12), Some(12)));
    let mut line = vec![scene.spawn(SpawnRequest::new("crew", "hello").keep_open().limits(deep)).await];
    for _ in 0..10 {
        let parent = line.last().unwrap().session().clone();
        line.push(scene.spawn(SpawnRequest::agent(&parent, "explorer", "x").keep_open()).await);
    }
    let lengths: Vec<usize> = line[1..].iter().map(|one| one.id().as_str().len()).collect();
    assert!(lengths.iter().all(|length| *length == lengths[0] && *length < 64), "{lengths:?}");
    for one in line.iter().rev() {
        one.session().end().await;
    }
    scene.over(line).await;
}

/// One loader for all gave a child the settings of its parent's modules.
#[tokio::test]
async fn commit_cf35769_a_bundle_child_has_its_own_settings_alone() {
    let witness = Witness::tool("tool-a");
    let other = BundleText::new("other").tool_with("tool-a", json!({"own": 1}));
    let scene =
        Scene::with(Stage::new(), crew().tool_with("tool-a", json!({"parents": 1, "own": 0})), |builder| {
            builder.modules(modules([&witness])).bundle("other", other)
        });
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::new("other", "x").parent(root.session())).await;
    assert_eq!(witness.in_session(child.id()).unwrap().config, json!({"own": 1}));
    root.session().end().await;
    witness.forget();
    drop(witness);
    scene.over([root, child]).await;
}

/// A shallow copy let parallel spawns change their parent's settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_887a2eb_parallel_spawns_share_no_settings() {
    let witness = Witness::tool("tool-a");
    let with = |config: Value| json!([{"module": "tool-a", "config": config}]);
    let mut roster = agents();
    roster["explorer"]["tools"] = with(json!({"nested": {"who": "explorer", "only": 1}, "list": [2]}));
    roster["worker"]["tools"] = with(json!({"nested": {"who": "worker"}}));
    let base = json!({"nested": {"who": "parent", "base": true}, "list": [1]});
    let bundle = crew().tool_with("tool-a", base.clone()).section("agents", roster);
    let scene = Scene::with(Stage::new(), bundle, |builder| builder.modules(modules([&witness])));
    let bounded = limits(|limits| limits.max_concurrent = Some(60));
    let root = Arc::new(scene.spawn(SpawnRequest::new("crew", "hello").keep_open().limits(bounded)).await);
    let spawns: Vec<_> = ["explorer", "worker", "self"]
        .into_iter()
        .cycle()
        .take(60)
        .map(|name| {
            let (host, root) = (scene.host.clone(), Arc::clone(&root));
            tokio::spawn(async move {
                (name, spawn_bundle(&host, SpawnRequest::agent(root.session(), name, "x")).await.unwrap())
            })
        })
        .collect();
    let mut all = Vec::new();
    for spawn in spawns {
        let (name, child) = soon("a spawn", spawn).await.unwrap();
        let expect = match name {
            "explorer" => json!({"nested": {"who": "explorer", "base": true, "only": 1}, "list": [2]}),
            "worker" => json!({"nested": {"who": "worker", "base": true}, "list": [1]}),
            _ => base.clone(),
        };
        assert_eq!(witness.in_session(child.id()).unwrap().config, expect, "{name}");
        all.push(child);
    }
    root.session().end().await;
    all.push(Arc::into_inner(root).unwrap());
    witness.forget();
    drop(witness);
    scene.over(all).await;
}

/// Sub-sessions stood in every list, and made the beginning of an id ambiguous.
#[tokio::test]
async fn commit_c03d2fe_children_are_no_top_level_sessions() {
    let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "x")).await;
    let storage = scene.host.storage().as_ref();
    let all = storage.list(&SessionQuery::default()).await.unwrap();
    let top: Vec<_> = all.iter().filter(|one| one.is_top_level()).map(|one| &one.id).collect();
    assert_eq!((all.len(), top), (2, vec![root.id()]));
    // Both begin with zeros here.
    let found = resolve_prefix(storage, "000", ProjectScope::default()).await.unwrap();
    assert_eq!(&found.id, root.id());
    root.session().end().await;
    scene.over([root, child]).await;
}

/// A session that never ran left its folder.
#[tokio::test]
async fn commit_462bf80_a_child_that_never_ran_leaves_no_trace() {
    let broken = FakeTool::new("tool-broken", Act::PanicAtMount);
    let agents = json!({"explorer": {"instruction": "You explore.", "tools": [{"module": "tool-broken"}]}});
    let scene = Scene::on_disk(Stage::new(), crew().section("agents", agents), |builder| {
        builder.modules(modules([&broken]))
    })
    .await;
    let root = scene.root().await;
    scene.refused(SpawnRequest::agent(root.session(), "explorer", "x")).await;
    assert_eq!(scene.stage.project.sessions().len(), 1);
    root.session().end().await;
    scene.over([root]).await;
}

/// A child knew nothing of its parent's names and files.
#[tokio::test]
async fn commit_f2b7ccb_a_child_follows_the_mentions_of_its_bundle() {
    let stage = Stage::new();
    stage.project.write("notes.md", "the secret word is heron");
    stage.project.write(".amplifier/bundles/lore.md", "the other word is egret");
    let text = crew().to_string().replacen("\"crew\"", "\"named\"", 1);
    stage.project.bundle("named", text);
    let scene = Scene::on_disk(stage, crew(), |builder| builder).await;
    let root = scene.spawn(SpawnRequest::new("named", "hello").keep_open()).await;
    let request = SpawnRequest::agent(root.session(), "explorer", "see @notes.md and @named:lore.md");
    let child = scene.spawn(request).await;
    let asked = scene.stage.brain.last_request().pop().unwrap().1;
    assert!(asked.contains("heron") && asked.contains("egret"), "{asked}");
    root.session().end().await;
    scene.over([root, child]).await;
}

/// A result that was made up had no name, which services refuse.
#[tokio::test]
async fn commit_5d31b36_an_interrupted_result_names_its_tool() {
    let gate = Gate::new();
    let slow = FakeTool::new("tool-slow", Act::Wait(gate.clone()));
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-slow"), |builder| builder.modules(modules([&slow])));
    scene.stage.brain.to("look", Step::Call(vec![("slow", json!({}))]));
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "look").background(true)).await;
    gate.reached(1).await;
    child.task().cancel(CancelLevel::Immediate);
    end(&child).await;
    let stored = scene.host.storage().load(child.id()).await.unwrap().transcript;
    assert_eq!((stored.len(), stored[2].name.as_deref()), (3, Some("slow")));
    root.session().end().await;
    scene.over([root, child]).await;
}

/// What was said last was said twice to the model.
#[tokio::test]
async fn commit_9593191_a_resume_says_nothing_twice() {
    let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "one")).await;
    let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "two")).await;
    let asked: Vec<String> = scene.stage.brain.last_request().into_iter().map(|(_, text)| text).collect();
    assert_eq!(asked, ["one", "done", "two"]);
    root.session().end().await;
    scene.over([root, child, again]).await;
}

/// Hooks spoke before every request, and the prompt's beginning was never the same.
#[tokio::test]
async fn commit_5462f1e_a_childs_requests_begin_alike() {
    let probe = FakeTool::new("tool-probe", Act::Say("found"));
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-probe"), |builder| builder.modules(modules([&probe])));
    for _ in 0..3 {
        scene.stage.brain.to("look", Step::Call(vec![("probe", json!({}))]));
    }
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "look")).await;
    let own: Vec<_> = scene.stage.brain.requests().split_off(1);
    assert_eq!(own.len(), 4);
    for pair in own.windows(2) {
        let (before, after) = (pair[0].messages.to_vec(), pair[1].messages.to_vec());
        assert_eq!((&pair[0].system, &pair[0].tools), (&pair[1].system, &pair[1].tools));
        assert_eq!(after[..before.len()], before);
    }
    root.session().end().await;
    scene.over([root, child]).await;
}

/// Keys were kept in plain text; then they were redacted, and what was redacted was sent.
#[tokio::test]
async fn commit_e746219_a_resumed_child_has_its_keys_and_no_file_has() {
    let key = json!({"api_key": "sk-live-0123456789abcdef0123456789"});
    let bundle =
        BundleText::bare("crew").provider(PROVIDER, key.clone()).tool(SPAWN).section("agents", agents());
    let scene = Scene::on_disk(Stage::new(), bundle, |builder| builder).await;
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "worker", "one")).await;
    let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "two")).await;
    assert_eq!(scene.stage.brain.configs(), vec![key; 3]);
    for folder in scene.stage.project.sessions() {
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("sk-live"), "{text}");
        }
    }
    root.session().end().await;
    scene.over([root, child, again]).await;
}

/// Children that were spawned at once wrote over each other's results.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commit_a20ef7d_each_call_gets_its_own_childs_answer() {
    let scene = Scene::new();
    let names: Vec<String> = (0..8).map(|number| format!("task {number}")).collect();
    let calls = names.iter().map(|name| spawning(&agent("worker", name))).collect();
    scene.stage.brain.to("go", Step::Call(calls));
    for name in &names {
        scene.stage.brain.to(name, Step::Say(format!("{name} is done")));
    }
    let root = scene.spawn(("crew", "go")).await;
    let expect: Vec<String> = names.iter().map(|name| format!("{name} is done")).collect();
    assert_eq!(super::tool_results(&scene.stage), expect);
    scene.over([root]).await;
}
