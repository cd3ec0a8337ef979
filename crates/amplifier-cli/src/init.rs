//! `amplifier init`: a provider to begin with, and a bundle.
//!
//! Guarantees: questions are asked at a terminal alone; without one what is found is taken, or exit code 2 names what to
//! set. Nothing that stands in the settings is written over unless somebody says so; a key goes to keys.env (0600).
//! Everything is asked before anything is written.

use amplifier_app::ask;
use amplifier_core::ModuleSpec;
use amplifier_foundation::redact::SecretValue;
use amplifier_foundation::settings::Scope;
use amplifier_foundation::settings::edit::Change;
use amplifier_modules::services::{ServiceInfo, services};

use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::provider::store;
use crate::settings::{change, place};
use crate::{args::InitArgs, output};

/// What is going to be written.
struct Chosen {
    service: ServiceInfo,
    spec: ModuleSpec,
    key: Option<(String, SecretValue)>,
    bundle: Option<String>,
}

/// Asks or finds, and writes.
pub(crate) fn run(args: &InitArgs) -> Result<Code, Failure> {
    let context = context::here()?;
    let asks = !args.yes && ask::somebody_is_there();
    let scope = context::scope(&args.scope, Scope::User);
    if !is_wanted(&context, asks)? {
        return Ok(Code::Success);
    }
    let chosen = if asks { asked(&context)? } else { found(&context)? };
    write(&chosen, &context, scope)?;
    output::say("ready: `amplifier run \"hello\"` asks it, `amplifier doctor` looks at everything");
    Ok(Code::Success)
}

/// False where a provider is configured already and stays.
fn is_wanted(context: &Context, asks: bool) -> Result<bool, Failure> {
    let Some(known) = context.settings().providers.first() else { return Ok(true) };
    let told = format!("{} is configured already ({})", known.value.key(), known.by);
    if !asks {
        output::say(&format!("{told}; it stays as it is"));
        output::say("help: `amplifier provider add` configures another one");
        return Ok(false);
    }
    output::say(&told);
    let answer = ask::yes("set up a provider all the same?").ok_or_else(stopped)?;
    if !answer {
        output::say("nothing was written");
    }
    Ok(answer)
}

fn stopped() -> Failure {
    Failure::usage("stopped before the end; nothing was written").code(Code::Failed, "cancelled")
}

/// The first provider whose variables are set.
fn found(context: &Context) -> Result<Chosen, Failure> {
    let detected = amplifier_modules::detect(context.variables().as_ref());
    let first = detected.iter().find_map(|spec| ServiceInfo::of(&spec.module));
    let Some(service) = first else {
        let names: Vec<&str> =
            services().iter().filter_map(|service| service.key_env.first().copied()).collect();
        let help = format!(
            "set one of {} in the environment or in {}, or call `amplifier init` at a terminal",
            names.join(", "),
            context.home().keys_file().display()
        );
        return Err(Failure::usage("no key of a provider was found, and nobody can be asked").help(help));
    };
    output::say(&format!("{} has a key in the environment or in keys.env", service.name));
    let mut spec = ModuleSpec::new(service.module);
    if !service.default_model.is_empty() {
        spec.config.insert("default_model".into(), service.default_model.into());
    }
    Ok(Chosen { service, spec, key: None, bundle: None })
}

/// What a person chooses.
fn asked(context: &Context) -> Result<Chosen, Failure> {
    let variables = context.variables();
    let mut known = services();
    let detected = amplifier_modules::detect(variables.as_ref());
    let place = |service: &ServiceInfo| detected.iter().position(|spec| spec.module == service.module);
    known.sort_by_key(|service| place(service).unwrap_or(usize::MAX));
    let option = |service: &ServiceInfo| {
        let key = service.key_of(&ModuleSpec::new(service.module), variables.as_ref());
        let key = key.unwrap_or_else(|missing| format!("needs a key: {missing}"));
        format!("{} ({key})", service.name)
    };
    let options: Vec<String> = known.iter().map(option).collect();
    let at = ask::choice("which provider shall answer?", &options, 0).ok_or_else(stopped)?;
    let service = *known.get(at).ok_or_else(stopped)?;
    let mut spec = ModuleSpec::new(service.module);
    let address_set = service.base_env.iter().any(|name| variables.get(name).is_some());
    if service.base_url.is_none() && !address_set {
        let url = needed(&format!("the address of {}", service.name))?;
        spec.config.insert("base_url".into(), url.into());
    }
    let missing = service.key_of(&spec, variables.as_ref()).err();
    let key = match missing {
        None => None,
        Some(name) => Some((name.clone(), ask::secret(&format!("its key, {name}")).ok_or_else(stopped)?)),
    };
    let model = match service.default_model {
        "" => needed("the model")?,
        usual => ask::line("the model", usual).ok_or_else(stopped)?,
    };
    let name = if service.name == "azure-openai" { "deployment" } else { "default_model" };
    spec.config.insert(name.into(), model.into());
    let active = context.active().name;
    let bundle = ask::line("the bundle that is used where none is named", &active).ok_or_else(stopped)?;
    let bundle = (bundle != active).then_some(bundle);
    if let Some(bundle) = &bundle {
        exists(bundle, context)?;
    }
    Ok(Chosen { service, spec, key, bundle })
}

/// A line that may not be empty.
fn needed(question: &str) -> Result<String, Failure> {
    ask::line(question, "").filter(|line| !line.is_empty()).ok_or_else(stopped)
}

fn exists(bundle: &str, context: &Context) -> Result<(), Failure> {
    context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        host.bundles().locate(bundle).await.map(drop).map_err(|error| Failure::bundle(&error))
    })
}

fn write(chosen: &Chosen, context: &Context, scope: Scope) -> Result<(), Failure> {
    if let Some((name, key)) = &chosen.key {
        store(name, key, context)?;
    }
    change(context, scope, &Change::Module { path: &["config", "providers"], spec: &chosen.spec })?;
    let model = chosen.service.model_of(&chosen.spec).unwrap_or_default();
    output::say(&format!(
        "{} with model {model} is configured in {}",
        chosen.spec.key(),
        place(context, scope)
    ));
    if let Some(bundle) = &chosen.bundle {
        change(context, scope, &Change::Set { path: &["bundle", "active"], value: bundle })?;
        output::say(&format!("{bundle} is the active bundle in {}", place(context, scope)));
    }
    Ok(())
}
