//! What people are told of runs and firings, and what they do to them.

use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_background::report::{
    Became, Change, Dropped, FiringQuery, Firings, ReportError, RunOf, RunQuery, Runs, Standing,
};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{RunId, Timestamp};
use amplifier_foundation::router::Link;
use amplifier_foundation::store::RunState;
use amplifier_foundation::{Host, Shutdown, SpawnRequest, spawn_bundle};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{all, config, conserved, fire_all, name, rows, runs, seen};

fn me() -> Change {
    Change::by("ada").because("it was in the way")
}

/// A manager of the background session `night` whose only run has died of `attempts` failures.
async fn with_dead(stage: &Stage, host: &Host, more: Value) -> (BackgroundSessionManager, RunId) {
    stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    let manager = BackgroundSessionManager::new(host);
    let mut keys = json!({"queue": {"attempts": 1}});
    for (key, value) in more.as_object().unwrap() {
        keys[key] = value.clone();
    }
    manager.start(config("night", keys)).await.unwrap();
    let run = manager.fire(&name("night"), json!({"what": "a door"})).await.unwrap();
    runs(host, "night", "a dead run", all(RunState::Dead, 1)).await;
    (manager, run)
}

async fn standings(host: &Host) -> Vec<(Option<u64>, Standing)> {
    let report = Runs::of(host).report(&RunQuery::default()).await.unwrap();
    report.runs.iter().map(|run| (run.number, run.standing)).collect()
}

#[tokio::test]
async fn a_report_tells_what_wants_attention_first_and_adds_up_what_it_cost() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let (manager, _) = with_dead(&stage, &host, json!({})).await;
    stage.brain.say("all is well");
    manager.fire(&name("night"), json!(2)).await.unwrap();
    runs(&host, "night", "two runs", |rows| rows.len() == 2 && rows[1].state == RunState::Completed).await;
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    fire_all(&manager, "night", 2).await;
    gate.reached(1).await;
    seen(&manager, "night", "a session", |status| status.active.len() == 1).await;

    let report = Runs::of(&host).report(&RunQuery::default()).await.unwrap();
    let stands: Vec<_> = report.runs.iter().map(|run| (run.number.unwrap(), run.standing)).collect();
    let expect =
        [(1, Standing::Failed), (3, Standing::Running), (4, Standing::Waiting), (2, Standing::Completed)];
    assert_eq!(stands, expect);
    let (dead, done) = (&report.runs[0], &report.runs[3]);
    assert!(dead.why().is_some_and(|why| !why.is_empty()), "{dead:?}");
    assert_eq!(done.outcome.as_ref().unwrap().output, "all is well");
    assert_eq!((done.spent.sessions, done.spent.turns), (1, 1));
    let cost = done.spent.cost_micro_usd.unwrap();
    assert!(cost > 0 && done.spent.usage.total() > 0, "{done:?}");
    let sum = report.within.spent;
    assert_eq!((sum.known_micro_usd, sum.cost_micro_usd), (cost, None), "nobody knows what the failure cost");

    let totals = &report.totals[0];
    assert_eq!((report.totals.len(), totals.name.as_str(), totals.counts.triggered), (1, "night", 4));
    assert_eq!((totals.rows(), totals.in_state(RunState::Dead), totals.adds_up()), (4, 1, true));
    assert_eq!((totals.within.runs(), totals.within.count(Standing::Completed)), (4, 1));

    let few = Runs::of(&host).report(&RunQuery::default().limit(1)).await.unwrap();
    assert_eq!((few.runs.len(), few.left_out, few.within.runs()), (1, 3, 4), "totals count all");
    let dead = RunQuery::default().state(RunState::Dead);
    assert_eq!(Runs::of(&host).report(&dead).await.unwrap().runs.len(), 1);
    let other = RunQuery::default().background(name("day"));
    assert_eq!(Runs::of(&host).report(&other).await.unwrap().runs.len(), 0);
    gate.open();
}

