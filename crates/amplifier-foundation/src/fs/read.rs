//! Reading files and folders.
//!
//! Guarantees: nothing here writes, and what is absent is told apart from what fails.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The bytes of a file.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The bytes of a file; `None` if there is no such file.
pub fn bytes_if_any(path: &Path) -> io::Result<Option<Vec<u8>>> {
    absent(std::fs::read(path))
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

/// The absolute path with links resolved; the path must exist.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
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
