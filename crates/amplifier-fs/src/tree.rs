//! Directory trees as units: made beside their place, moved in whole, removed whole.
//!
//! Guarantees: a tree that [`install`] puts in place appears whole or not at all
//! to whoever looks for its name.
//! Never here: single files of users; nothing is removed outside the given path.

use std::io;
use std::path::{Path, PathBuf};

/// Why a tree could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {action}", path.display())]
pub struct TreeError {
    /// The path in question.
    pub path: PathBuf,
    /// What was tried: `created`, `moved`, `removed`, `locked`; whoever names one has the reason in `source`.
    pub action: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// For `map_err`: what could not be done to a path.
pub fn fails(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError { path, action, source }
}

/// Makes a directory and its parents; one that exists already is fine.
pub fn create(path: &Path) -> Result<(), TreeError> {
    std::fs::create_dir_all(path).map_err(fails(path, "created"))
}

/// Removes a tree; links inside it are removed, not followed. A missing one is fine.
pub fn remove(path: &Path) -> Result<(), TreeError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fails(path, "removed")(error)),
        _ => Ok(()),
    }
}

/// Moves a finished tree to its place. A tree that is there already is moved to
/// `aside` first and removed afterwards. Both must lie on one file system.
pub fn install(finished: &Path, place: &Path, aside: &Path) -> Result<(), TreeError> {
    remove(aside)?;
    match std::fs::rename(place, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fails(place, "moved")(error)),
        _ => {}
    }
    if let Err(error) = std::fs::rename(finished, place) {
        // The old tree is better than none.
        let _ = std::fs::rename(aside, place);
        return Err(fails(place, "moved")(error));
    }
    remove(aside)
}

/// Removes a tree when it is dropped; for work that may be abandoned half-way.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// An empty directory at `path`; whatever an earlier process left there goes away.
    pub fn new(path: PathBuf) -> Result<Self, TreeError> {
        remove(&path)?;
        create(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove(&self.path);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn installing_replaces_the_old_tree_whole() {
        let dir = tempfile::tempdir().unwrap();
        let [new, place, aside] = ["new", "place", "aside"].map(|name| dir.path().join(name));
        for (tree, file) in [(&new, "b"), (&place, "a")] {
            create(tree).unwrap();
            std::fs::write(tree.join(file), "").unwrap();
        }
        install(&new, &place, &aside).unwrap();
        assert!(place.join("b").exists() && !place.join("a").exists());
        assert!(!new.exists() && !aside.exists());
    }

    #[test]
    fn a_failed_installation_leaves_the_old_tree() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        create(&place).unwrap();
        assert!(install(&dir.path().join("absent"), &place, &dir.path().join("aside")).is_err());
        assert!(place.exists());
    }
}
