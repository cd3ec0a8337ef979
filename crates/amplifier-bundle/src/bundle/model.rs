//! A bundle as a value: every key of the format, typed.
//!
//! It holds what the files say and where they say it; no path was opened to make it. What is untyped by
//! nature (a module's `config`, `metadata`, keys that nobody here reads) is kept as [`Settings`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use amplifier_core::permission::Mode;
use amplifier_core::{Limits, ModuleSpec};
use serde::{Deserialize, Serialize};

use super::node::Node;
use super::provenance::{Origin, Provenance};
use super::settings::Settings;

/// The version of a bundle that does not state one.
pub const DEFAULT_VERSION: &str = "1.0.0";

/// A bundle: one file as it was read, or several composed into one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Bundle {
    /// Its name, and the namespace of `@name:path`. Empty when the file states none.
    pub name: String,
    /// Its version; [`DEFAULT_VERSION`] when the file states none.
    pub version: String,
    /// What it is for; may be empty.
    pub description: String,
    /// What its namespace points at, relative to its own directory: `..`.
    pub namespace_root: Option<String>,
    /// What it builds on, in the order in which it is composed.
    pub includes: Vec<Include>,
    /// The session's own settings.
    pub session: SessionSection,
    /// Providers, unique by [`ModuleEntry::key`].
    pub providers: Vec<ModuleEntry>,
    /// Tools, unique by key.
    pub tools: Vec<ModuleEntry>,
    /// Hooks, unique by key.
    pub hooks: Vec<ModuleEntry>,
    /// The agents that can be delegated to.
    pub agents: Agents,
    /// Files that are read into the system prompt, unique by key.
    pub context: Vec<ContextEntry>,
    /// Files of instructions of wherever a session works.
    pub project_files: ProjectFiles,
    /// What children of a session may have.
    pub spawn: SpawnSection,
    /// The system prompt: the body of the file. Never blank.
    pub instruction: Option<String>,
    /// The file that was composed last.
    pub file: Option<PathBuf>,
    /// The directory of that file.
    pub base_path: Option<PathBuf>,
    /// Where each namespace's files are, by bundle name. The first bundle of a name wins.
    pub source_base_paths: BTreeMap<String, PathBuf>,
    /// Sections that other parts read (`background_sessions`, `limits`, `permissions`): by key, what each
    /// file says, in the order in which the files are composed.
    pub declared: BTreeMap<String, Vec<Declared>>,
    /// Who set what is not an entry of its own: `bundle.name`, `session.raw`, `instruction`.
    pub(crate) set_by: Provenance,
}

impl Default for Bundle {
    fn default() -> Self {
        Self {
            name: String::new(),
            version: DEFAULT_VERSION.to_owned(),
            description: String::new(),
            namespace_root: None,
            includes: Vec::new(),
            session: SessionSection::default(),
            providers: Vec::new(),
            tools: Vec::new(),
            hooks: Vec::new(),
            agents: Agents::default(),
            context: Vec::new(),
            project_files: ProjectFiles::default(),
            spawn: SpawnSection::default(),
            instruction: None,
            file: None,
            base_path: None,
            source_base_paths: BTreeMap::new(),
            declared: BTreeMap::new(),
            set_by: Provenance::default(),
        }
    }
}

/// A bundle that another one builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Include {
    /// A URI, `namespace:path`, a path or a registered name, as written.
    pub source: String,
    /// Where it is written.
    pub origin: Origin,
}

impl Include {
    /// An include as written at a place.
    pub fn new(source: impl Into<String>, origin: Origin) -> Self {
        Self { source: source.into(), origin }
    }
}

/// A module as a list names it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModuleEntry {
    /// The module. Its name is empty in an entry that only overrides another one by `id`; such an entry
    /// never reaches a mount plan. A relative `source` is already joined to the file's directory.
    pub spec: ModuleSpec,
    /// Whether it was written as a bare name. A bare name replaces, a map is merged.
    pub short: bool,
    /// Further keys, kept and merged (`instance_id`).
    pub extra: Settings,
    /// Where it was written; several when entries were merged.
    pub origins: Vec<Origin>,
}

