//! Causes: what started what, how far a chain goes, and where it began.

use std::time::Duration;

use amplifier_core::env::EmitError;
use amplifier_core::limits::LimitKind;
use amplifier_core::{Cause, EventType, SessionEvent, SessionId};
use amplifier_foundation::router::{Delivery, Link};
use amplifier_foundation::spawn::spawn_bundle;
use amplifier_foundation::{Host, SpawnError, SpawnRequest};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};
use std::sync::Arc;

use super::At;
use crate::spawn::spawn;

/// The next event of this name.
async fn next(host: &Host, name: &str, act: impl Future<Output = ()>) -> Arc<SessionEvent> {
    let mut subscription = host.router().subscribe(name).unwrap();
    act.await;
    match soon(name, subscription.next()).await {
        Some(Delivery::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

async fn emitted(host: &Host, name: &'static str) -> Arc<SessionEvent> {
    next(host, name, async {
        let _ = host.router().emit(name, json!({})).await.unwrap();
    })
    .await
}

fn chain(event: &SessionEvent) -> (Option<amplifier_core::EventId>, Option<amplifier_core::EventId>, u32) {
    (event.causation, event.correlation, event.hops)
}

each_store!(what_a_session_says_is_caused_by_what_started_it_down_to_its_children_and_its_end);
async fn what_a_session_says_is_caused_by_what_started_it_down_to_its_children_and_its_end(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let first = emitted(&host, "begin").await;
    assert_eq!(chain(&first), (None, None, 0));
    let request = SpawnRequest::new("plain", "go").caused_by(Cause::of(&first)).keep_open();
    let root = spawn(&host, request).await;
    let child = spawn(&host, SpawnRequest::new("plain", "go").parent(root.session()).keep_open()).await;
    for session in [&root, &child] {
        let say = async {
            let _ = session.session().emit_event("step", json!({})).await.unwrap();
        };
        let step = next(&host, "step", say).await;
        assert_eq!(chain(&step), (Some(first.id), Some(first.id), 1));
    }
    let end = next(&host, "session:end", async { drop(child.session().end().await) }).await;
    assert_eq!(chain(&end), (Some(first.id), Some(first.id), 1));
    let second = spawn(&host, SpawnRequest::new("plain", "go").caused_by(Cause::of(&end))).await;
    let tail = host.router().tail().await.unwrap();
    let place = amplifier_foundation::router::Cursor { sequence: tail.sequence - 1, ..tail };
    let (last, _) = host.router().wait_after("session:end", place, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(last.source.as_ref(), Some(second.id()));
    assert_eq!(chain(&last), (Some(end.id), Some(first.id), 2));
}

each_store!(a_resume_keeps_the_cause_unless_it_has_one_of_its_own);
async fn a_resume_keeps_the_cause_unless_it_has_one_of_its_own(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let (first, other) = (emitted(&host, "begin").await, emitted(&host, "again").await);
    let id = SessionId::new("kept").unwrap();
    let request = SpawnRequest::new("plain", "go").session_id(id.clone()).caused_by(Cause::of(&first));
    spawn(&host, request).await;
    for (request, cause) in [
        (SpawnRequest::resume(id.clone(), "more"), &first),
        (SpawnRequest::resume(id.clone(), "more").caused_by(Cause::of(&other)), &other),
        (SpawnRequest::resume(id.clone(), "more"), &other),
    ] {
        let end = next(&host, "session:end", async { drop(spawn(&host, request).await) }).await;
        assert_eq!(end.causation, Some(cause.id));
    }
}

each_store!(a_chain_ends_at_the_limit_of_hops_with_an_event_that_says_so);
async fn a_chain_ends_at_the_limit_of_hops_with_an_event_that_says_so(at: At) {
    let stage = Stage::new();
    let mut limits = amplifier_core::Limits::default();
    limits.max_hops = Some(3);
    let host = at.open(&stage, stage.builder().limits(limits)).await;
    let mut violations = host.router().subscribe("policy_violation").unwrap();
    let mut cause = emitted(&host, "begin").await;
    for hops in 1..=3 {
        let request = SpawnRequest::new("plain", "go").caused_by(Cause::of(&cause)).keep_open();
        let session = spawn(&host, request).await;
        let say = async {
            let _ = session.session().emit_event("loop", json!({})).await.unwrap();
        };
        cause = next(&host, "loop", say).await;
        assert_eq!(cause.hops, hops);
        session.session().end().await;
    }
    let request = SpawnRequest::new("plain", "go").caused_by(Cause::of(&cause));
    let refused = spawn_bundle(&host, request).await.unwrap_err();
    let SpawnError::Limit(limit) = &refused else { panic!("{refused}") };
    assert_eq!(
        (limit.limit, limit.value, limit.used, limit.set_by.as_str()),
        (LimitKind::Hops, 3, 3, "the settings")
    );
    let Some(Delivery::Event(told)) = soon("the violation", violations.next()).await else { panic!() };
    let said: Value = told.payload.decode().unwrap();
    assert_eq!((&said["policy"], &said["limit"], told.hops), (&json!("max_hops"), &json!(3), 4));
    assert_eq!((told.causation, told.event_type.clone()), (Some(cause.id), EventType::PolicyViolation));
    assert!(told.sequence.is_some(), "it is on record");
    // What reacts to that event is refused without another one: else it would never end.
    let request = SpawnRequest::new("plain", "go").caused_by(Cause::of(&told));
    assert!(matches!(spawn_bundle(&host, request).await, Err(SpawnError::Limit(_))));
    host.shutdown(amplifier_foundation::Shutdown::Now).await;
    assert!(violations.next().await.is_none());
}

each_store!(an_event_beyond_the_limit_is_refused_where_it_is_emitted);
async fn an_event_beyond_the_limit_is_refused_where_it_is_emitted(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let mut event = emitted(&host, "ping").await;
    for _ in 0..16 {
        let (router, last) = (host.router().clone(), Arc::clone(&event));
        let say = async move {
            let _ = router.emit_after(&last, "ping", json!({})).await.unwrap();
        };
        event = next(&host, "ping", say).await;
    }
    let before = host.router().tail().await.unwrap().sequence;
    let refused = host.router().emit_after(&event, "ping", json!({})).await.unwrap_err();
    assert!(matches!(refused, EmitError::Hops { hops: 17, limit: 16, .. }), "{refused}");
    let emitter = host.router().emitter(SessionId::new("s").unwrap()).after(&event);
    assert!(matches!(emitter.emit("ping", json!({})).await, Err(EmitError::Hops { .. })));
    assert_eq!(host.router().tail().await.unwrap().sequence, before + 2, "each refusal says so");
}

each_store!(why_leads_from_an_event_back_to_the_first_cause);
async fn why_leads_from_an_event_back_to_the_first_cause(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let first = emitted(&host, "begin").await;
    let id = |name: &str| SessionId::new(name).unwrap();
    let request = SpawnRequest::new("plain", "go").session_id(id("root")).caused_by(Cause::of(&first));
    let root = spawn(&host, request.keep_open()).await;
    let request = SpawnRequest::new("plain", "go").session_id(id("child")).parent(root.session());
    let child = spawn(&host, request.keep_open()).await;
    let say = async {
        let _ = child.session().emit_event("found", json!({})).await.unwrap();
    };
    let found = next(&host, "found", say).await;
    let why = host.router().why(found.id).await.unwrap();
    let said: Vec<String> = why
        .links
        .iter()
        .map(|link| match link {
            Link::Event(event) => event.event_type.to_string(),
            Link::Session { id, row } => format!("{id}: {}", row.is_some()),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(said, ["found", "child: true", "root: true", "begin"]);
    assert!(why.is_complete());
    let tail = host.store().tail().await.unwrap();
    let prune = amplifier_foundation::store::Write::Prune { before: tail.sequence - 1 };
    let _ = host.store().commit(prune.into()).await.unwrap();
    let why = host.router().why(found.id).await.unwrap();
    assert!(matches!(why.links.last(), Some(Link::Pruned(id)) if *id == first.id));
    assert!(!why.is_complete());
}
