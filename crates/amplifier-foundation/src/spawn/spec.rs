//! What is asked of a session, as plain data: it can be kept, sent to another process, and run later.
//!
//! Guarantees: a [`SpawnSpec`] survives serde; one whose bundle is pinned starts a session of exactly
//! that content or none. Live things (a prepared bundle, a storage, a parent's handle) are in the
//! [`SpawnRequest`](super::SpawnRequest) and never here.

use std::path::PathBuf;

use amplifier_core::permission::Permissions;
use amplifier_core::{Cause, Limits, SessionId};
use serde::{Deserialize, Serialize};

use super::context::ContextRequest;
use super::inherit::Inherit;
use crate::bundle::{ProviderPreference, Settings};

/// A bundle as it is named, and the content that it must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BundlePin {
    /// A name, path or URI.
    pub source: String,
    /// BLAKE3 of all its files, in hex. `None`: whatever it holds when the session starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
}

impl BundlePin {
    /// A bundle of whatever content.
    pub fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), content_hash: None }
    }
}

/// Which session is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SpawnTarget {
    /// A new session of a bundle.
    Bundle(BundlePin),
    /// A new session of an agent that the parent may delegate to; `self` is the parent's own kind.
    Agent(String),
    /// A session that exists, finished or cut off.
    Resume(SessionId),
}

/// What is asked of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpawnSpec {
    /// Which session.
    pub target: SpawnTarget,
    /// The user message.
    pub text: String,
    /// Stands behind the message as it is; mentions in it are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// At a resume: another bundle than the one the session had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundlePin>,
    /// The session that spawns this one. At a resume: the session that asks for it; it reaches its own
    /// descendants only, and widens no limit of theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// What it inherits.
    #[serde(default, skip_serializing_if = "Inherit::is_default")]
    pub inherit: Inherit,
    /// What it is told of the parent's conversation.
    #[serde(default, skip_serializing_if = "ContextRequest::is_none")]
    pub context: ContextRequest,
    /// Providers and models that the caller would rather have, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<ProviderPreference>,
    /// The only provider to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Longest answer in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// The id of a new session; made where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// While a session of this key runs, or once one has ended, no second one starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The working directory; the parent's, else the project's, where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Return once the session is recorded and runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// Stay open after the first turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_open: bool,
    /// What the session has begun is not waited for when it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave: bool,
    /// Layers beside those of the host and the parent.
    #[serde(default, skip_serializing_if = "no_layers")]
    pub permissions: Permissions,
    /// Layers that hold in this activation beside all others, and of which no later one knows. What the session
    /// spawns meanwhile keeps them.
    #[serde(default, skip_serializing_if = "no_layers")]
    pub passing: Permissions,
    /// Bounds beside those of the host and the parent.
    #[serde(default)]
    pub limits: Limits,
    /// How long a model call waits out a rate limit, in milliseconds. `None`: as the parent; else 6 hours in
    /// the background, and as the host says in the foreground (2 minutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_patience_ms: Option<u64>,
    /// The event that the session answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Settings of the project named the bundle, and no person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen_by_project: bool,
    /// Further keys for the session's metadata.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub metadata: Settings,
}

fn no_layers(permissions: &Permissions) -> bool {
    permissions.layers().is_empty()
}

impl SpawnSpec {
    /// A spec that asks for nothing but a target and a message.
    pub fn new(target: SpawnTarget, text: impl Into<String>) -> Self {
        Self {
            target,
            text: text.into(),
            input: None,
            bundle: None,
            parent: None,
            inherit: Inherit::default(),
            context: ContextRequest::default(),
            preferences: Vec::new(),
            provider: None,
            model: None,
            max_output_tokens: None,
            session_id: None,
            key: None,
            name: None,
            cwd: None,
            background: false,
            keep_open: false,
            leave: false,
            permissions: Permissions::unrestricted(),
            passing: Permissions::unrestricted(),
            limits: Limits::default(),
            rate_limit_patience_ms: None,
            cause: None,
            chosen_by_project: false,
            metadata: Settings::default(),
        }
    }
}
