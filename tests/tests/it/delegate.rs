//! `tool-delegate`: children that a model asks for, and what it is told of them.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{CancelLevel, Limits, OutcomeKind, SessionId};
use amplifier_foundation::spawn::ChildSummary;
use amplifier_foundation::{Host, HostBuilder, SpawnRequest, SpawnResult};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::gate::Gate;
use amplifier_tests::project::{metadata, shape, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Map, Value, json};

use crate::spawn::{settled, spawn};

pub(crate) const LEAD: &str = "You are the lead.";

/// A bundle that delegates to these agents; the prompt of `a` is `You are a.`
pub(crate) fn lead(config: Value, agents: &[&str]) -> BundleText {
    let one = |name: &&str| {
        let def = json!({"description": format!("Does what {name} can."), "instruction": format!("You are {name}.")});
        ((*name).to_owned(), def)
    };
    let agents: Map<String, Value> = agents.iter().map(one).collect();
    BundleText::new("lead")
        .instruction(LEAD)
        .tool_with("tool-delegate", config)
        .section("agents", Value::Object(agents))
}

/// Children may delegate further.
pub(crate) fn nested() -> Value {
    json!({"settings": {"exclude_tools": []}})
}

/// A builder whose bundle `lead` is this one.
pub(crate) fn builder(stage: &Stage, lead: BundleText) -> HostBuilder {
    stage.builder().modules(amplifier_modules::builtin()).bundle("lead", lead)
}

/// A host on disk with [`lead`].
pub(crate) async fn host(stage: &Stage, config: Value, agents: &[&str]) -> Host {
    builder(stage, lead(config, agents)).open(stage.project.path()).await.unwrap()
}

pub(crate) fn to(agent: &str, instruction: &str) -> Step {
    call(json!({"agent": agent, "instruction": instruction}))
}

pub(crate) fn call(arguments: Value) -> Step {
    Step::Call(vec![("delegate", arguments)])
}

pub(crate) fn say(text: &str) -> Step {
    Step::Say(text.to_owned())
}

/// What sessions with this in their prompt were told of their calls: JSON, or the text of a refusal.
pub(crate) fn told(stage: &Stage, whose: &str) -> Vec<Value> {
    let last = stage.brain.requests_of(whose).pop().unwrap_or_default();
    let results = last.into_iter().filter(|(role, _)| role == "tool");
    results.map(|(_, text)| serde_json::from_str(&text).unwrap_or(Value::String(text))).collect()
}

/// The only thing that they were told.
pub(crate) fn told_one(stage: &Stage, whose: &str) -> Value {
    let mut all = told(stage, whose);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

pub(crate) fn id_in(told: &Value) -> SessionId {
    SessionId::new(told["session_id"].as_str().unwrap_or_else(|| panic!("no id: {told}"))).unwrap()
}

/// The descendants of a session, as `agent@depth:outcome`.
pub(crate) fn tree(result: &SpawnResult) -> Vec<String> {
    let one = |child: &ChildSummary| {
        let outcome = child.outcome.map_or("running", OutcomeKind::as_str);
        format!("{}@{}:{outcome}", child.agent.as_deref().unwrap_or("-"), child.depth)
    };
    result.descendants().iter().map(one).collect()
}

pub(crate) fn of(stage: &Stage, whose: &'static str, steps: impl IntoIterator<Item = Step>) {
    for step in steps {
        stage.brain.of(whose, step);
    }
}

#[tokio::test]
async fn an_agent_does_a_task_in_a_session_of_its_own() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("helper", "count them"), say("There are three.")]);
    of(&stage, "You are helper.", [say("3")]);
    let host = host(&stage, json!({}), &["helper", "other"]).await;
    let root = spawn(&host, ("lead", "how many?")).await;
    assert_eq!(settled(&host, &root).await.output, "There are three.");
    let told = told_one(&stage, LEAD);
    let id = id_in(&told);
    let expected = json!({
        "response": "3", "session_id": id, "agent": "helper", "turn_count": 1, "status": "success",
        "metadata": {"model": "brain/brain-1", "usage": {"input_tokens": 10, "output_tokens": 5},
            "cost_usd": 0.001, "duration_ms": 0},
    });
    assert_eq!(told, expected);
    let (spans, name) = id.as_str().split_once('_').unwrap();
    assert!(spans.len() == 33 && name == "helper", "{id}");
    let folder = stage.project.sessions().into_iter().find(|folder| folder.ends_with(id.as_str())).unwrap();
    let stored = metadata(&folder);
    for (key, expected) in [
        ("parent_id", json!(root.id())),
        ("trace_id", json!(root.id())),
        ("agent_name", json!("helper")),
        ("self_delegation_depth", json!(0)),
        ("working_dir", json!(stage.project.path())),
        ("turn_count", json!(1)),
    ] {
        assert_eq!(stored[key], expected, "{key}");
    }
    assert!(shape(&transcript(&folder)).ends_with("[YOUR TASK]\ncount them a:3"));
    let children = root.descendants();
    assert_eq!((children.len(), tree(&root)), (1, vec!["helper@1:completed".to_owned()]));
    assert_eq!((children[0].usage.input_tokens, children[0].cost_micro_usd), (10, Some(1_000)));
    assert!(!children[0].is_abandoned());
}

