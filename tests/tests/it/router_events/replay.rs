//! Reading from a place in the log, and events that others have recorded.

use std::sync::Arc;

use amplifier_core::{CustomName, EventId, Ids, NewEvent, SessionEvent, Timestamp};
use amplifier_foundation::EventRouter;
use amplifier_foundation::router::{EventFilter, Events, RouterError};
use amplifier_foundation::store::{Cursor, Write};
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use proptest::prelude::*;
use serde_json::json;

use super::filters::{filters, id};
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

/// What happens next.
#[derive(Debug, Clone)]
enum Act {
    /// Events of one name, by one session or by nobody.
    Emit { name: &'static str, session: Option<&'static str>, numbers: Vec<u64> },
    /// Somebody begins to read.
    Subscribe(EventFilter),
    /// One of the readers reads so much, if it is there.
    Read(prop::sample::Index, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let name = prop::sample::select(vec!["a", "a:b", "a:b:c", "b"]);
    let session = prop::option::of(prop::sample::select(vec!["s", "t", "u"]));
    // Now and then more than a subscription keeps, so that it has to read from the log.
    let numbers =
        prop_oneof![9 => prop::collection::vec(0u64..3, 1..6), 1 => prop::collection::vec(0u64..3, 1_500)];
    prop_oneof![
        4 => (name, session, numbers).prop_map(|(name, session, numbers)| Act::Emit { name, session, numbers }),
        1 => filters().prop_map(Act::Subscribe),
        4 => (any::<prop::sample::Index>(), 0usize..400).prop_map(|(reader, count)| Act::Read(reader, count)),
    ]
}

/// A reader that came at some time: from where on, what it wants, what it has got.
struct Live {
    from: Cursor,
    filter: EventFilter,
    events: Events,
    got: Vec<String>,
}

impl Live {
    /// Reads what is there without waiting, at most so much.
    fn read(&mut self, most: usize) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..most {
            let next = std::pin::pin!(self.events.next());
            match std::future::Future::poll(next, &mut cx) {
                std::task::Poll::Ready(Some(event)) => self.got.push(line(&event.unwrap())),
                std::task::Poll::Ready(None) => panic!("the router is open"),
                std::task::Poll::Pending => return,
            }
        }
    }
}

/// All of an event that is to be the same.
fn line(event: &SessionEvent) -> String {
    let data = String::from_utf8_lossy(event.payload.as_bytes());
    format!(
        "{:?} {} {} {:?} {:?} {data}",
        event.sequence, event.id, event.event_type, event.source, event.root
    )
}

async fn emit_all(router: &EventRouter, name: &str, session: Option<&str>, numbers: &[u64]) {
    if numbers.len() > 100 {
        return flood(router, numbers.iter().map(|number| (name, *number))).await;
    }
    for number in numbers {
        let payload = json!({"n": number});
        match session {
            Some(session) => router.emitter(id(session)).emit(name, payload).await.unwrap(),
            None => router.emit(name, payload).await.unwrap(),
        };
    }
}

async fn live_is_replayed(at: At, acts: Vec<Act>) {
    let (router, _) = at.router();
    let mut readers: Vec<Live> = Vec::new();
    for act in acts {
        match act {
            Act::Emit { name, session, numbers } => emit_all(&router, name, session, &numbers).await,
            Act::Subscribe(filter) => {
                // Nobody emits between the two.
                let from = router.tail().await.unwrap();
                let events = router.subscribe(filter.clone()).unwrap().events();
                readers.push(Live { from, filter, events, got: Vec::new() });
            }
            Act::Read(reader, count) if !readers.is_empty() => {
                let reader = reader.index(readers.len());
                readers[reader].read(count);
            }
            Act::Read(..) => {}
        }
    }
    for mut reader in readers {
        let mut replay = router.replay(reader.from, reader.filter.clone()).await.unwrap();
        let mut wanted = Vec::new();
        while let Some(page) = soon("a page", replay.next()).await {
            wanted.extend(page.unwrap().iter().map(|event| line(event)));
        }
        let mut again = router.subscribe_from(reader.from, reader.filter.clone()).await.unwrap();
        for (at, expected) in wanted.iter().enumerate() {
            if at >= reader.got.len() {
                let event = soon("a live event", reader.events.next()).await.unwrap().unwrap();
                reader.got.push(line(&event));
            }
            assert_eq!(reader.got[at], *expected, "live, {}", reader.filter);
            let event = soon("an event from the log", again.next()).await.unwrap().unwrap();
            assert_eq!(line(&event), *expected, "from the log, {}", reader.filter);
        }
        assert_eq!(reader.got.len(), wanted.len(), "live had more than the log, {}", reader.filter);
        reader.read(1);
        assert_eq!(reader.got.len(), wanted.len(), "something came twice, {}", reader.filter);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever reads, whenever and however slowly, gets what the log says, whatever the store.
    #[test]
    fn what_is_read_live_is_what_the_log_replays(acts in prop::collection::vec(act(), 1..25), in_a_file in any::<bool>()) {
        let at = if in_a_file { At::a_file() } else { At::memory() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live_is_replayed(at, acts));
    }
}
