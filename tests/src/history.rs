//! Whether a store holds what it has acknowledged: in order, once, whole, and nothing else.
//!
//! Writers carry out a [`workload`](crate::workload) and tell what they begin and what was
//! acknowledged. Afterwards, perhaps after a crash and in another process, [`check`] compares the
//! store with the one in memory, which is given the same operations and never crashes: for each
//! writer the store must be as after the acknowledged operations, or as with the one that was
//! under way besides. Whatever lies between the two is half an operation.
//!
//! Guarantees: every row that a workload writes is compared, also those that should not be there;
//! times, sequences, epochs and places are compared as order. Never here: a decision by majority or
//! luck; a flaw is a difference that no order of crashes explains.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use amplifier_core::{Clock, SessionEvent};
use amplifier_foundation::store::{
    Cursor, MemoryStore, RunFilter, SessionFilter, Store, StoreError, reconcile,
};
use serde::Deserialize;

use crate::clock::ManualClock;
use crate::ids::SeededIds;
use crate::workload::{Failed, ROUND, Writer};

/// Rows that are read at once.
const PAGE: usize = 500;

/// How far a writer came, by what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Operations that it began: 0 to this, this one not among them.
    pub begun: usize,
    /// Operations that were acknowledged, likewise.
    pub acknowledged: usize,
}

/// What all writers said, in the order in which it was said.
#[derive(Debug, Clone, Default)]
pub struct Told {
    progress: BTreeMap<String, Progress>,
    /// Pairs of operations of which the first was acknowledged before the second began.
    before: Vec<(Operation, Operation)>,
    last: Vec<Operation>,
    /// Lines that are no news of an operation.
    pub others: Vec<String>,
    /// All that was read.
    pub text: String,
}

/// One operation of one writer.
type Operation = (Arc<str>, usize);

/// Something that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// It was written and is not there.
    Lost(String),
    /// It is there and nobody wrote it.
    Unasked(String),
    /// It is there and not as it was written: what it is, what it should be.
    Differs(String, String, String),
    /// The log has a gap, an event twice, or an order that cannot be.
    Log(String),
    /// A writer said what no writer can say.
    Told(String),
    /// A session has no outcome though its owner is gone and everything was reconciled.
    NoOutcome(String),
}

impl Told {
    /// Reads the lines `begin <writer> <n>` and `ok <writer> <n>`. A last line that was cut off counts
    /// for nothing.
    pub fn read(text: &str) -> Self {
        let mut told = Self { text: text.to_owned(), ..Self::default() };
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            match (words.as_slice(), words.get(2).and_then(|n| n.parse().ok())) {
                (["begin", writer, _], Some(n)) => told.begins(writer, n),
                (["ok", writer, _], Some(n)) => told.acknowledged(writer, n),
                _ => told.others.push(line.to_owned()),
            }
        }
        told
    }

    /// A writer is about to carry out operation `n`.
    pub fn begins(&mut self, writer: &str, n: usize) {
        let operation: Operation = (writer.into(), n);
        self.before.extend(self.last.iter().map(|last| (last.clone(), operation.clone())));
        self.progress.entry(writer.to_owned()).or_default().begun = n + 1;
    }

    /// Operation `n` was acknowledged.
    pub fn acknowledged(&mut self, writer: &str, n: usize) {
        self.last.retain(|(name, _)| **name != *writer);
        self.last.push((writer.into(), n));
        self.progress.entry(writer.to_owned()).or_default().acknowledged = n + 1;
    }

    /// How far a writer came.
    pub fn progress(&self, writer: &str) -> Progress {
        self.progress.get(writer).copied().unwrap_or_default()
    }

    /// Operations that were acknowledged, of all writers.
    pub fn total(&self) -> usize {
        self.progress.values().map(|progress| progress.acknowledged).sum()
    }
}

/// What of a workload is in a store: names of rows and what they hold.
type Facts = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Mark {
    writer: String,
    n: usize,
    part: usize,
    fill: String,
}

/// An event of a workload in the log.
struct Logged {
    event: Arc<SessionEvent>,
    mark: Mark,
}