#[tokio::test]
async fn what_is_over_is_told_for_a_while_and_what_is_not_whenever_it_began() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let (manager, _) = with_dead(&stage, &host, json!({})).await;
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    manager.fire(&name("night"), json!(2)).await.unwrap();
    gate.reached(1).await;
    stage.clock.advance(Duration::from_secs(3_600));
    let since = |back: u64| {
        let now = host_now(&host).as_micros() - i64::try_from(back).unwrap() * 1_000_000;
        RunQuery::default().since(Timestamp::from_micros(now))
    };
    let report = Runs::of(&host).report(&since(60)).await.unwrap();
    assert_eq!(report.runs.iter().map(|run| run.number).collect::<Vec<_>>(), [Some(2)]);
    assert_eq!((report.totals[0].rows(), report.totals[0].within.runs()), (2, 1));
    assert_eq!(Runs::of(&host).report(&since(7_200)).await.unwrap().runs.len(), 2);
    gate.open();
}

fn host_now(host: &Host) -> Timestamp {
    host.clock().now()
}

#[tokio::test]
async fn a_run_that_was_tried_again_and_again_shows_each_attempt_with_its_session() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    for _ in 0..2 {
        stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    }
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({}))).await.unwrap();
    let run = manager.fire(&name("night"), json!(1)).await.unwrap();
    for (attempt, wait) in [(2, 1), (3, 2)] {
        runs(&host, "night", "another attempt", |rows| rows[0].attempt == attempt).await;
        assert_eq!(standings(&host).await, [(Some(1), Standing::Retrying)]);
        stage.clock.asleep_within(Duration::from_secs(wait)).await;
        stage.clock.advance(Duration::from_secs(wait));
    }
    runs(&host, "night", "the end", all(RunState::Completed, 1)).await;
    let details = Runs::of(&host).details(&run).await.unwrap();
    let kinds: Vec<_> = details
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.outcome.as_ref().unwrap().kind.as_str()))
        .collect();
    assert_eq!(kinds, [(1, "failed"), (2, "failed"), (3, "completed")]);
    assert_eq!((details.run.spent.sessions, details.output()), (3, Some("done")));
    let ids: std::collections::BTreeSet<_> =
        details.attempts.iter().map(|attempt| attempt.session.clone()).collect();
    assert_eq!(ids.len(), 3, "a session of its own each");
    // Whichever of them is asked for.
    for session in &ids {
        assert_eq!(Runs::of(&host).find(session.as_str()).await.unwrap(), run);
    }
    for text in ["1", "#1", run.as_str(), &run.as_str()[6..30]] {
        assert_eq!(Runs::of(&host).find(text).await.unwrap(), run, "{text}");
    }
    for text in ["2", "0", "nothing-like-it", ""] {
        assert!(Runs::of(&host).find(text).await.is_err(), "{text}");
    }
    manager.fire(&name("night"), json!(2)).await.unwrap();
    let both = Runs::of(&host).find("night:manual").await.unwrap_err();
    assert!(matches!(both, ReportError::Ambiguous { found: 2, .. }), "{both}");
}

