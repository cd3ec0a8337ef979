//! Agents: the section `agents` of a bundle, and agent files.

use std::path::Path;

use amplifier_core::permission::Mode;

use super::module;
use super::reader::{Level, Reader};
use super::{Document, FileKind, kind, read};
use crate::bundle::diagnostic::{Code, Diagnostic, Parsed, Severity};
use crate::bundle::model::{AgentAccess, AgentDef, AgentEntry, Agents, ProviderPreference};
use crate::bundle::node::{Entry, Node, Yaml, to_json_map};
use crate::bundle::provenance::Provenance;
use crate::bundle::settings::Settings;

/// Reads an agent's file: front matter with `meta` or flat, and the instruction as the body.
///
/// `fallback_name` names an agent whose file does not. A mode's file gives no value and a note.
pub fn parse_agent(text: &str, file: &Path, fallback_name: &str) -> Parsed<AgentDef> {
    let mut diagnostics = Vec::new();
    let Document { root, body, .. } = read(text, file, &mut diagnostics);
    let Some(root) = root else { return Parsed::new(None, diagnostics) };
    if kind(&root) == FileKind::Mode {
        let message = "this is a mode, and modes are not read";
        diagnostics.push(Diagnostic::new(Severity::Note, Code::NotRead, file, message).at(root.position));
        return Parsed::new(None, diagnostics);
    }
    let mut reader = Reader::new(file, String::new(), diagnostics);
    let mut def = AgentDef { origins: vec![reader.origin(root.position)], ..AgentDef::default() };
    def.base_path = Some(reader.dir().to_owned());
    if let Some(entries) = reader.map(&root, "the file") {
        read_def(&mut reader, entries, &mut def);
    }
    def.instruction = body.or(def.instruction);
    if def.name.is_empty() {
        def.name = fallback_name.to_owned();
    }
    Parsed::new(Some(def), reader.finish())
}

/// The keys of an agent; those beside `meta` win over those in it.
fn read_def(reader: &mut Reader, entries: &[Entry], def: &mut AgentDef) {
    let meta = entries.iter().find(|entry| entry.key == "meta");
    if let Some(meta) = meta.and_then(|meta| reader.map(&meta.value, "`meta`")) {
        read_keys(reader, meta, def);
    }
    read_keys(reader, entries, def);
}

fn read_keys(reader: &mut Reader, entries: &[Entry], def: &mut AgentDef) {
    reader.unknown_keys(entries, Level::Agent);
    for Entry { key, value, .. } in entries.iter().filter(|entry| !entry.value.is_null()) {
        let name = format!("`{key}`");
        match key.as_str() {
            "meta" => {}
            "name" => def.name = reader.text(value, &name).unwrap_or_default(),
            "description" => def.description = reader.text(value, &name),
            "instruction" | "instructions" => {
                def.instruction = reader.text(value, &name).filter(|text| !text.trim().is_empty());
            }
            "tools" => def.tools = Some(module::list(reader, value, "tools")),
            "providers" => def.providers = Some(module::list(reader, value, "providers")),
            "hooks" => def.hooks = Some(module::list(reader, value, "hooks")),
            "session" => def.session = Some(module::session(reader, value, &mut Provenance::default())),
            "provider_preferences" => def.provider_preferences = Some(preferences(reader, value)),
            "model_role" => def.model_role = reader.text_or_texts(value, &name),
            "agents" => def.agents = file_access(reader, value),
            "permissions" => def.permission_mode = permission_mode(reader, value),
            "allowed_tools" => def.tool_names.allowed = Some(reader.texts(value, &name)),
            "denied_tools" => def.tool_names.denied = reader.texts(value, &name),
            "max_turns" => def.max_turns = max_turns(reader, value, &name),
            _ => {
                def.extra.0.insert(key.clone(), value.to_json());
            }
        }
    }
}

fn preferences(reader: &mut Reader, node: &Node) -> Vec<ProviderPreference> {
    let mut all = Vec::new();
    for item in reader.seq(node, "`provider_preferences`") {
        let Some(entries) = reader.map(item, "an entry of `provider_preferences`") else { continue };
        reader.unknown_keys(entries, Level::Preference);
        let text = |reader: &mut Reader, key: &str| {
            let what = format!("`{key}` of an entry of `provider_preferences`");
            item.get(key).and_then(|node| reader.text(node, &what))
        };
        let model = text(reader, "model");
        let Some(provider) = text(reader, "provider") else {
            let message = "an entry of `provider_preferences` names no provider and is left out".to_owned();
            reader.note(
                Severity::Warning,
                Code::Dropped,
                item.position,
                message,
                "write `provider: anthropic`",
            );
            continue;
        };
        let config = item.get("config").and_then(|node| reader.map(node, "`config` of a preference"));
        let config = Settings(config.map(to_json_map).unwrap_or_default());
        all.push(ProviderPreference { provider, model, config });
    }
    all
}

