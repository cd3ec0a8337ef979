//! Modules in a list of modules, such as `config.providers`.
//!
//! Guarantees: of several entries with one key the first is the one that is changed.

use amplifier_core::ModuleSpec;
use serde_json::{Map, Value};

use super::lines::{block_end, index, joined};
use super::{Change, emit};
use crate::bundle::node::{Entry, Node, Position, Yaml};

/// The key of an entry: its id, else its module.
fn key(node: &Node) -> Option<&str> {
    let text = |key| node.get(key).and_then(Node::as_str);
    node.as_str().or_else(|| text("id")).or_else(|| text("instance_id")).or_else(|| text("module"))
}

/// A module as it is written.
fn written(spec: &ModuleSpec) -> Node {
    let mut map = Map::new();
    map.insert("module".into(), spec.module.as_str().into());
    let others = [("id", &spec.id), ("source", &spec.source)];
    map.extend(others.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.as_deref()?.into()))));
    if !spec.config.is_empty() {
        map.insert("config".into(), Value::Object(spec.config.clone()));
    }
    node(&Value::Object(map))
}

fn node(value: &Value) -> Node {
    let value = match value {
        Value::Null => Yaml::Null,
        Value::Bool(value) => Yaml::Bool(*value),
        Value::Number(number) => Yaml::Number(number.clone()),
        Value::String(text) => Yaml::Str(text.clone()),
        Value::Array(items) => Yaml::Seq(items.iter().map(node).collect()),
        Value::Object(map) => {
            Yaml::Map(map.iter().map(|(key, value)| Entry::new(key, Position::START, node(value))).collect())
        }
    };
    Node::new(value, Position::START)
}

/// Puts a module into a list: whether that changes anything, `None` if there is no list.
pub(super) fn put(list: &mut Node, spec: &ModuleSpec) -> Option<bool> {
    if list.is_null() {
        list.value = Yaml::Seq(Vec::new());
    }
    let Yaml::Seq(items) = &mut list.value else { return None };
    let new = written(spec);
    match items.iter_mut().find(|item| key(item) == Some(spec.key())) {
        Some(old) if super::tree::same(old, &new) => Some(false),
        Some(old) => {
            *old = Node::new(new.value, old.position);
            Some(true)
        }
        None => {
            items.push(new);
            Some(true)
        }
    }
}

/// Takes the modules of a key out of a list; likewise.
pub(super) fn take(list: &mut Node, wanted: &str) -> Option<bool> {
    let Yaml::Seq(items) = &mut list.value else { return list.is_null().then_some(false) };
    let before = items.len();
    items.retain(|item| key(item) != Some(wanted));
    Some(items.len() < before)
}

/// The text with the change in the lines of the entry alone; for lists in block style.
pub(super) fn in_place(lines: &[&str], list: &Entry, change: &Change<'_>) -> Option<String> {
    let items = list.value.as_seq()?;
    let starts: Vec<usize> = items.iter().map(|item| index(item.position)).collect();
    let indent = indent_of(lines, *starts.first()?)?;
    let end = |start: usize| block_end(lines, start, indent + 1);
    let at = |wanted: &str| items.iter().position(|item| key(item) == Some(wanted)).map(|at| starts[at]);
    match change {
        Change::Module { spec, .. } => {
            let text = emit::item(&written(spec), indent);
            match at(spec.key()) {
                Some(start) => Some(joined(&lines[..start], &text, &lines[end(start)..])),
                None => {
                    let end = end(*starts.last()?);
                    Some(joined(&lines[..end], &text, &lines[end..]))
                }
            }
        }
        Change::RemoveModule { key: wanted, .. } if items.len() > 1 => {
            let start = at(wanted)?;
            Some(joined(&lines[..start], "", &lines[end(start)..]))
        }
        _ => None,
    }
}

/// The indent of a line that begins an item.
fn indent_of(lines: &[&str], at: usize) -> Option<usize> {
    let line = lines.get(at)?;
    let content = line.trim_start();
    content.starts_with("- ").then(|| line.len() - content.len())
}