#[tokio::test]
async fn the_agents_are_in_the_tools_description_and_children_have_no_such_tool() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("helper", "go")]);
    let host = host(&stage, json!({}), &["helper", "other"]).await;
    spawn(&host, ("lead", "go")).await;
    let requests = stage.brain.requests();
    let names = |at: usize| requests[at].tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["delegate".to_owned()], Vec::new()));
    let description = &requests[0].tools[0].description;
    assert!(
        description.ends_with("\n- helper: Does what helper can.\n- other: Does what other can."),
        "{description}"
    );
}

#[tokio::test]
async fn an_agent_may_delegate_to_itself_as_often_as_it_is_allowed() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("self", "one"), to("self", "two"), to("self", "three")]);
    of(&stage, LEAD, [say("three could not"), say("two did"), say("one did")]);
    let config =
        json!({"features": {"self_delegation": {"max_depth": 2}}, "settings": {"exclude_tools": []}});
    let host = host(&stage, config, &[]).await;
    let root = spawn(&host, ("lead", "go")).await;
    assert_eq!(settled(&host, &root).await.output, "one did");
    assert_eq!(tree(&root), ["self@1:completed", "self@2:completed"]);
    let requests = stage.brain.requests_of(LEAD);
    let refusal = &requests[3].last().unwrap().1;
    assert!(refusal.starts_with("SELF_DELEGATION_DEPTH_EXCEEDED"), "{refusal}");
    assert!(refusal.contains("2 times"), "{refusal}");
}

#[tokio::test]
async fn what_cannot_be_delegated_is_told_with_what_can() {
    let stage = Stage::new();
    of(
        &stage,
        LEAD,
        [to("nobody", "go"), call(json!({"instruction": "go"})), call(json!({"agent": "helper"}))],
    );
    of(
        &stage,
        LEAD,
        [to("self", "go"), call(json!({"session_id": "a_b", "instruction": "go"})), say("over")],
    );
    let config =
        json!({"features": {"self_delegation": {"enabled": false}, "session_resume": {"enabled": false}}});
    let host = host(&stage, config, &["helper"]).await;
    let root = spawn(&host, ("lead", "go")).await;
    assert_eq!((settled(&host, &root).await.output.as_str(), tree(&root).len()), ("over", 0));
    let told = told(&stage, LEAD);
    let says =
        |at: usize, part: &str| assert!(told[at].as_str().unwrap().contains(part), "{at}: {:?}", told[at]);
    says(0, "there is no agent `nobody` here; there are: helper");
    says(1, "name an `agent`");
    says(2, "`instruction`");
    says(3, "switched off");
    says(4, "switched off");
}

