//! What a session mounts: the part of a composed bundle that is about modules, and who said so.
//!
//! As JSON it has the keys of the reference's mount plan, and only those that hold something.

use amplifier_core::ModuleSpec;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::model::{
    AgentAccess, AgentDef, AgentEntry, Agents, Bundle, ModuleEntry, SessionSection, SpawnSection,
};
use super::provenance::Provenance;

/// What a session mounts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MountPlan {
    /// The session's own settings; the older `*_source` keys are already in their entries.
    pub session: SessionSection,
    /// Providers, in order.
    pub providers: Vec<ModuleSpec>,
    /// Tools, in order.
    pub tools: Vec<ModuleSpec>,
    /// Hooks, in order.
    pub hooks: Vec<ModuleSpec>,
    /// The agents that can be delegated to.
    pub agents: Agents,
    /// What children may have.
    pub spawn: SpawnSection,
    /// Which places set what: `tools.tool-bash`, `session.orchestrator`, `instruction`.
    pub provenance: Provenance,
}

impl MountPlan {
    /// The loop that drives the session, if one is named.
    pub fn orchestrator(&self) -> Option<&ModuleSpec> {
        self.session.orchestrator.as_ref().map(|entry| &entry.spec)
    }

    /// The context manager, if one is named.
    pub fn context(&self) -> Option<&ModuleSpec> {
        self.session.context.as_ref().map(|entry| &entry.spec)
    }

    /// The plan with a further key `provenance` when it is serialized: by path, the places that had a say.
    pub fn with_provenance(&self) -> impl Serialize + '_ {
        let mut plan = self.to_json();
        plan.insert("provenance".to_owned(), json!(self.provenance));
        plan
    }

    fn to_json(&self) -> Map<String, Value> {
        let lists = [("providers", &self.providers), ("tools", &self.tools), ("hooks", &self.hooks)];
        let mut plan = Map::new();
        put_map(&mut plan, "session", self.session.to_json());
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            plan.insert(key.to_owned(), json!(list));
        }
        let agents = self.agents.roster.iter().map(|entry| (entry.name.clone(), entry.def.to_json()));
        put_map(&mut plan, "agents", agents.collect());
        if let Some(access) = &self.agents.access {
            plan.insert("agent_access".to_owned(), access.to_json());
        }
        put_map(&mut plan, "spawn", self.spawn.to_json());
        plan
    }
}

impl Bundle {
    /// What a session of this bundle mounts. Entries that name no module are left out;
    /// [`check`](super::validate::check) reports them.
    pub fn mount_plan(&self) -> MountPlan {
        let specs = |entries: &[ModuleEntry]| -> Vec<ModuleSpec> {
            let named = entries.iter().filter(|entry| !entry.spec.module.is_empty());
            named.map(|entry| entry.spec.clone()).collect()
        };
        MountPlan {
            session: self.session.with_sources_in_place(),
            providers: specs(&self.providers),
            tools: specs(&self.tools),
            hooks: specs(&self.hooks),
            agents: self.agents.clone(),
            spawn: self.spawn.clone(),
            provenance: self.provenance(),
        }
    }

    /// Who set what in this bundle, by path.
    pub fn provenance(&self) -> Provenance {
        let mut all = self.set_by.clone();
        let lists = [("providers", &self.providers), ("tools", &self.tools), ("hooks", &self.hooks)];
        for (section, list) in lists {
            for entry in list {
                all.add(format!("{section}.{}", entry.key()), &entry.origins);
            }
        }
        let slots = [("orchestrator", &self.session.orchestrator), ("context", &self.session.context)];
        for (slot, entry) in slots {
            if let Some(entry) = entry {
                all.add(format!("session.{slot}"), &entry.origins);
            }
        }
        for AgentEntry { name, def, origin, .. } in &self.agents.roster {
            all.add(format!("agents.{name}"), std::slice::from_ref(origin));
            all.add(format!("agents.{name}"), &def.origins);
        }
        for entry in &self.context {
            all.add(format!("context.{}", entry.key), std::slice::from_ref(&entry.origin));
        }
        for include in &self.includes {
            all.add(format!("includes.{}", include.source), std::slice::from_ref(&include.origin));
        }
        for (key, declared) in &self.declared {
            declared.iter().for_each(|one| all.add(key.clone(), std::slice::from_ref(&one.origin)));
        }
        all
    }
}

