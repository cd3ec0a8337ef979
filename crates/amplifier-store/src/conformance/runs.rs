//! Clauses on runs: the table of steps, attempts, order.

use super::*;
use crate::{Expect, Repeated, RunFilter, RunMove, RunRow, RunState};

pub(super) const CLAUSES: &[Clause] = &[
    ("a run is enqueued once", |s| Box::pin(enqueued_once(s))),
    ("a run takes every legal step and no other", |s| Box::pin(steps(s))),
    ("a run that is elsewhere is refused, with where it is", |s| Box::pin(elsewhere(s))),
    ("a run that was begun anew is refused to who knows its last attempt", |s| Box::pin(begun_anew(s))),
    ("lease, session and run start in one commit or not at all", |s| Box::pin(starts(s))),
    ("what is ready comes by priority and place, and is counted by queue", |s| Box::pin(ready(s))),
    ("a run is found by each session that was an attempt of it", |s| Box::pin(attempts(s))),
    ("a failed attempt is counted and waits; runs come in the order of enqueueing", |s| Box::pin(retries(s))),
];

/// A legal way to each state.
const WAYS: &[&[RunState]] = &[
    &[],
    &[RunState::Leased],
    &[RunState::Leased, RunState::Running],
    &[RunState::Leased, RunState::Running, RunState::Completed],
    &[RunState::Leased, RunState::Running, RunState::Cancelled],
    &[RunState::Leased, RunState::Running, RunState::Dead],
    &[RunState::Leased, RunState::Dead],
    &[RunState::Cancelled],
    &[RunState::Coalesced],
    &[RunState::Skipped],
];

fn step(run: &str, from: RunState, to: RunState) -> Result<Write, InvalidId> {
    let step = RunMove::new(RunId::new(run)?, from, to);
    let starts = to == RunState::Running;
    Ok(Write::MoveRun(if starts { step.session(SessionId::new("s")?) } else { step }))
}

async fn enqueued_once(store: &dyn Store) -> Check {
    applied(store, enqueue("r", Duration::ZERO)?).await?;
    let again = Commit::new().write(note("a")?).write(enqueue("r", Duration::ZERO)?);
    let told =
        matches!(store.commit(again).await?, Receipt::Repeated(Repeated::Run(run)) if run.as_str() == "r");
    same("the second is told", told, true)?;
    same("the tail", store.tail().await?.sequence, 1)?;
    same("the runs", store.runs(&RunFilter::default()).await?.len(), 1)
}

async fn steps(store: &dyn Store) -> Check {
    for (number, way) in WAYS.iter().enumerate() {
        let run = number.to_string();
        applied(store, enqueue(&run, Duration::ZERO)?).await?;
        let mut at = RunState::Queued;
        for next in *way {
            applied(store, step(&run, at, *next)?).await?;
            at = *next;
        }
        for next in RunState::ALL.into_iter().filter(|next| !at.may_become(*next)) {
            let illegal = |error: &StoreError| matches!(error, StoreError::IllegalStep { from, to, .. } if (*from, *to) == (at, next));
            refused(store, step(&run, at, next)?, &format!("no step from {at:?} to {next:?}"), illegal)
                .await?;
        }
        let row = store.run(&RunId::new(&run)?).await?.ok_or(Found("the run is gone".into()))?;
        row.check()?;
        same("the state", row.state, at)?;
    }
    Ok(())
}

async fn elsewhere(store: &dyn Store) -> Check {
    let is = |there: Option<RunState>| move |error: &StoreError| matches!(error, StoreError::RunIs { found, .. } if *found == there);
    let (queued, leased) = (RunState::Queued, RunState::Leased);
    let expect = |state| Ok::<_, InvalidId>(Expect::RunState { run: RunId::new("r")?, state });
    refused(store, step("r", queued, leased)?, "RunIs for no run", is(None)).await?;
    refused(store, Commit::new().when(expect(queued)?), "RunIs for no run", is(None)).await?;
    applied(store, enqueue("r", Duration::ZERO)?).await?;
    let lease = Commit::new().when(expect(queued)?).write(step("r", queued, leased)?);
    applied(store, lease.clone()).await?;
    refused(store, lease, "RunIs for a second taker", is(Some(leased))).await?;
    refused(store, step("r", queued, leased)?, "RunIs for a second taker", is(Some(leased))).await
}