#[tokio::test]
async fn the_level_below_the_limit_is_refused_and_the_model_goes_on() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("a", "1"), say("lead is done")]);
    of(&stage, "You are a.", [to("b", "2"), say("a is done")]);
    of(&stage, "You are b.", [to("c", "3"), say("b is done")]);
    of(&stage, "You are c.", [to("d", "4"), say("c did it alone")]);
    let host = host(&stage, nested(), &["a", "b", "c", "d"]).await;
    let root = spawn(&host, ("lead", "go")).await;
    assert_eq!(settled(&host, &root).await.output, "lead is done");
    assert_eq!(tree(&root), ["a@1:completed", "b@2:completed", "c@3:completed"]);
    let refusal = told_one(&stage, "You are c.");
    let text = refusal.as_str().unwrap();
    assert!(text.contains("max_depth is reached: 3 of 3, set by the default"), "{text}");
    assert!(text.ends_with("do the task yourself, or say what is left to do"), "{text}");
    assert_eq!(told_one(&stage, "You are b.")["response"], "c did it alone");
}

#[tokio::test]
async fn agents_that_call_each_other_are_bounded_by_the_same_limit() {
    let stage = Stage::new();
    of(&stage, LEAD, [to("a", "begin"), say("over")]);
    of(&stage, "You are a.", [to("b", "you"), to("b", "you"), say("a gave up"), say("a is done")]);
    of(&stage, "You are b.", [to("a", "no, you"), say("b is done")]);
    let declares = |name: &str| json!({"instruction": format!("You are {name}."), "tools": [{"module": "tool-delegate"}]});
    let text = BundleText::new("lead").instruction(LEAD).tool("tool-delegate");
    let text = text.section("agents", json!({"a": declares("a"), "b": declares("b")}));
    let host = builder(&stage, text).in_memory();
    let root = spawn(&host, ("lead", "go")).await;
    assert_eq!(settled(&host, &root).await.output, "over");
    assert_eq!(tree(&root), ["a@1:completed", "b@2:completed", "a@3:completed"]);
}

#[tokio::test]
async fn of_parallel_delegates_those_over_the_limit_are_refused() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let calls =
        ["one", "two", "three"].map(|task| ("delegate", json!({"agent": "helper", "instruction": task})));
    of(&stage, LEAD, [Step::Call(calls.to_vec()), say("over")]);
    of(&stage, "You are helper.", (0..2).map(|_| Step::Wait("done".into(), gate.clone())));
    let mut limits = Limits::default();
    limits.max_concurrent = Some(2);
    let text = lead(json!({}), &["helper"]).orchestrator("loop-streaming");
    let host = builder(&stage, text).limits(limits).in_memory();
    let root = spawn(&host, SpawnRequest::new("lead", "go").background(true)).await;
    gate.reached(2).await;
    gate.open();
    assert_eq!(settled(&host, &root).await.output, "over");
    let told = told(&stage, LEAD);
    let refused: Vec<&str> = told.iter().filter_map(Value::as_str).collect();
    assert_eq!((told.len(), refused.len(), tree(&root).len()), (3, 1, 2));
    assert!(
        refused[0].contains("max_concurrent is reached: 2 of 2, set by the settings; ask again"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_child_that_fails_is_told_with_its_error_and_can_be_gone_on_with() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("blue"))]);
    of(&stage, LEAD, [to("helper", "look"), say("it failed")]);
    of(
        &stage,
        "You are helper.",
        [Step::Call(vec![("probe", json!({}))]), Step::Fail(ProviderErrorKind::Auth)],
    );
    let text = lead(json!({}), &["helper"]).tool("tool-probe");
    let host = builder(&stage, text).open(stage.project.path()).await.unwrap();
    let root = spawn(&host, SpawnRequest::new("lead", "go").keep_open()).await;
    let failed = told_one(&stage, LEAD);
    assert_eq!((&failed["status"], &failed["turn_count"]), (&json!("failed"), &json!(2)));
    assert!(failed["error"].as_str().unwrap().contains("told to fail"), "{failed}");
    assert_eq!(failed["metadata"]["cost_usd"], 0.001, "what it cost is told");
    let id = id_in(&failed);
    let folder = stage.project.sessions().into_iter().find(|folder| folder.ends_with(id.as_str())).unwrap();
    assert!(shape(&transcript(&folder)).ends_with("a:> t:blue"), "its partial transcript is on disk");
    of(&stage, LEAD, [call(json!({"session_id": id, "instruction": "again"})), say("at last")]);
    of(&stage, "You are helper.", [say("now it works")]);
    assert_eq!(soon("a turn", root.session().execute("go on")).await.unwrap().text, "at last");
    let again = told(&stage, LEAD).pop().unwrap();
    assert_eq!(
        (&again["status"], &again["response"], &again["agent"], &again["session_id"]),
        (&json!("success"), &json!("now it works"), &json!("helper"), &json!(id))
    );
    let last = stage.brain.requests_of("You are helper.").pop().unwrap();
    let roles: Vec<&str> = last.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user"], "with its history");
    assert_eq!(last[3].1, "again");
}