impl ModuleEntry {
    /// A module at a place.
    pub fn new(spec: ModuleSpec, origin: Origin) -> Self {
        Self { spec, short: false, extra: Settings::default(), origins: vec![origin] }
    }

    /// The key by which entries are merged: the id, else the module.
    pub fn key(&self) -> &str {
        self.spec.key()
    }
}

/// The section `session`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SessionSection {
    /// The loop that drives the session.
    pub orchestrator: Option<ModuleEntry>,
    /// The context manager.
    pub context: Option<ModuleEntry>,
    /// Whether the composed plan goes to the event log.
    pub raw: Option<bool>,
    /// Put into the metadata of each session.
    pub metadata: Settings,
    /// Tokens that hooks may inject in one turn; going over is told.
    pub injection_budget_per_turn: Option<u64>,
    /// Most characters of one injection.
    pub injection_size_limit: Option<u64>,
    /// Older way to write `orchestrator.source`.
    pub orchestrator_source: Option<String>,
    /// Older way to write `context.source`.
    pub context_source: Option<String>,
    /// Further keys, kept and merged.
    pub extra: Settings,
}

/// The section `agents`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Agents {
    /// Who may be delegated to, when the section is not a roster but a rule.
    pub access: Option<AgentAccess>,
    /// The roster, unique by name.
    pub roster: Vec<AgentEntry>,
    /// Agents of which other programs belong to the roster too.
    pub neighbours: Neighbours,
}

impl Agents {
    /// The agent of a name as the roster writes it.
    pub fn get(&self, name: &str) -> Option<&AgentEntry> {
        self.roster.iter().find(|entry| entry.name == name)
    }
}

/// Other programs whose agents are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Neighbours {
    /// Those of Claude Code: `.claude/agents/*.md`.
    pub claude: bool,
    /// Those of Codex: `.codex/agents/*.toml`.
    pub codex: bool,
}

impl Neighbours {
    /// What one of the two wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { claude: self.claude || other.claude, codex: self.codex || other.codex }
    }
}

/// Files of instructions that belong to the system prompt wherever a session works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProjectFiles {
    /// `AGENTS.md`.
    pub agents_md: bool,
    /// `CLAUDE.md` where a folder has no `AGENTS.md`; this holds the other too.
    pub claude_md: bool,
}

impl ProjectFiles {
    /// What one of the two wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { agents_md: self.agents_md || other.agents_md, claude_md: self.claude_md || other.claude_md }
    }

    /// True if any is wanted.
    pub fn any(self) -> bool {
        self.agents_md || self.claude_md
    }
}

/// Which agents a session may delegate to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentAccess {
    /// All that there are.
    All,
    /// None.
    None,
    /// Those of these names.
    Only(Vec<String>),
}

/// An agent of a roster.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AgentEntry {
    /// Its name in the roster: `explorer`, `foundation:explorer`.
    pub name: String,
    /// Whether only its name is listed (`agents.include`), so that its file must say the rest.
    pub by_name: bool,
    /// What is known of it.
    pub def: AgentDef,
    /// Where it is listed.
    pub origin: Origin,
}

