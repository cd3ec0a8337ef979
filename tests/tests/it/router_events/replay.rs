//! Reading from a place in the log, and events that others have recorded.

use std::sync::Arc;

use amplifier_core::{CustomName, EventId, Ids, NewEvent, SessionEvent, Timestamp};
use amplifier_foundation::EventRouter;
use amplifier_foundation::router::RouterError;
use amplifier_foundation::store::{Cursor, MemoryStore, Store, Write};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use serde_json::json;

use super::{SECOND, emit, number, of, router};

#[tokio::test]
async fn a_replay_goes_over_into_what_comes_without_gap_or_repetition() {
    let (router, _) = router();
    let start = router.tail().await.unwrap();
    for number in 0..5_000 {
        emit(&router, if number % 2 == 0 { "tick" } else { "tock" }, number).await;
    }
    let mut events = router.subscribe_from(start, "tick").await.unwrap();
    let emitting = {
        let router = router.clone();
        tokio::spawn(async move {
            for number in 5_000..10_000 {
                emit(&router, if number % 2 == 0 { "tick" } else { "tock" }, number).await;
                if number % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    for expected in (0..10_000).step_by(2) {
        assert_eq!(of(&soon("an event", events.next()).await.unwrap().unwrap()), expected);
        if expected % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    emitting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_replays_while_others_emit_see_the_same() {
    let (router, _) = router();
    let start = router.tail().await.unwrap();
    let emitters: Vec<_> = (0..3)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move {
                for number in 0..2_000 {
                    emit(&router, "tick", number).await;
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move {
                let mut events = router.subscribe_from(start, "tick").await.unwrap();
                for expected in 1..=6_000 {
                    let event = soon("an event", events.next()).await.unwrap().unwrap();
                    assert_eq!(event.sequence, Some(expected));
                }
            })
        })
        .collect();
    for task in emitters.into_iter().chain(readers) {
        soon("a task", task).await.unwrap();
    }
}

#[tokio::test]
async fn a_place_that_the_log_does_not_hold_is_refused_at_the_call() {
    let (router, _) = router();
    emit(&router, "tick", 1).await;
    let tail = router.tail().await.unwrap();
    // Behind the end: the log is a restored backup. Another log: a restored backup too.
    for place in [
        Cursor { sequence: tail.sequence + 1, ..tail },
        Cursor { log: tail.log ^ 1, ..tail },
        Cursor { sequence: 0, ..tail },
    ] {
        let gone = router.subscribe_from(place, "*").await.unwrap_err();
        assert!(matches!(gone, RouterError::Gone { oldest } if oldest.sequence == 1), "{gone}");
        let gone = router.wait_after("*", place, SECOND).await.unwrap_err();
        assert!(matches!(gone, RouterError::Gone { .. }), "{gone}");
    }
    assert_eq!(router.subscribers(), 0);
}

#[tokio::test]
async fn what_another_router_of_the_store_records_is_told_here_in_one_order() {
    let clock = ManualClock::new();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(clock.clone()), &SeededIds::new(1)));
    let process = |seed| {
        let ids = Arc::new(SeededIds::new(seed));
        EventRouter::new(Arc::clone(&store), Arc::new(clock.clone()), ids, "/project")
    };
    let (a, b) = (process(2), process(3));
    let (mut of_a, mut of_b) = (a.subscribe("tick").unwrap(), b.subscribe("tick").unwrap());
    emit(&a, "tick", 1).await;
    emit(&b, "tick", 2).await;
    // And what is committed without any router.
    let event = NewEvent::custom(CustomName::new("tick").unwrap(), json!(3));
    let at = Timestamp::from_micros(0);
    let id = EventId(SeededIds::new(9).v7(at));
    let sealed = SessionEvent::seal(event, id, None, "/project".into(), at);
    let _ = store.commit(Write::Append(Box::new(sealed)).into()).await.unwrap();
    for subscription in [&mut of_a, &mut of_b] {
        for expected in 1..=3 {
            assert_eq!(number(subscription).await, expected);
        }
    }
}

#[tokio::test]
async fn who_subscribes_to_nothing_makes_the_store_tell_nothing() {
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::new(clock.clone(), &SeededIds::new(1));
    let router = EventRouter::new(Arc::new(store), clock, Arc::new(SeededIds::new(2)), "/project");
    emit(&router, "tick", 1).await;
    let mut late = router.subscribe("tick").unwrap();
    emit(&router, "tick", 2).await;
    assert_eq!(number(&mut late).await, 2, "a subscription begins with itself");
}
