//! Two bundles become one: what a bundle builds on comes first, the bundle itself last, and it wins.
//!
//! Composing is associative wherever a key has one type in all the bundles. Origins survive: a merged entry
//! keeps all of its places, a replaced one only those of what replaced it.

use std::path::PathBuf;

use super::merge;
use super::model::{AgentDef, Agents, Bundle, ContextEntry, SessionSection, SpawnSection};
use super::provenance::{Provenance, extend_unique};

impl Bundle {
    /// Composes a later bundle onto this one.
    ///
    /// Includes are joined; they are those that went into the result, not work that is left.
    #[must_use]
    pub fn compose(mut self, later: &Bundle) -> Bundle {
        self.compose_paths(later);
        self.compose_header(later);
        self.session.merge(&later.session, &mut self.set_by, &later.set_by);
        merge::entries(&mut self.providers, &later.providers);
        merge::entries(&mut self.tools, &later.tools);
        merge::entries(&mut self.hooks, &later.hooks);
        compose_agents(&mut self.agents, &later.agents);
        if later.agents.access.is_some() {
            self.take_origins("agents", later);
        }
        self.context = compose_context(self.context, &later.context);
        self.project_files = self.project_files.or(later.project_files);
        compose_spawn(&mut self.spawn, &later.spawn);
        add_origins(&mut self.set_by, &later.set_by, "spawn.");
        self.includes.extend(later.includes.iter().cloned());
        if merge::replace(&mut self.instruction, &later.instruction) {
            self.take_origins("instruction", later);
        }
        for (key, declared) in &later.declared {
            self.declared.entry(key.clone()).or_default().extend(declared.iter().cloned());
        }
        self
    }

    fn compose_header(&mut self, later: &Bundle) {
        let fields = [
            ("bundle.name", &mut self.name, &later.name),
            ("bundle.version", &mut self.version, &later.version),
            ("bundle.description", &mut self.description, &later.description),
        ];
        let mut taken = Vec::new();
        for (path, mine, theirs) in fields {
            if !theirs.is_empty() {
                mine.clone_from(theirs);
                taken.push(path);
            }
        }
        for path in taken {
            self.take_origins(path, later);
        }
    }

    /// Comes before the header, because a path belongs to the name that the bundle has until then.
    fn compose_paths(&mut self, later: &Bundle) {
        let mine = self.own_namespace();
        let theirs = later.source_base_paths.iter().map(|(name, path)| (name.clone(), path.clone()));
        for (name, path) in mine.into_iter().chain(theirs).chain(later.own_namespace()) {
            self.source_base_paths.entry(name).or_insert(path);
        }
        if later.base_path.is_some() {
            self.base_path.clone_from(&later.base_path);
            self.namespace_root.clone_from(&later.namespace_root);
            self.take_origins("bundle.namespace_root", later);
        }
        merge::replace(&mut self.file, &later.file);
    }

    /// The namespace of a bundle that a program made; one that was read has it already.
    fn own_namespace(&self) -> Option<(String, PathBuf)> {
        let path = self.base_path.clone().filter(|_| !self.name.is_empty())?;
        Some((self.name.clone(), path))
    }

    fn take_origins(&mut self, path: &str, later: &Bundle) {
        take_origins(&mut self.set_by, &later.set_by, path);
    }
}

/// The later one's places stand for a path from now on.
fn take_origins(set_by: &mut Provenance, later: &Provenance, path: &str) {
    match later.of(path) {
        [] => {
            set_by.remove(path);
        }
        origins => set_by.set(path, origins.to_vec()),
    }
}

/// Both have a say in every path below a prefix.
fn add_origins(set_by: &mut Provenance, later: &Provenance, prefix: &str) {
    for (path, origins) in later.iter().filter(|(path, _)| path.starts_with(prefix)) {
        set_by.add(path, origins);
    }
}

