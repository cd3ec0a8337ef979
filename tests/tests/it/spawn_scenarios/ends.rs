//! The ways in which a spawned session ends, as its parent's model sees them.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::OutcomeKind;
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::outcome::FailureKind;
use amplifier_foundation::{SpawnError, SpawnRequest};
use amplifier_tests::fake::{Act, FakeTool, Step, agent, spawning};
use amplifier_tests::gate::Gate;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, limits, modules, tool_results};

const MINUTE: Duration = Duration::from_secs(60);

/// A root whose model delegates `look` to the explorer, and then says `thanks`.
fn delegates(stage: &Stage) {
    let call = Step::Call(vec![spawning(&agent("explorer", "look"))]);
    stage.brain.to("go", call).to("go", Step::Say("thanks".into()));
}

#[tokio::test]
async fn success() {
    let scene = Scene::new();
    delegates(&scene.stage);
    scene.stage.brain.to("look", Step::Say("a door".into()));
    let root = scene.spawn(("crew", "go")).await;
    assert_eq!(root.output().await.unwrap(), "thanks");
    assert_eq!(tool_results(&scene.stage), ["a door"]);
    let [child] = root.descendants().try_into().unwrap();
    assert_eq!(
        (child.agent.as_deref(), child.depth, child.outcome),
        (Some("explorer"), 1, Some(OutcomeKind::Completed))
    );
    assert_eq!(
        (child.parent, child.usage.total(), child.cost_micro_usd),
        (root.id().clone(), 15, Some(1_000))
    );
    let systems: Vec<_> =
        scene.stage.brain.requests().into_iter().map(|request| request.system.unwrap()).collect();
    assert_eq!(systems, ["You lead.".into(), Arc::<str>::from("You explore."), "You lead.".into()]);
    scene.over([root]).await;
}

#[tokio::test]
async fn a_provider_that_fails() {
    let scene = Scene::new();
    delegates(&scene.stage);
    scene.stage.brain.to("look", Step::Fail(ProviderErrorKind::Auth));
    let root = scene.spawn(("crew", "go")).await;
    assert_eq!(root.output().await.unwrap(), "thanks", "a child's failure is not its parent's");
    let seen = tool_results(&scene.stage);
    assert!(seen[0].contains("ended as failed: brain: told to fail"), "{seen:?}");
    assert_eq!(root.descendants()[0].outcome, Some(OutcomeKind::Failed));
    scene.over([root]).await;
}

#[tokio::test]
async fn a_provider_that_panics() {
    let scene = Scene::new();
    delegates(&scene.stage);
    scene.stage.brain.to("look", Step::Panic);
    let root = scene.spawn(("crew", "go")).await;
    assert!(tool_results(&scene.stage)[0].contains("the brain hurts"));
    scene.over([root]).await;
}

#[tokio::test]
async fn a_tool_that_panics_in_a_child() {
    let broken = FakeTool::new("tool-broken", Act::Panic);
    let scene =
        Scene::with(Stage::new(), crew().tool("tool-broken"), |builder| builder.modules(modules([&broken])));
    delegates(&scene.stage);
    scene
        .stage
        .brain
        .to("look", Step::Call(vec![("broken", json!({}))]))
        .to("look", Step::Say("never mind".into()));
    let root = scene.spawn(("crew", "go")).await;
    assert_eq!(tool_results(&scene.stage), ["never mind"]);
    assert_eq!((broken.calls().len(), broken.cleaned()), (1, 2), "each session cleans up its own");
    scene.over([root]).await;
}

#[tokio::test]
async fn an_orchestrator_that_panics_in_a_child() {
    let agents =
        json!({"explorer": {"instruction": "You explore.", "session": {"orchestrator": "loop-panics"}}});
    let scene = Scene::with(Stage::new(), crew().section("agents", agents), |builder| builder);
    delegates(&scene.stage);
    let root = scene.spawn(("crew", "go")).await;
    assert!(tool_results(&scene.stage)[0].contains("the loop broke"));
    assert_eq!(root.output().await.unwrap(), "thanks");
    scene.over([root]).await;
}

