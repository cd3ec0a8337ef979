//! An agent's file of Claude Code (`.claude/agents/*.md`) as an agent of ours.
//!
//! Its `tools` is a choice among the tools that the agent inherits, so it becomes `ToolNames` and mounts
//! nothing. What we do not have is told once a file, with its place.
//!
//! Guarantees: such an agent brings no module, no provider, no address and no wider permission; what was
//! written to hold it to something and cannot be read is an error, and the file is not used.
//! Never here: finding the files.

mod lenient;
mod tools;

use std::path::Path;

use amplifier_core::permission::Mode;

pub(super) use self::tools::{Side, named};
use super::agent::max_turns;
use super::reader::{Level, Reader};
use super::{Document, read};
use crate::bundle::diagnostic::{Code, Diagnostic, Parsed, Severity};
use crate::bundle::model::{AgentAccess, AgentDef, ProviderPreference};
use crate::bundle::node::{Entry, Node, Position, Yaml};

/// Reads an agent's file of Claude Code. `fallback_name` names an agent whose file does not.
pub fn parse_claude_agent(text: &str, file: &Path, fallback_name: &str) -> Parsed<AgentDef> {
    let mut diagnostics = Vec::new();
    let Document { root, body, .. } = read(text, file, &mut diagnostics);
    let root = match root {
        Some(root) => Some(root),
        None => lenient::front_matter(text, file).inspect(|_| {
            diagnostics.clear();
            let message = "the front matter is no YAML and is read line by line, as Claude Code does";
            diagnostics.push(Diagnostic::new(Severity::Note, Code::FrontMatter, file, message));
        }),
    };
    let Some(root) = root else { return Parsed::new(None, diagnostics) };
    let body = body.or_else(|| lenient::body(text));
    let mut reader = Reader::new(file, String::new(), diagnostics);
    let mut def = AgentDef { origins: vec![reader.origin(root.position)], ..AgentDef::default() };
    def.base_path = Some(reader.dir().to_owned());
    def.instruction = body;
    if let Some(entries) = reader.map(&root, "the file") {
        reader.unknown_keys(entries, Level::ClaudeAgent);
        for entry in entries.iter().filter(|entry| !entry.value.is_null()) {
            read_key(&mut reader, entry, &mut def);
        }
    }
    if def.name.is_empty() {
        def.name = fallback_name.to_owned();
    }
    Parsed::new(Some(def), reader.finish())
}

fn read_key(reader: &mut Reader, entry: &Entry, def: &mut AgentDef) {
    let Entry { key, key_position, value } = entry;
    let name = format!("`{key}`");
    match key.as_str() {
        "name" => def.name = reader.text(value, &name).unwrap_or_default(),
        "description" => def.description = reader.text(value, &name),
        "tools" => allow(reader, value, def),
        "disallowedTools" => deny(reader, value, def),
        "model" => model(reader, value, def),
        "permissionMode" => def.permission_mode = permission_mode(reader, value),
        "maxTurns" => def.max_turns = max_turns(reader, value, &name),
        "hooks" | "mcpServers" | "skills" | "memory" | "isolation" | "initialPrompt" | "effort" => {
            let message = format!("{name} of an agent of Claude Code is not read");
            let help = "say it in a bundle: hooks, MCP servers and skills are modules there";
            reader.note(Severity::Warning, Code::NotRead, *key_position, message, help);
        }
        // How it looks, and how its caller waits, change nothing of what it does.
        _ => {}
    }
}

/// Names as a list, or parted by commas that are in no parentheses.
fn names(reader: &mut Reader, node: &Node, what: &str) -> Vec<String> {
    if let Yaml::Seq(_) = node.value {
        return reader.texts(node, what);
    }
    let text = reader.text(node, what).unwrap_or_default();
    let (mut all, mut depth) = (vec![String::new()], 0_u32);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.iter_mut().last().into_iter().for_each(|last| last.push(c));
    }
    let trimmed = all.iter().map(|name| name.trim().to_owned());
    trimmed.filter(|name| !name.is_empty()).collect()
}

fn allow(reader: &mut Reader, node: &Node, def: &mut AgentDef) {
    let written = names(reader, node, "`tools`");
    if written.iter().any(|name| name == "*") {
        return;
    }
    let (mut allowed, mut unknown) = (Vec::new(), Vec::new());
    for name in &written {
        if let Some(only) = tools::delegates(name) {
            def.agents = only.map(AgentAccess::Only);
            allowed.push("delegate".to_owned());
            continue;
        }
        match named(name, Side::Allowed) {
            Some(ours) => allowed.extend(ours),
            None => unknown.push(name.clone()),
        }
    }
    def.tool_names.allowed = Some(allowed);
    tell_unknown(reader, node.position, &unknown);
}

fn deny(reader: &mut Reader, node: &Node, def: &mut AgentDef) {
    for name in names(reader, node, "`disallowedTools`") {
        // What does not exist here needs no denial.
        def.tool_names.denied.extend(named(&name, Side::Denied).unwrap_or_default());
    }
}

fn tell_unknown(reader: &mut Reader, at: Position, unknown: &[String]) {
    if unknown.is_empty() {
        return;
    }
    let message = format!("the agent does not get {}: there is no such tool here", unknown.join(", "));
    let help = "remove it, or give the agent the tool in a bundle; a part of a tool is not read";
    reader.note(Severity::Warning, Code::Dropped, at, message, help);
}

/// The provider whose models have these names.
const PROVIDER: &str = "anthropic";

fn model(reader: &mut Reader, node: &Node, def: &mut AgentDef) {
    let Some(written) = reader.text(node, "`model`") else { return };
    // `sonnet[1m]` asks for a longer window of the same model.
    let name = written.split('[').next().unwrap_or_default().trim();
    let (role, wanted) = match name {
        "" | "inherit" | "default" => return,
        "haiku" => ("fast", "claude-haiku-*"),
        "sonnet" => ("general", "claude-sonnet-*"),
        "opus" | "opusplan" => ("reasoning", "claude-opus-*"),
        id if id.starts_with("claude-") => {
            return def.provider_preferences = Some(vec![prefer(Some(id))]);
        }
        other => {
            let message =
                format!("the model `{other}` is none of Claude Code's; the agent uses its parent's");
            let help = "write `sonnet`, `opus`, `haiku`, `inherit`, or a model's whole name";
            return reader.note(Severity::Warning, Code::BadValue, node.position, message, help);
        }
    };
    def.model_role = Some(vec![role.to_owned()]);
    // Where the service lists no such model, its usual one is nearer than an error.
    def.provider_preferences = Some(vec![prefer(Some(wanted)), prefer(None)]);
}

fn prefer(model: Option<&str>) -> ProviderPreference {
    ProviderPreference::new(PROVIDER, model.map(str::to_owned))
}

fn permission_mode(reader: &mut Reader, node: &Node) -> Option<Mode> {
    let written = reader.text(node, "`permissionMode`")?;
    match written.as_str() {
        "manual" => return Some(Mode::Default),
        "bypassPermissions" | "auto" | "delegate" => {
            let message = format!("`permissionMode: {written}` widens and is not taken from a file");
            let help = "the agent may do what its parent may; a person sets that with --permission-mode";
            reader.note(Severity::Warning, Code::NotRead, node.position, message, help);
            return None;
        }
        _ => {}
    }
    let mode = Mode::from_name(&written);
    if mode.is_none() {
        let message = format!("`permissionMode` cannot be `{written}`");
        let help = "write `default`, `plan`, `acceptEdits` or `dontAsk`";
        reader.note(Severity::Error, Code::BadValue, node.position, message, help);
    }
    mode
}
