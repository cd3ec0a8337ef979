//! The files that went into a bundle: what they said, and how to see that they changed.
//!
//! Guarantees: a file counts once, however often it is asked for; the content hash
//! depends on contents and their order, not on where they lie.
//! Never here: parsing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builtin;
use super::error::BundleError;
use crate::source::SourceError;
use amplifier_fs::memo::{Loaded, Memo};
use amplifier_fs::read::{self, ReadError, Stamp};

/// The text of a file, wherever it is kept.
pub(crate) enum Text {
    BuiltIn(&'static str),
    File(Arc<Loaded>),
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::BuiltIn(text) => text,
            Self::File(loaded) => &loaded.text,
        }
    }
}

/// Reads files and remembers which.
pub(crate) struct Inputs<'a> {
    memo: &'a Memo,
    hasher: blake3::Hasher,
    seen: HashSet<PathBuf>,
    files: Vec<(PathBuf, Stamp)>,
    absent: Vec<PathBuf>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(memo: &'a Memo) -> Self {
        let (seen, files, absent) = (HashSet::new(), Vec::new(), Vec::new());
        Self { memo, hasher: blake3::Hasher::new(), seen, files, absent }
    }

    /// The text of a file of at most `limit_bytes`.
    pub(crate) fn text(&mut self, path: &Path, limit_bytes: u64) -> Result<Text, ReadError> {
        if builtin::owns(path) {
            let text = builtin::text(path).ok_or_else(|| ReadError::Missing { path: path.to_owned() })?;
            self.add(path, blake3::hash(text.as_bytes()));
            return Ok(Text::BuiltIn(text));
        }
        let loaded = self.memo.text(path, limit_bytes)?;
        if self.add(path, loaded.hash) {
            self.files.push((path.to_owned(), loaded.stamp));
        }
        Ok(Text::File(loaded))
    }

    /// Remembers a folder, so that a file that is added to it is noticed. Its names do not change the hash.
    pub(crate) fn folder(&mut self, path: &Path) {
        if let Ok(stamp) = read::stamp(path)
            && self.seen.insert(path.to_owned())
        {
            self.files.push((path.to_owned(), stamp));
        }
    }

    /// A text that no file holds.
    pub(crate) fn in_memory(&mut self, text: &str) {
        self.hasher.update(blake3::hash(text.as_bytes()).as_bytes());
    }

    fn add(&mut self, path: &Path, hash: blake3::Hash) -> bool {
        let new = self.seen.insert(path.to_owned());
        if new {
            self.hasher.update(hash.as_bytes());
        }
        new
    }

    /// Remembers that something was not there, so that its appearing is noticed.
    pub(crate) fn missing(&mut self, error: &BundleError) {
        let error = match error {
            BundleError::Read(error) | BundleError::Source(SourceError::Read(error)) => error,
            _ => return,
        };
        if let ReadError::Missing { path } = error {
            self.absent.push(path.clone());
        }
    }

    /// Remembers that a path leads nowhere.
    pub(crate) fn absent(&mut self, path: PathBuf) {
        self.absent.push(path);
    }

    pub(crate) fn finish(self) -> Seen {
        let content_hash = self.hasher.finalize().to_hex().to_string();
        Seen { content_hash, files: self.files, absent: self.absent }
    }
}

/// What went in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) content_hash: String,
    pub(crate) files: Vec<(PathBuf, Stamp)>,
    absent: Vec<PathBuf>,
}

impl Seen {
    /// Whether every file is as it was, judged by `stat` alone.
    pub(crate) fn is_current(&self) -> bool {
        let same = |(path, stamp): &(PathBuf, Stamp)| read::stamp(path).is_ok_and(|now| now == *stamp);
        self.files.iter().all(same) && self.absent.iter().all(|path| read::kind(path) == read::Kind::Missing)
    }
}
