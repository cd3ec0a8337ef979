//! Putting a host together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use amplifier_core::approval::{Approver, Display, NoDisplay, NobodyToAsk};
use amplifier_core::env::{NoVariables, Variables};
use amplifier_core::hook::Hook;
use amplifier_core::module::Module;
use amplifier_core::module::tool::Tool;
use amplifier_core::permission::Permissions;
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Clock, Ids, Limits, ModuleSpec, Payload};

use super::commands::Commands;
use super::quiet::Quiet;
use super::{
    Host, HostError, HostInner, InMemory, LiveSessions, ModuleRegistry, Owners, RandomIds, SystemClock,
};
use crate::bundle::{BundleLoader, LoaderOptions, Neighbours, OnNotice, ProjectFiles, Strictness};
use crate::governor::ProcessGovernor;
use crate::process::{self, ProcessLedger};
use crate::redact::Redactor;
use crate::router::EventRouter;
use crate::settings::environment::ProcessEnv;
use crate::settings::home::AmplifierHome;
use crate::spawn::bounds::Bounds;
use crate::spawn::key::Turns;
use crate::spawn::nodes::Nodes;
use crate::spawn::watchdog::Watchdog;
use crate::storage::{FileStorage, MemoryStorage, ProjectPaths, SessionStorage};
use amplifier_fs::paths::SystemPaths;
use amplifier_store::{MemoryStore, OwnerId, Store};
use amplifier_trigger::{SourceError, TriggerRegistry, TriggerSource};

/// Takes what a process lends to its sessions.
#[must_use]
pub struct HostBuilder {
    registry: ModuleRegistry,
    tools: Vec<Arc<dyn Tool>>,
    hooks: Vec<Arc<dyn Hook>>,
    triggers: TriggerRegistry,
    bundles: HashMap<String, String>,
    added: BTreeMap<String, String>,
    untrusted: Option<BTreeSet<String>>,
    neighbours: (Neighbours, ProjectFiles),
    providers: Vec<ModuleSpec>,
    overrides: HashMap<String, serde_json::Map<String, serde_json::Value>>,
    home: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    variables: Arc<dyn Variables>,
    approver: Arc<dyn Approver>,
    display: Arc<dyn Display>,
    storage: Option<Arc<dyn SessionStorage>>,
    store: Option<Arc<dyn Store>>,
    permissions: Permissions,
    limits: Limits,
    retry: RetryPolicy,
    redactor: Redactor,
    strict: bool,
    offline: bool,
    unrecorded: bool,
    #[cfg(feature = "web")]
    fetch: Option<Arc<dyn crate::source::web::Fetch>>,
    on_notice: Option<OnNotice>,
}

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            registry: ModuleRegistry::default(),
            tools: Vec::new(),
            hooks: Vec::new(),
            triggers: TriggerRegistry::new(),
            bundles: HashMap::new(),
            added: BTreeMap::new(),
            untrusted: None,
            neighbours: Default::default(),
            providers: Vec::new(),
            overrides: HashMap::new(),
            home: None,
            clock: Arc::new(SystemClock::new()),
            ids: Arc::new(RandomIds::new()),
            variables: Arc::new(NoVariables),
            approver: Arc::new(NobodyToAsk),
            display: Arc::new(NoDisplay),
            storage: None,
            store: None,
            permissions: Permissions::unrestricted(),
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            redactor: Redactor::default(),
            strict: false,
            offline: false,
            unrecorded: false,
            #[cfg(feature = "web")]
            fetch: None,
            on_notice: None,
        }
    }
}

impl HostBuilder {
    /// Modules that bundles may name.
    pub fn modules(mut self, modules: impl IntoIterator<Item = Arc<dyn Module>>) -> Self {
        self.registry.add(modules);
        self
    }

