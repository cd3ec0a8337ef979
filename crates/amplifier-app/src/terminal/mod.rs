//! On the way to a terminal: exit codes, signals, standard output, decoration, tables, the log.
//!
//! Guarantees: one set of exit codes; stdout carries results alone; text that somebody else wrote
//! is made harmless before it is shown.
//! Never here: a question.

pub mod bar;
pub mod logging;
mod progress;
mod signals;
mod stdout;
mod style;
mod table;
mod width;

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};

pub use amplifier_core::causes::chain;
pub use progress::{Progress, call_line, rounded};
pub use signals::{Signalled, Signals};
pub use stdout::Stdout;
pub use style::{Style, plain};
pub use table::table;
pub use width::columns;

/// What a process says to its caller. When several apply: 130 or 143, 4, 3, 124, 75, 5, 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Everything that was asked for was done.
    Success = 0,
    /// The agent or its provider failed.
    Failed = 1,
    /// The command line, the settings or the bundle are wrong.
    Usage = 2,
    /// A limit was reached.
    Limit = 3,
    /// A permission was needed and nobody could be asked.
    Permission = 4,
    /// Background sessions or issues were left running, or failed with nobody waiting.
    Abandoned = 5,
    /// A rate limit, or somebody else is at it: safe to try again.
    Temporary = 75,
    /// The time was up.
    TimedOut = 124,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl Code {
    /// The code of this number.
    pub fn of(number: u8) -> Option<Self> {
        let codes = [
            Self::Success,
            Self::Failed,
            Self::Usage,
            Self::Limit,
            Self::Permission,
            Self::Abandoned,
            Self::Temporary,
            Self::TimedOut,
            Self::Interrupted,
            Self::Terminated,
        ];
        codes.into_iter().find(|code| *code as u8 == number)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}

/// Whoever has the terminal, and shows lines in a place of its own.
pub trait Lines: Send + Sync + std::fmt::Debug {
    /// Shows a line. Returns at once.
    fn line(&self, line: &str);
}

// Held to look or to change; a line is shown after it was let go.
static LINES: RwLock<Option<Arc<dyn Lines>>> = RwLock::new(None);

/// From now on [`say`] hands its lines to this one; `None`: they go to stderr again.
pub fn hand_lines_to(lines: Option<Arc<dyn Lines>>) {
    *LINES.write().unwrap_or_else(PoisonError::into_inner) = lines;
}

/// True if somebody has the terminal.
pub(crate) fn is_taken() -> bool {
    LINES.read().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Writes a line to stderr, or shows it where somebody has the terminal. A stderr that is gone changes nothing.
pub fn say(line: &str) {
    let lines = LINES.read().unwrap_or_else(PoisonError::into_inner).clone();
    match lines {
        Some(lines) => lines.line(line),
        None => write_line(line),
    }
}

/// Writes a line to stderr, whoever has the terminal.
pub(crate) fn write_line(line: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(line.as_bytes());
    let _ = stderr.write_all(b"\n");
}

/// Writes a result that is complete; the exit code tells whether it could be written.
pub fn print(text: &str) -> Code {
    let stdout = Stdout::new();
    stdout.write(text);
    stdout.code(Code::Success)
}
