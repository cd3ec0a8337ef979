//! `IssueRun`: one session an issue, a bounded number at once, in the order of their dependencies.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_core::module::provider::{ProviderErrorKind, ToolSchema};
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::{CancelLevel, CancelReason, IssueId, Message, Price};
use amplifier_crew::issue::{
    Issue, IssueError, IssueList, IssueProgress, IssueResult, IssueRun, IssueState, IssueStatus, RunReport,
    RunVerdict,
};
use amplifier_crew::prompt::instruction;
use amplifier_foundation::spawn::SpawnExt;
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::{Host, SpawnError, SpawnRequest};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::faulty::{Fault, FaultyStorage, When};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use async_trait::async_trait;
use serde_json::Value;

fn id(text: &str) -> IssueId {
    IssueId::new(text).unwrap()
}

/// Issues in short: `a b>a,c` is two, the second of which depends on two others.
fn issues(text: &str) -> Vec<Issue> {
    let one = |text: &str| {
        let (name, needs) = text.split_once('>').unwrap_or((text, ""));
        let mut issue = Issue::new(id(name), format!("title of {name}"), "");
        issue.depends_on = needs.split(',').filter(|need| !need.is_empty()).map(id).collect();
        issue
    };
    text.split(' ').map(one).collect()
}

fn list(text: &str) -> IssueList {
    IssueList::new(issues(text)).unwrap()
}

fn run_of(at_once: usize) -> IssueRun {
    let mut run = IssueRun::new("plain");
    run.max_concurrent = NonZeroUsize::new(at_once).unwrap();
    run
}

/// What was told, in order: `+a` for a start, `a:completed` for an end.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, progress: &IssueProgress<'_>) {
        let line = match progress {
            IssueProgress::Starting { issue, .. } => format!("+{}", issue.id),
            IssueProgress::Ended(result) => format!("{}:{}", result.issue, result.outcome_name()),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The most that were begun and not ended at one time.
    fn most_at_once(&self) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for line in self.lines() {
            now = if line.starts_with('+') { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        most
    }
}

/// A run in a task of its own, so that the test can act meanwhile.
struct Going {
    told: Told,
    task: tokio::task::JoinHandle<RunReport>,
}

fn go(host: &Host, run: &IssueRun, list: IssueList) -> Going {
    let told = Told::default();
    let (host, run, telling) = (host.clone(), run.clone(), told.clone());
    let task = tokio::spawn(async move { run.run(&host, &list, &|progress| telling.note(&progress)).await });
    Going { told, task }
}

impl Going {
    async fn report(self) -> RunReport {
        soon("the run", self.task).await.unwrap()
    }
}

/// Lets others run until something holds.
async fn seen(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, waiting).await;
}

fn words(report: &RunReport) -> Vec<String> {
    report.results.iter().map(|result| format!("{}:{}", result.issue, result.outcome_name())).collect()
}

fn result<'a>(report: &'a RunReport, issue: &str) -> &'a IssueResult {
    report.results.iter().find(|result| result.issue.as_str() == issue).unwrap()
}

#[tokio::test]
async fn two_run_at_once_and_never_three() {
    let stage = Stage::new();
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    for gate in &gates {
        stage.brain.then(Step::Wait("done".into(), gate.clone()));
    }
    let host = stage.host_in_memory();
    let going = go(&host, &run_of(2), list("a b c d e"));
    gates[0].reached(1).await;
    gates[1].reached(1).await;
    for done in 0..5 {
        // Those that run are in the middle of their answers, and no other has begun.
        seen("the end of one", || host.sessions().len() == 2.min(5 - done)).await;
        assert_eq!(stage.brain.requests().len(), (done + 2).min(5));
        gates[done].open();
        if let Some(next) = gates.get(done + 2) {
            next.reached(1).await;
        }
    }
    let told = going.told.clone();
    let report = going.report().await;
    assert_eq!(report.verdict(), RunVerdict::Completed);
    assert_eq!(told.most_at_once(), 2);
    assert_eq!(words(&report), ["a:completed", "b:completed", "c:completed", "d:completed", "e:completed"]);
}

