//! Trees: who is whose child, what a child is told, and what is told of it.

use std::sync::Arc;

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{Message, OutcomeKind, Role};
use amplifier_foundation::spawn::{ContextDepth, ContextRequest, ContextScope};
use amplifier_foundation::storage::{MemoryStorage, descendants};
use amplifier_foundation::{SessionStorage, SpawnRequest};
use amplifier_tests::fake::{Act, FakeTool, Step, agent, spawning};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, modules, spawner, tool_results};

#[tokio::test]
async fn three_levels() {
    let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
    for (prompt, name, next) in [("go", "explorer", "l1"), ("l1", "worker", "l2"), ("l2", "self", "l3")] {
        let call = Step::Call(vec![spawning(&agent(name, next))]);
        scene.stage.brain.to(prompt, call).to(prompt, Step::Say(format!("{prompt} is done")));
    }
    scene.stage.brain.to("l3", Step::Say("deep down".into()));
    let root = scene.spawn(("crew", "go")).await;
    assert_eq!(root.output().await.unwrap(), "go is done");
    let tree = root.descendants();
    let shape: Vec<_> = tree.iter().map(|child| (child.agent.as_deref().unwrap(), child.depth)).collect();
    assert_eq!(shape, [("explorer", 1), ("worker", 2), ("self", 3)]);
    let spans =
        |id: &str| id.split_once('_').map(|(spans, _)| spans.split_once('-').unwrap()).unwrap().0.to_owned();
    let mut parent = root.id().clone();
    for (child, agent) in tree.iter().zip(["explorer", "worker", "self"]) {
        assert_eq!(child.parent, parent);
        assert!(
            child.id.as_str().len() < 60 && child.id.as_str().ends_with(&format!("_{agent}")),
            "{}",
            child.id
        );
        assert!(!spans(child.id.as_str()).is_empty());
        let metadata = scene.host.storage().load(&child.id).await.unwrap().metadata;
        assert_eq!((metadata.spawned_by(), metadata.trace_id.as_ref()), (Some(&parent), Some(root.id())));
        assert_eq!(metadata.self_delegation_depth, Some(u32::from(agent == "self")));
        parent = child.id.clone();
    }
    let systems: Vec<_> = scene.stage.brain.requests().into_iter().map(|one| one.system.unwrap()).collect();
    let once = |text: &str| systems.iter().filter(|system| system.as_ref() == text).count();
    assert_eq!(
        (once("You lead."), once("You explore."), once("You work.")),
        (2, 2, 3),
        "self is its parent's kind"
    );
    let found = descendants(scene.host.storage().as_ref(), root.id()).await.unwrap();
    assert_eq!(found.len(), 3, "the storage finds them too");
    scene.over([root]).await;
}

#[tokio::test]
async fn a_child_that_is_kept_open() {
    let scene = Scene::new();
    let mut chat = agent("worker", "one");
    chat.keep_open = true;
    scene.stage.brain.to("go", Step::Call(vec![spawning(&chat)])).to("go", Step::Say("it is open".into()));
    let root = scene.spawn(SpawnRequest::new("crew", "go").keep_open()).await;
    let [child] = scene.tool.take().try_into().unwrap();
    assert_eq!(tool_results(&scene.stage), [child.id().as_str()], "it returns with the first turn");
    assert!(!child.task().is_finished());
    for turn in ["two", "three"] {
        assert_eq!(soon("a turn", child.session().execute(turn)).await.unwrap().text, "done");
    }
    let below = scene.spawn(SpawnRequest::agent(child.session(), "explorer", "x")).await;
    assert_eq!(root.tree_usage().running, 1);
    assert_eq!(soon("its end", child.session().end()).await.turns, 3);
    root.session().end().await;
    scene.over([root, child, below]).await;
}

