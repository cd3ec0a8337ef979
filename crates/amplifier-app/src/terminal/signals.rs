//! SIGINT, SIGTERM, and SIGHUP, which counts as SIGTERM.
//!
//! Guarantees: from the moment this is made none of them kills the process before its session has
//! settled; one that comes while nobody listens is not lost. A SIGHUP that the caller ignores
//! (`nohup`) stays ignored; so far only Linux tells, and elsewhere it ends the process.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use super::Code;
use amplifier_foundation::fs::read;

/// The signal that ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// Ctrl+C.
    Interrupt,
    /// `kill`.
    Terminate,
}

impl Signalled {
    /// Its exit code.
    pub fn code(self) -> Code {
        match self {
            Self::Interrupt => Code::Interrupted,
            Self::Terminate => Code::Terminated,
        }
    }
}

/// The signals that stop a run.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    /// Those that another process hands on.
    handed: Option<Receiver<Signalled>>,
}

/// The bit of SIGHUP in a mask of signals.
const HANGUP: u64 = 1;

impl Signals {
    /// Begins to listen.
    pub fn listen() -> std::io::Result<Self> {
        let hangup = if hangup_counts() { Some(signal(SignalKind::hangup())?) } else { None };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup, handed: None })
    }

    /// The same, and those that another process hands on.
    #[must_use]
    pub fn with(mut self, handed: Receiver<Signalled>) -> Self {
        self.handed = Some(handed);
        self
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signalled {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let handed = async {
            let next = match &mut self.handed {
                Some(handed) => handed.recv().await,
                None => None,
            };
            match next {
                Some(signal) => signal,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = handed => signal,
            _ = self.interrupt.recv() => Signalled::Interrupt,
            _ = self.terminate.recv() => Signalled::Terminate,
            _ = hangup => Signalled::Terminate,
        }
    }
}

/// True if whoever started the process did not ignore SIGHUP.
fn hangup_counts() -> bool {
    let status = read::whole(Path::new("/proc/self/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & HANGUP == 0)
}
