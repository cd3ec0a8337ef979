//! `tool-issue`: sessions that add issues, read them and say how far they are.

use std::sync::Arc;

use amplifier_core::{NewEvent, RunId};
use amplifier_core::{OutcomeKind, SessionId};
use amplifier_foundation::{Host, SpawnRequest, SpawnResult};
use amplifier_issue::{Actor, Edit, End, IssueId, IssueQueue, IssueStatus, NewIssue, NoteKind};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::Step;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use crate::delegate::{LEAD, builder, of, say, told};
use crate::spawn::{settled, spawn};

async fn host(stage: &Stage) -> Host {
    let lead = BundleText::new("lead")
        .instruction(LEAD)
        .tool_with("tool-issue", json!({}))
        .tool_with("tool-delegate", json!({"settings": {"exclude_tools": []}}))
        .section("agents", json!({"helper": {"description": "h", "instruction": "You are helper."}}));
    builder(stage, lead).open(stage.project.path()).await.unwrap()
}

/// The project's issues, as a person has them.
fn queue(host: &Host) -> IssueQueue {
    let router = host.router().clone();
    let seal = move |event: NewEvent| router.seal(event);
    let (clock, ids) = (Arc::clone(host.clock()), Arc::clone(host.ids()));
    IssueQueue::new(Arc::clone(host.store()), seal, clock, ids, Actor::new("ada"))
}

fn issue(operation: &str, params: Value) -> Step {
    Step::Call(vec![("issue_manager", json!({"operation": operation, "params": params}))])
}

fn id(text: &str) -> IssueId {
    IssueId::new(text).unwrap()
}

async fn run(
    stage: &Stage,
    host: &Host,
    steps: impl IntoIterator<Item = Step>,
    request: SpawnRequest,
) -> (SpawnResult, Vec<Value>) {
    of(stage, LEAD, steps.into_iter().chain([say("over")]));
    let root = spawn(host, request).await;
    assert_eq!(settled(host, &root).await.kind, OutcomeKind::Completed);
    (root, told(stage, LEAD))
}

fn go() -> SpawnRequest {
    SpawnRequest::new("lead", "go")
}

#[tokio::test]
async fn a_model_breaks_work_down_and_sees_what_is_ready_and_blocked() {
    let stage = Stage::new();
    let host = host(&stage).await;
    let steps = [
        issue(
            "create",
            json!({"title": "Survey", "issue_id": "a", "issue_type": "epic", "priority": "high"}),
        ),
        issue("create", json!({"title": "Build", "issue_id": "b", "metadata": {"type": "coding"}})),
        issue("add_dependency", json!({"from_id": "b", "to_id": "a", "dep_type": "blocks"})),
        issue("add_dependency", json!({"from_id": "a", "to_id": "b"})),
        issue("get_ready", json!({})),
        issue("get_blocked", json!({})),
        issue("comment", json!({"issue_id": "a", "text": "look at the docs first"})),
        issue("update", json!({"issue_id": "a", "status": "completed", "result": "surveyed"})),
        issue("list", json!({"status": "open"})),
        issue("get", json!({"issue_id": "a"})),
        issue("close", json!({"issue_id": "b", "reason": "not needed"})),
        issue("get_sessions", json!({"issue_id": "a"})),
        issue("get", json!({"issue_id": "../../etc"})),
        issue("update", json!({"issue_id": "x", "status": "closed"})),
        issue("answer", json!({"issue_id": "a", "text": "42"})),
    ];
    let (root, told) = run(&stage, &host, steps, go()).await;
    assert_eq!((&told[0]["issue"]["id"], &told[0]["issue"]["priority"]), (&json!("a"), &json!(1)));
    assert_eq!((&told[0]["issue"]["status"], &told[0]["issue"]["assignee"]), (&json!("open"), &Value::Null));
    let dependency = &told[2]["dependency"];
    assert_eq!(
        (&dependency["from_id"], &dependency["to_id"], &dependency["dep_type"]),
        (&json!("b"), &json!("a"), &json!("blocks"))
    );
    assert!(told[3].as_str().unwrap().contains("a → b → a"), "{}", told[3]);
    assert_eq!((&told[4]["ready_issues"][0]["id"], &told[4]["count"]), (&json!("a"), &json!(1)));
    let blocked = &told[5]["blocked_issues"][0];
    assert_eq!((&blocked["issue"]["id"], &blocked["blockers"][0]["id"]), (&json!("b"), &json!("a")));
    assert_eq!((&told[8]["issues"][0]["id"], &told[8]["count"]), (&json!("b"), &json!(1)));
    assert_eq!(
        (&told[9]["issue"]["result"], &told[9]["comments"][0]["text"]),
        (&json!("surveyed"), &json!("look at the docs first"))
    );
    assert_eq!(told[10]["issue"]["status"], "closed");
    let sessions = &told[11];
    assert_eq!((&sessions["linked_sessions"], &sessions["session_count"]), (&json!([root.id()]), &json!(1)));
    assert_eq!(sessions["events_by_session"][root.id().as_str()].as_array().unwrap().len(), 3);
    for (at, part) in
        [(12, "holds `/`"), (13, "there is no issue `x`"), (14, "is completed, so it cannot be answered")]
    {
        assert!(told[at].as_str().unwrap().contains(part), "{}", told[at]);
    }
    let history = queue(&host).whole_history(&id("a")).await.unwrap();
    assert!(
        history.iter().all(|entry| &*entry.actor == "assistant" && entry.session.as_ref() == Some(root.id()))
    );
    let from = host.router().oldest().await.unwrap();
    let page = host.store().events(from, 1_000).await.unwrap();
    let events: Vec<_> =
        page.events.iter().filter(|event| event.event_type.name().starts_with("issue_")).collect();
    let names: Vec<_> = events.iter().map(|event| event.event_type.name()).collect();
    let expect = "issue_opened issue_opened issue_updated issue_commented issue_completed issue_unblocked issue_closed";
    assert_eq!(names.join(" "), expect);
    assert!(events.iter().all(|event| event.source.as_ref() == Some(root.id())));
}