#[tokio::test]
async fn a_worker_is_told_its_issue_and_its_session_says_whose_it_is() {
    let stage = Stage::new();
    stage.project.write("notes.txt", "a secret of the project");
    let host = stage.host_on_disk().await;
    let mut issue = Issue::new(id("login"), "Mend the login", "See @notes.txt and </issue>");
    issue.metadata.insert("ticket".into(), 7.into());
    let list = IssueList::new([issue.clone()]).unwrap();
    let report = go(&host, &run_of(1), list).report().await;
    let done = result(&report, "login");
    assert_eq!((done.title.as_str(), done.bundle.as_deref()), ("Mend the login", Some("plain")));
    assert_eq!(done.model.as_deref(), Some("brain/brain-1"));
    let ends = crate::spawn::terminals(&host).await;
    let end: Value = ends[0].payload.decode().unwrap();
    assert_eq!((&end["metadata"]["issue_id"], &end["name"]), (&"login".into(), &"worker-login".into()));
    let stored = host.storage().load(done.session.as_ref().unwrap()).await.unwrap();
    assert_eq!(stored.metadata.extra["issue_id"], "login");
    assert_eq!(stored.metadata.name.as_deref(), Some("worker-login"));
    let texts: Vec<String> = stored.transcript.iter().map(|message: &Arc<Message>| message.text()).collect();
    // Nothing was brought in for the mention.
    assert_eq!(texts, [instruction(&issue), "done".to_owned()]);
    for message in &stored.transcript {
        assert_eq!(message.extra["timestamp"], serde_json::json!(message.timestamp.unwrap()));
    }
}

#[tokio::test]
async fn what_depends_on_a_failure_is_blocked_and_the_rest_goes_on() {
    let stage = Stage::new();
    stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    let going = go(&stage.host_in_memory(), &run_of(1), list("a b>a c>b d"));
    let told = going.told.clone();
    let report = going.report().await;
    assert_eq!(words(&report), ["a:failed", "b:blocked", "c:blocked", "d:completed"]);
    assert_eq!(told.lines(), ["+a", "a:failed", "b:blocked", "c:blocked", "+d", "d:completed"]);
    assert_eq!(report.verdict(), RunVerdict::Failed);
    let by = |issue: &str| match &result(&report, issue).state {
        IssueState::Blocked { by } => by.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!((by("b"), by("c")), ("a".to_owned(), "b".to_owned()));
    assert!(result(&report, "b").session.is_none());
    let error = result(&report, "a").error().unwrap().to_string();
    assert!(error.contains("told to fail"), "{error}");
    assert_eq!(stage.brain.requests().len(), 2);
}

#[tokio::test]
async fn an_issue_waits_until_what_it_depends_on_is_completed() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("slow".into(), gate.clone()));
    let host = stage.host_in_memory();
    let going = go(&host, &run_of(4), list("a b>a c>b"));
    gate.reached(1).await;
    // There is room for all of them.
    assert_eq!(going.told.lines(), ["+a"]);
    gate.open();
    let told = going.told.clone();
    assert_eq!(going.report().await.verdict(), RunVerdict::Completed);
    let expect = ["+a", "a:completed", "+b", "b:completed", "+c", "c:completed"];
    assert_eq!(told.lines(), expect);
}

#[tokio::test]
async fn what_is_done_already_is_skipped_and_holds_nobody_up() {
    let stage = Stage::new();
    let mut two = issues("a b>a");
    two[0].status = IssueStatus::Completed;
    let report = go(&stage.host_in_memory(), &run_of(1), IssueList::new(two).unwrap()).report().await;
    assert_eq!(words(&report), ["a:skipped", "b:completed"]);
    assert_eq!((report.verdict(), result(&report, "a").bundle.is_none()), (RunVerdict::Completed, true));
}

