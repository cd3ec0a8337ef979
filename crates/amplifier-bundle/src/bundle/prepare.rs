//! A bundle that is ready for use: located, composed, its files read.
//!
//! Guarantees: a prepared bundle never changes; [`BundleLoader::prepare`] gives the
//! same one again as long as no file behind it changed, which it sees by `stat`
//! alone; two tasks that want one source load it once.
//! Never here: mounting modules, settings, trust.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::session::FixedPrompt;
use amplifier_core::{Clock, SystemPrompt};

use super::builtin;
use super::diagnostic::{Diagnostic, Strictness};
use super::error::BundleError;
use super::include::Graph;
use super::inputs::{Inputs, Seen};
use super::locate::{Located, Locator, NameOrigin, OnNotice, in_folder, is_bundle};
use super::model::{AgentDef, Bundle, Neighbours, ProjectFiles, SpawnSection};
use super::parse::{FileKind, kind_of, parse_bundle};
use super::plan::MountPlan;
use super::project::ProjectContext;
use super::prompt::SystemPromptSource;
use super::provenance::Origin;
use super::roster::ContextFile;
use crate::mention::MentionResolver;
use crate::source::registry::RegistryError;
use crate::source::uri::without_credentials;
use amplifier_fs::memo::Memo;
use amplifier_fs::read::Stamp;

/// How many prepared bundles a loader keeps.
const MAX_KEPT: usize = 256;

/// A bundle with everything that it includes, ready to be mounted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PreparedBundle {
    /// Its name; that of its file or folder if it states none.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for; may be empty.
    pub description: String,
    /// What a session of it mounts, with provenance.
    pub plan: MountPlan,
    /// The system prompt, without context files.
    pub instruction: Option<String>,
    /// Files that belong to the system prompt, in order.
    pub context_files: Vec<ContextFile>,
    /// The agents that can be delegated to, gaps filled from their files.
    pub agents: BTreeMap<String, Arc<AgentDef>>,
    /// What children of a session may have.
    pub spawn: SpawnSection,
    /// Where each namespace's files are.
    pub namespaces: BTreeMap<String, PathBuf>,
    /// The folder of the bundle's own file; `None` for one from memory.
    pub base_path: Option<PathBuf>,
    /// BLAKE3 over the contents of all files that went in, in hex.
    pub content_hash: String,
    /// The files that went in, with the stamps that they had.
    pub files: Vec<(PathBuf, Stamp)>,
    /// What was noticed; no errors among it.
    pub diagnostics: Vec<Diagnostic>,
    /// The source as it was asked for, without credentials.
    pub source: String,
    /// The bundle composed, for `bundle show` and for whoever composes onto it.
    pub bundle: Bundle,
    shared: Shared,
    seen: Seen,
}

/// What every session of a bundle needs, so that none has a copy of its own.
#[derive(Debug, Clone)]
struct Shared {
    instruction: Arc<str>,
    context: Arc<[ContextFile]>,
    /// The prompt, where neither context files nor mentions could change it.
    fixed: Option<Arc<FixedPrompt>>,
    /// A resolver that works nowhere yet.
    resolver: MentionResolver,
    /// The instructions of wherever a session works.
    project: Option<Arc<ProjectContext>>,
}

impl Shared {
    fn new(bundle: &Bundle, context: &[ContextFile], memo: &Arc<Memo>) -> Self {
        let instruction: Arc<str> = bundle.instruction.as_deref().unwrap_or_default().into();
        let fixed = (context.is_empty() && !instruction.contains('@'))
            .then(|| Arc::new(FixedPrompt(Some(Arc::clone(&instruction)).filter(|text| !text.is_empty()))));
        let named = context.iter().map(|file| (file.key.clone(), file.path.clone())).collect();
        let resolver = MentionResolver::new(PathBuf::new())
            .namespaces(bundle.source_base_paths.clone())
            .named(named)
            .memo(Arc::clone(memo));
        Self { instruction, context: context.into(), fixed, resolver, project: None }
    }
}

