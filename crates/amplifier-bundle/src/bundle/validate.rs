//! Faults of meaning in a bundle that was read: what parsing alone cannot see.
//!
//! [`check`] is for any bundle, single or composed; [`check_complete`] asks besides whether a session can be
//! run from it. Neither opens a file: paths are checked by who resolves them.

use std::path::Path;

use super::diagnostic::{Code, Diagnostic, Severity, Strictness};
use super::model::{Bundle, ModuleEntry};
use super::node::Position;

/// Faults of any bundle: no name, entries that name no module.
pub fn check(bundle: &Bundle, strictness: Strictness) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    check_name(bundle, &mut all);
    let lists = [("providers", &bundle.providers), ("tools", &bundle.tools), ("hooks", &bundle.hooks)];
    for (section, list) in lists {
        for entry in list.iter().filter(|entry| entry.spec.module.is_empty()) {
            let message = format!("the entry `{}` of `{section}` names no module", entry.key());
            all.push(at_entry(Severity::Error, entry, message).help("add `module`"));
        }
    }
    let slots = [("orchestrator", &bundle.session.orchestrator), ("context", &bundle.session.context)];
    for (slot, entry) in slots {
        let Some(entry) = entry.as_ref().filter(|entry| entry.spec.module.is_empty()) else { continue };
        let severity = if entry.spec.source.is_some() { Severity::Warning } else { Severity::Error };
        let message = format!("`session.{slot}` names no module");
        all.push(at_entry(severity, entry, message).help("add `module`"));
    }
    strictness.apply(&mut all);
    all
}

/// What a bundle lacks to be run by itself. Behaviors and providers lack some of it by design.
pub fn check_complete(bundle: &Bundle) -> Vec<Diagnostic> {
    let lacking = [
        (
            bundle.session.orchestrator.is_none(),
            "session.orchestrator",
            "name one: `orchestrator: loop-basic`",
        ),
        (bundle.session.context.is_none(), "session.context", "name one: `context: context-simple`"),
        (bundle.providers.is_empty(), "providers", "list a provider, or include a bundle that does"),
    ];
    let lacking = lacking.into_iter().filter(|(lacks, ..)| *lacks);
    let diagnostic = |(_, what, help)| {
        let message = format!("the bundle has no `{what}`");
        Diagnostic::new(Severity::Error, Code::Missing, file(bundle), message).help(help)
    };
    lacking.map(diagnostic).collect()
}

fn check_name(bundle: &Bundle, all: &mut Vec<Diagnostic>) {
    let file = file(bundle);
    let position = bundle.set_by.of("bundle.name").last().map_or(Position::START, |origin| origin.position);
    let diagnostic = if bundle.name.trim().is_empty() {
        Diagnostic::new(Severity::Error, Code::Missing, file, "the bundle has no name")
            .help("begin the file with `bundle: {name: my-bundle}`")
    } else if bundle.name.contains(|c: char| c.is_whitespace() || ":/@\\".contains(c)) {
        let message = format!("the name `{}` cannot be mentioned as `@name:path`", bundle.name);
        Diagnostic::new(Severity::Warning, Code::BadValue, file, message)
            .help("use letters, digits, `-`, `_` and `.`")
    } else {
        return;
    };
    all.push(diagnostic.at(position));
}

fn file(bundle: &Bundle) -> &Path {
    bundle.file.as_deref().or(bundle.base_path.as_deref()).unwrap_or(Path::new("bundle"))
}

fn at_entry(severity: Severity, entry: &ModuleEntry, message: String) -> Diagnostic {
    match entry.origins.last() {
        Some(origin) => Diagnostic::new(severity, Code::Missing, &origin.file, message).at(origin.position),
        None => Diagnostic::new(severity, Code::Missing, Path::new("bundle"), message),
    }
}