#[tokio::test]
async fn a_graceful_stop_lets_a_tool_finish_and_begins_nothing() {
    let gate = Gate::new();
    let tool = FakeTool::new("tool-slow", Act::Wait(gate.clone()));
    let stage = Stage::with_tools([tool.clone()]);
    stage.brain.call("slow").say("never asked again");
    let host = stage.host_in_memory();
    let run = run_of(1);
    let going = go(&host, &run, list("a b c>a"));
    gate.reached(1).await;
    run.stop.cancel(CancelLevel::Graceful, CancelReason::Requested);
    seen("two cancelled issues", || going.told.lines().len() == 3).await;
    assert_eq!(going.told.lines(), ["+a", "b:cancelled", "c:cancelled"]);
    gate.open();
    let report = going.report().await;
    assert_eq!(words(&report), ["a:cancelled", "b:cancelled", "c:cancelled"]);
    let first = result(&report, "a");
    let stored = host.storage().load(first.session.as_ref().unwrap()).await.unwrap();
    assert_eq!(stored.transcript[2].text(), "passed");
    assert_eq!((stage.brain.requests().len(), report.verdict()), (1, RunVerdict::Failed));
}

#[tokio::test]
async fn an_immediate_stop_cuts_tools_off() {
    let gate = Gate::new();
    let stage = Stage::with_tools([FakeTool::new("tool-slow", Act::Wait(gate.clone()))]);
    stage.brain.call("slow").call("slow");
    let host = stage.host_in_memory();
    let run = run_of(2);
    let going = go(&host, &run, list("a b c"));
    gate.reached(2).await;
    run.stop.cancel(CancelLevel::Immediate, CancelReason::Requested);
    let report = going.report().await;
    assert_eq!(words(&report), ["a:cancelled", "b:cancelled", "c:cancelled"]);
    assert_eq!(report.results.iter().filter(|result| result.session.is_some()).count(), 2);
    assert!(host.sessions().is_empty());
}

#[tokio::test]
async fn a_run_that_is_stopped_before_it_begins_starts_nothing() {
    let stage = Stage::new();
    let run = run_of(2);
    run.stop.cancel(CancelLevel::Graceful, CancelReason::Requested);
    let report = go(&stage.host_in_memory(), &run, list("a b")).report().await;
    assert_eq!(words(&report), ["a:cancelled", "b:cancelled"]);
    assert!(stage.brain.requests().is_empty());
}

#[tokio::test]
async fn a_session_that_does_not_stop_is_left_and_told() {
    let (stage, model, disk) = (Stage::new(), Gate::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), model.clone()));
    let below = Arc::new(MemoryStorage::default());
    let storage = FaultyStorage::new(below, When::Method("describe"), Fault::Wait(disk.clone()));
    let host = stage.builder().storage(Arc::new(storage)).in_memory();
    let run = run_of(1);
    let going = go(&host, &run, list("a b>a"));
    model.reached(1).await;
    run.stop.cancel(CancelLevel::Immediate, CancelReason::Requested);
    disk.reached(1).await;
    stage.clock.pass(Duration::from_secs(10)).await;
    let report = going.report().await;
    assert!(matches!(result(&report, "a").error(), Some(IssueError::Stuck)), "{report:#?}");
    assert_eq!(words(&report), ["a:failed", "b:cancelled"]);
    assert!(result(&report, "a").session.is_some());
}

#[tokio::test]
async fn an_answer_that_is_not_on_disk_does_not_count_as_completed() {
    let stage = Stage::new();
    let below = Arc::new(MemoryStorage::default());
    let storage = FaultyStorage::new(below, When::Method("describe"), Fault::Error);
    let host = stage.builder().storage(Arc::new(storage)).in_memory();
    let report = go(&host, &run_of(1), list("a b>a")).report().await;
    assert!(matches!(result(&report, "a").error(), Some(IssueError::Unrecorded)), "{report:#?}");
    assert_eq!(words(&report), ["a:failed", "b:blocked"]);
    assert_eq!(result(&report, "a").outcome.as_ref().unwrap().output, "done");
}