impl PreparedBundle {
    /// A bundle from a text in memory: markdown with front matter, or YAML.
    ///
    /// Nothing is read, so its includes, agent files and context files are left out with a
    /// warning; [`BundleLoader::prepare_text`] follows them.
    pub fn from_str(name: &str, text: &str) -> Result<Self, BundleError> {
        let file = memory_file(Path::new(""), name, text);
        let parsed = parse_bundle(text, &file);
        let (bundle, mut diagnostics) =
            parsed.into_result().map_err(|diagnostics| BundleError::Invalid { diagnostics })?;
        diagnostics.extend(not_followed(&bundle));
        let memo = Arc::<Memo>::default();
        let mut inputs = Inputs::new(&memo);
        inputs.in_memory(text);
        let seen = inputs.finish();
        let mut bundle = Bundle::default().compose(&bundle);
        bundle.agents.roster.retain(|entry| !entry.by_name);
        bundle.base_path = None;
        bundle.source_base_paths.clear();
        let fallback = name.to_owned();
        Ok(Self::new(bundle, Vec::new(), seen, diagnostics, (name, fallback), Arc::clone(&memo)))
    }

    fn new(
        bundle: Bundle,
        context_files: Vec<ContextFile>,
        seen: Seen,
        diagnostics: Vec<Diagnostic>,
        (source, fallback): (&str, String),
        memo: Arc<Memo>,
    ) -> Self {
        let shared = Shared::new(&bundle, &context_files, &memo);
        let agents = bundle.agents.roster.iter();
        let agents = agents.map(|entry| (entry.name.clone(), Arc::new(entry.def.clone()))).collect();
        Self {
            name: if bundle.name.is_empty() { fallback } else { bundle.name.clone() },
            version: bundle.version.clone(),
            description: bundle.description.clone(),
            plan: bundle.mount_plan(),
            instruction: bundle.instruction.clone(),
            context_files,
            agents,
            spawn: bundle.spawn.clone(),
            namespaces: bundle.source_base_paths.clone(),
            base_path: bundle.base_path.clone(),
            content_hash: seen.content_hash.clone(),
            files: seen.files.clone(),
            diagnostics,
            source: without_credentials(source),
            bundle,
            shared,
            seen,
        }
    }

    /// Whether every file is as it was when the bundle was prepared, judged by `stat`.
    pub fn is_current(&self) -> bool {
        self.seen.is_current()
    }

    /// Resolves mentions for a session of this bundle that works in `cwd`.
    pub fn mentions(&self, cwd: &Path, home: Option<PathBuf>) -> MentionResolver {
        self.shared.resolver.at(cwd, home)
    }

    /// The system prompt for a session of this bundle that works in `cwd`; one for all of them, where
    /// nothing could change it.
    pub fn prompt(&self, cwd: &Path, home: Option<PathBuf>) -> Arc<dyn SystemPrompt> {
        match &self.shared.fixed {
            Some(fixed) => Arc::clone(fixed) as Arc<dyn SystemPrompt>,
            None => Arc::new(self.system_prompt(cwd, home)),
        }
    }

    /// The system prompt of a session of this bundle that works in `cwd`.
    pub fn system_prompt(&self, cwd: &Path, home: Option<PathBuf>) -> SystemPromptSource {
        let (instruction, context) = (Arc::clone(&self.shared.instruction), Arc::clone(&self.shared.context));
        SystemPromptSource::new(instruction, context, self.mentions(cwd, home))
            .project(self.shared.project.clone())
            .within(self.checkout_of(self.bundle.set_by.of("instruction")))
    }

    /// The system prompt of an agent of this bundle; its `@./` begins in the folder of its file.
    pub fn agent_prompt(&self, agent: &AgentDef, cwd: &Path, home: Option<PathBuf>) -> SystemPromptSource {
        let instruction = agent.instruction.as_deref().unwrap_or_default();
        SystemPromptSource::new(instruction, Vec::new(), self.mentions(cwd, home))
            .project(self.shared.project.clone())
            .from(agent.base_path.clone())
            .within(self.checkout_of(&agent.origins))
    }

