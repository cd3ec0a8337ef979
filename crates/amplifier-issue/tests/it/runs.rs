//! A run's way through an issue.

use std::time::Duration;

use amplifier_core::SessionId;
use amplifier_issue::{Edit, End, IssueStatus, Priority, QueueError};
use amplifier_store::RunState;

use crate::stage::{Stage, id};

fn session(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

#[tokio::test]
async fn one_run_at_most_has_an_issue() {
    for stage in Stage::both() {
        stage.open("a").await;
        let (one, two) = (stage.enqueue("r-1").await, stage.enqueue("r-2").await);
        let a = id("a");
        let (first, second) = tokio::join!(stage.queue.claim(&a, &one), stage.queue.claim(&a, &two));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let (has, lost) = if first.is_ok() { (&one, &two) } else { (&two, &one) };
        assert!(!stage.queue.get(&a).await.unwrap().is_ready());
        let refused = stage.queue.start(&a, lost, &session("s-2")).await.unwrap_err();
        assert!(matches!(refused, QueueError::NotClaimed { .. }));
        stage.queue.start(&a, has, &session("s-1")).await.unwrap();
        let working = stage.queue.get(&a).await.unwrap();
        assert_eq!((working.issue.status, working.session), (IssueStatus::InProgress, Some(session("s-1"))));
        assert!(stage.queue.end(&a, lost, End::Reported).await.is_err());
        stage.queue.end(&a, has, End::Completed { result: "done".into() }).await.unwrap();
        let done = stage.queue.get(&a).await.unwrap();
        assert_eq!(
            (done.issue.status, done.run, done.details.result.as_deref()),
            (IssueStatus::Completed, None, Some("done"))
        );
        let sessions = stage.queue.sessions(&a).await.unwrap();
        assert_eq!(sessions.iter().map(|one| one.session.as_str()).collect::<Vec<_>>(), ["s-1"]);
    }
}

#[tokio::test]
async fn each_end_leaves_the_issue_as_it_says() {
    for (end, status, claimed, retries, round, event) in [
        (End::Failed { reason: "no".into() }, IssueStatus::Failed, false, 1, 0, "failed a"),
        (
            End::Retry { reason: "no".into(), delay: Duration::from_secs(5) },
            IssueStatus::Open,
            true,
            1,
            0,
            "retried a",
        ),
        (End::Escalated { reason: "to research".into() }, IssueStatus::Open, false, 1, 1, "escalated a"),
        (End::Released { reason: "stop".into(), resume: true }, IssueStatus::Open, false, 0, 1, "updated a"),
        (End::Blocked { reason: "no pool".into() }, IssueStatus::Blocked, false, 0, 0, "blocked a"),
        (End::Reported, IssueStatus::Open, false, 0, 1, "updated a"),
    ] {
        let stage = Stage::memory();
        stage.open("a").await;
        let run = stage.enqueue("r-1").await;
        stage.queue.claim(&id("a"), &run).await.unwrap();
        stage.queue.start(&id("a"), &run, &session("s-1")).await.unwrap();
        stage.queue.end(&id("a"), &run, end.clone()).await.unwrap();
        let after = stage.queue.get(&id("a")).await.unwrap();
        let found = (after.issue.status, after.run.is_some(), after.details.retry_count, after.details.round);
        assert_eq!(found, (status, claimed, retries, round), "{end:?}");
        assert_eq!(after.details.resume, matches!(end, End::Released { .. }), "{end:?}");
        assert_eq!(stage.events().await.last().unwrap(), event, "{end:?}");
    }
}

#[tokio::test]
async fn what_the_worker_has_said_itself_stays_and_only_the_claim_ends() {
    let stage = Stage::memory();
    stage.open("a").await;
    stage.open("b>a").await;
    let run = stage.enqueue("r-1").await;
    stage.queue.claim(&id("a"), &run).await.unwrap();
    stage.begin(&run, "s-1").await;
    stage.queue.start(&id("a"), &run, &session("s-1")).await.unwrap();
    stage.queue.ask(&id("a"), "which?").await.unwrap();
    // The answer comes before the session has ended: the issue is free only after that.
    stage.queue.answer(&id("a"), "this").await.unwrap();
    assert!(!stage.queue.get(&id("a")).await.unwrap().is_ready());
    stage.queue.end(&id("a"), &run, End::Completed { result: "I asked".into() }).await.unwrap();
    let after = stage.queue.get(&id("a")).await.unwrap();
    assert!(after.is_ready() && after.details.resume && after.details.result.is_none());
    assert_eq!(after.details.round, 1);

    let run = stage.enqueue("r-2").await;
    stage.queue.claim(&id("a"), &run).await.unwrap();
    stage.begin(&run, "s-1").await;
    stage.queue.start(&id("a"), &run, &session("s-1")).await.unwrap();
    stage.queue.complete(&id("a"), None).await.unwrap();
    assert!(stage.queue.get(&id("b")).await.unwrap().is_ready());
    stage.queue.end(&id("a"), &run, End::Completed { result: "all of it".into() }).await.unwrap();
    let done = stage.queue.get(&id("a")).await.unwrap();
    assert_eq!((done.details.result.as_deref(), done.run), (Some("all of it"), None));
    assert_eq!(stage.events().await.iter().filter(|event| *event == "completed a").count(), 1);
}

#[tokio::test]
async fn a_change_takes_a_waiting_run_back_and_leaves_a_running_one() {
    for stage in Stage::both() {
        stage.open("a").await;
        stage.open("b").await;
        let run = stage.enqueue("r-1").await;
        stage.queue.claim(&id("a"), &run).await.unwrap();
        let mut edit = Edit::default();
        edit.title = Some("another".into());
        let same = stage.queue.update(&id("a"), edit).await.unwrap();
        assert_eq!(same.run.as_ref(), Some(&run), "a title decides no pool");
        let mut edit = Edit::default();
        edit.priority = Some(Priority::new(0).unwrap());
        let changed = stage.queue.update(&id("a"), edit).await.unwrap();
        assert!(changed.is_ready() && changed.details.round == 1);
        assert_eq!(stage.store.run(&run).await.unwrap().unwrap().state, RunState::Cancelled);

        let run = stage.enqueue("r-2").await;
        stage.queue.claim(&id("a"), &run).await.unwrap();
        stage.queue.add_dependency(&id("a"), &id("b")).await.unwrap();
        assert_eq!(stage.store.run(&run).await.unwrap().unwrap().state, RunState::Cancelled);
        assert_eq!(stage.queue.get(&id("a")).await.unwrap().run, None);

        let run = stage.enqueue("r-3").await;
        stage.queue.claim(&id("b"), &run).await.unwrap();
        stage.queue.cancel(&id("b"), Some("no need")).await.unwrap();
        assert_eq!(stage.store.run(&run).await.unwrap().unwrap().state, RunState::Cancelled);
        assert!(stage.queue.get(&id("a")).await.unwrap().is_ready());
    }
}
