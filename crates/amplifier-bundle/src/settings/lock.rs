//! One writer at a time for the files of a user.
//!
//! Guarantees: whoever holds the lock reads, changes and replaces a file alone; nobody waits for
//! it longer than about two seconds. Readers need no lock, because files are replaced whole.

use std::io;
use std::path::{Path, PathBuf};

use super::home::AmplifierHome;
use amplifier_fs::lock::{Acquired, LockFile, acquire};
use amplifier_fs::write::{Access, create_dirs};

/// How often a busy lock is tried, a few milliseconds each time.
const ATTEMPTS: usize = 250;

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it for long.
    #[error("{} is held by another process{}; try again when that has ended", path.display(), holder(*.process))]
    Busy {
        /// The lock.
        path: PathBuf,
        /// Who holds it, where known.
        process: Option<u32>,
    },
    /// The folder or the lock cannot be made.
    #[error("{} cannot be locked; check that you may write in its folder", path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn holder(process: Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" ({id})"))
}

/// Takes the lock `name` in the user's folder, which is made if it is absent.
pub fn exclusive(home: &AmplifierHome, name: &str) -> Result<LockFile, LockError> {
    let path = home.path().join(name);
    let failed = |source| LockError::Io { path: path.clone(), source };
    create_dirs(home.path(), Access::Private).map_err(failed)?;
    let mut process = None;
    for _ in 0..ATTEMPTS {
        match acquire(&path).map_err(failed)? {
            Acquired::Held(lock) => return Ok(lock),
            Acquired::Busy(holder) => process = holder,
        }
    }
    Err(LockError::Busy { path, process })
}

/// The file that a path leads to: a link that a person made stays a link when its file is replaced.
pub fn behind_link(path: &Path) -> PathBuf {
    amplifier_fs::read::real_path(path).unwrap_or_else(|_| path.to_owned())
}
