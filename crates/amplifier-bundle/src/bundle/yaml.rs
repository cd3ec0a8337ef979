//! YAML in, our own tree out: the only module that knows a YAML library.
//!
//! Guarantees: text over [`MAX_BYTES`], nested deeper than [`MAX_DEPTH`] or growing over [`MAX_NODES`]
//! nodes once its aliases are expanded is refused before it is built; keys are unique; merge keys (`<<`)
//! are applied, the explicit key winning; each error names file, line and column. It opens no file.
//!
//! The text is read twice. The first pass goes over marker events and checks every bound while it notes
//! places; only then does the second one build values, which are matched with the places.

mod guard;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Number;
use serde_yaml::Value;

use self::guard::{Outline, Shape};
use super::diagnostic::{Code, Diagnostic, Severity};
use super::node::{Entry, Node, Position, Yaml};

/// Longest text, in bytes: 1 MiB.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and maps, aliases followed.
pub const MAX_DEPTH: usize = 64;
/// Most values and keys, aliases expanded.
pub const MAX_NODES: usize = 100_000;

/// A text that is no YAML we read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}:{}: {fault}", file.display(), position.line, position.column)]
#[non_exhaustive]
pub struct YamlError {
    /// The file, as the caller named it.
    pub file: PathBuf,
    /// The place.
    pub position: Position,
    /// What is wrong.
    pub fault: YamlFault,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum YamlFault {
    /// Longer than [`MAX_BYTES`].
    #[error("the text has {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("lists and maps are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_NODES`] values.
    #[error("the text grows to more than {MAX_NODES} values")]
    TooManyNodes,
    /// A key that the map has already.
    #[error("the key `{}` stands twice in one map, first in line {first_line}", key.escape_debug())]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of the first one.
        first_line: u32,
    },
    /// A second document after `---`.
    #[error("the file holds several documents; one is read")]
    SeveralDocuments,
    /// A key that is a list, a map, an alias or nothing.
    #[error("a key must be plain text")]
    BadKey,
    /// `!something`.
    #[error("the tag `{}` is not known here", tag.escape_debug())]
    Tag {
        /// The tag.
        tag: String,
    },
    /// `<<` with something that is neither a map nor a list of maps.
    #[error("`<<` takes a map or a list of maps")]
    BadMerge,
    /// An alias inside the value that it stands for.
    #[error("an alias stands inside the value that it names")]
    RecursiveAlias,
    /// `.inf` or `.nan`.
    #[error("the number is not finite")]
    NotFinite,
    /// Not YAML.
    #[error("{message}")]
    Syntax {
        /// What the library says.
        message: String,
        /// What to do, where it is known.
        help: Option<&'static str>,
    },
    /// Good YAML of another shape than is wanted.
    #[error("{message}")]
    Shape {
        /// What is wanted, and what is there.
        message: String,
    },
}

impl YamlFault {
    fn help(&self) -> Option<&'static str> {
        Some(match self {
            YamlFault::TooLarge { .. } => "move long text into files and name them",
            YamlFault::TooDeep => "flatten the structure",
            YamlFault::TooManyNodes => "use fewer aliases",
            YamlFault::DuplicateKey { .. } => "remove one of the two, or join their values",
            YamlFault::SeveralDocuments => "remove what follows the second `---`",
            YamlFault::BadKey => "write the key as text, in quotes if need be",
            YamlFault::Tag { .. } => "remove the tag, or put the value in quotes",
            YamlFault::BadMerge => "write `<<: *name` or `<<: [*one, *two]`",
            YamlFault::RecursiveAlias => "write the value out instead",
            YamlFault::NotFinite => "write a number, or put the value in quotes",
            YamlFault::Syntax { help, .. } => return *help,
            YamlFault::Shape { .. } => return None,
        })
    }
}