/// Compares a store with what its writers were told. `Ok`: all flaws, none if all is well, and how
/// many operations of each writer are there.
///
/// `most` is how many operations a writer has at most: rows up to there are looked for.
pub async fn check(
    store: &dyn Store,
    writers: &[Writer],
    told: &Told,
    most: usize,
) -> Result<(Vec<Flaw>, BTreeMap<String, usize>), Failed> {
    let (log, mut flaws) = read_log(store).await?;
    let mut present = BTreeMap::new();
    for writer in writers {
        let progress = told.progress(writer.name());
        let (acknowledged, begun) = (progress.acknowledged, progress.begun);
        if begun > acknowledged + 1 || begun < acknowledged {
            let name = writer.name();
            flaws.push(Flaw::Told(format!("{name} began {begun} and was told of {acknowledged}")));
        }
        let found = facts(store, writer, &log, most).await?;
        let mut best: Option<(usize, Vec<Flaw>)> = None;
        let model = model();
        for n in 0..=begun.max(acknowledged) {
            if n >= acknowledged {
                let (of_model, _) = read_log(&model).await?;
                let differences = compare(&found, &facts(&model, writer, &of_model, most).await?);
                if best.as_ref().is_none_or(|(_, least)| differences.len() < least.len()) {
                    best = Some((n, differences));
                }
            }
            if n < begun.max(acknowledged) {
                writer.perform(&model, n).await?;
            }
        }
        let (n, differences) = best.unwrap_or_default();
        present.insert(writer.name().to_owned(), n);
        flaws.extend(differences);
    }
    flaws.extend(order(&log, told));
    Ok((flaws, present))
}

/// Settles all sessions of which no owner lives, and names those that have no outcome after it.
pub async fn settle_the_lost(
    store: &dyn Store,
    lives: impl Fn(&amplifier_foundation::store::OwnerId) -> bool,
) -> Result<Vec<Flaw>, StoreError> {
    let rows = sessions(store).await?;
    for (number, recovery) in reconcile(&rows, &lives, |_| None).iter().enumerate() {
        let payload = amplifier_core::Payload::null();
        let mut event = amplifier_core::NewEvent::of(amplifier_core::EventType::SessionError, payload);
        event.source = Some(recovery.of.session.clone());
        let id = amplifier_core::EventId(uuid::Uuid::from_u64_pair(u64::MAX, number as u64));
        let at = ManualClock::new().now();
        let event = SessionEvent::seal(event, id, None, "workload".into(), at);
        let _ = store.commit(recovery.settle(event)).await?;
    }
    let without = sessions(store).await?.into_iter().filter(|row| row.settled.is_none());
    Ok(without.map(|row| Flaw::NoOutcome(row.id.to_string())).collect())
}

fn model() -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::new()), &SeededIds::new(1))
}

fn compare(found: &Facts, wanted: &Facts) -> Vec<Flaw> {
    let lost = wanted.keys().filter(|key| !found.contains_key(*key)).map(|key| Flaw::Lost(key.clone()));
    let there = found.iter().filter_map(|(key, is)| match wanted.get(key) {
        None => Some(Flaw::Unasked(key.clone())),
        Some(wanted) if wanted != is => Some(Flaw::Differs(key.clone(), is.clone(), wanted.clone())),
        Some(_) => None,
    });
    lost.chain(there).collect()
}

/// The events of workloads, and flaws of the log as a whole.
async fn read_log(store: &dyn Store) -> Result<(Vec<Logged>, Vec<Flaw>), StoreError> {
    let (events, flaws) = log(store).await?;
    let marked = |event: Arc<SessionEvent>| Some(Logged { mark: event.payload.decode().ok()?, event });
    Ok((events.into_iter().filter_map(marked).collect(), flaws.into_iter().map(Flaw::Log).collect()))
}

/// The whole log, and what is wrong with it: gaps, and events that are there twice.
pub async fn log(store: &dyn Store) -> Result<(Vec<Arc<SessionEvent>>, Vec<String>), StoreError> {
    let (tail, mut flaws, mut log) = (store.tail().await?, Vec::new(), Vec::new());
    let first = match store.events(Cursor { sequence: 0, ..tail }, 1).await {
        Err(StoreError::Gone { oldest }) => oldest.sequence,
        other => other.map(|_| 0)?,
    };
    let (mut cursor, mut ids) = (Cursor { sequence: first, ..tail }, HashSet::new());
    while cursor.sequence < tail.sequence {
        let page = store.events(cursor, PAGE).await?;
        for (event, sequence) in page.events.iter().zip(cursor.sequence..) {
            if event.sequence != Some(sequence) {
                flaws.push(format!("{:?} stands at place {sequence}", event.sequence));
            }
            if !ids.insert(event.id) {
                flaws.push(format!("event {} is there twice", event.id));
            }
        }
        if page.events.is_empty() {
            flaws.push(format!("it ends at {} before its tail {}", cursor.sequence, tail.sequence));
            break;
        }
        log.extend(page.events);
        cursor = page.next;
    }
    Ok((log, flaws))
}

