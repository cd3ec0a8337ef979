//! A bundle file's text becomes a [`Bundle`].
//!
//! Everything that is wrong is collected, not only the first fault; what is right beside it is kept. Only
//! text that is no YAML gives no value. Relative paths are joined to the directory of the file that the
//! caller names, so that should be absolute; nothing is opened.

mod agent;
mod claude;
mod codex;
mod frontmatter;
mod keys;
mod module;
mod reader;
mod sections;

use std::path::{Component, Path, PathBuf};

pub use self::agent::parse_agent;
pub use self::claude::parse_claude_agent;
pub use self::codex::parse_codex_agent;
pub use self::keys::nearest;
use self::reader::{Level, Reader};
use super::diagnostic::{Code, Diagnostic, Parsed, Severity};
use super::model::{Bundle, DEFAULT_VERSION, Declared};
use super::node::{Entry, Node, Position};
use super::yaml;

/// What a file is, by its front matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// It has `bundle`, or keys that only bundles have.
    Bundle,
    /// It has `meta`, or `name` and `description`.
    Agent,
    /// It has `mode`. Modes are recognised, and read past.
    Mode,
    /// Plain text, or a map of other keys.
    Other,
}

/// The front matter of a text as a type, and its body; `None` for a text without front matter.
///
/// For files that are neither bundles nor agents, such as skills. Keys that the type does not know are its matter.
pub fn parse_front<T: serde::de::DeserializeOwned>(
    text: &str,
    file: &Path,
) -> Result<Option<(T, String)>, yaml::YamlError> {
    let split = frontmatter::split(text);
    let Some(front) = split.front else { return Ok(None) };
    let root = yaml::parse_from(front, file, split.front_lines_before)?;
    Ok(Some((yaml::from_node(&root, file)?, split.body.to_owned())))
}

/// Says what a file is. Text that is no YAML is [`FileKind::Other`].
pub fn kind_of(text: &str, file: &Path) -> FileKind {
    read(text, file, &mut Vec::new()).root.map_or(FileKind::Other, |root| kind(&root))
}

fn kind(root: &Node) -> FileKind {
    let has = |key| root.get(key).is_some();
    if has("bundle") {
        FileKind::Bundle
    } else if has("mode") {
        FileKind::Mode
    } else if has("meta") || has("name") && has("description") {
        FileKind::Agent
    } else if has("includes") || has("session") || has("providers") || has("tools") || has("hooks") {
        FileKind::Bundle
    } else {
        FileKind::Other
    }
}

/// Reads a bundle: markdown with front matter, or YAML if the file's name ends in `.yaml` or `.yml`.
///
/// The value is what one file says; includes are named in it, not followed. Faults of meaning, such as a
/// missing name, are found by [`check`](super::validate::check).
pub fn parse_bundle(text: &str, file: &Path) -> Parsed<Bundle> {
    let mut diagnostics = Vec::new();
    let document = read(text, file, &mut diagnostics);
    let Some(root) = document.root else { return Parsed::new(None, diagnostics) };
    let mut reader = Reader::new(file, bundle_name(&root), diagnostics);
    let mut bundle = Bundle {
        instruction: document.body,
        file: Some(file.to_owned()),
        base_path: Some(reader.dir().to_owned()),
        ..Bundle::default()
    };
    if bundle.instruction.is_some() {
        let origin = reader.origin(document.body_position);
        bundle.set_by.set("instruction", vec![origin]);
    }
    if let Some(entries) = reader.map(&root, "the file") {
        reader.unknown_keys(entries, Level::Top);
        for entry in entries {
            read_section(&mut reader, entry, &mut bundle);
        }
    }
    if !bundle.name.is_empty() {
        let root = namespace_root(&bundle, reader.dir());
        bundle.source_base_paths.insert(bundle.name.clone(), root);
    }
    Parsed::new(Some(bundle), reader.finish())
}

/// A file's YAML and its text.
struct Document {
    root: Option<Node>,
    body: Option<String>,
    body_position: Position,
}