fn put_map(into: &mut Map<String, Value>, key: &str, map: Map<String, Value>) {
    if !map.is_empty() {
        into.insert(key.to_owned(), Value::Object(map));
    }
}

fn put<T: Into<Value>>(into: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        into.insert(key.to_owned(), value.into());
    }
}

fn put_entries(into: &mut Map<String, Value>, key: &str, entries: &Option<Vec<ModuleEntry>>) {
    put(into, key, entries.as_ref().map(|list| list.iter().map(ModuleEntry::to_json).collect::<Vec<_>>()));
}

impl SessionSection {
    fn with_sources_in_place(&self) -> SessionSection {
        let mut session = self.clone();
        let source = session.orchestrator_source.take();
        fill_source(&mut session.orchestrator, source);
        let source = session.context_source.take();
        fill_source(&mut session.context, source);
        session
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "orchestrator", self.orchestrator.as_ref().map(ModuleEntry::to_json));
        put(&mut map, "context", self.context.as_ref().map(ModuleEntry::to_json));
        put(&mut map, "orchestrator_source", self.orchestrator_source.clone());
        put(&mut map, "context_source", self.context_source.clone());
        put(&mut map, "raw", self.raw);
        put(&mut map, "injection_budget_per_turn", self.injection_budget_per_turn);
        put(&mut map, "injection_size_limit", self.injection_size_limit);
        put_map(&mut map, "metadata", self.metadata.0.clone());
        map.extend(self.extra.0.clone());
        map
    }
}

fn fill_source(entry: &mut Option<ModuleEntry>, source: Option<String>) {
    if let Some(entry) = entry.as_mut().filter(|entry| entry.spec.source.is_none()) {
        entry.spec.source = source;
    }
}

impl ModuleEntry {
    /// Its spec and its further keys.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "module", (!self.spec.module.is_empty()).then(|| self.spec.module.clone()));
        put(&mut map, "id", self.spec.id.clone());
        put(&mut map, "source", self.spec.source.clone());
        put_map(&mut map, "config", self.spec.config.clone());
        map.extend(self.extra.0.clone());
        Value::Object(map)
    }
}

impl AgentAccess {
    fn to_json(&self) -> Value {
        match self {
            AgentAccess::All => json!("all"),
            AgentAccess::None => json!("none"),
            AgentAccess::Only(names) => json!(names),
        }
    }
}

impl AgentDef {
    fn to_json(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "name", Some(self.name.clone()));
        put(&mut map, "description", self.description.clone());
        put(&mut map, "instruction", self.instruction.clone());
        put_entries(&mut map, "tools", &self.tools);
        put_entries(&mut map, "providers", &self.providers);
        put_entries(&mut map, "hooks", &self.hooks);
        put(&mut map, "session", self.session.as_ref().map(SessionSection::to_json));
        put(&mut map, "provider_preferences", self.provider_preferences.as_ref().map(|list| json!(list)));
        put(&mut map, "model_role", self.model_role.as_ref().map(|roles| json!(roles)));
        put(&mut map, "agents", self.agents.as_ref().map(AgentAccess::to_json));
        put(&mut map, "allowed_tools", self.tool_names.allowed.clone());
        let denied = &self.tool_names.denied;
        put(&mut map, "denied_tools", (!denied.is_empty()).then(|| denied.clone()));
        put(&mut map, "max_turns", self.max_turns);
        put(&mut map, "permissions", self.permission_mode.map(|mode| json!({"mode": mode})));
        map.extend(self.extra.0.clone());
        Value::Object(map)
    }
}

impl SpawnSection {
    fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put(&mut map, "exclude_tools", (!self.exclude_tools.is_empty()).then(|| json!(self.exclude_tools)));
        put_entries(&mut map, "tools", &self.tools);
        map.extend(self.extra.0.clone());
        map
    }
}

impl Serialize for MountPlan {
    /// The keys of the reference's mount plan, without empty parts and without provenance.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl Serialize for AgentDef {
    /// The keys of an inline agent, without gaps.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}
