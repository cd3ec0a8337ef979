//! What goes wrong around a router: a typed error or a counted loss, never a hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::env::EmitError;
use amplifier_core::payload::PayloadError;
use amplifier_core::{Clock, CustomName, EventId, MonoTime, NewEvent, Payload, Timestamp};
use amplifier_foundation::host::RandomIds;
use amplifier_foundation::router::{Delivery, RouterError};
use amplifier_foundation::{EventRouter, Shutdown, SpawnRequest};
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{At, emit, flood, number, of};
use crate::spawn::spawn;

fn faulty(at: &At) -> (EventRouter, FaultyStore) {
    let store = FaultyStore::new(at.store(1), When::Never, StoreFault::Error);
    (at.over(Arc::new(store.clone()), 2), store)
}

each_store!(an_event_that_the_store_refuses_is_an_error_and_is_told_to_nobody);
async fn an_event_that_the_store_refuses_is_an_error_and_is_told_to_nobody(at: At) {
    let (router, store) = faulty(&at);
    let mut subscription = router.subscribe("tick").unwrap();
    store.set(When::At(0), StoreFault::Error);
    let refused = router.emit("tick", json!(1)).await.unwrap_err();
    assert!(matches!(refused, EmitError::Store(_)), "{refused}");
    emit(&router, "tick", 2).await;
    assert_eq!(number(&mut subscription).await, 2);
}

each_store!(an_event_of_which_the_store_is_not_sure_is_looked_for);
async fn an_event_of_which_the_store_is_not_sure_is_looked_for(at: At) {
    let (router, store) = faulty(&at);
    let mut subscription = router.subscribe("tick").unwrap();
    store.set(When::At(0), StoreFault::InDoubt);
    let id = router.emit("tick", json!(1)).await.unwrap();
    let Some(Delivery::Event(event)) = soon("the event", subscription.next()).await else { panic!() };
    assert_eq!(event.id, id);
}

each_store!(a_payload_over_a_mebibyte_is_refused_and_told_whole);
async fn a_payload_over_a_mebibyte_is_refused_and_told_whole(at: At) {
    let (router, _) = at.router();
    let before = router.tail().await.unwrap();
    let refused = router.emit("big", json!("x".repeat(1 << 20))).await.unwrap_err();
    assert!(matches!(refused, EmitError::Payload(PayloadError::TooLarge { len }) if len == (1 << 20) + 2));
    assert_eq!(router.tail().await.unwrap(), before);
    let largest = Payload::from(json!("x".repeat((1 << 20) - 2)));
    let mut subscription = router.subscribe("big").unwrap();
    router.emit("big", largest.clone()).await.unwrap();
    let Some(Delivery::Event(event)) = soon("the event", subscription.next()).await else { panic!() };
    assert_eq!(event.payload, largest);
}

each_store!(large_events_push_each_other_out_before_they_fill_the_memory);
async fn large_events_push_each_other_out_before_they_fill_the_memory(at: At) {
    let (router, _) = at.router();
    let mut slow = router.subscribe("big").unwrap();
    let payload = Payload::from(json!("x".repeat(1 << 19)));
    for _ in 0..200 {
        router.emit("big", payload.clone()).await.unwrap();
    }
    let Some(Delivery::Lagged { missed, .. }) = soon("the lag", slow.next()).await else { panic!("no lag") };
    assert!((64..136).contains(&missed), "at most 64 MiB are kept for it: {missed} are missed");
}

