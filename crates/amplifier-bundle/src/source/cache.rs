//! The cache of fetched sources: its layout, and one lock an entry.
//!
//! Guarantees: names are those of the reference system, so that its cache is used;
//! an entry appears whole; whoever holds an entry's lock is its only writer, across
//! processes. Readers take no lock.
//! Never here: how an entry is fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;

use super::SourceError;
use amplifier_fs::lock::{self, Acquired, LockFile};
use amplifier_fs::read::list;
use amplifier_fs::tree::{self, Scratch};

/// How long to sleep between two looks at a lock that somebody holds.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// One fetched source on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    root: PathBuf,
    name: String,
}

impl Entry {
    /// The entry of a name in the cache at `root`.
    pub fn new(root: &Path, name: String) -> Self {
        Self { root: root.to_owned(), name }
    }

    /// Where the fetched tree is, or will be.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Whether the tree is there. A folder with nothing but `.git` is what a clone that was cut off left.
    pub fn is_present(&self) -> bool {
        list(&self.path(), 2).is_ok_and(|(found, _)| found.iter().any(|entry| entry.name != ".git"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.root.join(format!(".{}.{suffix}", self.name))
    }

    /// Waits until nobody else writes this entry, at most for `within`.
    ///
    /// Dropping the future or the guard releases the entry.
    pub async fn lock(
        &self,
        clock: &Arc<dyn Clock>,
        within: Duration,
        uri: &str,
    ) -> Result<Locked, SourceError> {
        tree::create(&self.root)?;
        let path = self.beside("lock");
        let deadline = clock.monotonic().saturating_add(within);
        loop {
            let holder = match lock::acquire(&path).map_err(tree::fails(&path, "locked"))? {
                Acquired::Held(held) => return Ok(Locked { entry: self.clone(), _held: held }),
                Acquired::Busy(holder) => holder,
            };
            let now = clock.monotonic();
            if now >= deadline {
                return Err(SourceError::Busy { uri: uri.to_owned(), deadline: within, holder });
            }
            clock.sleep_until(now.saturating_add(LOCK_POLL).min(deadline)).await;
        }
    }
}

/// An entry whose only writer we are.
#[derive(Debug)]
pub struct Locked {
    entry: Entry,
    _held: LockFile,
}

impl Locked {
    /// An empty folder beside the entry; what an abandoned fetch left is gone.
    pub fn scratch(&self) -> Result<Scratch, SourceError> {
        Ok(Scratch::new(self.entry.beside("new"))?)
    }

    /// Makes a finished tree the entry, in the place of an older one.
    pub fn install(&self, finished: &Path) -> Result<(), SourceError> {
        Ok(tree::install(finished, &self.entry.path(), &self.entry.beside("old"))?)
    }
}
