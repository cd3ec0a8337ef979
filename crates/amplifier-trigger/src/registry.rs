//! From declarations to sources; and the types of sources that code adds.
//!
//! Guarantees: what is wrong with a declaration that only the process can tell (a variable that is not
//! set) is an error here, before anything starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::{Clock, Payload};

use crate::config::{TriggerConfig, TriggerKind, TriggerSpec};
use crate::manual::{ManualHandle, ManualTrigger};
use crate::source::TriggerSource;
use crate::timer::TimerTrigger;
use crate::webhook::{Secret, SecretError, WebhookHandle, WebhookTrigger};

/// Why a source of somebody's own refuses its configuration.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Makes a source of its `config`.
type Make = Arc<dyn Fn(&Payload) -> Result<Box<dyn TriggerSource>, SourceError> + Send + Sync>;

/// The types of triggers that code adds to the built-in ones. Cheap to clone.
#[derive(Clone, Default)]
pub struct TriggerRegistry {
    makers: BTreeMap<Arc<str>, Make>,
}

/// Looks a variable up by its name.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a process lends to the making of sources.
#[derive(Clone)]
#[non_exhaustive]
pub struct SourceEnv {
    /// The project's directory; paths of file changes are below it.
    pub root: PathBuf,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Looks a variable up, in the environment and in the keys.
    pub variable: Variables,
}

/// A source, and how it is reached.
#[derive(Debug)]
#[non_exhaustive]
pub struct BuiltTrigger {
    /// The source.
    pub source: Box<dyn TriggerSource>,
    /// What feeds it, where something does.
    pub handle: TriggerHandle,
}

impl BuiltTrigger {
    /// A source that code has made, and that nothing feeds but itself.
    pub fn new(source: impl TriggerSource + 'static) -> Self {
        Self::boxed(Box::new(source))
    }

    /// The same of one whose type is not known.
    pub fn boxed(source: Box<dyn TriggerSource>) -> Self {
        Self { source, handle: TriggerHandle::None }
    }
}

/// What feeds a source from outside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TriggerHandle {
    /// Nothing: it feeds itself.
    None,
    /// Calls.
    Manual(ManualHandle),
    /// Requests.
    Webhook(WebhookHandle),
}

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A type that nobody has registered, or that is fed by the event log and made there.
    #[error("a trigger of the type `{kind}` is not made here")]
    NotHere {
        /// The type.
        kind: TriggerKind,
    },
    /// Nobody tells of changes of issues here.
    #[error(
        "nothing tells of changes of issues here; let a manager of background sessions make it, or register a source for `issue_event`"
    )]
    NoIssues,
    /// The secret of a webhook.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// This build watches no files.
    #[error("this build watches no files; build it with the feature `watch`")]
    NoWatch,
    /// The globs of a file change.
    #[error("`{glob}` is no glob")]
    Glob {
        /// The glob.
        glob: String,
    },
    /// A source of somebody's own refuses its configuration.
    #[error("the trigger `{kind}` refuses its configuration")]
    Refused {
        /// The type.
        kind: TriggerKind,
        /// Why.
        #[source]
        source: SourceError,
    },
}

/// A type cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` cannot be the type of a trigger; choose letters, digits and `_`, and none of the built-in names"
)]
pub struct InvalidType {
    name: String,
}

impl TriggerRegistry {
    /// The built-in types alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type, or replaces the one that had this name. `make` is called at each start with the
    /// trigger's `config`; it must return at once. Of the built-in names only `issue_event` can be taken: its
    /// source is supplied by who has the issues, and is given an [`IssueEventConfig`](crate::config::IssueEventConfig).
    pub fn register<F>(&mut self, name: &str, make: F) -> Result<(), InvalidType>
    where
        F: Fn(&Payload) -> Result<Box<dyn TriggerSource>, SourceError> + Send + Sync + 'static,
    {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let well_formed = !name.is_empty() && name.len() <= 64 && name.chars().all(allowed);
        let kind = TriggerKind::named(name);
        if !well_formed || (kind.is_built_in() && kind != TriggerKind::IssueEvent) {
            return Err(InvalidType { name: name.chars().take(80).collect() });
        }
        self.makers.insert(Arc::from(name), Arc::new(make));
        Ok(())
    }

    /// True if code has registered this type.
    pub fn knows(&self, name: &str) -> bool {
        self.makers.contains_key(name)
    }

    /// Makes the source of a declaration. That of `session_event` is made by who has the log: here it is
    /// [`BuildError::NotHere`]. That of `issue_event` is made by who has registered it, else it is
    /// [`BuildError::NoIssues`].
    pub fn build(&self, config: &TriggerConfig, env: &SourceEnv) -> Result<BuiltTrigger, BuildError> {
        let policy = config.policy.clone();
        let alone = |source| Ok(BuiltTrigger { source, handle: TriggerHandle::None });
        match &config.spec {
            TriggerSpec::Timer(timer) => alone(Box::new(TimerTrigger::new(timer.clone(), policy))),
            TriggerSpec::Manual => {
                let (source, handle) = ManualTrigger::until(policy.end_time);
                Ok(BuiltTrigger { source: Box::new(source), handle: TriggerHandle::Manual(handle) })
            }
            TriggerSpec::Webhook(webhook) => {
                let value = (env.variable)(&webhook.secret_env);
                let secret = Secret::of(webhook.scheme, &webhook.secret_env, value.as_deref())?;
                let clock = Arc::clone(&env.clock);
                let (source, handle) = WebhookTrigger::new(webhook.clone(), secret, clock, policy.end_time);
                Ok(BuiltTrigger { source: Box::new(source), handle: TriggerHandle::Webhook(handle) })
            }
            #[cfg(feature = "watch")]
            TriggerSpec::FileChange(files) => {
                let source = crate::FileChangeTrigger::new(&env.root, files.clone(), policy.end_time)?;
                alone(Box::new(source))
            }
            #[cfg(not(feature = "watch"))]
            TriggerSpec::FileChange(_) => Err(BuildError::NoWatch),
            TriggerSpec::Own { kind, config } => self.own(TriggerKind::Own(Arc::clone(kind)), config),
            TriggerSpec::IssueEvent(issues) if self.knows(TriggerKind::IssueEvent.as_str()) => {
                let config = Payload::encode(issues);
                let config = config.map_err(|source| refused(TriggerKind::IssueEvent, source.into()))?;
                self.own(TriggerKind::IssueEvent, &config)
            }
            TriggerSpec::IssueEvent(_) => Err(BuildError::NoIssues),
            TriggerSpec::SessionEvent(_) => Err(BuildError::NotHere { kind: config.kind() }),
        }
    }

    fn own(&self, kind: TriggerKind, config: &Payload) -> Result<BuiltTrigger, BuildError> {
        let Some(make) = self.makers.get(kind.as_str()) else { return Err(BuildError::NotHere { kind }) };
        let source = make(config).map_err(|source| refused(kind, source))?;
        Ok(BuiltTrigger { source, handle: TriggerHandle::None })
    }
}

fn refused(kind: TriggerKind, source: SourceError) -> BuildError {
    BuildError::Refused { kind, source }
}

impl fmt::Debug for TriggerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.makers.keys()).finish()
    }
}

impl SourceEnv {
    /// What sources are made with.
    pub fn new(
        root: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { root: root.into(), clock, variable: Arc::new(variable) }
    }
}

impl fmt::Debug for SourceEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceEnv").field("root", &self.root).finish_non_exhaustive()
    }
}
