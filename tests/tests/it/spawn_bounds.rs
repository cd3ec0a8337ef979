//! `spawn_bundle`: which bounds hold, who set them, and what a bundle's session section brings.

use amplifier_core::outcome::FailureKind;
use amplifier_core::{Limits, OutcomeKind};
use amplifier_foundation::{SpawnRequest, spawn_bundle};
use amplifier_tests::project::metadata;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;

use crate::spawn::{settled, spawn};

fn turns(max_turns: u32) -> Limits {
    let mut limits = Limits::default();
    limits.max_turns = Some(max_turns);
    limits
}

#[tokio::test]
async fn a_resume_may_name_its_bounds_anew_and_keeps_those_it_does_not_name() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let first = spawn(&host, SpawnRequest::new("plain", "1").limits(turns(7))).await;
    settled(&host, &first).await;
    let again = spawn(&host, SpawnRequest::resume(first.id().clone(), "2")).await;
    assert_eq!(again.session().limits().max_turns, Some(7), "as recorded");
    settled(&host, &again).await;
    let wider = spawn(&host, SpawnRequest::resume(first.id().clone(), "3").limits(turns(20))).await;
    assert_eq!(wider.session().limits().max_turns, Some(20), "as named now");
    settled(&host, &wider).await;
}

#[tokio::test]
async fn the_hosts_bounds_always_hold_and_a_refusal_names_who_set_them() {
    let stage = Stage::new();
    let host = stage.builder().limits(turns(0)).in_memory();
    let result = spawn(&host, SpawnRequest::new("plain", "1").limits(turns(9))).await;
    let outcome = settled(&host, &result).await;
    let error = outcome.error.clone().unwrap();
    assert_eq!((outcome.kind, error.kind), (OutcomeKind::LimitReached, FailureKind::Limit));
    assert_eq!(error.limit.unwrap().set_by, "the settings");
}

#[tokio::test]
async fn metadata_of_the_bundle_reaches_the_session_but_not_its_own_keys() {
    let stage = Stage::new();
    let metadata_too = "session: {\"metadata\": {\"team\": \"blue\", \"session_id\": \"forged\"}, ";
    let text = stage.plain().to_string().replacen("session: {", metadata_too, 1);
    let host = stage.builder().bundle("teamed", text).home(stage.project.home());
    let host = host.open(stage.project.path()).await.unwrap();
    let result = soon("the spawn", spawn_bundle(&host, ("teamed", "1"))).await.unwrap();
    settled(&host, &result).await;
    let stored = metadata(&stage.project.session());
    assert_eq!(stored["team"], "blue");
    assert_eq!(stored["session_id"], result.id().as_str());
}