each_store!(a_reader_that_lags_behind_a_log_that_nobody_can_name_is_told_where_to_read_on);
async fn a_reader_that_lags_behind_a_log_that_nobody_can_name_is_told_where_to_read_on(at: At) {
    let (router, store) = faulty(&at);
    store.fail_tails(true);
    let mut live = router.subscribe("tick").unwrap();
    let mut events = router.subscribe("tick").unwrap().events();
    emit(&router, "tick", 1).await;
    assert_eq!(number(&mut live).await, 1);
    assert_eq!(of(&soon("an event", events.next()).await.unwrap().unwrap()), 1);
    flood(&router, (2..=1_500).map(|number| ("tick", number))).await;
    let Some(Delivery::Lagged { missed, resume_at }) = soon("the lag", live.next()).await else { panic!() };
    assert_eq!((missed, resume_at.log, resume_at.sequence), (1_499 - 1_024, 0, 2));
    let refused = router.subscribe_from(resume_at, "tick").await;
    assert!(refused.is_err(), "a cursor of no log is no place in this one");
    let gone = soon("where to read on", events.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(gone, RouterError::Gone { oldest } if oldest.sequence == 1 && oldest.log != 0),
        "{gone}"
    );
    for expected in 2..=1_500 {
        let event = soon("an event", events.next()).await.unwrap().unwrap();
        assert_eq!(of(&event), expected, "what was read does not come again, and nothing is left out");
    }
}

