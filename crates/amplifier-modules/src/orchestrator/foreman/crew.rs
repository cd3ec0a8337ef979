//! Who works on the issues: the owner of the project's triggers, or a crew of this session's own.
//!
//! Guarantees: a crew is started once, at the first turn, or when the owner of before is gone; it ends with the
//! session, and what is cut off then goes on with the next owner. Where nobody works, the model and the person
//! are told why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amplifier_background::control::{Owner, OwnerInfo, OwnerOptions, StartError};
use amplifier_background::declared::Sources;
use amplifier_background::{BackgroundError, BackgroundSessionManager};
use amplifier_core::CancelLevel;
use amplifier_core::approval::NoticeLevel;
use amplifier_core::causes::chain;
use amplifier_core::env::SessionEnv;
use amplifier_core::module::{ModuleSpec, MountError};
use amplifier_core::until::until;
use amplifier_crew::config::FILE_NAME;
use amplifier_crew::{Crew, CrewConfig, CrewError, CrewFile};
use amplifier_foundation::Shutdown;
use amplifier_foundation::spawn::Spawner;

use tokio::sync::mpsc::{Sender, channel};

use super::tell;

/// What a bundle or the project's `foreman.yaml` says.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) crew: Option<CrewConfig>,
    pub(super) max_iterations: Option<u32>,
    pub(super) extended_thinking: bool,
    /// What a person should be told.
    pub(super) warnings: Vec<String>,
}

/// Reads the pools of the bundle, else those of the project.
pub(super) fn declared(spec: &ModuleSpec, spawner: &Spawner) -> Result<Declared, MountError> {
    let host = spawner.host();
    let wrong = |error: &dyn std::fmt::Display| MountError::config(spec, error.to_string());
    let vouched = !(host.is_untrusted() && spawner.is_chosen_by_project());
    let of_bundle = CrewFile::of_bundle(spawner.bundle(), vouched, host.triggers());
    let read = match of_bundle.map_err(|error| wrong(&error))? {
        Some(read) => read,
        None => {
            let path = host.project().join(FILE_NAME);
            match CrewFile::read(&path, !host.is_untrusted(), host.triggers()) {
                Ok(read) => read,
                Err(error) if error.is_missing() => return Ok(Declared::default()),
                Err(error) => return Err(wrong(&error)),
            }
        }
    };
    Ok(Declared {
        max_iterations: read.config.max_iterations,
        extended_thinking: read.config.extended_thinking.unwrap_or(false),
        warnings: read.diagnostics.iter().map(ToString::to_string).collect(),
        crew: Some(read.config),
    })
}

/// Who works on the issues.
#[derive(Debug)]
pub(super) enum Staff {
    /// Nobody has looked yet.
    Unknown(Option<CrewConfig>),
    /// This session's own crew.
    Own {
        /// True once somebody has asked for its end.
        ended: Arc<AtomicBool>,
    },
    /// Another owner.
    Other { owner: OwnerInfo, instead: Option<CrewConfig> },
    /// Nobody, and why.
    Nobody(String),
}

impl Staff {
    pub(super) fn new(declared: Option<CrewConfig>) -> Self {
        Self::Unknown(declared)
    }

    /// True while this session's own crew works.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// What the model should know, where nobody works.
    pub(super) fn trouble(&self) -> Option<&str> {
        match self {
            Self::Nobody(why) => Some(why),
            _ => None,
        }
    }

    /// Sees that somebody works: whoever owns the project's triggers, else a crew of this session.
    pub(super) async fn see_to_it(&mut self, env: &SessionEnv, spawner: &Spawner) {
        let config = match self {
            Self::Own { ended } if ended.load(Ordering::SeqCst) => {
                return self
                    .lacks(env, "somebody has stopped the pools; `foreman start` starts them".to_owned());
            }
            Self::Own { .. } | Self::Nobody(_) => return,
            Self::Unknown(config) | Self::Other { instead: config, .. } => config.take(),
        };
        let owner = match OwnerInfo::read(spawner.host()).await {
            Ok(owner) => owner,
            Err(error) => return self.lacks(env, format!("the store does not say who works: {error}")),
        };
        if let Some(owner) = owner {
            return self.is_other(env, owner, config);
        }
        let Some(config) = config.filter(|config| !config.pools.is_empty() || has_sessions(config)) else {
            return self.lacks(
                env,
                "no worker pools are configured here; `foreman init` writes a foreman.yaml to begin with"
                    .to_owned(),
            );
        };
        let started = until(start(env, spawner, config.clone()), env.cancel.cancelled()).await;
        match started {
            Some(Ok(started)) => {
                tell(env, NoticeLevel::Info, &started.told);
                *self = Self::Own { ended: started.ended };
            }
            Some(Err(error)) => match error.owner() {
                Ok(owner) => self.is_other(env, owner, Some(config)),
                Err(error) => self.lacks(env, chain(&error)),
            },
            None => *self = Self::Unknown(Some(config)),
        }
    }

