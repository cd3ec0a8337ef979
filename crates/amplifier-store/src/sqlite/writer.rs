//! The thread that writes.
//!
//! Guarantees: what waits is taken as one transaction, with one flush to the disk; whoever waits
//! for a commit is told once it is durable, and after those who listen to the log. What it was
//! handed over before the end is done before the end.
//! Never here: a tokio runtime, and a lock on the queue while the disk works.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionEvent;
use rusqlite::Connection;

use super::answer::{Answers, Reply, unanswered};
use super::apply::Txn;
use super::event::Names;
use super::fault::{Fault, Halt};
use super::marks::Marks;
use super::queue::{Batch, Job, Pace};
use super::sql::run;
use super::{Reader, Shared, open};
use crate::{QueueName, Receipt};

/// Bounds of the time for which those who come late are waited for.
const WINDOW: [Duration; 2] = [Duration::from_micros(100), Duration::from_micros(300)];

/// How long is waited for all who are late at most, where a flush is very slow.
const PATIENCE: Duration = Duration::from_millis(5);

/// What a transaction has written.
pub(super) struct Written {
    pub(super) marks: Marks,
    pub(super) events: Vec<Arc<SessionEvent>>,
    /// Where it has queued runs, and how often that was done before by whomever.
    pub(super) queued: (Vec<QueueName>, u64),
    /// The tail of the log from before it.
    pub(super) began: u64,
    /// True if there is something that other processes want to know.
    news: bool,
}

pub(super) fn work(shared: &Shared) {
    let options = &shared.options;
    let mut database = open::writer(options);
    shared.set_open(database.is_ok());
    let mut names = Names::default();
    let mut answers = Answers::default();
    let mut pace = Pace { expected: 1, window: WINDOW[0], patience: WINDOW[0] };
    let mut told = false;
    while let Some(batch) = shared.queue.take() {
        if told && database.is_err() {
            database = open::writer(options);
            shared.set_open(database.is_ok());
        }
        match &database {
            Ok(conn) if batch.jobs.iter().all(|job| matches!(job, Job::Ready(_))) => {
                note(shared, &mut Reader { conn, names: &mut names }, batch);
            }
            Ok(conn) => {
                let (next, replies) = group(shared, conn, &mut names, pace, batch);
                pace = next;
                answers.give(replies);
            }
            Err(fault) => refuse(shared, batch, fault),
        }
        told = true;
    }
    // Readers first: the last connection puts the write-ahead log away, if it may write.
    shared.pool.close();
}

/// Answers who asks whether the database is open, and takes note of those who listen.
fn note(shared: &Shared, reader: &mut Reader<'_>, batch: Batch) {
    if let (true, Err(error)) = (shared.feed.is_active(), shared.feed.note(reader)) {
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
            Job::Commit { reply: Some(reply), .. } => drop(reply.send(Err(fault.clone().into()))),
            Job::Commit { reply: None, .. } => shared.refuse_post(&fault.clone().into()),
        }
    }
}

/// Carries a batch out as one transaction, with those who come meanwhile; how many to expect next, and
/// what is to be told now.
fn group(
    shared: &Shared,
    conn: &Connection,
    names: &mut Names,
    pace: Pace,
    batch: Batch,
) -> (Pace, Vec<Reply>) {
    let clock = shared.options.clock.as_ref();
    let began = clock.monotonic();
    let waited = Duration::ZERO;
    let mut group = Group { shared, pace, waited, count: 0, units: 0, weight: 0, replies: Vec::new() };
    let news = match group.transact(conn, batch) {
        Err(fault) => group.fail(conn, &fault),
        Ok(written) => {
            if shared.feed.is_active() {
                shared.feed.committed(&mut Reader { conn, names }, &written);
            }
            written.news
        }
    };
    let took = clock.monotonic().saturating_since(began);
    let Group { count, units, replies, .. } = group;
    shared.queue.done(units);
    // Counted before the answers: who is answered now comes again, who is here already came with them.
    let expected = count + shared.queue.len();
    replies.iter().filter_map(Reply::unheard).for_each(|error| shared.refuse_post(error));
    if let (true, Some(instance)) = (news, &shared.options.instance) {
        instance.ring();
    }
    // Where a flush is slow, whoever misses it waits long: up to a quarter of it is spent on them.
    let window = (took / 4).clamp(WINDOW[0], WINDOW[1]);
    (Pace { expected, window, patience: (took / 4).clamp(WINDOW[0], PATIENCE) }, replies)
}

/// A transaction of many.
struct Group<'s> {
    shared: &'s Shared,
    pace: Pace,
    /// How long those who are late were waited for so far. What was carried out meanwhile does not count:
    /// while there is something to do nobody waits for nothing.
    waited: Duration,
    /// How many jobs it has, the room that they take, and how large they are.
    count: usize,
    units: u32,
    weight: u32,
    /// What is told once it is durable.
    replies: Vec<Reply>,
}

