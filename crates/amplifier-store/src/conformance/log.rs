//! Clauses on commits as a whole, and on the event log.

use std::sync::{Mutex, PoisonError, Weak};

use super::*;
use crate::{Declined, LogListener, RunMove, RunState};

pub(super) const CLAUSES: &[Clause] = &[
    ("events are numbered from 1 without a gap and read in the order of the writes", |s| {
        Box::pin(ordered(s))
    }),
    ("a page has at most as many events as asked for and says where to read on", |s| Box::pin(pages(s))),
    ("a place that the log does not hold is gone", |s| Box::pin(gone(s))),
    ("a terminal event comes with its settling alone", |s| Box::pin(not_forged(s))),
    ("commits at the same time are each whole", |s| Box::pin(whole(s))),
    ("later writes of a commit see earlier ones", |s| Box::pin(sees_itself(s))),
    ("who listens is told once of each event that was recorded, in the order of the log", |s| {
        Box::pin(told(s))
    }),
    ("an event is read as it was recorded", |s| Box::pin(as_it_was(s))),
    ("an event is found by its id as long as the log holds it", |s| Box::pin(by_id(s))),
    ("what is handed over comes before what is committed later", |s| Box::pin(posted(s))),
];

async fn names(store: &dyn Store, from: Cursor) -> Result<Vec<String>, Found> {
    let page = store.events(from, 100).await?;
    for (sequence, event) in (from.sequence..).zip(&page.events) {
        same("a sequence", event.sequence, Some(sequence))?;
    }
    same("the place behind", page.next.sequence, from.sequence + page.events.len() as u64)?;
    Ok(page.events.iter().map(|event| event.event_type.name().to_owned()).collect())
}

async fn ordered(store: &dyn Store) -> Check {
    let start = store.tail().await?;
    same("the first sequence", start.sequence, 1)?;
    let first = applied(store, Commit::new().write(note("a")?).write(note("b")?)).await?;
    let given: Vec<_> = first.events.iter().map(|event| event.sequence).collect();
    same("the sequences in the receipt", given, vec![Some(1), Some(2)])?;
    same("the tail in the receipt", first.tail, Some(Cursor { sequence: 3, ..start }))?;
    refused(store, Commit::new().write(note("x")?).write(settle("s", 1, "")?), "Stale", |error| {
        matches!(error, StoreError::Stale { .. })
    })
    .await?;
    let counter = Write::AddCounter { counter: CounterName::new("c")?, by: 1 };
    let last = applied(store, Commit::from(note("c")?).write(counter.clone())).await?;
    same("the tail", store.tail().await?, Cursor { sequence: 4, ..start })?;
    same("the tail in the receipt", last.tail, Some(Cursor { sequence: 4, ..start }))?;
    let beside = applied(store, counter).await?.tail;
    same("the tail where nothing was appended", beside, Some(Cursor { sequence: 4, ..start }))?;
    same("the log", names(store, start).await?, vec!["a".into(), "b".into(), "c".into()])
}

async fn pages(store: &dyn Store) -> Check {
    let mut from = store.tail().await?;
    applied(store, Commit::new().write(note("a")?).write(note("b")?).write(note("c")?)).await?;
    for wanted in [2, 1, 0] {
        let page = store.events(from, 2).await?;
        same("the page", page.events.len(), wanted)?;
        from = page.next;
    }
    same("the end", from, store.tail().await?)
}

