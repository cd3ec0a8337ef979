//! Locks on files, which the system releases when a process ends, however it ends.
//!
//! Guarantees: of all who ask for a lock, in one process or in many, one holds it. The
//! lock file tells the holder's process id to those that are refused; the id is for
//! messages only and decides nothing. Local file systems only.
//! Never here: a wait without an end; a refusal takes at most a few milliseconds.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use super::write::{Access, folder_of, is_same, options, sync_dir};

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

/// How often and how long a busy lock is tried: a probe of another process holds it for microseconds.
const ATTEMPTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(1);

/// Takes the lock, making the file if there is none (not durably; it holds nothing of worth).
pub fn acquire(path: &Path) -> io::Result<Acquired> {
    for _ in 0..ATTEMPTS {
        let file = open(path)?;
        if try_for(&file, 1)? && is_same(&file, path)? {
            let mut held = LockFile { file };
            held.sign();
            return Ok(Acquired::Held(held));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(Acquired::Busy(holder(path)))
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

/// Writes `line` to a file that is absent or empty, and returns the line that the file holds
/// then: of several that claim at once, one wins and all see whose it is. `Ok`: durable;
/// two fsyncs if this call wrote, none otherwise.
pub fn claim(path: &Path, line: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    if !try_for(&file, 1_000)? {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    if found.pop() == Some(b'\n') {
        return Ok(found);
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&[line, b"\n"].concat())?;
    super::flush_data(&file)?;
    sync_dir(folder_of(path)?)?;
    Ok(line.to_vec())
}

fn open(path: &Path) -> io::Result<File> {
    options(Access::Private).read(true).write(true).create(true).truncate(false).open(path)
}

fn try_for(file: &File, attempts: usize) -> io::Result<bool> {
    for attempt in 0..attempts {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl LockFile {
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
