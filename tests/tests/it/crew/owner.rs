//! Owners that end, and two at once.

use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_background::report::{Change, Runs};
use amplifier_background::trigger::TriggerRegistry;
use amplifier_core::{OutcomeKind, RunId, SessionId};
use amplifier_crew::{Crew, CrewConfig};
use amplifier_foundation::Shutdown;
use amplifier_foundation::store::RunState;
use amplifier_issue::IssueStatus::{Blocked, Completed, Open};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{World, id, new, one_pool};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A process that ends where it stands, with the issue `runs` under way and `waits` behind it. The session that
/// it was cut off in.
fn cut_off(world: &World, config: Value) -> SessionId {
    let gate = Gate::new();
    world.stage.brain.then(Step::Late("never".into(), gate.clone()));
    let first = runtime();
    let (life, session) = first.block_on(async {
        let life = world.begin(config).await;
        life.add(new("runs")).await;
        life.add(new("waits")).await;
        let session = life.worker("runs").await;
        gate.reached(1).await;
        life.until("waits", |issue| issue.run.is_some()).await;
        (life, session)
    });
    // Every task of it ends where it stands.
    first.shutdown_timeout(Duration::from_secs(5));
    drop(life);
    session
}

#[test]
fn the_next_owner_goes_on_with_what_the_last_one_has_left() {
    for world in World::both() {
        let session = cut_off(&world, one_pool(json!({})));
        runtime().block_on(async {
            let life = world.begin(one_pool(json!({}))).await;
            let issue = life.ends("runs", Completed).await;
            life.ends("waits", Completed).await;
            // In memory its transcript went with its process.
            let goes_on = issue.session.as_ref() == Some(&session);
            assert_eq!(goes_on, world.is_on_disk(), "{issue:#?}");
            life.end().await;
        });
    }
}

#[test]
fn where_a_pool_says_so_a_lost_issue_begins_anew() {
    for world in World::both() {
        let config = one_pool(json!({"on_lost": "restart"}));
        let session = cut_off(&world, config.clone());
        runtime().block_on(async {
            let life = world.begin(config).await;
            let waits = life.until("runs", |issue| issue.details.retry_count == 1).await;
            assert_ne!(waits.issue.status, Completed);
            life.ends("waits", Completed).await;
            world.stage.clock.asleep_within(Duration::from_secs(1)).await;
            world.stage.clock.advance(Duration::from_secs(1));
            let issue = life.ends("runs", Completed).await;
            assert_ne!(issue.session.as_ref(), Some(&session));
            let lost = life.host.store().session(&session).await.unwrap().unwrap().settled.unwrap();
            assert_eq!(lost.outcome.kind, OutcomeKind::Lost);
            life.end().await;
        });
    }
}

#[tokio::test]
async fn of_two_owners_one_is_told_who_has_it_and_changes_nothing() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({}))).await;
        let other = BackgroundSessionManager::new(&life.host);
        let config = CrewConfig::parse(&one_pool(json!({})), &TriggerRegistry::new()).unwrap();
        let error = Crew::new(&life.host, &other, config).start().await.unwrap_err();
        assert!(error.to_string().contains("owned by process"), "{error}");
        life.add(new("login")).await;
        life.ends("login", Completed).await;
        assert_eq!(life.runs().await.len(), 1);
        life.end().await;
    }
}

#[tokio::test]
async fn a_crew_starts_whole_or_not_at_all() {
    for world in World::both() {
        let host = world.host().await;
        let manager = BackgroundSessionManager::new(&host);
        let mut config = one_pool(json!({}));
        config["background_sessions"] = json!([{"name": "hook", "bundle": "plain",
            "triggers": [{"type": "webhook", "config": {"path": "x", "scheme": "bearer", "secret_env": "NOT_SET"}}]}]);
        let crew = Crew::new(&host, &manager, CrewConfig::parse(&config, &TriggerRegistry::new()).unwrap());
        let error = crew.start().await.unwrap_err();
        assert_eq!(error.to_string(), "hook cannot be started");
        assert!(manager.statuses().is_empty());
        manager.shutdown(Shutdown::Now).await;
    }
}

#[tokio::test]
async fn an_issue_whose_run_is_gone_is_free_again() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({}))).await;
        life.crew.stop(Shutdown::Now).await;
        life.add(new("login")).await;
        life.queue().claim(&id("login"), &RunId::new("workers:issues:1:gone.0").unwrap()).await.unwrap();
        assert_eq!(life.issue("login").await.issue.status, Open);
        life.crew.start().await.unwrap();
        let issue = life.ends("login", Completed).await;
        let settled = life.host.store().session(&issue.session.unwrap()).await.unwrap().unwrap().settled;
        assert_eq!(settled.unwrap().outcome.kind, OutcomeKind::Completed);
        assert_eq!(life.states().await, [RunState::Completed]);
        life.end().await;
    }
}

#[tokio::test]
async fn an_issue_is_set_right_however_much_happens_meanwhile() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({}))).await;
        // Nobody takes an issue meanwhile.
        life.crew.pause().await.unwrap();
        life.add(new("stuck")).await;
        let gone = RunId::new("workers:issues:1:gone.0").unwrap();
        life.queue().claim(&id("stuck"), &gone).await.unwrap();
        for round in 0..7 {
            assert!(round > 5 || life.issue("stuck").await.run.is_some(), "a minute has not passed");
            let small = format!("small-{round}");
            life.add(new(&small)).await;
            life.queue().close(&id(&small), None).await.unwrap();
            // Whoever listens has heard of it.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            world.stage.clock.advance(Duration::from_secs(10));
        }
        assert_eq!(life.until("stuck", |issue| issue.run.is_none()).await.issue.status, Open);
        life.end().await;
    }
}

#[tokio::test]
async fn the_issue_of_a_dropped_run_waits_for_a_person() {
    for world in World::both() {
        let gate = Gate::new();
        world.stage.brain.then(Step::Late("first".into(), gate.clone())).say("again");
        let life = world.begin(one_pool(json!({"max_concurrent": 1}))).await;
        life.add(new("first")).await;
        gate.reached(1).await;
        life.add(new("second")).await;
        let run = life.until("second", |issue| issue.run.is_some()).await.run.unwrap();
        Runs::of(&life.host).drop(&run, &Change::by("ann")).await.unwrap();
        let issue = life.ends("second", Blocked).await;
        let notes = issue.details.blocking_notes.unwrap();
        assert!(notes.contains("retry the issue or close it"), "{notes}");
        gate.open();
        life.ends("first", Completed).await;
        life.queue().retry(&id("second"), None).await.unwrap();
        life.ends("second", Completed).await;
        life.end().await;
    }
}
