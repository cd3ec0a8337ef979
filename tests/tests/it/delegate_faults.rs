//! `tool-delegate`: faults that the reference system had, by their number or commit in its history.

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{Limits, OutcomeKind};
use amplifier_foundation::SpawnRequest;
use amplifier_foundation::spawn::TreeOutcome;
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, PROVIDER, Step};
use amplifier_tests::project::{metadata, shape, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use crate::delegate::{LEAD, builder, call, host, id_in, lead, nested, of, say, to, told, told_one, tree};
use crate::spawn::{settled, spawn};

const A: &str = "You are a.";
const B: &str = "You are b.";

/// The names of the tools and the agents that sessions with this in their prompt were offered last.
fn offered(stage: &Stage, whose: &str) -> (Vec<String>, String) {
    let requests = stage.brain.requests();
    let own = |request: &&amplifier_core::module::provider::ChatRequest| {
        request.system.as_ref().is_some_and(|system| system.contains(whose))
    };
    let last = requests.iter().rfind(own).unwrap();
    let delegate = last.tools.iter().find(|tool| tool.name == "delegate");
    let agents = delegate.map(|tool| tool.description.lines().skip(1).collect::<Vec<_>>().join("\n"));
    (last.tools.iter().map(|tool| tool.name.clone()).collect(), agents.unwrap_or_default())
}

#[tokio::test]
async fn fault_29_a_child_delegates_and_goes_on_with_its_own_children() {
    let stage = Stage::new();
    let host = host(&stage, nested(), &["a", "b"]).await;
    of(&stage, LEAD, [to("a", "begin"), say("begun")]);
    of(&stage, A, [to("b", "1"), say("a has begun")]);
    of(&stage, B, [say("one"), say("two")]);
    let root = spawn(&host, SpawnRequest::new("lead", "go").keep_open()).await;
    let (a, b) = (id_in(&told_one(&stage, LEAD)), id_in(&told_one(&stage, A)));
    of(&stage, LEAD, [call(json!({"session_id": a, "instruction": "more"})), say("over")]);
    of(&stage, A, [call(json!({"session_id": b, "instruction": "2"})), say("a is done")]);
    assert_eq!(soon("a turn", root.session().execute("go on")).await.unwrap().text, "over");
    assert_eq!(told(&stage, A).pop().unwrap()["response"], "two");
}

#[tokio::test]
async fn fault_33_a_child_that_fails_keeps_its_transcript_and_what_it_cost() {
    let probe = FakeTool::new("tool-probe", Act::Say("blue"));
    let stage = Stage::with_tools([probe.clone()]);
    of(&stage, LEAD, [to("a", "look"), say("over")]);
    of(&stage, A, [Step::Call(vec![("probe", json!({}))]), Step::Fail(ProviderErrorKind::Auth)]);
    let text = lead(json!({}), &["a"]).tool("tool-probe");
    let host = builder(&stage, text).open(stage.project.path()).await.unwrap();
    let root = spawn(&host, ("lead", "go")).await;
    let outcome = settled(&host, &root).await;
    let tree = TreeOutcome::new(&outcome, root.descendants());
    assert_eq!(
        (tree.usage.total(), tree.cost_micro_usd),
        (45, Some(3_000)),
        "two calls of its own, one of the child"
    );
    let id = root.descendants()[0].id.clone();
    let folder = stage.project.sessions().into_iter().find(|folder| folder.ends_with(id.as_str())).unwrap();
    assert!(shape(&transcript(&folder)).ends_with("a:> t:blue"));
    assert_eq!(probe.cleaned(), 2, "the tools of both were cleaned up");
}

#[tokio::test]
async fn fault_35_a_child_is_kept_with_its_parent_and_works_where_that_works() {
    let stage = Stage::new();
    let elsewhere = stage.project.around().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    of(&stage, LEAD, [to("a", "go"), say("over")]);
    let host = host(&stage, json!({}), &["a"]).await;
    let root = spawn(&host, SpawnRequest::new("lead", "go").cwd(&elsewhere)).await;
    settled(&host, &root).await;
    let folders = stage.project.sessions();
    assert_eq!((folders.len(), folders[0].parent()), (2, folders[1].parent()), "in one project");
    for folder in folders {
        assert_eq!(metadata(&folder)["working_dir"], json!(elsewhere.canonicalize().unwrap()));
    }
}

#[tokio::test]
async fn fault_36_a_child_that_did_not_complete_is_never_told_as_a_success() {
    let mut two_calls = Limits::default();
    two_calls.max_turns = Some(2);
    for (steps, status, says) in [
        (vec![Step::Fail(ProviderErrorKind::Auth)], "failed", "told to fail"),
        (vec![Step::Panic], "failed", "the brain hurts"),
        (vec![Step::Call(vec![("probe", json!({}))]); 3], "limit_reached", "max_turns"),
    ] {
        let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("ok"))]);
        of(&stage, LEAD, [to("a", "go"), say("I see")]);
        of(&stage, A, steps);
        let text = lead(json!({}), &["a"]).tool("tool-probe");
        let host = builder(&stage, text).limits(two_calls.clone()).open(stage.project.path()).await.unwrap();
        let root = spawn(&host, ("lead", "go")).await;
        assert_eq!(settled(&host, &root).await.output, "I see");
        let told = told_one(&stage, LEAD);
        assert_eq!(told["status"], status, "{told}");
        assert!(told["error"].as_str().unwrap().contains(says), "{told}");
        let of_root =
            stage.project.sessions().into_iter().find(|folder| folder.ends_with(root.id().as_str()));
        let result = &transcript(&of_root.unwrap())[2];
        assert_eq!(result["metadata"]["is_error"], true, "{result}");
    }
}

