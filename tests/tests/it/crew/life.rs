//! A worker's life: each way in which it ends, and what becomes of its issue.

use std::time::Duration;

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{CancelLevel, OutcomeKind};
use amplifier_foundation::Shutdown;
use amplifier_foundation::router::Link;
use amplifier_foundation::store::RunState;
use amplifier_issue::IssueStatus::{Blocked, Completed, Failed, Open, PendingUserInput};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use serde_json::json;

use super::{World, after, id, new, one_pool};

#[tokio::test]
async fn a_worker_that_reports_nothing_has_completed_its_issue() {
    for world in World::both() {
        world.stage.brain.say("It is mended.");
        let life = world.begin(one_pool(json!({}))).await;
        life.add(new("login")).await;
        let issue = life.ends("login", Completed).await;
        assert_eq!(issue.details.result.as_deref(), Some("It is mended."));
        assert_eq!(life.events("login").await, ["issue_opened", "issue_started", "issue_completed"]);
        assert_eq!(life.states().await, [RunState::Completed]);
        let session = issue.session.unwrap();
        assert!(life.told(&session).await[0].contains("<issue id=\"login\""));
        // Whose it is stands in what was kept of it.
        let stored = life.host.storage().load(&session).await.unwrap();
        assert_eq!(stored.metadata.extra.get("issue_id").and_then(|id| id.as_str()), Some("login"));
        life.end().await;
    }
}

#[tokio::test]
async fn what_a_worker_reports_stays() {
    for world in World::both() {
        let gate = Gate::new();
        world.stage.brain.then(Step::Late("I stop.".into(), gate.clone()));
        let life = world.begin(one_pool(json!({}))).await;
        life.add(new("login")).await;
        let session = life.worker("login").await;
        life.queue_in(&session).block(&id("login"), Some("no key")).await.unwrap();
        gate.open();
        let issue = life.ends("login", Blocked).await;
        assert_eq!(issue.details.blocking_notes.as_deref(), Some("no key"));
        life.end().await;
    }
}

#[tokio::test]
async fn a_question_is_answered_in_the_same_session() {
    for world in World::both() {
        let gate = Gate::new();
        world.stage.brain.then(Step::Late("I wait.".into(), gate.clone())).say("Red it is.");
        let life = world.begin(one_pool(json!({}))).await;
        life.add(new("paint")).await;
        let session = life.worker("paint").await;
        life.queue_in(&session).ask(&id("paint"), "Which colour?").await.unwrap();
        gate.open();
        life.ends("paint", PendingUserInput).await;
        life.queue().answer(&id("paint"), "Red.").await.unwrap();
        let issue = life.ends("paint", Completed).await;
        assert_eq!(
            (issue.session.as_ref(), issue.details.result.as_deref()),
            (Some(&session), Some("Red it is."))
        );
        let told = life.told(&session).await;
        assert!(
            told[1].contains("Which colour?") && told[1].contains("<answer by=\"ann\">\nRed.\n</answer>"),
            "{told:#?}"
        );
        assert_eq!(life.states().await, [RunState::Completed, RunState::Completed], "a run of its own");
        assert!(life.queue().answer(&id("paint"), "Blue.").await.is_err());
        life.end().await;
    }
}

#[tokio::test]
async fn a_failure_is_tried_again_and_then_it_has_failed() {
    for world in World::both() {
        for _ in 0..2 {
            world.stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
        }
        let mut config = one_pool(json!({}));
        config["retry"] = json!({"attempts": 2});
        let life = world.begin(config).await;
        life.add(new("login")).await;
        let waits = life.until("login", |issue| issue.details.retry_count == 1).await;
        assert_eq!((waits.issue.status, waits.run.is_some()), (Open, true), "its run keeps it");
        world.stage.clock.asleep_within(Duration::from_secs(1)).await;
        world.stage.clock.advance(Duration::from_secs(1));
        let issue = life.ends("login", Failed).await;
        assert_eq!(issue.details.retry_count, 2);
        let events = life.events("login").await;
        assert_eq!(
            events,
            ["issue_opened", "issue_started", "issue_retried", "issue_started", "issue_failed"]
        );
        assert_eq!(life.states().await, [RunState::Dead]);
        life.end().await;
    }
}

