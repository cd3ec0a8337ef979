//! Random histories of a background session against the memory store: whatever happens in whichever order, the
//! rows take legal steps alone, nothing is run twice, and the conservation law holds.
//!
//! Two managers work on one queue. Sessions fail, are slow, and are lost in the middle of their work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amplifier_background::{BackgroundError, BackgroundSessionManager};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{OutcomeKind, SessionOutcome};
use amplifier_foundation::store::{MemoryStore, RUN_STEPS, RunState, Write};
use amplifier_foundation::{Host, Shutdown};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::Step;
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use proptest::prelude::*;
use serde_json::json;

use super::world::lapse;
use super::{all, config, conserved, name, rows, runs};

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    Fire,
    /// By the manager that works beside the owner.
    FireBeside,
    FireInvalid,
    /// The next session fails.
    Fail,
    /// The next session takes its time.
    Slow,
    /// The store fails where the next session begins.
    Broken,
    /// A session that runs is lost, as if its process had ended.
    Lose,
    Emit,
    EmitTwice,
    Stop,
    Start,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Fire),
        2 => Just(Act::FireBeside),
        1 => Just(Act::FireInvalid),
        2 => Just(Act::Fail),
        3 => Just(Act::Slow),
        1 => Just(Act::Broken),
        2 => Just(Act::Lose),
        2 => Just(Act::Emit),
        1 => Just(Act::EmitTwice),
        1 => Just(Act::Stop),
        2 => Just(Act::Start),
        2 => (0..25_u64).prop_map(Act::Wait),
    ]
}

fn declared() -> amplifier_background::BackgroundConfig {
    let triggers = json!([{"type": "session_event", "config": {"event_names": ["work:*"]}}]);
    let template = "Do {trigger.data.what}";
    let queue = json!({"capacity": 4, "attempts": 2});
    config(
        "night",
        json!({"triggers": triggers, "instruction_template": template, "pool_size": 2, "queue": queue}),
    )
}

/// What plays.
struct Play {
    stage: Stage,
    store: FaultyStore,
    host: Host,
    owner: BackgroundSessionManager,
    beside: BackgroundSessionManager,
    gate: Gate,
    fired: u64,
}

/// 1 if it reached the intake, whatever became of it there; nothing where none of that name runs.
async fn fire(manager: &BackgroundSessionManager, data: serde_json::Value) -> u64 {
    let result = manager.fire(&name("night"), data).await;
    u64::from(!matches!(result, Err(BackgroundError::Unknown { .. })))
}