/// A run comes to the same state again: who has read it before must not take that for the same.
async fn begun_anew(store: &dyn Store) -> Check {
    let (queued, leased, running) = (RunState::Queued, RunState::Leased, RunState::Running);
    let run = RunId::new("r")?;
    let at = |state, attempt| Expect::RunAttempt { run: run.clone(), state, attempt };
    let other = |there: Option<RunState>, at: Option<u32>| move |error: &StoreError| matches!(error, StoreError::RunIs { found, attempt, .. } if (*found, *attempt) == (there, at));
    refused(store, Commit::new().when(at(queued, 1)), "RunIs for no run", other(None, None)).await?;
    applied(store, enqueue("r", Duration::ZERO)?).await?;
    for attempt in 1..4 {
        let start = Commit::new().when(at(queued, attempt)).write(step("r", queued, leased)?);
        applied(store, start.write(step("r", leased, running)?)).await?;
        let stale = Commit::new().when(at(running, attempt + 1)).write(step("r", running, queued)?);
        refused(store, stale, "RunIs for another attempt", other(Some(running), Some(attempt))).await?;
        let gone = Commit::new().when(at(queued, attempt));
        refused(store, gone, "RunIs for another state", other(Some(running), None)).await?;
        let again = Commit::new().when(at(running, attempt)).write(step("r", running, queued)?);
        applied(store, again).await?;
    }
    Ok(())
}

async fn starts(store: &dyn Store) -> Check {
    let (queued, leased, running) = (RunState::Queued, RunState::Leased, RunState::Running);
    applied(store, Commit::new().write(enqueue("r", Duration::ZERO)?).write(open("s", 1)?)).await?;
    let start = || {
        let steps = Commit::new().write(step("r", queued, leased)?).write(step("r", leased, running)?);
        Ok::<_, InvalidId>(steps.write(lease("run/r", Duration::from_secs(60))?))
    };
    let runs = |error: &StoreError| matches!(error, StoreError::StillRunning { .. });
    refused(store, start()?.write(open("s", 2)?), "StillRunning", runs).await?;
    let state = async || -> Result<_, Found> { Ok(store.run(&RunId::new("r")?).await?.map(|row| row.state)) };
    same("the run after a refusal", state().await?, Some(queued))?;
    same("the lease after a refusal", store.lease(&LeaseKey::new("run/r")?).await?, None)?;
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    let without = Write::MoveRun(RunMove::new(RunId::new("r")?, leased, running));
    let without = Commit::new().write(step("r", queued, leased)?).write(without);
    refused(store, without, "Malformed without a session", malformed).await?;
    applied(store, start()?.write(open("t", 1)?)).await?;
    same("the run", state().await?, Some(running))
}

fn names(rows: &[RunRow]) -> String {
    rows.iter().map(|row| row.id.as_str()).collect()
}

async fn ready(store: &dyn Store) -> Check {
    let (now, hour, day) = (Duration::ZERO, Duration::from_secs(3_600), Duration::from_secs(86_400));
    let queue = |name: &str| QueueName::new(name);
    same("what is ready of nothing", store.ready_runs(&queue("q")?, 9).await?, Default::default())?;
    for (of, run, priority, delay) in [
        ("q", "a", 0, now),
        ("q", "b", -128, now),
        ("q", "c", 127, now),
        ("q", "d", 127, hour),
        ("p", "e", 5, now),
        ("q", "f", 0, now),
        ("r", "g", 0, day),
        ("r", "h", 1, hour),
    ] {
        applied(store, enqueue_to(of, run, priority, delay)?).await?;
    }
    for (limit, expect) in [(9, "cafb"), (2, "ca"), (0, "")] {
        let found = store.ready_runs(&queue("q")?, limit).await?;
        same("what is ready, in order", names(&found.runs).as_str(), expect)?;
        let wanted = store.run(&RunId::new("d")?).await?.map(|row| row.ready_at);
        same("when the next is", found.next, wanted)?;
    }
    let found = store.ready_runs(&queue("r")?, 9).await?;
    let wanted = store.run(&RunId::new("h")?).await?.map(|row| row.ready_at);
    same("where none is ready", (found.runs.len(), found.next), (0, wanted))?;
    let counts = async || -> Result<_, Found> {
        let mut counts = Vec::new();
        for name in ["p", "q", "r", "s"] {
            counts.push(store.count_queued(&queue(name)?).await?);
        }
        let queues = store.queues().await?.iter().map(|queue| queue.as_str().to_owned()).collect::<String>();
        Ok((counts, queues))
    };
    same("what is queued", counts().await?, (vec![1, 5, 2, 0], "pqr".to_owned()))?;
    let (queued, leased) = (RunState::Queued, RunState::Leased);
    applied(store, Commit::new().write(step("e", queued, leased)?).write(step("c", queued, leased)?)).await?;
    same("what is queued then", counts().await?, (vec![0, 4, 2, 0], "qr".to_owned()))?;
    let told = applied(store, step("c", leased, queued)?).await?.queued;
    same("where a run was queued again", told, vec![queue("q")?])?;
    let found = store.ready_runs(&queue("q")?, 2).await?;
    same("a run that was given back keeps its place", names(&found.runs).as_str(), "ca")?;
    let row = store.run(&RunId::new("b")?).await?.ok_or(Found("the run is gone".into()))?;
    same("the priority", row.priority, -128)
}

