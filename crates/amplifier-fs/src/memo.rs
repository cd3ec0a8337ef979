//! Files kept in memory for as long as their stamp stays the same.
//!
//! Guarantees: a file is opened only when its size, time or inode changed since it
//! was read, so looking at an unchanged file costs one `stat`; memory is bounded.
//! Never here: what a file means.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::read::{self, ReadError, Reader, Stamp};

/// Most bytes that are kept; beyond it everything is forgotten and read anew.
const MAX_KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// A text file as it was when it had this stamp.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// Its content.
    pub text: String,
    /// What told this version apart.
    pub stamp: Stamp,
    /// BLAKE3 of the content.
    pub hash: blake3::Hash,
}

/// Text files by path. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Memo {
    reader: Reader,
    // Guards the map alone; never held across a read or an await.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<PathBuf, Arc<Loaded>>,
    bytes: u64,
}

impl Memo {
    /// The text at `path`, of at most `limit_bytes`.
    pub fn text(&self, path: &Path, limit_bytes: u64) -> Result<Arc<Loaded>, ReadError> {
        let known = self.kept().files.get(path).cloned();
        if let Some(known) = known
            && known.stamp.bytes() <= limit_bytes
            && read::stamp(path)? == known.stamp
        {
            return Ok(known);
        }
        let (text, stamp) = self.reader.text(path, limit_bytes)?;
        let hash = blake3::hash(text.as_bytes());
        let loaded = Arc::new(Loaded { text, stamp, hash });
        self.keep(path, Arc::clone(&loaded));
        Ok(loaded)
    }

    fn keep(&self, path: &Path, loaded: Arc<Loaded>) {
        let mut kept = self.kept();
        let bytes = loaded.stamp.bytes();
        if kept.bytes.saturating_add(bytes) > MAX_KEPT_BYTES {
            *kept = Kept::default();
        }
        let before = kept.files.insert(path.to_owned(), loaded);
        let replaced = before.map_or(0, |old| old.stamp.bytes());
        kept.bytes = kept.bytes.saturating_add(bytes).saturating_sub(replaced);
    }

    /// How often a file was opened.
    pub fn opened(&self) -> u64 {
        self.reader.opened()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic between two statements of `keep` leaves a map that is still true.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
