//! Why a task failed.
//!
//! Guarantees: each message names what was run or read, and how it ended.

use std::fmt;
use std::path::PathBuf;

/// Why a task failed.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The command line is wrong.
    Usage(String),
    /// A program could not be started.
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program ended with a failure.
    Failed {
        /// The command line.
        command: String,
        /// How it ended: `exit status: 1`.
        status: String,
        /// The last lines that it wrote to standard error, where they were caught.
        stderr: String,
    },
    /// A file could not be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or an output is not in the expected shape.
    Format {
        /// The file or the program.
        what: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A check printed what it found.
    Found {
        /// The check.
        check: &'static str,
        /// How many places.
        count: usize,
    },
}

impl Error {
    /// 2 for a wrong command line, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// For `map_err`: an I/O error of a file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Start { command, source } => write!(f, "`{command}` does not start: {source}"),
            Self::Failed { command, status, stderr } if stderr.is_empty() => {
                write!(f, "`{command}` failed ({status})")
            }
            Self::Failed { command, status, stderr } => {
                write!(f, "`{command}` failed ({status}): {stderr}")
            }
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Format { what, message } => write!(f, "{what}: {message}"),
            Self::Found { check, count } => write!(f, "{check} found {count} places to mend"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } | Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}