#[tokio::test]
async fn a_hook_that_denies_the_child_its_prompt() {
    let denies = amplifier_tests::fake::Denier::new("hooks-deny", "prompt:submit");
    let agents = json!({"explorer": {"instruction": "You explore.", "hooks": [{"module": "hooks-deny"}]}});
    let scene = Scene::with(Stage::new(), crew().section("agents", agents), |builder| {
        builder.modules(modules([&denies]))
    });
    delegates(&scene.stage);
    let root = scene.spawn(("crew", "go")).await;
    let seen = tool_results(&scene.stage);
    assert!(seen[0].contains("told to deny"), "{seen:?}");
    let [child] = scene.tool.take().try_into().unwrap();
    let (kind, outcome) = end(&child).await;
    assert_eq!((kind, outcome.error.as_ref().unwrap().kind), (OutcomeKind::Failed, FailureKind::Denied));
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_failure_before_the_child_runs() {
    let broken = FakeTool::new("tool-broken", Act::NoMount);
    let panics = FakeTool::new("tool-panics", Act::PanicAtMount);
    let agents = json!({
        "explorer": {"instruction": "You explore.", "tools": [{"module": "tool-broken"}]},
        "worker": {"instruction": "You work.", "tools": [{"module": "tool-panics"}]},
    });
    let scene = Scene::with(Stage::new(), crew().section("agents", agents), |builder| {
        builder.modules(modules([&broken, &panics]))
    });
    delegates(&scene.stage);
    let root = scene.spawn(SpawnRequest::new("crew", "go").keep_open()).await;
    let seen = tool_results(&scene.stage);
    assert!(seen[0].contains("module tool-broken: told to fail"), "{seen:?}");
    for (name, says) in [("worker", "told to panic"), ("nobody", "there are: explorer, worker, self")] {
        let error = scene.refused(SpawnRequest::agent(root.session(), name, "x")).await;
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(root.tree_usage().spawned, 0, "what never ran takes no place");
    assert_eq!((broken.cleaned(), panics.cleaned()), (1, 1));
    root.session().end().await;
    scene.over([root]).await;
}

#[tokio::test]
async fn a_working_directory_that_is_not_there() {
    let scene = Scene::new();
    let root = scene.root().await;
    let error = scene.refused(SpawnRequest::agent(root.session(), "explorer", "x").cwd("/no/where")).await;
    assert!(matches!(error, SpawnError::WorkingDirectory { .. }), "{error}");
    root.session().end().await;
    scene.over([root]).await;
}

#[tokio::test]
async fn a_time_out_in_the_foreground() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    let mut look = agent("explorer", "look");
    look.limits = limits(|limits| limits.timeout_ms = Some(60_000));
    scene.stage.brain.to("go", Step::Call(vec![spawning(&look)])).to("go", Step::Say("too bad".into()));
    scene.stage.brain.to("look", Step::Wait("half".into(), gate.clone()));
    let root = scene.spawn(SpawnRequest::new("crew", "go").background(true)).await;
    gate.reached(1).await;
    scene.stage.clock.pass(MINUTE).await;
    assert_eq!(end(&root).await.1.output, "too bad");
    assert!(tool_results(&scene.stage)[0].contains("timed_out: the session's time is up"));
    assert_eq!(root.descendants()[0].outcome, Some(OutcomeKind::TimedOut));
    scene.over([root]).await;
}

#[tokio::test]
async fn a_time_out_in_the_background() {
    let (scene, gate) = (Scene::new().with_cuts(), Gate::new());
    scene.stage.brain.to("look", Step::Wait("half".into(), gate.clone()));
    let root = scene.root().await;
    let request = SpawnRequest::agent(root.session(), "explorer", "look").background(true).timeout(MINUTE);
    let child = scene.spawn(request).await;
    gate.reached(1).await;
    scene.stage.clock.pass(MINUTE).await;
    let (kind, outcome) = end(&child).await;
    assert_eq!((kind, outcome.output.as_str(), outcome.duration_ms), (OutcomeKind::TimedOut, "half", 60_000));
    assert!(!root.task().is_finished(), "a child's time is not its parent's");
    root.session().end().await;
    scene.over([root, child]).await;
}

#[tokio::test]
async fn a_limit_of_model_calls() {
    let scene = Scene::new();
    let mut look = agent("explorer", "look");
    look.limits = limits(|limits| limits.max_turns = Some(1));
    scene.stage.brain.to("go", Step::Call(vec![spawning(&look)])).to("go", Step::Say("too bad".into()));
    scene.stage.brain.to("look", Step::Call(vec![("nothing", json!({}))]));
    let root = scene.spawn(("crew", "go")).await;
    let seen = tool_results(&scene.stage);
    assert!(seen[0].contains("limit_reached: limit max_turns is reached: 1 of 1"), "{seen:?}");
    scene.over([root]).await;
}

#[tokio::test]
async fn a_failed_child_keeps_its_transcript() {
    let scene = Scene::on_disk(Stage::new(), crew(), |builder| builder).await;
    delegates(&scene.stage);
    scene.stage.brain.to("look", Step::Call(vec![("nothing", json!({}))]));
    scene.stage.brain.to("look", Step::Fail(ProviderErrorKind::Auth));
    let root = scene.spawn(("crew", "go")).await;
    let child = root.descendants()[0].id.clone();
    let stored = scene.host.storage().load(&child).await.unwrap();
    assert_eq!(stored.transcript.len(), 3, "{:?}", stored.transcript);
    assert_eq!(stored.metadata.amplifier.status.as_deref(), Some("failed"));
    scene.over([root]).await;
}
