//! Sources of somebody's own: what they may do wrong, what becomes of it, and how they are declared.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_background::trigger::config::IssueEventConfig;
use amplifier_background::trigger::{
    Cause, FireError, ManualTrigger, TriggerContext, TriggerError, TriggerEvent, TriggerKey, TriggerKind,
    TriggerSource, TriggerStream,
};
use amplifier_background::{BackgroundError, BackgroundSessionManager, BackgroundState, TriggerState};
use amplifier_core::Payload;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use serde_json::{Value, json};

use super::world::{BOTH, Life, On, World};
use super::{all, config_with, conserved, name, runs, seen};

/// What a source does next.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Fire(Value),
    /// Is well for a span.
    Live(Duration),
    Fail,
    Panic,
    /// Panics as soon as it is started.
    PanicAtOnce,
    End,
    /// Waits until somebody fires it.
    Listen,
}

/// What each start of a source does, and what it is fired with from outside. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<VecDeque<Vec<Act>>>>, Arc<Mutex<Vec<Payload>>>);

impl Script {
    pub(crate) fn new(starts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        Self(Arc::new(Mutex::new(starts.into_iter().collect())), Arc::default())
    }

    /// What it was configured with, start by start.
    fn configs(&self) -> Vec<Payload> {
        self.1.lock().unwrap().clone()
    }

    /// Makes the sources of a type.
    pub(crate) fn teach(&self, world: &mut World, kind: &'static str) {
        let script = self.clone();
        let make = move |config: &Payload| {
            script.1.lock().unwrap().push(config.clone());
            let acts = script.0.lock().unwrap().pop_front().ok_or("there is no other line")?;
            Ok(Box::new(Scripted { kind, acts: acts.into() }) as Box<dyn TriggerSource>)
        };
        world.registry.register(kind, make).unwrap();
    }
}

#[derive(Debug)]
struct Scripted {
    kind: &'static str,
    acts: VecDeque<Act>,
}

impl TriggerSource for Scripted {
    fn watch(mut self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let made: u64 = context.resume.cursor.as_ref().map_or(0, |cursor| cursor.decode().unwrap());
        if let Some(Act::PanicAtOnce) = self.acts.front() {
            panic!("it does not even start");
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let mut made = made;
            while let Some(act) = self.acts.pop_front() {
                let item = match act {
                    Act::Fire(data) => {
                        let id = context.event_id(&format!("s-{made}")).unwrap();
                        let (kind, now) = (TriggerKind::named(self.kind), context.clock.now());
                        let mut event = TriggerEvent::new(id, kind, now, Cause::Source, data.into());
                        made += 1;
                        event.cursor = Some(Payload::from(json!(made)));
                        Some(Ok(event))
                    }
                    Act::Live(span) => {
                        context.clock.sleep(span).await;
                        continue;
                    }
                    Act::Fail => Some(Err(TriggerError::Source("the line is dead".into()))),
                    Act::Listen => std::future::pending().await,
                    Act::Panic | Act::PanicAtOnce => None,
                    Act::End => return,
                };
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(Items(receiver))
    }
}

/// What a source hands out; `None` is a panic.
struct Items(tokio::sync::mpsc::Receiver<Option<Result<TriggerEvent, TriggerError>>>);

impl futures_core::Stream for Items {
    type Item = Result<TriggerEvent, TriggerError>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|item| item.map(|item| item.expect("it panics while it is asked")))
    }
}

fn state(life: &Life, of: &str) -> (TriggerState, u32) {
    let status = life.manager.status(&name("night")).unwrap();
    let trigger = &status.triggers[&TriggerKey::named(of).unwrap()];
    (trigger.state, trigger.restarts)
}

async fn comes(life: &Life, of: &str, state: TriggerState, restarts: u32) {
    let holds = |status: &amplifier_background::BackgroundStatus| {
        let trigger = &status.triggers[&TriggerKey::named(of).unwrap()];
        (trigger.state, trigger.restarts) == (state, restarts)
    };
    seen(&life.manager, "night", &format!("{of}: {state:?} after {restarts}"), holds).await;
}

fn weak(more: Value) -> Value {
    super::world::with(
        json!({"triggers": [
            {"type": "weak", "name": "weak"},
            {"type": "session_event", "name": "strong", "config": {"event_names": ["work:new"]}},
        ]}),
        more,
    )
}

