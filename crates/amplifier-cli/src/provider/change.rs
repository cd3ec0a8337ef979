//! `amplifier provider add|remove`: what is written.

use std::io::Read;

use amplifier_app::ask;
use amplifier_core::ModuleSpec;
use amplifier_foundation::redact::SecretValue;
use amplifier_foundation::settings::Scope;
use amplifier_foundation::settings::edit::Change;
use amplifier_foundation::settings::keys_edit::{KeyEditError, set_key};
use amplifier_modules::services::ServiceInfo;

use super::{is_named, service};
use crate::args::ScopeArgs;
use crate::args::provider::AddArgs;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output;

/// Where settings list providers.
const PROVIDERS: [&str; 2] = ["config", "providers"];
/// Longest key that is read, in bytes.
const MAX_KEY_BYTES: u64 = 16 * 1024;

/// Configures a provider; for all projects where no scope is given.
pub(super) fn add(args: &AddArgs, context: &Context) -> Result<Code, Failure> {
    let service = service(&args.name)?;
    let spec = spec(args, &service, context)?;
    if args.key_stdin {
        store(&key_name(args, &service)?, &from_stdin()?, context)?;
    }
    let scope = context::scope(&args.scope, Scope::User);
    let changed = crate::settings::change(context, scope, &Change::Module { path: &PROVIDERS, spec: &spec })?;
    let place = crate::settings::place(context, scope);
    output::say(&match changed {
        true => format!("{} is configured in {place}", spec.key()),
        false => format!("{} is configured so already in {place}", spec.key()),
    });
    if !args.key_stdin {
        key(args, &service, &spec, context)?;
    }
    Ok(Code::Success)
}

fn spec(args: &AddArgs, service: &ServiceInfo, context: &Context) -> Result<ModuleSpec, Failure> {
    let mut spec = ModuleSpec::new(service.module);
    spec.id.clone_from(&args.id);
    let key = if service.name == "azure-openai" { "deployment" } else { "default_model" };
    let texts = [(key, &args.model), ("base_url", &args.base_url), ("api_key_env", &args.key_env)];
    for (key, text) in texts {
        if let Some(text) = text {
            spec.config.insert(key.into(), text.as_str().into());
        }
    }
    if let Some(priority) = args.priority {
        spec.config.insert("priority".into(), priority.into());
    }
    let set = |names: &[&str]| names.iter().any(|name| context.variables().get(name).is_some());
    if service.base_url.is_none() && args.base_url.is_none() && !set(service.base_env) {
        let help = format!("name it with --base-url URL, or set {}", service.base_env.join(" or "));
        return Err(Failure::usage(format!("{} has no address of its own", service.name)).help(help));
    }
    if service.model_of(&spec).is_none() {
        let help = "name it with --model NAME";
        return Err(
            Failure::usage(format!("{} has no model that goes without saying", service.name)).help(help)
        );
    }
    Ok(spec)
}

fn key_name(args: &AddArgs, service: &ServiceInfo) -> Result<String, Failure> {
    let name = args.key_env.as_deref().or(service.key_env.first().copied());
    name.map(str::to_owned).ok_or_else(|| Failure::usage(format!("{} takes no key", service.name)))
}

/// Asks for the key that is missing, or says where it should be.
fn key(args: &AddArgs, service: &ServiceInfo, spec: &ModuleSpec, context: &Context) -> Result<(), Failure> {
    let Err(missing) = service.key_of(spec, context.variables().as_ref()) else { return Ok(()) };
    let name = key_name(args, service)?;
    match ask::secret(&format!("the key of {}, {name}", service.name)) {
        Some(key) => store(&name, &key, context),
        None => {
            output::say(&format!("warning: {missing} is not set, so that it cannot be asked yet"));
            output::say("help: put it into the environment or into keys.env, or give it with --key-stdin");
            Ok(())
        }
    }
}

fn from_stdin() -> Result<SecretValue, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_KEY_BYTES).read_to_string(&mut text);
    read.map_err(|error| Failure::work(&error))?;
    match text.trim() {
        "" => Err(Failure::usage("standard input holds no key")
            .help("pipe it in: `amplifier provider add NAME --key-stdin < FILE`")),
        key => Ok(SecretValue::from(key.to_owned())),
    }
}

/// Puts a key into keys.env.
pub(crate) fn store(name: &str, key: &SecretValue, context: &Context) -> Result<(), Failure> {
    set_key(context.home(), name, key).map_err(|error| match error {
        KeyEditError::Lock(_) | KeyEditError::Write { .. } => Failure::work(&error),
        _ => Failure::config(&error),
    })?;
    output::say(&format!("{name} is in {}", context.home().keys_file().display()));
    Ok(())
}

/// Forgets a provider where it is configured, or in the scope that is given.
pub(super) fn remove(name: &str, scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let unknown = || {
        Failure::usage(format!("no provider is configured as `{name}`"))
            .help("`amplifier provider list` shows what is, and where")
    };
    let set =
        context.settings().providers.iter().find(|set| is_named(&set.value, name)).ok_or_else(unknown)?;
    let scope = context::scope(scope, set.by.scope());
    let change = Change::RemoveModule { path: &PROVIDERS, key: set.value.key() };
    if !crate::settings::change(context, scope, &change)? {
        return Err(unknown());
    }
    output::say(&format!("{} is forgotten in {}", set.value.key(), crate::settings::place(context, scope)));
    Ok(Code::Success)
}
