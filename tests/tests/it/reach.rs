//! The sessions of a project, seen through hosts that do not run them.

use std::time::Duration;

use amplifier_core::{CancelLevel, OutcomeKind, SessionId};
use amplifier_foundation::host::{Lines, ReachError, SessionState};
use amplifier_foundation::storage::SessionQuery;
use amplifier_foundation::{Shutdown, SpawnRequest};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;

use crate::spawn::spawn;

const MINUTE: Duration = Duration::from_secs(60);

fn unknown() -> SessionId {
    SessionId::new("nobody").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_of_a_project_see_each_others_sessions() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("finished".into(), gate.clone()));
    let (one, other) = (stage.host_on_disk().await, stage.host_on_disk().await);
    let result = spawn(&one, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let sessions = other.project_sessions();
    let running = sessions.running().await.unwrap();
    assert_eq!(running.iter().map(|row| &row.id).collect::<Vec<_>>(), [result.id()]);
    let listed = other.storage().list(&SessionQuery::default()).await.unwrap();
    let state = sessions.state(&listed[0]).await.unwrap();
    let process = Some(std::process::id());
    assert_eq!(state, SessionState::Running { process, owner: Some(running[0].owner.clone()) });
    // The clock of the stage stands still: what wakes the wait is the word of the store.
    let waiting = {
        let (sessions, id) = (sessions.clone(), result.id().clone());
        tokio::spawn(async move { sessions.wait(&id, MINUTE).await })
    };
    gate.open();
    let outcome = soon("the outcome", waiting).await.unwrap().unwrap().unwrap();
    assert_eq!((outcome.kind, outcome.output.as_str()), (OutcomeKind::Completed, "finished"));
    assert_eq!(sessions.state(&listed[0]).await.unwrap(), SessionState::Ended(OutcomeKind::Completed));
    assert!(sessions.running().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_stopped_through_another_host_and_the_command_is_taken_away() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("half".into(), gate.clone()));
    let (one, other) = (stage.host_on_disk().await, stage.host_on_disk().await);
    let result = spawn(&one, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let sessions = other.project_sessions();
    let owner = sessions.running().await.unwrap()[0].owner.clone();
    sessions.cancel(result.id(), CancelLevel::Graceful).await.unwrap();
    let outcome = soon("the outcome", result.outcome()).await;
    assert_eq!(outcome.kind, OutcomeKind::Cancelled);
    let taken = async {
        while !other.store().commands(&owner, 9).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the command", taken).await;
    let error = sessions.cancel(result.id(), CancelLevel::Immediate).await.unwrap_err();
    assert!(matches!(error, ReachError::Ended { outcome: OutcomeKind::Cancelled, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_sessions_elsewhere_one_or_all_are_waited_for() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.to("slow", Step::Wait("late".into(), gate.clone())).to("quick", Step::Say("early".into()));
    let (one, other) = (stage.host_on_disk().await, stage.host_on_disk().await);
    let slow = spawn(&one, SpawnRequest::new("plain", "slow").background(true)).await;
    gate.reached(1).await;
    let quick = spawn(&one, SpawnRequest::new("plain", "quick").background(true)).await;
    let sessions = other.project_sessions();
    let both = [slow.id().clone(), quick.id().clone()];
    let (first, outcome) = soon("one", sessions.wait_any(&both, MINUTE)).await.unwrap().unwrap();
    assert_eq!((&first, outcome.output.as_str()), (quick.id(), "early"));
    let none = sessions.wait_all(&both, Duration::ZERO).await.unwrap();
    assert!(none[0].1.is_none());
    gate.open();
    let all = soon("both", sessions.wait_all(&both, MINUTE)).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|(_, outcome)| outcome.as_ref().unwrap().output.as_str()).collect();
    assert_eq!(kinds, ["late", "early"]);
    assert!(sessions.wait_any::<SessionId>(&[], MINUTE).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_nobody_knows_is_a_typed_error_and_nothing_is_written() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let sessions = host.project_sessions();
    let id = unknown();
    assert!(matches!(sessions.wait(&id, MINUTE).await, Err(ReachError::Unknown { .. })));
    assert!(matches!(sessions.wait_any(&[&id], MINUTE).await, Err(ReachError::Unknown { .. })));
    assert!(matches!(sessions.cancel(&id, CancelLevel::Immediate).await, Err(ReachError::Unknown { .. })));
    assert!(matches!(sessions.outcome(&id).await, Err(ReachError::Unknown { .. })));
    assert!(matches!(sessions.follow(&id, Lines::Events).await, Err(ReachError::Unknown { .. })));
    assert!(sessions.running().await.unwrap().is_empty());
    assert_eq!(sessions.recover().await.unwrap(), Default::default());
    assert_eq!(sessions.reindex().await.unwrap(), Default::default());
    assert!(!stage.project.home().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_followed_message_by_message_to_its_end() {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.then(Step::Wait("finished".into(), gate.clone()));
    let (one, other) = (stage.host_on_disk().await, stage.host_on_disk().await);
    let result = spawn(&one, SpawnRequest::new("plain", "go").background(true)).await;
    gate.reached(1).await;
    let mut followed = other.project_sessions().follow(result.id(), Lines::Events).await.unwrap();
    assert_eq!(followed.lines(), Lines::Transcript);
    let first = soon("a message", followed.next()).await.unwrap().unwrap();
    assert!(first.len() == 1 && first[0].contains("\"go\""), "{first:?}");
    gate.open();
    soon("the end", result.outcome()).await;
    let last = soon("the answer", followed.next()).await.unwrap().unwrap();
    assert!(last.len() == 1 && last[0].contains("finished"), "{last:?}");
    assert_eq!(soon("the end", followed.next()).await.unwrap(), None);
    assert_eq!(followed.outcome().unwrap().output, "finished");
    one.shutdown(Shutdown::Now).await;
}