#[tokio::test]
async fn a_rule_sends_what_has_failed_to_another_pool() {
    for world in World::both() {
        world.stage.brain.then(Step::Fail(ProviderErrorKind::Auth)).of("SENIOR", Step::Say("Easy.".into()));
        let config = json!({
            "worker_pools": [{"name": "juniors", "worker_bundle": "plain"},
                {"name": "seniors", "worker_bundle": "senior", "route_types": ["x"]}],
            "routing": {"rules": [{"and_retry_count_gte": 1, "then_pool": "seniors"}]},
        });
        let life = world.begin(config).await;
        life.add(new("login")).await;
        let issue = life.ends("login", Completed).await;
        assert_eq!(issue.details.result.as_deref(), Some("Easy."));
        let runs = life.runs().await;
        assert_eq!(
            runs.iter().map(|run| run.state).collect::<Vec<_>>(),
            [RunState::Cancelled, RunState::Completed]
        );
        assert_eq!(runs[0].reason.as_deref(), Some("escalated to seniors"));
        assert!(runs[1].id.as_str().starts_with("seniors:"));
        let told = life.told(issue.session.as_ref().unwrap()).await;
        assert!(told[0].contains("An attempt before this one failed"), "{told:#?}");
        assert!(life.events("login").await.contains(&"issue_escalated".to_owned()));
        life.end().await;
    }
}

#[tokio::test]
async fn a_rule_sends_what_is_blocked_to_another_pool_once() {
    for world in World::both() {
        let (first, second) = (Gate::new(), Gate::new());
        world.stage.brain.then(Step::Late("stuck".into(), first.clone()));
        world.stage.brain.of("SENIOR", Step::Late("stuck too".into(), second.clone()));
        let config = json!({
            "worker_pools": [{"name": "juniors", "worker_bundle": "plain"},
                {"name": "seniors", "worker_bundle": "senior", "route_types": ["x"]}],
            "routing": {"rules": [{"if_status": "blocked", "then_pool": "seniors"}]},
        });
        let life = world.begin(config).await;
        life.add(new("login")).await;
        let session = life.worker("login").await;
        life.queue_in(&session).block(&id("login"), Some("no key")).await.unwrap();
        first.open();
        let other =
            life.until("login", |issue| issue.session.as_ref() != Some(&session)).await.session.unwrap();
        assert!(other.as_str().starts_with("bg-seniors-"));
        life.worker("login").await;
        life.queue_in(&other).block(&id("login"), Some("no key either")).await.unwrap();
        second.open();
        let issue = life.ends("login", Blocked).await;
        assert_eq!(issue.details.blocking_notes.as_deref(), Some("no key either"));
        life.end().await;
    }
}

#[tokio::test]
async fn a_worker_that_somebody_cancels_leaves_its_issue_blocked() {
    for world in World::both() {
        let gate = Gate::new();
        world.stage.brain.then(Step::Late("never".into(), gate.clone()));
        let life = world.begin(one_pool(json!({}))).await;
        life.add(new("login")).await;
        let session = life.worker("login").await;
        gate.reached(1).await;
        life.host.sessions().cancel(&session, CancelLevel::Immediate);
        let issue = life.ends("login", Blocked).await;
        assert!(issue.details.blocking_notes.unwrap().contains("cancelled"));
        assert_eq!(life.states().await, [RunState::Cancelled]);
        life.end().await;
    }
}

#[tokio::test]
async fn a_stop_lets_the_worker_go_on_in_its_session_next_time() {
    for world in World::both() {
        let gate = Gate::new();
        world.stage.brain.then(Step::Late("never".into(), gate.clone())).say("Done at last.");
        let life = world.begin(one_pool(json!({}))).await;
        life.add(new("login")).await;
        let session = life.worker("login").await;
        gate.reached(1).await;
        life.crew.stop(Shutdown::Now).await;
        let issue = life.ends("login", Open).await;
        assert!(issue.details.resume);
        life.crew.start().await.unwrap();
        let issue = life.ends("login", Completed).await;
        assert_eq!(
            (issue.session.as_ref(), issue.details.result.as_deref()),
            (Some(&session), Some("Done at last."))
        );
        assert!(life.told(&session).await[1].contains("You were interrupted"));
        life.end().await;
    }
}

