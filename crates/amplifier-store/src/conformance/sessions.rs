//! Clauses on sessions: one owner, one outcome for each activation.

use super::*;
use crate::{Expect, Repeated, SessionFilter};

pub(super) const CLAUSES: &[Clause] = &[
    ("an activation is settled once, and the second settling is told the first outcome", |s| {
        Box::pin(settled_once(s))
    }),
    ("of many settlings at once one wins", |s| Box::pin(settled_at_once(s))),
    ("an outcome stands with its event, and stays when the session is opened again", |s| {
        Box::pin(outcomes(s))
    }),
    ("a repetition is told even if its conditions do not hold any more", |s| Box::pin(told_first(s))),
    ("an older activation is refused, with the one that was expected and the one there is", |s| {
        Box::pin(fenced(s))
    }),
    ("a session that runs is not opened, and one that was opened keeps its lineage", |s| Box::pin(opened(s))),
    ("a session that was forgotten begins anew, and none that runs is forgotten", |s| Box::pin(forgotten(s))),
    ("sessions are listed by id, filtered, a page at a time", |s| Box::pin(lists(s))),
];

fn stale(error: &StoreError, wanted: u32, there: Option<u32>) -> bool {
    matches!(error, StoreError::Stale { expected, found, .. }
        if expected.0 == wanted && found.map(|found| found.0) == there)
}

async fn settled_once(store: &dyn Store) -> Check {
    applied(store, open("s", 1)?).await?;
    applied(store, settle("s", 1, "first")?).await?;
    let tail = store.tail().await?;
    let again = Commit::new().write(count("n")?).write(settle("s", 1, "second")?).write(note("a")?);
    match store.commit(again).await? {
        Receipt::Repeated(Repeated::Settled { settled, .. }) => {
            same("the outcome", settled.outcome.output.as_str(), "first")?;
        }
        other => return Err(Found(format!("a second settling is {other:?}"))),
    }
    same("the tail", store.tail().await?, tail)?;
    same("the counter", store.counter(&CounterName::new("n")?).await?, 0)
}

async fn settled_at_once(store: &dyn Store) -> Check {
    applied(store, open("s", 1)?).await?;
    let mut commits = Vec::new();
    for number in 0..20 {
        let commit = Commit::new().write(settle("s", 1, &number.to_string())?).write(count("n")?);
        commits.push(store.commit(commit));
    }
    let mut won = 0;
    for result in futures_util::future::join_all(commits).await {
        won += usize::from(result?.applied().is_some());
    }
    same("the winners", won, 1)?;
    same("the counter", store.counter(&CounterName::new("n")?).await?, 1)
}

async fn forgotten(store: &dyn Store) -> Check {
    let session = SessionId::new("s")?;
    let forget = || Commit::from(Write::Forget { session: session.clone() });
    applied(store, forget()).await?;
    applied(store, open("s", 1)?).await?;
    match store.commit(forget()).await {
        Err(StoreError::StillRunning { .. }) => {}
        other => return Err(Found(format!("what runs was forgotten: {other:?}"))),
    }
    applied(store, settle("s", 1, "first")?).await?;
    applied(store, open("s", 2)?).await?;
    applied(store, settle("s", 2, "second")?).await?;
    let tail = store.tail().await?;
    applied(store, forget()).await?;
    same("the row", store.session(&session).await?, None)?;
    same("an outcome", store.settled(&of("s", 1)?).await?, None)?;
    same("the tail", store.tail().await?, tail)?;
    // Another one of its id, also beyond where it was.
    applied(store, forget().write(open("s", 7)?)).await?;
    applied(store, settle("s", 7, "third")?).await?;
    let settled = store.settled(&of("s", 7)?).await?;
    same("the new outcome", settled.map(|settled| settled.outcome.output.clone()), Some("third".into()))
}

async fn outcomes(store: &dyn Store) -> Check {
    applied(store, Commit::new().write(note("a")?).write(open("s", 1)?)).await?;
    same("an outcome before the end", store.settled(&of("s", 1)?).await?, None)?;
    applied(store, settle("s", 1, "one")?).await?;
    let first = store.settled(&of("s", 1)?).await?;
    let row = store.session(&SessionId::new("s")?).await?;
    same("the row's outcome", row.and_then(|row| row.settled), first.clone())?;
    let placed = first.as_ref().map(|settled| (settled.outcome.output.as_str(), settled.sequence));
    same("outcome and place", placed, Some(("one", 2)))?;
    let page = store.events(Cursor { sequence: 2, ..store.tail().await? }, 9).await?;
    let ids: Vec<_> = page.events.iter().map(|event| event.id).collect();
    same("the terminal events", ids, first.iter().map(|settled| settled.event).collect())?;
    applied(store, open("s", 2)?).await?;
    let row = store.session(&SessionId::new("s")?).await?;
    same("the outcome of what runs", row.and_then(|row| row.settled), None)?;
    same("the outcome of the first activation", store.settled(&of("s", 1)?).await?, first)
}

