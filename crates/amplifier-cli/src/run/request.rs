//! From what was typed to a request for a session.
//!
//! Guarantees: nothing is recorded here but the copy that `--fork-session` asks for.

use std::path::PathBuf;

use amplifier_app::output_schema::OutputSchema;
use amplifier_app::setup::SCRIPTED;
use amplifier_core::SessionId;
use amplifier_core::turn::RetryPolicy;
use amplifier_foundation::fs::read;
use amplifier_foundation::storage::{self, SessionQuery};
use amplifier_foundation::{Host, SpawnRequest, spawn};

use super::prompt::Prompt;
use crate::args::run::{OnExit, RunArgs};
use crate::context::{self, Context};
use crate::exit::Failure;
use crate::output::Facts;

/// A request, and what is known of the session before it exists.
pub(super) struct Asked {
    pub(super) request: SpawnRequest,
    pub(super) facts: Facts,
}

/// Makes the request. `can_ask` tells whether somebody could answer a question; `below` is the parent of
/// a new session.
pub(super) async fn ask(
    args: &RunArgs,
    prompt: Prompt,
    context: &Context,
    (host, can_ask): (&Host, bool),
    below: Option<SessionId>,
) -> Result<Asked, Failure> {
    let earlier = resumed(args, host).await?;
    let (source, by_project) = match &earlier {
        Some(earlier) => (args.options.bundle.clone().or_else(|| earlier.bundle.clone()), false),
        None => {
            let active = context.chosen(host);
            (Some(active.name.clone()), active.by_project())
        }
    };
    let mut facts = Facts {
        parent: earlier.as_ref().map_or_else(|| below.clone(), |earlier| earlier.parent.clone()),
        cwd: context.cwd().to_path_buf(),
        permission_mode: context.mode().as_str(),
        ..Facts::default()
    };
    let mut inherits = false;
    if let Some(source) = &source {
        let bundle = context::prepared(host, source).await?;
        context::tell(&bundle.diagnostics);
        facts.scripted = context.is_scripted(&bundle);
        facts.bundle = Some(bundle.name.clone());
        inherits = facts.parent.is_some() && bundle.plan.providers.is_empty();
    }
    let permissions = context.permissions(&directories(&args.options.add_dir, context)?, can_ask)?;
    let Prompt { typed: text, piped } = prompt;
    let (id, mut request) = match earlier {
        Some(earlier) => {
            let (id, request) = resume(earlier, text, args, host).await?;
            (Some(id), request)
        }
        None => {
            let request = SpawnRequest::new(source.unwrap_or_default(), text);
            let (id, request) = anew(request, args, (context, host), below)?;
            (id, request.chosen_by_project(by_project))
        }
    };
    let mut input = piped;
    if let Some(file) = &args.options.output_schema {
        let file = context.cwd().join(file);
        let schema = OutputSchema::read(&file, args.options.output_schema_retries)?;
        input = Some(input.into_iter().chain([schema.instruction()]).collect::<Vec<_>>().join("\n\n"));
        request = request.checked(schema);
        facts.structured = true;
    }
    if let Some(input) = input {
        request = request.input(input);
    }
    request = with_options(request, args, context).permissions(permissions);
    if inherits {
        facts.scripted = inherits_script(&request, host).await;
    }
    facts.session = id;
    Ok(Asked { request, facts })
}

/// A new session. One below another that was given no id gets one that tells its parent.
fn anew(
    request: SpawnRequest,
    args: &RunArgs,
    (context, host): (&Context, &Host),
    below: Option<SessionId>,
) -> Result<(Option<SessionId>, SpawnRequest), Failure> {
    let typed = args.session_id.as_deref();
    match below {
        None => {
            let id = new_id(typed, host)?;
            Ok((Some(id.clone()), request.session_id(id)))
        }
        Some(parent) => {
            let request = request.parent(parent).cwd(context.cwd());
            let id = typed.map(|typed| new_id(Some(typed), host)).transpose()?;
            Ok((id.clone(), id.into_iter().fold(request, SpawnRequest::session_id)))
        }
    }
}

/// A session to go on with.
struct Earlier {
    id: SessionId,
    parent: Option<SessionId>,
    /// The bundle that it had.
    bundle: Option<String>,
}