/// `permissions` of an agent: a mode, which narrows what its parent may do. What cannot be read is an error:
/// it was written to hold the agent to something.
fn permission_mode(reader: &mut Reader, node: &Node) -> Option<Mode> {
    let entries = reader.map(node, "`permissions`")?;
    let mode = match entries {
        [entry] if entry.key == "mode" => entry.value.as_str().and_then(Mode::from_name),
        _ => None,
    };
    let mode = mode.filter(|mode| *mode != Mode::BypassPermissions);
    if mode.is_none() {
        let message = "an agent's `permissions` is a `mode` that narrows, and nothing else".to_owned();
        let help = "write `permissions: {mode: plan}`, or `default`, `acceptEdits`, `dontAsk`";
        reader.note(Severity::Error, Code::BadValue, node.position, message, help);
    }
    mode
}

/// A bound on model calls; one that cannot be kept is an error, because it was written to hold the agent to it.
pub(super) fn max_turns(reader: &mut Reader, node: &Node, what: &str) -> Option<u32> {
    let count = reader.count(node, what)?;
    let turns = u32::try_from(count).ok().filter(|turns| *turns > 0);
    if turns.is_none() {
        let message = format!("{what} cannot be {count}");
        reader.note(Severity::Error, Code::BadValue, node.position, message, "write a number from 1 on");
    }
    turns
}

/// `agents` of an agent's file: a rule. A map is passed over, as the reference does.
fn file_access(reader: &mut Reader, node: &Node) -> Option<AgentAccess> {
    match &node.value {
        Yaml::Map(_) => {
            let message = "an agent's `agents` is a rule; a roster is ignored here".to_owned();
            reader.note(Severity::Warning, Code::NotRead, node.position, message, ACCESS_HELP);
            None
        }
        _ => access(reader, node),
    }
}

const ACCESS_HELP: &str = "write `all`, `none`, or a list of names";

fn access(reader: &mut Reader, node: &Node) -> Option<AgentAccess> {
    match (&node.value, node.as_str()) {
        (Yaml::Seq(_), _) => Some(AgentAccess::Only(reader.texts(node, "`agents`"))),
        (_, Some("all")) => Some(AgentAccess::All),
        (_, Some("none")) => Some(AgentAccess::None),
        (Yaml::Str(text), _) => {
            let message = format!("`agents` cannot be `{text}`");
            reader.note(Severity::Error, Code::BadValue, node.position, message, ACCESS_HELP);
            None
        }
        _ => {
            let message = format!("`agents` cannot be {}", node.kind());
            reader.note(Severity::Error, Code::WrongType, node.position, message, ACCESS_HELP);
            None
        }
    }
}

/// `agents` of a bundle: a roster, or a rule.
pub(super) fn roster(reader: &mut Reader, node: &Node, set_by: &mut Provenance) -> Agents {
    let mut agents = Agents::default();
    let Some(entries) = node.as_map() else {
        if !node.is_null() {
            agents.access = access(reader, node);
            set_by.set("agents", vec![reader.origin(node.position)]);
        }
        return agents;
    };
    for entry in reader.bounded(entries, node.position, "`agents`") {
        if entry.key == "include_claude" && !is_definition(&entry.value) {
            agents.neighbours.claude = reader.bool(&entry.value, "`agents.include_claude`").unwrap_or(false);
        } else if entry.key == "include_codex" && !is_definition(&entry.value) {
            agents.neighbours.codex = reader.bool(&entry.value, "`agents.include_codex`").unwrap_or(false);
        } else if entry.key == "include" {
            for item in reader.seq(&entry.value, "`agents.include`") {
                let Some(name) = reader.text(item, "an entry of `agents.include`") else { continue };
                let origin = reader.origin(item.position);
                let def =
                    AgentDef { name: name.clone(), origins: vec![origin.clone()], ..AgentDef::default() };
                add(&mut agents, AgentEntry { name, by_name: true, def, origin });
            }
        } else if let Some(found) = inline(reader, entry) {
            add(&mut agents, found);
        }
    }
    agents
}

/// True for what an agent of that name would be.
fn is_definition(node: &Node) -> bool {
    matches!(node.value, Yaml::Map(_))
}

fn add(agents: &mut Agents, entry: AgentEntry) {
    match agents.roster.iter_mut().find(|known| known.name == entry.name) {
        Some(known) if entry.by_name && !known.by_name => {}
        Some(known) => *known = entry,
        None => agents.roster.push(entry),
    }
}

fn inline(reader: &mut Reader, entry: &Entry) -> Option<AgentEntry> {
    let what = format!("the agent `{}`", entry.key);
    let origin = reader.origin(entry.key_position);
    let mut def = AgentDef { origins: vec![origin.clone()], ..AgentDef::default() };
    if !entry.value.is_null() {
        let entries = reader.map(&entry.value, &what)?;
        read_def(reader, entries, &mut def);
    }
    if def.name.is_empty() {
        def.name.clone_from(&entry.key);
    }
    Some(AgentEntry { name: entry.key.clone(), by_name: entry.value.is_null(), def, origin })
}