#[tokio::test]
async fn a_child_that_takes_too_long_is_told_with_what_it_had() {
    let (stage, gate) = (Stage::new(), Gate::new());
    of(&stage, LEAD, [to("helper", "go"), say("it took too long")]);
    of(&stage, "You are helper.", [Step::Wait("half an ans".into(), gate.clone())]);
    let host = host(&stage, json!({"settings": {"timeout": 60}}), &["helper"]).await;
    let root = spawn(&host, SpawnRequest::new("lead", "go").background(true)).await;
    gate.reached(1).await;
    stage.clock.pass(Duration::from_secs(60)).await;
    assert_eq!(settled(&host, &root).await.output, "it took too long");
    let told = told_one(&stage, LEAD);
    assert_eq!((&told["status"], &told["response"]), (&json!("timed_out"), &json!("half an ans")));
    assert_eq!(tree(&root), ["helper@1:timed_out"]);
    assert!(!root.descendants()[0].is_abandoned(), "the model was told of it");
}

#[tokio::test]
async fn a_child_is_cancelled_with_its_parent_and_can_be_gone_on_with() {
    for level in [CancelLevel::Graceful, CancelLevel::Immediate] {
        let gate = Gate::new();
        let stage = Stage::with_tools([FakeTool::new("tool-slow", Act::Wait(gate.clone()))]);
        of(&stage, LEAD, [to("helper", "go"), say("unheard")]);
        of(&stage, "You are helper.", [Step::Call(vec![("slow", json!({}))]), say("unheard")]);
        let text = lead(json!({}), &["helper"]).tool("tool-slow");
        let host = builder(&stage, text).open(stage.project.path()).await.unwrap();
        let root = spawn(&host, SpawnRequest::new("lead", "go").background(true)).await;
        gate.reached(1).await;
        let child = root.descendants()[0].id.clone();
        root.task().cancel(level);
        if level == CancelLevel::Graceful {
            gate.open();
        }
        assert_eq!(settled(&host, &root).await.kind, OutcomeKind::Cancelled);
        soon("the table to be empty", host.sessions().idle()).await;
        assert_eq!(tree(&root), ["helper@1:cancelled"]);
        let folder =
            stage.project.sessions().into_iter().find(|folder| folder.ends_with(child.as_str())).unwrap();
        let kept = shape(&transcript(&folder));
        let result = if level == CancelLevel::Graceful { "t:passed" } else { "t:!" };
        assert!(kept.ends_with(&format!("a:> {result}")), "{kept}");
        let again = spawn(&host, SpawnRequest::resume(child, "go on")).await;
        assert!(settled(&host, &again).await.is_completed());
    }
}

