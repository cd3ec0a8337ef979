//! What a daemon runs: a configuration as pools and background sessions.
//!
//! Guarantees: everything that is wrong with it is told at once, with file and line; what does not count because
//! nobody vouches for the directory is told too. Nothing is started.

use std::path::Path;
use std::sync::Arc;

use amplifier_app::context::Context;
use amplifier_app::terminal::{chain, plain, say};
use amplifier_background::BackgroundConfig;
use amplifier_background::control::Published;
use amplifier_background::declared::{Declared, DeclaredAt};
use amplifier_background::notify::NotifyConfig;
use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_crew::config::{CrewConfig, CrewFile, CrewFileError, FILE_NAME};
use amplifier_foundation::Host;
use amplifier_foundation::fs::read;
use serde_json::{Value, json};

use crate::args::daemon::ConfigArgs;
use crate::exit::Failure;

/// A configuration, read and checked.
#[derive(Debug)]
pub(crate) struct Plan {
    file: CrewFile,
    standing: Vec<Declared>,
}

impl Plan {
    /// Reads what was typed, else the project's file.
    pub(super) async fn load(of: &ConfigArgs, context: &Context, host: &Host) -> Result<Self, Failure> {
        let registry = TriggerRegistry::new();
        let read = match (&of.config, &of.bundle) {
            // What a person has typed is vouched for, for this run.
            (Some(path), _) => CrewFile::read(path, true, &registry),
            (None, Some(name)) => return Self::of_bundle(name, host, &registry).await,
            (None, None) => {
                CrewFile::read(&context.cwd().join(FILE_NAME), !context.is_untrusted(), &registry)
            }
        };
        read.map(Self::of).map_err(|error| unread(&error))
    }

    async fn of_bundle(name: &str, host: &Host, registry: &TriggerRegistry) -> Result<Self, Failure> {
        let bundle = host.prepare(name).await.map_err(|error| Failure::bundle(&error))?;
        let read = CrewFile::of_bundle(&bundle, true, registry).map_err(|error| unread(&error))?;
        read.map(Self::of).ok_or_else(|| {
            Failure::usage(format!("bundle {name} has no worker pools"))
                .help("a foreman bundle names them in `session.orchestrator.config.worker_pools`")
        })
    }

    fn of(file: CrewFile) -> Self {
        let at: Arc<Path> = Arc::from(file.file.as_path());
        let place = || DeclaredAt::new(Arc::clone(&at), 1);
        let pool = file.config.pools.iter().map(|pool| {
            let mut config = BackgroundConfig::new(pool.name.clone(), pool.worker_bundle.clone());
            config.pool_size = pool.max_concurrent;
            config.triggers = vec![amplifier_crew::crew::trigger()];
            config
        });
        let standing = pool.chain(file.config.background_sessions.iter().cloned());
        let standing = standing.map(|config| Declared::new(config, place())).collect();
        Self { file, standing }
    }

    /// What the project's file declares; nothing where there is none.
    pub(crate) async fn of_project(context: &Context, host: &Host) -> Result<Option<Self>, Failure> {
        let of = ConfigArgs { config: None, bundle: None };
        if !read::is_file(&context.cwd().join(FILE_NAME)) {
            return Ok(None);
        }
        Self::load(&of, context, host).await.map(Some)
    }

    /// The background sessions beside the pools, which somebody may fire by hand.
    pub(crate) fn fired_by_hand(&self) -> impl Iterator<Item = Declared> {
        self.standing.iter().skip(self.config().pools.len()).cloned()
    }

    pub(super) fn config(&self) -> &CrewConfig {
        &self.file.config
    }

    /// Where it was read.
    pub(super) fn place(&self) -> String {
        self.file.file.display().to_string()
    }

    /// What a person should be told.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.file.diagnostics.iter().map(ToString::to_string)
    }

    /// Tells it.
    pub(super) fn tell(&self) {
        self.warnings().for_each(|warning| say(&plain(&warning)));
    }

    /// Pools and background sessions, as their standing is asked for.
    pub(crate) fn standing(&self) -> &[Declared] {
        &self.standing
    }

    pub(super) fn notify(&self) -> &[NotifyConfig] {
        &self.config().notify
    }

    /// The pools with their places, in one line.
    pub(super) fn in_short(&self) -> String {
        let pools = self.config().pools.iter();
        let pools: Vec<String> =
            pools.map(|pool| format!("{} ({})", pool.name, pool.max_concurrent)).collect();
        if pools.is_empty() { "no pools".to_owned() } else { pools.join(", ") }
    }

    /// The pools for programs.
    pub(super) fn pools(&self) -> Value {
        let pool = |pool: &amplifier_crew::config::PoolConfig| json!({ "name": pool.name, "worker_bundle": pool.worker_bundle, "max_concurrent": pool.max_concurrent });
        self.config().pools.iter().map(pool).collect()
    }
}

fn unread(error: &CrewFileError) -> Failure {
    match error {
        CrewFileError::Wrong { .. } => Failure { bare: true, ..Failure::config(error) },
        error if error.is_missing() => Failure::usage(chain(error))
            .help("`foreman init` writes one to begin with; --config names another"),
        other => Failure::config(other),
    }
}

/// The pools and background sessions that an owner of this project has run last.
pub(super) async fn pools_of(host: &Host) -> Result<Vec<BackgroundName>, Failure> {
    let all = Published::all(host.store().as_ref()).await.map_err(|error| Failure::store(&error))?;
    let Some(last) = all.values().max_by_key(|told| told.at).map(|told| told.owner.clone()) else {
        return Ok(Vec::new());
    };
    Ok(all.into_iter().filter(|(_, told)| told.owner == last).map(|(name, _)| name).collect())
}
