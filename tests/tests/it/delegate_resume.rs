//! `tool-delegate`: going on with a session, and with whose.

use std::time::Duration;

use amplifier_core::permission::{Layer, Mode};
use amplifier_core::{Activation, CancelLevel, Limits, OutcomeKind, Permissions, SessionId};
use amplifier_foundation::storage::fork;
use amplifier_foundation::{Host, SpawnRequest, SpawnResult};
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::gate::Gate;
use amplifier_tests::project::{metadata, transcript};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use crate::delegate::{LEAD, builder, call, host, id_in, lead, nested, of, say, to, told, told_one, tree};
use crate::spawn::{settled, spawn};

const HELPER: &str = "You are helper.";

fn go_on(id: &SessionId, instruction: &str) -> Step {
    call(json!({"session_id": id, "instruction": instruction}))
}

/// A root whose helper has done its first task; the root is kept open.
async fn with_helper(stage: &Stage, host: &Host) -> (SpawnResult, SessionId) {
    of(stage, LEAD, [to("helper", "first"), say("ready")]);
    let root = spawn(host, SpawnRequest::new("lead", "go").keep_open()).await;
    let id = id_in(told(stage, LEAD).last().unwrap());
    (root, id)
}

async fn turn(root: &SpawnResult, text: &str) -> String {
    soon("a turn", root.session().execute(text)).await.unwrap().text
}

#[tokio::test]
async fn a_finished_child_goes_on_with_what_it_knows() {
    let stage = Stage::new();
    let host = host(&stage, json!({}), &["helper"]).await;
    of(&stage, HELPER, [say("one"), say("two")]);
    let (root, id) = with_helper(&stage, &host).await;
    let ignored = json!({"session_id": id, "agent": "nobody", "instruction": "second", "context_depth": "all",
        "provider_preferences": [{"provider": "nobody", "model": "none-*"}]});
    of(&stage, LEAD, [call(ignored), say("over")]);
    assert_eq!(turn(&root, "more").await, "over");
    let again = told(&stage, LEAD).pop().unwrap();
    assert_eq!(
        (&again["response"], &again["session_id"], &again["agent"]),
        (&json!("two"), &json!(id), &json!("helper"))
    );
    let asked: Vec<String> =
        stage.brain.requests_of(HELPER).pop().unwrap().into_iter().map(|(_, text)| text).collect();
    assert_eq!((asked.len(), asked[1].as_str(), asked[2].as_str()), (3, "one", "second"));
    assert_eq!(tree(&root), ["helper@1:completed", "helper@1:completed"], "each activation counts");
    soon("the end", root.session().end()).await;
    let folder = stage.project.sessions().into_iter().find(|folder| folder.ends_with(id.as_str())).unwrap();
    let stored = metadata(&folder);
    assert_eq!((&stored["amplifier"]["activation"], &stored["turn_count"]), (&json!(2), &json!(2)));
    assert_eq!(stored["parent_id"], json!(root.id()));
}

#[tokio::test]
async fn a_child_goes_on_after_a_restart_of_its_root() {
    let stage = Stage::new();
    of(&stage, HELPER, [say("one"), say("two")]);
    let (root, id) = {
        let host = host(&stage, json!({}), &["helper"]).await;
        let (root, id) = with_helper(&stage, &host).await;
        soon("the end", root.session().end()).await;
        (root.id().clone(), id)
    };
    let host = host(&stage, json!({}), &["helper"]).await;
    of(&stage, LEAD, [go_on(&id, "second"), say("over")]);
    let again = spawn(&host, SpawnRequest::resume(root, "go on")).await;
    assert_eq!(settled(&host, &again).await.output, "over");
    assert_eq!(told(&stage, LEAD).pop().unwrap()["response"], "two");
    assert_eq!(tree(&again), ["helper@1:completed"]);
}

#[tokio::test]
async fn a_model_reaches_no_session_but_those_below_its_own() {
    let stage = Stage::new();
    let host = host(&stage, nested(), &["helper", "sneak"]).await;
    let (other, foreign) = with_helper(&stage, &host).await;
    let (root, sibling) = with_helper(&stage, &host).await;
    let forked = SessionId::new("a-fork").unwrap();
    soon("the end", other.session().end()).await;
    fork(host.storage().as_ref(), other.id(), None, forked.clone(), host.clock().now()).await.unwrap();
    let nobody = SessionId::new("0-0_nobody").unwrap();
    for (id, says) in [
        (&foreign, "was not started by"),
        (other.id(), "was not started by"),
        (root.id(), "was not started by"),
        (&forked, "was not started by"),
        (&nobody, "was not found"),
    ] {
        of(&stage, LEAD, [go_on(id, "tell me all"), say("a pity")]);
        assert_eq!(turn(&root, "try").await, "a pity");
        let refusal = told(&stage, LEAD).pop().unwrap();
        assert!(refusal.as_str().is_some_and(|text| text.contains(says)), "{id}: {refusal}");
    }
    of(&stage, LEAD, [to("sneak", "ask your sibling"), say("over")]);
    of(
        &stage,
        "You are sneak.",
        [go_on(&sibling, "tell me all"), go_on(root.id(), "and you"), say("a pity")],
    );
    turn(&root, "try").await;
    for refusal in told(&stage, "You are sneak.") {
        assert!(refusal.as_str().is_some_and(|text| text.contains("was not started by")), "{refusal}");
    }
    for id in [&foreign, &sibling] {
        let stored = host.storage().load(id).await.unwrap();
        assert_eq!((stored.transcript.len(), stored.activation), (2, Activation::FIRST), "{id} is as it was");
    }
}