#[tokio::test]
async fn a_source_is_restarted_after_growing_waits_and_a_minute_of_health_counts_anew() {
    for on in BOTH {
        let mut world = World::new(on);
        let minute = Act::Live(Duration::from_secs(60));
        let starts = [
            vec![Act::Fail],
            vec![Act::PanicAtOnce],
            vec![minute, Act::Fail],
            vec![Act::Panic],
            vec![Act::Fail],
        ];
        let script = Script::new(starts);
        script.teach(&mut world, "weak");
        let life = world.life().await;
        let mut told = life.host.router().subscribe("background:error").unwrap().events();
        life.start(weak(json!({"max_restarts": 2}))).await;
        for (restarts, wait) in [(0, 1), (1, 2)] {
            comes(&life, "weak", TriggerState::Restarting, restarts).await;
            world.stage.clock.pass(Duration::from_secs(wait)).await;
        }
        comes(&life, "weak", TriggerState::Watching, 2).await;
        world.stage.clock.pass(Duration::from_secs(60)).await;
        for (restarts, wait) in [(0, 1), (1, 2)] {
            comes(&life, "weak", TriggerState::Restarting, restarts).await;
            world.stage.clock.pass(Duration::from_secs(wait)).await;
        }
        comes(&life, "weak", TriggerState::Failed, 2).await;
        let mut seen = Vec::new();
        for _ in 0..5 {
            let event = soon("what is told", told.next()).await.unwrap().unwrap();
            let said: Value = event.payload.decode().unwrap();
            assert!(said["error"].as_str().unwrap().len() > 5, "{said}");
            seen.push((said["restarts"].as_u64().unwrap(), said["will_restart"].as_bool().unwrap()));
        }
        assert_eq!(seen, [(0, true), (1, true), (0, true), (1, true), (2, false)]);
        assert_eq!(script.configs().len(), 5, "no start beyond the last");
        // Nobody else was taken down.
        life.host.router().emit("work:new", json!(1)).await.unwrap();
        life.fired(1).await;
        assert_eq!(life.manager.status(&name("night")).unwrap().state, BackgroundState::Running);
        life.end().await;
    }
}

#[tokio::test]
async fn a_source_that_has_been_well_for_a_minute_counts_as_well() {
    let mut world = World::new(On::Memory);
    Script::new([vec![Act::Fail], vec![Act::Listen]]).teach(&mut world, "weak");
    let life = world.life().await;
    life.start(weak(json!({}))).await;
    comes(&life, "weak", TriggerState::Restarting, 0).await;
    world.stage.clock.pass(Duration::from_secs(1)).await;
    comes(&life, "weak", TriggerState::Watching, 1).await;
    world.stage.clock.pass(Duration::from_secs(60)).await;
    comes(&life, "weak", TriggerState::Watching, 0).await;
    life.end().await;
}

#[tokio::test]
async fn without_restarts_the_first_failure_is_the_last_and_with_no_trigger_left_the_whole_has_failed() {
    for (more, act) in [
        (json!({"restart_on_failure": false}), Act::Fail),
        (json!({"restart_on_failure": false}), Act::PanicAtOnce),
        (json!({"max_restarts": 0}), Act::Panic),
    ] {
        let mut world = World::new(On::Memory);
        Script::new([vec![act]]).teach(&mut world, "weak");
        let life = world.life().await;
        life.start(super::world::with(json!({"triggers": [{"type": "weak", "name": "weak"}]}), more)).await;
        let status =
            seen(&life.manager, "night", "the failure", |status| status.state == BackgroundState::Failed)
                .await;
        assert_eq!(state(&life, "weak"), (TriggerState::Failed, 0));
        assert!(status.error.unwrap().contains("trigger weak"));
        // By hand it can still be fired, and it can be stopped and started.
        life.manager.fire(&name("night"), json!(1)).await.unwrap();
        runs(&life.host, "night", "a run", all(RunState::Completed, 1)).await;
        life.end().await;
    }
}

#[tokio::test]
async fn a_source_that_ends_or_cannot_be_made_again_takes_no_other_one_down() {
    let mut world = World::new(On::Memory);
    Script::new([vec![Act::Fire(json!(1)), Act::End]]).teach(&mut world, "brief");
    Script::new([vec![Act::Fail]]).teach(&mut world, "weak");
    let life = world.life().await;
    let triggers = json!([
        {"type": "brief", "name": "brief"},
        {"type": "weak", "name": "weak"},
        {"type": "session_event", "name": "strong", "config": {"event_names": ["work:new"]}},
    ]);
    life.start(json!({"triggers": triggers, "max_restarts": 1})).await;
    comes(&life, "brief", TriggerState::Ended, 0).await;
    comes(&life, "weak", TriggerState::Restarting, 0).await;
    world.stage.clock.pass(Duration::from_secs(1)).await;
    comes(&life, "weak", TriggerState::Failed, 1).await;
    let status = life.manager.status(&name("night")).unwrap();
    assert!(status.error.unwrap().contains("there is no other line"), "why it was refused");
    life.host.router().emit("work:new", json!(2)).await.unwrap();
    life.fired(2).await;
    life.end().await;
}

