//! Reading from a place in the log, and events that others have recorded.

use std::sync::Arc;

use amplifier_core::{CustomName, EventId, Ids, NewEvent, SessionEvent, Timestamp};
use amplifier_foundation::router::RouterError;
use amplifier_foundation::store::{Cursor, Write};
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use serde_json::json;

use super::{At, SECOND, emit, flood, number, of};

each_store!(a_replay_goes_over_into_what_comes_without_gap_or_repetition);
async fn a_replay_goes_over_into_what_comes_without_gap_or_repetition(at: At) {
    let (router, _) = at.router();
    let start = router.tail().await.unwrap();
    let one = |number: u64| (if number.is_multiple_of(2) { "tick" } else { "tock" }, number);
    flood(&router, (0..5_000).map(one)).await;
    let mut events = router.subscribe_from(start, "tick").await.unwrap();
    let emitting = {
        let router = router.clone();
        tokio::spawn(async move {
            for number in (5_000..10_000).step_by(50) {
                flood(&router, (number..number + 50).map(one)).await;
                tokio::task::yield_now().await;
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

each_store!(many_replays_while_others_emit_see_the_same, threads);
async fn many_replays_while_others_emit_see_the_same(at: At) {
    let (router, _) = at.router();
    let start = router.tail().await.unwrap();
    let emitters: Vec<_> = (0..3)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    flood(&router, (0..50).map(|number| ("tick", round * 50 + number))).await;
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

each_store!(a_place_that_the_log_does_not_hold_is_refused_at_the_call);
async fn a_place_that_the_log_does_not_hold_is_refused_at_the_call(at: At) {
    let (router, _) = at.router();
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

each_store!(what_another_router_of_the_store_records_is_told_here_in_one_order);
async fn what_another_router_of_the_store_records_is_told_here_in_one_order(at: At) {
    let (a, b, store) = (at.router_of(2), at.router_of(3), at.store(4));
    let (mut of_a, mut of_b) = (a.subscribe("tick").unwrap(), b.subscribe("tick").unwrap());
    // What others record is heard from the first look at the log on.
    assert_eq!(a.tail().await.unwrap().sequence, b.tail().await.unwrap().sequence);
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

each_store!(who_begins_at_the_end_of_the_log_while_another_process_emits_misses_nothing, threads);
async fn who_begins_at_the_end_of_the_log_while_another_process_emits_misses_nothing(at: At) {
    let (busy, store) = (at.router_of(1), at.store(2));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let emitting = tokio::spawn(async move {
        while !stop.is_closed() {
            emit(&busy, "tick", 1).await;
            tokio::task::yield_now().await;
        }
    });
    for round in 0..40 {
        // Each is the first who listens to its store.
        let router = at.over(Arc::clone(&store), 10 + round);
        let tail = router.tail().await.unwrap();
        let mut events = router.subscribe_from(tail, "tick").await.unwrap();
        for expected in tail.sequence..tail.sequence + 4 {
            let event = soon("an event", events.next()).await.unwrap().unwrap();
            assert_eq!(event.sequence, Some(expected), "round {round}");
        }
    }
    drop(stopped);
    soon("the end", emitting).await.unwrap();
}

each_store!(who_subscribes_to_nothing_makes_the_store_tell_nothing);
async fn who_subscribes_to_nothing_makes_the_store_tell_nothing(at: At) {
    let (router, _) = at.router();
    emit(&router, "tick", 1).await;
    let mut late = router.subscribe("tick").unwrap();
    emit(&router, "tick", 2).await;
    assert_eq!(number(&mut late).await, 2, "a subscription begins with itself");
}
