//! Why there is no session, and why a session gave no answer.

use std::sync::Arc;

use amplifier_core::budget::BudgetRefusal;
use amplifier_core::limits::LimitReached;
use amplifier_core::module::MountError;
use amplifier_core::session::BuildError;
use amplifier_core::{SessionId, SessionOutcome};

use super::preferences::PreferenceError;
use crate::bundle::BundleError;
use crate::storage::StorageError;
use amplifier_store::StoreError;

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
    /// None of the preferred models exists.
    #[error(transparent)]
    Preference(#[from] PreferenceError),
    /// The agent that was asked for is not there.
    #[error("there is no agent `{wanted}` here; there are: {known}")]
    UnknownAgent {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// An agent without a parent.
    #[error("agent `{agent}` has no parent session whose agent it could be; name the parent")]
    NoParent {
        /// The agent.
        agent: String,
    },
    /// A session asks for one that is not below it.
    #[error(
        "session {session} was not started by session {asker} or its children; use an id that they returned"
    )]
    NotDescendant {
        /// What was asked for.
        session: SessionId,
        /// Who asked.
        asker: SessionId,
    },
    /// The tool runs in a session that `spawn_bundle` has not started.
    #[error("this session cannot spawn others; it was not started by a host")]
    NoSpawner,
    /// A limit of the tree of sessions is reached. Nothing was spawned.
    #[error("not spawned: {0}")]
    Limit(#[from] LimitReached),
    /// The budget of the parent or an ancestor is used up. Nothing was spawned.
    #[error("not spawned: {0}")]
    Budget(#[from] BudgetRefusal),
    /// The bundle does not hold any more what the spec was pinned to.
    #[error("bundle {bundle} has changed: it was pinned to {wanted} and is {found}; pin it again")]
    BundleChanged {
        /// The bundle.
        bundle: String,
        /// The hash that was pinned.
        wanted: String,
        /// The hash that it has.
        found: String,
    },
    /// A session of this key runs somewhere else.
    #[error("session {session} of this key is running already, owned by {owner}; wait for it there")]
    AlreadyRunning {
        /// The session.
        session: SessionId,
        /// Who runs it.
        owner: String,
    },
    /// A key is malformed.
    #[error(transparent)]
    Key(#[from] amplifier_core::id::InvalidId),
    /// What is kept under a key is no session.
    #[error("the session of this key cannot be read; use another key")]
    KeyValue(#[source] amplifier_core::payload::PayloadError),
    /// The store could not take the session.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Starting the session panicked.
    #[error("the session could not be started: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
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
        /// `permissions`, `limits` or `spawn record`.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: amplifier_core::payload::PayloadError,
    },
}

impl SpawnError {
    /// True if a person must change a bundle, a setting or the command line.
    pub fn is_configuration(&self) -> bool {
        let of_the_moment = matches!(
            self,
            Self::Storage(_)
                | Self::Store(_)
                | Self::ShutDown
                | Self::Abandoned
                | Self::AlreadyRunning { .. }
        );
        !of_the_moment && !self.is_limit() && !matches!(self, Self::Panicked { .. })
    }

    /// True if a limit or budget refused the session.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Limit(_) | Self::Budget(_))
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
