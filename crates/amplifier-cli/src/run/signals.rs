//! SIGINT and SIGTERM.
//!
//! Guarantees: from the moment this is made no signal kills the process before its session has
//! settled; a signal that comes while nobody listens is not lost.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Failure, Signalled};

/// The signals that stop a run.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::work(&error));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.interrupt.recv() => Signalled::Interrupt,
            _ = self.terminate.recv() => Signalled::Terminate,
        }
    }
}