async fn gone(store: &dyn Store) -> Check {
    let start = store.tail().await?;
    applied(store, Commit::new().write(note("a")?).write(note("b")?).write(note("c")?)).await?;
    applied(store, Write::Prune { before: 3 }).await?;
    let oldest = Cursor { sequence: 3, ..start };
    same("what is left", names(store, oldest).await?, vec!["c".into()])?;
    let tail = store.tail().await?;
    let behind = Cursor { sequence: tail.sequence + 1, ..tail };
    for place in [start, Cursor { sequence: 0, ..start }, Cursor { log: !start.log, ..oldest }, behind] {
        match store.events(place, 1).await {
            Err(StoreError::Gone { oldest: found }) => same("the oldest place", found, oldest)?,
            other => return Err(Found(format!("{place:?} is {other:?}, not gone"))),
        }
    }
    applied(store, Write::Prune { before: u64::MAX }).await?;
    same("the tail after all was pruned", store.tail().await?, tail)?;
    applied(store, note("d")?).await?;
    same("the log", names(store, tail).await?, vec!["d".into()])
}

async fn not_forged(store: &dyn Store) -> Check {
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    applied(store, open("s", 1)?).await?;
    let of = of("s", 1)?;
    let session = Some(of.session.clone());
    let event = |kind, source| Box::new(sealed(kind, source, 1));
    let end = EventType::SessionCompleted;
    refused(store, Write::Append(event(end.clone(), session.clone())), "Malformed", malformed).await?;
    let settle = |number, event| Write::Settle { of: of.clone(), outcome: outcome(number, ""), event };
    let wrong = [(1, EventType::ToolPre, session.clone()), (1, end.clone(), None), (2, end, session)];
    for (number, kind, source) in wrong {
        refused(store, settle(number, event(kind, source)), "Malformed", malformed).await?;
    }
    Ok(())
}

async fn whole(store: &dyn Store) -> Check {
    let start = store.tail().await?;
    let mut commits = Vec::new();
    for number in 0..20 {
        let (a, b) = (note(&format!("{number}-a"))?, note(&format!("{number}-b"))?);
        commits.push(store.commit(Commit::new().write(a).write(b).write(count("n")?)));
    }
    for result in futures_util::future::join_all(commits).await {
        let _ = result?.applied();
    }
    same("the counter", store.counter(&CounterName::new("n")?).await?, 20)?;
    let names = names(store, start).await?;
    same("the number of events", names.len(), 40)?;
    let pairs = names.chunks(2).all(|pair| match pair {
        [a, b] => a.ends_with("-a") && b.ends_with("-b") && a.split('-').next() == b.split('-').next(),
        _ => false,
    });
    same("events of one commit stand together", pairs, true)
}

async fn sees_itself(store: &dyn Store) -> Check {
    let all = Commit::new().write(open("s", 1)?).write(settle("s", 1, "")?).write(open("s", 2)?);
    applied(store, all).await?;
    let session = store.session(&SessionId::new("s")?).await?;
    same("the activation", session.map(|row| row.activation), Some(Activation(2)))
}

async fn posted(store: &dyn Store) -> Check {
    store.post(Commit::new().write(open("s", 1)?).write(settle("s", 1, "kept")?))?;
    store.post(settle("s", 1, "late")?.into())?;
    applied(store, note("a")?).await?;
    let settled = store.settled(&of("s", 1)?).await?;
    same("the outcome", settled.map(|settled| settled.outcome), Some(outcome(1, "kept")))
}

/// Notes what it is told.
#[derive(Default)]
struct Notes {
    // Held to add to it or to copy it.
    sequences: Mutex<Vec<u64>>,
    queues: Mutex<Vec<QueueName>>,
}

impl LogListener for Notes {
    fn recorded(&self, events: &[Arc<SessionEvent>]) {
        let mut sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        sequences.extend(events.iter().filter_map(|event| event.sequence));
    }

    fn missed(&self, _resume: Cursor) {}

    fn commanded(&self) {}

    fn queued(&self, queues: Option<&[QueueName]>) {
        let mut told = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(queues.unwrap_or_default().iter().cloned());
    }
}

impl Notes {
    fn listening(store: &dyn Store) -> Arc<Self> {
        let notes = Arc::new(Self::default());
        let listener: Weak<dyn LogListener> = Arc::downgrade(&(Arc::clone(&notes) as Arc<dyn LogListener>));
        store.listen(listener);
        notes
    }

