//! Subscriptions and waits: what subscribers are promised.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::env::{EmitError, EventSink};
use amplifier_core::event::{EventType, NewEvent};
use amplifier_core::{Event, Payload, SessionId};
use amplifier_foundation::SpawnRequest;
use amplifier_foundation::router::{Cursor, Delivery, EventFilter, RouterError};
use amplifier_foundation::store::Write;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{At, SECOND, emit, flood, number, of};
use crate::spawn::spawn;

each_store!(a_subscription_is_registered_before_it_is_returned);
async fn a_subscription_is_registered_before_it_is_returned(at: At) {
    let (router, _) = at.router();
    emit(&router, "work:done", 0).await;
    let mut subscription = router.subscribe("work:*").unwrap();
    emit(&router, "work:done", 1).await;
    emit(&router, "other", 2).await;
    emit(&router, "work:begun", 3).await;
    assert_eq!((number(&mut subscription).await, number(&mut subscription).await), (1, 3));
    assert_eq!(router.subscribers(), 1);
    drop(subscription);
    assert_eq!(router.subscribers(), 0);
}

each_store!(an_event_says_who_when_and_where_in_the_log);
async fn an_event_says_who_when_and_where_in_the_log(at: At) {
    let (router, clock) = at.router();
    clock.advance(SECOND);
    let mut subscription = router.subscribe("*").unwrap();
    let session = SessionId::new("s").unwrap();
    let id = router.emitter(session.clone()).emit("work:done", json!({"n": 1})).await.unwrap();
    let Some(Delivery::Event(event)) = subscription.next().await else { panic!("no event") };
    assert_eq!((event.id, event.sequence, event.source.clone()), (id, Some(1), Some(session)));
    assert_eq!((event.at.to_string().as_str(), &*event.scope), ("2026-01-01T00:00:01.000000Z", "/project"));
    assert_eq!(event.payload.decode::<Value>().unwrap(), json!({"n": 1}));
}

each_store!(a_wait_from_a_cursor_finds_what_came_before_it_and_nothing_twice);
async fn a_wait_from_a_cursor_finds_what_came_before_it_and_nothing_twice(at: At) {
    let (router, _) = at.router();
    let start = router.tail().await.unwrap();
    emit(&router, "build", 1).await;
    emit(&router, "noise", 2).await;
    emit(&router, "build", 3).await;
    let mut cursor = start;
    for expected in [1, 3] {
        let (event, behind) = router.wait_after("build", cursor, Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(event.payload.decode::<u64>().unwrap(), expected);
        cursor = behind;
    }
    assert!(router.wait_after("build", cursor, Duration::ZERO).await.unwrap().is_none());
    emit(&router, "build", 4).await;
    let (event, _) = router.wait_after("build", cursor, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(event.payload.decode::<u64>().unwrap(), 4);
}

each_store!(a_wait_ends_with_nothing_when_its_time_is_up);
async fn a_wait_ends_with_nothing_when_its_time_is_up(at: At) {
    let (router, clock) = at.router();
    let waiting = {
        let router = router.clone();
        tokio::spawn(async move { router.wait_for_event("build", SECOND).await })
    };
    clock.asleep_within(SECOND).await;
    emit(&router, "noise", 1).await;
    clock.pass(SECOND).await;
    assert!(soon("the wait", waiting).await.unwrap().unwrap().is_none());
    assert_eq!(router.subscribers(), 0, "a wait leaves no subscription");
}

each_store!(a_wait_ends_with_the_event_that_comes_meanwhile);
async fn a_wait_ends_with_the_event_that_comes_meanwhile(at: At) {
    let (router, clock) = at.router();
    emit(&router, "build", 1).await;
    let waiting = {
        let router = router.clone();
        tokio::spawn(async move { router.wait_for_event("build", SECOND).await })
    };
    clock.asleep_within(SECOND).await;
    emit(&router, "build", 2).await;
    let event = soon("the wait", waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(event.payload.decode::<u64>().unwrap(), 2, "not the one from before");
}

each_store!(a_slow_reader_is_told_how_much_it_missed_and_where_to_read_on);
async fn a_slow_reader_is_told_how_much_it_missed_and_where_to_read_on(at: At) {
    let (router, _) = at.router();
    let mut subscription = router.subscribe("tick").unwrap();
    flood(&router, (1..=1_500).map(|number| ("tick", number))).await;
    let Some(Delivery::Lagged { missed, resume_at }) = subscription.next().await else { panic!("no lag") };
    assert_eq!((missed, resume_at.sequence), (1_500 - 1_024, 1));
    for expected in missed + 1..=1_500 {
        assert_eq!(number(&mut subscription).await, expected);
    }
    let mut lost = router.subscribe_from(resume_at, "tick").await.unwrap();
    for expected in 1..=missed {
        assert_eq!(of(&soon("an event", lost.next()).await.unwrap().unwrap()), expected);
    }
}

each_store!(a_stream_of_events_fills_its_gaps_from_the_log);
async fn a_stream_of_events_fills_its_gaps_from_the_log(at: At) {
    let (router, _) = at.router();
    let mut events = router.subscribe("tick").unwrap().events();
    let mut next = 1;
    for round in 0..3 {
        let both = |number| [("tick", round * 3_000 + number), ("noise", 0)];
        flood(&router, (1..=3_000).flat_map(both)).await;
        while next <= (round + 1) * 3_000 {
            let event = soon("an event", events.next()).await.unwrap().unwrap();
            assert_eq!(event.payload.decode::<u64>().unwrap(), next);
            next += 1;
        }
    }
}

each_store!(a_stream_that_lags_while_others_emit_misses_nothing_and_repeats_nothing, threads);
async fn a_stream_that_lags_while_others_emit_misses_nothing_and_repeats_nothing(at: At) {
    let (router, _) = at.router();
    let mut events = router.subscribe("tick").unwrap().events();
    let emitters: Vec<_> = (0..3)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    flood(&router, (0..100).map(|number| ("tick", round * 100 + number))).await;
                }
            })
        })
        .collect();
    for expected in 1..=12_000 {
        let event = soon("an event", events.next()).await.unwrap().unwrap();
        assert_eq!(event.sequence, Some(expected));
    }
    for emitter in emitters {
        emitter.await.unwrap();
    }
}

