//! Every fault of a bundle that composes, with its place and what to do.
//!
//! Never here: whether a model answers.

use std::path::Path;

use amplifier_core::module::{ModuleInfo, ModuleKind};
use amplifier_foundation::Host;
use amplifier_foundation::bundle::{
    Bundle, Code as Fault, Diagnostic, ModuleEntry, PreparedBundle, Severity, Strictness, validate,
};
use amplifier_foundation::source::registry::near;

/// What is noticed in a bundle that composes: what its files have, and what its modules say of their settings.
pub fn faults(prepared: &PreparedBundle, host: &Host) -> Vec<Diagnostic> {
    let mut found = prepared.diagnostics.clone();
    found.extend(validate::check(&prepared.bundle, Strictness::Lenient));
    found.extend(modules(&prepared.bundle, host));
    let mut seen = Vec::new();
    found.retain(|diagnostic| {
        let text = diagnostic.to_string();
        let new = !seen.contains(&text);
        seen.push(text);
        new
    });
    found
}

/// Modules that this program does not have or that stand in the wrong place, and settings that a
/// module does not know.
fn modules(bundle: &Bundle, host: &Host) -> Vec<Diagnostic> {
    let session = &bundle.session;
    let lists = [
        (ModuleKind::Provider, bundle.providers.iter().collect::<Vec<_>>()),
        (ModuleKind::Tool, bundle.tools.iter().collect()),
        (ModuleKind::Hook, bundle.hooks.iter().collect()),
        (ModuleKind::Orchestrator, session.orchestrator.iter().collect()),
        (ModuleKind::Context, session.context.iter().collect()),
    ];
    let entries = lists.into_iter().flat_map(|(kind, list)| list.into_iter().map(move |entry| (kind, entry)));
    let named = entries.filter(|(_, entry)| !entry.spec.module.is_empty());
    named.flat_map(|(kind, entry)| module(kind, entry, host)).collect()
}

fn module(kind: ModuleKind, entry: &ModuleEntry, host: &Host) -> Vec<Diagnostic> {
    let needed = matches!(kind, ModuleKind::Orchestrator | ModuleKind::Context);
    let Some(module) = host.modules().get(&entry.spec.module) else {
        return vec![missing(entry, needed, host)];
    };
    let info = module.info();
    if info.kind == kind {
        return unknown_settings(entry, &info);
    }
    let (is, wanted) = (info.kind.as_str(), kind.as_str());
    let message =
        format!("`{}` is of the kind {is}, and stands where a module of the kind {wanted} belongs", info.id);
    let severity = if needed { Severity::Error } else { Severity::Warning };
    vec![at(entry, severity, Fault::BadValue, message).help("move it to where its kind is listed")]
}

/// A module that is not there: no session runs without its loop or its context manager.
fn missing(entry: &ModuleEntry, needed: bool, host: &Host) -> Diagnostic {
    let name = entry.spec.module.as_str();
    let infos = host.modules().infos();
    let help = match (near(name, infos.iter().map(|info| info.id)).as_slice(), needed) {
        ([], true) => {
            "no session runs without it; name one that is here, such as `loop-streaming` or `context-simple`"
                .to_owned()
        }
        ([], false) => "a session goes without it; many tools exist as MCP servers".to_owned(),
        (names, _) => format!("did you mean `{}`?", names.join("` or `")),
    };
    let severity = if needed { Severity::Error } else { Severity::Warning };
    at(entry, severity, Fault::BadValue, format!("there is no module `{name}` here")).help(help)
}

fn unknown_settings(entry: &ModuleEntry, info: &ModuleInfo) -> Vec<Diagnostic> {
    let unknown = entry.spec.config.keys().filter(|key| !info.config_keys.contains(&key.as_str()));
    let warning = |key: &String| {
        let message = format!("`{}` knows no setting `{key}`, which is ignored", entry.spec.module);
        let help = match near(key, info.config_keys.iter().copied()).as_slice() {
            [] if info.config_keys.is_empty() => "it has no settings".to_owned(),
            [] => format!("it knows: {}", info.config_keys.join(", ")),
            names => format!("did you mean `{}`?", names.join("` or `")),
        };
        at(entry, Severity::Warning, Fault::UnknownKey, message).help(help)
    };
    unknown.map(warning).collect()
}

fn at(entry: &ModuleEntry, severity: Severity, code: Fault, message: String) -> Diagnostic {
    match entry.origins.last() {
        Some(origin) => Diagnostic::new(severity, code, &origin.file, message).at(origin.position),
        None => Diagnostic::new(severity, code, Path::new("bundle"), message),
    }
}