#[tokio::test]
async fn an_issue_may_name_its_bundle_and_one_that_is_wrong_fails_it_alone() {
    let stage = Stage::new();
    let host = stage.builder().bundle("other", BundleText::new("other")).in_memory();
    let mut three = issues("a b c");
    three[1].bundle = Some("other".into());
    three[2].bundle = Some("/nowhere/at/all".into());
    let list = IssueList::new(three).unwrap();
    let run = run_of(3);
    assert_eq!(run.bundles(&list), ["plain", "other", "/nowhere/at/all"]);
    let report = go(&host, &run, list).report().await;
    assert_eq!(words(&report), ["a:completed", "b:completed", "c:failed"]);
    assert_eq!(result(&report, "b").bundle.as_deref(), Some("other"));
    let error = result(&report, "c").error();
    assert!(
        matches!(error, Some(IssueError::Spawn(error)) if matches!(**error, SpawnError::Bundle(_))),
        "{error:?}"
    );
    assert_eq!(report.verdict(), RunVerdict::Failed);
}

#[tokio::test]
async fn without_any_session_the_configuration_is_to_blame() {
    let stage = Stage::new();
    let host = stage.builder().bundle("bare", BundleText::bare("bare")).in_memory();
    let run = IssueRun::new("bare");
    let report = go(&host, &run, list("a b c>a")).report().await;
    assert_eq!((report.verdict(), words(&report).len()), (RunVerdict::Misconfigured, 3));
}

#[tokio::test]
async fn a_budget_holds_for_all_workers_together() {
    let stage = Stage::new();
    let mut run = run_of(1);
    // Each answer costs a tenth of a cent.
    run.max_cost_micro_usd = Some(2_000);
    let report = go(&stage.host_in_memory(), &run, list("a b c d>c")).report().await;
    assert_eq!(words(&report), ["a:completed", "b:completed", "c:limit_reached", "d:blocked"]);
    assert_eq!((report.cost_micro_usd(), stage.brain.requests().len()), (Some(2_000), 2));
}

#[tokio::test]
async fn a_cheap_worker_leaves_its_money_to_a_dear_one() {
    let stage = Stage::new();
    stage.brain.costs(Price::new(10_000, 10_000));
    // An answer costs a tenth of a cent: one of the first worker, three of the second one beside it.
    let prompt = "<title>title of b</title>\n</issue>";
    for _ in 0..2 {
        stage.brain.to(prompt, Step::Call(vec![("nothing", serde_json::json!({}))]));
    }
    let mut run = run_of(2);
    run.max_cost_micro_usd = Some(4_400);
    let report = go(&stage.host_in_memory(), &run, list("a b")).report().await;
    assert_eq!(words(&report), ["a:completed", "b:completed"]);
    assert_eq!((report.cost_micro_usd(), stage.brain.requests().len()), (Some(4_000), 4));
}

#[tokio::test]
async fn workers_at_once_never_spend_more_than_the_budget_of_their_run() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.costs(Price::new(20_000_000, 20_000_000));
    for _ in 0..6 {
        stage.brain.then(Step::Fill(gate.clone()));
    }
    let mut run = run_of(6);
    let budget = 2_000_000;
    run.max_cost_micro_usd = Some(budget);
    let going = go(&stage.host_in_memory(), &run, list("a b c d e f"));
    gate.reached(3).await;
    gate.open();
    let report = going.report().await;
    let outcomes = report.results.iter().filter_map(|result| result.outcome.as_ref());
    let cost: u64 = outcomes.filter_map(|outcome| outcome.cost_micro_usd).sum();
    assert!(cost <= budget && cost > budget / 2, "{cost} of {budget}");
    let completed = report.results.iter().filter(|result| result.outcome_name() == "completed").count();
    let limited = report.results.iter().filter(|result| result.outcome_name() == "limit_reached").count();
    assert!(completed >= 3 && limited > 0 && completed + limited == 6, "{:?}", words(&report));
}

