//! Telling those who wait what became of their commits.
//!
//! Guarantees: each is told once, and not before the writer says so. Where many wait, a thread of
//! their own tells them, while the writer has begun with what they commit next; where that thread is
//! behind or cannot be had, the writer tells them.
//! Never here: what is told. Nothing is durable because of an answer.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

use super::fault::Fault;
use super::queue::Job;
use crate::{Receipt, StoreError};

/// Answers that are worth another thread: to wake it costs about as much as a few dozen of them.
const MANY: usize = 128;

/// Groups of answers that the thread may be behind.
const BEHIND: usize = 2;

/// Who is told what.
pub(super) enum Reply {
    Receipt(Option<oneshot::Sender<Result<Receipt, StoreError>>>, Result<Receipt, StoreError>),
    Task(oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>),
}

impl Reply {
    /// Tells of the fault instead, also where the answer was a refusal: it rested on what is not
    /// there now. Of such a commit nothing was written, whatever became of the others.
    pub(super) fn fail(&mut self, fault: &Fault) {
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

    /// What went wrong with a commit that nobody waits for.
    pub(super) fn unheard(&self) -> Option<&StoreError> {
        match self {
            Self::Receipt(None, Err(error)) => Some(error),
            _ => None,
        }
    }

    fn send(self) {
        match self {
            // Whoever asked may have gone.
            Self::Receipt(Some(to), result) => drop(to.send(result)),
            Self::Receipt(None, _) => {}
            Self::Task(to, result) => drop(to.send(result)),
        }
    }
}

/// What a job is told if its transaction fails.
pub(super) fn unanswered(job: Job, fault: &Fault) -> Option<Reply> {
    match job {
        Job::Commit { reply, .. } => Some(Reply::Receipt(reply, Err(fault.clone().into()))),
        Job::Task { reply, .. } => Some(Reply::Task(reply, Err(fault.clone().into()))),
        Job::Ready(reply) => {
            drop(reply.send(Ok(())));
            None
        }
    }
}

/// The writer's way to tell. The thread starts with the first group that is large, and ends, after what
/// it was given, when this is dropped.
#[derive(Default)]
pub(super) struct Answers {
    thread: Option<SyncSender<Vec<Reply>>>,
}

impl Answers {
    pub(super) fn give(&mut self, replies: Vec<Reply>) {
        let left = match replies.len() {
            0..MANY => replies,
            _ => match self.hand_over(replies) {
                Ok(()) => return,
                Err(replies) => replies,
            },
        };
        left.into_iter().for_each(Reply::send);
    }

    fn hand_over(&mut self, replies: Vec<Reply>) -> Result<(), Vec<Reply>> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => match start() {
                Ok(thread) => thread,
                Err(_) => return Err(replies),
            },
        };
        match thread.try_send(replies) {
            Err(TrySendError::Disconnected(replies)) => Err(replies),
            Err(TrySendError::Full(replies)) => {
                self.thread = Some(thread);
                Err(replies)
            }
            Ok(()) => {
                self.thread = Some(thread);
                Ok(())
            }
        }
    }
}

fn start() -> std::io::Result<SyncSender<Vec<Reply>>> {
    let (sender, groups) = sync_channel::<Vec<Reply>>(BEHIND);
    let tell = move || groups.into_iter().flatten().for_each(Reply::send);
    std::thread::Builder::new().name("store-answers".into()).spawn(tell)?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(count: usize) -> (Vec<Reply>, Vec<oneshot::Receiver<Result<(), StoreError>>>) {
        (0..count)
            .map(|_| {
                let (sender, receiver) = oneshot::channel();
                (Reply::Task(sender, Ok(())), receiver)
            })
            .unzip()
    }

    #[test]
    fn everybody_is_told_whatever_the_size_of_a_group_and_though_the_writer_ends() {
        let mut answers = Answers::default();
        let mut waiting = Vec::new();
        for size in [1, MANY - 1, MANY, 10 * MANY, MANY, MANY, MANY, 3] {
            let (replies, receivers) = group(size);
            answers.give(replies);
            waiting.extend(receivers);
        }
        drop(answers);
        for receiver in waiting {
            assert!(receiver.blocking_recv().unwrap().is_ok());
        }
    }

    #[test]
    fn a_large_group_is_told_by_another_thread_and_a_small_one_is_told_at_once() {
        let mut answers = Answers::default();
        let (replies, receivers) = group(MANY - 1);
        answers.give(replies);
        assert!(receivers.into_iter().all(|mut receiver| receiver.try_recv().is_ok()));
        assert!(answers.thread.is_none());
        let (replies, receivers) = group(MANY);
        answers.give(replies);
        assert!(answers.thread.is_some());
        assert!(receivers.into_iter().all(|receiver| receiver.blocking_recv().is_ok()));
    }
}