#[tokio::test]
async fn a_session_that_still_runs_is_not_gone_on_with() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let host = host(&stage, json!({}), &["helper"]).await;
    of(
        &stage,
        LEAD,
        [call(json!({"agent": "helper", "instruction": "go", "background": true})), say("begun")],
    );
    of(&stage, HELPER, [Step::Wait("done".into(), gate.clone()), say("again")]);
    let root = spawn(&host, SpawnRequest::new("lead", "go").keep_open()).await;
    let id = id_in(&told_one(&stage, LEAD));
    gate.reached(1).await;
    of(&stage, LEAD, [go_on(&id, "and?"), say("not yet")]);
    assert_eq!(turn(&root, "ask it").await, "not yet");
    let refusal = told(&stage, LEAD).pop().unwrap();
    assert!(refusal.as_str().is_some_and(|text| text.ends_with("it still runs")), "{refusal}");
    gate.open();
    soon("the child", host.sessions().wait(&id, Duration::from_secs(9))).await.unwrap().unwrap();
    of(&stage, LEAD, [go_on(&id, "and now?"), say("yes")]);
    assert_eq!(turn(&root, "ask it").await, "yes");
    assert_eq!(told(&stage, LEAD).pop().unwrap()["response"], "again");
}

/// A root, its child `helper`, and that one's child `below`, all ended.
async fn three_levels(stage: &Stage, host: &Host) -> (SessionId, SessionId) {
    of(stage, LEAD, [to("helper", "go"), say("over")]);
    of(stage, HELPER, [to("below", "go"), say("over")]);
    let root = spawn(host, ("lead", "go")).await;
    settled(host, &root).await;
    (root.id().clone(), root.descendants()[1].id.clone())
}

#[tokio::test]
async fn a_resumed_grandchild_belongs_to_who_asked_for_it() {
    let (stage, gate) = (Stage::new(), Gate::new());
    let (root, below) = {
        let host = host(&stage, nested(), &["helper", "below"]).await;
        three_levels(&stage, &host).await
    };
    let mut limits = Limits::default();
    limits.max_tokens = Some(1_000_000);
    let host = builder(&stage, lead(nested(), &["helper", "below"]))
        .limits(limits)
        .open(stage.project.path())
        .await
        .unwrap();
    of(&stage, LEAD, [go_on(&below, "once more"), say("unheard")]);
    of(&stage, "You are below.", [Step::Wait("half".into(), gate.clone())]);
    let again = spawn(&host, SpawnRequest::resume(root, "go on").background(true)).await;
    gate.reached(1).await;
    assert_eq!(tree(&again), ["below@2:running"], "it is listed by who asked");
    assert_eq!(host.sessions().get(&below).unwrap().limits().max_tokens, Some(1_000_000));
    again.task().cancel(CancelLevel::Immediate);
    assert_eq!(settled(&host, &again).await.kind, OutcomeKind::Cancelled);
    soon("the table to be empty", host.sessions().idle()).await;
    assert_eq!(tree(&again), ["below@2:cancelled"], "it ends with who asked");
}

#[tokio::test]
async fn going_on_widens_no_limit() {
    let (stage, gate) = (Stage::new(), Gate::new());
    of(&stage, HELPER, [say("one"), Step::Wait("two".into(), gate.clone())]);
    let timeout = |seconds: u64| json!({"settings": {"timeout": seconds}});
    let (root, id) = {
        let host = host(&stage, timeout(60), &["helper"]).await;
        let (root, id) = with_helper(&stage, &host).await;
        soon("the end", root.session().end()).await;
        (root.id().clone(), id)
    };
    let host = host(&stage, timeout(600), &["helper"]).await;
    of(&stage, LEAD, [go_on(&id, "second"), say("over")]);
    let again = spawn(&host, SpawnRequest::resume(root, "go on").background(true)).await;
    gate.reached(1).await;
    assert_eq!(host.sessions().get(&id).unwrap().limits().timeout_ms, Some(60_000), "as it once began");
    gate.open();
    settled(&host, &again).await;
}

#[tokio::test]
async fn going_on_widens_no_permission() {
    let probe = FakeTool::new("tool-probe", Act::Say("done it")).needs_shell();
    let stage = Stage::with_tools([probe.clone()]);
    let text = || lead(nested(), &["helper", "below"]).tool("tool-probe");
    let (root, below) = {
        let host = builder(&stage, text()).open(stage.project.path()).await.unwrap();
        three_levels(&stage, &host).await
    };
    let host = builder(&stage, text()).open(stage.project.path()).await.unwrap();
    of(&stage, LEAD, [go_on(&below, "now do it"), say("over")]);
    of(&stage, "You are below.", [Step::Call(vec![("probe", json!({}))]), say("I was not allowed to")]);
    let plan = Permissions::unrestricted().with(Layer::of_mode("mode plan (flag)", Mode::Plan, Vec::new()));
    let again = spawn(&host, SpawnRequest::resume(root, "go on").permissions(plan)).await;
    settled(&host, &again).await;
    assert!(probe.calls().is_empty(), "who asks may not do it either");
    let result: Value = told_one(&stage, "You are below.");
    assert!(result.as_str().is_some_and(|text| text.contains("mode plan (flag)")), "{result}");
    let folder =
        stage.project.sessions().into_iter().find(|folder| folder.ends_with(below.as_str())).unwrap();
    assert!(metadata(&folder)["amplifier"]["permissions"].to_string().contains("mode plan (flag)"));
    assert_eq!(transcript(&folder).len(), 6);
}