#[tokio::test]
async fn what_a_parent_knows_of_its_tree() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let brain = &scene.stage.brain;
    for prompt in ["fail", "fail aside", "fail and wait"] {
        brain.to(prompt, Step::Fail(ProviderErrorKind::Auth));
    }
    brain.to("hang", Step::Wait("half".into(), gate.clone()));
    let root = scene.root().await;
    let ask =
        |text: &str, background| SpawnRequest::agent(root.session(), "worker", text).background(background);
    let mut all = Vec::new();
    for (text, background) in
        [("fine", false), ("fail", false), ("fail aside", true), ("fail and wait", true), ("hang", true)]
    {
        all.push(scene.spawn(ask(text, background)).await);
    }
    gate.reached(1).await;
    soon("its end", all[2].session().outcome()).await;
    end(&all[3]).await;
    let told: Vec<_> = root
        .descendants()
        .into_iter()
        .map(|child| (child.outcome, child.background, child.awaited, child.is_abandoned()))
        .collect();
    let (done, failed) = (Some(OutcomeKind::Completed), Some(OutcomeKind::Failed));
    assert_eq!(
        told,
        [
            (done, false, true, false),
            (failed, false, true, false),
            (failed, true, false, true),
            (failed, true, true, false),
            (None, true, false, true),
        ]
    );
    let own = root.session().env().clone();
    let tree = root.tree(&end(&all[0]).await.1);
    assert_eq!((tree.abandoned().count(), tree.children.len()), (2, 5));
    assert_eq!(spawner(&root).descendants().len(), 5);
    drop(own);
    gate.open();
    end(&all[4]).await;
    root.session().end().await;
    all.push(root);
    scene.over(all).await;
}

/// A parent with a conversation: a question, tools, an answer.
async fn conversation(scene: &Scene) -> amplifier_foundation::SpawnResult {
    let calls = Step::Call(vec![("probe", json!({"n": 1})), ("probe", json!({"n": 2}))]);
    scene.stage.brain.to("first", calls).to("first", Step::Say("one".into()));
    scene.stage.brain.to("second", Step::Say("two".into()));
    let root = scene.spawn(SpawnRequest::new("crew", "first").keep_open()).await;
    soon("a turn", root.session().execute("second")).await.unwrap();
    root
}

fn probing() -> (Scene, FakeTool) {
    let probe = FakeTool::new("tool-probe", Act::Say("found"));
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-probe"), |builder| builder.modules(modules([&probe])));
    (scene, probe)
}

fn bytes(messages: &[Arc<Message>]) -> Vec<String> {
    messages.iter().map(|message| serde_json::to_string(message).unwrap()).collect()
}

/// The provider sees the parent's messages byte for byte, so that its prompt cache still matches.
#[tokio::test]
async fn a_fork_begins_with_the_parents_messages_byte_for_byte() {
    let (scene, _probe) = probing();
    let root = conversation(&scene).await;
    let above = bytes(&root.session().messages().to_vec());
    let request = SpawnRequest::agent(root.session(), "self", "look")
        .context(ContextRequest::fork(ContextDepth::All, ContextScope::Full));
    let child = scene.spawn(request).await;
    let asked = scene.stage.brain.requests().pop().unwrap();
    let seen = bytes(&asked.messages.to_vec());
    assert_eq!(seen.len(), above.len() + 1);
    assert_eq!(seen[..above.len()], above, "what the provider saw");
    assert!(seen.last().unwrap().contains("look"));
    let parents = scene.stage.brain.requests().into_iter().rev().nth(1).unwrap();
    assert_eq!((asked.system, asked.tools), (parents.system, parents.tools), "and what stands before it");
    let stored = scene.host.storage().load(child.id()).await.unwrap();
    let kept = bytes(&stored.transcript);
    assert_eq!(kept[..above.len()], above, "what the storage has");
    assert_eq!(kept.len(), above.len() + 2);
    // It goes on from there, also when it is opened again.
    let again = scene.spawn(SpawnRequest::resume(child.id().clone(), "more")).await;
    let seen = bytes(&scene.stage.brain.requests().pop().unwrap().messages.to_vec());
    assert_eq!(seen[..kept.len()], kept);
    root.session().end().await;
    scene.over([root, child, again]).await;
}

