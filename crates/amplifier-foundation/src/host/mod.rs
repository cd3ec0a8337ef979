//! The host: what a process lends to its sessions, and where they run.
//!
//! Guarantees: every session runs in a task of the host. [`Host::shutdown`] ends
//! what runs and reports what was cut off. Nothing is written before the first
//! session is recorded.

mod builder;
pub mod clock;
pub(crate) mod commands;
mod follow;
pub mod ids;
mod project;
mod quiet;
mod registry;
mod sessions;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use amplifier_core::approval::{Approver, Display};
use amplifier_core::env::Variables;
use amplifier_core::hook::Hook;
use amplifier_core::module::tool::Tool;
use amplifier_core::permission::{Paths, Permissions};
use amplifier_core::turn::RetryPolicy;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelReason, Clock, Ids, Limits, ModuleSpec, SessionId};

use self::commands::Commands;
use crate::bundle::{BundleError, BundleLoader, PreparedBundle};
use crate::governor::ProcessGovernor;
use crate::process::{ProcessLedger, Processes};
use crate::redact::Redactor;
use crate::router::EventRouter;
use crate::spawn::SpawnError;
use crate::spawn::bounds::Bounds;
use crate::spawn::key::Turns;
use crate::spawn::nodes::Nodes;
use crate::spawn::plan::{self, SessionPlan};
use crate::spawn::watchdog::Watchdog;
use crate::storage::{ProjectPaths, SessionStorage};
use amplifier_store::{OwnerId, Store};
use amplifier_trigger::TriggerRegistry;

pub use builder::HostBuilder;
pub use clock::SystemClock;
pub use follow::{Followed, Lines};
pub use ids::RandomIds;
pub use project::{ProjectSessions, ReachError, SessionState};
pub use registry::ModuleRegistry;
pub use sessions::{LiveSessions, WaitError};

/// How long running tools and clean-ups may take after [`Shutdown::Now`].
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// A process's host. Cheap to clone; the last handle that is dropped cancels what still runs.
///
/// The tasks of its sessions hold handles that do not count, made by `Host::uncounted`.
#[derive(Debug, Clone)]
pub struct Host(
    pub(crate) Arc<HostInner>,
    #[expect(dead_code, reason = "held for what happens when the last one is dropped")]
    Option<Arc<LastHandle>>,
);

/// Cancels what runs when the last counted handle is dropped.
#[derive(Debug)]
struct LastHandle(Arc<HostInner>);

/// A bundle from a text in memory.
#[derive(Debug)]
pub(crate) struct InMemory {
    text: String,
    /// Where there are no files, nothing changes it.
    alone: OnceLock<Arc<PreparedBundle>>,
}

impl InMemory {
    /// Texts by their names.
    fn all(texts: HashMap<String, String>) -> HashMap<String, Self> {
        let one = |text| Self { text, alone: OnceLock::new() };
        texts.into_iter().map(|(name, text)| (name, one(text))).collect()
    }

    /// The bundle without any file.
    fn alone(&self, name: &str) -> Result<Arc<PreparedBundle>, BundleError> {
        if let Some(known) = self.alone.get() {
            return Ok(Arc::clone(known));
        }
        let prepared = Arc::new(PreparedBundle::from_str(name, &self.text)?);
        Ok(Arc::clone(self.alone.get_or_init(|| prepared)))
    }
}

/// The inside of a host.
#[derive(Debug)]
pub(crate) struct HostInner {
    pub(crate) registry: ModuleRegistry,
    pub(crate) tools: Vec<Arc<dyn Tool>>,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) triggers: TriggerRegistry,
    pub(crate) bundles: BundleLoader,
    pub(crate) in_memory_bundles: HashMap<String, InMemory>,
    pub(crate) providers: Vec<ModuleSpec>,
    pub(crate) overrides: HashMap<String, serde_json::Map<String, serde_json::Value>>,
    pub(crate) project: PathBuf,
    pub(crate) home: Option<PathBuf>,
    pub(crate) user_home: Option<PathBuf>,
    pub(crate) project_paths: Option<ProjectPaths>,
    pub(crate) processes: Option<ProcessLedger>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) paths: Arc<dyn Paths>,
    pub(crate) variables: Arc<dyn Variables>,
    pub(crate) approver: Arc<dyn Approver>,
    pub(crate) display: Arc<dyn Display>,
    pub(crate) storage: Arc<dyn SessionStorage>,
    pub(crate) permissions: Permissions,
    pub(crate) limits: Limits,
    /// What `limits` makes of a root session.
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) retry: RetryPolicy,
    pub(crate) governor: Arc<ProcessGovernor>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) strict: bool,
    pub(crate) untrusted_project: bool,
    pub(crate) router: EventRouter,
    pub(crate) sessions: LiveSessions,
    pub(crate) store: Arc<dyn Store>,
    /// This start of this process, in the store.
    pub(crate) owner: OwnerId,
    /// Which owners of the project live.
    pub(crate) owners: Owners,
    pub(crate) commands: Commands,
    pub(crate) watchdog: Watchdog,
    pub(crate) turns: Turns,
    pub(crate) nodes: Nodes,
    /// Plans of roots, by prepared bundle; the last ones that were made. Held for a look-up or a push.
    pub(crate) plans: Mutex<Vec<(Arc<PreparedBundle>, Arc<SessionPlan>)>>,
}

