//! Module entries, lists of them, and the section `session`.

use amplifier_core::ModuleSpec;

use super::join;
use super::reader::{Level, Reader};
use crate::bundle::diagnostic::{Code, Severity};
use crate::bundle::merge;
use crate::bundle::model::{ModuleEntry, SessionSection};
use crate::bundle::node::{Entry, Node, to_json_map};
use crate::bundle::provenance::Provenance;

/// A list of modules. Entries that name the same thing become one, with a warning.
pub(super) fn list(reader: &mut Reader, node: &Node, what: &str) -> Vec<ModuleEntry> {
    let mut all: Vec<ModuleEntry> = Vec::new();
    for item in reader.seq(node, &format!("`{what}`")) {
        let Some(entry) = list_entry(reader, item, what) else { continue };
        match all.iter_mut().find(|known| known.key() == entry.key()) {
            None => all.push(entry),
            Some(known) => {
                let message = format!("`{}` stands twice in `{what}`; the two are merged", entry.key());
                let help = "give each an `id` of its own, or write one entry";
                reader.note(Severity::Warning, Code::Duplicate, item.position, message, help);
                merge::entry(known, &entry);
            }
        }
    }
    all
}

fn list_entry(reader: &mut Reader, item: &Node, what: &str) -> Option<ModuleEntry> {
    if item.is_null() {
        let message = format!("an entry of `{what}` is empty and is left out");
        reader.note(Severity::Warning, Code::Dropped, item.position, message, "remove it, or name a module");
        return None;
    }
    let entries = reader.map(item, &format!("an entry of `{what}`"))?;
    let entry = entry(reader, item, entries, what);
    if entry.key().is_empty() {
        let message = format!("an entry of `{what}` has neither `module` nor `id` and is left out");
        reader.note(
            Severity::Error,
            Code::Dropped,
            item.position,
            message,
            "name the module: `module: tool-bash`",
        );
        return None;
    }
    Some(entry)
}

/// One module as a map.
fn entry(reader: &mut Reader, item: &Node, entries: &[Entry], what: &str) -> ModuleEntry {
    reader.unknown_keys(entries, Level::Module);
    let mut entry = ModuleEntry::new(ModuleSpec::new(String::new()), reader.origin(item.position));
    let mut instance_id = None;
    for Entry { key, value, .. } in entries {
        let name = format!("`{key}` of an entry of `{what}`");
        match key.as_str() {
            "module" => entry.spec.module = reader.text(value, &name).unwrap_or_default(),
            "source" => entry.spec.source = source(reader, value, &name),
            "id" => entry.spec.id = reader.text(value, &name).filter(|id| !id.is_empty()),
            "config" => {
                let config = reader.map(value, &name);
                entry.spec.config = config.map(to_json_map).unwrap_or_default();
            }
            _ => {
                if key == "instance_id" {
                    instance_id = reader.text(value, &name).filter(|id| !id.is_empty());
                }
                entry.extra.0.insert(key.clone(), value.to_json());
            }
        }
    }
    entry.spec.id = entry.spec.id.or(instance_id);
    entry
}

/// A source; a relative one is joined to the directory of the file.
fn source(reader: &mut Reader, node: &Node, what: &str) -> Option<String> {
    let text = reader.text(node, what)?;
    if text.starts_with("./") || text.starts_with("../") {
        return Some(join(reader.dir(), &text).display().to_string());
    }
    Some(text)
}

/// A module as a bare name or a map; without a key of its own it may also only override.
pub(super) fn slot(reader: &mut Reader, node: &Node, what: &str) -> Option<ModuleEntry> {
    if node.is_null() {
        return None;
    }
    if let Some(name) = node.as_str() {
        let mut entry = ModuleEntry::new(ModuleSpec::new(name), reader.origin(node.position));
        entry.short = true;
        return Some(entry);
    }
    if node.as_map().is_none() {
        let message = format!("`{what}` must be a module's name or a map, not {}", node.kind());
        reader.note(Severity::Error, Code::WrongType, node.position, message, "write `module: loop-basic`");
        return None;
    }
    let entries = reader.map(node, what)?;
    Some(entry(reader, node, entries, what))
}

/// The section `session`, of a bundle or of an agent.
pub(super) fn session(reader: &mut Reader, node: &Node, set_by: &mut Provenance) -> SessionSection {
    let mut session = SessionSection::default();
    let Some(entries) = reader.map(node, "`session`") else { return session };
    reader.unknown_keys(entries, Level::Session);
    for Entry { key, key_position, value, .. } in entries.iter().filter(|entry| !entry.value.is_null()) {
        let what = format!("session.{key}");
        let name = format!("`{what}`");
        match key.as_str() {
            "orchestrator" => session.orchestrator = slot(reader, value, &what),
            "context" => session.context = slot(reader, value, &what),
            "raw" => session.raw = reader.bool(value, &name),
            "metadata" => {
                session.metadata.0 = reader.map(value, &name).map(to_json_map).unwrap_or_default();
            }
            "injection_budget_per_turn" => session.injection_budget_per_turn = reader.count(value, &name),
            "injection_size_limit" => session.injection_size_limit = reader.count(value, &name),
            "orchestrator_source" => session.orchestrator_source = source(reader, value, &name),
            "context_source" => session.context_source = source(reader, value, &name),
            _ => {
                session.extra.0.insert(key.clone(), value.to_json());
            }
        }
        if !matches!(key.as_str(), "orchestrator" | "context") {
            set_by.set(what, vec![reader.origin(*key_position)]);
        }
    }
    session
}
