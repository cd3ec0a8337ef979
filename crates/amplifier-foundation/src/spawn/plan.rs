//! What a session is made of, once bundle, agent, parent and settings have had their say.
//!
//! Guarantees: a plan never changes once it is made, so parallel sessions can share it; every entry
//! tells which layer it came from. Orchestrator, context and the only provider must exist here; tools,
//! hooks and further providers that do not are left out with one line that names them all, or are fatal
//! where the host is strict.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use amplifier_core::module::ModuleInfo;
use amplifier_core::{Limits, ModuleSpec, Permissions, permission};
use serde_json::{Map, Value};

use super::SpawnError;
use super::inherit::{Inherit, Selection, combine};
use super::roles::Roles;
use crate::bundle::{
    AgentAccess, AgentDef, ModuleEntry, PreparedBundle, ProviderPreference, SessionSection, ToolNames,
};
use crate::host::Host;

/// The agent name that means the parent's own kind.
pub const SELF: &str = "self";

/// Which layer an entry of a session came from; the last one that had a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// The session's own bundle.
    Bundle,
    /// The agent's definition.
    Agent,
    /// `spawn.tools` of the parent's bundle.
    SpawnSection,
    /// The parent.
    Parent,
    /// Settings or the host.
    Settings,
    /// The request itself.
    Request,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bundle => "bundle",
            Self::Agent => "agent",
            Self::SpawnSection => "spawn section",
            Self::Parent => "parent",
            Self::Settings => "settings",
            Self::Request => "request",
        })
    }
}

/// A module of a plan.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The module and its configuration.
    pub(crate) spec: Arc<ModuleSpec>,
    /// Where it came from.
    pub(crate) from: Layer,
}

impl Planned {
    pub(super) fn new(spec: ModuleSpec, from: Layer) -> Self {
        Self { spec: Arc::new(spec), from }
    }

    /// The same as a child sees it.
    pub(super) fn inherited(&self) -> Self {
        Self { spec: Arc::clone(&self.spec), from: Layer::Parent }
    }
}

/// An agent that may be delegated to, and the bundle in which its mentions are looked up.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) def: Arc<AgentDef>,
    pub(crate) home: Arc<PreparedBundle>,
}

/// What a session is made of.
#[derive(Debug, Clone)]
pub(crate) struct SessionPlan {
    /// The bundle: its namespaces, its name, its prompt where there is no agent.
    pub(crate) bundle: Arc<PreparedBundle>,
    /// The agent whose prompt it is.
    pub(crate) agent: Option<Candidate>,
    pub(crate) orchestrator: Option<Planned>,
    pub(crate) context: Option<Planned>,
    pub(crate) providers: Vec<Planned>,
    pub(crate) tools: Vec<Planned>,
    pub(crate) hooks: Vec<Planned>,
    /// Whom the session may delegate to, by name.
    pub(crate) agents: Arc<BTreeMap<String, Candidate>>,
    pub(crate) preferences: Vec<ProviderPreference>,
    /// What the roles of models mean.
    pub(crate) roles: Arc<Roles>,
    pub(crate) section: SessionSection,
    /// Of all that is mounted, the tools that each of these permits: those of its agent, and of the agents above it.
    pub(crate) narrowed: Vec<ToolNames>,
    /// The line about modules that were left out.
    pub(crate) left_out: Option<String>,
    /// The line about settings that preferences may not change.
    pub(crate) protected: Option<String>,
}

impl Candidate {
    /// The permission layer that the agent declares for itself.
    fn layer(&self, cwd: &Path) -> Option<permission::Layer> {
        let origin = format!("agent {}", self.def.name);
        Some(permission::Layer::of_mode(origin, self.def.permission_mode?, vec![cwd.to_path_buf()]))
    }
}

impl SessionPlan {
    /// The bounds of the agent itself.
    pub(super) fn own_limits(&self) -> Limits {
        self.agent.as_ref().map(|agent| agent.def.limits()).unwrap_or_default()
    }

    /// What the session's agent may do beside what its parent may.
    pub(super) fn own_permissions(&self, cwd: &Path) -> Permissions {
        let layer = self.agent.as_ref().and_then(|agent| agent.layer(cwd));
        layer.map_or_else(Permissions::unrestricted, |layer| Permissions::unrestricted().with(layer))
    }

    /// In the order of mounting: orchestrator, context, providers, tools, hooks.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Planned> {
        let loops = self.orchestrator.iter().chain(&self.context);
        loops.chain(&self.providers).chain(&self.tools).chain(&self.hooks)
    }
}

