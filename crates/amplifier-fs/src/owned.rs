//! A file of lines that belongs to one process for as long as that lives.
//!
//! Guarantees: the file is locked before anybody can find it under its name, and the system
//! frees the lock when its owner is gone, however it ended. So whoever gets the lock knows
//! that nobody writes the file any more; of several who try, one gets it. Local file systems only.
//! Never here: a wait, and what the lines mean.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::append::AppendFile;
use super::write::{Access, folder_of, is_same, options, sync_dir};

/// How often the making of a file is tried: somebody who looks for abandoned files may take a file
/// away in the moment before it is locked.
const ATTEMPTS: usize = 20;
/// Longest abandoned file that is read, in bytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
const HIDDEN_END: &str = ".tmp";

/// A file that this process owns. Dropped without [`OwnedFile::remove`], it is abandoned.
#[derive(Debug)]
pub struct OwnedFile {
    path: PathBuf,
    log: AppendFile,
    /// Holds the lock.
    held: File,
}

impl OwnedFile {
    /// Makes a file that must not exist yet, whole and locked. `Ok`: durable. Two fsyncs: the
    /// file, its folder.
    pub fn create(path: &Path, content: &[u8]) -> io::Result<Self> {
        if path.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let owned = place(path, content, Flush::Data)?;
        match sync_dir(folder_of(path)?) {
            Ok(()) => Ok(owned),
            Err(error) => {
                // The first failure is the one to tell.
                let _ = owned.remove();
                Err(error)
            }
        }
    }

    /// As [`OwnedFile::create`] without fsync, for what a restart of the system makes void: then the
    /// file may be empty or missing.
    pub fn create_unflushed(path: &Path, content: &[u8]) -> io::Result<Self> {
        match path.try_exists()? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => place(path, content, Flush::Nothing),
        }
    }

    /// Writes at the end. `Ok`: durable, one fdatasync. `Err`: as before, or will be before the next
    /// append.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        self.log.append(content)
    }

    /// Replaces the whole content; the file is owned at each moment. `Err`: the old content is
    /// there. Two fsyncs.
    pub fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        *self = place(&self.path, content, Flush::Data)?;
        // The new content is in place and can be read; a power cut may bring the old one back.
        let _ = sync_dir(folder_of(&self.path)?);
        Ok(())
    }

    /// Removes the file, unless its name means another one by now. No fsync.
    pub fn remove(self) -> io::Result<()> {
        match is_same(&self.held, &self.path)? {
            true => std::fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
}

/// What is on the disk before the file has its name.
#[derive(Clone, Copy, PartialEq)]
enum Flush {
    Data,
    Nothing,
}

fn place(path: &Path, content: &[u8], flush: Flush) -> io::Result<OwnedFile> {
    let temporary = hidden(path)?;
    let mut last = io::Error::from(io::ErrorKind::WouldBlock);
    for _ in 0..ATTEMPTS {
        match place_once(&temporary, path, content, flush) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {
                last = error;
            }
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                return Err(error);
            }
            owned => return owned,
        }
    }
    Err(last)
}

fn place_once(temporary: &Path, path: &Path, content: &[u8], flush: Flush) -> io::Result<OwnedFile> {
    let mut held = options(Access::Private).write(true).create(true).truncate(true).open(temporary)?;
    lock(&held)?.then_some(()).ok_or(io::ErrorKind::WouldBlock)?;
    held.write_all(content)?;
    if flush == Flush::Data {
        super::flush_data(&held)?;
    }
    // Opened before the file has its name: from then on nothing may fail that would free the lock.
    let log = AppendFile::open(temporary, content.len() as u64)?;
    std::fs::rename(temporary, path)?;
    Ok(OwnedFile { path: path.to_owned(), log, held })
}

/// False if somebody else holds the lock.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn hidden(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    Ok(folder_of(path)?.join(format!(".{name}{HIDDEN_END}")))
}

/// The name of an owned file, given that of a file in its folder: its own, or the one under which
/// it is made. What is left under the latter is as abandoned as the file itself would be.
pub fn owned_name(name: &str) -> &str {
    name.strip_prefix('.').and_then(|name| name.strip_suffix(HIDDEN_END)).unwrap_or(name)
}

/// A file without an owner, locked for as long as this lives.
#[derive(Debug)]
pub struct Abandoned {
    path: PathBuf,
    file: File,
}

/// Takes a file whose owner is gone. `None`: its owner lives, somebody else has taken it, or there
/// is none.
pub fn take(path: &Path) -> io::Result<Option<Abandoned>> {
    let file = match options(Access::Private).read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let taken = file.metadata()?.is_file() && lock(&file)? && is_same(&file, path)?;
    Ok(taken.then(|| Abandoned { path: path.to_owned(), file }))
}

impl Abandoned {
    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it, up to 256 MiB.
    pub fn content(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        (&mut self.file).take(MAX_BYTES).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Removes it. No fsync: whatever brings it back ends the processes of this system too.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_once_its_owner_is_gone_and_by_one_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut owned = OwnedFile::create(&path, b"1\n").unwrap();
        owned.append(b"2\n").unwrap();
        assert!(take(&path).unwrap().is_none(), "its owner lives");
        assert_eq!(OwnedFile::create(&path, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(owned);
        let mut taken = take(&path).unwrap().unwrap();
        assert!(take(&path).unwrap().is_none(), "somebody has it");
        assert_eq!(taken.content().unwrap(), b"1\n2\n");
        taken.remove().unwrap();
        assert!(take(&path).unwrap().is_none(), "it is gone");
    }

    #[test]
    fn a_replaced_file_stays_owned_and_grows_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut owned = OwnedFile::create(&path, b"1\n").unwrap();
        owned.replace(b"2\n").unwrap();
        owned.append(b"3\n").unwrap();
        assert!(take(&path).unwrap().is_none());
        assert_eq!(std::fs::read(&path).unwrap(), b"2\n3\n");
        owned.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no temporary file stays");
    }

    #[test]
    fn what_is_made_under_a_hidden_name_is_known_by_its_own() {
        assert_eq!(owned_name("processes-1.jsonl"), "processes-1.jsonl");
        let hidden = hidden(Path::new("run/processes-1.jsonl")).unwrap();
        assert_eq!(owned_name(hidden.file_name().unwrap().to_str().unwrap()), "processes-1.jsonl");
    }

    #[test]
    fn making_a_file_copes_with_somebody_who_takes_it_away_before_it_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let hidden = hidden(&path).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Ok(Some(taken)) = take(&hidden) {
                        let _ = taken.remove();
                    }
                }
            });
            for _ in 0..100 {
                // All attempts may meet the other; then it is told, and nothing is left half done.
                match OwnedFile::create(&path, b"1\n") {
                    Ok(owned) => owned.remove().unwrap(),
                    Err(error) => assert!(
                        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock),
                        "{error}"
                    ),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
