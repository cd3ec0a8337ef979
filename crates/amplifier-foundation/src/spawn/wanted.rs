//! Which modules a session wants, and what happens when one does not exist here.
//!
//! Orchestrator, context and the only provider are fatal. Tools, hooks and further
//! providers are left out with one line that names them all, or are fatal where the
//! host is strict.

use std::sync::Arc;

use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::Provider;
use serde_json::{Map, Value};

use super::SpawnError;
use crate::bundle::MountPlan;
use crate::host::Host;

/// What is to be mounted, in order: orchestrator, context, providers, tools, hooks.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) specs: Vec<ModuleSpec>,
    /// The line about modules that were left out.
    pub(super) left_out: Option<String>,
}

pub(super) fn wanted(host: &Host, plan: &MountPlan, provider: Option<&str>) -> Result<Wanted, SpawnError> {
    let mut specs = Vec::new();
    for (kind, spec) in [("orchestrator", plan.orchestrator()), ("context", plan.context())] {
        let Some(spec) = spec else { continue };
        require(host, kind, spec)?;
        specs.push(spec.clone());
    }
    let providers = providers(host, plan, provider)?;
    let mut missing = Vec::new();
    for spec in providers.iter().chain(&plan.tools).chain(&plan.hooks) {
        match host.modules().get(&spec.module) {
            Some(_) => specs.push(spec.clone()),
            None if host.0.strict => require(host, "", spec)?,
            None => missing.push(spec.module.as_str()),
        }
    }
    missing.sort_unstable();
    missing.dedup();
    let left_out = (!missing.is_empty()).then(|| {
        format!("left out, not available here: {}; many of them exist as MCP servers", missing.join(", "))
    });
    specs.iter_mut().for_each(|spec| override_config(host, spec));
    Ok(Wanted { specs, left_out })
}

fn require(host: &Host, kind: &'static str, spec: &ModuleSpec) -> Result<(), SpawnError> {
    if host.modules().get(&spec.module).is_some() {
        return Ok(());
    }
    let same_kind =
        |info: &&amplifier_core::module::ModuleInfo| kind.is_empty() || info.kind.as_str() == kind;
    let known: Vec<&str> = host.modules().infos().iter().filter(same_kind).map(|info| info.id).collect();
    let kind = if kind.is_empty() { "tool, hook or provider" } else { kind };
    let help = format!("there are: {}", known.join(", "));
    Err(SpawnError::UnknownModule { kind, module: spec.module.clone(), help })
}

/// The bundle's providers merged over the host's; the host's are added where the bundle names none.
/// At least one of them is a module that exists here.
fn providers(host: &Host, plan: &MountPlan, wanted: Option<&str>) -> Result<Vec<ModuleSpec>, SpawnError> {
    let defaults = &host.0.providers;
    let mut specs: Vec<ModuleSpec> = plan.providers.clone();
    for spec in &mut specs {
        if let Some(default) = defaults.iter().find(|default| default.key() == spec.key()) {
            let mut config = default.config.clone();
            merge(&mut config, &spec.config);
            spec.config = config;
        }
    }
    let asked_for = |spec: &ModuleSpec| wanted.is_some_and(|wanted| names(spec, wanted));
    let add_all = specs.is_empty();
    for default in defaults {
        let known = specs.iter().any(|spec| spec.key() == default.key());
        if !known && (add_all || asked_for(default)) {
            specs.push(default.clone());
        }
    }
    if let Some(wanted) = wanted
        && !specs.iter().any(|spec| names(spec, wanted))
    {
        let module = format!("provider-{}", wanted.trim_start_matches("provider-"));
        if host.modules().get(&module).is_some() {
            specs.push(ModuleSpec::new(module));
        }
    }
    let present = specs.iter().any(|spec| host.modules().get(&spec.module).is_some());
    match specs.first() {
        None => Err(SpawnError::NoProvider),
        Some(spec) if !present => require(host, "provider", spec).map(|()| Vec::new()),
        Some(_) => Ok(specs),
    }
}

/// True if `wanted` names this entry: by id, by module, or by the module's short name.
fn names(spec: &ModuleSpec, wanted: &str) -> bool {
    let short = spec.module.trim_start_matches("provider-");
    [spec.key(), spec.module.as_str(), short].contains(&wanted)
}

/// Puts the provider that was asked for in front and lets no other one answer.
pub(super) fn prefer(providers: &mut Vec<Arc<dyn Provider>>, wanted: &str) -> Result<(), SpawnError> {
    let short = wanted.trim_start_matches("provider-");
    let known: Vec<String> = providers.iter().map(|provider| provider.info().name.clone()).collect();
    providers.retain(|provider| {
        let info = provider.info();
        [info.name.as_str(), info.module.as_str()].contains(&wanted)
            || info.name == short
            || info.module.trim_start_matches("provider-") == short
    });
    match providers.is_empty() {
        true => Err(SpawnError::UnknownProvider { wanted: wanted.to_owned(), known: known.join(", ") }),
        false => Ok(()),
    }
}

fn override_config(host: &Host, spec: &mut ModuleSpec) {
    for key in [spec.module.clone(), spec.key().to_owned()] {
        if let Some(config) = host.0.overrides.get(&key) {
            merge(&mut spec.config, config);
        }
    }
}

/// Maps are merged, everything else is replaced: settings, unlike bundles, must be able to replace a list.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}
