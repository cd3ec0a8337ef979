//! The sections `includes`, `context` and `spawn`.

use super::join;
use super::module;
use super::reader::{Level, Reader};
use crate::bundle::diagnostic::{Code, Severity};
use crate::bundle::model::{ContextEntry, ContextTarget, Include, ModuleEntry, ProjectFiles, SpawnSection};
use crate::bundle::node::{Entry, Node, Position};
use crate::bundle::provenance::Provenance;

/// What a bundle builds on: names, or maps with `bundle`.
pub(super) fn includes(reader: &mut Reader, node: &Node) -> Vec<Include> {
    let mut all = Vec::new();
    for item in reader.seq(node, "`includes`") {
        let source = match item.as_str() {
            Some(source) => Some(source.to_owned()),
            None => include_map(reader, item),
        };
        match source.filter(|source| !source.trim().is_empty()) {
            Some(source) => all.push(Include::new(source, reader.origin(item.position))),
            None => {
                let message = "an entry of `includes` names no bundle and is left out".to_owned();
                let help = "write `- bundle: name`, or a URI";
                reader.note(Severity::Error, Code::Dropped, item.position, message, help);
            }
        }
    }
    all
}

fn include_map(reader: &mut Reader, item: &Node) -> Option<String> {
    let entries = item.as_map()?;
    reader.unknown_keys(entries, Level::Include);
    reader.text(item.get("bundle")?, "`bundle` of an entry of `includes`")
}

/// Context files: those under `include` by their path, others by the name they are given; and whether the
/// instructions of wherever a session works are wanted.
pub(super) fn context(reader: &mut Reader, node: &Node) -> (Vec<ContextEntry>, ProjectFiles) {
    let mut all: Vec<ContextEntry> = Vec::new();
    let mut files = ProjectFiles::default();
    let entries = reader.map(node, "`context`").unwrap_or_default();
    for Entry { key, key_position, value, .. } in reader.bounded(entries, node.position, "`context`") {
        if key == "include" {
            for item in reader.seq(value, "`context.include`") {
                let Some(path) = reader.text(item, "an entry of `context.include`") else { continue };
                add_context(reader, &mut all, path.clone(), path, item.position);
            }
        } else if let ("agents_md", Some(wanted)) = (key.as_str(), value.as_bool()) {
            files.agents_md = wanted;
        } else if let ("claude_md", Some(wanted)) = (key.as_str(), value.as_bool()) {
            files.claude_md = wanted;
        } else if let Some(path) = reader.text(value, &format!("`context.{key}`")) {
            add_context(reader, &mut all, key.clone(), path, *key_position);
        }
    }
    (all, files)
}

fn add_context(reader: &mut Reader, all: &mut Vec<ContextEntry>, key: String, path: String, at: Position) {
    if path.trim().is_empty() {
        let message = "an entry of `context` has no path and is left out".to_owned();
        return reader.note(Severity::Warning, Code::Dropped, at, message, "name a file");
    }
    if path.starts_with('@') {
        let message = format!("`{path}` is a mention, which is only read in text");
        let help = "write it without the `@`";
        return reader.note(Severity::Warning, Code::BadValue, at, message, help);
    }
    let target = target(reader, &path);
    let entry = ContextEntry { key, target, origin: reader.origin(at) };
    match all.iter_mut().find(|known| known.key == entry.key) {
        Some(known) => *known = entry,
        None => all.push(entry),
    }
}

fn target(reader: &Reader, path: &str) -> ContextTarget {
    match path.split_once(':') {
        Some((namespace, path)) => {
            ContextTarget::Pending { namespace: namespace.to_owned(), path: path.to_owned() }
        }
        None => ContextTarget::File(join(reader.dir(), path)),
    }
}

/// What children may have.
pub(super) fn spawn(reader: &mut Reader, node: &Node, set_by: &mut Provenance) -> SpawnSection {
    let mut spawn = SpawnSection::default();
    let Some(entries) = reader.map(node, "`spawn`") else { return spawn };
    reader.unknown_keys(entries, Level::Spawn);
    for Entry { key, key_position, value, .. } in entries.iter().filter(|entry| !entry.value.is_null()) {
        match key.as_str() {
            "exclude_tools" => spawn.exclude_tools = reader.texts(value, "`spawn.exclude_tools`"),
            "tools" => spawn.tools = spawn_tools(reader, value),
            _ => {
                spawn.extra.0.insert(key.clone(), value.to_json());
            }
        }
        set_by.set(format!("spawn.{key}"), vec![reader.origin(*key_position)]);
    }
    spawn
}

fn spawn_tools(reader: &mut Reader, node: &Node) -> Option<Vec<ModuleEntry>> {
    let items = reader.seq(node, "`spawn.tools`");
    let entries: Vec<_> = items.iter().filter_map(|item| module::slot(reader, item, "spawn.tools")).collect();
    for entry in entries.iter().filter(|entry| entry.key().is_empty()) {
        let message = "an entry of `spawn.tools` has neither `module` nor `id` and is left out".to_owned();
        let at = entry.origins.first().map_or(node.position, |origin| origin.position);
        reader.note(Severity::Error, Code::Dropped, at, message, "name the module: `module: tool-bash`");
    }
    node.as_seq().map(|_| entries.into_iter().filter(|entry| !entry.key().is_empty()).collect())
}
