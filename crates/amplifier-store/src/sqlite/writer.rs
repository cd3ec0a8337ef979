//! The thread that writes.
//!
//! Guarantees: what waits is taken as one transaction, with one flush to the disk; whoever waits
//! for a commit is told once it is durable, and after those who listen to the log. What it was
//! handed over before the end is done before the end.
//! Never here: a tokio runtime, and a lock on the queue while the disk works.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionEvent;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::apply::Txn;
use super::event::Names;
use super::fault::{Fault, Halt};
use super::marks::Marks;
use super::queue::{Batch, Job, Pace};
use super::sql::run;
use super::{Reader, Shared, open};
use crate::{Receipt, StoreError};

/// How long the turnstile is waited for.
const TURN: Duration = Duration::from_secs(5);

/// Bounds of the time for which those who come late are waited for.
const WINDOW: [Duration; 2] = [Duration::from_micros(100), Duration::from_micros(300)];

/// Who is told what.
enum Reply {
    Receipt(Option<oneshot::Sender<Result<Receipt, StoreError>>>, Result<Receipt, StoreError>),
    Task(oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>),
}

/// What a transaction has written.
struct Written {
    replies: Vec<Reply>,
    marks: Marks,
    events: Vec<Arc<SessionEvent>>,
    /// True if there is something that other processes want to know.
    news: bool,
}

pub(super) fn work(shared: &Shared) {
    let options = &shared.options;
    let mut database = open::writer(&options.path, options.ids.as_ref());
    shared.set_open(database.is_ok());
    let mut names = Names::default();
    let mut pace = Pace { expected: 1, window: WINDOW[0] };
    let mut told = false;
    while let Some(batch) = shared.queue.take(pace) {
        if told && database.is_err() {
            database = open::writer(&options.path, options.ids.as_ref());
            shared.set_open(database.is_ok());
        }
        match &database {
            Ok(conn) if batch.jobs.iter().all(|job| matches!(job, Job::Ready(_))) => {
                note(shared, &mut Reader { conn, names: &mut names }, batch);
            }
            Ok(conn) => pace = group(shared, conn, &mut names, batch),
            Err(fault) => refuse(shared, batch, fault),
        }
        told = true;
    }
}

/// Answers who asks whether the database is open, and takes note of those who listen.
fn note(shared: &Shared, reader: &mut Reader<'_>, batch: Batch) {
    if let (true, Err(error)) = (shared.feed.is_active(), shared.feed.catch_up(reader)) {
        tracing::warn!(?error, "the log cannot be read; it is tried again");
    }
    for job in batch.jobs {
        let _ = unanswered(job, &Fault::Closed);
    }
}

/// Tells all of a batch that the database is not there.
fn refuse(shared: &Shared, batch: Batch, fault: &Fault) {
    shared.queue.done(batch.units);
    for job in batch.jobs {
        match job {
            Job::Ready(reply) | Job::Task { reply, .. } => drop(reply.send(Err(fault.clone().into()))),
            Job::Commit { reply, .. } => answer(reply, Err(fault.clone().into())),
        }
    }
}

fn answer(reply: Option<oneshot::Sender<Result<Receipt, StoreError>>>, result: Result<Receipt, StoreError>) {
    match (reply, result) {
        // Whoever asked may have gone.
        (Some(reply), result) => drop(reply.send(result)),
        (None, Err(error)) => tracing::warn!(%error, "a commit that nobody waits for was refused"),
        (None, Ok(_)) => {}
    }
}

/// Carries a batch out as one transaction; how many to expect next.
fn group(shared: &Shared, conn: &Connection, names: &mut Names, batch: Batch) -> Pace {
    let clock = shared.options.clock.as_ref();
    let (began, count, units) = (clock.monotonic(), batch.jobs.len(), batch.units);
    let (replies, news) = transact(shared, conn, names, batch.jobs);
    let took = clock.monotonic().saturating_since(began);
    shared.queue.done(units);
    // Counted before the answers: who is answered now comes again, who is here already came with them.
    let expected = count + shared.queue.len();
    for reply in replies {
        match reply {
            Reply::Receipt(to, result) => answer(to, result),
            Reply::Task(to, result) => drop(to.send(result)),
        }
    }
    if let (true, Some(instance)) = (news, &shared.options.instance) {
        instance.ring();
    }
    Pace { expected, window: (took / 4).clamp(WINDOW[0], WINDOW[1]) }
}

fn transact(shared: &Shared, conn: &Connection, names: &mut Names, jobs: Vec<Job>) -> (Vec<Reply>, bool) {
    let mut failed = Vec::new();
    match try_transact(shared, conn, jobs, &mut failed) {
        Ok(written) => {
            let reader = &mut Reader { conn, names };
            if shared.feed.is_active() {
                shared.feed.committed(reader, &written.events, &written.marks);
            }
            (written.replies, written.news)
        }
        Err(fault) => {
            if !conn.is_autocommit() {
                // If that fails too, the next transaction says so.
                let _ = run(conn, "ROLLBACK", []);
            }
            failed.iter_mut().for_each(|reply| reply.fail(&fault));
            (failed, false)
        }
    }
}

