//! Durable consumers: at least once, one reader at a time, across restarts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amplifier_foundation::EventRouter;
use amplifier_foundation::router::{Consumer, Lease, RouterError};
use amplifier_foundation::store::{ConsumerName, Cursor, Store, Write};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::soon;

use super::{At, SECOND, emit, flood, of};

/// A store, and routers over it as of several processes.
struct Shop {
    store: Arc<dyn Store>,
    clock: ManualClock,
    at: At,
}

impl Shop {
    fn new(at: At) -> Self {
        Self { store: at.store(0), clock: at.clock.clone(), at }
    }

    fn router(&self, process: u64) -> EventRouter {
        self.at.router_of(process + 1)
    }

    async fn floor(&self, name: &str) -> u64 {
        self.store.cursor(&ConsumerName::new(name).unwrap()).await.unwrap().unwrap().sequence
    }
}

async fn next(consumer: &mut Consumer) -> Lease {
    soon("an event", consumer.next()).await.unwrap().unwrap()
}

/// Nothing is there to be had now.
async fn nothing(consumer: &mut Consumer) {
    let patience = Duration::from_millis(20);
    assert!(tokio::time::timeout(patience, consumer.next()).await.is_err(), "there is something");
}

each_store!(a_consumer_goes_on_where_it_was_left_also_in_another_process);
async fn a_consumer_goes_on_where_it_was_left_also_in_another_process(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    emit(&router, "job", 0).await;
    let mut consumer = router.consumer("worker", "job").await.unwrap();
    for number in 1..=3 {
        emit(&router, "job", number).await;
        emit(&router, "noise", 0).await;
    }
    for expected in 1..=2 {
        let lease = next(&mut consumer).await;
        assert_eq!((of(&lease.event), lease.attempt), (expected, 1));
        lease.ack().await.unwrap();
    }
    drop((consumer, router));
    let router = shop.router(2);
    let mut again = router.consumer("worker", "job").await.unwrap();
    let lease = next(&mut again).await;
    assert_eq!((of(&lease.event), lease.attempt), (3, 1));
    lease.ack().await.unwrap();
    nothing(&mut again).await;
}

each_store!(what_is_dropped_is_delivered_again_and_counted);
async fn what_is_dropped_is_delivered_again_and_counted(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let mut consumer = router.consumer("worker", "job").await.unwrap();
    emit(&router, "job", 1).await;
    for attempt in 1..=3 {
        assert_eq!(next(&mut consumer).await.attempt, attempt);
    }
    let mut other = shop.router(2).consumer("worker", "job").await.unwrap();
    let lease = next(&mut other).await;
    assert_eq!((of(&lease.event), lease.attempt), (1, 4), "whoever asks next");
    lease.ack().await.unwrap();
}

each_store!(acknowledgements_out_of_order_survive_a_restart);
async fn acknowledgements_out_of_order_survive_a_restart(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let mut consumer = router.consumer("worker", "job").await.unwrap();
    let floor = shop.floor("worker").await;
    for number in 1..=4 {
        emit(&router, "job", number).await;
    }
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(next(&mut consumer).await);
    }
    let (fourth, third) = (leases.pop().unwrap(), leases.pop().unwrap());
    third.ack().await.unwrap();
    fourth.ack().await.unwrap();
    assert_eq!(shop.floor("worker").await, floor, "the first is still in hand");
    drop((leases, consumer, router));
    let mut again = shop.router(2).consumer("worker", "job").await.unwrap();
    let (first, second) = (next(&mut again).await, next(&mut again).await);
    assert_eq!((of(&first.event), of(&second.event)), (1, 2));
    nothing(&mut again).await;
    second.ack().await.unwrap();
    first.ack().await.unwrap();
    assert_eq!(shop.floor("worker").await, shop.store.tail().await.unwrap().sequence);
}

each_store!(readers_of_one_name_share_the_work);
async fn readers_of_one_name_share_the_work(at: At) {
    let shop = Shop::new(at);
    let emitter = shop.router(0);
    let first = emitter.consumer("worker", "job").await.unwrap();
    let mut readers = vec![first];
    for process in 1..4 {
        readers.push(shop.router(process).consumer("worker", "job").await.unwrap());
    }
    let working: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            tokio::spawn(async move {
                let mut done = Vec::new();
                while let Ok(Some(lease)) =
                    tokio::time::timeout(Duration::from_millis(500), reader.next()).await
                {
                    let lease = lease.unwrap();
                    done.push(of(&lease.event));
                    tokio::task::yield_now().await;
                    lease.ack().await.unwrap();
                }
                done
            })
        })
        .collect();
    for number in 0..200 {
        emit(&emitter, "job", number).await;
    }
    let mut all = Vec::new();
    for reader in working {
        all.extend(soon("a reader", reader).await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<_>>(), "each once, for nobody was slow");
}