fn read(text: &str, file: &Path, diagnostics: &mut Vec<Diagnostic>) -> Document {
    let is_yaml =
        file.extension().is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"));
    if is_yaml {
        let root = keep(yaml::parse(text, file), diagnostics);
        return Document { root, body: None, body_position: Position::START };
    }
    if text.len() > yaml::MAX_BYTES {
        let fault = yaml::YamlFault::TooLarge { bytes: text.len() };
        let message = fault.to_string();
        let fault = Diagnostic::new(Severity::Error, Code::Syntax, file, message);
        diagnostics.push(fault.at(Position::START).help("move long text into files and name them"));
        return Document { root: None, body: None, body_position: Position::START };
    }
    let split = frontmatter::split(text);
    if split.unterminated {
        let message = "the front matter is opened and never closed, so all is read as text";
        let fault = Diagnostic::new(Severity::Warning, Code::FrontMatter, file, message);
        diagnostics.push(fault.at(Position::START).help("close it with a line `---`"));
    }
    let front = split.front.unwrap_or_default();
    let root = keep(yaml::parse_from(front, file, split.front_lines_before), diagnostics);
    let body = (!split.body.is_empty()).then(|| split.body.to_owned());
    Document { root, body, body_position: Position { line: split.body_line, column: 1 } }
}

fn keep(read: Result<Node, yaml::YamlError>, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    read.map_err(|error| diagnostics.push(error.into())).ok()
}

/// The name, before anything else is read, because every origin carries it.
fn bundle_name(root: &Node) -> String {
    root.get("bundle").and_then(|bundle| bundle.get("name")).and_then(Node::as_text).unwrap_or_default()
}

fn namespace_root(bundle: &Bundle, dir: &Path) -> PathBuf {
    match &bundle.namespace_root {
        Some(root) => join(dir, root),
        None => dir.to_owned(),
    }
}

fn read_section(reader: &mut Reader, entry: &Entry, bundle: &mut Bundle) {
    let node = &entry.value;
    match entry.key.as_str() {
        "bundle" => read_header(reader, node, bundle),
        "includes" => bundle.includes = sections::includes(reader, node),
        "session" => bundle.session = module::session(reader, node, &mut bundle.set_by),
        "providers" => bundle.providers = module::list(reader, node, "providers"),
        "tools" => bundle.tools = module::list(reader, node, "tools"),
        "hooks" => bundle.hooks = module::list(reader, node, "hooks"),
        "agents" => bundle.agents = agent::roster(reader, node, &mut bundle.set_by),
        "context" => (bundle.context, bundle.project_files) = sections::context(reader, node),
        "spawn" => bundle.spawn = sections::spawn(reader, node, &mut bundle.set_by),
        key if keys::DECLARED.contains(&key) && !node.is_null() => {
            let origin = reader.origin(entry.key_position);
            // What somebody wrote to hold a session to something must not be passed over in silence.
            if matches!(key, "permissions" | "limits") {
                let message = format!("`{key}` of a bundle is not applied by this version");
                let help = "say it in settings or with flags, so that it holds";
                reader.note(Severity::Warning, Code::NotRead, entry.key_position, message, help);
            }
            bundle.declared.insert(key.to_owned(), vec![Declared { node: node.clone(), origin }]);
        }
        _ => {}
    }
}

fn read_header(reader: &mut Reader, node: &Node, bundle: &mut Bundle) {
    let Some(entries) = reader.map(node, "`bundle`") else { return };
    reader.unknown_keys(entries, Level::Header);
    for entry in entries {
        let key = entry.key.as_str();
        if !["name", "version", "description", "namespace_root"].contains(&key) {
            continue;
        }
        let Some(text) = reader.text(&entry.value, &format!("`bundle.{key}`")) else { continue };
        let origin = reader.origin(entry.key_position);
        bundle.set_by.set(format!("bundle.{key}"), vec![origin]);
        match key {
            "name" => bundle.name = text,
            "version" if text.is_empty() => bundle.version = DEFAULT_VERSION.to_owned(),
            "version" => bundle.version = text,
            "description" => bundle.description = text,
            _ => bundle.namespace_root = Some(text),
        }
    }
}

/// Joins a path that a file names to the file's directory and removes `.` and `..` from it by its text.
fn join(dir: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in dir.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match joined.components().next_back() {
                Some(Component::Normal(_)) => {
                    joined.pop();
                }
                Some(Component::RootDir) => {}
                _ => joined.push(".."),
            },
            part => joined.push(part),
        }
    }
    joined
}
