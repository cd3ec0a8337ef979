//! Which model services a session could ask, and what they lack.
//!
//! Guarantees: no service is asked; of a key the variable's name is told and nothing else.

use amplifier_core::ModuleSpec;
use amplifier_core::env::Variables;
use amplifier_foundation::settings::Set;
use amplifier_modules::services::{ServiceInfo, services};

use super::{Checks, Grade};
use crate::context::Context;

pub(super) fn look(context: &Context, scripted: bool, checks: &mut Checks) {
    let variables = context.variables();
    let configured = &context.settings().providers;
    let detected = amplifier_modules::detect(variables.as_ref());
    let others: Vec<&ModuleSpec> =
        detected.iter().filter(|spec| configured.iter().all(|set| set.value.module != spec.module)).collect();
    let lacks = |spec: &ModuleSpec| {
        ServiceInfo::of(&spec.module).is_some_and(|service| service.key_of(spec, variables.as_ref()).is_err())
    };
    // One that has all it needs can answer for those that do not.
    let grade = match configured.iter().any(|set| !lacks(&set.value)) || scripted {
        true => Grade::Warn,
        false => Grade::Fail,
    };
    for Set { value: spec, by } in configured {
        tell(spec, &format!("configured, {by}"), variables.as_ref(), grade, checks);
    }
    let how = if configured.is_empty() { "detected" } else { "detected, not used: others are configured" };
    others.iter().for_each(|spec| tell(spec, how, variables.as_ref(), Grade::Warn, checks));
    if configured.is_empty() && detected.is_empty() {
        nothing(context, scripted, checks);
    }
}

/// No provider is known; a foreman's workers may have their own.
fn nothing(context: &Context, scripted: bool, checks: &mut Checks) {
    let names: Vec<&str> = services().iter().filter_map(|known| known.key_env.first().copied()).collect();
    let help = format!("`amplifier init` sets one up, or set one of {}", names.join(", "));
    let grade = match (scripted, context.program().name) {
        (true, _) => return checks.ok("provider", "none; a script answers in the active bundle"),
        (false, "amplifier") => Grade::Fail,
        (false, _) => Grade::Warn,
    };
    checks.add("provider", grade, "none is configured and no key was found".to_owned(), Some(help));
}

fn tell(spec: &ModuleSpec, how: &str, variables: &dyn Variables, missing: Grade, checks: &mut Checks) {
    let Some(service) = ServiceInfo::of(&spec.module) else {
        return checks.ok("provider", format!("{} ({how})", spec.key()));
    };
    let model = service.model_of(spec).unwrap_or_else(|| "not named".to_owned());
    let told = |key: &str| format!("{} ({how}): model {model}, {key}", spec.key());
    match service.key_of(spec, variables) {
        Ok(found) => checks.ok("provider", told(&found)),
        Err(name) => {
            let help = format!("set {name} in the environment or in keys.env, or call `amplifier init`");
            checks.add("provider", missing, told(&format!("no key: {name} is not set")), Some(help));
        }
    }
}
