//! What a caller asks for: a spec, and the live things beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Budget;
use amplifier_core::module::tool::ToolContext;
use amplifier_core::permission::Permissions;
use amplifier_core::{AmplifierSession, Cause, Limits, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SpawnError;
use super::answer::AnswerCheck;
use super::context::ContextRequest;
use super::inherit::Inherit;
use super::spec::{BundlePin, SpawnSpec, SpawnTarget};
use super::together::Together;
use crate::bundle::{PreparedBundle, ProviderPreference};
use crate::host::Host;
use crate::storage::SessionStorage;

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

impl BundleRef {
    fn apart(self) -> (BundlePin, Option<Arc<PreparedBundle>>) {
        match self {
            Self::Named(name) => (BundlePin::new(name), None),
            Self::Prepared(bundle) => (BundlePin::new(bundle.name.as_str()), Some(bundle)),
        }
    }
}

/// A session that spawns another one. One that does not run any more, or runs elsewhere, lends its
/// recorded permissions, limits, working directory and bundle.
#[derive(Debug, Clone)]
pub struct ParentRef(pub(super) SessionId);

impl From<&AmplifierSession> for ParentRef {
    fn from(session: &AmplifierSession) -> Self {
        Self(session.id().clone())
    }
}

impl From<SessionId> for ParentRef {
    fn from(id: SessionId) -> Self {
        Self(id)
    }
}

impl From<&SessionId> for ParentRef {
    fn from(id: &SessionId) -> Self {
        Self(id.clone())
    }
}

impl From<&ToolContext<'_>> for ParentRef {
    fn from(cx: &ToolContext<'_>) -> Self {
        Self(cx.env.session.clone())
    }
}

/// Which provider and model a session shall use; what its children go on with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Wish {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_output_tokens: Option<u64>,
}

/// A request for a session.
#[derive(Debug, Clone)]
#[must_use]
pub struct SpawnRequest {
    pub(super) spec: SpawnSpec,
    /// The target's bundle, prepared.
    pub(super) prepared: Option<Arc<PreparedBundle>>,
    /// The bundle that a resume shall have instead, prepared.
    pub(super) prepared_instead: Option<Arc<PreparedBundle>>,
    pub(super) storage: Option<Arc<dyn SessionStorage>>,
    /// Of a session without a parent: the budget that it shares with others.
    pub(super) within: Option<Arc<Budget>>,
    /// What becomes durable together with the session's beginning and end.
    pub(super) together: Option<Arc<dyn Together>>,
    /// What checks the session's answers.
    pub(super) check: Option<Arc<dyn AnswerCheck>>,
}

impl From<SpawnSpec> for SpawnRequest {
    fn from(spec: SpawnSpec) -> Self {
        Self {
            spec,
            prepared: None,
            prepared_instead: None,
            storage: None,
            within: None,
            together: None,
            check: None,
        }
    }
}

impl SpawnRequest {
    /// A new session of a bundle, with its first user message.
    pub fn new(bundle: impl Into<BundleRef>, text: impl Into<String>) -> Self {
        let (pin, prepared) = bundle.into().apart();
        Self { prepared, ..SpawnSpec::new(SpawnTarget::Bundle(pin), text).into() }
    }

    /// A session that exists, finished or cut off, with its next user message.
    pub fn resume(session: SessionId, text: impl Into<String>) -> Self {
        SpawnSpec::new(SpawnTarget::Resume(session), text).into()
    }

    /// A new session of an agent that `parent` may delegate to, or of its own kind for `self`.
    pub fn agent(parent: impl Into<ParentRef>, agent: impl Into<String>, text: impl Into<String>) -> Self {
        Self::from(SpawnSpec::new(SpawnTarget::Agent(agent.into()), text)).parent(parent)
    }

    /// What is asked for, as plain data. A bundle that was given prepared is named in it by its name.
    pub fn spec(&self) -> &SpawnSpec {
        &self.spec
    }

    /// The spec with its bundle pinned by content: a session started from it later has exactly what
    /// the bundle holds now, or does not start.
    pub async fn pinned(&self, host: &Host) -> Result<SpawnSpec, SpawnError> {
        let mut spec = self.spec.clone();
        if let SpawnTarget::Bundle(pin) = &mut spec.target {
            let bundle = match &self.prepared {
                Some(bundle) => Arc::clone(bundle),
                None => host.prepare(&pin.source).await?,
            };
            pin.source.clone_from(&bundle.source);
            pin.content_hash = Some(bundle.content_hash.clone());
        }
        Ok(spec)
    }

    /// The session that spawns this one: it lends what [`SpawnRequest::inherit`] says, its working
    /// directory, approver and display, and bounds permissions, limits and budget. At a resume the session
    /// that asks: one that it has not spawned itself, or through others, is refused.
    pub fn parent(mut self, parent: impl Into<ParentRef>) -> Self {
        self.spec.parent = Some(parent.into().0);
        self
    }

    /// What is inherited from the parent.
    pub fn inherit(mut self, inherit: Inherit) -> Self {
        self.spec.inherit = inherit;
        self
    }

    /// What the session is told of its parent's conversation; nothing by default.
    pub fn context(mut self, context: ContextRequest) -> Self {
        self.spec.context = context;
        self
    }

    /// Providers and models that the caller would rather have, the best first.
    pub fn provider_preferences(mut self, preferences: impl IntoIterator<Item = ProviderPreference>) -> Self {
        self.spec.preferences = preferences.into_iter().collect();
        self
    }

