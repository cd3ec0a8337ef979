//! Why a program has not run, or not to its end.
//!
//! Guarantees: no message holds a command's text, arguments or variables.

use std::io;

use amplifier_core::module::tool::ToolError;
use amplifier_foundation::process::{Closed, LedgerError};

use super::confinement::Unavailable;

/// Why a program has not run, or not to its end. Its tree is killed by then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Its time had passed before it could begin.
    #[error("the command could not be started in time")]
    TooLate,
    /// The session has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// There is no sandbox as it is asked for.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The system has not started it.
    #[error("starting the program failed")]
    Start(#[source] io::Error),
    /// It could not be recorded, so it has not begun.
    #[error("recording the program failed")]
    Record(#[source] LedgerError),
    /// The system does not tell how it ended.
    #[error("waiting for the program failed")]
    Wait(#[source] io::Error),
}

impl RunError {
    /// Of an error that [`confined`](super::confinement::spawn) or the system has given.
    pub(super) fn starting(error: io::Error) -> Self {
        match error.downcast::<Unavailable>() {
            Ok(unavailable) => Self::Unavailable(unavailable),
            Err(error) => Self::Start(error),
        }
    }
}

impl From<RunError> for ToolError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::TooLate | RunError::Closed(_) | RunError::Unavailable(_) => {
                Self::Refused(error.to_string())
            }
            RunError::Start(source) => Self::failed("starting the program", source),
            RunError::Record(source) => Self::failed("recording the program", source),
            RunError::Wait(source) => Self::failed("waiting for the program", source),
        }
    }
}
