//! What filters pass: trees, fields, hook events; and that an index changes nothing about it.

use amplifier_core::event::{CustomName, NewEvent};
use amplifier_core::{EventType, Payload, SessionEvent, SessionId};
use amplifier_foundation::SpawnRequest;
use amplifier_foundation::router::{Delivery, EventFilter, RouterError, Subscription};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use proptest::prelude::*;
use serde_json::json;

use super::{At, emit, number, of};
use crate::spawn::spawn;

pub(super) fn id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

each_store!(a_field_of_the_payload_decides);
async fn a_field_of_the_payload_decides(at: At) {
    let (router, _) = at.router();
    let mut failed = router.subscribe("build data.status=failed").unwrap();
    let deep = EventFilter::all().field("error.codes.1", 7).unwrap();
    let mut deep = router.subscribe(deep).unwrap();
    let mut both = router.subscribe("* data.n=2 data.status=failed").unwrap();
    for (number, payload) in [
        json!({"n": 1, "status": "passed"}),
        json!({"n": 2, "status": "failed"}),
        json!({"n": 3, "status": "failed", "error": {"codes": [1, 7]}}),
        json!({"n": 4, "status": ["failed"], "error": {"codes": [7]}}),
        json!("failed"),
    ]
    .into_iter()
    .enumerate()
    {
        router.emit("build", payload).await.unwrap();
        router.emit("other", json!({"status": "failed", "number": number})).await.unwrap();
    }
    let n = async |subscription: &mut Subscription| {
        let Some(Delivery::Event(event)) = soon("an event", subscription.next()).await else { panic!() };
        event.payload.decode::<serde_json::Value>().unwrap()["n"].as_u64().unwrap()
    };
    assert_eq!((n(&mut failed).await, n(&mut failed).await), (2, 3));
    assert_eq!((n(&mut deep).await, n(&mut both).await), (3, 2));
    router.close();
    for mut rest in [failed, deep, both] {
        assert!(rest.next().await.is_none());
    }
}

each_store!(a_tree_is_its_root_and_all_below);
async fn a_tree_is_its_root_and_all_below(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let open = |name: &str| SpawnRequest::new("plain", "go").session_id(id(name)).keep_open();
    let root = spawn(&host, open("root")).await;
    let child = spawn(&host, open("child").parent(root.session())).await;
    let grandchild = spawn(&host, open("grandchild").parent(child.session())).await;
    let other = spawn(&host, open("other")).await;
    let mut tree = host.router().subscribe("note tree=root").unwrap();
    let mut below = host.router().subscribe("note source=child source=other").unwrap();
    for (number, session) in [&root, &child, &grandchild, &other].into_iter().enumerate() {
        session.session().emit_event("note", json!(number)).await.unwrap();
    }
    for expected in 0..3 {
        assert_eq!(number(&mut tree).await, expected);
    }
    assert_eq!((number(&mut below).await, number(&mut below).await), (1, 3));
    let mut ends = host.router().subscribe("session:end tree=root").unwrap();
    for session in [&other, &grandchild] {
        session.session().end().await;
    }
    let Some(Delivery::Event(end)) = soon("an end", ends.next()).await else { panic!() };
    assert_eq!((end.source.as_ref(), end.root.as_ref()), (Some(&id("grandchild")), Some(&id("root"))));
}

each_store!(ephemeral_events_are_in_no_log_and_their_loss_is_counted);
async fn ephemeral_events_are_in_no_log_and_their_loss_is_counted(at: At) {
    let (router, _) = at.router();
    let start = router.tail().await.unwrap();
    let mut slow = router.subscribe("tick").unwrap();
    let mut events = router.subscribe("tick").unwrap().events();
    let ephemeral = |number: u64| NewEvent::custom(CustomName::new("tick").unwrap(), json!(number));
    for number in 0..1_500 {
        router.publish_ephemeral(ephemeral(number)).unwrap();
        if number % 3 == 0 {
            emit(&router, "tick", number).await;
        }
    }
    let Some(Delivery::Lagged { missed, resume_at }) = slow.next().await else { panic!("no lag") };
    assert_eq!((missed, resume_at), (2_000 - 1_024, start));
    assert_eq!(slow.lost(), missed - missed.div_ceil(4), "three of four were ephemeral");
    assert_eq!(router.tail().await.unwrap().sequence, start.sequence + 500);
    let (mut recorded, mut told) = (0, 0);
    for _ in 0..500 + 1_500 - slow.lost() {
        match soon("an event", events.next()).await.unwrap().unwrap().sequence {
            Some(_) => recorded += 1,
            None => told += 1,
        }
    }
    assert_eq!((recorded, told, events.lost()), (500, 1_500 - slow.lost(), slow.lost()));
    let oversized = Payload::from(json!("x".repeat(1 << 20)));
    let event = NewEvent::custom(CustomName::new("tick").unwrap(), oversized);
    assert!(router.publish_ephemeral(event).is_err());
}

