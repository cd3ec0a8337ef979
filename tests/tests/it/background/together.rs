//! Firings that are ready at once: they become durable together, and each of them is what it would be alone.

use std::collections::VecDeque;

use amplifier_background::trigger::{
    ManualTrigger, TriggerContext, TriggerError, TriggerEvent, TriggerKey, TriggerSource, TriggerStream,
};
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use serde_json::json;

use super::disk::faulty;
use super::world::{BOTH, Life, World};
use super::{conserved, name, rows, runs};

/// Has all that it says ready at once.
#[derive(Debug)]
struct Burst(Vec<String>);

impl TriggerSource for Burst {
    fn at_once(&self) -> usize {
        32
    }

    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let said = self.0.iter().map(|nominal| context.event("burst", nominal, json!(nominal)));
        Box::pin(Ready(said.collect()))
    }
}

struct Ready(VecDeque<Result<TriggerEvent, TriggerError>>);

impl futures_core::Stream for Ready {
    type Item = Result<TriggerEvent, TriggerError>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.pop_front().map_or(std::task::Poll::Pending, |next| std::task::Poll::Ready(Some(next)))
    }
}

/// A life whose only place is taken until the gate opens, and in which the next firings wait for the store.
async fn held_up(triggers: serde_json::Value) -> (World, Life, FaultyStore, Gate) {
    let (world, store) = faulty();
    let gate = Gate::new();
    world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let life = world.life().await;
    life.start(json!({"triggers": triggers})).await;
    life.manager.fire(&name("night"), json!("first")).await.unwrap();
    gate.reached(1).await;
    (world, life, store, gate)
}

#[tokio::test]
async fn events_that_have_piled_up_become_runs_in_few_commits_and_in_their_order() {
    let triggers = json!([{"type": "session_event", "config": {"event_names": ["work:new"]}}]);
    let (_world, life, store, gate) = held_up(triggers).await;
    let held = Gate::new();
    store.set(When::Method("other"), StoreFault::Wait(held.clone()));
    let mut emitted = Vec::new();
    for at in 0..600 {
        emitted.push(life.host.router().emit("work:new", json!({ "at": at })).await.unwrap());
        if at == 0 {
            held.reached(1).await;
        }
    }
    let before = store.commits().len();
    store.set(When::Never, StoreFault::Error);
    held.open();
    life.triggered(601).await;
    let taken = store.commits()[before..].iter().filter(|commit| **commit == "other").count();
    assert!((1..=6).contains(&taken), "{taken} commits for 599 events");
    let of_log: Vec<String> = life.dues().await.split_off(1);
    let emitted: Vec<String> = emitted.iter().map(|id| id.0.to_string()).collect();
    assert_eq!(of_log, emitted);
    assert_eq!(conserved(&life.host, "night").await.triggered, 601);
    gate.open();
    life.end().await;
}

#[tokio::test]
async fn a_firing_that_comes_again_spoils_none_that_comes_with_it() {
    let said = |range: std::ops::Range<u32>| range.map(|at| format!("s-{at}")).collect::<Vec<_>>();
    for on in BOTH {
        let world = World::new(on);
        let mut twice = said(0..12);
        twice.insert(7, "s-3".to_owned());
        // A few, and more than are looked for one by one.
        let some = vec!["s-12", "s-5", "s-13", "s-0"].into_iter().map(str::to_owned).collect();
        let many: Vec<String> = said(0..14).into_iter().chain(said(14..17)).chain(said(2..5)).collect();
        for (burst, count) in [(twice, 12), (some, 14), (many, 17)] {
            let life = world.life().await;
            life.start(json!({"pool_size": 4})).await;
            let key = TriggerKey::named("burst").unwrap();
            life.manager.add_trigger(&name("night"), key, Burst(burst)).await.unwrap();
            let done = |rows: &[_]| rows.len() == count && super::all(RunState::Completed, count)(rows);
            runs(&life.host, "night", "each of them once", done).await;
            assert_eq!(conserved(&life.host, "night").await.triggered, count as u64);
            life.end().await;
        }
    }
}

#[tokio::test]
async fn each_caller_is_answered_once_what_it_fired_is_durable_with_the_others() {
    let (_world, life, store, gate) = held_up(json!([])).await;
    let (trigger, handle) = ManualTrigger::new();
    life.manager.add_trigger(&name("night"), TriggerKey::named("button").unwrap(), trigger).await.unwrap();
    let held = Gate::new();
    store.set(When::Method("other"), StoreFault::Wait(held.clone()));
    let call = |at: usize| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.fire_once(&format!("order {}", at % 20), json!(at)).await })
    };
    let first = call(0);
    held.reached(1).await;
    let calls: Vec<_> = (1..50).map(call).collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(calls.iter().all(|call| !call.is_finished()), "nothing is durable yet");
    let before = store.commits().len();
    store.set(When::Never, StoreFault::Error);
    held.open();
    let mut ids = vec![soon("an answer", first).await.unwrap().unwrap()];
    for call in calls {
        ids.push(soon("an answer", call).await.unwrap().unwrap());
    }
    let taken = store.commits()[before..].iter().filter(|commit| **commit == "other").count();
    assert!((1..=20).contains(&taken), "{taken} commits for 49 calls");
    assert!((20..50).all(|at| ids[at] == ids[at % 20]), "the same key, the same firing");
    let rows = rows(&life.host, "night").await;
    assert_eq!(rows.len(), 21);
    assert!(ids.iter().all(|id| rows.iter().any(|row| row.id == id.run_id().unwrap())));
    assert_eq!(conserved(&life.host, "night").await.triggered, 21);
    gate.open();
    life.end().await;
}

#[tokio::test]
async fn many_are_started_in_few_commits_and_one_that_cannot_be_keeps_no_other_one_back() {
    let (world, store) = faulty();
    let life = world.life().await;
    let timer = json!({"triggers": [{"type": "timer", "config": {"every": "1h"}}]});
    let mut configs: Vec<_> = (0..300).map(|at| super::config(&format!("n-{at}"), timer.clone())).collect();
    configs[7].bundle = "no-such-bundle".to_owned();
    configs.push(configs[8].clone());
    let before = store.commits().len();
    let started = life.manager.start_all(configs).await;
    let commits = store.commits()[before..].iter().filter(|commit| **commit == "other").count();
    // The ownership of the triggers, and two pages.
    assert!(commits <= 3, "{commits}");
    let refused: Vec<usize> = (0..301).filter(|at| started[*at].is_err()).collect();
    assert_eq!(refused, [7, 300], "an unknown bundle, and a name that runs already");
    assert_eq!(life.manager.statuses().len(), 299);
    life.manager.fire(&name("n-299"), json!(1)).await.unwrap();
    runs(&life.host, "n-299", "a run", super::all(RunState::Completed, 1)).await;
    world.pass(3_600);
    runs(&life.host, "n-0", "what is due", super::all(RunState::Completed, 1)).await;
    life.end().await;
}
