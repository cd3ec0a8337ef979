//! Rate limits as a matter of all sessions of a process: the port that every model call goes through.
//!
//! Contract of a [`Governor`]: while a key is limited, no call with it is let through; when
//! the time is up one call goes first, and others follow only after it was answered. Calls that
//! wait go in the order in which they came. A future that is dropped leaves the queue, and a call
//! that was let through and is dropped counts as failed. Waiting has no end of its own: how much
//! patience a call has is its caller's.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::MonoTime;

/// Lets model calls through, or has them wait. One for all sessions of a process.
#[async_trait]
pub trait Governor: Send + Sync + std::fmt::Debug {
    /// Lets a call with this key through at once. `Err`: it has to [queue](Governor::queue), until
    /// this time at least, as is known now.
    fn enter(&self, key: &str) -> Result<Pass, MonoTime>;

    /// Waits until a call with this key may go. `told` hears until when that will take at least,
    /// each time that it becomes known anew; it must return at once.
    async fn queue(&self, key: &str, told: &(dyn Fn(MonoTime) + Send + Sync)) -> Pass;

    /// Takes note of what became of a call that was let through. After the first report the call
    /// holds nobody back any more; a second one is for an answer that a limit broke off.
    fn report(&self, key: &str, pass: Pass, verdict: Verdict);
}

/// The permission for one model call, by a number that rises with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pass(pub u64);

/// What a call says about the limit of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The service has begun to answer.
    Answered,
    /// The service refused it because of a limit: 429, 529 or its own word for it.
    Limited {
        /// How long the service asks to wait.
        retry_after: Option<Duration>,
    },
    /// It failed otherwise or was given up, which says nothing.
    Failed,
}

/// A call that was let through, and reports what became of it at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    governor: &'a dyn Governor,
    key: &'a str,
    pass: Pass,
    reported: bool,
}

impl<'a> Permit<'a> {
    pub(crate) fn new(governor: &'a dyn Governor, key: &'a str, pass: Pass) -> Self {
        Self { governor, key, pass, reported: false }
    }

    pub(crate) fn report(&mut self, verdict: Verdict) {
        self.reported = true;
        self.governor.report(self.key, self.pass, verdict);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.report(Verdict::Failed);
        }
    }
}