#[tokio::test]
async fn a_dead_run_is_made_anew_once_and_the_numbers_still_add_up() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let (_manager, run) = with_dead(&stage, &host, json!({})).await;
    stage.brain.say("better");
    let retried = Runs::of(&host).retry(&run, &me()).await.unwrap();
    assert_eq!(retried.number, 2);
    // Nobody moves the clock: the pool is told.
    runs(&host, "night", "another run", |rows| rows.len() == 2 && rows[1].state == RunState::Completed).await;
    let told = stage.brain.last_request();
    assert!(told.iter().any(|(_, text)| text.contains("a door")), "the same firing: {told:?}");
    assert_eq!(conserved(&host, "night").await.triggered, 2);
    let report = Runs::of(&host).report(&RunQuery::default()).await.unwrap();
    let by = |standing| report.runs.iter().find(|run| run.standing == standing).unwrap();
    assert_eq!(by(Standing::Retried).retried_as.as_ref(), Some(&retried.run));
    assert_eq!(by(Standing::Completed).retry_of.as_ref(), Some(&run));
    assert_eq!(by(Standing::Completed).attempt, 1, "attempts are counted anew");
    assert!(report.totals[0].adds_up());

    let again = Runs::of(&host).retry(&run, &me()).await.unwrap_err();
    assert!(matches!(again, ReportError::Retried { .. }), "{again}");
    let done = Runs::of(&host).retry(&retried.run, &me()).await.unwrap_err();
    assert!(matches!(done, ReportError::NotOver { .. }), "{done}");
    assert_eq!(conserved(&host, "night").await.triggered, 2, "a refusal counts nothing");

    let details = Runs::of(&host).details(&retried.run).await.unwrap();
    let names: Vec<_> = details
        .why
        .links
        .iter()
        .filter_map(|link| match link {
            Link::Event(event) => Some(event.event_type.name().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["session_completed", "run_retried"], "who had it made anew is in the chain");
    let said = details.why.links.iter().find_map(|link| match link {
        Link::Event(event) => event.payload.decode::<Value>().ok().filter(|said| said["actor"] == "ada"),
        _ => None,
    });
    assert_eq!(said.unwrap()["reason"], "it was in the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_who_ask_at_once_for_the_same_run_start_one() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let (_manager, run) = with_dead(&stage, &host, json!({})).await;
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (asked, run) = (Runs::of(&host), run.clone());
        asks.spawn(async move { asked.retry(&run, &me()).await });
    }
    let answers = asks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    runs(&host, "night", "one more", |rows| rows.len() == 2 && rows[1].state.is_final()).await;
    assert_eq!(conserved(&host, "night").await.triggered, 2);
}

#[tokio::test]
async fn a_run_that_waits_is_dropped_with_who_did_it_and_one_that_runs_is_stopped() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let mut told = host.router().subscribe("run_dropped").unwrap().events();
    manager.start(config("night", json!({"on_error_emit": "night:failed"}))).await.unwrap();
    let first = manager.fire(&name("night"), json!(1)).await.unwrap();
    let second = manager.fire(&name("night"), json!(2)).await.unwrap();
    gate.reached(1).await;
    seen(&manager, "night", "a session", |status| status.active.len() == 1).await;
    let runs_of = Runs::of(&host);

    assert_eq!(runs_of.drop(&second, &me()).await.unwrap(), Dropped::Cancelled);
    let rows_now = rows(&host, "night").await;
    assert_eq!(rows_now[1].state, RunState::Cancelled);
    assert_eq!(rows_now[1].reason.as_deref(), Some("dropped by ada: it was in the way"));
    let over = runs_of.drop(&second, &me()).await.unwrap_err();
    assert!(matches!(over, ReportError::Over { state: RunState::Cancelled, .. }), "{over}");

    let Dropped::Asked(session) = runs_of.drop(&first, &me()).await.unwrap() else { panic!("it runs") };
    assert_eq!(rows_now[0].session.as_ref(), Some(&session));
    runs(&host, "night", "both ends", all(RunState::Cancelled, 2)).await;
    conserved(&host, "night").await;
    for run in [&second, &first] {
        let event = amplifier_tests::soon("who did it", told.next()).await.unwrap().unwrap();
        let said: Value = event.payload.decode().unwrap();
        assert_eq!((said["run_id"].as_str(), &said["actor"]), (Some(run.as_str()), &json!("ada")));
    }
    // What was cancelled can be made anew.
    let again = runs_of.retry(&second, &me()).await.unwrap();
    runs(&host, "night", "the third", |rows| rows.len() == 3 && rows[2].state == RunState::Completed).await;
    assert_eq!(runs_of.details(&second).await.unwrap().run.retried_as, Some(again.run));
    assert_eq!(conserved(&host, "night").await.triggered, 3);
    assert!(matches!(
        runs_of.drop(&RunId::new("none").unwrap(), &me()).await,
        Err(ReportError::Unknown { .. })
    ));
}

#[tokio::test]
async fn what_was_dropped_takes_no_place_from_what_is_fired_next() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"queue": {"capacity": 1}}))).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    gate.reached(1).await;
    let second = manager.fire(&name("night"), json!(2)).await.unwrap();
    assert!(manager.fire(&name("night"), json!(3)).await.is_err(), "it is full");
    Runs::of(&host).drop(&second, &me()).await.unwrap();
    manager.fire(&name("night"), json!(4)).await.unwrap();
    gate.open();
    conserved(&host, "night").await;
}