    fn is_other(&mut self, env: &SessionEnv, owner: OwnerInfo, instead: Option<CrewConfig>) {
        if !matches!(self, Self::Other { owner: before, .. } if before.owner == owner.owner) {
            tell(env, NoticeLevel::Info, &format!("{owner} works on the issues of this project"));
        }
        *self = Self::Other { owner, instead };
    }

    fn lacks(&mut self, env: &SessionEnv, why: String) {
        tell(env, NoticeLevel::Warning, &format!("nobody works on issues: {why}"));
        *self = Self::Nobody(why);
    }
}

fn has_sessions(config: &CrewConfig) -> bool {
    !config.background_sessions.is_empty()
}

/// Why nobody works.
#[derive(Debug, thiserror::Error)]
enum NotStarted {
    #[error(transparent)]
    Owner(#[from] StartError),
    #[error(transparent)]
    Crew(#[from] CrewError),
}

impl NotStarted {
    /// Who works instead.
    fn owner(self) -> Result<OwnerInfo, Self> {
        match self {
            Self::Owner(StartError::Background(BackgroundError::Owned { owner }))
            | Self::Crew(CrewError::Manager(BackgroundError::Owned { owner })) => Ok(owner),
            other => Err(other),
        }
    }
}

/// A crew that this session has started.
struct Started {
    /// What to tell of it.
    told: String,
    /// True once somebody has asked the owner to end.
    ended: Arc<AtomicBool>,
}

/// Becomes the owner of the project's triggers, whom other processes can ask, and starts all pools.
async fn start(env: &SessionEnv, spawner: &Spawner, config: CrewConfig) -> Result<Started, NotStarted> {
    let host = spawner.host();
    let variables = Arc::clone(&env.variables);
    let manager =
        BackgroundSessionManager::with(host, host.triggers().clone(), move |name| variables.get(name));
    let pools = config.pools.iter().map(|pool| format!("{} ({})", pool.name, pool.max_concurrent));
    let sessions = config.background_sessions.iter().map(|session| session.name.to_string());
    let told = pools.chain(sessions).collect::<Vec<_>>().join(", ");
    let crew = Crew::new(host, &manager, config);
    let (ends, all) = (crew.clone(), manager.clone());
    // Before it starts: a start that is cut off is cleaned up too.
    env.coordinator.on_clean_up("the foreman's crew", move || {
        Box::pin(async move {
            ends.stop(Shutdown::Now).await;
            all.shutdown(Shutdown::Now).await;
        })
    });
    let mut sources = Sources::new();
    sources.trusted = !host.is_untrusted();
    let mut options = OwnerOptions::new(sources);
    options.registry = host.triggers().clone();
    let owner = Owner::start(host, manager.clone(), options).await?;
    if let Err(error) = crew.start().await {
        manager.shutdown(Shutdown::Now).await;
        return Err(error.into());
    }
    manager.publish_now().await;
    let ended = Arc::new(AtomicBool::new(false));
    let (noted, (stop, stops)) = (Arc::clone(&ended), channel(1));
    let life = env.cancel.clone();
    tokio::spawn(async move {
        // Held, so that nobody's end of the channel counts as a stop.
        let _stop: Sender<CancelLevel> = stop;
        until(owner.run(stops), life.cancelled_now()).await;
        noted.store(true, Ordering::SeqCst);
    });
    Ok(Started { told: format!("works on issues until this session ends: {told}"), ended })
}