#[tokio::test]
async fn fault_37_the_settings_of_the_parents_orchestrator_reach_the_child() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("ok"))]);
    of(&stage, LEAD, [to("a", "go"), say("over")]);
    of(&stage, A, [Step::Call(vec![("probe", json!({}))]), Step::Call(vec![("probe", json!({}))])]);
    let text = lead(json!({}), &["a"]).tool("tool-probe");
    let text = text.orchestrator_with("loop-basic", json!({"max_iterations": 2}));
    let host = builder(&stage, text).in_memory();
    let root = spawn(&host, ("lead", "go")).await;
    settled(&host, &root).await;
    let told = told_one(&stage, LEAD);
    assert!(
        told["error"].as_str().is_some_and(|text| text.contains("loop-basic (max_iterations)")),
        "{told}"
    );
}

#[tokio::test]
async fn fault_38_the_descendants_of_a_root_are_counted_wherever_they_are() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("a", "go"), to("b", "go"), say("over")]);
    of(&stage, A, [to("b", "go"), say("a is done")]);
    let mut limits = Limits::default();
    limits.max_descendants = Some(2);
    let host = builder(&stage, lead(nested(), &["a", "b"])).limits(limits).in_memory();
    let root = spawn(&host, ("lead", "go")).await;
    assert_eq!(settled(&host, &root).await.output, "over");
    assert_eq!(tree(&root), ["a@1:completed", "b@2:completed"]);
    let refusal = told(&stage, LEAD).pop().unwrap();
    assert!(
        refusal.as_str().unwrap().contains("max_descendants is reached: 2 of 2, set by the settings"),
        "{refusal}"
    );
}

/// A bundle of agents `a`, `b`, `c` that may all delegate; `a` has this rule about whom.
fn ruled(rule: Value) -> BundleText {
    let agent =
        |name: &str| json!({"description": format!("Is {name}."), "instruction": format!("You are {name}.")});
    let mut a = agent("a");
    a["agents"] = rule;
    let agents = json!({"a": a, "b": agent("b"), "c": agent("c")});
    BundleText::new("lead").instruction(LEAD).tool_with("tool-delegate", nested()).section("agents", agents)
}

#[tokio::test]
async fn commit_6c3fd86_a_rule_about_agents_holds_in_the_child_and_below() {
    for (rule, agents, refused) in
        [(json!("none"), "", "there are: self"), (json!(["b"]), "- b: Is b.", "there are: b, self")]
    {
        let stage = Stage::new();
        of(&stage, LEAD, [to("a", "go"), say("over")]);
        of(&stage, A, [to("c", "go"), to("self", "go"), to("c", "go"), say("a below"), say("a is done")]);
        let host = builder(&stage, ruled(rule)).in_memory();
        let root = spawn(&host, ("lead", "go")).await;
        settled(&host, &root).await;
        assert_eq!(tree(&root), ["a@1:completed", "self@2:completed"]);
        let requests = stage.brain.requests_of(A);
        for request in [&requests[1], &requests[3]] {
            assert!(request.last().unwrap().1.contains(refused), "{request:?}");
        }
        assert_eq!(offered(&stage, A).1, agents);
        assert_eq!(offered(&stage, LEAD).1, "- a: Is a.\n- b: Is b.\n- c: Is c.");
    }
}

#[tokio::test]
async fn commit_774d8b9_a_child_sees_the_agents_of_its_parent() {
    for rule in [json!("all"), Value::Null] {
        let stage = Stage::new();
        of(&stage, LEAD, [to("a", "go"), say("over")]);
        of(&stage, A, [to("c", "go"), say("a is done")]);
        let host = builder(&stage, ruled(rule)).in_memory();
        let root = spawn(&host, ("lead", "go")).await;
        settled(&host, &root).await;
        assert_eq!(tree(&root), ["a@1:completed", "c@2:completed"]);
        assert_eq!(offered(&stage, A).1, offered(&stage, LEAD).1);
    }
}