impl Group<'_> {
    /// `Err`: nothing of it is there, or nobody knows; all that was answered is in `replies`.
    fn transact(&mut self, conn: &Connection, batch: Batch) -> Result<Written, Fault> {
        let options = &self.shared.options;
        let (mut txn, passage) = match begin(self.shared, conn) {
            Ok(begun) => begun,
            Err(fault) => return Err(self.give_up(batch, fault)),
        };
        let before = (txn.marks.tail, txn.marks.command, txn.marks.queued);
        let mut told = (Vec::new(), Vec::new());
        let mut batch = batch;
        while !batch.jobs.is_empty() {
            self.carry_out(&mut txn, &mut told, batch)?;
            batch = self.more();
        }
        self.shared.queue.recycle(batch.jobs);
        let marks = txn.finish().map_err(fault_of)?;
        if let Some(delay) = options.simulated_flush {
            std::thread::park_timeout(delay);
        }
        super::sql::statement(conn, "COMMIT").map_err(fault_of)?.execute([]).map_err(Fault::of_commit)?;
        drop(passage);
        let news = before != (marks.tail, marks.command, marks.queued);
        Ok(Written { marks, began: before.0, events: told.0, queued: (told.1, before.2), news })
    }

    fn carry_out(
        &mut self,
        txn: &mut Txn<'_>,
        (events, queued): &mut (Vec<Arc<SessionEvent>>, Vec<QueueName>),
        mut batch: Batch,
    ) -> Result<(), Fault> {
        let wanted = self.shared.feed.is_active();
        let mut jobs = std::mem::take(&mut batch.jobs);
        self.take_over(jobs.len(), &batch);
        while let Some(job) = jobs.pop_front() {
            match reply(txn, job) {
                Ok(Some(reply)) => {
                    if let (true, Reply::Receipt(_, Ok(Receipt::Applied(applied)))) = (wanted, &reply) {
                        events.extend(applied.events.iter().cloned());
                        queued.extend(applied.queued.iter().cloned());
                    }
                    self.replies.push(reply);
                }
                Ok(None) => {}
                Err((reply, fault)) => {
                    self.replies.extend(reply);
                    self.replies.extend(jobs.into_iter().filter_map(|job| unanswered(job, &fault)));
                    return Err(fault);
                }
            }
        }
        self.shared.queue.recycle(jobs);
        Ok(())
    }

    fn take_over(&mut self, count: usize, batch: &Batch) {
        self.count += count;
        self.units += batch.units;
        self.weight = self.weight.saturating_add(batch.weight);
    }

    /// Those who came while the others were carried out: they are as many again as before, and would
    /// else wait for the next flush.
    fn more(&mut self) -> Batch {
        let clock = self.shared.options.clock.as_ref();
        let expected = if self.waited < self.pace.patience { self.pace.expected } else { 0 };
        let began = clock.monotonic();
        let batch = self.shared.queue.more(Pace { expected, ..self.pace }, self.count, self.weight);
        self.waited += clock.monotonic().saturating_since(began);
        batch
    }

    /// Answers a batch of which nothing was begun.
    fn give_up(&mut self, mut batch: Batch, fault: Fault) -> Fault {
        let (jobs, posted) = self.give_back(std::mem::take(&mut batch.jobs), &fault);
        self.take_over(jobs.len() + posted, &batch);
        self.replies.extend(jobs.into_iter().filter_map(|job| unanswered(job, &fault)));
        fault
    }

    /// Puts what was posted in again if the store is busy: nobody waits for it who could try again.
    /// Not at the end, which would never come.
    fn give_back(&self, jobs: VecDeque<Job>, fault: &Fault) -> (VecDeque<Job>, usize) {
        let busy = matches!(fault, Fault::Busy(_)) && !self.shared.options.patience.is_zero();
        if !busy || self.shared.is_closed() {
            return (jobs, 0);
        }
        let is_posted = |job: &Job| matches!(job, Job::Commit { reply: None, .. });
        let (posted, jobs): (VecDeque<Job>, VecDeque<Job>) = jobs.into_iter().partition(is_posted);
        let count = posted.len();
        self.shared.queue.give_back(posted);
        (jobs, count)
    }

    /// Takes all back, and says so to all. There is no news.
    fn fail(&mut self, conn: &Connection, fault: &Fault) -> bool {
        if !conn.is_autocommit() {
            // If that fails too, the next transaction says so.
            let _ = run(conn, "ROLLBACK", []);
        }
        self.replies.iter_mut().for_each(|reply| reply.fail(fault));
        false
    }
}

type Passage = Option<crate::instance::Passage>;

fn begin<'c>(shared: &Shared, conn: &'c Connection) -> Result<(Txn<'c>, Passage), Fault> {
    let options = &shared.options;
    let pass = |instance: &Arc<crate::Instance>| instance.pass(options.clock.as_ref(), options.patience);
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
