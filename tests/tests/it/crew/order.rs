//! Which issue begins when and where.

use amplifier_background::trigger::TriggerRegistry;
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_crew::CrewConfig;
use amplifier_foundation::store::{RunRow, RunState};
use amplifier_issue::IssueStatus::{Blocked, Completed, Open};
use amplifier_issue::{Edit, IssueStatus, IssueType, Priority};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use serde_json::json;

use super::{World, after, id, new, one_pool, pool, urgent};

#[tokio::test]
async fn no_more_workers_than_the_pool_has_places_and_all_of_them_at_once() {
    for world in World::both() {
        let gate = Gate::new();
        for _ in 0..9 {
            world.stage.brain.then(Step::Late("done".into(), gate.clone()));
        }
        let life = world.begin(one_pool(json!({"max_concurrent": 3}))).await;
        for at in 0..9 {
            life.add(new(&format!("i{at}"))).await;
        }
        gate.reached(3).await;
        life.until("i8", |issue| issue.run.is_some()).await;
        assert_eq!(life.crew.statuses()[0].active.len(), 3);
        assert_eq!(gate.arrived(), 3);
        gate.open();
        for at in 0..9 {
            life.ends(&format!("i{at}"), Completed).await;
        }
        life.end().await;
    }
}

#[tokio::test]
async fn an_issue_begins_once_all_that_it_depends_on_is_done() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({"max_concurrent": 4}))).await;
        life.crew.pause().await.unwrap();
        for (name, needs) in [("a", &[][..]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"]), ("e", &["d"])]
        {
            life.add(after(name, needs)).await;
        }
        life.crew.resume().await.unwrap();
        life.ends("e", Completed).await;
        let mut begun = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            let history = life.queue().whole_history(&id(name)).await.unwrap();
            let place = |event: &str| history.iter().find(|entry| entry.noted.event == event).unwrap().place;
            begun.push((place("issue_started"), place("issue_completed")));
        }
        for (needed, dependent) in [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)] {
            assert!(begun[needed].1 < begun[dependent].0, "{begun:?}");
        }
        life.end().await;
    }
}

#[tokio::test]
async fn the_most_urgent_comes_first_also_if_it_became_so_while_it_waited() {
    for world in World::both() {
        let gate = Gate::new();
        world.stage.brain.then(Step::Late("first".into(), gate.clone()));
        let life = world.begin(one_pool(json!({}))).await;
        life.add(new("first")).await;
        life.worker("first").await;
        for (name, priority) in [("low", 4), ("middle", 2), ("high", 0), ("raised", 3)] {
            life.add(urgent(name, priority)).await;
            life.until(name, |issue| issue.run.is_some()).await;
        }
        let mut edit = Edit::default();
        edit.priority = Some(Priority::new(1).unwrap());
        let raised = life.queue().update(&id("raised"), edit).await.unwrap();
        assert_eq!(raised.details.round, 1);
        life.until("raised", |issue| issue.run.is_some()).await;
        gate.open();
        life.ends("low", Completed).await;
        let mut begun: Vec<(u64, &str)> = Vec::new();
        for name in ["low", "middle", "high", "raised"] {
            let history = life.queue().whole_history(&id(name)).await.unwrap();
            begun.push((
                history.iter().find(|entry| entry.noted.event == "issue_started").unwrap().place,
                name,
            ));
        }
        begun.sort_unstable();
        assert_eq!(
            begun.iter().map(|(_, name)| *name).collect::<Vec<_>>(),
            ["high", "raised", "middle", "low"]
        );
        let cancelled = life.states().await.iter().filter(|state| **state == RunState::Cancelled).count();
        assert_eq!(cancelled, 1, "the run that waited at the old priority");
        life.end().await;
    }
}

#[tokio::test]
async fn an_issue_for_no_pool_is_blocked_with_what_to_configure() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({"route_types": ["bug"]}))).await;
        life.add(new("chore")).await;
        let issue = life.ends("chore", Blocked).await;
        let why = issue.details.blocking_notes.unwrap();
        assert!(why.contains("route_types") && why.contains("routing.default_pool"), "{why}");
        assert!(life.runs().await.is_empty());
        life.end().await;
    }
}

#[test]
fn a_rule_that_names_no_pool_is_an_error_before_anything_starts() {
    let mut config = one_pool(json!({}));
    config["routing"] = json!({"rules": [{"then_pool": "wrokers"}]});
    let error = CrewConfig::parse(&config, &TriggerRegistry::new()).unwrap_err().to_string();
    assert!(error.contains("did you mean `workers`?"), "{error}");
}