#[tokio::test]
async fn history_tells_what_became_of_each_firing() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let keys = json!({"instruction_template": "{trigger.data.what}", "triggers": [{"type": "manual", "name": "hand"}],
        "queue": {"capacity": 1}});
    manager.start(config("night", keys)).await.unwrap();
    manager.fire(&name("night"), json!({"what": 1})).await.unwrap();
    gate.reached(1).await;
    for said in [json!({"what": 2}), json!({"else": 3}), json!({"what": 4})] {
        stage.clock.advance(Duration::from_secs(1));
        let _ = manager.fire(&name("night"), said).await;
    }
    let keys = json!({"triggers": [{"type": "manual", "overlap": "skip"}]});
    manager.start(config("day", keys)).await.unwrap();
    let day = Gate::new();
    stage.brain.then(Step::Wait("done".into(), day.clone()));
    manager.fire(&name("day"), json!(1)).await.unwrap();
    day.reached(1).await;
    stage.clock.advance(Duration::from_secs(1));
    let _ = manager.fire(&name("day"), json!(2)).await;

    let mut query = FiringQuery::default();
    query.background = Some(name("night"));
    let firings = Firings::of(&host).list(&query).await.unwrap();
    let words: Vec<_> = firings.iter().map(|firing| firing.became.as_str()).collect();
    assert_eq!(words, ["full", "rejected", "queued", "running"], "the latest first");
    assert!(firings.iter().all(|firing| firing.trigger.as_str() == "hand"));
    assert!(firings[1].became.reason().is_some_and(|why| why.contains("what")), "{:?}", firings[1]);
    assert_eq!(conserved(&host, "night").await.triggered, firings.len() as u64, "each of them");

    let all = Firings::of(&host).list(&FiringQuery::default()).await.unwrap();
    let days: Vec<_> = all.iter().filter(|firing| firing.background == name("day")).collect();
    assert!(matches!(&days[0].became, Became::Skipped { reason: Some(why) } if why.contains("places")));
    assert_eq!(all.len(), 6);
    query.since = Some(firings[1].fired);
    assert_eq!(Firings::of(&host).list(&query).await.unwrap().len(), 2);
    (query.since, query.limit) = (None, Some(1));
    assert_eq!(Firings::of(&host).list(&query).await.unwrap()[0].became, Became::Full);
    for gate in [gate, day] {
        gate.open();
    }
    let _ = manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn workers_of_issues_are_told_beside_them() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    for (text, fails) in [("one", true), ("one", false), ("two", false)] {
        if fails {
            stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
        }
        let mut metadata = serde_json::Map::new();
        metadata.insert("issue_id".to_owned(), text.into());
        let worker =
            spawn_bundle(&host, SpawnRequest::new("plain", "work").metadata(metadata)).await.unwrap();
        worker.outcome().await;
        stage.clock.advance(Duration::from_secs(1));
    }
    spawn_bundle(&host, SpawnRequest::new("plain", "no worker")).await.unwrap().outcome().await;
    let report = Runs::of(&host).report(&RunQuery::default()).await.unwrap();
    let told: Vec<_> = report.runs.iter().map(|run| (run.of.to_string(), run.standing)).collect();
    let expect = [
        ("issue two".to_owned(), Standing::Completed),
        ("issue one".to_owned(), Standing::Completed),
        ("issue one".to_owned(), Standing::Retried),
    ];
    assert_eq!(told, expect);
    let session = report.runs[0].session.clone().unwrap();
    let run = Runs::of(&host).find(session.as_str()).await.unwrap();
    let details = Runs::of(&host).details(&run).await.unwrap();
    assert!(matches!(&details.run.of, RunOf::Issue(issue) if issue.as_str() == "two"));
    assert_eq!(details.output(), Some("done"));
    let foreign = Runs::of(&host).retry(&run, &me()).await.unwrap_err();
    assert!(matches!(foreign, ReportError::Foreign { .. }), "{foreign}");
    let ended = Runs::of(&host).drop(&run, &me()).await.unwrap_err();
    assert!(matches!(ended, ReportError::Ended { .. }), "{ended}");
}
