//! How a module of a session spawns another one: by a typed capability.
//!
//! Guarantees: there before the first module is mounted; what is spawned through it is a child of the
//! session, with everything that follows: inheritance, limits, budget, cancellation.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Budget;
use amplifier_core::causes::chain;
use amplifier_core::module::tool::{ToolContext, ToolError};
use amplifier_core::{Permissions, SessionId, SessionOutcome};
use async_trait::async_trait;

use super::error::{SessionFailed, SpawnError};
use super::node::{ChildSummary, Node, TreeUsage};
use super::request::SpawnRequest;
use super::result::SpawnResult;
use super::spawn_bundle;
use super::spec::SpawnSpec;
use crate::bundle::PreparedBundle;
use crate::bundle::ProviderPreference;
use crate::host::{Host, ReachError};
use crate::store::Store;

/// Levels above a session that are looked at.
const MAX_LEVELS: usize = 256;

/// Spawns children of one session: `env.coordinator.capability::<Spawner>()`.
#[derive(Debug)]
pub struct Spawner {
    host: Host,
    node: Arc<Node>,
    stay: Stay,
}

/// How long a session stays, for modules that look after something beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Stay {
    /// It ends with its first turn, and whoever asked for it waits for what it has begun.
    #[default]
    UntilDone,
    /// It ends with its first turn, and what it has begun is not waited for.
    OneTurn,
    /// It stays open for further turns.
    Open,
}

impl Stay {
    pub(super) fn of(spec: &SpawnSpec) -> Self {
        match (spec.keep_open, spec.leave) {
            (true, _) => Self::Open,
            (false, true) => Self::OneTurn,
            (false, false) => Self::UntilDone,
        }
    }
}

/// An agent that a session may delegate to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentSummary {
    /// Its name.
    pub name: String,
    /// When to use it.
    pub description: Option<String>,
}

impl AgentSummary {
    /// An agent of this name.
    pub fn new(name: impl Into<String>, description: Option<String>) -> Self {
        Self { name: name.into(), description }
    }
}

impl Spawner {
    pub(super) fn new(host: Host, node: Arc<Node>, stay: Stay) -> Self {
        Self { host: host.uncounted(), node, stay }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The session.
    pub fn session(&self) -> &SessionId {
        &self.node.id
    }

    /// The host, for a module that runs something of the project beside the session. The handle keeps no session
    /// running: end at the session's clean-up what was begun with it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// How long the session stays.
    pub fn stay(&self) -> Stay {
        self.stay
    }

    /// The session's bundle.
    pub fn bundle(&self) -> &Arc<PreparedBundle> {
        &self.node.plan.bundle
    }

    /// The session's permissions, for a module that opens something as it is mounted.
    pub fn permissions(&self) -> &Permissions {
        &self.node.permissions
    }

    /// True if settings of the project named the bundle, and no person.
    pub fn is_chosen_by_project(&self) -> bool {
        self.node.chosen_by_project
    }

    /// The store of the session's project: for tools that keep something of the project's in it.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.host.store()
    }

    /// What the first of these roles means that a provider of the session can take; `None` if that is none of them.
    pub fn preferences_of(&self, roles: &[String]) -> Option<Vec<ProviderPreference>> {
        let plan = &self.node.plan;
        plan.roles.resolve(roles, plan.providers.iter().map(|planned| planned.spec.as_ref()))
    }

    /// The roles of models that there are.
    pub fn roles(&self) -> Vec<String> {
        self.node.plan.roles.names().map(str::to_owned).collect()
    }