    /// The checkout of a file that went in, or else its folder; for a path without a folder, the path itself.
    pub fn place_of<'a>(&'a self, file: &'a Path) -> &'a Path {
        let checkout = self.shared.resolver.checkouts.iter().find(|root| file.starts_with(root));
        checkout.map(PathBuf::as_path).or(file.parent()).unwrap_or(file)
    }

    /// The checkout of the first of these places that is in one.
    fn checkout_of(&self, origins: &[Origin]) -> Option<PathBuf> {
        let of = |origin: &Origin| {
            self.shared.resolver.checkouts.iter().find(|root| origin.file.starts_with(root))
        };
        origins.iter().find_map(of).cloned()
    }
}

fn not_followed(bundle: &Bundle) -> Vec<Diagnostic> {
    use super::diagnostic::{Code, Severity};
    let listed = bundle.includes.iter().map(|include| (&include.source, &include.origin));
    let agents = bundle.agents.roster.iter().filter(|entry| entry.by_name);
    let listed = listed.chain(agents.map(|entry| (&entry.name, &entry.origin)));
    let listed = listed.chain(bundle.context.iter().map(|entry| (&entry.key, &entry.origin)));
    listed
        .map(|(what, origin)| {
            let message =
                format!("`{}` is left out, a bundle in memory reads no files", without_credentials(what));
            let warning = Diagnostic::new(Severity::Warning, Code::Include, &origin.file, message);
            warning.at(origin.position).help("load it through a bundle loader")
        })
        .collect()
}

/// A name for a text in memory, with the suffix that tells how to read it.
fn memory_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let yaml = folder.join(format!("{name}.yaml"));
    let is_yaml =
        !text.trim_start_matches('\u{feff}').starts_with("---") && kind_of(text, &yaml) == FileKind::Bundle;
    if is_yaml { yaml } else { folder.join(format!("{name}.md")) }
}

/// Where a loader looks, and how strict it is.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoaderOptions {
    /// `$AMPLIFIER_HOME`: cache, `registry.json`, the user's bundles.
    pub home: PathBuf,
    /// What `~` stands for.
    pub user_home: Option<PathBuf>,
    /// The project's folder, whose `.amplifier/bundles` are known by name.
    pub project_dir: PathBuf,
    /// Where typed relative paths begin; the project's folder unless set.
    pub cwd: PathBuf,
    /// Names that were added by settings, with their sources.
    pub added: BTreeMap<String, String>,
    /// Those of the added names that nobody vouches for: see `HostBuilder::untrusted_project`.
    pub untrusted: BTreeSet<String>,
    /// Other programs whose agents belong to every bundle.
    pub neighbours: Neighbours,
    /// Files of instructions that belong to the prompts of every bundle.
    pub project_files: ProjectFiles,
    /// Whether doubtful input is an error.
    pub strictness: Strictness,
    /// Whether nothing may be fetched.
    pub offline: bool,
    /// Measures the deadlines of fetches.
    pub clock: Arc<dyn Clock>,
    /// Hears what a person may want to know while loading.
    pub on_notice: Option<OnNotice>,
    /// What fetches from the web; `None`: nothing does.
    #[cfg(feature = "web")]
    pub fetch: Option<Arc<dyn crate::source::web::Fetch>>,
}

impl std::fmt::Debug for LoaderOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The sources of added names may hold credentials.
        f.debug_struct("LoaderOptions")
            .field("home", &self.home)
            .field("project_dir", &self.project_dir)
            .field("added", &self.added.keys())
            .field("strictness", &self.strictness)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl LoaderOptions {
    /// A lenient loader for a project, with `$AMPLIFIER_HOME` at `home`.
    pub fn new(home: impl Into<PathBuf>, project_dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let project_dir = project_dir.into();
        Self {
            home: home.into(),
            user_home: None,
            cwd: project_dir.clone(),
            project_dir,
            added: BTreeMap::new(),
            untrusted: BTreeSet::new(),
            neighbours: Neighbours::default(),
            project_files: ProjectFiles::default(),
            strictness: Strictness::Lenient,
            offline: false,
            clock,
            on_notice: None,
            #[cfg(feature = "web")]
            fetch: None,
        }
    }
}