/// In the middle of a turn: the round that spawns the child is not whole, and is left out.
#[tokio::test]
async fn a_fork_from_within_a_turn_holds_no_open_call() {
    let (scene, _probe) = probing();
    let mut fork = agent("self", "look");
    fork.context = ContextRequest::fork(ContextDepth::All, ContextScope::Full);
    let first = Step::Call(vec![("probe", json!({}))]);
    scene.stage.brain.to("go", first).to("go", Step::Call(vec![("probe", json!({})), spawning(&fork)]));
    let root = scene.spawn(("crew", "go")).await;
    let child = root.descendants()[0].id.clone();
    let stored = scene.host.storage().load(&child).await.unwrap().transcript;
    let roles: Vec<Role> = stored.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::User, Role::Assistant]);
    assert_eq!(stored[3].text(), "look");
    scene.over([root]).await;
}

#[tokio::test]
async fn a_quotation_stands_in_front_of_the_task() {
    let (scene, _probe) = probing();
    let root = conversation(&scene).await;
    let request = SpawnRequest::agent(root.session(), "explorer", "look")
        .context(ContextRequest::quoted(ContextDepth::Recent(1), ContextScope::Conversation));
    let child = scene.spawn(request).await;
    let asked = scene.stage.brain.last_request();
    assert_eq!(asked.len(), 1, "its own conversation begins with its task");
    let text = &asked[0].1;
    assert!(text.starts_with("[PARENT CONVERSATION CONTEXT]\n"), "{text}");
    assert!(
        text.contains("USER: second") && text.contains("ASSISTANT: two") && !text.contains("first"),
        "{text}"
    );
    assert!(text.ends_with("[END PARENT CONTEXT]\n\n[YOUR TASK]\nlook"), "{text}");
    root.session().end().await;
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_storage_of_its_own() {
    let (scene, own) = (Scene::new(), MemoryStorage::default());
    let root = scene.root().await;
    let request = SpawnRequest::agent(root.session(), "worker", "x").keep_open();
    let child = scene.spawn(request.storage(Arc::new(own.clone()))).await;
    // A grandchild is kept where its parent is.
    let below = scene.spawn(SpawnRequest::agent(child.session(), "explorer", "y")).await;
    for one in [&child, &below] {
        assert!(own.exists(one.id()).await.unwrap());
        assert!(!scene.host.storage().exists(one.id()).await.unwrap());
    }
    child.session().end().await;
    root.session().end().await;
    for one in [&child, &below] {
        let stored = own.load(one.id()).await.unwrap();
        assert_eq!(stored.metadata.amplifier.status.as_deref(), Some("completed"));
        assert!(own.holder(one.id()).await.unwrap().is_none());
    }
    scene.over([root, child, below]).await;
}

#[tokio::test]
async fn people_are_shown_when_a_child_begins_and_ends() {
    let scene = Scene::new();
    scene.stage.brain.to("go", Step::Call(vec![spawning(&agent("explorer", "look"))]));
    let root = scene.spawn(("crew", "go")).await;
    let lines = scene.stage.display.lines();
    let at = |text: &str| {
        lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:?}"))
    };
    assert!(at("ChildStarted") < at("message: User look") && at("message: User look") < at("ChildEnded"));
    assert_eq!(lines.iter().filter(|line| line.contains("ChildEnded")).count(), 1);
    scene.over([root]).await;
}

/// A parent that has ended is read from its storage: a context that was asked for is not left out in silence.
#[tokio::test]
async fn the_context_of_a_parent_that_has_ended() {
    let scene = Scene::new();
    scene.stage.brain.to("hello", Step::Say("the sky is green".into()));
    let root = scene.root().await;
    root.session().end().await;
    let request = |context| SpawnRequest::agent(root.id(), "worker", "what colour?").context(context);
    let quoted = ContextRequest::quoted(ContextDepth::All, ContextScope::Conversation);
    let told = scene.spawn(request(quoted)).await;
    let (_, text) = scene.stage.brain.last_request().pop().unwrap();
    assert!(text.contains("the sky is green") && text.ends_with("what colour?"), "{text}");
    let forked = scene.spawn(request(ContextRequest::fork(ContextDepth::All, ContextScope::Full))).await;
    let texts: Vec<String> = scene.stage.brain.last_request().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["hello", "the sky is green", "what colour?"]);
    scene.over([root, told, forked]).await;
}