    /// Text that no person typed, such as what was piped in: it stands behind the first user message,
    /// or is that message where there is none, and mentions in it are not followed.
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.spec.input = Some(input.into());
        self
    }

    /// At a resume: another bundle than the one the session had.
    pub fn bundle(mut self, bundle: impl Into<BundleRef>) -> Self {
        let (pin, prepared) = bundle.into().apart();
        (self.spec.bundle, self.prepared_instead) = (Some(pin), prepared);
        self
    }

    /// The same request for a session that exists, with its next user message, which no person typed.
    pub fn going_on(mut self, session: SessionId, text: impl Into<String>) -> Self {
        (self.spec.target, self.prepared) = (SpawnTarget::Resume(session), None);
        (self.spec.text, self.spec.input) = (String::new(), Some(text.into()));
        self.spec.session_id = None;
        self
    }

    /// The same request for a new session of another bundle.
    pub fn of(mut self, bundle: impl Into<BundleRef>) -> Self {
        let (pin, prepared) = bundle.into().apart();
        (self.spec.target, self.prepared) = (SpawnTarget::Bundle(pin), prepared);
        self
    }

    /// True: no person named the bundle, settings of the project did. Where nobody vouches for the
    /// project, its providers may send no key elsewhere, now and at every resume.
    pub fn chosen_by_project(mut self, chosen: bool) -> Self {
        self.spec.chosen_by_project = chosen;
        self
    }

    /// The event that the session answers: what it and its children emit, and how it ends, has that as its
    /// cause, one hop further. A cause at the limit of hops starts no session.
    pub fn caused_by(mut self, cause: Cause) -> Self {
        self.spec.cause = Some(cause);
        self
    }

    /// The id of a new session. Without it a root gets a random UUID, a child the reference's form
    /// `<parent's span>-<own span>_<agent>`.
    pub fn session_id(mut self, id: SessionId) -> Self {
        self.spec.session_id = Some(id);
        self
    }

    /// A key: while a session of this key runs in this process, the request attaches to it; once it has
    /// ended, its outcome is the result. 1 to 180 bytes, no control characters.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.spec.key = Some(key.into());
        self
    }

    /// A name for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec.name = Some(name.into());
        self
    }

    /// The working directory; the parent's, else the host's project directory, without it.
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.spec.cwd = Some(cwd.into());
        self
    }

    /// True: `spawn_bundle` returns once the session is recorded and running.
    pub fn background(mut self, background: bool) -> Self {
        self.spec.background = background;
        self
    }

    /// The session stays open after its first turn, until it is ended.
    pub fn keep_open(mut self) -> Self {
        self.spec.keep_open = true;
        self
    }

    /// True: what the session has begun, such as issues for others, is not waited for when its turn ends.
    pub fn leave(mut self, leave: bool) -> Self {
        self.spec.leave = leave;
        self
    }

    /// How long the session may run, all its turns together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let limits = &mut self.spec.limits;
        limits.timeout_ms = Some(limits.timeout_ms.map_or(millis, |old| old.min(millis)));
        self
    }

    /// How long a model call waits out a rate limit. Without it as the parent does; else 6 hours in the
    /// background, and in the foreground as the host says, 2 minutes by default.
    pub fn rate_limit_patience(mut self, patience: Duration) -> Self {
        self.spec.rate_limit_patience_ms = Some(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Layers beside those of host and parent; all of them must allow.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.spec.permissions = permissions;
        self
    }

    /// Layers that hold in this activation alone, beside all others: a resume does not find them. What the
    /// session spawns meanwhile keeps them.
    pub fn passing(mut self, permissions: Permissions) -> Self {
        self.spec.passing = permissions;
        self
    }

    /// Bounds beside those of host and parent; the tighter counts. At a resume those that are named
    /// here replace the recorded ones, the others stay.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.spec.limits = self.spec.limits.stricter(&limits);
        self
    }

    /// A budget that a session without a parent shares with others, beside its own limits.
    pub fn within(mut self, budget: Arc<Budget>) -> Self {
        self.within = Some(budget);
        self
    }

    /// What becomes durable in the commits that begin and end this activation.
    pub fn together(mut self, together: Arc<dyn Together>) -> Self {
        self.together = Some(together);
        self
    }

    /// What checks each answer of the session before it counts.
    pub fn checked(mut self, check: Arc<dyn AnswerCheck>) -> Self {
        self.check = Some(check);
        self
    }

    /// The provider to use, by name, module or instance id; no other one answers.
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.spec.provider = Some(provider.into());
        self
    }

    /// The model to use.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.spec.model = Some(model.into());
        self
    }

    /// Longest answer in tokens.
    pub fn max_output_tokens(mut self, tokens: u64) -> Self {
        self.spec.max_output_tokens = Some(tokens);
        self
    }

    /// Where the session is kept; the parent's storage, else the host's, without it.
    pub fn storage(mut self, storage: Arc<dyn SessionStorage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Further keys for the session's metadata; the session's own keys win.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.spec.metadata = metadata.into();
        self
    }

    /// What the caller asked of provider and model.
    pub(super) fn wish(&self) -> Wish {
        Wish {
            provider: self.spec.provider.clone(),
            model: self.spec.model.clone(),
            max_output_tokens: self.spec.max_output_tokens,
        }
    }
}

impl<B: Into<BundleRef>, T: Into<String>> From<(B, T)> for SpawnRequest {
    fn from((bundle, text): (B, T)) -> Self {
        Self::new(bundle, text)
    }
}