/// Makes bundles ready, and keeps them. Cheap to share behind an `Arc`.
pub struct BundleLoader {
    locator: Locator,
    neighbours: Neighbours,
    project_files: ProjectFiles,
    strictness: Strictness,
    memo: Arc<Memo>,
    kept: Slots<Located>,
    /// Texts in memory, by their names.
    texts: Slots<String>,
}

/// What was prepared of one source, and from what: the async lock makes the second task wait for the first
/// one's result.
type Slot<T> = tokio::sync::Mutex<Option<(T, Arc<PreparedBundle>)>>;

/// What is kept. Guards the map alone; never held across an await.
type Slots<T> = Mutex<HashMap<String, Arc<Slot<T>>>>;

impl std::fmt::Debug for BundleLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BundleLoader").field("project", &self.locator.project).finish_non_exhaustive()
    }
}

impl BundleLoader {
    /// A loader with nothing kept. Reads nothing yet.
    pub fn new(options: LoaderOptions) -> Self {
        let locator = Locator {
            #[cfg(feature = "git")]
            git: git_cache(&options),
            #[cfg(feature = "git")]
            fetches: super::locate::Fetches::new(),
            #[cfg(feature = "web")]
            web: crate::source::web::WebCache {
                root: options.home.join("cache"),
                clock: Arc::clone(&options.clock),
                fetch: options.fetch,
                offline: options.offline,
            },
            amplifier_home: options.home,
            user_home: options.user_home,
            project: options.project_dir,
            cwd: options.cwd,
            added: options.added,
            untrusted: options.untrusted,
            distrusted: Mutex::default(),
            on_notice: options.on_notice,
        };
        Self {
            locator,
            neighbours: options.neighbours,
            project_files: options.project_files,
            strictness: options.strictness,
            memo: Arc::default(),
            kept: Mutex::default(),
            texts: Mutex::default(),
        }
    }

    /// The bundle of a path, a name or an address; see the crate's documentation for the order.
    ///
    /// Local files are read on the calling thread: they are few and small. A source that is not
    /// cached is fetched, which ends within [`FETCH_DEADLINE`](crate::source::git::FETCH_DEADLINE)
    /// or when the future is dropped.
    pub async fn prepare(&self, source: &str) -> Result<Arc<PreparedBundle>, BundleError> {
        let slot = slot(&self.kept, source);
        let mut kept = slot.lock().await;
        let located = self.locator.typed(source).await?;
        if let Some((known, prepared)) = kept.as_ref()
            && *known == located
            && prepared.is_current()
        {
            return Ok(Arc::clone(prepared));
        }
        let mut graph = Graph::new(&self.locator, Inputs::new(&self.memo), source);
        graph.discover(located.clone()).await?;
        let prepared = Arc::new(self.finish(graph, source)?);
        *kept = Some((located, Arc::clone(&prepared)));
        Ok(prepared)
    }

    /// A bundle from a text in memory, whose relative paths begin in the working directory. The same one as long
    /// as the text of this name and all that it includes are the same.
    pub async fn prepare_text(&self, name: &str, text: &str) -> Result<Arc<PreparedBundle>, BundleError> {
        let slot = slot(&self.texts, name);
        let mut kept = slot.lock().await;
        if let Some((known, prepared)) = kept.as_ref()
            && known == text
            && prepared.is_current()
        {
            return Ok(Arc::clone(prepared));
        }
        let file = memory_file(&self.locator.cwd, name, text);
        let mut inputs = Inputs::new(&self.memo);
        inputs.in_memory(text);
        let mut graph = Graph::new(&self.locator, inputs, name);
        graph.discover_parsed(parse_bundle(text, &file), file).await?;
        let prepared = Arc::new(self.finish(graph, name)?);
        *kept = Some((text.to_owned(), Arc::clone(&prepared)));
        Ok(prepared)
    }