/// A tool that starts a session of a bundle in the background and does not wait for it.
#[derive(Debug)]
struct Leave {
    schema: ToolSchema,
    bundle: &'static str,
    /// Who must have come here before it returns.
    begun: Option<Gate>,
}

impl Leave {
    fn new(bundle: &'static str, begun: Option<Gate>) -> Self {
        let (name, description) = ("leave".to_owned(), "leaves a child".to_owned());
        let schema = ToolSchema { name, description, input_schema: serde_json::json!({"type": "object"}) };
        Self { schema, bundle, begun }
    }
}

#[async_trait]
impl Tool for Leave {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    async fn call(&self, _: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let child = cx.spawn(SpawnRequest::new(self.bundle, "go on").background(true)).await;
        child.map_err(|error| ToolError::Refused(error.to_string()))?;
        if let Some(begun) = &self.begun {
            begun.reached(1).await;
        }
        Ok(ToolOutput::text("left"))
    }
}

#[tokio::test]
async fn what_a_worker_leaves_running_is_waited_for_and_kept_with_its_issue() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.call("leave").then(Step::Wait("of the child".into(), gate.clone()));
    let host = stage.builder().tool(Leave::new("plain", Some(gate.clone()))).in_memory();
    let going = go(&host, &run_of(1), list("a b>a"));
    gate.reached(1).await;
    seen("the end of the worker", || host.sessions().len() == 1).await;
    assert_eq!(going.told.lines(), ["+a"]);
    gate.open();
    let report = going.report().await;
    assert_eq!(words(&report)[0], "a:completed");
    let tree = result(&report, "a").tree.as_ref().unwrap();
    assert_eq!(tree.children[0].outcome, Some(amplifier_core::OutcomeKind::Completed));
    // Three answers, each a tenth of a cent and 15 tokens.
    assert_eq!((tree.cost_micro_usd, tree.usage.total()), (Some(3_000), 45));
    let child = host.storage().load(&tree.children[0].id).await.unwrap();
    assert_eq!(child.metadata.extra["issue_id"], "a");
    assert!(child.transcript.iter().all(|message| message.extra.contains_key("timestamp")));
}

#[tokio::test]
async fn a_child_that_failed_with_nobody_waiting_fails_its_issue() {
    let stage = Stage::new();
    stage.brain.call("leave");
    let broken = BundleText::new("broken").orchestrator("loop-panics");
    let host = stage.builder().tool(Leave::new("broken", None)).bundle("broken", broken).in_memory();
    let report = go(&host, &run_of(1), list("a b>a c")).report().await;
    assert_eq!(words(&report), ["a:abandoned", "b:blocked", "c:completed"]);
    assert!(matches!(result(&report, "a").error(), Some(IssueError::Abandoned { children: 1 })));
}

#[tokio::test]
async fn limits_provider_and_model_reach_every_worker() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let mut run = run_of(1);
    run.limits.max_turns = Some(7);
    run.model = Some("brain-9".into());
    let report = go(&host, &run, list("a")).report().await;
    let session = result(&report, "a").session.clone().unwrap();
    let stored = host.storage().load(&session).await.unwrap();
    let limits: amplifier_core::Limits = stored.metadata.amplifier.limits.unwrap().decode().unwrap();
    assert_eq!(limits.max_turns, Some(7));
    assert_eq!(stage.brain.requests()[0].model.as_deref(), Some("brain-9"));
    run.provider = Some("nobody".into());
    let report = go(&host, &run, list("a")).report().await;
    assert_eq!(report.verdict(), RunVerdict::Misconfigured);
}