#[tokio::test]
async fn a_source_goes_on_where_it_was_after_a_failure_and_after_a_restart_of_the_process() {
    for on in BOTH {
        let mut world = World::new(on);
        let fires = |from: u32, to: u32| (from..to).map(|at| Act::Fire(json!(at)));
        let script = Script::new([
            fires(0, 2).chain([Act::Fail]).collect(),
            fires(2, 4).chain([Act::Listen]).collect(),
            fires(4, 5).chain([Act::Listen]).collect::<Vec<_>>(),
        ]);
        script.teach(&mut world, "weak");
        let life = world.life().await;
        life.start(weak(json!({}))).await;
        life.fired(2).await;
        comes(&life, "weak", TriggerState::Restarting, 0).await;
        world.stage.clock.pass(Duration::from_secs(1)).await;
        life.fired(4).await;
        life.end().await;
        let life = world.life().await;
        life.start(weak(json!({}))).await;
        life.fired(1).await;
        assert_eq!(life.dues().await, ["s-0", "s-1", "s-2", "s-3", "s-4"], "none twice, none left out");
        life.end().await;
    }
}

#[tokio::test]
async fn changes_of_issues_are_told_by_the_source_that_the_program_supplies_if_it_does() {
    let world = World::new(On::Memory);
    let entry =
        json!({"type": "issue_event", "name": "bugs", "config": {"events": ["opened"], "types": ["bug"]}});
    let declared = json!({"triggers": [entry]});
    let mut world = world;
    let issue = json!({"issue": 7, "title": "It does not start"});
    let script = Script::new([vec![Act::Fire(issue), Act::Listen]]);
    script.teach(&mut world, "issue_event");
    let life = world.life().await;
    life.start(declared).await;
    life.fired(1).await;
    let config: IssueEventConfig = script.configs()[0].decode().unwrap();
    assert_eq!((config.events, config.types), (vec!["opened".to_owned()], vec!["bug".to_owned()]));
    let firing = &life.firings().await[0];
    assert_eq!((&firing["trigger"], &firing["payload"]["issue"]), (&json!("issue_event"), &json!(7)));
    life.end().await;
}

#[tokio::test]
async fn a_type_that_the_host_knows_is_named_in_a_declaration() {
    let world = World::new(On::Memory);
    let make = |config: &Payload| {
        let data: Value = config.decode()?;
        let acts = VecDeque::from([Act::Fire(data), Act::Listen]);
        Ok(Box::new(Scripted { kind: "sqs", acts }) as Box<dyn TriggerSource>)
    };
    let refuses = |_: &Payload| Err("never".into());
    let builder = world.stage.builder().trigger_source("sqs", make).trigger_source("timer", refuses);
    let host = world.life_with(builder).await.host;
    assert!(host.triggers().knows("sqs") && !host.triggers().knows("timer"), "what is built in stays");
    let manager = BackgroundSessionManager::new(&host);
    let more = json!({"triggers": [{"type": "sqs", "config": {"queue": "work"}}]});
    manager.start(config_with("night", more, host.triggers())).await.unwrap();
    runs(&host, "night", "a run", all(RunState::Completed, 1)).await;
    let told = world.stage.brain.last_request();
    assert!(
        told.iter()
            .any(|(_, text)| text.contains("\"queue\": \"work\"") || text.contains("\"queue\":\"work\"")),
        "{told:?}"
    );
    conserved(&host, "night").await;
}

#[tokio::test]
async fn a_trigger_of_code_is_added_to_what_runs_and_tells_what_became_of_each_call() {
    for on in BOTH {
        let world = World::new(on);
        let gate = Gate::new();
        world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        let life = world.life().await;
        life.start(json!({"queue": {"capacity": 1}})).await;
        let (trigger, handle) = ManualTrigger::new();
        let key = || TriggerKey::named("button").unwrap();
        life.manager.add_trigger(&name("night"), key(), trigger).await.unwrap();
        let taken =
            life.manager.add_trigger(&name("night"), key(), ManualTrigger::new().0).await.unwrap_err();
        assert!(matches!(taken, BackgroundError::TriggerRuns { .. }), "{taken}");
        let first = handle.fire(json!({"reason": "threshold passed"})).await.unwrap();
        assert_eq!(super::rows(&life.host, "night").await[0].id, first.run_id().unwrap(), "it is durable");
        gate.reached(1).await;
        seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
        let second = handle.fire_once("order 7", json!(2)).await.unwrap();
        assert_eq!(handle.fire_once("order 7", json!(2)).await, Ok(second), "the same key, the same firing");
        assert!(matches!(handle.fire(json!(3)).await, Err(FireError::Full { .. })), "a typed error");
        gate.open();
        life.quiet().await;
        let counts = conserved(&life.host, "night").await;
        assert_eq!((counts.triggered, counts.rejected), (3, 1));
        life.end().await;
        assert_eq!(handle.fire(json!(4)).await, Err(FireError::Closed));
    }
}
