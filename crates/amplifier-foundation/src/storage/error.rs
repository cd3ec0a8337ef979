//! Why a storage refuses or fails.
//!
//! Guarantees: each message says what to do, and none quotes what a file or message holds.

use std::io;
use std::path::{Path, PathBuf};

use amplifier_core::id::InvalidId;
use amplifier_core::{Activation, SessionId};

/// Why a storage refuses or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such session.
    #[error("session {id} was not found; `amplifier session list` shows those of this project")]
    NotFound {
        /// The id, or the beginning of one.
        id: String,
    },
    /// There is a session of this id already.
    #[error("session {id} exists already; choose another id or resume it")]
    Exists {
        /// The session.
        id: SessionId,
    },
    /// Somebody has the session open for writing, maybe this very process.
    #[error("session {id} is open in {}; end that one first or wait for it", process(.holder))]
    Locked {
        /// The session.
        id: SessionId,
        /// The process that holds it, where it is known.
        holder: Option<u32>,
    },
    /// A newer activation has opened the session; this one may write no more.
    #[error("activation {activation} of session {id} may write no more: activation {current} has opened it")]
    Fenced {
        /// The session.
        id: SessionId,
        /// The activation that was refused.
        activation: Activation,
        /// The newest activation.
        current: Activation,
    },
    /// The session was not opened for writing under this activation.
    #[error("session {id} is not open under activation {activation}; open it before writing")]
    NotOpen {
        /// The session.
        id: SessionId,
        /// The activation that wanted to write.
        activation: Activation,
    },
    /// A line of the transcript is no message. Nothing was changed.
    #[error(
        "{}:{line} is damaged ({reason}); nothing was changed: mend that line or move it to another file{}",
        path.display(), backup_hint(.backup)
    )]
    Damaged {
        /// The transcript.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, without the content.
        reason: String,
        /// An older copy, where another program left one.
        backup: Option<PathBuf>,
    },
    /// The metadata cannot be read. Nothing was changed.
    #[error(
        "{}:{line}:{column} is damaged ({reason}); nothing was changed: mend it, or move the file away to go on \
         with the transcript alone{}",
        path.display(), backup_hint(.backup)
    )]
    DamagedMetadata {
        /// The metadata file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What is wrong, without the content.
        reason: String,
        /// An older copy, where another program left one.
        backup: Option<PathBuf>,
    },
    /// Another program changed a file while the session was open here. Nothing was written.
    #[error("{} was changed by another program while the session was open; resume the session to read it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A message or metadata that could not be read back. Nothing was written.
    #[error("session {id} cannot store this ({reason}); nothing was written")]
    NotStorable {
        /// The session.
        id: SessionId,
        /// What is wrong, without the content.
        reason: String,
    },
    /// The file system failed.
    #[error("could not {action} {}{}", path.display(), io_hint(.source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, for example `append to`.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The beginning of an id fits several sessions.
    #[error("`{prefix}` fits several sessions ({}); give more of the id", list(.matches))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Up to three that fit.
        matches: Vec<SessionId>,
    },
    /// A text is no session id.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// A fork was asked for at a turn that the session does not have.
    #[error("session {id} has {turns} turns, not {asked}; give a turn from 1 to {turns}")]
    NoSuchTurn {
        /// The session.
        id: SessionId,
        /// The turn that was asked for, counted from 1.
        asked: usize,
        /// How many there are.
        turns: usize,
    },
    /// The project folder belongs to another directory whose name looks the same.
    #[error("{} belongs to {}; open this directory again to get a folder of its own", path.display(), owner.display())]
    ProjectTaken {
        /// The project folder.
        path: PathBuf,
        /// The directory that it belongs to.
        owner: PathBuf,
    },
    /// This storage cannot do that.
    #[error("this storage cannot {operation} sessions")]
    Unsupported {
        /// What was asked, for example `list`.
        operation: &'static str,
    },
    /// A storage of another kind failed.
    #[error("the storage could not {action} session {id}")]
    Backend {
        /// The session.
        id: SessionId,
        /// What was tried, for example `save`.
        action: &'static str,
        /// What the storage said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thread of a file operation ended early: the runtime is shutting down.
    #[error("the storage stopped in the middle of an operation; open the session again to see what was kept")]
    Stopped,
}

impl StorageError {
    /// A failure of the file system, for `map_err`.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn not_found(id: &SessionId) -> Self {
        Self::NotFound { id: id.to_string() }
    }
}

/// What is wrong with a JSON text, without quoting it: it may hold secrets.
pub(crate) fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match text.split_once(", expected ") {
        Some((_, expected)) if error.is_data() => format!("expected {expected}"),
        _ if error.is_data() && !text.starts_with("missing field") => "not of the right shape".to_owned(),
        _ => text.to_owned(),
    }
}

fn process(holder: &Option<u32>) -> String {
    match holder {
        Some(holder) if *holder == std::process::id() => format!("this process ({holder})"),
        Some(holder) => format!("process {holder}"),
        None => "another process".to_owned(),
    }
}

fn backup_hint(backup: &Option<PathBuf>) -> String {
    match backup {
        Some(path) => format!("; an older copy is {}", path.display()),
        None => String::new(),
    }
}

fn list(ids: &[SessionId]) -> String {
    ids.iter().map(SessionId::as_str).collect::<Vec<_>>().join(", ")
}

fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "; free some space and resume the session"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; make it writable for this user or set AMPLIFIER_HOME to a folder that is"
        }
        _ => "",
    }
}
