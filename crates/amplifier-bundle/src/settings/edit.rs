//! Changes one setting in one scope's file: `bundle use`, `bundle add`, `provider add`, `init`.
//!
//! Guarantees: every other setting keeps its value. Comments and layout stay: the lines of the
//! setting alone change where that is possible, else the section of its first key is written anew,
//! else the whole file. Before anything is written the new text is read back and compared with what
//! was meant. The file is replaced atomically, links to it stay, one process at a time; it keeps
//! being private if it was.
//! Never here: a file that is no YAML or no map is an error and is left as it is.

mod emit;
#[cfg(test)]
mod fuzz;
mod lines;
mod module;
mod tree;

use std::io;
use std::path::{Path, PathBuf};

use amplifier_core::ModuleSpec;

use super::home::AmplifierHome;
use super::load::MAX_SETTINGS_BYTES;
use super::lock::{LockError, behind_link, exclusive};
use super::scope::{Scope, SettingsFiles};
use crate::bundle::node::{Node, Position, Yaml};
use crate::bundle::yaml::{self, YamlError};
use amplifier_fs::mode::is_open_to_others;
use amplifier_fs::read::{self, ReadError};
use amplifier_fs::write::{Access, create_dirs, replace};

/// A change. A path is a way of keys from the top: `["bundle", "added", "mine"]`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Change<'a> {
    /// Sets text, making the maps above it.
    Set {
        /// The key.
        path: &'a [&'a str],
        /// Its value.
        value: &'a str,
    },
    /// Removes a key, and the maps above it that are empty then.
    Unset {
        /// The key.
        path: &'a [&'a str],
    },
    /// Adds text to the end of a list that has not got it, making the list.
    Append {
        /// The key of the list.
        path: &'a [&'a str],
        /// What is added.
        value: &'a str,
    },
    /// Takes text from a list, and the list away when it is empty then.
    Remove {
        /// The key of the list.
        path: &'a [&'a str],
        /// What is taken away.
        value: &'a str,
    },
    /// Puts a module into a list of modules, in the place of the one that has its key, making the list.
    Module {
        /// The key of the list.
        path: &'a [&'a str],
        /// The module.
        spec: &'a ModuleSpec,
    },
    /// Takes a module from a list of modules, and the list away when it is empty then.
    RemoveModule {
        /// The key of the list.
        path: &'a [&'a str],
        /// The module's id, else its name.
        key: &'a str,
    },
}

impl<'a> Change<'a> {
    fn path(&self) -> &'a [&'a str] {
        match self {
            Self::Set { path, .. }
            | Self::Unset { path }
            | Self::Append { path, .. }
            | Self::Remove { path, .. }
            | Self::Module { path, .. }
            | Self::RemoveModule { path, .. } => path,
        }
    }
}

/// Why a file was not changed. It is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The scope has no file here.
    #[error("scope {scope} has no settings file here; choose user, project or local")]
    NoFile {
        /// The scope.
        scope: Scope,
    },
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is no YAML.
    #[error("{0}; repair the file first")]
    Yaml(#[from] YamlError),
    /// The path of the change leads through something that is no map, or no list at its end.
    #[error("{}:{line}: `{key}` is {found}; make it {wanted} first", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u32,
        /// The key in the way.
        key: String,
        /// What it is.
        found: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// The new text would not have said what was meant.
    #[error("{} is written in a way that cannot be changed safely; edit it by hand", file.display())]
    Unsafe {
        /// The file.
        file: PathBuf,
    },
    /// Another process changes settings.
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

/// Changes the file of a scope. True if it was changed, false if it said so already. `Ok`: durable.
pub fn edit(
    home: &AmplifierHome,
    files: &SettingsFiles,
    scope: Scope,
    change: &Change<'_>,
) -> Result<bool, EditError> {
    let file = files.of(scope).ok_or(EditError::NoFile { scope })?;
    let _alone = exclusive(home, "settings.lock")?;
    let text = match read::text(file, MAX_SETTINGS_BYTES) {
        Ok((text, _)) => Some(text),
        Err(error) if error.is_missing() => None,
        Err(error) => return Err(error.into()),
    };
    let Some(changed) = changed_text(text.as_deref().unwrap_or_default(), file, change)? else {
        return Ok(false);
    };
    let private = match text {
        Some(_) => !is_open_to_others(file).unwrap_or(false),
        None => scope != Scope::Project,
    };
    write(file, &changed, if private { Access::Private } else { Access::Shared })
        .map_err(|source| EditError::Write { file: file.to_owned(), source })?;
    Ok(true)
}

fn write(file: &Path, text: &str, access: Access) -> io::Result<()> {
    create_dirs(file.parent().unwrap_or(Path::new(".")), Access::Shared)?;
    replace(&behind_link(file), text.as_bytes(), access)
}

/// The text after the change; `None` if it says so already.
fn changed_text(text: &str, file: &Path, change: &Change<'_>) -> Result<Option<String>, EditError> {
    let before = yaml::parse(text, file)?;
    let before = match before.value {
        Yaml::Null => Node::new(Yaml::Map(Vec::new()), Position::START),
        _ => before,
    };
    let Some(meant) = tree::changed(&before, file, change)? else { return Ok(None) };
    let candidates = [
        lines::in_place(text, &before, change),
        lines::with_section(text, &before, &meant, change),
        Some(emit::document(&meant)),
    ];
    for candidate in candidates.into_iter().flatten() {
        // A file that uses Windows line ends keeps them.
        let candidate = match text.contains("\r\n") {
            true => candidate.replace("\r\n", "\n").replace('\n', "\r\n"),
            false => candidate,
        };
        if yaml::parse(&candidate, file).is_ok_and(|after| tree::same(&after, &meant)) {
            return Ok(Some(candidate));
        }
    }
    Err(EditError::Unsafe { file: file.to_owned() })
}