    fn finish(&self, mut graph: Graph<'_>, source: &str) -> Result<PreparedBundle, BundleError> {
        graph.read_agents();
        let mut bundle = graph.compose();
        graph.add_neighbours(&mut bundle, self.neighbours);
        let context = graph.read_context(&bundle);
        let fallback = graph.nodes.first().map_or_else(|| source.to_owned(), |node| stem(&node.file));
        let mut diagnostics = std::mem::take(&mut graph.diagnostics);
        let wanted = bundle.project_files.or(self.project_files);
        let project = wanted.any().then(|| ProjectContext::new(wanted, &self.locator.amplifier_home));
        diagnostics.extend(project.as_ref().and_then(|project| project.check(&self.locator.cwd)));
        let checkouts = graph.checkouts();
        let seen = graph.inputs.finish();
        self.strictness.apply(&mut diagnostics);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(BundleError::Invalid { diagnostics });
        }
        let memo = Arc::clone(&self.memo);
        let mut prepared = PreparedBundle::new(bundle, context, seen, diagnostics, (source, fallback), memo);
        prepared.shared.resolver = prepared.shared.resolver.checkouts(checkouts);
        if let Some(project) = project {
            prepared.shared.fixed = None;
            prepared.shared.project = Some(Arc::new(project));
        }
        Ok(prepared)
    }

    /// Every name that resolves, with where it comes from.
    pub fn names(&self) -> Vec<(String, NameOrigin)> {
        self.locator.names()
    }

    /// Why the names of `registry.json` are missing among [`Self::names`]; `None`: they are there.
    pub fn names_fault(&self) -> Option<RegistryError> {
        self.locator.names_fault()
    }

    /// Files that names of the project have led to since this loader was made: nobody vouches for them
    /// unless the project is trusted.
    pub fn distrusted(&self) -> BTreeSet<PathBuf> {
        self.locator.distrusted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bundle of the project's own that stands in front of the built-in one, and what counts in
    /// its place where nobody vouches for the project: the user's own one, or the built-in one.
    pub fn shadowed_default(&self) -> Option<(PathBuf, String)> {
        let [project, user] = self.locator.name_folders();
        let name = builtin::DEFAULT;
        let typed = Some(self.locator.cwd.join(name)).filter(|path| is_bundle(path));
        let added = || self.locator.untrusted.contains(name).then(|| self.locator.project.join(".amplifier"));
        let shadow = typed.or_else(|| in_folder(&project, name)).or_else(added)?;
        let own = in_folder(&user, name).map(|path| path.display().to_string());
        let added =
            || self.locator.added.get(name).filter(|_| !self.locator.untrusted.contains(name)).cloned();
        let instead = own.or_else(added);
        Some((shadow, instead.unwrap_or_else(|| format!("{}:{name}", builtin::NAMESPACE))))
    }

    /// Where a source leads, without reading what is there; fetched if it must be.
    pub async fn locate(&self, source: &str) -> Result<Located, BundleError> {
        self.locator.typed(source).await
    }

    /// The cache of git sources, to update them.
    #[cfg(feature = "git")]
    pub fn git(&self) -> &crate::source::git::GitCache {
        &self.locator.git
    }

    /// The cache of archives and of what was fetched from the web, to update it.
    #[cfg(feature = "web")]
    pub fn web(&self) -> &crate::source::web::WebCache {
        &self.locator.web
    }

    /// How often a file was opened since the loader was made.
    pub fn files_opened(&self) -> u64 {
        self.memo.opened()
    }
}

fn slot<T>(slots: &Slots<T>, source: &str) -> Arc<Slot<T>> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    if slots.len() >= MAX_KEPT && !slots.contains_key(source) {
        slots.clear();
    }
    Arc::clone(slots.entry(source.to_owned()).or_default())
}

#[cfg(feature = "git")]
fn git_cache(options: &LoaderOptions) -> crate::source::git::GitCache {
    use crate::source::git::{GitCache, Network};
    let network = if options.offline { Network::Offline } else { Network::Allowed };
    GitCache::new(options.home.join("cache"), Arc::clone(&options.clock), network)
}

/// The name of a file, or of its folder for `bundle.md`.
fn stem(file: &Path) -> String {
    let stem = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let own = stem(file).unwrap_or_default();
    let folder = file.parent().and_then(stem).filter(|_| own == "bundle");
    folder.unwrap_or(own)
}
