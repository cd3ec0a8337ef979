//! Overlap, debounce and a full queue mean the same on each source, or are an error at start.

use std::time::Duration;

use amplifier_background::trigger::{FireError, TriggerHandle, TriggerKey, TriggerRegistry};
use amplifier_background::{BackgroundConfig, BackgroundError};
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use serde_json::{Value, json};

use super::own::{Act, Script};
use super::world::{BOTH, Life, On, World, hook, lapse, with};
use super::{all, conserved, name, runs, seen, states};

/// Who fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Timer,
    Event,
    Hook,
    File,
    Own,
    Handle,
    Hand,
}

const SOURCES: [Source; 7] =
    [Source::Timer, Source::Event, Source::Hook, Source::File, Source::Own, Source::Handle, Source::Hand];

/// How long a source of our own and a timer wait between two firings.
const GAP: Duration = Duration::from_secs(10);

impl Source {
    fn declared(self, policies: Value) -> Value {
        let entry = match self {
            Self::Timer => json!({"type": "timer", "config": {"every": "10s"}}),
            Self::Event => json!({"type": "session_event", "config": {"event_names": ["work:new"]}}),
            Self::Hook => hook(json!({})),
            Self::File => json!({"type": "file_change", "config": {"paths": ["*.txt"], "debounce": "50ms"}}),
            Self::Own => json!({"type": "own"}),
            Self::Handle | Self::Hand => json!({"type": "manual", "name": "button"}),
        };
        json!({"triggers": [with(entry, policies)]})
    }

    /// Only files need a project.
    fn places(self) -> &'static [On] {
        if self == Self::File { &[On::Disk] } else { &BOTH }
    }

    fn world(self, on: On) -> World {
        let mut world = World::new(on);
        let four = (0..4).flat_map(|at| [Act::Fire(json!(at)), Act::Live(GAP)]);
        Script::new([four.chain([Act::Listen]).collect()]).teach(&mut world, "own");
        world
    }

    /// The n-th firing; true if it was taken in, by what who fired is told.
    async fn fire(self, world: &World, life: &Life, at: u32) -> bool {
        match self {
            Self::Timer => world.stage.clock.pass(GAP).await,
            // The first one comes by itself.
            Self::Own if at == 1 => {}
            Self::Own => world.stage.clock.pass(GAP).await,
            Self::Event => drop(life.host.router().emit("work:new", json!(at)).await.unwrap()),
            Self::Hook => {
                let response = life.deliver(&format!("delivery-{at}"), &json!({ "at": at })).await;
                assert!([200, 202, 429].contains(&response.status), "{response:?}");
                assert_eq!(response.status == 200, response.body.contains("ignored"), "{response:?}");
                return response.status == 202;
            }
            Self::File => {
                let before = life.manager.status(&name("night")).unwrap().triggered;
                world.stage.project.write(&format!("{at}.txt"), "new");
                let told = seen(&life.manager, "night", "a change", |status| status.triggered > before);
                lapse(&world.stage, Duration::from_millis(100), told).await;
            }
            Self::Handle => {
                let mut handles = life.manager.handles(&name("night")).unwrap();
                let key = TriggerKey::named("button").unwrap();
                let Some(TriggerHandle::Manual(handle)) = handles.remove(&key) else { panic!() };
                let result = handle.fire(json!(at)).await;
                let refused = matches!(result, Err(FireError::Rejected { .. } | FireError::Full { .. }));
                assert!(result.is_ok() || refused, "{result:?}");
                return result.is_ok();
            }
            Self::Hand => {
                let result = life.manager.fire(&name("night"), json!(at)).await;
                let refused =
                    matches!(result, Err(BackgroundError::Rejected { .. } | BackgroundError::Full { .. }));
                assert!(result.is_ok() || refused, "{result:?}");
                return result.is_ok();
            }
        }
        true
    }

    /// Three firings while the first one's session is held up.
    async fn three(self, on: On, overlap: &str, gate: &Gate) -> (World, Life) {
        let world = self.world(on);
        for _ in 0..3 {
            world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        }
        let life = world.life().await;
        life.start(self.declared(json!({ "overlap": overlap }))).await;
        for at in 1..=3 {
            self.fire(&world, &life, at).await;
            life.triggered(u64::from(at)).await;
            if at == 1 {
                gate.reached(1).await;
                seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
            }
        }
        (world, life)
    }
}

#[tokio::test]
async fn queue_has_each_source_wait_for_a_place() {
    for (source, on) in
        SOURCES.into_iter().flat_map(|source| source.places().iter().map(move |on| (source, *on)))
    {
        let gate = Gate::new();
        let (_world, life) = source.three(on, "queue", &gate).await;
        assert_eq!(
            states(&life.host, "night").await,
            [RunState::Running, RunState::Queued, RunState::Queued],
            "{source:?}"
        );
        gate.open();
        runs(&life.host, "night", "three runs", all(RunState::Completed, 3)).await;
        assert_eq!(conserved(&life.host, "night").await.triggered, 3);
        life.end().await;
    }
}