#[tokio::test]
async fn commit_887a2eb_parallel_children_share_no_settings() {
    let stage = Stage::new();
    let calls = ["a", "b"].map(|agent| ("delegate", json!({"agent": agent, "instruction": "go"})));
    of(&stage, LEAD, [Step::Call(calls.to_vec()), to("c", "go"), say("over")]);
    let agent = |name: &str, warmth: Value| {
        json!({"instruction": format!("You are {name}."),
            "provider_preferences": [{"provider": "brain", "model": "brain-1", "config": warmth}]})
    };
    let agents = json!({
        "a": agent("a", json!({"nested": {"warmth": 1}})), "b": agent("b", json!({"nested": {"warmth": 2}})),
        "c": {"instruction": "You are c."}});
    let text =
        BundleText::bare("lead").provider(PROVIDER, json!({"nested": {"base": true}})).instruction(LEAD);
    let text = text.orchestrator("loop-streaming").tool("tool-delegate").section("agents", agents);
    let host = builder(&stage, text).in_memory();
    let root = spawn(&host, ("lead", "go")).await;
    settled(&host, &root).await;
    let mut configs: Vec<String> = stage.brain.configs().iter().map(Value::to_string).collect();
    assert_eq!(
        (configs.len(), configs[3].clone()),
        (4, configs[0].clone()),
        "the third has the parent's alone"
    );
    configs.sort();
    let expected = [
        json!({"nested": {"base": true, "warmth": 1}}),
        json!({"nested": {"base": true, "warmth": 2}}),
        json!({"nested": {"base": true}}),
        json!({"nested": {"base": true}}),
    ];
    assert_eq!(configs, expected.map(|config| config.to_string()));
}

#[tokio::test]
async fn commit_d36cae0_an_exclusion_takes_away_no_tool_that_an_agent_declares() {
    let tools = ["tool-probe", "tool-other"].map(|id| FakeTool::new(id, Act::Say("ok")));
    let stage = Stage::with_tools(tools);
    of(&stage, LEAD, [to("a", "go"), to("b", "go"), say("over")]);
    let agents =
        json!({"a": {"instruction": A, "tools": [{"module": "tool-probe"}]}, "b": {"instruction": B}});
    let config = json!({"settings": {"exclude_tools": ["tool-delegate", "tool-probe"]}});
    let text = BundleText::new("lead").instruction(LEAD).tool("tool-probe").tool("tool-other");
    let text = text.tool_with("tool-delegate", config).section("agents", agents);
    let host = builder(&stage, text).in_memory();
    settled(&host, &spawn(&host, ("lead", "go")).await).await;
    assert_eq!(
        (offered(&stage, A).0, offered(&stage, B).0),
        (vec!["other".to_owned(), "probe".to_owned()], vec!["other".to_owned()])
    );
}

#[tokio::test]
async fn a_module_is_excluded_under_each_of_its_ids() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("a", "go"), say("over")]);
    let text = BundleText::new("lead").instruction(LEAD).tool("tool-task");
    let text = text.section("agents", json!({"a": {"instruction": A}}));
    let host = builder(&stage, text).in_memory();
    settled(&host, &spawn(&host, ("lead", "go")).await).await;
    assert_eq!(offered(&stage, LEAD).0, ["delegate"]);
    assert_eq!(offered(&stage, A).0, [""; 0]);
}

#[tokio::test]
async fn an_agent_is_held_to_its_own_permission_mode() {
    let probe = FakeTool::new("tool-probe", Act::Say("done it")).needs_shell();
    let stage = Stage::with_tools([probe.clone()]);
    of(&stage, LEAD, [to("a", "go"), Step::Call(vec![("probe", json!({}))]), say("over")]);
    of(&stage, A, [Step::Call(vec![("probe", json!({}))]), say("I may not")]);
    let agents = json!({"a": {"instruction": A, "permissions": {"mode": "plan"}}});
    let text = BundleText::new("lead").instruction(LEAD).tool("tool-delegate").tool("tool-probe");
    let host = builder(&stage, text.section("agents", agents)).in_memory();
    let root = spawn(&host, SpawnRequest::new("lead", "go").keep_open()).await;
    let refusal = told_one(&stage, A);
    assert!(refusal.as_str().is_some_and(|text| text.contains("agent a")), "{refusal}");
    assert_eq!(probe.calls().len(), 1, "the parent may");
    let id = id_in(&told(&stage, LEAD)[0]);
    of(&stage, LEAD, [call(json!({"session_id": id, "instruction": "now?"})), say("over")]);
    of(&stage, A, [Step::Call(vec![("probe", json!({}))]), say("still not")]);
    soon("a turn", root.session().execute("again")).await.unwrap();
    assert_eq!(probe.calls().len(), 1, "nor when it goes on");
    assert_eq!(soon("the end", root.session().end()).await.kind, OutcomeKind::Completed);
}
