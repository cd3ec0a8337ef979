//! What a caller asks for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::permission::Permissions;
use amplifier_core::{Limits, SessionId};
use serde_json::{Map, Value};

use crate::bundle::PreparedBundle;

/// A bundle by name, path or URI, or one that was prepared before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BundleRef {
    /// A name, path or URI.
    Named(String),
    /// A prepared bundle.
    Prepared(Arc<PreparedBundle>),
}

impl From<&str> for BundleRef {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<String> for BundleRef {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl From<Arc<PreparedBundle>> for BundleRef {
    fn from(bundle: Arc<PreparedBundle>) -> Self {
        Self::Prepared(bundle)
    }
}

/// Which session is wanted.
#[derive(Debug, Clone)]
pub(super) enum Target {
    New(BundleRef),
    Resume(SessionId),
}

/// A request for a session.
#[derive(Debug, Clone)]
#[must_use]
pub struct SpawnRequest {
    pub(super) target: Target,
    pub(super) text: String,
    pub(super) context: Option<String>,
    pub(super) bundle: Option<BundleRef>,
    pub(super) chosen_by_project: bool,
    pub(super) session_id: Option<SessionId>,
    pub(super) name: Option<String>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) background: bool,
    pub(super) keep_open: bool,
    pub(super) permissions: Permissions,
    pub(super) limits: Limits,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) metadata: Map<String, Value>,
}

impl SpawnRequest {
    /// A new session of a bundle, with its first user message.
    pub fn new(bundle: impl Into<BundleRef>, text: impl Into<String>) -> Self {
        Self::of(Target::New(bundle.into()), text.into())
    }

    /// A session that exists, finished or cut off, with its next user message.
    pub fn resume(session: SessionId, text: impl Into<String>) -> Self {
        Self::of(Target::Resume(session), text.into())
    }

    fn of(target: Target, text: String) -> Self {
        Self {
            target,
            text,
            context: None,
            bundle: None,
            chosen_by_project: false,
            session_id: None,
            name: None,
            cwd: None,
            background: false,
            keep_open: false,
            permissions: Permissions::unrestricted(),
            limits: Limits::default(),
            provider: None,
            model: None,
            max_output_tokens: None,
            metadata: Map::new(),
        }
    }

    /// Text that no person typed, such as what was piped in: it stands behind the first user message,
    /// or is that message where there is none, and mentions in it are not followed.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// At a resume: another bundle than the one the session had.
    pub fn bundle(mut self, bundle: impl Into<BundleRef>) -> Self {
        self.bundle = Some(bundle.into());
        self
    }

    /// True: no person named the bundle, settings of the project did. Where nobody vouches for the
    /// project, its providers may send no key elsewhere, now and at every resume.
    pub fn chosen_by_project(mut self, chosen: bool) -> Self {
        self.chosen_by_project = chosen;
        self
    }

    /// The id of a new session; a random UUID without it.
    pub fn session_id(mut self, id: SessionId) -> Self {
        self.session_id = Some(id);
        self
    }

    /// A name for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The working directory; the host's project directory without it.
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// True: `spawn_bundle` returns once the session is recorded and running.
    pub fn background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// The session stays open after its first turn, until it is ended.
    pub fn keep_open(mut self) -> Self {
        self.keep_open = true;
        self
    }

    /// How long the session may run, all its turns together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.limits.timeout_ms = Some(self.limits.timeout_ms.map_or(millis, |old| old.min(millis)));
        self
    }

    /// Layers beside the host's; all of them must allow.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Bounds beside the host's; the tighter counts. At a resume those that are named here replace the
    /// recorded ones, the others stay.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = self.limits.stricter(&limits);
        self
    }

    /// The provider to use, by name, module or instance id.
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// The model to use.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Longest answer in tokens.
    pub fn max_output_tokens(mut self, tokens: u64) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// Further keys for the session's metadata; the session's own keys win.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = metadata;
        self
    }
}

impl<B: Into<BundleRef>, T: Into<String>> From<(B, T)> for SpawnRequest {
    fn from((bundle, text): (B, T)) -> Self {
        Self::new(bundle, text)
    }
}