#[tokio::test]
async fn a_child_in_the_background_is_told_at_once_and_goes_on() {
    let (stage, gate) = (Stage::new(), Gate::new());
    of(
        &stage,
        LEAD,
        [call(json!({"agent": "helper", "instruction": "go", "background": true})), say("begun")],
    );
    of(&stage, "You are helper.", [Step::Wait("done".into(), gate.clone())]);
    let host = host(&stage, json!({}), &["helper"]).await;
    let root = spawn(&host, ("lead", "go")).await;
    assert_eq!(settled(&host, &root).await.output, "begun");
    let told = told_one(&stage, LEAD);
    let id = id_in(&told);
    assert_eq!(
        told,
        json!({"response": "", "session_id": id, "agent": "helper", "turn_count": 0,
        "status": "running", "metadata": {}})
    );
    assert_eq!(tree(&root), ["helper@1:running"]);
    assert!(root.descendants()[0].is_abandoned(), "nobody waits for it");
    gate.open();
    let outcome =
        soon("the child", host.sessions().wait(&id, Duration::from_secs(9))).await.unwrap().unwrap();
    assert_eq!((outcome.output.as_str(), tree(&root)), ("done", vec!["helper@1:completed".to_owned()]));
}

#[tokio::test]
async fn a_child_asks_whom_its_root_would_ask_in_its_own_name() {
    use amplifier_core::Permissions;
    use amplifier_core::approval::ApprovalAnswer;
    use amplifier_core::permission::{Layer, Mode};
    use amplifier_tests::watch::RecordingApprover;
    let probe = FakeTool::new("tool-probe", Act::Say("done it")).needs_shell();
    let stage = Stage::with_tools([probe.clone()]);
    of(&stage, LEAD, [to("helper", "go"), say("over")]);
    of(&stage, "You are helper.", [Step::Call(vec![("probe", json!({}))])]);
    let approver = RecordingApprover::new(ApprovalAnswer::Allow);
    let layer = Layer::of_mode("mode default (test)", Mode::Default, Vec::new());
    let host = builder(&stage, lead(json!({}), &["helper"]).tool("tool-probe"))
        .permissions(Permissions::unrestricted().with(layer))
        .approver(Arc::new(approver.clone()))
        .in_memory();
    let root = spawn(&host, ("lead", "go")).await;
    assert!(settled(&host, &root).await.is_completed());
    assert_eq!((approver.askers(), probe.calls().len()), (vec![root.descendants()[0].id.clone()], 1));
}

#[tokio::test]
async fn a_child_in_the_background_has_its_deadline_too() {
    let (stage, gate) = (Stage::new(), Gate::new());
    of(
        &stage,
        LEAD,
        [call(json!({"agent": "helper", "instruction": "go", "background": true})), say("begun")],
    );
    of(&stage, "You are helper.", [Step::Wait("half".into(), gate.clone())]);
    let host = host(&stage, json!({"settings": {"timeout": "1m"}}), &["helper"]).await;
    let root = spawn(&host, ("lead", "go")).await;
    gate.reached(1).await;
    stage.clock.pass(Duration::from_secs(60)).await;
    soon("the table to be empty", host.sessions().idle()).await;
    assert_eq!(tree(&root), ["helper@1:timed_out"]);
    assert!(root.descendants()[0].is_abandoned(), "nobody was told");
}

#[tokio::test]
async fn hooks_are_inherited_but_for_those_that_are_excluded() {
    for (excluded, logged) in [(json!([]), 2), (json!(["hooks-logging"]), 1)] {
        let stage = Stage::new();
        of(&stage, LEAD, [to("helper", "go"), say("over")]);
        let config = json!({"settings": {"exclude_hooks": excluded}});
        let text = lead(config, &["helper"]).hook("hooks-logging");
        let host = builder(&stage, text).open(stage.project.path()).await.unwrap();
        settled(&host, &spawn(&host, ("lead", "go")).await).await;
        let folders = stage.project.sessions();
        let logs = folders.iter().filter(|folder| folder.join("events.jsonl").exists()).count();
        assert_eq!((folders.len(), logs), (2, logged), "{excluded}");
    }
}