/// Tells whether an owner of the project lives.
pub(crate) type Lives = dyn Fn(&OwnerId) -> bool + Send + Sync;

/// Who lives. Where nobody can tell, everybody does.
#[derive(Clone, Default)]
pub(crate) struct Owners(pub(crate) Option<Arc<Lives>>);

impl std::fmt::Debug for Owners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Owners").field(&self.0.is_some()).finish()
    }
}

/// How many plans of roots a host keeps.
const MAX_PLANS: usize = 16;

/// Why a host could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The project directory is missing or cannot be read.
    #[error("project directory {} cannot be opened", path.display())]
    Directory {
        /// The directory as given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The home folder cannot be found.
    #[error(transparent)]
    Home(#[from] crate::settings::home::HomeError),
    /// The project's folder under the home cannot be used.
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
}

/// How a host shall end.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Shutdown {
    /// Sessions may finish within this time; then they are cancelled.
    Drain {
        /// How long they may take.
        within: Duration,
    },
    /// Sessions are cancelled at once.
    Now,
}

/// What a shutdown met.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Sessions that were cancelled.
    pub cancelled: Vec<SessionId>,
    /// Sessions that did not even stop when they were cancelled: a module blocks its thread.
    pub stuck: Vec<SessionId>,
}

impl Host {
    /// Begins to build a host.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    fn new(inner: HostInner) -> Self {
        let inner = Arc::new(inner);
        Self(Arc::clone(&inner), Some(Arc::new(LastHandle(inner))))
    }

    /// A handle for the host's own tasks: it keeps the inside alive, and no session running.
    pub(crate) fn uncounted(&self) -> Self {
        Self(Arc::clone(&self.0), None)
    }

    /// What begins to settle what processes that are gone have left. It does not keep the host.
    fn recovery(&self) -> Box<dyn FnOnce() + Send> {
        let (host, runtime) = (Arc::downgrade(&self.0), tokio::runtime::Handle::current());
        Box::new(move || {
            let recover = async move {
                let Some(host) = host.upgrade() else { return };
                if let Err(error) = crate::spawn::recover::recover(&Self(host, None)).await {
                    tracing::warn!(%error, "sessions whose process is gone could not be settled");
                }
            };
            runtime.spawn(recover);
        })
    }

    /// A handle for a task that starts a session: a shutdown waits for its end.
    pub(crate) fn starting(&self) -> Starting {
        self.0.sessions.start_began();
        Starting(self.uncounted())
    }

    /// The event router.
    pub fn router(&self) -> &EventRouter {
        &self.0.router
    }

    /// The sessions that run in this process.
    pub fn sessions(&self) -> &LiveSessions {
        &self.0.sessions
    }

    /// The sessions of the project, whichever process runs them.
    pub fn project_sessions(&self) -> ProjectSessions {
        ProjectSessions::of(self)
    }

    /// This start of this process, as the store knows it.
    pub fn owner(&self) -> &OwnerId {
        &self.0.owner
    }

    /// True unless an owner is known to be gone.
    pub fn lives(&self, owner: &OwnerId) -> bool {
        *owner == self.0.owner || self.0.owners.0.as_ref().is_none_or(|lives| lives(owner))
    }

    /// Where sessions are kept.
    pub fn storage(&self) -> &Arc<dyn SessionStorage> {
        &self.0.storage
    }

    /// Where outcomes are kept, and all else that must be true after a crash.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The plan of a session of this bundle that nobody spawned; made once for each prepared bundle.
    pub(crate) fn root_plan(
        &self,
        bundle: &Arc<PreparedBundle>,
        provider: Option<&str>,
    ) -> Result<Arc<SessionPlan>, SpawnError> {
        let plans = || self.0.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if provider.is_none()
            && let Some((_, plan)) = plans().iter().find(|(known, _)| Arc::ptr_eq(known, bundle))
        {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(plan::of_root(self, Arc::clone(bundle), provider)?);
        if provider.is_none() {
            let mut plans = plans();
            if plans.len() == MAX_PLANS {
                plans.remove(0);
            }
            plans.push((Arc::clone(bundle), Arc::clone(&plan)));
        }
        Ok(plan)
    }

    /// True if nobody vouches for the project's own files.
    pub fn is_untrusted(&self) -> bool {
        self.0.untrusted_project
    }

    /// What of a bundle of this name does not count, because nobody vouches for the project.
    pub fn withheld(&self, bundle: &PreparedBundle, name: &str, chosen_by_project: bool) -> Vec<String> {
        crate::spawn::withheld(self, bundle, name, chosen_by_project)
    }

    /// The bundle of a name, path or address; names given to [`HostBuilder::bundle`] come first.
    pub async fn prepare(&self, source: &str) -> Result<Arc<PreparedBundle>, BundleError> {
        match self.0.in_memory_bundles.get(source) {
            Some(known) if self.0.home.is_some() => self.0.bundles.prepare_text(source, &known.text).await,
            Some(known) => known.alone(source),
            None => self.0.bundles.prepare(source).await,
        }
    }

    /// The user's own home folder, where known.
    pub fn user_home(&self) -> Option<&Path> {
        self.0.user_home.as_deref()
    }

    /// Bundles.
    pub fn bundles(&self) -> &BundleLoader {
        &self.0.bundles
    }

    /// The types of triggers that were added to it.
    pub fn triggers(&self) -> &TriggerRegistry {
        &self.0.triggers
    }

    /// Modules that bundles may name.
    pub fn modules(&self) -> &ModuleRegistry {
        &self.0.registry
    }

    /// Time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// What has the sessions of this process wait out rate limits together.
    pub fn governor(&self) -> &Arc<ProcessGovernor> {
        &self.0.governor
    }

    /// Entropy.
    pub fn ids(&self) -> &Arc<dyn Ids> {
        &self.0.ids
    }

    /// True if what would be a warning is an error.
    pub fn is_strict(&self) -> bool {
        self.0.strict
    }

    /// What starts programs in the name of something that is no session; recorded like those of sessions.
    pub fn processes(&self, of: SessionId) -> Arc<Processes> {
        let ledger = self.0.processes.as_ref().map(|ledger| Arc::new(ledger.for_session(of)));
        Processes::new(Arc::clone(self.clock()), self.ids().as_ref(), ledger)
    }

    /// The project directory: absolute, resolved.
    pub fn project(&self) -> &Path {
        &self.0.project
    }

    /// The folder for sessions, caches and settings; `None` in memory.
    pub fn home(&self) -> Option<&Path> {
        self.0.home.as_deref()
    }

    /// Ends what runs, and says what had to be cut off. Every session has its outcome then,
    /// but for those that are reported as stuck. From now on no session starts, save children
    /// of one that runs.
    pub async fn shutdown(&self, how: Shutdown) -> ShutdownReport {
        let inner = &self.0;
        inner.sessions.close();
        let after = |span| inner.clock.sleep(span);
        if let Shutdown::Drain { within } = how {
            until(inner.sessions.idle(), after(within)).await;
        }
        let mut report = ShutdownReport { cancelled: inner.sessions.ids(), stuck: Vec::new() };
        inner.sessions.cancel_all(CancelLevel::Immediate, CancelReason::Shutdown);
        until(inner.sessions.idle(), after(SHUTDOWN_GRACE)).await;
        report.stuck = inner.sessions.ids();
        report.stuck.extend(inner.sessions.stuck());
        inner.router.close();
        report
    }
}

/// A start under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Starting(Host);

impl Starting {
    /// The host of the start.
    pub(crate) fn host(&self) -> Host {
        self.0.clone()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.0.sessions.start_ended();
    }
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        let sessions = &self.0.sessions;
        sessions.close();
        let cut = sessions.len();
        if cut > 0 {
            tracing::warn!(sessions = cut, "a host was dropped while sessions ran; they are cancelled");
            sessions.cancel_all(CancelLevel::Immediate, CancelReason::Shutdown);
        }
    }
}