impl SessionSection {
    /// Merges a later section into this one.
    fn merge(&mut self, later: &SessionSection, set_by: &mut Provenance, theirs: &Provenance) {
        add_origins(set_by, theirs, "session.");
        merge::slot(&mut self.orchestrator, &later.orchestrator);
        merge::slot(&mut self.context, &later.context);
        merge::maps(&mut self.metadata.0, &later.metadata.0);
        merge::maps(&mut self.extra.0, &later.extra.0);
        let replaced = [
            ("session.raw", merge::replace(&mut self.raw, &later.raw)),
            (
                "session.injection_budget_per_turn",
                merge::replace(&mut self.injection_budget_per_turn, &later.injection_budget_per_turn),
            ),
            (
                "session.injection_size_limit",
                merge::replace(&mut self.injection_size_limit, &later.injection_size_limit),
            ),
            (
                "session.orchestrator_source",
                merge::replace(&mut self.orchestrator_source, &later.orchestrator_source),
            ),
            ("session.context_source", merge::replace(&mut self.context_source, &later.context_source)),
        ];
        for (path, _) in replaced.iter().filter(|(_, replaced)| *replaced) {
            take_origins(set_by, theirs, path);
        }
    }
}

fn compose_agents(base: &mut Agents, later: &Agents) {
    merge::replace(&mut base.access, &later.access);
    base.neighbours = base.neighbours.or(later.neighbours);
    for entry in &later.roster {
        match base.roster.iter_mut().find(|known| known.name == entry.name) {
            Some(known) => known.clone_from(entry),
            None => base.roster.push(entry.clone()),
        }
    }
}

fn compose_context(base: Vec<ContextEntry>, later: &[ContextEntry]) -> Vec<ContextEntry> {
    let mut all: Vec<ContextEntry> = Vec::with_capacity(base.len() + later.len());
    for entry in base.into_iter().chain(later.iter().cloned()).map(prefixed) {
        match all.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => *known = entry,
            None => all.push(entry),
        }
    }
    all
}

/// Puts the bundle's name in front of a key that has none.
fn prefixed(mut entry: ContextEntry) -> ContextEntry {
    if !entry.key.contains(':') && !entry.origin.bundle.is_empty() {
        entry.key = format!("{}:{}", entry.origin.bundle, entry.key);
    }
    entry
}

fn compose_spawn(base: &mut SpawnSection, later: &SpawnSection) {
    if !later.exclude_tools.is_empty() {
        base.exclude_tools.extend(later.exclude_tools.iter().cloned());
        merge::unique(&mut base.exclude_tools, String::clone);
    }
    if let Some(tools) = &later.tools {
        let all = base.tools.get_or_insert_default();
        all.extend(tools.iter().cloned());
        merge::unique(all, |entry| merge::canonical(&entry.to_json()));
    }
    merge::maps(&mut base.extra.0, &later.extra.0);
}

impl AgentDef {
    /// Takes from an agent's file what is not said here. What is said here stays.
    ///
    /// The name stays as it is; the base path is the file's, because the gaps' mentions are relative to it.
    pub fn fill_gaps(&mut self, file: AgentDef) {
        fill(&mut self.description, file.description);
        fill(&mut self.instruction, file.instruction);
        fill(&mut self.tools, file.tools);
        fill(&mut self.providers, file.providers);
        fill(&mut self.hooks, file.hooks);
        fill(&mut self.session, file.session);
        fill(&mut self.provider_preferences, file.provider_preferences);
        fill(&mut self.model_role, file.model_role);
        fill(&mut self.agents, file.agents);
        fill(&mut self.permission_mode, file.permission_mode);
        fill(&mut self.tool_names.allowed, file.tool_names.allowed);
        if self.tool_names.denied.is_empty() {
            self.tool_names.denied = file.tool_names.denied;
        }
        fill(&mut self.max_turns, file.max_turns);
        fill(&mut self.base_path, file.base_path);
        for (key, value) in file.extra.0 {
            self.extra.0.entry(key).or_insert(value);
        }
        extend_unique(&mut self.origins, &file.origins);
    }
}

fn fill<T>(gap: &mut Option<T>, value: Option<T>) {
    if gap.is_none() {
        *gap = value;
    }
}
