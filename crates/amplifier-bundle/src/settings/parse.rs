//! One settings file: from its tree to typed settings.
//!
//! Guarantees: a key that nobody reads is a warning, a value of the wrong type or one that cannot
//! be used is an error, each with line, column and what is expected. No value of a module's
//! configuration is in a message.
//! Never here: trust and precedence; see [`super::merge`].

mod permissions;
mod reader;

use amplifier_core::ModuleSpec;

use self::reader::Reader;
use super::model::{NeighbourSettings, Settings};
use super::scope::Set;
use crate::bundle::node::{Entry, Node, to_json_map};

pub(super) use self::reader::FileScope;

const TOP: [&str; 11] = [
    "bundle",
    "config",
    "overrides",
    "sources",
    "provider",
    "permissions",
    "limits",
    "rate_limit_patience",
    "retry",
    "agents",
    "context",
];

/// Reads the tree of one file. The warnings in the result are those that were noticed, errors too.
pub(super) fn settings(node: &Node, file: FileScope) -> Settings {
    let mut settings = Settings::default();
    let mut reader = Reader::new(file);
    for Entry { key, value, .. } in reader.section(node, "the file", &TOP) {
        match key.as_str() {
            "agents" | "context" => neighbours(&mut reader, key, value, &mut settings.neighbours),
            "bundle" => bundle(&mut reader, value, &mut settings),
            "config" => config(&mut reader, value, &mut settings),
            "overrides" => overrides(&mut reader, value, &mut settings),
            "sources" => sources(&mut reader, value, &mut settings),
            "provider" => provider(&mut reader, value, &mut settings),
            "permissions" => permissions::permissions(&mut reader, value, &mut settings),
            "limits" => permissions::limits(&mut reader, value, &mut settings.limits),
            "retry" => permissions::retry(&mut reader, value, &mut settings.retry),
            "rate_limit_patience" => {
                settings.retry.rate_limit_patience = reader.span(value, "`rate_limit_patience`");
            }
            _ => {}
        }
    }
    settings.warnings = reader.finish();
    settings
}

/// What of other programs is read. The keys of the two sections differ, so one reader does for both.
fn neighbours(reader: &mut Reader, section: &str, node: &Node, settings: &mut NeighbourSettings) {
    let known: &[&'static str] =
        if section == "agents" { &["claude", "codex"] } else { &["agents_md", "claude_md"] };
    for Entry { key, value, .. } in reader.section(node, &format!("`{section}`"), known) {
        let place = match key.as_str() {
            key if !known.contains(&key) => continue,
            "claude" => &mut settings.claude,
            "codex" => &mut settings.codex,
            "agents_md" => &mut settings.agents_md,
            _ => &mut settings.claude_md,
        };
        *place = reader.bool(value, &format!("`{section}.{key}`"));
    }
}

fn bundle(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    if node.as_str().is_some() {
        settings.bundle = reader.text(node, "`bundle`");
        return;
    }
    for Entry { key, value, .. } in reader.section(node, "`bundle`", &["active", "app", "added"]) {
        match key.as_str() {
            "active" => settings.bundle = reader.text(value, "`bundle.active`"),
            "app" => settings.app_bundles = reader.texts(value, "`bundle.app`"),
            "added" => settings.added_bundles = reader.text_map(value, "`bundle.added`"),
            _ => {}
        }
    }
}

fn config(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    let Some(entries) = reader.map(node, "`config`") else { return };
    for entry in entries {
        match entry.key.as_str() {
            "providers" => providers(reader, &entry.value, settings),
            // Read by others; it means nothing here and does no harm.
            "notifications" => {}
            _ => reader.unknown(entry, "`config`", &["providers", "notifications"]),
        }
    }
}

fn providers(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    for item in reader.seq(node, "`config.providers`") {
        if let Some(spec) = module(reader, item, "an entry of `config.providers`") {
            let by = reader.setter(item.position);
            settings.providers.push(Set::new(spec, by));
        }
    }
}

/// A module as a bare name or a map.
fn module(reader: &mut Reader, node: &Node, what: &str) -> Option<ModuleSpec> {
    if let Some(name) = node.as_str() {
        return Some(ModuleSpec::new(name));
    }
    let mut spec = ModuleSpec::new(String::new());
    for Entry { key, value, .. } in
        reader.section(node, what, &["module", "id", "instance_id", "name", "source", "config"])
    {
        let name = format!("`{key}` of {what}");
        match key.as_str() {
            "module" => spec.module = reader.plain_text(value, &name).unwrap_or_default(),
            "id" | "instance_id" => spec.id = reader.plain_text(value, &name),
            "source" => spec.source = reader.plain_text(value, &name),
            "config" => spec.config = reader.map(value, &name).map(to_json_map).unwrap_or_default(),
            _ => {}
        }
    }
    if spec.module.is_empty() && node.as_map().is_some() {
        reader.bad(node.position, format!("{what} names no `module`"), "write `module: provider-anthropic`");
    }
    (!spec.module.is_empty()).then_some(spec)
}

fn overrides(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    let Some(entries) = reader.map(node, "`overrides`") else { return };
    for Entry { key, key_position, value } in entries {
        let what = format!("`overrides.{key}`");
        let mut spec = ModuleSpec::new(key);
        for Entry { key, value, .. } in reader.section(value, &what, &["config", "source"]) {
            let name = format!("`{key}` of {what}");
            match key.as_str() {
                "config" => spec.config = reader.map(value, &name).map(to_json_map).unwrap_or_default(),
                "source" => spec.source = reader.plain_text(value, &name),
                _ => {}
            }
        }
        settings.overrides.insert(key.clone(), Set::new(spec, reader.setter(*key_position)));
    }
}

fn sources(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    for Entry { key, value, .. } in reader.section(node, "`sources`", &["modules", "bundles"]) {
        match key.as_str() {
            "modules" => settings.module_sources = reader.text_map(value, "`sources.modules`"),
            "bundles" => settings.bundle_sources = reader.text_map(value, "`sources.bundles`"),
            _ => {}
        }
    }
}

fn provider(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    if node.as_map().is_none() {
        settings.provider = reader.text(node, "`provider`");
        return;
    }
    let known = ["module", "name", "model", "default_model"];
    for Entry { key, value, .. } in reader.section(node, "`provider`", &known) {
        let name = format!("`provider.{key}`");
        match key.as_str() {
            "module" | "name" => settings.provider = reader.text(value, &name),
            "model" | "default_model" => settings.model = reader.text(value, &name),
            _ => {}
        }
    }
}