/// A plan for a session that nobody spawned.
pub(crate) fn of_root(
    host: &Host,
    bundle: Arc<PreparedBundle>,
    provider: Option<&str>,
) -> Result<SessionPlan, SpawnError> {
    let mut plan = of_bundle(&bundle);
    plan.agents = Arc::new(allowed(roster(&bundle), bundle.plan.agents.access.as_ref()));
    with_own_roles(finished(host, plan, provider)?)
}

/// A plan for a child with a bundle of its own.
pub(super) fn of_bundle_child(
    host: &Host,
    bundle: Arc<PreparedBundle>,
    parent: &SessionPlan,
    inherit: &Inherit,
    provider: Option<&str>,
) -> Result<SessionPlan, SpawnError> {
    let mut plan = of_bundle(&bundle);
    plan.narrowed.clone_from(&parent.narrowed);
    let providers = match &inherit.providers {
        Some(selection) => selection.clone(),
        None if plan.providers.is_empty() => Selection::All,
        None => Selection::None,
    };
    plan.providers = combine(&parent.providers, &providers, &[], &plan.providers);
    let tools = inherit.tools.clone().unwrap_or(Selection::None);
    let [out_tools, out_hooks] = excluded(host, parent, inherit);
    plan.tools = combine(&tools_for_children(parent), &tools, &out_tools, &plan.tools);
    let hooks = inherit.hooks.clone().unwrap_or(Selection::None);
    plan.hooks = combine(&parent.hooks, &hooks, &out_hooks, &plan.hooks);
    let mut agents = selected(&parent.agents, inherit.agents.as_ref().unwrap_or(&Selection::None));
    agents.extend(allowed(roster(&bundle), bundle.plan.agents.access.as_ref()));
    plan.agents = Arc::new(agents);
    plan.roles = Arc::clone(&parent.roles);
    with_own_roles(finished(host, plan, provider)?)
}

/// A plan for an agent of the parent, or for `self`.
pub(super) fn of_agent(
    host: &Host,
    parent: &SessionPlan,
    agent: Option<Candidate>,
    inherit: &Inherit,
    provider: Option<&str>,
) -> Result<SessionPlan, SpawnError> {
    let all = Selection::All;
    let def = agent.as_ref().map(|agent| Arc::clone(&agent.def)).unwrap_or_default();
    let declared =
        |entries: &Option<Vec<ModuleEntry>>| of_entries(entries.as_deref().unwrap_or_default(), Layer::Agent);
    let providers = inherit.providers.as_ref().unwrap_or(&all);
    let tools = inherit.tools.as_ref().unwrap_or(&all);
    let hooks = inherit.hooks.as_ref().unwrap_or(&all);
    let agents = selected(&parent.agents, inherit.agents.as_ref().unwrap_or(&all));
    let [out_tools, out_hooks] = excluded(host, parent, inherit);
    let mut plan = SessionPlan {
        bundle: Arc::clone(&parent.bundle),
        orchestrator: parent.orchestrator.as_ref().map(Planned::inherited),
        context: parent.context.as_ref().map(Planned::inherited),
        providers: combine(&parent.providers, providers, &[], &declared(&def.providers)),
        tools: combine(&tools_for_children(parent), tools, &out_tools, &declared(&def.tools)),
        hooks: combine(&parent.hooks, hooks, &out_hooks, &declared(&def.hooks)),
        agents: Arc::new(allowed(agents, def.agents.as_ref())),
        preferences: match (&def.provider_preferences, agent.is_some()) {
            (Some(own), _) => own.clone(),
            (None, false) => parent.preferences.clone(),
            (None, true) => Vec::new(),
        },
        roles: Arc::clone(&parent.roles),
        section: parent.section.clone(),
        narrowed: def.tool_names.below(&parent.narrowed),
        agent: agent.or_else(|| parent.agent.clone()),
        left_out: None,
        protected: None,
    };
    if let Some(section) = &def.session {
        overlay(&mut plan, section);
    }
    let mut plan = finished(host, plan, provider)?;
    if let Some(roles) = &def.model_role {
        prefer_roles(&mut plan, roles);
    }
    Ok(plan)
}

/// Puts what these roles mean before what the plan prefers.
fn prefer_roles(plan: &mut SessionPlan, roles: &[String]) {
    let specs = plan.providers.iter().map(|planned| planned.spec.as_ref());
    if let Some(mut wanted) = plan.roles.resolve(roles, specs) {
        wanted.append(&mut plan.preferences);
        plan.preferences = wanted;
    }
}

fn with_own_roles(mut plan: SessionPlan) -> Result<SessionPlan, SpawnError> {
    let roles = own_roles(&plan.section);
    prefer_roles(&mut plan, &roles);
    Ok(plan)
}