/// What was acknowledged before something else began stands before it.
fn order(log: &[Logged], told: &Told) -> Vec<Flaw> {
    let mut places: HashMap<(&str, usize), usize> = HashMap::new();
    for (place, logged) in log.iter().enumerate() {
        places.entry((&logged.mark.writer, logged.mark.n)).or_insert(place);
    }
    let place = |(writer, n): &Operation| places.get(&(&**writer, *n)).copied();
    let wrong = told.before.iter().filter(|(one, two)| match (place(one), place(two)) {
        (Some(one), Some(two)) => one > two,
        // Lost ones are told elsewhere.
        _ => false,
    });
    wrong
        .map(|(one, two)| Flaw::Log(format!("{two:?} stands before {one:?}, which was there first")))
        .collect()
}

async fn sessions(store: &dyn Store) -> Result<Vec<amplifier_foundation::store::SessionRow>, StoreError> {
    let mut filter = SessionFilter::default();
    let mut all = Vec::new();
    loop {
        let page = store.sessions(&filter).await?;
        let Some(last) = page.last() else { return Ok(all) };
        filter.after = Some(last.id.clone());
        all.extend(page);
    }
}

/// Everything of one writer.
async fn facts(store: &dyn Store, writer: &Writer, log: &[Logged], most: usize) -> Result<Facts, StoreError> {
    let own: Vec<&Logged> = log.iter().filter(|logged| logged.mark.writer == writer.name()).collect();
    let mut facts = Facts::new();
    let name = |logged: &Logged| format!("event {}/{}.{}", writer.name(), logged.mark.n, logged.mark.part);
    for (place, logged) in own.iter().enumerate() {
        let Logged { event, mark } = logged;
        let is = format!("{place}. {} {:?} {} bytes", event.event_type.name(), event.source, mark.fill.len());
        facts.entry(name(logged)).and_modify(|twice| twice.push_str(&format!(" and {is}"))).or_insert(is);
    }
    for round in 0..=most / ROUND {
        round_facts(store, writer, round, &own, &mut facts).await?;
    }
    for counter in ["triggered", "spent"] {
        let count = store.counter(&writer.counter(counter)).await?;
        facts.insert(format!("counter {}/{counter}", writer.name()), count.to_string());
    }
    for (place, command) in store.commands(&writer.peer(), PAGE).await?.iter().enumerate() {
        let is = format!("{} {:?}", command.name, command.payload);
        facts.insert(format!("command {place} of {}", writer.name()), is);
    }
    if let Some(cursor) = store.cursor(&writer.consumer()).await? {
        // Others write between; its own events before it are always the same.
        let before = own.iter().filter(|logged| logged.event.sequence < Some(cursor.sequence)).count();
        facts.insert(format!("cursor of {}", writer.name()), format!("behind {before}"));
    }
    let mut runs = RunFilter::default();
    runs.queue = Some(writer.queue());
    let names: Vec<String> = store.runs(&runs).await?.iter().map(|run| run.id.to_string()).collect();
    facts.insert(format!("runs of {} in order", writer.name()), names.join(" "));
    Ok(facts)
}

async fn round_facts(
    store: &dyn Store,
    writer: &Writer,
    round: usize,
    own: &[&Logged],
    facts: &mut Facts,
) -> Result<(), StoreError> {
    let of = writer.activation(round);
    let mut add = |what: &str, is: Option<String>| {
        if let Some(is) = is {
            facts.insert(format!("{what} of round {round} of {}", writer.name()), is);
        }
    };
    let row = store.session(&of.session).await?;
    let settled = store.settled(&of).await?;
    if row.as_ref().and_then(|row| row.settled.clone()) != settled {
        add("the outcome in the row and by itself", Some("differ".into()));
    }
    add(
        "session",
        row.map(|row| {
            format!("{} {} {:?} {:?} {}", row.activation, row.owner, row.parent, row.bundle, row.root)
        }),
    );
    add(
        "outcome",
        settled.map(|settled| {
            let at = own.iter().position(|logged| logged.event.sequence == Some(settled.sequence));
            let same = at.is_some_and(|at| own[at].event.id == settled.event);
            format!("{:?} {} at {at:?}, its event: {same}", settled.outcome.kind, settled.outcome.output)
        }),
    );
    let grant = store.grant(&of).await?;
    add("grant", grant.map(|grant| format!("{:?} {:?} {:?}", grant.amount, grant.passed_on, grant.spent)));
    let run = store.run(&writer.run(round)).await?;
    add(
        "run",
        run.map(|run| {
            format!("{:?} {} {:?} {:?} {}", run.state, run.attempt, run.session, run.payload, run.queue)
        }),
    );
    add("lease", store.lease(&writer.lease(round)).await?.map(|lease| lease.owner.to_string()));
    add("key", store.key(&writer.key(round)).await?.map(|value| format!("{value:?}")));
    Ok(())
}
