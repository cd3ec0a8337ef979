//! A change applied to a tree, and whether two trees say the same.

use std::path::Path;

use super::{Change, EditError, module};
use crate::bundle::node::{Entry, Node, Position, Yaml};

/// The tree after the change; `None` if it says so already.
pub(super) fn changed(root: &Node, file: &Path, change: &Change<'_>) -> Result<Option<Node>, EditError> {
    let mut meant = root.clone();
    let done = apply(&mut meant, change.path(), file, change)?;
    Ok(done.then_some(meant))
}

fn apply(node: &mut Node, path: &[&str], file: &Path, change: &Change<'_>) -> Result<bool, EditError> {
    let Some((key, rest)) = path.split_first() else { return Ok(false) };
    let shape = |node: &Node, key: &str, wanted| EditError::Shape {
        file: file.to_owned(),
        line: node.position.line,
        key: key.to_owned(),
        found: node.kind(),
        wanted,
    };
    let Yaml::Map(entries) = &mut node.value else { return Err(shape(node, key, "a map")) };
    let at = entries.iter().position(|entry| entry.key == *key);
    let removing =
        matches!(change, Change::Unset { .. } | Change::Remove { .. } | Change::RemoveModule { .. });
    let at = match at {
        Some(at) => at,
        None if removing => return Ok(false),
        None => {
            entries.push(Entry::new(*key, Position::START, Node::new(Yaml::Null, Position::START)));
            entries.len() - 1
        }
    };
    let value = &mut entries[at].value;
    let done = if rest.is_empty() {
        match end(value, change) {
            Some(done) => done,
            None => return Err(shape(value, key, "a list")),
        }
    } else {
        make_map(key, value);
        if value.as_map().is_none() {
            return Err(shape(value, key, "a map"));
        }
        apply(value, rest, file, change)?
    };
    if removing && done && is_empty(&entries[at].value) {
        entries.remove(at);
    }
    Ok(done)
}

/// Nothing becomes an empty map, and the short form `bundle: NAME` the long one.
fn make_map(key: &str, value: &mut Node) {
    let entries = match &value.value {
        Yaml::Null => Vec::new(),
        Yaml::Str(_) if key == "bundle" => vec![Entry::new("active", value.position, value.clone())],
        _ => return,
    };
    *value = Node::new(Yaml::Map(entries), value.position);
}

/// The change at the end of its path: whether it changes anything, `None` if there is no list.
fn end(value: &mut Node, change: &Change<'_>) -> Option<bool> {
    match change {
        Change::Set { value: text, .. } => {
            let new = value.as_str() != Some(*text);
            *value = of_text(text);
            Some(new)
        }
        Change::Unset { .. } => {
            value.value = Yaml::Null;
            Some(true)
        }
        Change::Append { value: text, .. } => {
            if value.is_null() {
                value.value = Yaml::Seq(Vec::new());
            }
            let Yaml::Seq(items) = &mut value.value else { return None };
            let new = !items.iter().any(|item| item.as_str() == Some(*text));
            if new {
                items.push(of_text(text));
            }
            Some(new)
        }
        Change::Remove { value: text, .. } => {
            let Yaml::Seq(items) = &mut value.value else { return value.is_null().then_some(false) };
            let before = items.len();
            items.retain(|item| item.as_str() != Some(*text));
            Some(items.len() < before)
        }
        Change::Module { spec, .. } => module::put(value, spec),
        Change::RemoveModule { key, .. } => module::take(value, key),
    }
}

fn of_text(text: &str) -> Node {
    Node::new(Yaml::Str(text.to_owned()), Position::START)
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Yaml::Null => true,
        Yaml::Map(entries) => entries.is_empty(),
        Yaml::Seq(items) => items.is_empty(),
        _ => false,
    }
}

/// Whether two trees say the same, wherever it stands. An empty file says what an empty map says.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Yaml::Map(a), Yaml::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|entry| {
                    let other = b.iter().find(|other| other.key == entry.key);
                    other.is_some_and(|other| same(&entry.value, &other.value))
                })
        }
        (Yaml::Seq(a), Yaml::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Yaml::Number(_), Yaml::Number(_)) => a.as_text() == b.as_text(),
        (Yaml::Null, Yaml::Map(entries)) => entries.is_empty() && a.position == Position::START,
        (a, b) => a == b,
    }
}
