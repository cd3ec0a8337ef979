//! Adds a background session to a project's file and takes one out, as `background add` and `rm` do.
//!
//! Guarantees: every other line of the file stays as it is, comments and layout too; what was added and is
//! taken out again leaves the bytes that were there before. Before anything is written the new text is read back
//! and compared with what was meant. The file is replaced atomically and durably, one process at a time.
//! Never here: a file that is no YAML is left as it is; so is one whose list is written in a way that cannot
//! be changed line by line.

mod addition;
#[cfg(test)]
mod fuzz;
mod lines;

use std::io;
use std::path::{Path, PathBuf};

use amplifier_bundle::bundle::node::Entry;
use amplifier_bundle::bundle::{Node, YamlError, yaml};
use amplifier_bundle::settings::home::AmplifierHome;
use amplifier_bundle::settings::{LockError, behind_link, exclusive};
use amplifier_foundation::fs::mode::is_open_to_others;
use amplifier_foundation::fs::read::{self, ReadError};
use amplifier_foundation::fs::write::{Access, create_dirs, replace};
use amplifier_trigger::BackgroundName;
use serde_json::Value;

use super::LIST;

pub use addition::{Addition, NewTrigger};

/// The lock of whoever changes such a file, in the user's folder.
const LOCK: &str = "background.lock";

/// Why a file was not changed. It is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The name is taken.
    #[error("{}:{line}: the background session {name} is declared already; choose another name, or remove that one first", file.display())]
    Declared {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u32,
        /// The name.
        name: BackgroundName,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is no YAML.
    #[error("{0}; repair the file first")]
    Yaml(#[from] YamlError),
    /// It says something else than a map with a list.
    #[error("{}:{line}: `{LIST}` must be a list; repair the file first", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u32,
    },
    /// The new text would not say what was meant.
    #[error("{}:{line}: the list is written in a way that cannot be changed safely; edit the file by hand", file.display())]
    Unsafe {
        /// The file.
        file: PathBuf,
        /// The line of the list.
        line: u32,
    },
    /// Another process changes such a file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be written.
    #[error("{} cannot be written; check the disk and who owns the folder", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Declares a background session in a file, which is made if there is none. `Ok`: durable.
pub fn add(home: &AmplifierHome, file: &Path, addition: &Addition) -> Result<(), EditError> {
    let _alone = exclusive(home, LOCK)?;
    let text = text_of(file)?;
    let changed = with(&text, file, addition)?;
    write(file, &changed)
}

/// Takes a background session out of a file. `Ok(true)`: durable; false: the file declares none of that name.
pub fn remove(home: &AmplifierHome, file: &Path, name: &BackgroundName) -> Result<bool, EditError> {
    let _alone = exclusive(home, LOCK)?;
    let text = text_of(file)?;
    let Some(changed) = without(&text, file, name)? else { return Ok(false) };
    write(file, &changed)?;
    Ok(true)
}

fn text_of(file: &Path) -> Result<String, EditError> {
    match read::text(file, yaml::MAX_BYTES as u64) {
        Ok((text, _)) => Ok(text),
        Err(error) if error.is_missing() => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), EditError> {
    let failed = |source| EditError::Write { file: file.to_owned(), source };
    let private = read::is_file(file) && !is_open_to_others(file).unwrap_or(false);
    create_dirs(file.parent().unwrap_or(Path::new(".")), Access::Shared).map_err(failed)?;
    let access = if private { Access::Private } else { Access::Shared };
    replace(&behind_link(file), text.as_bytes(), access).map_err(failed)
}

/// The text with one more background session.
fn with(text: &str, file: &Path, addition: &Addition) -> Result<String, EditError> {
    let root = yaml::parse(text, file)?;
    let list = list_of(&root, file)?;
    if let Some(item) = items(list).iter().find(|item| is_named(item, &addition.name)) {
        let (file, line) = (file.to_owned(), item.position.line);
        return Err(EditError::Declared { file, line, name: addition.name.clone() });
    }
    let block = addition.lines();
    let mut meant = meaning(&root);
    meant.1.push(meaning_of(&block, file)?);
    checked(lines::added(text, list, &block), file, list, &meant)
}

/// The text without a background session; `None` if it has none of that name.
fn without(text: &str, file: &Path, name: &BackgroundName) -> Result<Option<String>, EditError> {
    let root = yaml::parse(text, file)?;
    let list = list_of(&root, file)?;
    let Some(at) = items(list).iter().position(|item| is_named(item, name)) else { return Ok(None) };
    let mut meant = meaning(&root);
    meant.1.remove(at);
    let candidates = list.map_or_else(Vec::new, |list| lines::removed(text, list, at));
    checked(candidates, file, list, &meant).map(Some)
}

/// The first of several texts that says what is meant.
fn checked(
    candidates: Vec<String>,
    file: &Path,
    list: Option<&Entry>,
    meant: &Meaning,
) -> Result<String, EditError> {
    let says = |text: &String| yaml::parse(text, file).is_ok_and(|root| meaning(&root) == *meant);
    let line = list.map_or(1, |list| list.key_position.line);
    candidates.into_iter().find(says).ok_or_else(|| EditError::Unsafe { file: file.to_owned(), line })
}

/// The list's entry, if the file has one.
fn list_of<'n>(root: &'n Node, file: &Path) -> Result<Option<&'n Entry>, EditError> {
    let shape = |line| EditError::Shape { file: file.to_owned(), line };
    if root.is_null() {
        return Ok(None);
    }
    let entries = root.as_map().ok_or_else(|| shape(root.position.line))?;
    let list = entries.iter().find(|entry| entry.key == LIST);
    match list {
        Some(list) if !list.value.is_null() && list.value.as_seq().is_none() => {
            Err(shape(list.key_position.line))
        }
        list => Ok(list),
    }
}

fn items(list: Option<&Entry>) -> &[Node] {
    list.and_then(|list| list.value.as_seq()).unwrap_or_default()
}

fn is_named(item: &Node, name: &BackgroundName) -> bool {
    item.get("name").and_then(Node::as_text).is_some_and(|text| text == name.as_str())
}

/// What a file says, wherever it stands: the items of the list apart from the rest.
type Meaning = (Vec<(String, Value)>, Vec<Value>);

fn meaning(root: &Node) -> Meaning {
    let (mut rest, mut list) = (Vec::new(), Vec::new());
    for entry in root.as_map().unwrap_or_default() {
        match entry.key.as_str() {
            LIST => list = entry.value.as_seq().unwrap_or_default().iter().map(value_of).collect(),
            key => rest.push((key.to_owned(), value_of(&entry.value))),
        }
    }
    (rest, list)
}

fn value_of(node: &Node) -> Value {
    serde_json::to_value(node).unwrap_or_default()
}

fn meaning_of(block: &[String], file: &Path) -> Result<Value, EditError> {
    let list = yaml::parse(&block.join("\n"), file)?;
    Ok(list.as_seq().and_then(<[Node]>::first).map(value_of).unwrap_or_default())
}

#[cfg(test)]
mod tests;
