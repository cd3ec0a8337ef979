//! Two queues at one store, at once.

use std::sync::Arc;

use amplifier_issue::{Actor, IssueFilter, NewIssue, QueueError};

use crate::model::consistent;
use crate::stage::{Stage, id, new};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_two_do_at_once_loses_nothing_and_counts_right() {
    let stage = Arc::new(Stage::sqlite());
    for n in 0..6 {
        stage.open(&format!("n{n}")).await;
    }
    let mut tasks = Vec::new();
    for hand in 0..4_usize {
        let stage = Arc::clone(&stage);
        tasks.push(tokio::spawn(async move {
            let queue = stage.queue.by(Actor::new(format!("hand-{hand}")));
            let mut done = 0;
            for step in 0..40_usize {
                let mix = hand * 31 + step * 17;
                let (one, two) = (id(&format!("n{}", mix % 6)), id(&format!("n{}", (mix / 6 + hand) % 6)));
                let result = match (step + hand) % 6 {
                    0 => queue.complete(&one, None).await.map(drop),
                    1 => queue.add_dependency(&one, &two).await.map(drop),
                    2 => queue.reopen(&one, None).await.map(drop),
                    3 => queue.open(new(&format!("h{hand}-{step}>{one}"))).await.map(drop),
                    4 => queue.remove_dependency(&one, &two).await.map(drop),
                    _ => queue.close(&one, None).await.map(drop),
                };
                match result {
                    Ok(()) => done += 1,
                    Err(QueueError::Store(error)) => panic!("{error}"),
                    Err(_) => {}
                }
            }
            done
        }));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert!(done > 40, "only {done} steps were taken");
    consistent(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edges_that_two_add_at_once_never_close_a_circle() {
    for round in 0..10 {
        let stage = Arc::new(Stage::sqlite());
        for short in ["a", "b>a", "c", "d>c"] {
            stage.open(short).await;
        }
        let add = |from: &'static str, to: &'static str| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { stage.queue.add_dependency(&id(from), &id(to)).await.is_ok() })
        };
        // Each alone is fine, and both write rows that the other does not.
        let (one, two) = (add("a", "d"), add("c", "b"));
        assert!(one.await.unwrap() != two.await.unwrap(), "round {round}");
        consistent(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ids_that_were_not_given_are_new_whoever_makes_them() {
    let stage = Arc::new(Stage::sqlite());
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move {
                for _ in 0..10 {
                    stage.queue.open_many(&vec![NewIssue::new("t", ""); 3]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(stage.queue.list(&IssueFilter::default()).await.unwrap().len(), 120);
}
