//! `amplifier provider …`: model services, and whether they answer.
//!
//! Guarantees: a key goes to keys.env alone and is never shown; what asks a service says so and has an end.

mod change;
mod test;

pub(crate) use change::store;

use std::collections::BTreeMap;

use amplifier_app::meant::did_you_mean;
use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::ModelInfo;
use amplifier_core::until::until;
use amplifier_foundation::spawn;
use amplifier_foundation::{Host, settings::Set};
use amplifier_modules::services::{ServiceInfo, services};
use serde_json::{Value, json};

use crate::args::provider::ProviderCommand;
use crate::context::{self, Context};
use crate::exit::{Code, Failure, chain};
use crate::output;

/// Does what was asked.
pub(crate) fn run(command: ProviderCommand) -> Result<Code, Failure> {
    let context = context::here()?;
    match command {
        ProviderCommand::List { json } => list(&context, json),
        ProviderCommand::Add(args) => change::add(&args, &context),
        ProviderCommand::Remove { name, scope } => change::remove(&name, &scope, &context),
        ProviderCommand::Test(args) => context::runtime()?.block_on(test::test(&args, &context)),
        ProviderCommand::Models { name, timeout, json } => context::runtime()?.block_on(async {
            let host = context.host().await?;
            let specs = wanted(name.as_deref(), &context)?;
            let mut found = Vec::new();
            for spec in &specs {
                found.push((spec.key().to_owned(), models(&host, spec, timeout.0).await));
            }
            tell_models(found, json)
        }),
    }
}

/// The providers that are configured, else those whose keys are at hand.
fn usual(context: &Context) -> Vec<ModuleSpec> {
    let configured = &context.settings().providers;
    match configured.is_empty() {
        true => amplifier_modules::detect(context.variables().as_ref()),
        false => configured.iter().map(|set| set.value.clone()).collect(),
    }
}

/// The provider of a name; all usual ones without a name.
fn wanted(name: Option<&str>, context: &Context) -> Result<Vec<ModuleSpec>, Failure> {
    let usual = usual(context);
    let Some(name) = name else {
        if usual.is_empty() {
            let help = "`amplifier init` sets one up, `amplifier provider list` shows what there is";
            return Err(Failure::usage("no provider is configured and no key was found").help(help));
        }
        return Ok(usual);
    };
    if let Some(found) = usual.iter().find(|spec| is_named(spec, name)) {
        return Ok(vec![found.clone()]);
    }
    service(name).map(|service| vec![ModuleSpec::new(service.module)])
}

/// True if `name` names this one: by id, by module, or by the module's short name.
fn is_named(spec: &ModuleSpec, name: &str) -> bool {
    [spec.key(), spec.module.as_str(), spec.module.trim_start_matches("provider-")].contains(&name)
}

fn service(name: &str) -> Result<ServiceInfo, Failure> {
    ServiceInfo::of(name).ok_or_else(|| {
        let known = services();
        let names = || known.iter().map(|service| service.name);
        let all = || format!("there are: {}", names().collect::<Vec<_>>().join(", "));
        let help = did_you_mean(name, names(), all);
        Failure::usage(format!("there is no provider `{name}`")).help(help)
    })
}

/// One line of `provider list`.
struct Row {
    name: String,
    module: String,
    model: String,
    key: String,
    has_key: bool,
    from: String,
}

fn list(context: &Context, as_json: bool) -> Result<Code, Failure> {
    let mut rows: Vec<Row> = Vec::new();
    for Set { value: spec, by } in &context.settings().providers {
        rows.push(row(spec, by.to_string(), context));
    }
    let used = rows.is_empty();
    for spec in amplifier_modules::detect(context.variables().as_ref()) {
        if rows.iter().all(|row| row.module != spec.module) {
            let from = if used { "detected" } else { "detected, not used" };
            rows.push(row(&spec, from.to_owned(), context));
        }
    }
    for service in services() {
        if rows.iter().all(|row| row.module != service.module) {
            rows.push(row(&ModuleSpec::new(service.module), String::new(), context));
        }
    }
    if as_json {
        let one = |row: &Row| {
            json!({
                "name": row.name, "module": row.module, "model": row.model, "key": row.key, "has_key": row.has_key,
                "configured_by": if row.from.is_empty() { Value::Null } else { row.from.as_str().into() },
            })
        };
        return output::print_json(&rows.iter().map(one).collect::<Vec<_>>());
    }
    let cells = |row: Row| {
        let from = if row.from.is_empty() { "-".to_owned() } else { row.from };
        [row.name, row.model, row.key, from]
    };
    let rows: Vec<[String; 4]> = rows.into_iter().map(cells).collect();
    Ok(output::print(&output::table(["NAME", "MODEL", "KEY", "CONFIGURED BY"], &rows)))
}

fn row(spec: &ModuleSpec, from: String, context: &Context) -> Row {
    let service = ServiceInfo::of(&spec.module);
    let key = service.map(|service| service.key_of(spec, context.variables().as_ref()));
    let model = service.and_then(|service| service.model_of(spec));
    Row {
        name: spec.id.clone().unwrap_or_else(|| spec.module.trim_start_matches("provider-").to_owned()),
        module: spec.module.clone(),
        model: model.unwrap_or_else(|| "-".to_owned()),
        has_key: matches!(key, None | Some(Ok(_))),
        key: match key {
            None => "-".to_owned(),
            Some(Ok(found)) => found,
            Some(Err(missing)) => format!("missing: {missing}"),
        },
        from,
    }
}

/// The models of a provider, or why there are none.
async fn models(
    host: &Host,
    spec: &ModuleSpec,
    within: std::time::Duration,
) -> Result<Vec<ModelInfo>, Failure> {
    let asking = until(spawn::offer(host, spec), host.clock().sleep(within));
    let offer = Box::pin(asking).await.ok_or_else(|| {
        let waited = amplifier_foundation::settings::duration::format(within);
        Failure::usage(format!("{} did not answer within {waited}", spec.key()))
            .code(Code::TimedOut, "timeout")
    })??;
    offer.models.map_err(|error| {
        let code = if error.kind == amplifier_core::module::provider::ProviderErrorKind::Config {
            Code::Usage
        } else {
            Code::Failed
        };
        Failure::usage(chain(&error)).code(code, "provider")
    })
}

type Found = Vec<(String, Result<Vec<ModelInfo>, Failure>)>;

fn tell_models(found: Found, as_json: bool) -> Result<Code, Failure> {
    let mut code = Code::Success;
    let mut all = BTreeMap::new();
    let mut rows = Vec::new();
    for (name, models) in found {
        match models {
            Ok(models) => {
                let number =
                    |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
                rows.extend(models.iter().map(|model| {
                    [
                        name.clone(),
                        model.id.clone(),
                        number(model.context_window),
                        number(model.max_output_tokens),
                    ]
                }));
                all.insert(name, json!(models));
            }
            Err(failure) => {
                code = failure.report();
                all.insert(name, json!({ "error": failure.message }));
            }
        }
    }
    let printed = match as_json {
        true => output::print_json(&all)?,
        false if rows.is_empty() => Code::Success,
        false => output::print(&output::table(["PROVIDER", "MODEL", "WINDOW", "LONGEST ANSWER"], &rows)),
    };
    Ok(if printed == Code::Success { code } else { printed })
}