#[tokio::test]
async fn skip_leaves_out_what_any_source_says_while_all_places_are_taken() {
    for (source, on) in
        SOURCES.into_iter().flat_map(|source| source.places().iter().map(move |on| (source, *on)))
    {
        let gate = Gate::new();
        let (_world, life) = source.three(on, "skip", &gate).await;
        gate.open();
        runs(&life.host, "night", "one run", all(RunState::Completed, 1)).await;
        let counts = conserved(&life.host, "night").await;
        assert_eq!((counts.triggered, counts.skipped, counts.rejected), (3, 2, 0), "{source:?}");
        life.end().await;
    }
}

#[tokio::test]
async fn allow_runs_what_any_source_says_beyond_the_pool() {
    for (source, on) in
        SOURCES.into_iter().flat_map(|source| source.places().iter().map(move |on| (source, *on)))
    {
        let gate = Gate::new();
        let (_world, life) = source.three(on, "allow", &gate).await;
        gate.reached(3).await;
        gate.open();
        runs(&life.host, "night", "three runs", all(RunState::Completed, 3)).await;
        conserved(&life.host, "night").await;
        life.end().await;
    }
}

#[tokio::test]
async fn cancel_previous_lets_the_last_one_of_any_source_have_the_place() {
    for (source, on) in
        SOURCES.into_iter().flat_map(|source| source.places().iter().map(move |on| (source, *on)))
    {
        let gate = Gate::new();
        let (_world, life) = source.three(on, "cancel_previous", &gate).await;
        gate.open();
        let rows = life.quiet().await;
        let ends: Vec<RunState> = rows.iter().map(|row| row.state).collect();
        assert_eq!(ends[2], RunState::Completed, "{source:?}");
        // An answer that is under way may come to its end.
        assert!(ends[..2].contains(&RunState::Cancelled), "{source:?} {ends:?}");
        assert!(!ends.contains(&RunState::Dead), "{source:?} {ends:?}");
        life.end().await;
    }
}

#[tokio::test]
async fn skip_never_takes_more_than_there_are_places() {
    for on in BOTH {
        let world = World::new(on);
        let gate = Gate::new();
        for _ in 0..3 {
            world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        }
        let life = world.life().await;
        life.start(with(Source::Hand.declared(json!({"overlap": "skip"})), json!({"pool_size": 2}))).await;
        assert!(Source::Hand.fire(&world, &life, 1).await);
        gate.reached(1).await;
        seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
        // Two at once for one place.
        let (one, two) =
            tokio::join!(Source::Hand.fire(&world, &life, 2), Source::Hand.fire(&world, &life, 3));
        assert_eq!(u32::from(one) + u32::from(two), 1, "one of the two has a place");
        gate.open();
        runs(&life.host, "night", "two runs", all(RunState::Completed, 2)).await;
        assert_eq!(conserved(&life.host, "night").await.skipped, 1);
        life.end().await;
    }
}

/// What becomes of two firings beyond a full queue.
#[derive(Debug, PartialEq, Eq)]
enum Overflow {
    Coalesced,
    Skipped,
    Refused,
    Waits,
}

#[tokio::test]
async fn what_overflows_a_full_queue_meets_what_its_source_says() {
    let cases = [
        (Source::Timer, json!({}), Overflow::Coalesced),
        (Source::Timer, json!({"misfire": "once"}), Overflow::Coalesced),
        (Source::Timer, json!({"misfire": "skip"}), Overflow::Skipped),
        (Source::Timer, json!({"misfire": "all"}), Overflow::Skipped),
        (Source::File, json!({}), Overflow::Coalesced),
        (Source::Hook, json!({}), Overflow::Refused),
        (Source::Handle, json!({}), Overflow::Refused),
        (Source::Hand, json!({}), Overflow::Refused),
        (Source::Event, json!({}), Overflow::Waits),
        (Source::Own, json!({}), Overflow::Waits),
    ];
    for ((source, policies, overflow), on) in
        cases.iter().flat_map(|case| case.0.places().iter().map(move |on| (case, *on)))
    {
        let gate = Gate::new();
        let world = source.world(on);
        world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        let life = world.life().await;
        life.start(with(source.declared(policies.clone()), json!({"queue": {"capacity": 1}}))).await;
        let mut taken = Vec::new();
        for at in 1..=4 {
            taken.push(source.fire(&world, &life, at).await);
            match overflow {
                Overflow::Waits if at > 2 => {}
                _ => life.triggered(u64::from(at)).await,
            }
            if at == 1 {
                gate.reached(1).await;
                seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
            }
        }
        assert_eq!(states(&life.host, "night").await, [RunState::Running, RunState::Queued], "{source:?}");
        let refused = *overflow == Overflow::Refused;
        assert_eq!(taken, [true, true, !refused, !refused], "{source:?}");
        gate.open();
        if *overflow == Overflow::Waits {
            // Looked at again each second: nothing is lost.
            let all = runs(&life.host, "night", "all of them", all(RunState::Completed, 4));
            lapse(&world.stage, Duration::from_millis(500), all).await;
        }
        life.quiet().await;
        let counts = conserved(&life.host, "night").await;
        let found = (counts.triggered, counts.coalesced, counts.skipped, counts.rejected);
        let expect = match overflow {
            Overflow::Coalesced => (4, 2, 0, 0),
            Overflow::Skipped => (4, 0, 2, 0),
            Overflow::Refused => (4, 0, 0, 2),
            Overflow::Waits => (4, 0, 0, 0),
        };
        assert_eq!(found, expect, "{source:?} {policies}");
        life.end().await;
    }
}