/// The request for a session that exists, or for the copy that is made of it now.
async fn resume(
    earlier: Earlier,
    text: String,
    args: &RunArgs,
    host: &Host,
) -> Result<(SessionId, SpawnRequest), Failure> {
    let mut id = earlier.id;
    if args.fork_session {
        let copy = new_id(args.session_id.as_deref(), host)?;
        storage::fork(host.storage().as_ref(), &id, None, copy.clone(), host.clock().now()).await?;
        id = copy;
    }
    let request = SpawnRequest::resume(id.clone(), text);
    Ok(match &args.options.bundle {
        Some(bundle) => (id, request.bundle(bundle.as_str())),
        None => (id, request),
    })
}

pub(crate) fn with_options(mut request: SpawnRequest, args: &RunArgs, context: &Context) -> SpawnRequest {
    let (options, settings) = (&args.options, context.settings());
    // What the session has begun is waited for as its own background sessions are.
    let leave = options.on_exit == OnExit::Cancel;
    request = request.background(true).leave(leave).limits(context.limits());
    // Apart from the signals it is a run in the foreground: somebody waits for it.
    let patience = settings.retry_policy(RetryPolicy::default()).rate_limit_patience;
    request = request.rate_limit_patience(patience);
    if let Some(name) = &options.name {
        request = request.name(name.clone());
    }
    if let Some(provider) = &settings.provider {
        request = request.provider(provider.value.clone());
    }
    if let Some(model) = &settings.model {
        request = request.model(model.value.clone());
    }
    if let Some(tokens) = options.max_tokens {
        request = request.max_output_tokens(tokens);
    }
    if options.cwd.is_some() {
        request = request.cwd(context.cwd());
    }
    request
}

/// The directories of `--add-dir`, which must exist.
pub(crate) fn directories(given: &[PathBuf], context: &Context) -> Result<Vec<PathBuf>, Failure> {
    let open = |dir: &PathBuf| {
        let found = read::canonical(&context.cwd().join(dir)).map_err(|error| Failure::config(&error))?;
        match read::is_dir(&found) {
            true => Ok(found),
            false => Err(Failure::usage(format!("--add-dir {}: that is no directory", dir.display()))),
        }
    };
    given.iter().map(open).collect()
}

/// The session that was asked for; `None` for a new one.
async fn resumed(args: &RunArgs, host: &Host) -> Result<Option<Earlier>, Failure> {
    let id = match (&args.resume, args.continue_last) {
        (Some(text), _) => crate::session::find(text, host).await?,
        (None, true) => latest(host).await?,
        (None, false) => return Ok(None),
    };
    let stored = host.storage().load(&id).await?;
    let metadata = stored.metadata;
    let parent = metadata.spawned_by().cloned();
    // The reference system writes `bundle:name`.
    let named = metadata.bundle.map(|name| name.strip_prefix("bundle:").unwrap_or(&name).to_owned());
    let bundle = metadata.amplifier.bundle_source.or(named);
    if bundle.is_none() {
        // The session that comes to be tells its warnings itself; here none may come.
        stored.warnings.iter().for_each(|warning| crate::output::say(&format!("warning: {warning}")));
    }
    Ok(Some(Earlier { id, parent, bundle }))
}

/// The most recent session of this project.
pub(crate) async fn latest(host: &Host) -> Result<SessionId, Failure> {
    let sessions = host.storage().list(&SessionQuery::default().top_level().limit(20)).await?;
    let readable = sessions.into_iter().find(|session| session.broken.is_none());
    readable.map(|session| session.id).ok_or_else(|| {
        Failure::usage(format!("there is no session in {} yet", host.project().display()))
            .help("begin one with `amplifier run \"…\"`")
    })
}

/// The id that was typed, or a new one.
pub(crate) fn new_id(typed: Option<&str>, host: &Host) -> Result<SessionId, Failure> {
    let id = match typed {
        Some(text) => SessionId::new(text),
        None => SessionId::new(host.ids().v4().to_string()),
    };
    id.map_err(|error| Failure::usage(error.to_string()))
}

/// The same of a session that has its parent's providers: true if all of them are scripts. What is wrong
/// with the request is told when it is made.
async fn inherits_script(request: &SpawnRequest, host: &Host) -> bool {
    let Ok(explanation) = spawn::explain(host, request.clone()).await else { return false };
    let mut providers = explanation.modules.iter().filter(|module| module.kind == "provider").peekable();
    providers.peek().is_some() && providers.all(|module| module.module == SCRIPTED)
}
