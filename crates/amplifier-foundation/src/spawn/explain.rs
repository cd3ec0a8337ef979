//! What a request would lead to, and which layer said so: nothing is recorded, mounted or asked.

use amplifier_core::SessionId;
use amplifier_core::limits::LimitKind;
use amplifier_core::permission::Mode;
use serde::Serialize;

use super::SpawnError;
use super::lineage::{self, Parent};
use super::node::{Lent, Node};
use super::plan::{Planned, SessionPlan};
use super::request::SpawnRequest;
use super::resolve::{self, Resolved};
use crate::bundle::ProviderPreference;
use crate::bundle::provenance::Origin;
use crate::host::Host;

/// What a session would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The bundle.
    pub bundle: String,
    /// BLAKE3 over the bundle's files, in hex.
    pub content_hash: String,
    /// The agent, of a child that runs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The session that would spawn it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// Levels below the root.
    pub depth: u32,
    /// The working directory.
    pub working_dir: String,
    /// What is mounted, in order.
    pub modules: Vec<ExplainedModule>,
    /// Modules that do not exist here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Whom it may delegate to.
    pub agents: Vec<String>,
    /// Providers and models that it would rather have, the best first.
    pub preferences: Vec<ProviderPreference>,
    /// Layers that must all allow, the outermost first.
    pub permissions: Vec<ExplainedLayer>,
    /// Its limits.
    pub limits: Vec<ExplainedLimit>,
}

/// A module of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedModule {
    /// `orchestrator`, `context`, `provider`, `tool` or `hook`.
    pub kind: &'static str,
    /// The module.
    pub module: String,
    /// The instance's id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The layer that had the last say: `bundle`, `agent`, `spawn section`, `parent`, `settings`, `request`.
    pub from: String,
    /// Where it is written: `file:line (bundle)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

/// A layer of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedLayer {
    /// Who set it.
    pub origin: String,
    /// Its mode; `None` for a layer of rules alone.
    pub mode: Option<Mode>,
    /// How many rules it has.
    pub rules: usize,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedLimit {
    /// Which one.
    pub limit: LimitKind,
    /// Its value: a count, milliseconds, tokens, or millionths of a US dollar.
    pub value: u64,
    /// Who set it.
    pub set_by: String,
}

/// Explains a request. Errors are those that [`spawn_bundle`](super::spawn_bundle) would have before
/// anything is recorded, limits of the tree apart.
pub async fn explain(host: &Host, request: impl Into<SpawnRequest>) -> Result<Explanation, SpawnError> {
    explained(&resolved(host, &request.into()).await?)
}

/// Explains what an agent would be if the session that the request asks for delegated to it. There is no
/// such session yet, so none is named as its parent.
pub async fn explain_agent(
    host: &Host,
    request: impl Into<SpawnRequest>,
    agent: &str,
) -> Result<Explanation, SpawnError> {
    let above = resolved(host, &request.into()).await?;
    let id = SessionId::new(host.ids().v4().to_string())?;
    let node = Node::new(
        Lent {
            root: id.clone(),
            depth: above.depth(),
            self_depth: 0,
            plan: above.plan,
            bounds: above.bounds,
            permissions: above.permissions,
            storage: above.storage,
            cwd: above.cwd,
            wish: above.wish,
            chosen_by_project: above.chosen_by_project,
            patience: None,
            cause: None,
            parent: above.parent.map(|parent| parent.node),
            children: Default::default(),
            id,
        },
        None,
    );
    let request = SpawnRequest::agent(&node.id, agent, "");
    let resolved = resolve::resolve(host, &request, Some(&Parent { node, live: None })).await?;
    Ok(Explanation { parent: None, ..explained(&resolved)? })
}

async fn resolved(host: &Host, request: &SpawnRequest) -> Result<Resolved, SpawnError> {
    let parent = request.spec.parent.as_ref().and_then(|id| lineage::live(host, id));
    resolve::resolve(host, request, parent.as_ref()).await
}

fn explained(resolved: &Resolved) -> Result<Explanation, SpawnError> {
    let plan = &resolved.plan;
    let layer = |layer: &std::sync::Arc<amplifier_core::permission::Layer>| ExplainedLayer {
        origin: layer.origin.clone(),
        mode: layer.mode,
        rules: layer.rules.len(),
    };
    Ok(Explanation {
        bundle: plan.bundle.name.clone(),
        content_hash: plan.bundle.content_hash.clone(),
        agent: resolved.agent().map(str::to_owned),
        parent: resolved.parent.as_ref().map(|parent| parent.node.id.clone()),
        depth: resolved.depth(),
        working_dir: resolved.cwd.display().to_string(),
        modules: modules(plan),
        left_out: plan.left_out.clone(),
        agents: plan.agents.keys().cloned().collect(),
        preferences: plan.preferences.clone(),
        permissions: resolved.permissions.layers().iter().map(layer).collect(),
        limits: limits(resolved),
    })
}

fn modules(plan: &SessionPlan) -> Vec<ExplainedModule> {
    let one = |kind, section: &str, planned: &Planned| ExplainedModule {
        kind,
        module: planned.spec.module.clone(),
        id: planned.spec.id.clone(),
        from: planned.from.to_string(),
        places: places(plan, section, planned.spec.key()),
    };
    let list = |kind, section: &'static str, all: &[Planned]| -> Vec<ExplainedModule> {
        all.iter().map(|planned| one(kind, section, planned)).collect()
    };
    [
        list("orchestrator", "session.orchestrator", plan.orchestrator.as_slice()),
        list("context", "session.context", plan.context.as_slice()),
        list("provider", "providers", &plan.providers),
        list("tool", "tools", &plan.tools),
        list("hook", "hooks", &plan.hooks),
    ]
    .concat()
}

/// Where an entry is written: in the agent's file, else in the bundle.
fn places(plan: &SessionPlan, section: &str, key: &str) -> Vec<String> {
    let path = match section {
        "providers" | "tools" | "hooks" => format!("{section}.{key}"),
        slot => slot.to_owned(),
    };
    let def = plan.agent.as_ref().map(|agent| &agent.def);
    let entries = def.and_then(|def| match section {
        "providers" => def.providers.as_deref(),
        "tools" => def.tools.as_deref(),
        "hooks" => def.hooks.as_deref(),
        _ => None,
    });
    let own = entries.and_then(|entries| entries.iter().find(|entry| entry.key() == key));
    let of_bundle = plan.bundle.plan.provenance.of(&path);
    of_bundle.iter().chain(own.map_or(&[][..], |entry| &entry.origins)).map(Origin::to_string).collect()
}

fn limits(resolved: &Resolved) -> Vec<ExplainedLimit> {
    let bounds = &resolved.bounds;
    let one = |kind: &LimitKind| {
        let value = bounds.limits.get(*kind)?;
        Some(ExplainedLimit { limit: *kind, value, set_by: bounds.set_by(*kind).to_owned() })
    };
    LimitKind::ALL.iter().filter_map(one).collect()
}
