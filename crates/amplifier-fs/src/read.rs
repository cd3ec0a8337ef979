//! Bounded reads of files and directories.
//!
//! Guarantees: no read of a file that others write takes more memory than its limit;
//! a stamp belongs to the bytes that were read with it, because both come from one
//! open file; every error names the path. Only regular files are read, so a pipe or a device
//! cannot block the caller.
//! Never here: writing, watching, following a policy about who may read what.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Why a path could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is there.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// A file was wanted and something else is there, or the other way round.
    #[error("{} is not a {wanted}", path.display())]
    WrongKind {
        /// The path that was asked for.
        path: PathBuf,
        /// `file` or `directory`.
        wanted: &'static str,
    },
    /// The file has more bytes than the caller accepts.
    #[error("{} has more than {limit_bytes} bytes; make it smaller", path.display())]
    TooLarge {
        /// The path that was asked for.
        path: PathBuf,
        /// The caller's limit in bytes.
        limit_bytes: u64,
    },
    /// The bytes are no UTF-8 text.
    #[error("{} is not UTF-8 text (byte {valid_up_to}); save it as UTF-8", path.display())]
    NotText {
        /// The path that was asked for.
        path: PathBuf,
        /// Offset of the first byte that is no text.
        valid_up_to: usize,
    },
    /// The system refused.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The path that was asked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing { path },
            _ => Self::Io { path, source },
        }
    }

    /// True if nothing is there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// What tells two versions of a file apart without reading it: size, time of the
/// last change and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    modified_ns: i128,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let modified_ns =
                i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
            Self { bytes: metadata.len(), modified_ns, inode: metadata.ino() }
        }
        #[cfg(not(unix))]
        {
            let modified = metadata.modified().ok();
            let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            let modified_ns = since.map_or(0, |span| span.as_nanos() as i128);
            Self { bytes: metadata.len(), modified_ns, inode: 0 }
        }
    }

    /// Size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a path leads to, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing, or nothing that may be looked at.
    Missing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A pipe, a socket, a device.
    Other,
}

/// What is at `path`.
pub fn kind(path: &Path) -> Kind {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Kind::File,
        Ok(found) if found.is_dir() => Kind::Directory,
        Ok(_) => Kind::Other,
        Err(_) => Kind::Missing,
    }
}

/// The stamp of the file or directory at `path`, links followed.
pub fn stamp(path: &Path) -> Result<Stamp, ReadError> {
    std::fs::metadata(path).map(|found| Stamp::of(&found)).map_err(|error| ReadError::io(path, error))
}

/// The absolute path without links and dots; the path must exist.
pub fn canonical(path: &Path) -> Result<PathBuf, ReadError> {
    std::fs::canonicalize(path).map_err(|error| ReadError::io(path, error))
}

/// Reads a regular file of at most `limit_bytes`, with the stamp of what was read.
pub fn bytes(path: &Path, limit_bytes: u64) -> Result<(Vec<u8>, Stamp), ReadError> {
    let wrong_kind = || ReadError::WrongKind { path: path.to_owned(), wanted: "file" };
    let too_large = || ReadError::TooLarge { path: path.to_owned(), limit_bytes };
    if kind(path) == Kind::Other {
        return Err(wrong_kind());
    }
    let file = std::fs::File::open(path).map_err(|error| ReadError::io(path, error))?;
    let metadata = file.metadata().map_err(|error| ReadError::io(path, error))?;
    if !metadata.is_file() {
        return Err(wrong_kind());
    }
    if metadata.len() > limit_bytes {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    let read = file.take(limit_bytes.saturating_add(1)).read_to_end(&mut content);
    read.map_err(|error| ReadError::io(path, error))?;
    if content.len() as u64 > limit_bytes {
        return Err(too_large());
    }
    Ok((content, Stamp::of(&metadata)))
}

/// Reads a UTF-8 file of at most `limit_bytes`, with the stamp of what was read.
pub fn text(path: &Path, limit_bytes: u64) -> Result<(String, Stamp), ReadError> {
    let (content, stamp) = bytes(path, limit_bytes)?;
    match String::from_utf8(content) {
        Ok(text) => Ok((text, stamp)),
        Err(error) => {
            Err(ReadError::NotText { path: path.to_owned(), valid_up_to: error.utf8_error().valid_up_to() })
        }
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The entry's name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// True for a directory (links are not followed).
    pub directory: bool,
}

/// The entries of a directory by name, at most `limit`, and whether there were more.
pub fn list(path: &Path, limit: usize) -> Result<(Vec<Entry>, bool), ReadError> {
    let reader = std::fs::read_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => ReadError::WrongKind { path: path.to_owned(), wanted: "directory" },
        _ => ReadError::io(path, error),
    })?;
    let mut entries = Vec::new();
    for entry in reader.take(limit.saturating_add(1)) {
        let entry = entry.map_err(|error| ReadError::io(path, error))?;
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), directory });
    }
    let more = entries.len() > limit;
    entries.truncate(limit);
    entries.sort();
    Ok((entries, more))
}