each_store!(a_reader_that_takes_too_long_loses_the_event);
async fn a_reader_that_takes_too_long_loses_the_event(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let mut slow = router.consumer("worker", "job").await.unwrap().lease_for(SECOND);
    let mut other = shop.router(2).consumer("worker", "job").await.unwrap();
    emit(&router, "job", 1).await;
    let (kept, lost) = (next(&mut slow).await, async move {
        let lease = next(&mut other).await;
        assert_eq!(lease.attempt, 2);
        lease
    });
    shop.clock.advance(SECOND / 2);
    kept.renew().await.unwrap();
    let lost = tokio::spawn(lost);
    shop.clock.asleep_within(SECOND * 2).await;
    shop.clock.advance(SECOND * 2);
    let taken = soon("the other reader", lost).await.unwrap();
    assert!(matches!(kept.ack().await, Err(RouterError::LeaseLost { .. })));
    taken.ack().await.unwrap();
    assert_eq!(shop.floor("worker").await, shop.store.tail().await.unwrap().sequence);
}

each_store!(another_filter_needs_a_reset);
async fn another_filter_needs_a_reset(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let mut old = router.consumer("worker", "job").await.unwrap();
    emit(&router, "job", 1).await;
    let lease = next(&mut old).await;
    let changed = router.consumer("worker", "job,other").await.unwrap_err();
    assert!(matches!(changed, RouterError::FilterChanged { .. }), "{changed}");
    assert!(router.consumer("worker", "job, job").await.is_ok(), "the same filter, written otherwise");
    router.reset_consumer("worker").await.unwrap();
    let start = Cursor { sequence: 1, ..router.tail().await.unwrap() };
    let mut new = router.consumer_from("worker", start, "job,other").await.unwrap();
    assert!(matches!(lease.ack().await, Err(RouterError::Reset { .. })), "it is of before the reset");
    assert!(matches!(soon("the old one", old.next()).await, Some(Err(RouterError::Reset { .. }))));
    assert_eq!(of(&next(&mut new).await.event), 1);
}

each_store!(what_was_pruned_is_told_with_its_count_and_the_consumer_goes_on);
async fn what_was_pruned_is_told_with_its_count_and_the_consumer_goes_on(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    drop(router.consumer("worker", "job").await.unwrap());
    for number in 1..=10 {
        emit(&router, "job", number).await;
    }
    let _ = shop.store.commit(Write::Prune { before: 8 }.into()).await.unwrap();
    let mut consumer = router.consumer("worker", "job").await.unwrap();
    let lost = soon("the loss", consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(lost, RouterError::Lost { missed: 7, .. }), "{lost}");
    for expected in 8..=10 {
        let lease = next(&mut consumer).await;
        assert_eq!(of(&lease.event), expected);
        lease.ack().await.unwrap();
    }
}

each_store!(a_consumer_that_has_nothing_to_do_does_not_hold_the_log);
async fn a_consumer_that_has_nothing_to_do_does_not_hold_the_log(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let mut consumer = router.consumer("worker", "job").await.unwrap();
    emit(&router, "job", 0).await;
    next(&mut consumer).await.ack().await.unwrap();
    flood(&router, (0..3_000).map(|number| ("noise", number))).await;
    emit(&router, "job", 1).await;
    next(&mut consumer).await.ack().await.unwrap();
    assert_eq!(shop.floor("worker").await, shop.store.tail().await.unwrap().sequence);
}

each_store!(a_consumer_ends_with_its_router);
async fn a_consumer_ends_with_its_router(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let mut consumer = router.consumer("worker", "job").await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next().await.is_none() });
    tokio::task::yield_now().await;
    router.close();
    assert!(soon("the consumer", waiting).await.unwrap());
}

each_store!(names_that_cannot_be_are_refused);
async fn names_that_cannot_be_are_refused(at: At) {
    let shop = Shop::new(at);
    let router = shop.router(1);
    let names: BTreeSet<&str> = ["", " ", "a\nb"].into();
    for name in names {
        assert!(matches!(router.consumer(name, "job").await, Err(RouterError::Consumer(_))), "{name:?}");
    }
}