#[tokio::test]
async fn types_and_metadata_choose_the_pool() {
    for world in World::both() {
        let config = json!({
            "worker_pools": [{"name": "a", "worker_bundle": "plain", "route_types": ["task"]},
                {"name": "b", "worker_bundle": "plain", "route_types": ["bug"]}],
            "routing": {"rules": [{"if_metadata_type": ["study"], "then_pool": "b"}]},
        });
        let life = world.begin(config).await;
        let mut study = new("study");
        study.metadata.insert("type".to_owned(), json!("study"));
        life.add(study).await;
        life.add(new("task")).await;
        for (name, of) in [("study", "b"), ("task", "a")] {
            let issue = life.ends(name, Completed).await;
            assert!(issue.session.unwrap().as_str().starts_with(&format!("bg-{of}-")), "{name}");
        }
        assert_eq!(life.crew.names().cloned().collect::<Vec<_>>(), [pool("a"), pool("b")]);
        life.end().await;
    }
}

#[tokio::test]
async fn what_waits_elsewhere_is_left_alone() {
    for world in World::both() {
        let life = world.begin(one_pool(json!({}))).await;
        let mut later = new("later");
        later.status = IssueStatus::Blocked;
        life.add(later).await;
        life.add(new("now")).await;
        life.ends("now", Completed).await;
        assert_eq!((life.issue("later").await.issue.status, life.runs().await.len()), (Blocked, 1));
        life.queue().retry(&id("later"), None).await.unwrap();
        life.ends("later", Completed).await;
        assert_ne!(life.issue("later").await.issue.status, Open);
        life.end().await;
    }
}

#[tokio::test]
async fn an_ordinary_background_session_hears_of_issues_of_its_types() {
    for world in World::both() {
        let mut config = one_pool(json!({}));
        config["background_sessions"] = json!([{"name": "triage", "bundle": "plain",
            "instruction_template": "look at {trigger.data.issue_id}",
            "triggers": [{"type": "issue_event", "config": {"events": ["completed"], "types": ["bug"]}}]}]);
        let life = world.begin(config).await;
        let mut bug = new("bug");
        bug.issue_type = IssueType::Bug;
        life.add(new("task")).await;
        life.ends("task", Completed).await;
        life.add(bug).await;
        life.ends("bug", Completed).await;
        let told = async {
            loop {
                let runs = life.runs().await;
                let triage: Vec<_> =
                    runs.iter().filter(|run| run.id.as_str().starts_with("triage:")).collect();
                if let [run] = triage[..]
                    && run.state == RunState::Completed
                {
                    return life.told(run.session.as_ref().unwrap()).await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let told = amplifier_tests::soon("a session", told).await;
        assert!(told[0].contains("look at") && told[0].contains("bug"), "{told:?}");
        life.end().await;
    }
}

#[tokio::test]
async fn fault_48_an_ordinary_background_session_hears_of_the_end_of_a_worker() {
    for world in World::both() {
        let on = |name: &str, event: &str| {
            json!({"name": name, "bundle": "plain", "instruction_template": "look at {trigger.data}",
                "triggers": [{"type": "session_event", "config": {"event_names": [event]}}]})
        };
        let mut config = one_pool(json!({}));
        config["background_sessions"] =
            json!([on("completion-handler", "worker:completed"), on("failure-handler", "worker:failed")]);
        config["retry"] = json!({"attempts": 1});
        let life = world.begin(config).await;
        world.stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
        life.add(new("bad")).await;
        life.ends("bad", IssueStatus::Failed).await;
        life.add(new("good")).await;
        life.ends("good", Completed).await;
        for (handler, issue) in [("completion-handler", "good"), ("failure-handler", "bad")] {
            let told = async {
                loop {
                    let runs = life.runs().await;
                    let of = |run: &&RunRow| run.id.as_str().starts_with(&format!("{handler}:"));
                    if let [run] = runs.iter().filter(of).collect::<Vec<_>>()[..]
                        && run.state == RunState::Completed
                    {
                        return life.told(run.session.as_ref().unwrap()).await;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            };
            let told = amplifier_tests::soon("a session", told).await;
            assert!(told[0].contains(&format!("\"{issue}\"")), "{handler}: {told:?}");
        }
        life.end().await;
    }
}
