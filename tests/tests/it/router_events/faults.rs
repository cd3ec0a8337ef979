//! What goes wrong around a router: a typed error or a counted loss, never a hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::env::EmitError;
use amplifier_core::payload::PayloadError;
use amplifier_core::{Clock, MonoTime, Payload, Timestamp};
use amplifier_foundation::EventRouter;
use amplifier_foundation::host::RandomIds;
use amplifier_foundation::router::{Delivery, RouterError};
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::soon;
use serde_json::json;

use super::{At, emit, flood, number, of};

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