impl Play {
    async fn begin() -> Self {
        let stage = Stage::new();
        let memory = MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7));
        let store = FaultyStore::new(Arc::new(memory), When::Never, StoreFault::Error);
        let host = stage.builder().store(Arc::new(store.clone())).in_memory();
        let (owner, beside) = (BackgroundSessionManager::new(&host), BackgroundSessionManager::new(&host));
        owner.start(declared()).await.unwrap();
        beside.work(declared()).await.unwrap();
        Self { stage, store, host, owner, beside, gate: Gate::new(), fired: 0 }
    }

    async fn act(&mut self, act: Act) {
        let (owner, router) = (&self.owner, self.host.router());
        match act {
            Act::Fire => self.fired += fire(owner, json!({"what": "it"})).await,
            Act::FireBeside => self.fired += fire(&self.beside, json!({"what": "it"})).await,
            Act::FireInvalid => self.fired += fire(owner, json!({})).await,
            Act::Fail => drop(self.stage.brain.then(Step::Fail(ProviderErrorKind::Auth))),
            Act::Slow => drop(self.stage.brain.then(Step::Wait("slow".into(), self.gate.clone()))),
            Act::Broken => {
                let open = When::Method("open");
                self.store.set(open, StoreFault::Error);
                self.fired += fire(owner, json!({"what": "it"})).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.store.set(When::Never, StoreFault::Error);
            }
            Act::Lose => self.lose().await,
            Act::Emit => {
                router.emit("work:new", json!({"what": "that"})).await.unwrap();
                self.fired += 1;
            }
            Act::EmitTwice => {
                for _ in 0..2 {
                    self.fired += 1;
                    router.emit("work:new", json!({})).await.unwrap();
                }
            }
            // Time passes: a run that is gone on with waits for a session that somebody has lost to end here.
            Act::Stop => {
                let night = name("night");
                let stopped = owner.stop(&night, Shutdown::Now);
                drop(lapse(&self.stage, Duration::from_secs(1), stopped).await);
            }
            Act::Start => drop(owner.start(declared()).await),
            Act::Wait(seconds) => self.stage.clock.advance(Duration::from_secs(seconds)),
        }
        for row in rows(&self.host, "night").await {
            row.check().unwrap();
        }
    }

    /// Settles a session that runs, as somebody does who has found its process gone.
    async fn lose(&self) {
        let running = rows(&self.host, "night").await.into_iter().find(|row| row.state == RunState::Running);
        let Some(session) = running.and_then(|row| row.session) else { return };
        let known = self.host.store().session(&session).await.unwrap().unwrap();
        let outcome = Arc::new(SessionOutcome::new(OutcomeKind::Lost, known.activation, "", None));
        let event = amplifier_core::NewEvent::of(amplifier_core::EventType::SessionError, json!({}).into());
        let event = self.host.router().seal(event.from_session(session)).unwrap();
        let settle = Write::Settle { of: known.last(), outcome, event: Box::new(event) };
        // It may have ended by itself by now.
        drop(self.host.store().commit(settle.into()).await);
    }

    /// Whatever was left comes to its end.
    async fn end(self) -> Vec<(RunState, RunState)> {
        drop(self.owner.start(declared()).await);
        self.gate.open();
        let clock = self.stage.clock.clone();
        let ticks = tokio::spawn(async move {
            loop {
                clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let all_taken = async {
            while self.owner.counts(&name("night")).await.unwrap().triggered < self.fired {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("all firings", all_taken).await;
        let is_over =
            |rows: &[_]| rows.iter().all(|row: &amplifier_foundation::store::RunRow| row.state.is_final());
        runs(&self.host, "night", "the end of all", is_over).await;
        ticks.abort();
        for manager in [&self.owner, &self.beside] {
            soon("a stop", manager.stop(&name("night"), Shutdown::Now)).await.unwrap();
        }
        let counts = conserved(&self.host, "night").await;
        assert_eq!(counts.triggered, self.fired, "each firing is counted once, also over stops and starts");
        let rows = rows(&self.host, "night").await;
        let of = |state| rows.iter().filter(|row| row.state == state).count();
        let ends = of(RunState::Completed) + of(RunState::Dead) + of(RunState::Cancelled);
        assert_eq!(ends as u64, counts.rows());
        let steps = self.store.steps();
        let taken = |step| steps.iter().filter(|taken| **taken == step).count();
        let (begun, again) = ((RunState::Leased, RunState::Running), (RunState::Running, RunState::Queued));
        let ended = rows.iter().filter(|row| row.session.is_some()).count();
        assert_eq!(taken(begun), taken(again) + ended, "each beginning has one end");
        assert_eq!(
            self.host.store().count_queued(&amplifier_background::queue_of(&name("night"))).await.unwrap(),
            0
        );
        steps
    }
}

async fn play(acts: Vec<Act>) -> Vec<(RunState, RunState)> {
    let mut play = Play::begin().await;
    for act in acts {
        soon(&format!("what comes of {act:?}"), play.act(act)).await;
    }
    play.end().await
}

/// A few, for a run of all tests; `PROPTEST_CASES` says how many else.
fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    let said = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if said { config.cases } else { 32 }, ..config }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_history_keeps_the_law_and_ends(acts in prop::collection::vec(act(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(acts));
    }
}

#[tokio::test]
async fn every_step_of_the_table_is_taken_but_those_that_a_count_stands_for() {
    let mut taken: BTreeSet<(RunState, RunState)> = BTreeSet::new();
    // Two attempts fail; one is slow and is stopped; what waits is replaced; one cannot be started.
    for acts in [
        vec![Act::Fail, Act::Fail, Act::Fire],
        vec![Act::Slow, Act::Slow, Act::Slow, Act::Slow, Act::Fire, Act::Fire, Act::Wait(0), Act::Lose],
    ] {
        taken.extend(play(acts).await);
    }
    let stage = Stage::new();
    let memory = MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7));
    let store = FaultyStore::new(Arc::new(memory), When::Never, StoreFault::Error);
    let host = stage.builder().store(Arc::new(store.clone())).open(stage.project.path()).await.unwrap();
    let manager = BackgroundSessionManager::new(&host);
    let gate = Gate::new();
    stage.brain.then(Step::Wait("slow".into(), gate.clone()));
    let triggers = json!([{"type": "manual", "overlap": "cancel_previous"}]);
    let more = json!({ "triggers": triggers });
    manager.start(config("night", more)).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    gate.reached(1).await;
    for at in 2..4 {
        manager.fire(&name("night"), json!(at)).await.unwrap();
    }
    manager.stop(&name("night"), Shutdown::Now).await.unwrap();
    let brief = stage.project.bundle("brief", BundleText::new("brief").to_string());
    manager.start(config("day", json!({"bundle": "brief", "queue": {"attempts": 2}}))).await.unwrap();
    std::fs::remove_file(brief).unwrap();
    manager.fire(&name("day"), json!(1)).await.unwrap();
    let dead = runs(&host, "day", "the end of a run without a bundle", all(RunState::Dead, 1));
    lapse(&stage, Duration::from_secs(1), dead).await;
    taken.extend(store.steps());
    // A firing that a policy leaves out, or that another stands for, is a number and no row.
    let counted = [(RunState::Queued, RunState::Coalesced), (RunState::Queued, RunState::Skipped)];
    let wanted = RUN_STEPS.iter().map(|(from, to, _)| (*from, *to)).filter(|step| !counted.contains(step));
    assert_eq!(taken, wanted.collect::<BTreeSet<_>>());
}