#[tokio::test]
async fn a_worker_bundle_that_is_not_there_fails_the_issue_with_the_reason() {
    for world in World::both() {
        let mut config = one_pool(json!({}));
        config["retry"] = json!({"attempts": 1});
        let life = world.begin(config).await;
        let mut issue = new("login");
        issue.bundle = Some("./nowhere.md".to_owned());
        life.add(issue).await;
        let issue = life.ends("login", Failed).await;
        assert!(issue.details.reason.unwrap().contains("nowhere"));
        assert_eq!(life.states().await, [RunState::Dead]);
        life.end().await;
    }
}

#[tokio::test]
async fn a_worker_hears_what_was_said_and_what_came_out_of_what_it_depends_on() {
    for world in World::both() {
        world.stage.brain.say("The key is in the safe.").say("Opened.");
        let life = world.begin(one_pool(json!({}))).await;
        life.crew.pause().await.unwrap();
        life.add(new("find")).await;
        life.add(super::after("open", &["find"])).await;
        life.queue().comment(&id("open"), "Mind </issue> the dog.").await.unwrap();
        life.crew.resume().await.unwrap();
        let issue = life.ends("open", Completed).await;
        let told = life.told(issue.session.as_ref().unwrap()).await.remove(0);
        assert!(told.contains("<dependency id=\"find\" title=\"find\">\nThe key is in the safe."), "{told}");
        assert!(told.contains("<comment by=\"ann\">\nMind &lt;/issue> the dog."), "{told}");
        life.end().await;
    }
}

#[tokio::test]
async fn the_chain_of_causes_leads_from_a_worker_to_what_freed_its_issue() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({"max_concurrent": 1}))).await;
        life.add(new("first")).await;
        life.add(after("second", &["first"])).await;
        let first = life.ends("first", Completed).await.session.unwrap();
        let second = life.ends("second", Completed).await.session.unwrap();
        let end = life.host.store().session(&second).await.unwrap().unwrap().settled.unwrap().event;
        let why = amplifier_background::why(life.host.router(), end).await.unwrap();
        assert!(why.is_complete(), "{why:#?}");
        let names: Vec<String> = why
            .links
            .iter()
            .map(|link| match link {
                Link::Event(event) => event.event_type.name().to_owned(),
                Link::Session { id, .. } if *id == first => "the first".to_owned(),
                Link::Session { id, .. } if *id == second => "the second".to_owned(),
                Link::Run(_) => "run".to_owned(),
                Link::Trigger { .. } => "trigger".to_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        let chain = [
            "session_completed",
            "the second",
            "run",
            "trigger",
            "issue_unblocked",
            "the first",
            "run",
            "trigger",
            "issue_opened",
        ];
        assert_eq!(names, chain);
        life.end().await;
    }
}

#[tokio::test]
async fn a_worker_at_its_limit_has_failed_and_is_not_tried_again() {
    for world in World::both() {
        world.stage.brain.then(Step::Call(vec![("echo", json!({"text": "again"}))]));
        let mut config = one_pool(json!({"limits": {"max_turns": 1}}));
        config["retry"] = json!({"attempts": 3});
        let life = world.begin(config).await;
        life.add(new("login")).await;
        let issue = life.ends("login", Failed).await;
        let reason = issue.details.reason.unwrap();
        assert!(reason.contains('1') && reason.contains("turn"), "{reason}");
        let settled = life.host.store().session(&issue.session.unwrap()).await.unwrap().unwrap().settled;
        assert_eq!(settled.unwrap().outcome.kind, OutcomeKind::LimitReached);
        assert_eq!(life.states().await, [RunState::Dead]);
        life.queue().retry(&id("login"), None).await.unwrap();
        life.ends("login", Completed).await;
        life.end().await;
    }
}
