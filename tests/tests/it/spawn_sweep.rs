//! `spawn_bundle` interrupted at one moment after another: whatever the moment, a session that
//! exists has one outcome, one terminal event and a result for every tool call.

use std::collections::HashSet;
use std::sync::Arc;

use amplifier_core::{CancelLevel, Role, SessionId};
use amplifier_foundation::storage::MemoryStorage;
use amplifier_foundation::{Host, Shutdown, SpawnRequest, spawn_bundle};
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::faulty::{Fault, FaultyStorage, When};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use crate::spawn::terminals;

/// More moments than a session of two rounds of tools has.
const MOMENTS: usize = 80;

fn stage() -> (Stage, FakeTool) {
    let tool = FakeTool::new("tool-probe", Act::Say("found"));
    let stage = Stage::with_tools([tool.clone()]);
    stage
        .brain
        .then(Step::Call(vec![("probe", json!({})), ("probe", json!({}))]))
        .call("probe")
        .say("the answer");
    (stage, tool)
}

/// A host whose storage lets other tasks run at each of its calls.
fn host(stage: &Stage) -> Host {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::default()), When::From(0), Fault::Yield);
    stage.builder().storage(Arc::new(storage)).in_memory()
}

async fn moments(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// Asserts what holds for the session, if there is one; its outcome's name.
async fn whole(host: &Host, id: &SessionId, tool: &FakeTool, moment: usize) -> String {
    soon("the end of all sessions", host.sessions().idle()).await;
    while host.storage().holder(id).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    let events = terminals(host).await;
    if !host.storage().exists(id).await.unwrap() {
        assert!(events.is_empty() && tool.calls().is_empty(), "moment {moment}");
        return "none".to_owned();
    }
    assert_eq!(events.len(), 1, "moment {moment}");
    let stored = host.storage().load(id).await.unwrap();
    let record = stored.metadata.amplifier;
    assert!(record.outcome.is_some(), "moment {moment}");
    let calls: Vec<String> = stored
        .transcript
        .iter()
        .flat_map(|message| &message.tool_calls)
        .map(|call| call.id.clone())
        .collect();
    let results: Vec<String> = stored
        .transcript
        .iter()
        .filter(|message| message.role == Role::Tool)
        .map(|message| message.tool_call_id.clone().unwrap())
        .collect();
    assert_eq!(results.len(), results.iter().collect::<HashSet<_>>().len(), "moment {moment}: {results:?}");
    assert_eq!(calls, results, "moment {moment}: each call has its result, in order");
    assert_eq!(tool.cleaned(), 1, "moment {moment}");
    record.status.unwrap()
}

#[tokio::test]
async fn a_caller_that_goes_away_at_any_moment() {
    let mut ends = HashSet::new();
    for moment in 0..MOMENTS {
        for keep_open in [false, true] {
            let (stage, tool) = stage();
            let host = host(&stage);
            let id = SessionId::new("swept").unwrap();
            let mut request = SpawnRequest::new("plain", "go").session_id(id.clone());
            if keep_open {
                request = request.keep_open();
            }
            let caller = {
                let host = host.clone();
                tokio::spawn(async move { drop(spawn_bundle(&host, request).await) })
            };
            moments(moment).await;
            caller.abort();
            let returned = caller.await.is_ok();
            if keep_open
                && returned
                && let Some(session) = host.sessions().get(&id)
            {
                soon("the end", session.end()).await;
            }
            // The task that starts the session may not have run yet.
            moments(MOMENTS).await;
            ends.insert(whole(&host, &id, &tool, moment).await);
        }
    }
    assert_eq!(ends, HashSet::from(["none", "cancelled", "completed"].map(str::to_owned)));
}

#[tokio::test]
async fn a_stop_at_any_moment() {
    for level in [CancelLevel::Graceful, CancelLevel::Immediate] {
        let mut ends = HashSet::new();
        for moment in 0..MOMENTS {
            let (stage, tool) = stage();
            let host = host(&stage);
            let id = SessionId::new("swept").unwrap();
            let request = SpawnRequest::new("plain", "go").session_id(id.clone()).background(true);
            let result = soon("the spawn", spawn_bundle(&host, request)).await.unwrap();
            moments(moment).await;
            result.task().cancel(level);
            ends.insert(whole(&host, &id, &tool, moment).await);
        }
        assert_eq!(ends, HashSet::from(["cancelled", "completed"].map(str::to_owned)), "{level:?}");
    }
}

#[tokio::test]
async fn a_shutdown_at_any_moment() {
    let mut ends = HashSet::new();
    for moment in 0..MOMENTS {
        let (stage, tool) = stage();
        let host = host(&stage);
        let mut log = host.router().subscribe("session:end").unwrap();
        let id = SessionId::new("swept").unwrap();
        let spawning = {
            let (host, request) = (host.clone(), SpawnRequest::new("plain", "go").session_id(id.clone()));
            tokio::spawn(async move { spawn_bundle(&host, request).await })
        };
        moments(moment).await;
        soon("the shutdown", host.shutdown(Shutdown::Now)).await;
        let spawned = soon("the spawn", spawning).await.unwrap();
        assert!(host.sessions().is_empty(), "moment {moment}");
        match spawned {
            Err(error) => {
                assert!(error.to_string().contains("shut down"), "moment {moment}: {error}");
                assert!(!host.storage().exists(&id).await.unwrap(), "moment {moment}");
                ends.insert("none".to_owned());
            }
            Ok(result) => {
                let outcome =
                    result.session().try_outcome().expect("a session has its outcome after the shutdown");
                assert!(log.next().await.is_some() && log.next().await.is_none(), "moment {moment}");
                assert_eq!(tool.cleaned(), 1, "moment {moment}");
                ends.insert(outcome.kind.as_str().to_owned());
            }
        }
    }
    assert_eq!(ends, HashSet::from(["none", "cancelled", "completed"].map(str::to_owned)));
}

/// The same with real threads, where moments are not counted: many at once, stopped at random.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_sessions_that_are_stopped_while_they_run() {
    let (stage, _) = stage();
    let host = host(&stage);
    let tasks: Vec<_> = (0..100usize)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move {
                let request = SpawnRequest::new("plain", "go").background(true);
                let result = spawn_bundle(&host, request).await.unwrap();
                moments(number % 13).await;
                result.task().cancel(if number % 2 == 0 {
                    CancelLevel::Immediate
                } else {
                    CancelLevel::Graceful
                });
                result.outcome().await.kind
            })
        })
        .collect();
    for task in tasks {
        soon("a session", task).await.unwrap();
    }
    soon("the end of all sessions", host.sessions().idle()).await;
    assert_eq!(terminals(&host).await.len(), 100);
}
