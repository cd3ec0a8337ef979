//! `amplifier bundle show`: the composed bundle.
//!
//! Guarantees: keys and other secrets in the configuration of modules are not shown.

use amplifier_foundation::bundle::{Bundle, MountPlan, builtin, parse_bundle, yaml};
use amplifier_foundation::fs::read;
use amplifier_foundation::{Host, redact::Redactor};
use serde_json::{Value, json};

use crate::args::bundle::ShowArgs;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output::{self, plain};

/// Shows a bundle.
pub(super) async fn show(args: ShowArgs, context: &Context) -> Result<Code, Failure> {
    let source = context.bundle(args.source.as_deref());
    let host = context.host().await?;
    let bundle = if args.no_includes {
        alone(&source, &host).await?
    } else {
        let prepared = context::prepared(&host, &source).await?;
        context::tell(&prepared.diagnostics);
        prepared.bundle.clone()
    };
    let plan = bundle.mount_plan();
    if !args.json {
        return Ok(output::print(&text(&bundle, &plan)));
    }
    let mut value = serde_json::to_value(plan.with_provenance()).map_err(|error| Failure::work(&error))?;
    Redactor::new(context.secrets()).redact(&mut value);
    let mut whole = json!({
        "name": bundle.name, "version": bundle.version, "description": bundle.description,
        "instruction": bundle.instruction,
        "context": bundle.context.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(),
    });
    if let (Some(whole), Value::Object(plan)) = (whole.as_object_mut(), value) {
        whole.extend(plan);
    }
    output::print_json(&whole)
}

/// What one file says by itself.
async fn alone(source: &str, host: &Host) -> Result<Bundle, Failure> {
    let located = host.bundles().locate(source).await.map_err(|error| Failure::bundle(&error))?;
    let text = match builtin::text(&located.file) {
        Some(text) => text.to_owned(),
        None => {
            let read = read::text(&located.file, yaml::MAX_BYTES as u64);
            read.map_err(|error| Failure::config(&error))?.0
        }
    };
    let parsed = parse_bundle(&text, &located.file);
    context::tell(&parsed.diagnostics);
    parsed
        .value
        .ok_or_else(|| Failure::usage(format!("{} cannot be read as a bundle", located.file.display())))
}

fn text(bundle: &Bundle, plan: &MountPlan) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("{:<14}{}\n", format!("{key}:"), plain(&value)));
        }
    };
    line("name", bundle.name.clone());
    line("version", bundle.version.clone());
    line("description", bundle.description.clone());
    line("file", bundle.file.as_ref().map_or_else(String::new, |file| file.display().to_string()));
    line("includes", join(bundle.includes.iter().map(|include| include.source.as_str())));
    line("orchestrator", plan.orchestrator().map_or_else(String::new, |spec| spec.module.clone()));
    line("context", plan.context().map_or_else(String::new, |spec| spec.module.clone()));
    line("providers", join(plan.providers.iter().map(|spec| spec.key())));
    line("tools", join(plan.tools.iter().map(|spec| spec.key())));
    line("hooks", join(plan.hooks.iter().map(|spec| spec.key())));
    line("agents", join(plan.agents.roster.iter().map(|entry| entry.name.as_str())));
    line("files", join(bundle.context.iter().map(|entry| entry.key.as_str())));
    if let Some(instruction) = &bundle.instruction {
        text.push_str(&format!("\n{}\n", plain(instruction.trim_end())));
    }
    text
}

fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