/// Gives an issue to a session, as a pool does.
async fn given(host: &Host, issue: &str, session: &SessionId) -> RunId {
    let (queue, run) = (queue(host), RunId::new(format!("run-{issue}")).unwrap());
    queue.claim(&id(issue), &run).await.unwrap();
    queue.start(&id(issue), &run, session).await.unwrap();
    run
}

#[tokio::test]
async fn a_worker_changes_its_own_issue_alone_and_so_does_who_it_asks_for_help() {
    let stage = Stage::new();
    let host = host(&stage).await;
    let people = queue(&host);
    for name in ["mine", "other"] {
        let mut new = NewIssue::new(name, "");
        new.id = Some(id(name));
        people.open(new).await.unwrap();
    }
    let session = SessionId::new("worker-1").unwrap();
    let run_id = given(&host, "mine", &session).await;
    let steps = [
        issue("update", json!({"issue_id": "other", "status": "completed"})),
        issue("close", json!({"issue_id": "other"})),
        issue("update", json!({"issue_id": "other", "priority": 0})),
        issue("comment", json!({"issue_id": "other", "text": "seen"})),
        issue("get", json!({"issue_id": "other"})),
        issue("create", json!({"title": "found on the way", "issue_id": "found"})),
        issue("add_dependency", json!({"from_id": "found", "to_id": "other"})),
        Step::Call(vec![("delegate", json!({"agent": "helper", "instruction": "close it"}))]),
        issue(
            "update",
            json!({"issue_id": "mine", "status": "pending_user_input", "blocking_notes": "Which one?"}),
        ),
        issue("answer", json!({"issue_id": "mine", "text": "myself"})),
    ];
    of(&stage, "You are helper.", [issue("close", json!({"issue_id": "other"})), say("tried")]);
    let (_, told_lead) = run(&stage, &host, steps, go().session_id(session.clone())).await;
    for said in &told_lead[..3] {
        let said = said.as_str().unwrap();
        assert!(said.contains("works on issue `mine` and may change that one only"), "{said}");
    }
    let helper = told(&stage, "You are helper.");
    assert!(helper[0].as_str().unwrap().contains("works on issue `mine`"), "{helper:?}");
    assert_eq!(told_lead[5]["issue"]["discovered_from"], "mine");
    assert_eq!(told_lead[8]["issue"]["question"], "Which one?");
    assert!(told_lead[9].as_str().unwrap().contains("only a person answers"));
    let other = people.get(&id("other")).await.unwrap();
    assert_eq!((other.issue.status, other.revision), (IssueStatus::Open, 2), "one began to depend on it");

    let mine = people.get(&id("mine")).await.unwrap();
    assert_eq!((mine.issue.status, mine.session), (IssueStatus::PendingUserInput, Some(session)));
    let history = people.whole_history(&id("mine")).await.unwrap();
    let asked = history.iter().find(|entry| entry.kind == NoteKind::Question).unwrap();
    assert_eq!((&*asked.actor, asked.noted.question.as_deref()), ("worker", Some("Which one?")));
    people.end(&id("mine"), &run_id, End::Reported).await.unwrap();
    people.answer(&id("mine"), "the second").await.unwrap();
    let free = people.get(&id("mine")).await.unwrap();
    assert!(free.is_ready() && free.details.resume);
}

#[tokio::test]
async fn what_is_written_holds_no_secret_and_is_bounded() {
    let stage = Stage::new();
    let host = host(&stage).await;
    let steps = [
        issue(
            "create",
            json!({"title": "t", "issue_id": "a", "metadata": {"api_key": "sk-very-secret-12345"}}),
        ),
        issue("create", json!({"title": "x".repeat(501)})),
        issue("create", json!({"description": "no title"})),
        issue("explode", json!({})),
    ];
    let (_, told) = run(&stage, &host, steps, go()).await;
    assert!(!told[0].to_string().contains("very-secret"), "{}", told[0]);
    for (at, part) in [(1, "501 bytes, of 500 at most"), (2, "the title is empty"), (3, "explode")] {
        assert!(told[at].to_string().contains(part), "{}", told[at]);
    }
    let mut edit = Edit::default();
    edit.status = Some(IssueStatus::Closed);
    queue(&host).update(&id("a"), edit).await.unwrap();
    assert_eq!(queue(&host).counts().await.unwrap().total(), 1);
}