    /// The session's budget, for a module that asks a model beside the turns.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.node.budget
    }

    /// Levels between the session and its root.
    pub fn depth(&self) -> u32 {
        self.node.depth
    }

    /// How many levels a session below this root may have; `None` for no limit.
    pub fn max_depth(&self) -> Option<u32> {
        self.node.bounds.limits.max_depth
    }

    /// Times that an agent delegated to itself on the way down to this session.
    pub fn self_depth(&self) -> u32 {
        self.node.self_depth
    }

    /// Whom the session may delegate to, by name; `self` is not among them.
    pub fn agents(&self) -> Vec<AgentSummary> {
        let summary = |(name, one): (&String, &super::plan::Candidate)| {
            AgentSummary::new(name.as_str(), one.def.description.clone())
        };
        self.node.plan.agents.iter().map(summary).collect()
    }

    /// The descendants that were spawned by this activation, each parent before its children.
    pub fn descendants(&self) -> Vec<ChildSummary> {
        self.node.descendants()
    }

    /// What this activation and its descendants have used so far, as it counts against its limits.
    pub fn usage(&self) -> TreeUsage {
        self.node.usage()
    }

    /// Spawns a child, or opens a descendant of the session again. A descendant keeps its lineage, ends with
    /// this session, and gets no further than it got before; every other session is refused.
    pub async fn spawn(&self, request: impl Into<SpawnRequest>) -> Result<SpawnResult, SpawnError> {
        let mut request = request.into();
        if request.spec.parent.is_none() {
            request = request.parent(&self.node.id);
        }
        spawn_bundle(&self.host, request).await
    }

    /// Waits for all of these sessions below this one, in whatever process they run, at most this long in all;
    /// `None` for those that still run then. `Err` for a session that is not below this one.
    pub async fn wait_all(
        &self,
        ids: &[SessionId],
        within: Duration,
    ) -> Result<Vec<(SessionId, Option<Arc<SessionOutcome>>)>, ReachError> {
        self.all_below(ids).await?;
        self.host.project_sessions().wait_all(ids, within).await
    }

    /// Waits for the first of them to end, at most this long; `None`: all still run.
    pub async fn wait_any(
        &self,
        ids: &[SessionId],
        within: Duration,
    ) -> Result<Option<(SessionId, Arc<SessionOutcome>)>, ReachError> {
        self.all_below(ids).await?;
        self.host.project_sessions().wait_any(ids, within).await
    }

    async fn all_below(&self, ids: &[SessionId]) -> Result<(), ReachError> {
        for id in ids {
            if !self.is_below(id).await? {
                return Err(ReachError::Unknown { session: id.clone() });
            }
        }
        Ok(())
    }

    /// True for a descendant, also one of an earlier activation.
    async fn is_below(&self, id: &SessionId) -> Result<bool, ReachError> {
        if self.node.descendants().iter().any(|child| child.id == *id) {
            return Ok(true);
        }
        let mut next = Some(id.clone());
        for _ in 0..MAX_LEVELS {
            let Some(above) = next.take() else { return Ok(false) };
            next = self.host.store().session(&above).await?.and_then(|row| row.parent);
            if next.as_ref() == Some(self.session()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Spawning from inside a tool.
#[async_trait]
pub trait SpawnExt {
    /// Spawns a child of the session whose tool this is. `Err` if no session came of it.
    async fn spawn<R: Into<SpawnRequest> + Send>(&self, request: R) -> Result<SpawnResult, SpawnError>;
}

#[async_trait]
impl SpawnExt for ToolContext<'_> {
    async fn spawn<R: Into<SpawnRequest> + Send>(&self, request: R) -> Result<SpawnResult, SpawnError> {
        let request = request.into();
        let spawner = self.env.coordinator.capability::<Spawner>().ok_or(SpawnError::NoSpawner)?;
        spawner.spawn(request).await
    }
}

/// A refused spawn is a result that the model can act on.
impl From<SpawnError> for ToolError {
    fn from(error: SpawnError) -> Self {
        Self::Refused(chain(&error))
    }
}

/// A child that did not complete is a result that the model can act on.
impl From<SessionFailed> for ToolError {
    fn from(failed: SessionFailed) -> Self {
        Self::Refused(failed.to_string())
    }
}
