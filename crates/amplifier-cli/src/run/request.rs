//! From what was typed to a request for a session.
//!
//! Guarantees: nothing is recorded here but the copy that `--fork-session` asks for.

use std::path::PathBuf;

use amplifier_core::{ModuleSpec, SessionId};
use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::fs::read;
use amplifier_foundation::storage::{self, ProjectScope, SessionQuery};
use amplifier_foundation::{Host, SpawnRequest};

use super::prompt::Prompt;
use crate::args::run::RunArgs;
use crate::context::{self, Context};
use crate::exit::Failure;
use crate::output::Facts;

/// The scripted provider's module.
const SCRIPTED: &str = "provider-scripted";

/// A request, and what is known of the session before it exists.
pub(super) struct Asked {
    pub(super) request: SpawnRequest,
    pub(super) facts: Facts,
}

/// Makes the request. `can_ask` tells whether somebody could answer a question.
pub(super) async fn ask(
    args: &RunArgs,
    prompt: Prompt,
    context: &Context,
    host: &Host,
    can_ask: bool,
) -> Result<Asked, Failure> {
    let options = &args.options;
    let mut facts = Facts {
        cwd: host.project().to_path_buf(),
        permission_mode: context.mode().as_str(),
        ..Facts::default()
    };
    let Prompt { typed: text, piped } = prompt;
    let (mut request, source) = match resumed(args, host).await? {
        Some(id) => resume(id, text, options.bundle.as_deref(), host, &mut facts).await?,
        None => {
            let id = new_id(args.session_id.as_deref(), host)?;
            facts.session = Some(id.clone());
            let active = context.chosen(host);
            let request = SpawnRequest::new(active.name.clone(), text).session_id(id);
            (request.chosen_by_project(active.by_project()), Some(active.name))
        }
    };
    if let Some(piped) = piped {
        request = request.context(piped);
    }
    if let Some(source) = source {
        let bundle = host.prepare(&source).await.map_err(|error| Failure::config(&error))?;
        context::tell(&bundle.diagnostics);
        facts.scripted = is_scripted(&bundle, options.provider.as_deref());
        facts.bundle = Some(bundle.name.clone());
    }
    let permissions = context.permissions(&directories(&options.add_dir, context)?, can_ask)?;
    Ok(Asked { request: with_options(request, args, context).permissions(permissions), facts })
}

/// A session that exists, and the bundle that it will have.
async fn resume(
    id: SessionId,
    text: String,
    bundle: Option<&str>,
    host: &Host,
    facts: &mut Facts,
) -> Result<(SpawnRequest, Option<String>), Failure> {
    let stored = host.storage().load(&id).await?;
    stored.warnings.iter().for_each(|warning| crate::output::say(&format!("warning: {warning}")));
    facts.parent = stored.metadata.spawned_by().cloned();
    facts.session = Some(id.clone());
    let request = SpawnRequest::resume(id, text);
    Ok(match bundle {
        Some(bundle) => (request.bundle(bundle), Some(bundle.to_owned())),
        None => (request, stored.metadata.amplifier.bundle_source),
    })
}

fn with_options(mut request: SpawnRequest, args: &RunArgs, context: &Context) -> SpawnRequest {
    let (options, settings) = (&args.options, context.settings());
    request = request.background(true).limits(context.limits());
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
fn directories(given: &[PathBuf], context: &Context) -> Result<Vec<PathBuf>, Failure> {
    let open =
        |dir: &PathBuf| read::canonical(&context.cwd().join(dir)).map_err(|error| Failure::config(&error));
    given.iter().map(open).collect()
}

/// The session to go on with, copied if a copy is asked for; `None` for a new one.
async fn resumed(args: &RunArgs, host: &Host) -> Result<Option<SessionId>, Failure> {
    let id = match (&args.resume, args.continue_last) {
        (Some(text), _) => {
            storage::resolve_prefix(host.storage().as_ref(), text, ProjectScope::default()).await?.id
        }
        (None, true) => latest(host).await?,
        (None, false) => return Ok(None),
    };
    if !args.fork_session {
        return Ok(Some(id));
    }
    let copy = new_id(args.session_id.as_deref(), host)?;
    storage::fork(host.storage().as_ref(), &id, None, copy.clone(), host.clock().now()).await?;
    Ok(Some(copy))
}

async fn latest(host: &Host) -> Result<SessionId, Failure> {
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

/// True if the provider that will answer is a script.
fn is_scripted(bundle: &PreparedBundle, wanted: Option<&str>) -> bool {
    let providers = &bundle.plan.providers;
    let priority =
        |spec: &ModuleSpec| spec.config.get("priority").and_then(serde_json::Value::as_i64).unwrap_or(100);
    match wanted {
        Some(wanted) => {
            let names = |spec: &&ModuleSpec| {
                spec.key() == wanted
                    || spec.module == wanted
                    || spec.module.strip_prefix("provider-") == Some(wanted)
            };
            providers.iter().find(names).map_or(wanted == "scripted", |spec| spec.module == SCRIPTED)
        }
        None => {
            providers.iter().min_by_key(|spec| priority(spec)).is_some_and(|spec| spec.module == SCRIPTED)
        }
    }
}
