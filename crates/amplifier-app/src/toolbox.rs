//! The tools of a bundle without a model: what there are, and one call of one of them.
//!
//! A session is started as any other, by `spawn_bundle`, with an orchestrator that does this one thing: so hooks,
//! permissions, limits and the sandbox are those of a session.
//! Guarantees: a tool that changes something is called in a session that is recorded; one that changes nothing, and
//! a list, leave none behind.
//! Never here: a second way to call a tool.

mod step;

use std::path::Path;
use std::sync::Arc;

use amplifier_core::SessionId;
use amplifier_core::module::Module;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::permission::Permissions;
use amplifier_foundation::bundle::BundleError;
use amplifier_foundation::host::HostError;
use amplifier_foundation::spawn::TreeOutcome;
use amplifier_foundation::{HostBuilder, Shutdown, SpawnError, SpawnRequest, spawn_bundle};
use serde_json::Value;

use step::{Did, Job, NoProvider, Step, with_step};

/// What a tool is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// As they are.
    Json(Value),
    /// As they were typed, `name=value`: what the tool's schema wants decides what a value means.
    Pairs(Vec<(String, String)>),
}

/// A tool of a session.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What a model is told of it.
    pub schema: ToolSchema,
    /// Whether a call of it changes nothing.
    pub pure: bool,
}

/// One call.
#[derive(Debug)]
pub struct Called {
    /// The session that it was made in, where that is recorded.
    pub session: Option<SessionId>,
    /// What the tool gave back.
    pub text: String,
    /// True for a failure.
    pub is_error: bool,
    /// True if a permission was needed and nobody could be asked.
    pub denied_unasked: bool,
}

/// Why there is no list, or why nothing was called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolboxError {
    /// The host could not be opened.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No session was started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// There is no such tool.
    #[error("bundle {bundle} has no tool `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The bundle.
        bundle: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The arguments do not say what the tool wants.
    #[error("{0}")]
    Arguments(String),
    /// The session ended before its step: a hook, a limit or a module stood in the way.
    #[error("the session ended before it came to the tools: {0}")]
    Ended(String),
}

/// Where the tools are.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The project.
    pub dir: &'a Path,
    /// The bundle: name, path or address.
    pub bundle: &'a str,
    /// What the session may do.
    pub permissions: &'a Permissions,
}

/// Lists the tools of a session.
pub async fn list(builder: HostBuilder, place: Place<'_>) -> Result<Vec<Listed>, ToolboxError> {
    match run(builder.unrecorded(), place, Job::List, Recorded::No).await?.0 {
        Did::Listed(tools) => Ok(tools),
        _ => Err(ToolboxError::Ended("it did something else".into())),
    }
}

/// Makes one call; a future that is dropped stops it.
pub async fn call(
    builder: impl Fn() -> HostBuilder,
    place: Place<'_>,
    name: &str,
    arguments: Arguments,
) -> Result<Called, ToolboxError> {
    let job = |recorded| Job::Call { name: name.to_owned(), arguments: arguments.clone(), recorded };
    let first = run(builder().unrecorded(), place, job(Recorded::No), Recorded::No).await?;
    let (did, tree, session) = match first {
        (Did::ToBeRecorded, ..) => run(builder(), place, job(Recorded::Yes), Recorded::Yes).await?,
        done => (done.0, done.1, None),
    };
    match did {
        Did::Ended { text, is_error } => {
            Ok(Called { session, text, is_error, denied_unasked: tree.denied_unasked })
        }
        Did::Unknown { known } => {
            let (name, bundle) = (name.to_owned(), place.bundle.to_owned());
            Err(ToolboxError::Unknown { name, bundle, known })
        }
        Did::Refused(why) => Err(ToolboxError::Arguments(why)),
        _ => Err(ToolboxError::Ended("it did something else".into())),
    }
}

/// Whether a session leaves something behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    No,
    Yes,
}

/// Runs one session for one job.
async fn run(
    builder: HostBuilder,
    place: Place<'_>,
    job: Job,
    recorded: Recorded,
) -> Result<(Did, TreeOutcome, Option<SessionId>), ToolboxError> {
    let text = match &job {
        Job::List => "the tools of this session".to_owned(),
        Job::Call { name, .. } => format!("one call of {name} at the command line"),
    };
    let step = Step::new(job);
    let modules = [Arc::new(step.clone()) as Arc<dyn Module>, Arc::new(NoProvider)];
    let host = builder.modules(modules).open(place.dir).await?;
    let prepared = host.prepare(place.bundle).await?;
    let bundle = Arc::new(with_step(&prepared, recorded));
    let request = |bundle| SpawnRequest::new(bundle, text.as_str()).permissions(place.permissions.clone());
    let result = match spawn_bundle(&host, request(bundle)).await {
        // What a tool may delegate to has no model then; the others need none.
        Err(SpawnError::NoProvider) => {
            spawn_bundle(&host, request(Arc::new(with_step(&prepared, Recorded::No)))).await?
        }
        other => other?,
    };
    let outcome = result.outcome().await;
    let tree = result.tree(&outcome);
    host.shutdown(Shutdown::Now).await;
    let why = || outcome.error.as_ref().map_or_else(|| outcome.output.clone(), |error| error.message.clone());
    let did = step.did().ok_or_else(|| ToolboxError::Ended(why()))?;
    Ok((did, tree, (recorded == Recorded::Yes).then(|| result.id().clone())))
}