    /// A tool that every session has, without a bundle naming it.
    pub fn tool(mut self, tool: impl Tool + 'static) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// A hook that every session has, without a bundle naming it.
    pub fn hook(mut self, hook: impl Hook + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// A type of trigger that declarations may name: `make` makes its source of a trigger's `config`. A name
    /// that no type can have is told in the log, and is unknown to every declaration.
    pub fn trigger_source<F>(mut self, name: &str, make: F) -> Self
    where
        F: Fn(&Payload) -> Result<Box<dyn TriggerSource>, SourceError> + Send + Sync + 'static,
    {
        if let Err(error) = self.triggers.register(name, make) {
            tracing::error!("{error}");
        }
        self
    }

    /// A bundle from memory: `text` is what a `bundle.md` holds.
    pub fn bundle(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.bundles.insert(name.into(), text.into());
        self
    }

    /// Names for bundle addresses, as `amplifier bundle add` keeps them.
    pub fn added_bundles(mut self, added: impl IntoIterator<Item = (String, String)>) -> Self {
        self.added.extend(added);
        self
    }

    /// Nobody vouches for the project: providers of bundles that its `.amplifier/bundles` or these
    /// names, which its settings added, bring in may send no key elsewhere. `None`: it is trusted.
    pub fn untrusted_project(mut self, names: Option<BTreeSet<String>>) -> Self {
        self.untrusted = names;
        self
    }

    /// What of other programs every bundle has: their agents, their files of instructions.
    pub fn neighbours(mut self, agents: Neighbours, files: ProjectFiles) -> Self {
        self.neighbours = (agents, files);
        self
    }

    /// Providers for bundles; an entry of the same key in a bundle is merged over it.
    pub fn providers(mut self, providers: impl IntoIterator<Item = ModuleSpec>) -> Self {
        self.providers.extend(providers);
        self
    }

    /// Settings that win over a bundle's own `config` of a module.
    pub fn override_module(
        mut self,
        module: impl Into<String>,
        config: serde_json::Map<String, serde_json::Value>,
    ) -> Self {
        self.overrides.insert(module.into(), config);
        self
    }

    /// The folder for sessions, caches and settings; `$AMPLIFIER_HOME`, else `~/.amplifier`, by default.
    pub fn home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Time for everything.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Entropy for everything.
    pub fn ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.ids = ids;
        self
    }

    /// Where modules find keys.
    pub fn variables(mut self, variables: Arc<dyn Variables>) -> Self {
        self.variables = variables;
        self
    }

    /// Who answers requests for approval; nobody by default.
    pub fn approver(mut self, approver: Arc<dyn Approver>) -> Self {
        self.approver = approver;
        self
    }

    /// Where progress is shown; nowhere by default.
    pub fn display(mut self, display: Arc<dyn Display>) -> Self {
        self.display = display;
        self
    }

    /// Where sessions are kept; files below the home by default.
    pub fn storage(mut self, storage: Arc<dyn SessionStorage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Where outcomes and all else that must be true after a crash are kept. By default in `amplifier.db` of the
    /// project's folder, which is made with the first session; without the feature `sqlite`, and for a host
    /// in memory, it is kept in memory.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// What sessions may do. Unrestricted by default: the program that embeds decides.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Bounds of every session.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When model calls are made again.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// What is taken out of everything that is written.
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Makes warnings of bundles errors.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Fetches nothing: what is not in the cache is missing.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Sessions are kept in memory, have no folder and are in no list: for what changes nothing that they would
    /// have to tell of later. The project, its bundles and the ledger of processes stay those of the directory.
    pub fn unrecorded(mut self) -> Self {
        self.unrecorded = true;
        self
    }

    /// What fetches bundles from the web; nothing does by default.
    #[cfg(feature = "web")]
    pub fn fetch(mut self, fetch: Arc<dyn crate::source::web::Fetch>) -> Self {
        self.fetch = Some(fetch);
        self
    }

    /// Hears what a person may want to know while bundles are loaded.
    pub fn on_notice(mut self, on_notice: OnNotice) -> Self {
        self.on_notice = Some(on_notice);
        self
    }

    /// A host for a project directory. Nothing is written before the first session is. What processes
    /// that are gone have left running there is ended; their sessions are settled once the store is opened,
    /// beside whatever it was opened for.
    pub async fn open(self, project: impl AsRef<Path>) -> Result<Host, HostError> {
        let given = project.as_ref().to_path_buf();
        let opening = |source| HostError::Directory { path: given.clone(), source };
        let project = amplifier_fs::read::real_path(&given).map_err(opening)?;
        let home = match &self.home {
            Some(home) => AmplifierHome::at(home),
            None => AmplifierHome::discover(&ProcessEnv::capture())?,
        };
        let paths = ProjectPaths::resolve(home.path(), &project)?;
        process::recover(&paths, self.clock.as_ref()).await;
        let (host, opened) = self.assemble(project, Some(home), Some(paths));
        if let Some(on_open) = opened {
            on_open(host.recovery());
        }
        Ok(host)
    }

    /// A host that opens no file and no database, and promises nothing across a crash.
    pub fn in_memory(self) -> Host {
        self.assemble(PathBuf::from("/"), None, None).0
    }

    /// The host, and what has something done once its store is open.
    fn assemble(
        self,
        project: PathBuf,
        home: Option<AmplifierHome>,
        paths: Option<ProjectPaths>,
    ) -> (Host, Option<Opened>) {
        let processes = paths.as_ref().map(|paths| ledger(paths, &self.clock, &self.ids));
        let paths = paths.filter(|_| !self.unrecorded);
        let storage = self.storage.unwrap_or_else(|| default_storage(paths.as_ref(), &self.redactor));
        let owner = OwnerId::fresh(self.ids.as_ref());
        let (store, owners, opened) = match self.store {
            Some(store) => (store, Owners::default(), None),
            None => default_store(paths.as_ref(), &owner, &self.clock, &self.ids),
        };
        let scope: Arc<str> = Arc::from(project.to_string_lossy().as_ref());
        let router =
            EventRouter::new(Arc::clone(&store), Arc::clone(&self.clock), Arc::clone(&self.ids), scope);
        let amplifier_home = home.as_ref().map(|home| home.path().to_path_buf());
        let user_home = home.as_ref().and_then(|home| home.user_home().map(Path::to_path_buf));
        let home_of_loader = amplifier_home.clone().unwrap_or_default();
        let mut loader = LoaderOptions::new(home_of_loader, project.clone(), Arc::clone(&self.clock));
        (loader.user_home, loader.added, loader.offline) = (user_home.clone(), self.added, self.offline);
        loader.strictness = if self.strict { Strictness::Strict } else { Strictness::Lenient };
        let untrusted_project = self.untrusted.is_some();
        loader.untrusted = self.untrusted.unwrap_or_default();
        (loader.on_notice, (loader.neighbours, loader.project_files)) = (self.on_notice, self.neighbours);
        #[cfg(feature = "web")]
        loader.fetch.clone_from(&self.fetch);
        let host = Host::new(HostInner {
            registry: self.registry,
            tools: self.tools,
            hooks: self.hooks,
            triggers: self.triggers,
            bundles: BundleLoader::new(loader),
            in_memory_bundles: InMemory::all(self.bundles),
            providers: self.providers,
            overrides: self.overrides,
            project,
            home: amplifier_home,
            user_home: user_home.clone(),
            project_paths: paths,
            processes,
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
            paths: Arc::new(SystemPaths::with_home(user_home)),
            variables: self.variables,
            approver: self.approver,
            display: Arc::new(Quiet(self.display)),
            storage,
            permissions: self.permissions,
            bounds: Bounds::of_host(&self.limits),
            limits: self.limits,
            retry: self.retry,
            governor: Arc::new(ProcessGovernor::new(Arc::clone(&self.clock), Arc::clone(&self.ids))),
            redactor: Arc::new(self.redactor),
            strict: self.strict,
            untrusted_project,
            router,
            sessions: LiveSessions::new(Arc::clone(&self.clock), Arc::clone(&store)),
            store,
            owner,
            owners,
            commands: Commands::default(),
            watchdog: Watchdog::default(),
            turns: Turns::default(),
            nodes: Nodes::default(),
            plans: Mutex::default(),
        });
        (host, opened)
    }
}

/// Has something done once a store is open.
type Opened = Box<dyn FnOnce(Box<dyn FnOnce() + Send>)>;

/// The processes of the project.
fn ledger(paths: &ProjectPaths, clock: &Arc<dyn Clock>, ids: &Arc<dyn Ids>) -> ProcessLedger {
    ProcessLedger::of_project(paths, Arc::clone(clock), Arc::clone(ids))
}

/// Sessions in files; in memory where there is no project.
fn default_storage(paths: Option<&ProjectPaths>, redactor: &Redactor) -> Arc<dyn SessionStorage> {
    match paths {
        Some(paths) => Arc::new(FileStorage::new(paths.clone(), redactor.clone())),
        None => Arc::new(MemoryStorage::new(redactor.clone())),
    }
}

/// The store of a project, in a file; in memory where there is no project.
fn default_store(
    paths: Option<&ProjectPaths>,
    owner: &OwnerId,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
) -> (Arc<dyn Store>, Owners, Option<Opened>) {
    #[cfg(feature = "sqlite")]
    if let Some(paths) = paths {
        let run = process::run_folder(paths);
        let claimed = paths.clone();
        let prepare = move || claimed.claim().map_err(std::io::Error::other);
        let options = amplifier_store::ProjectStoreOptions::new(
            (paths.database(), run.clone()),
            owner.clone(),
            Arc::clone(clock),
            Arc::clone(ids),
            Arc::new(prepare),
        );
        let lives = move |owner: &OwnerId| amplifier_store::Instance::lives_in(&run, owner);
        let store = Arc::new(amplifier_store::ProjectStore::new(options));
        let of_project = Arc::clone(&store);
        let opened: Opened = Box::new(move |then| of_project.on_open(then));
        return (store, Owners(Some(Arc::new(lives))), Some(opened));
    }
    let _ = (paths, owner);
    (Arc::new(MemoryStore::new(Arc::clone(clock), ids.as_ref())), Owners::default(), None)
}
