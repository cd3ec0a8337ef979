//! Why a run is not told, not made anew or not dropped.

use amplifier_core::{RunId, SessionId};
use amplifier_foundation::host::ReachError;
use amplifier_foundation::router::RouterError;
use amplifier_foundation::storage::StorageError;
use amplifier_store::{QueueName, RunState, StoreError};

/// Why something was not done to a run, or not told of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// There is no such run.
    #[error("there is no run `{}` in this project; `amplifier runs` shows them", text.escape_debug())]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// Several runs are meant.
    #[error("`{}` may be {found} runs; write its number, or more of its id", text.escape_debug())]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many.
        found: usize,
    },
    /// Only what is dead or cancelled is made anew.
    #[error("run {run} is {}; only a dead or cancelled one is tried again", state.as_str())]
    NotOver {
        /// The run.
        run: RunId,
        /// Where it is.
        state: RunState,
    },
    /// It was made anew before.
    #[error("run {run} was tried again already, as {by}, which is {}", state.as_str())]
    Retried {
        /// The run.
        run: RunId,
        /// The run that it was made anew as.
        by: RunId,
        /// Where that one is.
        state: RunState,
    },
    /// There is nothing left to drop.
    #[error("run {run} is {} already", state.as_str())]
    Over {
        /// The run.
        run: RunId,
        /// How it ended.
        state: RunState,
    },
    /// It changes faster than it can be dropped.
    #[error("run {run} is just being changed by another process; try again")]
    Busy {
        /// The run.
        run: RunId,
    },
    /// The queue is full.
    #[error("queue {queue} is full; try again later")]
    Full {
        /// The queue.
        queue: QueueName,
    },
    /// It is no firing of a background session.
    #[error("{run} is no run of a background session: nothing here can try it again")]
    Foreign {
        /// The run.
        run: RunId,
    },
    /// A worker of an issue that runs no more.
    #[error("session {session}, which works on an issue, has ended already")]
    Ended {
        /// Its session.
        session: SessionId,
    },
    /// The session cannot be asked.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The log cannot be read.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sessions' files.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
