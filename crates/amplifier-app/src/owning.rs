//! A process that owns a project's background sessions, from its start to its end, whichever program it is.
//!
//! Guarantees: it ends in order at the first signal, at once at the second, and when another process asks.
//! Never here: what is declared, and what a program says before it is ready.

use std::time::Duration;

use amplifier_background::control::{Owner, Progress, Standing, StartError, standings};
use amplifier_core::CancelLevel;
use amplifier_foundation::Host;
use tokio::sync::mpsc;

use crate::beside::{BesideError, BesideRunning};
use crate::command::declared::{refused, undeclared};
use crate::context::Context;
use crate::exit::Failure;
use crate::standing::Log;
use crate::terminal::{Code, Signalled, Signals, plain, say};

/// A host whose sessions run with the settings' permissions and limits, and nobody to ask.
pub async fn host(context: &Context) -> Result<Host, Failure> {
    let permissions = context.permissions(&[], false)?;
    let builder = context.builder(false).permissions(permissions).limits(context.limits());
    builder.open(context.cwd()).await.map_err(|error| Failure::config(&error))
}

/// An owner that has started, and all that stands beside it.
#[derive(Debug)]
pub struct Owning<'a> {
    /// Where its sessions run.
    pub host: &'a Host,
    /// The owner.
    pub owner: Owner,
    /// What stands beside it.
    pub running: BesideRunning,
    /// Where it tells what changes.
    pub log: Log,
    /// What sessions that run may take after the first signal.
    pub drain: Duration,
    /// What ends it.
    pub signals: Signals,
}

impl Owning<'_> {
    /// Runs until it is stopped. `ready` is called as soon as changes are followed; `close` once no session runs,
    /// before what stands beside the owner ends.
    pub async fn serve(
        self,
        ready: impl FnOnce(&Log, &BesideRunning, &[Standing]),
        close: impl FnOnce(),
    ) -> Result<Code, Failure> {
        let Self { host, owner, running, log, drain, mut signals } = self;
        let mut progress = Progress::new(host, owner.manager()).map_err(|error| Failure::work(&error))?;
        let now = standings(host, &owner.declared().sessions).await;
        let (_, now) = now.map_err(|error| Failure::store(&error))?;
        if let Some(warning) = running.warning() {
            say(&plain(&warning));
        }
        ready(&log, &running, &now);
        let (stop, stops) = mpsc::channel(4);
        let mut by: Option<Signalled> = None;
        let mut owning = Box::pin(owner.run(stops));
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut owning => break ended,
                signal = signals.next() => {
                    by.get_or_insert(signal);
                    log.stopping(drain);
                    // A queue that is full holds more stops than are needed.
                    let _ = stop.try_send(CancelLevel::Graceful);
                }
                Some(change) = progress.next() => log.change(&change),
            }
        };
        close();
        running.end().await;
        log.ended(&ended);
        Ok(by.map_or(Code::Success, Signalled::code))
    }
}

/// Why nothing stands beside it.
pub fn not_beside(error: &BesideError) -> Failure {
    match error {
        BesideError::Store(error) => Failure::store(error),
        BesideError::Notify(error) => Failure::work(error),
        other => Failure::config(other),
    }
}

/// Why it owns nothing.
pub fn not_started(error: &StartError) -> Failure {
    match error {
        StartError::Background(error) => refused(error),
        StartError::Store(error) => Failure::store(error),
        StartError::Declared(error) => undeclared(error),
        other => Failure::config(other),
    }
}