each_store!(a_filter_that_no_event_can_pass_is_refused_at_the_call);
async fn a_filter_that_no_event_can_pass_is_refused_at_the_call(at: At) {
    let (router, _) = at.router();
    for filter in ["session:ended", "tool", "work:done color=red", "work source=a/b", "w data.=1"] {
        assert!(matches!(router.subscribe(filter), Err(RouterError::Filter(_))), "{filter}");
    }
    assert!(router.consumer("name", "issue_made_up").await.is_err());
    assert!(router.wait_for_event("A", std::time::Duration::ZERO).await.is_err());
}

const NAMES: [&str; 5] = ["a", "a:b", "a:b:c", "b", "session_completed"];

pub(super) fn filters() -> impl Strategy<Value = EventFilter> {
    let names = prop::collection::vec(
        prop::sample::select(vec!["a", "a:b", "a:*", "a:**", "*:b", "b", "session:*", "session:end", "*"]),
        1..3,
    );
    let sessions = || prop::option::of(prop::collection::vec(prop::sample::select(vec!["s", "t"]), 1..3));
    let field = prop::option::of(0u64..3);
    (names, sessions(), sessions(), field).prop_map(|(names, sources, trees, field)| {
        let mut filter = EventFilter::names(names).unwrap();
        if let Some(sources) = sources {
            filter = filter.from_sessions(sources.into_iter().map(id));
        }
        if let Some(trees) = trees {
            filter = filter.from_trees(trees.into_iter().map(id));
        }
        field.map_or(filter.clone(), |number| filter.field("n", number).unwrap())
    })
}

fn events() -> impl Strategy<Value = NewEvent> {
    let session = || prop::option::of(prop::sample::select(vec!["s", "t", "u"]));
    (prop::sample::select(NAMES.to_vec()), session(), session(), 0u64..3).prop_map(
        |(name, source, root, number)| {
            let event_type =
                EventType::kernel(name).unwrap_or_else(|| EventType::Custom(CustomName::new(name).unwrap()));
            let mut event = NewEvent::of(event_type, json!({"n": number}).into());
            (event.source, event.root) = (source.map(id), root.map(id));
            event
        },
    )
}

/// Everything that a subscription has got.
fn got(subscription: &mut Subscription) -> Vec<SessionEvent> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut all = Vec::new();
    loop {
        let next = std::pin::pin!(subscription.next());
        match std::future::Future::poll(next, &mut cx) {
            std::task::Poll::Ready(Some(Delivery::Event(event))) => all.push(SessionEvent::clone(&event)),
            std::task::Poll::Ready(other) => panic!("{other:?}"),
            std::task::Poll::Pending => return all,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Readers come and go while events are told; each gets what its filter says, whatever the others want.
    #[test]
    fn the_index_passes_what_the_filters_pass(
        filters in prop::collection::vec(filters(), 1..8),
        rounds in prop::collection::vec((events(), prop::option::of((0usize..8, filters()))), 1..30),
    ) {
        let (router, _) = At::memory().router();
        let subscribe = |filter: &EventFilter| (filter.clone(), router.subscribe(filter.clone()).unwrap(), Vec::new());
        let mut readers: Vec<_> = filters.iter().map(subscribe).collect();
        for (event, change) in rounds {
            let told = router.publish_ephemeral(event.clone()).unwrap();
            let mut seen = None;
            for (filter, subscription, wanted) in &mut readers {
                for event in got(subscription) {
                    prop_assert_eq!(event.id, told);
                    prop_assert!(filter.matches(&event));
                    wanted.push(event.id);
                    seen = Some(event);
                }
            }
            if let Some(event) = seen {
                for (filter, _, wanted) in &readers {
                    prop_assert_eq!(filter.matches(&event), wanted.last() == Some(&told), "{}", filter);
                }
            }
            if let Some((at, filter)) = change {
                let at = at % readers.len();
                readers[at] = subscribe(&filter);
            }
        }
    }
}

each_store!(readers_of_equal_filters_get_the_same_events_whenever_they_came);
async fn readers_of_equal_filters_get_the_same_events_whenever_they_came(at: At) {
    let (router, _) = at.router();
    let mut first = router.subscribe("b,a").unwrap().events();
    emit(&router, "a", 1).await;
    let mut second = router.subscribe(["a", "b"]).unwrap().events();
    emit(&router, "b", 2).await;
    assert_eq!(of(&first.next().await.unwrap().unwrap()), 1);
    assert_eq!(of(&first.next().await.unwrap().unwrap()), 2);
    assert_eq!(of(&second.next().await.unwrap().unwrap()), 2);
    drop(first);
    emit(&router, "a", 3).await;
    assert_eq!(of(&second.next().await.unwrap().unwrap()), 3);
}
