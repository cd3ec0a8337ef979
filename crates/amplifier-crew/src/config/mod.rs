//! Worker pools as files declare them: `foreman.yaml` of a project, or `session.orchestrator.config` of a bundle,
//! which has the same keys.
//!
//! Guarantees: every fault is told at once, with its field and what to write instead; an unknown key is a fault.
//! What a file of a directory says for which nobody vouches widens nothing. A routing of it names pools that there
//! are. Never here: starting anything.

mod fields;
mod file;
#[cfg(test)]
mod fuzz;
mod read;
mod schema;
mod template;

use std::collections::BTreeSet;
use std::time::Duration;

use amplifier_background::notify::NotifyConfig;
use amplifier_background::{BackgroundConfig, DEFAULT_ATTEMPTS, MAX_POOL};
use amplifier_core::Limits;
use amplifier_core::permission::Mode;
use amplifier_trigger::{BackgroundName, ConfigError, TriggerRegistry};
use serde::Serialize;

use crate::routing::Routing;

pub use file::{CrewFile, CrewFileError, FILE_NAME};
pub use schema::schema;
pub use template::TEMPLATE;

/// The keys of the whole.
pub const KEYS: [&str; 12] = [
    "worker_pools",
    "routing",
    "background_sessions",
    "retry",
    "limits",
    "permissions",
    "notify",
    "listen",
    "allowed_hosts",
    "retention",
    "max_iterations",
    "extended_thinking",
];
/// The keys of a pool.
pub const POOL_KEYS: [&str; 8] = [
    "name",
    "worker_bundle",
    "max_concurrent",
    "route_types",
    "limits",
    "permissions",
    "worktree",
    "on_lost",
];
/// The keys of a rule.
pub const RULE_KEYS: [&str; 4] = ["if_metadata_type", "if_status", "and_retry_count_gte", "then_pool"];
/// The keys of `routing`.
pub const ROUTING_KEYS: [&str; 2] = ["default_pool", "rules"];
/// The keys of `retry`.
pub const RETRY_KEYS: [&str; 1] = ["attempts"];
/// The keys of `retention`.
pub const RETENTION_KEYS: [&str; 4] = ["events", "runs", "sessions", "commands"];
/// Where an issue can stand, as `if_status` names it.
pub const STATUSES: [&str; 7] =
    ["open", "in_progress", "blocked", "pending_user_input", "completed", "closed", "failed"];

/// Pools and rules at most.
pub const MAX_POOLS: usize = 100;
/// Workers of a pool, where it does not say.
pub const DEFAULT_CONCURRENT: u32 = 1;
/// Most workers of a pool.
pub const MAX_CONCURRENT: u32 = MAX_POOL;

/// What becomes of an issue whose worker was lost with its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// Its session goes on.
    #[default]
    Resume,
    /// Another session begins anew; that counts as an attempt.
    Restart,
}

/// A pool of workers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Its name; that of its background session.
    pub name: BackgroundName,
    /// The bundle of its workers: a name, path or address. An issue may name another one.
    pub worker_bundle: String,
    /// Workers at once.
    pub max_concurrent: u32,
    /// The types that it asks for; none: whatever nobody else asks for.
    pub route_types: Vec<String>,
    /// Bounds of each worker, beside those of all.
    pub limits: Limits,
    /// What its workers may do. `None`: what the whole says.
    pub permissions: Option<Mode>,
    /// True: each worker has a git worktree of its own.
    pub worktree: bool,
    /// What becomes of an issue whose worker was lost.
    pub on_lost: OnLost,
}

impl PoolConfig {
    /// A pool of one place for anything.
    pub fn new(name: BackgroundName, worker_bundle: impl Into<String>) -> Self {
        Self {
            name,
            worker_bundle: worker_bundle.into(),
            max_concurrent: DEFAULT_CONCURRENT,
            route_types: Vec::new(),
            limits: Limits::default(),
            permissions: None,
            worktree: false,
            on_lost: OnLost::default(),
        }
    }
}

/// How often something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryConfig {
    /// Attempts at an issue in one pool, before it has failed.
    pub attempts: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { attempts: DEFAULT_ATTEMPTS }
    }
}

