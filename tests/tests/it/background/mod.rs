//! Background sessions, with a provider that does what it is told and time that stands still.
//!
//! Each test ends with the conservation law: what fired is a row, or a number that says why not.

mod chains;
mod control;
mod disk;
mod docs;
mod faults;
mod files;
mod hooks;
mod late;
mod leases;
mod limits;
mod log;
mod model;
mod overlap;
mod own;
mod policies;
mod pool;
mod regressions;
mod report;
mod time;
mod together;
mod waits;
mod why;
mod work;
mod world;

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_background::{BackgroundConfig, BackgroundSessionManager, BackgroundStatus, Counts, queue_of};
use amplifier_foundation::Host;
use amplifier_foundation::store::{RunFilter, RunRow, RunState};
use amplifier_tests::soon;
use serde_json::{Value, json};

pub(crate) fn name(text: &str) -> BackgroundName {
    BackgroundName::new(text).unwrap()
}

/// A background session of the bundle `plain`, with these keys besides.
pub(crate) fn config(text: &str, more: Value) -> BackgroundConfig {
    config_with(text, more, &TriggerRegistry::new())
}

pub(crate) fn config_with(text: &str, more: Value, registry: &TriggerRegistry) -> BackgroundConfig {
    let mut map = json!({"name": text, "bundle": "plain", "instruction_template": "{event_data}"});
    for (key, value) in more.as_object().unwrap() {
        map[key] = value.clone();
    }
    BackgroundConfig::parse(&map, registry).unwrap()
}

/// The runs of a background session, as the store has them.
pub(crate) async fn rows(host: &Host, of: &str) -> Vec<RunRow> {
    let mut filter = RunFilter::default();
    filter.queue = Some(queue_of(&name(of)));
    filter.limit = 100_000;
    host.store().runs(&filter).await.unwrap()
}

pub(crate) async fn states(host: &Host, of: &str) -> Vec<RunState> {
    rows(host, of).await.iter().map(|row| row.state).collect()
}

/// Waits until the status of a background session is so.
pub(crate) async fn seen(
    manager: &BackgroundSessionManager,
    of: &str,
    what: &str,
    holds: impl Fn(&BackgroundStatus) -> bool,
) -> BackgroundStatus {
    let mut changes = manager.watch();
    let name = name(of);
    let holds = |_: &u64| holds(&manager.status(&name).unwrap());
    let _ = soon(what, changes.wait_for(holds)).await.unwrap();
    manager.status(&name).unwrap()
}

/// Waits until the runs of a background session are so.
pub(crate) async fn runs(
    host: &Host,
    of: &str,
    what: &str,
    holds: impl Fn(&[RunRow]) -> bool,
) -> Vec<RunRow> {
    let waiting = async {
        loop {
            let rows = rows(host, of).await;
            if holds(&rows) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, waiting).await
}

pub(crate) fn all(state: RunState, count: usize) -> impl Fn(&[RunRow]) -> bool {
    move |rows| rows.len() == count && rows.iter().all(|row| row.state == state)
}

/// The conservation law.
pub(crate) async fn conserved(host: &Host, of: &str) -> Counts {
    let counts = Counts::read(host.store().as_ref(), &name(of)).await.unwrap();
    assert_eq!(counts.rows(), rows(host, of).await.len() as u64, "{counts:?}");
    counts
}

/// Many firings at once.
pub(crate) async fn fire_all(manager: &BackgroundSessionManager, of: &str, count: usize) {
    for at in 0..count {
        manager.fire(&name(of), json!({ "at": at })).await.unwrap();
    }
}

#[tokio::test]
async fn a_declaration_that_cannot_work_starts_nothing() {
    let stage = amplifier_tests::stage::Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let mut bad = config("night", json!({}));
    bad.bundle = "no-such-bundle".to_owned();
    assert!(manager.start(bad).await.is_err());
    assert!(manager.statuses().is_empty());
    manager.start(config("night", json!({}))).await.unwrap();
    let again = manager.start(config("night", json!({}))).await.unwrap_err();
    assert!(again.to_string().contains("runs already"), "{again}");
    assert!(manager.fire(&name("day"), json!(1)).await.is_err());
    let _ = Arc::new(host);
}
