//! A provider's rate limit: no failure, and nothing begins beside those that wait it out.

use std::time::Duration;

use amplifier_background::{BackgroundSessionManager, BackgroundState};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_foundation::store::RunState;
use amplifier_tests::fake::Step;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{all, config, conserved, fire_all, name, runs, seen, states};

const HOUR: Duration = Duration::from_secs(3_600);

/// Moves the clock by a minute each time somebody sleeps, for so long at most.
async fn pass(stage: &Stage, hours: u32, mut enough: impl AsyncFnMut() -> bool) {
    let minute = Duration::from_secs(60);
    for _ in 0..hours * 60 {
        if enough().await {
            return;
        }
        stage.clock.asleep_within(minute).await;
        stage.clock.advance(minute);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_hours_of_429_cost_no_attempt_and_begin_nothing_beside_what_waits() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let began = amplifier_core::Clock::now(&stage.clock);
    let over = |stage: &Stage| amplifier_core::Clock::now(&stage.clock).saturating_since(began) >= 2 * HOUR;
    // Refused each time until two hours have passed.
    for _ in 0..200 {
        stage.brain.then(Step::Fail(ProviderErrorKind::RateLimited));
    }
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"pool_size": 3}))).await.unwrap();
    fire_all(&manager, "night", 1).await;
    let limited = async {
        while manager.status(&name("night")).unwrap().limited.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the limit", limited).await;
    assert_eq!(manager.status(&name("night")).unwrap().state, BackgroundState::Running);
    fire_all(&manager, "night", 4).await;
    pass(&stage, 2, async || over(&stage)).await;
    let now = states(&host, "night").await;
    let queued = now.iter().filter(|state| **state == RunState::Queued).count();
    assert_eq!((now[0], queued), (RunState::Running, 4), "two places were free all the time");
    let asked = stage.brain.requests().len();
    assert!(asked < 200, "{asked} requests in two hours");
    let (why, _) = manager.status(&name("night")).unwrap().limited.unwrap();
    assert!(!why.is_empty());

    stage.brain.clear();
    let done = async || states(&host, "night").await.iter().all(|state| *state == RunState::Completed);
    pass(&stage, 1, done).await;
    let rows = runs(&host, "night", "five runs", all(RunState::Completed, 5)).await;
    assert!(rows.iter().all(|row| row.attempt == 1), "no attempt was counted");
    let clear = seen(&manager, "night", "the end of it", |status| status.limited.is_none()).await;
    assert_eq!(clear.error, None);
    conserved(&host, "night").await;
}

#[tokio::test]
async fn patience_ends_after_six_hours_and_that_is_an_attempt() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    for _ in 0..1_000 {
        stage.brain.then(Step::Fail(ProviderErrorKind::RateLimited));
    }
    let manager = BackgroundSessionManager::new(&host);
    manager.start(config("night", json!({"queue": {"attempts": 1}}))).await.unwrap();
    fire_all(&manager, "night", 1).await;
    let dead = async || states(&host, "night").await == [RunState::Dead];
    pass(&stage, 7, dead).await;
    let rows = runs(&host, "night", "its end", all(RunState::Dead, 1)).await;
    let waited = rows[0].updated.saturating_since(rows[0].created);
    assert!((5 * HOUR..=6 * HOUR + HOUR / 2).contains(&waited), "{waited:?}");
    assert!(rows[0].reason.as_ref().unwrap().contains("rate_limit_patience"), "{:?}", rows[0].reason);
    conserved(&host, "night").await;
}
