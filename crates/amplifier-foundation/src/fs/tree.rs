//! Directory trees as units: made beside their place, moved in whole, removed whole.
//!
//! Guarantees: a tree that [`install`] puts in place appears whole or not at all
//! to whoever looks for its name. A [`LockFile`] is released by the kernel when
//! its process ends, however it ends.
//! Never here: single files of users; nothing is removed outside the given path.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a tree could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {action}", path.display())]
pub struct TreeError {
    /// The path in question.
    pub path: PathBuf,
    /// What was tried: `created`, `moved`, `removed`, `locked`.
    pub action: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn fails(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> TreeError {
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

/// A lock between processes on a file that exists for nothing else.
#[derive(Debug)]
pub struct LockFile {
    _held: File,
}

impl LockFile {
    /// Takes the lock if nobody holds it. `None`: somebody does.
    pub fn try_take(path: &Path) -> Result<Option<Self>, TreeError> {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(fails(path, "locked"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _held: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(fails(path, "locked")(error)),
        }
    }
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

    #[test]
    fn a_lock_is_held_once_and_released_on_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = LockFile::try_take(&path).unwrap().unwrap();
        assert!(LockFile::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(LockFile::try_take(&path).unwrap().is_some());
    }
}