/// One entry of a directory with what tells its versions apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamped {
    /// The entry's name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// What it is; a link counts as a file, wherever it leads.
    pub kind: Kind,
    /// Its own stamp: a link's, not that of what it leads to.
    pub stamp: Stamp,
}

/// The entries of a directory in no order, at most `limit`, and whether there were more. What is gone by
/// the time that it is looked at is left out.
pub fn stamped(path: &Path, limit: usize) -> Result<(Vec<Stamped>, bool), ReadError> {
    let reader = std::fs::read_dir(path).map_err(|error| ReadError::io(path, error))?;
    let mut entries = Vec::new();
    for entry in reader {
        let entry = entry.map_err(|error| ReadError::io(path, error))?;
        let Ok(metadata) = entry.metadata() else { continue };
        if entries.len() == limit {
            return Ok((entries, true));
        }
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() || kind.is_symlink() => Kind::File,
            _ => Kind::Other,
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(Stamped { name, kind, stamp: Stamp::of(&metadata) });
    }
    Ok((entries, false))
}

/// What tells a directory from another one that was put in its place; `None` if there is none.
pub fn identity(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some(Stamp::of(&metadata).inode)
}

/// The bytes of a file of any size that this program wrote itself.
pub fn whole(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// As [`whole`]; `None` if there is no such file.
pub fn bytes_if_any(path: &Path) -> io::Result<Option<Vec<u8>>> {
    absent(std::fs::read(path))
}

/// Opens what takes everything that is written to it and holds nothing.
pub fn nowhere() -> io::Result<std::fs::File> {
    std::fs::File::options().read(true).write(true).open("/dev/null")
}

/// True if the path names a file, links followed.
pub fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// True if the path names a folder, links followed.
pub fn is_dir(path: &Path) -> bool {
    path.is_dir()
}

/// When a file or folder was last changed; `None` if there is none.
pub fn modified(path: &Path) -> io::Result<Option<SystemTime>> {
    absent(std::fs::metadata(path).and_then(|metadata| metadata.modified()))
}

/// The names in a folder that are valid text, in no order; empty if there is no such folder.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = absent(std::fs::read_dir(folder))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// The absolute path with links resolved, with the system's own error; the path must exist.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // Below a file there is nothing either.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads text and counts the files that it opened.
#[derive(Debug, Default)]
pub struct Reader {
    opened: AtomicU64,
}

impl Reader {
    /// As [`text`], counted.
    pub fn text(&self, path: &Path, limit_bytes: u64) -> Result<(String, Stamp), ReadError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        text(path, limit_bytes)
    }

    /// How often a file was opened through this reader.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(text(&path, 5).unwrap().0, "12345");
        assert!(matches!(text(&path, 4), Err(ReadError::TooLarge { limit_bytes: 4, .. })));
    }

    #[test]
    fn errors_tell_missing_wrong_kind_and_bad_text_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(text(&path, 5).unwrap_err().is_missing());
        assert!(matches!(text(dir.path(), 5), Err(ReadError::WrongKind { wanted: "file", .. })));
        std::fs::write(&path, b"ab\xff").unwrap();
        assert!(matches!(text(&path, 5), Err(ReadError::NotText { valid_up_to: 2, .. })));
        assert!(matches!(list(&path, 5), Err(ReadError::WrongKind { wanted: "directory", .. })));
    }

    #[test]
    fn a_stamp_changes_with_the_content_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let (_, first) = text(&path, 5).unwrap();
        assert_eq!(stamp(&path).unwrap(), first);
        std::fs::write(&path, "three").unwrap();
        assert_ne!(stamp(&path).unwrap(), first);
    }

    #[test]
    fn a_listing_is_sorted_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("c")).unwrap();
        let (all, more) = list(dir.path(), 3).unwrap();
        assert_eq!(all.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(all[2].directory && !more);
        assert!(list(dir.path(), 2).unwrap().1);
    }

    #[cfg(unix)]
    #[test]
    fn entries_are_stamped_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::fs::write(dir.path().join("file"), "1").unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let (mut found, more) = stamped(dir.path(), 3).unwrap();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let kinds: Vec<_> = found.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        assert_eq!(kinds, [("file", Kind::File), ("folder", Kind::Directory), ("link", Kind::File)]);
        assert_eq!(found[0].stamp, stamp(&dir.path().join("file")).unwrap());
        assert!(!more && stamped(dir.path(), 2).unwrap().1);
        assert!(stamped(&dir.path().join("none"), 2).unwrap_err().is_missing());
        assert!(identity(dir.path()).is_some() && identity(&dir.path().join("file")).is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_read() {
        assert!(matches!(text(Path::new("/dev/zero"), 5), Err(ReadError::WrongKind { .. })));
    }
}