/// How long the store keeps what has ended; `None`: as long as any store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RetentionConfig {
    /// Events of the log.
    pub events: Option<Duration>,
    /// Runs.
    pub runs: Option<Duration>,
    /// The rows of sessions; their folders stay.
    pub sessions: Option<Duration>,
    /// Commands.
    pub commands: Option<Duration>,
}

/// All that is declared of a crew.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CrewConfig {
    /// The pools, in the order of their declaration.
    pub pools: Vec<PoolConfig>,
    /// Which issue goes to which of them.
    pub routing: Routing,
    /// Background sessions beside them.
    pub background_sessions: Vec<BackgroundConfig>,
    /// How often an issue is tried.
    pub retry: RetryConfig,
    /// Bounds of every worker.
    pub limits: Limits,
    /// What workers may do, where their pool does not say. `None`: `dontAsk`, or `plan` where nobody vouches.
    pub permissions: Option<Mode>,
    /// Who is told of what.
    pub notify: Vec<NotifyConfig>,
    /// Where the HTTP server listens: address and port.
    pub listen: Option<String>,
    /// The hosts that requests may name besides loopback.
    pub allowed_hosts: Vec<String>,
    /// How long the store keeps what has ended.
    pub retention: RetentionConfig,
    /// Model calls of a turn of the conversational foreman.
    pub max_iterations: Option<u32>,
    /// True: the conversational foreman thinks at length.
    pub extended_thinking: Option<bool>,
    /// True if a file of the project has chosen the bundles, and no person.
    pub chosen_by_project: bool,
    /// True if somebody vouches for whoever wrote it.
    pub vouched: bool,
}

impl CrewConfig {
    /// A crew of these pools, each issue to whoever asks for its type.
    pub fn new(pools: Vec<PoolConfig>) -> Result<Self, ConfigError> {
        let routing = read::routing_of(&pools, None, Vec::new()).map_err(ConfigError::new)?;
        Ok(Self::of(pools, routing))
    }

    fn of(pools: Vec<PoolConfig>, routing: Routing) -> Self {
        Self {
            pools,
            routing,
            background_sessions: Vec::new(),
            retry: RetryConfig::default(),
            limits: Limits::default(),
            permissions: None,
            notify: Vec::new(),
            listen: None,
            allowed_hosts: Vec::new(),
            retention: RetentionConfig::default(),
            max_iterations: None,
            extended_thinking: None,
            chosen_by_project: false,
            vouched: true,
        }
    }

    /// Reads a declaration: anything that serializes to a map. Bundles stand in it as they are written.
    pub fn parse<T: Serialize + ?Sized>(value: &T, registry: &TriggerRegistry) -> Result<Self, ConfigError> {
        read::crew(value, registry)
    }

    /// The pool of a name.
    pub fn pool(&self, name: &BackgroundName) -> Option<&PoolConfig> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// What the workers of a pool may do.
    pub fn permissions_of(&self, pool: &PoolConfig) -> Mode {
        let default = if self.vouched { Mode::DontAsk } else { Mode::Plan };
        pool.permissions.or(self.permissions).unwrap_or(default)
    }

    /// The bounds of a worker of a pool: its own, and where it says nothing those of all.
    pub fn limits_of(&self, pool: &PoolConfig) -> Limits {
        pool.limits.or(&self.limits)
    }

    /// Takes away what widens, for a directory for which nobody vouches. The fields that do not count.
    pub fn distrust(&mut self) -> BTreeSet<&'static str> {
        let mut ignored = BTreeSet::new();
        self.vouched = false;
        let widens = |mode: &Option<Mode>| mode.is_some_and(|mode| mode != Mode::Plan);
        let modes = self.pools.iter_mut().map(|pool| &mut pool.permissions);
        let sessions = self.background_sessions.iter_mut().map(|session| &mut session.permissions);
        for mode in modes.chain(sessions).chain([&mut self.permissions]).filter(|mode| widens(mode)) {
            *mode = None;
            ignored.insert("permissions");
        }
        if !std::mem::take(&mut self.notify).is_empty() {
            ignored.insert("notify");
        }
        if !std::mem::take(&mut self.allowed_hosts).is_empty() {
            ignored.insert("allowed_hosts");
        }
        if self.listen.take().is_some() {
            ignored.insert("listen");
        }
        ignored
    }
}

#[cfg(test)]
mod tests;
