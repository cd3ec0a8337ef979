//! Waits of sessions and for sessions: nothing that came before is missed, nothing comes twice.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{OutcomeKind, SessionId};
use amplifier_foundation::router::{RouterError, SessionEvents};
use amplifier_foundation::store::Write;
use amplifier_foundation::{Host, SpawnRequest, SpawnResult};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{At, SECOND, emit, of};
use crate::spawn::spawn;

async fn open(host: &Host, name: &str) -> (SpawnResult, Arc<SessionEvents>) {
    let id = SessionId::new(name).unwrap();
    let session = spawn(host, SpawnRequest::new("plain", "go").session_id(id).keep_open()).await;
    let events = session.session().env().coordinator.capability::<SessionEvents>().unwrap();
    (session, events)
}

each_store!(a_session_finds_what_was_emitted_since_its_start_each_once);
async fn a_session_finds_what_was_emitted_since_its_start_each_once(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    emit(host.router(), "ready", 0).await;
    let (_session, events) = open(&host, "s").await;
    for number in 1..=2 {
        emit(host.router(), "ready", number).await;
        emit(host.router(), "noise", number).await;
    }
    for expected in 1..=2 {
        assert_eq!(of(&events.wait("ready", Duration::ZERO).await.unwrap().unwrap()), expected);
    }
    assert!(events.wait("ready", Duration::ZERO).await.unwrap().is_none());
    emit(host.router(), "ready", 3).await;
    assert_eq!(of(&events.wait("ready", Duration::ZERO).await.unwrap().unwrap()), 3);
}

each_store!(a_session_that_has_ended_before_is_found);
async fn a_session_that_has_ended_before_is_found(at: At) {
    let stage = Stage::new();
    stage.brain.say("early");
    let host = at.host(&stage).await;
    let early = spawn(&host, ("plain", "go")).await;
    let ends = |id: &SessionId| format!("session:end source={id}");
    let found = host.router().wait_for_event(ends(early.id()), Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(found.payload.decode::<Value>().unwrap()["output"], "early");
    // Of a session that began later too, and once.
    let (waiting, events) = open(&host, "waiting").await;
    assert_eq!(events.wait(ends(early.id()), Duration::ZERO).await.unwrap().unwrap().id, found.id);
    assert!(events.wait(ends(early.id()), Duration::ZERO).await.unwrap().is_none());
    // Both of two, one after the other, whichever ended first.
    let both = format!("session:end source={} source=late", early.id());
    let (late, _) = open(&host, "late").await;
    late.session().end().await;
    let end = events.wait(both.as_str(), Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(end.source.as_ref(), Some(late.id()));
    drop(waiting);
}

each_store!(an_end_that_was_pruned_is_still_found);
async fn an_end_that_was_pruned_is_still_found(at: At) {
    let stage = Stage::new();
    stage.brain.say("early");
    let host = at.host(&stage).await;
    let early = spawn(&host, ("plain", "go")).await;
    let _ = host.store().commit(Write::Prune { before: u64::MAX }.into()).await.unwrap();
    let filter = format!("session_completed source={}", early.id());
    let found = host.router().wait_for_event(filter, Duration::ZERO).await.unwrap().unwrap();
    let said: Value = found.payload.decode().unwrap();
    assert_eq!((&said["output"], &said["outcome"]), (&json!("early"), &json!("completed")));
    let other = format!("session_error source={}", early.id());
    assert!(host.router().wait_for_event(other, Duration::ZERO).await.unwrap().is_none());
}

each_store!(a_wait_for_a_session_that_runs_ends_with_it_whatever_its_end);
async fn a_wait_for_a_session_that_runs_ends_with_it_whatever_its_end(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let (session, _) = open(&host, "s").await;
    let waiting = {
        let router = host.router().clone();
        tokio::spawn(async move { router.wait_for_event("session:end source=s", SECOND).await })
    };
    stage.clock.asleep_within(SECOND).await;
    session.session().cancel(amplifier_core::CancelLevel::Immediate);
    let end = soon("the wait", waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(end.payload.decode::<Value>().unwrap()["outcome"], OutcomeKind::Cancelled.as_str());
}

each_store!(a_session_whose_place_was_pruned_is_told_once_and_goes_on);
async fn a_session_whose_place_was_pruned_is_told_once_and_goes_on(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let (_session, events) = open(&host, "s").await;
    for number in 1..=5 {
        emit(host.router(), "ready", number).await;
    }
    let tail = host.router().tail().await.unwrap();
    let _ = host.store().commit(Write::Prune { before: tail.sequence - 1 }.into()).await.unwrap();
    let gone = events.wait("ready", Duration::ZERO).await.unwrap_err();
    assert!(matches!(gone, RouterError::Gone { .. }), "{gone}");
    assert_eq!(of(&events.wait("ready", Duration::ZERO).await.unwrap().unwrap()), 5);
}