    fn told(&self) -> Vec<u64> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn told(store: &dyn Store) -> Check {
    applied(store, note("before")?).await?;
    let (first, second) = (Notes::listening(store), Notes::listening(store));
    applied(store, Commit::new().write(note("a")?).write(note("b")?)).await?;
    let Write::Append(event) = note("now")? else { return Err(Found("no event".into())) };
    let id = event.id;
    match store.append_now(Arc::from(event)) {
        Ok(()) => {
            let found = store.event(id).await?.and_then(|event| event.sequence);
            same("the sequence of what was appended at once", found, Some(4))?;
        }
        Err(Declined(event)) => {
            drop(applied(store, Write::Append(Box::new(Arc::unwrap_or_clone(event)))).await?);
        }
    }
    refused(store, Write::Append(Box::new(sealed(EventType::SessionError, None, 1))), "Malformed", |error| {
        matches!(error, StoreError::Malformed { .. })
    })
    .await?;
    applied(store, open("s", 1)?).await?;
    applied(store, settle("s", 1, "")?).await?;
    drop(store.commit(settle("s", 1, "")?.into()).await?);
    drop(second);
    let commits = (0..32).map(|number| note(&format!("n{number}"))).collect::<Result<Vec<_>, _>>()?;
    for result in futures_util::future::join_all(commits.into_iter().map(|write| applied(store, write))).await
    {
        result?;
    }
    same("what the listener was told", first.told(), (2..=37).collect())?;
    for (write, expect) in [
        (enqueue("r", Duration::ZERO)?, 1),
        (Write::MoveRun(RunMove::new(RunId::new("r")?, RunState::Queued, RunState::Leased)), 1),
        (Write::MoveRun(RunMove::new(RunId::new("r")?, RunState::Leased, RunState::Queued)), 2),
    ] {
        applied(store, write).await?;
        let told = first.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        same("the queues that it was told", told, vec![QueueName::new("q")?; expect])?;
    }
    Ok(())
}

async fn by_id(store: &dyn Store) -> Check {
    let written = applied(store, Commit::new().write(note("a")?).write(note("b")?)).await?;
    for event in &written.events {
        let found = store.event(event.id).await?;
        same("the event of an id", found.map(|event| event.sequence), Some(event.sequence))?;
    }
    same("the event of an unknown id", store.event(EventId(uuid::Uuid::from_u128(7))).await?.is_some(), false)
}

async fn as_it_was(store: &dyn Store) -> Check {
    let (leaf, root) = (SessionId::new("leaf")?, SessionId::new("root")?);
    let id = |number| EventId(uuid::Uuid::from_u128(number));
    let start = store.tail().await?;
    let name = CustomName::new("whole").map_err(|error| Found(error.to_string()))?;
    let below = [(None, None), (Some(&leaf), None), (Some(&leaf), Some(&root)), (Some(&root), Some(&root))];
    let mut written = Vec::new();
    for (number, (source, root)) in (1..).zip(below) {
        let mut event =
            NewEvent::custom(name.clone(), serde_json::json!({"text": "a\u{0}\u{1f600}", "n": number}));
        (event.source, event.root) = (source.cloned(), root.cloned());
        (event.causation, event.correlation) =
            (source.map(|_| id(number + 10)), root.map(|_| id(number + 20)));
        event.hops = u32::try_from(number).unwrap_or_default();
        let scope = if number == 2 { "elsewhere" } else { "conformance" };
        let at = Timestamp::from_micros(1_700_000_000_000_000 + number as i64);
        let event = SessionEvent::seal(event, id(number), None, scope.into(), at);
        written.extend(applied(store, Write::Append(Box::new(event))).await?.events);
    }
    let read = store.events(start, 10).await?.events;
    same("the number of events", read.len(), written.len())?;
    for (read, written) in read.iter().zip(&written) {
        same("an event", format!("{read:?}"), format!("{written:?}"))?;
    }
    Ok(())
}