each_store!(a_gap_that_the_log_no_longer_holds_is_an_error_and_the_stream_goes_on);
async fn a_gap_that_the_log_no_longer_holds_is_an_error_and_the_stream_goes_on(at: At) {
    let store = at.store(1);
    let router = at.over(Arc::clone(&store), 1);
    let mut events = router.subscribe("tick").unwrap().events();
    flood(&router, (1..=3_000).map(|number| ("tick", number))).await;
    let _ = store.commit(Write::Prune { before: 1_001 }.into()).await.unwrap();
    let gone = soon("an event", events.next()).await.unwrap().unwrap_err();
    let RouterError::Gone { oldest } = gone else { panic!("{gone}") };
    assert_eq!(oldest.sequence, 1_001);
    for expected in oldest.sequence..=3_000 {
        assert_eq!(of(&soon("an event", events.next()).await.unwrap().unwrap()), expected);
    }
    emit(&router, "tick", 3_001).await;
    assert_eq!(of(&soon("an event", events.next()).await.unwrap().unwrap()), 3_001);
}

#[tokio::test]
async fn a_log_in_memory_drops_its_oldest_events_by_itself() {
    let (router, _) = At::memory().router();
    let start = router.tail().await.unwrap();
    flood(&router, (1..=20_000).map(|number| ("tick", number))).await;
    let gone = router.wait_after("*", start, Duration::ZERO).await.unwrap_err();
    let RouterError::Gone { oldest } = gone else { panic!("{gone}") };
    assert_eq!(oldest.sequence, 20_000 - 16_384 + 1);
    let (event, _) = router.wait_after("*", oldest, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(of(&event), oldest.sequence);
}

each_store!(an_event_that_several_patterns_match_is_delivered_once);
async fn an_event_that_several_patterns_match_is_delivered_once(at: At) {
    let (router, _) = at.router();
    let mut subscription = router.subscribe("work:done, work:*, *, **").unwrap();
    emit(&router, "work:done", 1).await;
    emit(&router, "work:done", 2).await;
    assert_eq!((number(&mut subscription).await, number(&mut subscription).await), (1, 2));
}

each_store!(a_filter_for_the_references_end_of_session_sees_both_ends);
async fn a_filter_for_the_references_end_of_session_sees_both_ends(at: At) {
    use amplifier_core::module::provider::ProviderErrorKind;
    let stage = Stage::new();
    stage.brain.say("fine").then(amplifier_tests::fake::Step::Fail(ProviderErrorKind::Auth));
    let host = at.host(&stage).await;
    for filter in ["session:end", "session_end", "session:completed,session:error"] {
        let mut ends = host.router().subscribe(filter).unwrap();
        stage.brain.say("fine").then(amplifier_tests::fake::Step::Fail(ProviderErrorKind::Auth));
        spawn(&host, ("plain", "1")).await;
        spawn(&host, ("plain", "2")).await;
        for expected in [EventType::SessionCompleted, EventType::SessionError] {
            let Some(Delivery::Event(event)) = soon("an end", ends.next()).await else { panic!("no event") };
            assert_eq!(event.event_type, expected, "{filter}");
        }
    }
}

each_store!(nobody_can_emit_a_kernel_event);
async fn nobody_can_emit_a_kernel_event(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open()).await;
    let before = host.router().tail().await.unwrap();
    for name in ["session_completed", "session:end", "tool:pre", "run", "issue:opened", "", "Upper", "a b"] {
        assert!(matches!(host.router().emit(name, json!({})).await, Err(EmitError::Name(_))), "{name}");
        assert!(
            matches!(chat.session().emit_event(name, json!({})).await, Err(EmitError::Name(_))),
            "{name}"
        );
    }
    for kernel in [EventType::SessionCompleted, EventType::SessionError, EventType::ToolPre] {
        let event = NewEvent::of(kernel, Payload::from(json!({})));
        let refused = EventSink::emit(host.router(), event.clone()).await;
        assert!(matches!(refused, Err(EmitError::Kernel { .. })));
        assert!(chat.session().env().events.emit(event).await.is_err());
    }
    assert_eq!(host.router().tail().await.unwrap(), before);
}