async fn told_first(store: &dyn Store) -> Check {
    applied(store, open("s", 1)?).await?;
    let running = || of("s", 1).map(Expect::SessionRunning);
    let commit = Commit::new().when(running()?).write(settle("s", 1, "")?);
    applied(store, commit.clone()).await?;
    let repeated = matches!(store.commit(commit).await?, Receipt::Repeated(Repeated::Settled { .. }));
    same("the same commit again is told", repeated, true)?;
    let ended = |error: &StoreError| matches!(error, StoreError::Ended { .. });
    refused(store, Commit::new().when(running()?), "Ended", ended).await
}

async fn fenced(store: &dyn Store) -> Check {
    let first = Commit::new().when(Expect::SessionActivation(of("s", 1)?));
    refused(store, first.clone(), "Stale without a session", |error| stale(error, 1, None)).await?;
    refused(store, settle("s", 1, "")?, "Stale without a session", |error| stale(error, 1, None)).await?;
    applied(store, open("s", 1)?).await?;
    applied(store, first.clone()).await?;
    refused(store, settle("s", 2, "")?, "Stale for a later one", |error| stale(error, 2, Some(1))).await?;
    applied(store, settle("s", 1, "")?).await?;
    applied(store, first.clone()).await?;
    applied(store, open("s", 2)?).await?;
    refused(store, first, "Stale for an older one", |error| stale(error, 1, Some(2))).await?;
    let running = Commit::new().when(Expect::SessionRunning(of("s", 1)?));
    refused(store, running, "Stale for an older one", |error| stale(error, 1, Some(2))).await?;
    refused(store, open("s", 2)?, "Stale for a second opening", |error| stale(error, 2, Some(2))).await?;
    refused(store, open("s", 4)?, "Stale for a jump", |error| stale(error, 4, Some(2))).await?;
    applied(store, Commit::new().when(Expect::SessionRunning(of("s", 2)?))).await.map(drop)
}

async fn opened(store: &dyn Store) -> Check {
    let absent = || SessionId::new("s").map(Expect::SessionAbsent);
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    refused(store, open("s", 0)?, "Malformed for activation 0", malformed).await?;
    applied(store, Commit::new().when(absent()?).write(open("s", 5)?)).await?;
    let runs = |error: &StoreError| matches!(error, StoreError::StillRunning { activation: Activation(5), owner, .. } if owner.as_str() == "a");
    refused(store, open("s", 6)?, "StillRunning", runs).await?;
    let exists = |error: &StoreError| matches!(error, StoreError::SessionExists { .. });
    refused(store, Commit::new().when(absent()?), "SessionExists", exists).await?;
    applied(store, settle("s", 5, "")?).await?;
    let id = SessionId::new("s")?;
    let before = store.session(&id).await?;
    let (root, parent, bundle) = (SessionId::new("r")?, Some(SessionId::new("p")?), None);
    let (of, owner) = (of("s", 6)?, owner("b")?);
    applied(store, Write::Open { of, owner, parent, root, bundle }).await?;
    let row = store.session(&id).await?.ok_or(Found("the session is gone".into()))?;
    let place = (row.owner.as_str(), row.activation, row.root == id, row.parent.is_none());
    same("owner, activation, lineage", place, ("b", Activation(6), true, true))?;
    same("the bundle", row.bundle.as_deref(), Some("hash"))?;
    same("the time of its making", Some(row.created), before.map(|row| row.created))
}

async fn lists(store: &dyn Store) -> Check {
    for name in ["c", "a", "b", "d"] {
        applied(store, open(name, 1)?).await?;
    }
    applied(store, settle("b", 1, "")?).await?;
    let listed = async |filter: SessionFilter| -> Result<String, Found> {
        Ok(store.sessions(&filter).await?.iter().map(|row| row.id.as_str()).collect())
    };
    let all = SessionFilter::default;
    same("all", listed(all()).await?.as_str(), "abcd")?;
    same("those that run", listed(SessionFilter::running()).await?.as_str(), "acd")?;
    same("a page", listed(SessionFilter { limit: 2, ..SessionFilter::running() }).await?.as_str(), "ac")?;
    let after = Some(SessionId::new("b")?);
    same("the next", listed(SessionFilter { after, ..SessionFilter::running() }).await?.as_str(), "cd")?;
    same("a tree", listed(SessionFilter { root: Some(SessionId::new("d")?), ..all() }).await?.as_str(), "d")?;
    same("of an owner", listed(SessionFilter { owner: Some(owner("b")?), ..all() }).await?.as_str(), "")
}