impl From<YamlError> for Diagnostic {
    fn from(error: YamlError) -> Self {
        let code = match error.fault {
            YamlFault::Shape { .. } => Code::WrongType,
            _ => Code::Syntax,
        };
        let help = error.fault.help();
        let diagnostic = Diagnostic::new(Severity::Error, code, &error.file, error.fault.to_string());
        let diagnostic = diagnostic.at(error.position);
        match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

/// Reads one document. An empty text is `null`.
pub fn parse(text: &str, file: &Path) -> Result<Node, YamlError> {
    parse_from(text, file, 0)
}

/// Reads one document that begins after some lines of its file.
pub fn parse_from(text: &str, file: &Path, lines_before: u32) -> Result<Node, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    read(text)
        .map_err(|Fault { mut fault, mut position }| {
            position.line = position.line.saturating_add(lines_before);
            if let YamlFault::DuplicateKey { first_line, .. } = &mut fault {
                *first_line = first_line.saturating_add(lines_before);
            }
            YamlError { file: file.to_owned(), position, fault }
        })
        .map(|node| shift(node, lines_before))
}

/// Reads one document into a type. Booleans also take `yes`, `no`, `on` and `off`.
pub fn from_str<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T, YamlError> {
    let node = parse(text, file)?;
    from_node(&node, file)
}

/// Turns a tree, or a part of one, into a type. Booleans also take `yes`, `no`, `on` and `off`.
pub fn from_node<T: DeserializeOwned>(node: &Node, file: &Path) -> Result<T, YamlError> {
    T::deserialize(node).map_err(|error| YamlError {
        file: file.to_owned(),
        position: error.position.unwrap_or(node.position),
        fault: YamlFault::Shape { message: error.message },
    })
}

/// A fault with its place, before the file is known.
#[derive(Debug)]
struct Fault {
    fault: YamlFault,
    position: Position,
}

impl Fault {
    fn new(fault: YamlFault, position: Position) -> Self {
        Self { fault, position }
    }
}

fn read(text: &str) -> Result<Node, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault::new(YamlFault::TooLarge { bytes: text.len() }, Position::START));
    }
    let Some(outline) = guard::outline(text)? else {
        return Ok(Node::new(Yaml::Null, Position::START));
    };
    let value = serde_yaml::from_str::<Value>(text).map_err(|error| library_fault(&error))?;
    attach(value, &outline)
}

fn library_fault(error: &serde_yaml::Error) -> Fault {
    let position = error.location().map_or(Position::START, |at| Position {
        line: u32::try_from(at.line()).unwrap_or(u32::MAX),
        column: u32::try_from(at.column()).unwrap_or(u32::MAX),
    });
    Fault::new(YamlFault::Syntax { message: error.to_string(), help: None }, position)
}

/// Puts the places of the first pass to the values of the second.
fn attach(value: Value, outline: &Outline) -> Result<Node, Fault> {
    let position = outline.position;
    let value = match (value, &outline.shape) {
        (Value::Sequence(items), Shape::Seq(outlines)) if items.len() == outlines.len() => {
            let items = items.into_iter().zip(outlines).map(|(item, outline)| attach(item, outline));
            Yaml::Seq(items.collect::<Result<_, _>>()?)
        }
        (Value::Mapping(map), Shape::Map(outlines)) if map.len() == outlines.len() => {
            Yaml::Map(attach_map(map, outlines)?)
        }
        (Value::Null, Shape::Leaf(_)) => Yaml::Null,
        (Value::String(text), Shape::Leaf(_)) => Yaml::Str(text),
        (Value::Bool(value), Shape::Leaf(_)) => Yaml::Bool(value),
        (Value::Number(number), Shape::Leaf(text)) if !text.is_empty() && text.is_ascii() => {
            let number = finite(&number).ok_or_else(|| Fault::new(YamlFault::NotFinite, position))?;
            return Ok(Node::written(Yaml::Number(number), position, text));
        }
        _ => return Err(two_ways("value", position)),
    };
    Ok(Node::new(value, position))
}

/// The passes differ: about a line end of Unicode for example, or a `:` that stands beside one.
fn two_ways(what: &str, position: Position) -> Fault {
    let message = format!("the {what} can be read in two ways");
    Fault::new(YamlFault::Syntax { message, help: Some("put it in quotes, or use block style") }, position)
}

fn attach_map(map: serde_yaml::Mapping, outlines: &[guard::Key]) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::with_capacity(outlines.len());
    let mut merged = Vec::new();
    for ((name, value), key) in map.into_iter().zip(outlines) {
        if name.as_str().is_some_and(|name| name != &*key.text) {
            return Err(two_ways("key", key.position));
        }
        let value = attach(value, &key.value)?;
        if key.merges {
            merged = merge_sources(value)?;
        } else {
            entries.push(Entry::new(&*key.text, key.position, value));
        }
    }
    if !merged.is_empty() {
        let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        entries.extend(merged.into_iter().filter(|entry| known.insert(entry.key.clone())));
    }
    Ok(entries)
}

/// The entries that a merge key brings, those that win first.
fn merge_sources(value: Node) -> Result<Vec<Entry>, Fault> {
    let position = value.position;
    let maps = match value.value {
        Yaml::Map(entries) => return Ok(entries),
        Yaml::Seq(items) => items,
        _ => return Err(Fault::new(YamlFault::BadMerge, position)),
    };
    let mut all = Vec::new();
    for map in maps {
        match map.value {
            Yaml::Map(entries) => all.extend(entries),
            _ => return Err(Fault::new(YamlFault::BadMerge, map.position)),
        }
    }
    Ok(all)
}

fn finite(number: &serde_yaml::Number) -> Option<Number> {
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    Number::from_f64(number.as_f64()?)
}

/// Moves all places down by some lines.
fn shift(mut node: Node, lines: u32) -> Node {
    if lines > 0 {
        node.shift_lines(lines);
    }
    node
}