/// Before COMMIT nothing is durable: then all that was answered is left in `replies`, to be failed.
fn try_transact(
    shared: &Shared,
    conn: &Connection,
    jobs: Vec<Job>,
    replies: &mut Vec<Reply>,
) -> Result<Written, Fault> {
    let options = &shared.options;
    let mut jobs = jobs.into_iter();
    let begun = begin(shared, conn);
    let (mut txn, passage) = match begun {
        Ok(begun) => begun,
        Err(fault) => {
            replies.extend(jobs.filter_map(|job| unanswered(job, &fault)));
            return Err(fault);
        }
    };
    let tail = (txn.marks.tail, txn.marks.command);
    let mut events = Vec::new();
    let wanted = shared.feed.is_active();
    for job in jobs.by_ref() {
        match reply(&mut txn, job) {
            Ok(Some(reply)) => {
                if let (true, Reply::Receipt(_, Ok(Receipt::Applied(applied)))) = (wanted, &reply) {
                    events.extend(applied.events.iter().cloned());
                }
                replies.push(reply);
            }
            Ok(None) => {}
            Err((reply, fault)) => {
                replies.extend(reply);
                replies.extend(jobs.filter_map(|job| unanswered(job, &fault)));
                return Err(fault);
            }
        }
    }
    let marks = txn.finish().map_err(fault_of)?;
    if let Some(delay) = options.simulated_flush {
        std::thread::park_timeout(delay);
    }
    super::sql::statement(conn, "COMMIT").map_err(fault_of)?.execute([]).map_err(Fault::of_commit)?;
    drop(passage);
    let news = tail != (marks.tail, marks.command);
    Ok(Written { replies: std::mem::take(replies), marks, events, news })
}

type Passage = Option<crate::instance::Passage>;

fn begin<'c>(shared: &Shared, conn: &'c Connection) -> Result<(Txn<'c>, Passage), Fault> {
    let options = &shared.options;
    let pass = |instance: &Arc<crate::Instance>| instance.pass(options.clock.as_ref(), TURN);
    let passage = options.instance.as_ref().map(pass).transpose();
    let passage = passage.map_err(|blocked| Fault::Busy(blocked.holder))?;
    run(conn, "BEGIN IMMEDIATE", []).map_err(fault_of)?;
    let txn = Txn::new(conn, options.clock.now()).map_err(fault_of)?;
    Ok((txn, passage))
}

fn fault_of(halt: Halt) -> Fault {
    match halt {
        Halt::Fault(fault) => fault,
        Halt::Refused(error) => Fault::Damaged(error.to_string()),
    }
}

/// What a job is told if its transaction fails.
fn unanswered(job: Job, fault: &Fault) -> Option<Reply> {
    match job {
        Job::Commit { reply, .. } => Some(Reply::Receipt(reply, Err(fault.clone().into()))),
        Job::Task { reply, .. } => Some(Reply::Task(reply, Err(fault.clone().into()))),
        Job::Ready(reply) => {
            drop(reply.send(Ok(())));
            None
        }
    }
}

fn reply(txn: &mut Txn<'_>, job: Job) -> Result<Option<Reply>, (Option<Reply>, Fault)> {
    match job {
        Job::Commit { commit, reply, .. } => match txn.apply(commit) {
            Err(Halt::Fault(fault)) => Err((Some(Reply::Receipt(reply, Err(fault.clone().into()))), fault)),
            Err(Halt::Refused(error)) => Ok(Some(Reply::Receipt(reply, Err(error)))),
            Ok(receipt) => Ok(Some(Reply::Receipt(reply, Ok(receipt)))),
        },
        Job::Task { task, reply } => match txn.alone(task) {
            Err(Halt::Fault(fault)) => Err((Some(Reply::Task(reply, Err(fault.clone().into()))), fault)),
            Err(Halt::Refused(error)) => Ok(Some(Reply::Task(reply, Err(error)))),
            Ok(()) => Ok(Some(Reply::Task(reply, Ok(())))),
        },
        Job::Ready(reply) => {
            drop(reply.send(Ok(())));
            Ok(None)
        }
    }
}

impl Reply {
    /// Tells of the fault instead, also where the answer was a refusal: it rested on what is not
    /// there now. Of such a commit nothing was written, whatever became of the others.
    fn fail(&mut self, fault: &Fault) {
        let certain = || match fault {
            Fault::InDoubt(source) => Fault::Backend("commit", Arc::clone(source)),
            other => other.clone(),
        };
        match self {
            Self::Receipt(_, result @ Ok(Receipt::Applied(_))) => *result = Err(fault.clone().into()),
            Self::Receipt(_, result) => *result = Err(certain().into()),
            Self::Task(_, result) => *result = Err(fault.clone().into()),
        }
    }
}
