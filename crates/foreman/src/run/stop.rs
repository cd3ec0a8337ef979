//! From signals to how urgently a run stops.
//!
//! Guarantees: the first Ctrl+C is graceful, the second immediate; SIGTERM becomes immediate by itself
//! after [`TERM_GRACE`].

use std::sync::Arc;
use std::time::Duration;

use amplifier_app::terminal::{Signalled, say};
use amplifier_core::{CancelLevel, CancelReason, CancelToken, Clock, MonoTime};

/// How long running tools may take after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// How far a run was asked to stop.
pub(crate) struct Stop {
    token: CancelToken,
    clock: Arc<dyn Clock>,
    /// The first signal.
    pub(crate) signal: Option<Signalled>,
    /// When it becomes immediate.
    due: Option<MonoTime>,
}

impl Stop {
    pub(crate) fn new(token: CancelToken, clock: Arc<dyn Clock>) -> Self {
        Self { token, clock, signal: None, due: None }
    }

    /// A signal has come.
    pub(crate) fn signalled(&mut self, signal: Signalled) {
        let first = self.signal.is_none();
        self.signal.get_or_insert(signal);
        match (first, signal) {
            (true, Signalled::Interrupt) => {
                say("stopping once running tools are done; Ctrl+C again stops at once");
                self.gracefully();
            }
            (true, Signalled::Terminate) => {
                self.gracefully();
                self.due = Some(self.clock.monotonic().saturating_add(TERM_GRACE));
            }
            (false, _) => self.now(),
        }
    }

    /// Lets running tools finish and begins nothing.
    pub(crate) fn gracefully(&self) {
        self.token.cancel(CancelLevel::Graceful, CancelReason::Requested);
    }

    /// Stops everything.
    pub(crate) fn now(&mut self) {
        self.due = None;
        self.token.cancel(CancelLevel::Immediate, CancelReason::Requested);
    }

    /// Resolves when a graceful stop has lasted long enough.
    pub(crate) async fn due(&self) {
        match self.due {
            Some(due) => self.clock.sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}