each_store!(a_malformed_filter_is_refused_at_the_call);
async fn a_malformed_filter_is_refused_at_the_call(at: At) {
    let (router, _) = at.router();
    for filter in ["", "Work", "a b", "a,,b"] {
        assert!(matches!(router.subscribe(filter), Err(RouterError::Filter(_))), "{filter:?}");
    }
    assert_eq!(router.subscribers(), 0);
}

each_store!(a_closed_router_delivers_what_it_has_and_takes_nothing_more);
async fn a_closed_router_delivers_what_it_has_and_takes_nothing_more(at: At) {
    let (router, _) = at.router();
    let mut subscription = router.subscribe("*").unwrap();
    let waiting = {
        let router = router.clone();
        tokio::spawn(async move { router.wait_for_event("never", SECOND).await })
    };
    emit(&router, "tick", 1).await;
    while router.subscribers() < 2 {
        tokio::task::yield_now().await;
    }
    router.close();
    assert_eq!(number(&mut subscription).await, 1);
    assert!(soon("the end", subscription.next()).await.is_none());
    assert!(matches!(soon("the wait", waiting).await.unwrap(), Err(RouterError::Closed)));
    assert!(matches!(router.emit("tick", json!(2)).await, Err(EmitError::Closed)));
    assert!(matches!(router.subscribe("*"), Err(RouterError::Closed)));
}

each_store!(a_hundred_subscribers_see_every_event_in_one_order);
async fn a_hundred_subscribers_see_every_event_in_one_order(at: At) {
    let (router, _) = at.router();
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let mut subscription = router.subscribe("tick").unwrap();
            tokio::spawn(async move {
                for expected in 1..=500 {
                    assert_eq!(number(&mut subscription).await, expected);
                }
            })
        })
        .collect();
    flood(&router, (1..=500).map(|number| ("tick", number))).await;
    for reader in readers {
        soon("a reader", reader).await.unwrap();
    }
    assert_eq!(router.subscribers(), 0);
}

each_store!(a_cursor_of_another_log_or_of_a_pruned_place_is_gone);
async fn a_cursor_of_another_log_or_of_a_pruned_place_is_gone(at: At) {
    let store = at.store(1);
    let router = at.over(Arc::clone(&store), 1);
    let tail = router.tail().await.unwrap();
    let foreign = Cursor { log: tail.log ^ 1, sequence: 1 };
    let error = router.wait_after("*", foreign, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, RouterError::Gone { oldest } if oldest == tail), "{error}");
    flood(&router, (0..10).map(|number| ("tick", number))).await;
    let _ = store.commit(Write::Prune { before: 2 }.into()).await.unwrap();
    let error = router.wait_after("*", tail, Duration::ZERO).await.unwrap_err();
    let RouterError::Gone { oldest } = error else { panic!("{error}") };
    let (event, _) = router.wait_after("*", oldest, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(event.payload.decode::<u64>().unwrap(), 1);
}

each_store!(a_filter_by_source_passes_those_sessions_alone);
async fn a_filter_by_source_passes_those_sessions_alone(at: At) {
    let (router, _) = at.router();
    let id = |name: &str| SessionId::new(name).unwrap();
    let filter = EventFilter::names(["work:*"]).unwrap().from_sessions([id("a"), id("b")]);
    let mut subscription = router.subscribe(filter).unwrap();
    for (source, number) in [("a", 1), ("c", 2), ("b", 3)] {
        router.emitter(id(source)).emit("work:done", json!(number)).await.unwrap();
    }
    emit(&router, "work:done", 4).await;
    router.emitter(id("a")).emit("other", json!(5)).await.unwrap();
    router.emitter(id("a")).emit("work:done", json!(6)).await.unwrap();
    for expected in [1, 3, 6] {
        assert_eq!(number(&mut subscription).await, expected);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Findings {
    found: Vec<String>,
}

impl Event for Findings {
    const NAME: &'static str = "analysis_complete";
}

each_store!(a_typed_event_arrives_as_its_type_with_its_source);
async fn a_typed_event_arrives_as_its_type_with_its_source(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let chat = spawn(&host, SpawnRequest::new("plain", "1").keep_open()).await;
    let mut events = host.router().subscribe_to::<Findings>().unwrap().events();
    let findings = Findings { found: vec!["x".into()] };
    chat.session().emit(&findings).await.unwrap();
    let event = soon("the event", events.next()).await.unwrap().unwrap();
    assert_eq!(event.payload.decode::<Findings>().unwrap(), findings);
    assert_eq!(event.source.as_ref(), Some(chat.id()));
}