#[tokio::test]
async fn a_burst_of_any_source_that_comes_in_bursts_is_one_run() {
    for (source, on) in
        [Source::Event, Source::Hook].into_iter().flat_map(|source| BOTH.map(|on| (source, on)))
    {
        let world = source.world(on);
        let life = world.life().await;
        life.start(source.declared(json!({"debounce": "5s"}))).await;
        for at in 1..=3 {
            assert!(source.fire(&world, &life, at).await);
        }
        life.triggered(3).await;
        assert_eq!(states(&life.host, "night").await, [RunState::Queued], "{source:?}");
        world.stage.clock.asleep_within(Duration::from_secs(5)).await;
        world.pass(5);
        life.fired(3).await;
        // The next one is another burst.
        source.fire(&world, &life, 4).await;
        life.triggered(4).await;
        world.stage.clock.asleep_within(Duration::from_secs(5)).await;
        world.pass(5);
        life.quiet().await;
        let counts = conserved(&life.host, "night").await;
        assert_eq!((counts.triggered, counts.coalesced, counts.rows()), (4, 2, 2));
        life.end().await;
    }
}

#[test]
fn what_does_not_go_together_is_an_error_at_start_with_its_field() {
    let mut registry = TriggerRegistry::new();
    registry.register("own", |_| Err("never".into())).unwrap();
    let told = |entry: Value, pool: u32| {
        let map = json!({"name": "night", "bundle": "plain", "pool_size": pool, "triggers": [entry]});
        BackgroundConfig::parse(&map, &registry).map_or_else(|error| error.to_string(), |_| String::new())
    };
    let sources = [Source::Event, Source::Hook, Source::File, Source::Own, Source::Handle];
    let entry = |source: Source, more: Value| with(source.declared(json!({}))["triggers"][0].clone(), more);
    for source in SOURCES {
        let fault = told(entry(source, json!({"overlap": "cancel_previous"})), 2);
        assert!(
            fault.contains("triggers[0].overlap") && fault.contains("pool_size: 1"),
            "{source:?} {fault}"
        );
        assert_eq!(told(entry(source, json!({"overlap": "cancel_previous"})), 1), "");
        let fault = told(entry(source, json!({"overlap": "replace"})), 1);
        assert!(fault.contains("triggers[0].overlap"), "{source:?} {fault}");
    }
    for source in sources {
        let fault = told(entry(source, json!({"misfire": "once"})), 1);
        assert_eq!(fault.contains("triggers[0].misfire"), source != Source::Event, "{source:?} {fault}");
        let fault = told(entry(source, json!({"max_age": "1h"})), 1);
        let has_age = matches!(source, Source::Event | Source::Own);
        assert_eq!(fault.contains("triggers[0].max_age"), !has_age, "{source:?} {fault}");
    }
    for source in [Source::Timer, Source::Handle] {
        let fault = told(entry(source, json!({"debounce": "1s"})), 1);
        assert!(fault.contains("triggers[0].debounce"), "{source:?} {fault}");
    }
    for (entry, field) in [
        (entry(Source::Timer, json!({"jitter": "10s"})), "triggers[0].jitter"),
        (entry(Source::Timer, json!({"misfire": "skip", "max_age": "1h"})), "triggers[0].max_age"),
        (entry(Source::Event, json!({"misfire": "skip", "max_age": "1h"})), "triggers[0].max_age"),
        (entry(Source::Event, json!({"speed": 3})), "triggers[0].speed"),
    ] {
        let fault = told(entry, 1);
        assert!(fault.contains(field), "{fault}");
    }
}