/// What an agent is: an inline definition, a file, or a definition whose gaps a file filled.
///
/// `None` is a gap: [`AgentDef::fill_gaps`] takes it from the file. An empty list is no gap.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct AgentDef {
    /// Its name.
    pub name: String,
    /// When to use it; models read this.
    pub description: Option<String>,
    /// Its system prompt.
    pub instruction: Option<String>,
    /// Its own tools, besides those it inherits.
    pub tools: Option<Vec<ModuleEntry>>,
    /// Its own providers.
    pub providers: Option<Vec<ModuleEntry>>,
    /// Its own hooks.
    pub hooks: Option<Vec<ModuleEntry>>,
    /// What differs in its session.
    pub session: Option<SessionSection>,
    /// Providers and models it would rather have, the best first.
    pub provider_preferences: Option<Vec<ProviderPreference>>,
    /// What kind of model it wants (`fast`), the best first.
    pub model_role: Option<Vec<String>>,
    /// Whom it may delegate to.
    pub agents: Option<AgentAccess>,
    /// The mode of a permission layer beside its parent's; never `BypassPermissions`.
    pub permission_mode: Option<Mode>,
    /// Which tools of all that it has it may see, by the names that models call them.
    pub tool_names: ToolNames,
    /// Most model calls of one activation.
    pub max_turns: Option<u32>,
    /// Further keys, kept.
    pub extra: Settings,
    /// The directory of its file, against which its mentions resolve; `None` for an inline definition.
    pub base_path: Option<PathBuf>,
    /// Where it is written; several when a file filled gaps.
    pub origins: Vec<Origin>,
}

impl AgentDef {
    /// What the agent holds itself to.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_turns = self.max_turns;
        limits
    }
}

/// A choice among tools by the names that models call them. It only ever takes away.
///
/// A name that ends in `*` means all that begin so; `mcp__server` means all tools of that server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ToolNames {
    /// Only these; `None`: all.
    pub allowed: Option<Vec<String>>,
    /// All but these.
    pub denied: Vec<String>,
}

impl ToolNames {
    /// True if nothing is taken away.
    pub fn is_all(&self) -> bool {
        self.allowed.is_none() && self.denied.is_empty()
    }

    /// This choice behind those of the agents above it; one that takes nothing away is left out.
    pub fn below(&self, above: &[Self]) -> Vec<Self> {
        above.iter().chain([self]).filter(|one| !one.is_all()).cloned().collect()
    }

    /// Whether a tool of this name may be seen.
    pub fn permit(&self, name: &str) -> bool {
        let among = |names: &[String]| names.iter().any(|pattern| means(pattern, name));
        self.allowed.as_deref().is_none_or(among) && !among(&self.denied)
    }
}

fn means(pattern: &str, name: &str) -> bool {
    let of_server = |rest: &str| pattern.starts_with("mcp__") && rest.starts_with("__");
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || of_server(rest)),
    }
}

/// A provider and model that an agent would rather have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderPreference {
    /// `anthropic`, `provider-anthropic`, or an instance's id.
    pub provider: String,
    /// A model, or a glob of models: `claude-sonnet-*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Merged into the provider's settings.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub config: Settings,
}

impl ProviderPreference {
    /// A preference without settings.
    pub fn new(provider: impl Into<String>, model: Option<String>) -> Self {
        Self { provider: provider.into(), model, config: Settings::default() }
    }
}

/// A file that is read into the system prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContextEntry {
    /// Its name: the path as written, or a given one; after composing with `<bundle>:` in front.
    pub key: String,
    /// Where it is.
    pub target: ContextTarget,
    /// Where it is listed.
    pub origin: Origin,
}

/// Where a context file is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextTarget {
    /// At a path, joined to the directory of the bundle's file.
    File(PathBuf),
    /// In a namespace, once all namespaces are known.
    Pending {
        /// The bundle's name.
        namespace: String,
        /// The path in it.
        path: String,
    },
}

/// The section `spawn`: what children of a session may have.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SpawnSection {
    /// Modules that children do not inherit.
    pub exclude_tools: Vec<String>,
    /// What children get instead of the parent's tools. `None`: they inherit.
    pub tools: Option<Vec<ModuleEntry>>,
    /// Further keys, kept and merged.
    pub extra: Settings,
}

/// What one file says in a section that another part reads.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Declared {
    /// The section's value.
    pub node: Node,
    /// Where it is written.
    pub origin: Origin,
}
