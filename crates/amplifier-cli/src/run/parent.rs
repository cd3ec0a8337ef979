//! The session of `--parent-session`, and the project that its tree belongs to.
//!
//! Guarantees: nothing is written; a session that is not there is told with what to do.

use std::path::PathBuf;

use amplifier_core::SessionId;
use amplifier_foundation::Host;
use amplifier_foundation::storage::{self, ProjectScope, StorageError};

use crate::exit::Failure;

/// A parent that was found.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) id: SessionId,
    /// Where its project is, if that is another one.
    pub(super) elsewhere: Option<PathBuf>,
}

/// Finds the parent: in this project, else in those of the same home.
pub(super) async fn find(text: &str, host: &Host) -> Result<Parent, Failure> {
    let look = |scope| storage::resolve_prefix(host.storage().as_ref(), text, scope);
    let unknown = match look(ProjectScope::Current).await {
        Ok(found) => return Ok(Parent { id: found.id, elsewhere: None }),
        Err(error @ StorageError::NotFound { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    match look(ProjectScope::All).await {
        Ok(found) if found.working_dir.is_some() => Ok(Parent { id: found.id, elsewhere: found.working_dir }),
        Err(error @ StorageError::Ambiguous { .. }) => Err(error.into()),
        _ => Err(not_there(unknown)),
    }
}

/// The parent again, in the project that it was found to belong to.
pub(super) async fn confirm(parent: &Parent, host: &Host) -> Result<(), Failure> {
    match host.storage().exists(&parent.id).await? {
        true => Ok(()),
        false => Err(not_there(StorageError::NotFound { id: parent.id.to_string() })),
    }
}

fn not_there(error: StorageError) -> Failure {
    let failure = Failure::from(error);
    let message = format!("--parent-session: {}", failure.message);
    Failure { message, ..failure }.help("`amplifier session list --all` shows those of this project")
}
