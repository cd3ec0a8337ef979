//! Locks on files, which the system releases when a process ends, however it ends.
//!
//! Guarantees: of all who ask for a lock, in one process or in many, one holds it. The
//! lock file tells the holder's process id to those that are refused; the id is for
//! messages only and decides nothing. Local file systems only.
//! Never here: a wait without an end; a refusal takes at most some 20 milliseconds.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::write::{Access, is_same, options};

/// A held lock. Dropping it releases it; the file stays.
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

/// What became of the wish for a lock.
#[derive(Debug)]
#[must_use]
pub enum Acquired {
    /// The lock is held until the value is dropped.
    Held(LockFile),
    /// Somebody else holds it: the process id, where the file tells.
    Busy(Option<u32>),
}

/// How often a busy lock is tried: somebody's [`probe`] holds it for a few microseconds.
const ATTEMPTS: usize = 200;

/// How often the file of a busy lock is read, a millisecond apart: its holder signs it a moment
/// after it has taken it, and whoever came second wants to know who was first.
const READS: usize = 20;

/// Takes the lock, making the file if there is none (not durably; it holds nothing of worth).
pub fn acquire(path: &Path) -> io::Result<Acquired> {
    for _ in 0..ATTEMPTS {
        let file = open(path)?;
        if try_lock(&file)? && is_same(&file, path)? {
            let mut held = LockFile { file };
            held.sign();
            return Ok(Acquired::Held(held));
        }
        std::thread::yield_now();
    }
    Ok(Acquired::Busy(holder_soon(path)))
}

/// Who holds the lock now: `None` if nobody does, `Some(None)` if the file does not tell.
pub fn probe(path: &Path) -> io::Result<Option<Option<u32>>> {
    let file = match options(Access::Private).read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(path))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    options(Access::Private).read(true).write(true).create(true).truncate(false).open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn holder_soon(path: &Path) -> Option<u32> {
    for _ in 0..READS {
        match holder(path) {
            None => std::thread::sleep(Duration::from_millis(1)),
            known => return known,
        }
    }
    None
}

fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl LockFile {
    /// True if this is still the file at `path`: nobody has put another one in its place.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_same(&self.file, path)
    }

    /// Writes the process id; a lock on a full disk is a lock all the same.
    fn sign(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.write_all(std::process::id().to_string().as_bytes());
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}
