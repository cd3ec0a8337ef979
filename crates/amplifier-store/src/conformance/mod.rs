//! What every store promises, as a suite that any of them can be run against.
//!
//! Guarantees: each clause works on a fresh store and says in its name what it checks. No
//! clause waits or needs a clock that can be turned.
//! Never here: durability across a crash, which only the makers of a store can test.

mod issues;
mod ledgers;
mod log;
mod runs;
mod sessions;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Amount;
use amplifier_core::clock::BoxFuture;
use amplifier_core::id::InvalidId;
use amplifier_core::{
    Activation, CustomName, EventId, EventType, NewEvent, OutcomeKind, Payload, RunId, SessionEvent,
    SessionId, SessionOutcome, Timestamp,
};

use super::{
    ActivationId, Applied, Commit, CounterName, Cursor, DedupKey, LeaseKey, OwnerId, QueueName, Receipt,
    Store, StoreError, Write,
};

/// A clause that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store breaks its contract: {clause}: {found}")]
#[non_exhaustive]
pub struct Breach {
    /// What should hold.
    pub clause: &'static str,
    /// What was found.
    pub found: String,
}

/// Why a clause stops: what was found.
struct Found(String);

impl From<StoreError> for Found {
    fn from(error: StoreError) -> Self {
        Self(format!("{error:?}"))
    }
}

impl From<InvalidId> for Found {
    fn from(error: InvalidId) -> Self {
        Self(error.to_string())
    }
}

type Check = Result<(), Found>;
type Clause = (&'static str, for<'a> fn(&'a dyn Store) -> BoxFuture<'a, Check>);

/// Runs every clause, each on a store that `make` makes: fresh and empty. Returns the names
/// of the clauses, all of which hold.
pub async fn run(make: impl Fn() -> Arc<dyn Store>) -> Result<Vec<&'static str>, Breach> {
    let mut held = Vec::new();
    let all = [log::CLAUSES, sessions::CLAUSES, runs::CLAUSES, ledgers::CLAUSES, issues::CLAUSES];
    for (clause, check) in all.concat() {
        let store = make();
        check(store.as_ref()).await.map_err(|Found(found)| Breach { clause, found })?;
        held.push(clause);
    }
    Ok(held)
}

fn same<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Check {
    if found == wanted { Ok(()) } else { Err(Found(format!("{what}: {found:?}, not {wanted:?}"))) }
}

/// Commits what must be applied.
async fn applied(store: &dyn Store, commit: impl Into<Commit>) -> Result<Applied, Found> {
    match store.commit(commit.into()).await? {
        Receipt::Applied(applied) => Ok(applied),
        Receipt::Repeated(repeated) => Err(Found(format!("{repeated:?} instead of a new commit"))),
    }
}

/// Commits what must be refused, in a group whose other writes must leave no trace.
async fn refused(
    store: &dyn Store,
    commit: impl Into<Commit>,
    wanted: &str,
    fits: impl Fn(&StoreError) -> bool,
) -> Check {
    let before = traces(store).await?;
    let mut commit = commit.into();
    let others = [note("trace")?, count("trace")?, lease("trace", Duration::from_secs(60))?];
    commit.writes.splice(0..0, others);
    match store.commit(commit).await {
        Err(error) if fits(&error) && error.wrote_nothing() => {}
        other => return Err(Found(format!("expected {wanted}, found {other:?}"))),
    }
    same("a refused commit left a trace", traces(store).await?, before)
}

async fn traces(store: &dyn Store) -> Result<(Cursor, u64, bool), Found> {
    let lease = store.lease(&LeaseKey::new("trace")?).await?;
    Ok((store.tail().await?, store.counter(&CounterName::new("trace")?).await?, lease.is_some()))
}

fn owner(name: &str) -> Result<OwnerId, InvalidId> {
    OwnerId::new(name)
}

fn of(session: &str, activation: u32) -> Result<ActivationId, InvalidId> {
    Ok(ActivationId::new(SessionId::new(session)?, Activation(activation)))
}

fn sealed(event_type: EventType, source: Option<SessionId>, number: u128) -> SessionEvent {
    let mut event = NewEvent::of(event_type, Payload::null());
    event.source = source;
    let id = EventId(uuid::Uuid::from_u128(number));
    SessionEvent::seal(event, id, None, "conformance".into(), Timestamp::from_micros(0))
}

/// An event of that name; its id is made of the name.
fn note(name: &str) -> Result<Write, Found> {
    let custom = CustomName::new(name).map_err(|error| Found(error.to_string()))?;
    let number = name.bytes().fold(0, |sum, byte| sum * 256 + u128::from(byte));
    Ok(Write::Append(Box::new(sealed(EventType::Custom(custom), None, number))))
}

fn count(counter: &str) -> Result<Write, InvalidId> {
    Ok(Write::AddCounter { counter: CounterName::new(counter)?, by: 1 })
}

fn lease(key: &str, ttl: Duration) -> Result<Write, InvalidId> {
    Ok(Write::TakeLease { key: LeaseKey::new(key)?, owner: owner("a")?, ttl, over: None })
}

fn key(key: &str) -> Result<Write, InvalidId> {
    let (key, retain) = (DedupKey::new(key)?, Duration::from_secs(3_600));
    Ok(Write::PutKey { key, value: Payload::from(serde_json::json!("first")), retain })
}

fn open(session: &str, activation: u32) -> Result<Write, InvalidId> {
    let (of, owner, root) = (of(session, activation)?, owner("a")?, SessionId::new(session)?);
    Ok(Write::Open { of, owner, parent: None, root, bundle: Some("hash".into()) })
}

fn outcome(activation: u32, output: &str) -> Arc<SessionOutcome> {
    Arc::new(SessionOutcome::new(OutcomeKind::Completed, Activation(activation), output, None))
}

fn settle(session: &str, activation: u32, output: &str) -> Result<Write, InvalidId> {
    let of = of(session, activation)?;
    let event = sealed(EventType::SessionCompleted, Some(of.session.clone()), u128::from(activation));
    Ok(Write::Settle { of, outcome: outcome(activation, output), event: Box::new(event) })
}

fn enqueue(run: &str, delay: Duration) -> Result<Write, InvalidId> {
    enqueue_to("q", run, 0, delay)
}

fn enqueue_to(queue: &str, run: &str, priority: i8, delay: Duration) -> Result<Write, InvalidId> {
    let (run, queue) = (RunId::new(run)?, QueueName::new(queue)?);
    Ok(Write::Enqueue { run, queue, trigger: None, payload: Payload::null(), priority, delay })
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, micro_usd: tokens }
}