/// A wall clock that a test sets back.
#[derive(Debug)]
struct Jumping(AtomicI64);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> MonoTime {
        MonoTime::default()
    }
    fn sleep_until(&self, _deadline: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

each_store!(a_clock_that_jumps_back_changes_no_order);
async fn a_clock_that_jumps_back_changes_no_order(at: At) {
    let clock = Arc::new(Jumping(AtomicI64::new(1_800_000_000_000_000)));
    let ids = Arc::new(RandomIds::new());
    let store = at.fresh(1, clock.clone());
    let router = EventRouter::new(store, clock.clone(), ids, "/project");
    let mut events = router.subscribe("tick").unwrap().events();
    for number in 0..10 {
        emit(&router, "tick", number).await;
        clock.0.fetch_sub(3_600_000_000, Ordering::Relaxed);
    }
    let mut last = None;
    for expected in 0..10 {
        let event = soon("an event", events.next()).await.unwrap().unwrap();
        assert_eq!((of(&event), event.sequence), (expected, Some(expected + 1)));
        assert!(last < Some(event.id), "ids rise");
        last = Some(event.id);
    }
}

each_store!(ten_thousand_subscribers_of_which_a_thousand_never_read);
async fn ten_thousand_subscribers_of_which_a_thousand_never_read(at: At) {
    let (router, _) = at.router();
    let stalled: Vec<_> = (0..1_000).map(|_| router.subscribe("tick").unwrap()).collect();
    let mut reading: Vec<_> = (0..9_000)
        .map(|number| match number % 3 {
            0 => router.subscribe("tick").unwrap(),
            1 => router.subscribe(format!("tick source=s{number}")).unwrap(),
            _ => router.subscribe(format!("tick,name-{number}")).unwrap(),
        })
        .collect();
    assert_eq!(router.subscribers(), 10_000);
    for round in 0..20 {
        flood(&router, (0..100).map(|number| ("tick", round * 100 + number))).await;
        for subscription in reading.iter_mut().enumerate().filter(|(at, _)| at % 3 != 1).map(|(_, one)| one) {
            for expected in 0..100 {
                assert_eq!(number(subscription).await, round * 100 + expected);
            }
        }
    }
    for mut subscription in stalled {
        let Some(Delivery::Lagged { missed, .. }) = subscription.next().await else { panic!("no lag") };
        assert_eq!(missed, 2_000 - 1_024);
        assert_eq!(number(&mut subscription).await, missed);
    }
    drop(reading);
    assert_eq!(router.subscribers(), 0);
}

each_store!(after_a_shutdown_everything_is_refused_and_nothing_hangs);
async fn after_a_shutdown_everything_is_refused_and_nothing_hangs(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let session = spawn(&host, SpawnRequest::new("plain", "go").keep_open()).await;
    let router = host.router().clone();
    let emitter = router.emitter(session.id().clone());
    let mut reader = router.subscribe("*").unwrap();
    let mut consumer = router.consumer("worker", "tick").await.unwrap();
    emit(&router, "tick", 1).await;
    let place = router.tail().await.unwrap();
    soon("the shutdown", host.shutdown(Shutdown::Now)).await;

    let closed = |what: &str, result: Result<EventId, EmitError>| {
        assert!(matches!(result, Err(EmitError::Closed)), "{what}: {result:?}");
    };
    closed("the router", soon("emit", router.emit("tick", json!(2))).await);
    closed("an emitter", soon("emit", emitter.emit("tick", json!(2))).await);
    closed("a session", soon("emit", session.session().emit_event("tick", json!(2))).await);
    let ephemeral = NewEvent::custom(CustomName::new("tick").unwrap(), json!(2));
    closed("an ephemeral one", router.publish_ephemeral(ephemeral));
    let waited = soon("a wait", router.wait_after("tick", place, Duration::from_secs(9))).await;
    assert!(matches!(waited, Err(RouterError::Closed)), "{waited:?}");
    assert!(matches!(router.subscribe("tick"), Err(RouterError::Closed)));
    assert!(matches!(soon("a consumer", router.consumer("other", "tick")).await, Err(RouterError::Closed)));
    // What was recorded before is still read to its end.
    let mut names = Vec::new();
    while let Some(delivery) = soon("what is left", reader.next()).await {
        let Delivery::Event(event) = delivery else { panic!("{delivery:?}") };
        names.push(event.event_type.name().to_owned());
    }
    assert_eq!(names, ["tick", "session_error"]);
    let left = soon("the consumer", consumer.next()).await;
    assert!(left.is_none_or(|left| left.is_ok()), "it ends, or hands out what it had");
}

#[tokio::test]
async fn a_restored_backup_refuses_the_places_of_before_and_consumers_go_on_from_it() {
    let at = At::a_file();
    let folder = at.project.around();
    let (database, copy) = (folder.join("amplifier.db"), folder.join("copy.db"));
    let (place, cursor) = {
        let store = at.sqlite(1, Arc::new(at.clock.clone()));
        let router = at.over(Arc::new(store.clone()), 1);
        let mut consumer = router.consumer("worker", "tick").await.unwrap();
        emit(&router, "tick", 1).await;
        soon("one", consumer.next()).await.unwrap().unwrap().ack().await.unwrap();
        emit(&router, "tick", 2).await;
        let place = router.tail().await.unwrap();
        store.backup(&copy).await.unwrap();
        emit(&router, "tick", 3).await;
        (place, router.tail().await.unwrap())
    };
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("amplifier.db{end}")));
    }
    std::fs::rename(copy, database).unwrap();
    let router = at.router_of(2);
    // Also the place that the backup holds: what stands there later may be another event.
    for old in [place, cursor] {
        let gone = router.subscribe_from(old, "*").await.unwrap_err();
        assert!(matches!(gone, RouterError::Gone { oldest } if oldest.sequence == 1), "{gone}");
        let gone = router.wait_after("*", old, Duration::ZERO).await.unwrap_err();
        assert!(matches!(gone, RouterError::Gone { .. }), "{gone}");
    }
    let mut consumer = router.consumer("worker", "tick").await.unwrap();
    let lease = soon("what was not acknowledged", consumer.next()).await.unwrap().unwrap();
    assert_eq!(of(&lease.event), 2);
    lease.ack().await.unwrap();
    emit(&router, "tick", 4).await;
    assert_eq!(of(&soon("what comes", consumer.next()).await.unwrap().unwrap().event), 4);
}

each_store!(readers_end_with_the_last_handle_of_their_router);
async fn readers_end_with_the_last_handle_of_their_router(at: At) {
    let (router, _) = at.router();
    let mut events = router.subscribe("tick").unwrap().events();
    let waiting = tokio::spawn(async move { events.next().await.is_none() });
    emit(&router, "noise", 1).await;
    tokio::task::yield_now().await;
    drop(router);
    assert!(soon("the reader", waiting).await.unwrap());
}

each_store!(a_place_that_cannot_be_read_is_an_error_and_no_hang);
async fn a_place_that_cannot_be_read_is_an_error_and_no_hang(at: At) {
    let (router, _store) = faulty(&at);
    let tail = router.tail().await.unwrap();
    router.close();
    let closed = router.wait_after("tick", tail, Duration::ZERO).await.unwrap_err();
    assert!(matches!(closed, RouterError::Closed), "{closed}");
    assert!(matches!(router.wait_for_event("tick", Duration::ZERO).await, Err(RouterError::Closed)));
    assert!(matches!(router.consumer("name", "tick").await, Err(RouterError::Closed)));
}
