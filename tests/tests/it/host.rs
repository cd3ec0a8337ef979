//! The end of a host, and what becomes of the sessions in it.

use std::time::Duration;

use amplifier_core::OutcomeKind;
use amplifier_foundation::{Shutdown, SpawnRequest, spawn_bundle};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;

use crate::spawn::spawn;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_draining_shutdown_lets_sessions_finish() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("finished".into(), gate.clone()));
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let closing = {
        let host = host.clone();
        tokio::spawn(async move { host.shutdown(Shutdown::Drain { within: MINUTE }).await })
    };
    stage.clock.asleep_within(MINUTE).await;
    gate.open();
    let report = soon("the shutdown", closing).await.unwrap();
    assert!(report.cancelled.is_empty() && report.stuck.is_empty(), "{report:?}");
    assert_eq!(result.session().try_outcome().unwrap().output, "finished");
}

#[tokio::test]
async fn a_draining_shutdown_cancels_what_is_not_done_in_time() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), gate.clone()));
    let host = stage.host_in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let closing = {
        let host = host.clone();
        tokio::spawn(async move { host.shutdown(Shutdown::Drain { within: MINUTE }).await })
    };
    stage.clock.pass(MINUTE).await;
    let report = soon("the shutdown", closing).await.unwrap();
    assert_eq!((report.cancelled, report.stuck), (vec![result.id().clone()], Vec::new()));
    let outcome = result.session().try_outcome().expect("a session that is no longer live has its outcome");
    assert_eq!(outcome.kind, OutcomeKind::Cancelled);
    assert!(outcome.error.as_ref().unwrap().message.contains("shut down"), "{outcome:?}");
    let stored = host.storage().load(result.id()).await.unwrap();
    assert_eq!(stored.metadata.amplifier.status.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_shutdown_now_ends_every_session_also_those_kept_open() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.say("first").then(Step::Wait("half".into(), gate.clone()));
    let host = stage.host_in_memory();
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open()).await;
    let work = spawn(&host, SpawnRequest::new("plain", "2").background(true)).await;
    gate.reached(1).await;
    let report = soon("the shutdown", host.shutdown(Shutdown::Now)).await;
    assert_eq!((report.cancelled.len(), report.stuck.len()), (2, 0));
    for result in [chat, work] {
        assert_eq!(result.session().try_outcome().unwrap().kind, OutcomeKind::Cancelled);
    }
}

#[tokio::test]
async fn no_session_starts_after_a_shutdown() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    soon("the shutdown", host.shutdown(Shutdown::Now)).await;
    let error = soon("the spawn", spawn_bundle(&host, ("plain", "go"))).await.unwrap_err();
    assert!(error.to_string().contains("shut down") && !error.is_configuration(), "{error}");
    assert!(stage.brain.requests().is_empty());
}

#[tokio::test]
async fn a_host_that_is_dropped_cancels_what_runs_and_records_it() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), gate.clone()));
    let host = stage.host_in_memory();
    let storage = std::sync::Arc::clone(host.storage());
    let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let second = host.clone();
    drop(host);
    assert!(!result.session().env().cancel.is_cancelled(), "another handle is left");
    drop(second);
    let outcome = soon("the outcome", result.outcome()).await;
    assert_eq!((outcome.kind, outcome.output.as_str()), (OutcomeKind::Cancelled, "half"));
    let stored = storage.load(result.id()).await.unwrap();
    assert_eq!(stored.metadata.amplifier.status.as_deref(), Some("cancelled"));
}

#[test]
fn a_runtime_that_ends_leaves_handles_that_say_lost() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), gate.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (host, result) = runtime.block_on(async {
        let host = stage.host_in_memory();
        let result = spawn(&host, SpawnRequest::new("plain", "go").background(true)).await;
        gate.reached(1).await;
        (host, result)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = other.block_on(soon("the outcome", result.outcome()));
    assert_eq!(outcome.kind, OutcomeKind::Lost);
    drop(host);
}
