//! Finding a bundle's file below a path.
//!
//! Guarantees: what [`below`] returns lies in its root, links resolved; the order
//! in which names are tried is that of the reference system.
//! Never here: reading what was found.

use std::path::{Path, PathBuf};

use super::SourceError;
use super::uri::FileUri;
use amplifier_fs::read::{self, Kind, ReadError};

/// Names that make a folder a bundle, in the order in which they are tried.
pub const BUNDLE_FILES: [&str; 2] = ["bundle.md", "bundle.yaml"];

/// Suffixes of a bundle's file.
pub const SUFFIXES: [&str; 3] = ["md", "yaml", "yml"];

/// Where relative paths and `~` begin.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// What `./` and `../` are relative to.
    pub base: &'a Path,
    /// What `~` stands for, if that is known.
    pub home: Option<&'a Path>,
}

impl Places<'_> {
    /// The absolute path of what was written; it need not exist.
    pub fn join(&self, written: &str) -> Result<PathBuf, SourceError> {
        let Some(rest) = written.strip_prefix('~') else {
            return Ok(self.base.join(written));
        };
        let home = self.home.filter(|_| rest.is_empty() || rest.starts_with('/'));
        let home = home.ok_or_else(|| SourceError::NoHome { path: written.to_owned() })?;
        Ok(home.join(rest.trim_start_matches('/')))
    }

    /// The bundle's file that a file source names.
    pub fn find(&self, uri: &FileUri) -> Result<PathBuf, SourceError> {
        let path = self.join(&uri.path)?;
        match &uri.subdirectory {
            Some(sub) => bundle_file(&below(&path, sub)?),
            None => bundle_file(&path),
        }
    }
}

/// The bundle's file at a path: the file itself, or the folder's bundle file. Canonical.
pub fn bundle_file(path: &Path) -> Result<PathBuf, SourceError> {
    let no_bundle = || SourceError::NoBundle { path: path.to_owned() };
    match read::kind(path) {
        Kind::File if has_suffix(path) => Ok(read::canonical(path)?),
        Kind::Directory => {
            let found = folder_bundle(path).ok_or_else(no_bundle)?;
            Ok(read::canonical(&found)?)
        }
        Kind::Missing => Err(ReadError::Missing { path: path.to_owned() }.into()),
        _ => Err(no_bundle()),
    }
}

/// The bundle file of a folder.
pub fn folder_bundle(folder: &Path) -> Option<PathBuf> {
    BUNDLE_FILES.iter().map(|name| folder.join(name)).find(|path| read::kind(path) == Kind::File)
}

fn has_suffix(path: &Path) -> bool {
    path.extension().and_then(|suffix| suffix.to_str()).is_some_and(|suffix| SUFFIXES.contains(&suffix))
}

/// `root/sub`, which must exist and, links resolved, lie in `root`.
pub fn below(root: &Path, sub: &str) -> Result<PathBuf, SourceError> {
    let root = read::canonical(root)?;
    let found = read::canonical(&root.join(sub))?;
    match found.starts_with(&root) {
        true => Ok(found),
        false => Err(SourceError::Escape { sub: sub.to_owned(), root }),
    }
}

/// What `namespace:path` may mean below the namespace's folder: the path itself,
/// with `.yaml`, `.yml`, `.md`, and as a folder with a bundle.
pub fn attempts(path: &str) -> [String; 6] {
    let path = path.trim_end_matches('/');
    [
        path.to_owned(),
        format!("{path}.yaml"),
        format!("{path}.yml"),
        format!("{path}.md"),
        format!("{path}/bundle.yaml"),
        format!("{path}/bundle.md"),
    ]
}

/// The bundle's file that a path below a namespace's folder means.
///
/// With `confine`, what is found must lie in that folder, links resolved.
/// `Ok(None)`: none of the [`attempts`] is there.
pub fn in_namespace(
    folder: &Path,
    path: &str,
    confine: Option<&Path>,
) -> Result<Option<PathBuf>, SourceError> {
    for attempt in attempts(path) {
        let candidate = folder.join(&attempt);
        let candidate = match read::kind(&candidate) {
            Kind::File if has_suffix(&candidate) => candidate,
            Kind::Directory => match folder_bundle(&candidate) {
                Some(file) => file,
                None => continue,
            },
            _ => continue,
        };
        return confined(&candidate, &attempt, confine).map(Some);
    }
    Ok(None)
}

/// The canonical path, which must lie in `confine` if that is given.
pub fn confined(path: &Path, written: &str, confine: Option<&Path>) -> Result<PathBuf, SourceError> {
    let found = read::canonical(path)?;
    match confine.map(read::canonical).transpose()? {
        Some(root) if !found.starts_with(&root) => Err(SourceError::Escape { sub: written.to_owned(), root }),
        _ => Ok(found),
    }
}
