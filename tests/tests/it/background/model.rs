//! Random histories of a background session against the memory store: whatever happens in whichever order, the
//! rows take legal steps alone and the conservation law holds.

use std::time::Duration;

use amplifier_background::{BackgroundError, BackgroundSessionManager};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_foundation::Shutdown;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use proptest::prelude::*;
use serde_json::json;

use super::{config, conserved, name, rows, runs};

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    Fire,
    FireInvalid,
    Fail,
    Emit,
    EmitTwice,
    Stop,
    Start,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Fire),
        1 => Just(Act::FireInvalid),
        2 => Just(Act::Fail),
        2 => Just(Act::Emit),
        1 => Just(Act::EmitTwice),
        1 => Just(Act::Stop),
        2 => Just(Act::Start),
        2 => (0..5_u64).prop_map(Act::Wait),
    ]
}

fn declared() -> amplifier_background::BackgroundConfig {
    let triggers = json!([{"type": "session_event", "config": {"event_names": ["work:*"]}}]);
    let template = "Do {trigger.data.what}";
    let queue = json!({"capacity": 3, "attempts": 2});
    config(
        "night",
        json!({"triggers": triggers, "instruction_template": template, "pool_size": 2, "queue": queue}),
    )
}

/// 1 if it reached the intake, whatever became of it there; nothing where none of that name runs.
async fn fire(manager: &BackgroundSessionManager, data: serde_json::Value) -> u64 {
    let result = manager.fire(&name("night"), data).await;
    u64::from(!matches!(result, Err(BackgroundError::Unknown { .. })))
}

async fn play(acts: Vec<Act>) {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(declared()).await.unwrap();
    let mut fired = 0;
    for act in acts {
        match act {
            Act::Fire => fired += fire(&manager, json!({"what": "it"})).await,
            Act::FireInvalid => fired += fire(&manager, json!({})).await,
            Act::Fail => drop(stage.brain.then(Step::Fail(ProviderErrorKind::Auth))),
            Act::Emit => {
                host.router().emit("work:new", json!({"what": "that"})).await.unwrap();
                fired += 1;
            }
            Act::EmitTwice => {
                for _ in 0..2 {
                    fired += 1;
                    host.router().emit("work:new", json!({})).await.unwrap();
                }
            }
            Act::Stop => drop(manager.stop(&name("night"), Shutdown::Now).await),
            Act::Start => drop(manager.start(declared()).await),
            Act::Wait(seconds) => stage.clock.advance(Duration::from_secs(seconds)),
        }
        for row in rows(&host, "night").await {
            row.check().unwrap();
        }
    }
    // Whatever was left comes to its end.
    drop(manager.start(declared()).await);
    let clock = stage.clock.clone();
    let ticks = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let all_taken = async {
        while manager.counts(&name("night")).await.unwrap().triggered < fired {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("all firings", all_taken).await;
    runs(&host, "night", "the end of all", |rows| rows.iter().all(|row| row.state.is_final())).await;
    ticks.abort();
    manager.stop(&name("night"), Shutdown::Now).await.unwrap();
    let counts = conserved(&host, "night").await;
    assert_eq!(counts.triggered, fired, "each firing is counted once, also over stops and starts");
    let rows = rows(&host, "night").await;
    let of = |state| rows.iter().filter(|row| row.state == state).count();
    let ends = of(RunState::Completed) + of(RunState::Dead) + of(RunState::Cancelled);
    assert_eq!(ends as u64, counts.rows());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_law_and_ends(acts in prop::collection::vec(act(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(play(acts));
    }
}