/// The roles that a session's own section names: `session.model_role`, a text or a list.
fn own_roles(section: &SessionSection) -> Vec<String> {
    match section.extra.0.get("model_role") {
        Some(Value::String(role)) => vec![role.clone()],
        Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// What an agent's own `session` changes.
fn overlay(plan: &mut SessionPlan, section: &SessionSection) {
    let merged = |inherited: &Option<Planned>, own: &Option<ModuleEntry>| {
        let own = of_entries(own.as_slice(), Layer::Agent);
        let inherited = inherited.as_slice();
        let same = |planned: &Planned| own.iter().all(|own| own.spec.key() == planned.spec.key());
        let selection = if inherited.iter().all(same) { Selection::All } else { Selection::None };
        combine(inherited, &selection, &[], &own).into_iter().next()
    };
    plan.orchestrator = merged(&plan.orchestrator, &section.orchestrator);
    plan.context = merged(&plan.context, &section.context);
    let base = &mut plan.section;
    base.raw = section.raw.or(base.raw);
    base.injection_budget_per_turn = section.injection_budget_per_turn.or(base.injection_budget_per_turn);
    base.injection_size_limit = section.injection_size_limit.or(base.injection_size_limit);
}

fn of_bundle(bundle: &Arc<PreparedBundle>) -> SessionPlan {
    let plan = &bundle.plan;
    let specs =
        |specs: &[ModuleSpec]| specs.iter().map(|spec| Planned::new(spec.clone(), Layer::Bundle)).collect();
    let one = |spec: Option<&ModuleSpec>| spec.map(|spec| Planned::new(spec.clone(), Layer::Bundle));
    SessionPlan {
        bundle: Arc::clone(bundle),
        agent: None,
        orchestrator: one(plan.orchestrator()),
        context: one(plan.context()),
        providers: specs(&plan.providers),
        tools: specs(&plan.tools),
        hooks: specs(&plan.hooks),
        agents: Arc::default(),
        preferences: Vec::new(),
        roles: Arc::default(),
        section: plan.session.clone(),
        narrowed: Vec::new(),
        left_out: None,
        protected: None,
    }
}

fn of_entries(entries: &[ModuleEntry], from: Layer) -> Vec<Planned> {
    entries.iter().map(|entry| Planned::new(entry.spec.clone(), from)).collect()
}

/// `spawn.tools` of the parent's bundle, or what the parent has.
fn tools_for_children(parent: &SessionPlan) -> Vec<Planned> {
    match &parent.bundle.spawn.tools {
        Some(tools) => of_entries(tools, Layer::SpawnSection),
        None => parent.tools.clone(),
    }
}

/// The tools and the hooks that children do not inherit, under each id that means them.
fn excluded(host: &Host, parent: &SessionPlan, inherit: &Inherit) -> [Vec<String>; 2] {
    let all_ids = |id: &String| {
        let info = host.modules().get(id).map(|module| module.info());
        let others = info.into_iter().flat_map(|info| info.aliases.iter().copied().chain([info.id]));
        std::iter::once(id.clone()).chain(others.map(str::to_owned)).collect::<Vec<_>>()
    };
    let tools = parent.bundle.spawn.exclude_tools.iter().chain(&inherit.exclude_tools);
    [tools.flat_map(all_ids).collect(), inherit.exclude_hooks.iter().flat_map(all_ids).collect()]
}

fn roster(bundle: &Arc<PreparedBundle>) -> BTreeMap<String, Candidate> {
    let candidate = |def: &Arc<AgentDef>| Candidate { def: Arc::clone(def), home: Arc::clone(bundle) };
    bundle.agents.iter().map(|(name, def)| (name.clone(), candidate(def))).collect()
}

fn allowed(
    mut agents: BTreeMap<String, Candidate>,
    access: Option<&AgentAccess>,
) -> BTreeMap<String, Candidate> {
    match access {
        Some(AgentAccess::None) => agents.clear(),
        Some(AgentAccess::Only(names)) => agents.retain(|name, _| names.contains(name)),
        _ => {}
    }
    agents
}

fn selected(agents: &BTreeMap<String, Candidate>, selection: &Selection) -> BTreeMap<String, Candidate> {
    let wanted = |name: &String| match selection {
        Selection::None => false,
        Selection::All => true,
        Selection::Only(names) => names.contains(name),
    };
    agents.iter().filter(|(name, _)| wanted(name)).map(|(name, one)| (name.clone(), one.clone())).collect()
}

/// Adds the host's providers and overrides, and leaves out what does not exist here.
fn finished(host: &Host, mut plan: SessionPlan, provider: Option<&str>) -> Result<SessionPlan, SpawnError> {
    for (kind, planned) in [("orchestrator", &plan.orchestrator), ("context", &plan.context)] {
        if let Some(planned) = planned {
            require(host, kind, &planned.spec)?;
        }
    }
    let orchestrator = plan.orchestrator.as_ref().and_then(|one| host.modules().get(&one.spec.module));
    if orchestrator.is_none_or(|module| module.needs_provider()) {
        providers(host, &mut plan.providers, provider)?;
    }
    let mut missing = Vec::new();
    for list in [&mut plan.providers, &mut plan.tools, &mut plan.hooks] {
        for planned in list.iter().filter(|planned| host.modules().get(&planned.spec.module).is_none()) {
            if host.0.strict {
                require(host, "", &planned.spec)?;
            }
            missing.push(planned.spec.module.clone());
        }
        list.retain(|planned| host.modules().get(&planned.spec.module).is_some());
    }
    missing.sort_unstable();
    missing.dedup();
    plan.left_out = (!missing.is_empty()).then(|| {
        format!("left out, not available here: {}; many of them exist as MCP servers", missing.join(", "))
    });
    if let Some(roles) = Roles::of(host, &plan.hooks) {
        plan.roles = Arc::new(roles);
    }
    let all = plan.orchestrator.iter_mut().chain(&mut plan.context);
    all.chain(&mut plan.providers).chain(&mut plan.tools).chain(&mut plan.hooks).for_each(|planned| {
        override_config(host, planned);
    });
    Ok(plan)
}

fn require(host: &Host, kind: &'static str, spec: &ModuleSpec) -> Result<(), SpawnError> {
    if host.modules().get(&spec.module).is_some() {
        return Ok(());
    }
    let same_kind = |info: &&ModuleInfo| kind.is_empty() || info.kind.as_str() == kind;
    let known: Vec<&str> = host.modules().infos().iter().filter(same_kind).map(|info| info.id).collect();
    let kind = if kind.is_empty() { "tool, hook or provider" } else { kind };
    let help = format!("there are: {}", known.join(", "));
    Err(SpawnError::UnknownModule { kind, module: spec.module.clone(), help })
}

/// The plan's providers merged over the host's; the host's are added where it has none.
/// At least one of them is a module that exists here.
fn providers(host: &Host, all: &mut Vec<Planned>, wanted: Option<&str>) -> Result<(), SpawnError> {
    let defaults = &host.0.providers;
    for planned in all.iter_mut().filter(|planned| planned.from != Layer::Parent) {
        if let Some(default) = defaults.iter().find(|default| default.key() == planned.spec.key()) {
            let mut config = default.config.clone();
            merge_config(&mut config, &planned.spec.config);
            Arc::make_mut(&mut planned.spec).config = config;
        }
    }
    let asked_for = |spec: &ModuleSpec| wanted.is_some_and(|wanted| names(spec, wanted));
    let add_all = all.is_empty();
    for default in defaults {
        let known = all.iter().any(|planned| planned.spec.key() == default.key());
        if !known && (add_all || asked_for(default)) {
            all.push(Planned::new(default.clone(), Layer::Settings));
        }
    }
    if let Some(wanted) = wanted
        && !all.iter().any(|planned| names(&planned.spec, wanted))
    {
        let module = format!("provider-{}", wanted.trim_start_matches("provider-"));
        if host.modules().get(&module).is_some() {
            all.push(Planned::new(ModuleSpec::new(module), Layer::Request));
        }
    }
    let present = all.iter().any(|planned| host.modules().get(&planned.spec.module).is_some());
    match all.first() {
        None => Err(SpawnError::NoProvider),
        Some(planned) if !present => require(host, "provider", &planned.spec),
        Some(_) => Ok(()),
    }
}

/// True if `wanted` names this entry: by id, by module, or by the module's short name.
fn names(spec: &ModuleSpec, wanted: &str) -> bool {
    let short = spec.module.trim_start_matches("provider-");
    [spec.key(), spec.module.as_str(), short].contains(&wanted)
}

fn override_config(host: &Host, planned: &mut Planned) {
    if host.0.overrides.is_empty() || planned.from == Layer::Parent {
        return;
    }
    for key in [planned.spec.module.clone(), planned.spec.key().to_owned()] {
        if let Some(config) = host.0.overrides.get(&key) {
            merge_config(&mut Arc::make_mut(&mut planned.spec).config, config);
        }
    }
}

/// Maps are merged, everything else is replaced: settings and children, unlike bundles, must be able to
/// replace a list.
pub(super) fn merge_config(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge_config(into, from),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}