async fn attempts(store: &dyn Store) -> Check {
    let (queued, leased, running) = (RunState::Queued, RunState::Leased, RunState::Running);
    let of = async |session: &str| -> Result<String, Found> {
        let rows = store.runs(&RunFilter::of_session(SessionId::new(session)?)).await?;
        Ok(rows.iter().map(|row| row.id.as_str()).collect())
    };
    let start = |run: &str, session: &str| {
        let step = |from, to| Ok::<_, InvalidId>(RunMove::new(RunId::new(run)?, from, to));
        let started = step(leased, running)?.session(SessionId::new(session)?);
        let steps = Commit::from(Write::MoveRun(step(queued, leased)?));
        Ok::<_, InvalidId>(steps.write(Write::MoveRun(started)))
    };
    for (run, session) in [("r", "first"), ("q", "other")] {
        applied(store, enqueue(run, Duration::ZERO)?).await?;
        applied(store, start(run, session)?).await?;
    }
    applied(store, step("r", running, queued)?).await?;
    same("of a session that failed", of("first").await?.as_str(), "r")?;
    let taken = |error: &StoreError| matches!(error, StoreError::RunIs { .. });
    let twice = start("r", "never")?.write(step("q", queued, leased)?);
    refused(store, twice, "RunIs for another run", taken).await?;
    same("of one whose start was refused", of("never").await?.as_str(), "")?;
    applied(store, start("r", "second")?).await?;
    for (session, run) in [("first", "r"), ("second", "r"), ("other", "q"), ("nobody", "")] {
        same(session, of(session).await?.as_str(), run)?;
    }
    Ok(())
}

async fn retries(store: &dyn Store) -> Check {
    let hour = Duration::from_secs(3_600);
    for (run, delay) in [("b", Duration::ZERO), ("c", hour), ("a", Duration::ZERO)] {
        applied(store, enqueue(run, delay)?).await?;
    }
    let listed =
        async |filter: RunFilter| -> Result<String, Found> { Ok(names(&store.runs(&filter).await?)) };
    let ready = async || -> Result<String, Found> {
        Ok(names(&store.ready_runs(&QueueName::new("q")?, 9).await?.runs))
    };
    same("what is ready", ready().await?.as_str(), "ba")?;
    let (queued, leased, running) = (RunState::Queued, RunState::Leased, RunState::Running);
    applied(store, Commit::new().write(step("b", queued, leased)?).write(step("b", leased, running)?))
        .await?;
    let again = RunMove::new(RunId::new("b")?, running, queued).delay(hour).reason("timed out");
    applied(store, Write::MoveRun(again)).await?;
    let row = store.run(&RunId::new("b")?).await?.ok_or(Found("the run is gone".into()))?;
    let found = (row.attempt, row.session, row.reason.as_deref());
    same("attempt, session, reason", found, (2, None, Some("timed out")))?;
    same("what is ready", ready().await?.as_str(), "a")?;
    let all = RunFilter::default;
    same("all, in order", listed(all()).await?.as_str(), "bca")?;
    same("a page", listed(RunFilter { after: row.place, limit: 1, ..all() }).await?.as_str(), "c")?;
    same("of a state", listed(RunFilter { state: Some(running), ..all() }).await?.as_str(), "")?;
    same("of a queue", listed(RunFilter { queue: Some(QueueName::new("p")?), ..all() }).await?.as_str(), "")
}
