//! Why there is no session, and why a session gave no answer.

use std::sync::Arc;

use amplifier_core::module::MountError;
use amplifier_core::session::BuildError;
use amplifier_core::{SessionId, SessionOutcome};

use crate::bundle::BundleError;
use crate::storage::StorageError;

/// Why no session exists. Nothing was recorded, and nothing ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The bundle could not be resolved.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The session that shall be resumed names no bundle.
    #[error("session {id} does not say which bundle it had; name one")]
    NoBundle {
        /// The session.
        id: SessionId,
    },
    /// A module that cannot be left out does not exist here.
    #[error("there is no {kind} module `{module}`; {help}")]
    UnknownModule {
        /// `orchestrator`, `context`, `provider`, or with strictness any other.
        kind: &'static str,
        /// Its id.
        module: String,
        /// What to do.
        help: String,
    },
    /// No provider is configured.
    #[error(
        "no provider is configured; set ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY or OLLAMA_HOST, or name one in the bundle"
    )]
    NoProvider,
    /// The provider that was asked for is not there.
    #[error("there is no provider `{wanted}`; there are: {known}")]
    UnknownProvider {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A module could not be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The bundle lacks a part that every session needs.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The session could not be recorded or opened.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The working directory is missing.
    #[error("working directory {} cannot be opened", path.display())]
    WorkingDirectory {
        /// The directory.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The host ends, and starts no session any more.
    #[error("the host is shut down and starts no session any more")]
    ShutDown,
    /// The future that asked for the session was dropped before it had started.
    #[error("the caller stopped waiting before the session had started")]
    Abandoned,
    /// The recorded permissions or limits of a session cannot be read.
    #[error("the recorded {what} of session {id} cannot be read; it is not resumed without them")]
    Recorded {
        /// The session.
        id: SessionId,
        /// `permissions` or `limits`.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: amplifier_core::payload::PayloadError,
    },
}

impl SpawnError {
    /// True if a person must change a bundle, a setting or the command line.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Storage(_) | Self::ShutDown | Self::Abandoned)
    }
}

/// A session that did not complete.
#[derive(Debug, Clone, thiserror::Error)]
#[error("session {id} ended as {}{}", outcome.kind.as_str(), reason(outcome))]
#[non_exhaustive]
pub struct SessionFailed {
    /// The session.
    pub id: SessionId,
    /// Its outcome.
    pub outcome: Arc<SessionOutcome>,
    /// What there is of an answer.
    pub partial: String,
}

fn reason(outcome: &SessionOutcome) -> String {
    outcome.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}
