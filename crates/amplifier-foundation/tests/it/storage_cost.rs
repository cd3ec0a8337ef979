//! What the file storage costs: flushes counted, appends compared with each other.

use std::path::Path;
use std::time::{Duration, Instant};

use amplifier_core::Activation;
use amplifier_foundation::fs::flushes;
use amplifier_foundation::storage::{SessionQuery, SessionStorage};

use crate::storage::{Place, described, id, users};
use crate::storage_process::{finish, other_process, role};

/// Runs `work` and gives the number of flushes with its result.
async fn counted<T>(work: impl Future<Output = T>) -> (u64, T) {
    let before = flushes();
    let result = work.await;
    (flushes() - before, result)
}

/// In a process of its own, where nobody else flushes.
#[tokio::test]
async fn counts_flushes() {
    let Some((_, storage)) = role() else { return };
    let metadata = described(&id("s"));
    let create = counted(storage.create(&id("first"), &metadata)).await;
    create.1.unwrap();
    // home, projects, the project, sessions: one each; the marker: two; the session: three.
    assert_eq!(create.0, 9, "first create in a project");
    let create = counted(storage.create(&id("s"), &metadata)).await;
    assert_eq!((create.0, create.1.unwrap()), (3, ()), "create");
    let many = users(&["a", "b", "c"]);
    let append = counted(storage.append(&id("s"), Activation::FIRST, &many)).await;
    assert_eq!((append.0, append.1.unwrap().0), (1, 3), "append");
    assert_eq!(counted(storage.append(&id("s"), Activation::FIRST, &[])).await.0, 0, "empty append");
    assert_eq!(counted(storage.describe(&id("s"), Activation::FIRST, &metadata)).await.0, 2, "describe");
    assert_eq!(counted(storage.close(&id("s"))).await.0, 0, "close");
    assert_eq!(counted(storage.load(&id("s"))).await.0, 0, "load");
    assert_eq!(counted(storage.list(&SessionQuery::default())).await.0, 0, "list");
    assert_eq!(counted(storage.open(&id("s"), Activation(2))).await.0, 0, "open");
    storage.close(&id("s")).await.unwrap();
    assert_eq!(counted(storage.delete(&id("s"))).await.0, 1, "delete");
    println!("DONE");
}

#[test]
fn each_operation_flushes_as_often_as_it_says() {
    let place = Place::new();
    finish(other_process(&[], "storage_cost::counts_flushes", "count", place.root.path()));
}

async fn median_append(storage: &impl SessionStorage) -> Duration {
    let message = users(&["a message of ordinary length, as people write them"]);
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        storage.append(&id("s"), Activation::FIRST, &message).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    times[100]
}

/// In memory-backed files where there are any: the disk's own noise is larger than the bound.
#[tokio::test]
async fn an_append_to_a_long_transcript_costs_as_much_as_to_a_short_one() {
    let place = match Path::new("/dev/shm") {
        shared if shared.is_dir() => Place::under(shared),
        _ => Place::new(),
    };
    let mut ratios = Vec::new();
    // A busy machine may disturb a round; a cost that grows disturbs all of them.
    for round in 0..8 {
        let storage = place.storage();
        storage.create(&id("s"), &described(&id("s"))).await.unwrap();
        let short = median_append(&storage).await;
        let filler = users(&["filler"; 10_000]);
        storage.append(&id("s"), Activation::FIRST, &filler).await.unwrap();
        let long = median_append(&storage).await;
        storage.close(&id("s")).await.unwrap();
        storage.delete(&id("s")).await.unwrap();
        ratios.push(long.as_secs_f64() / short.as_secs_f64());
        if ratios[round] <= 1.2 {
            return;
        }
    }
    panic!("an append to 10,000 messages costs {ratios:.2?} times one to none");
}
