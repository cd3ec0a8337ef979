//! A lock that many processes take and give back all the time.
//!
//! Guarantees: of all who have taken it, in one process or in many, one has it; the system gives it
//! back for who dies. The file stays open, so taking and giving back cost a few system calls and no
//! write. Whoever took it last is named in the file, for messages only. Local file systems only.
//! Never here: a wait, and fairness.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::write::{Access, is_same, options};

/// Longest signature that is read, in bytes.
const MAX_SIGNATURE_BYTES: u64 = 1024;

/// An open lock file. Two of one process exclude each other like those of two processes.
/// Dropping it gives the lock back; the file stays.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    file: File,
    held: bool,
}

impl Gate {
    /// Opens the file, and makes it if there is none (not durably; it holds nothing of worth).
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, held: false })
    }

    /// Takes the lock, if nobody has it. A file that was removed or replaced is opened anew.
    pub fn try_take(&mut self) -> io::Result<bool> {
        if self.held {
            return Ok(true);
        }
        if !lock(&self.file)? {
            return Ok(false);
        }
        if !is_same(&self.file, &self.path)? {
            // What was locked is nobody's file any more.
            self.file = open(&self.path)?;
            if !lock(&self.file)? {
                return Ok(false);
            }
        }
        self.held = true;
        Ok(true)
    }

    /// Gives the lock back; nothing happens to one that is not held.
    pub fn give(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.held) {
            true => self.file.unlock(),
            false => Ok(()),
        }
    }

    /// Names who has the lock, unless the file says so already. No fsync.
    pub fn sign(&mut self, name: &str) -> io::Result<()> {
        if self.signature()? == name {
            return Ok(());
        }
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(name.as_bytes())
    }

    /// Who signed last; empty if nobody did.
    pub fn signature(&mut self) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(MAX_SIGNATURE_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn open(path: &Path) -> io::Result<File> {
    options(Access::Private).read(true).write(true).create(true).truncate(false).open(path)
}

fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_until_it_is_given_back_or_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate");
        let (mut one, mut two) = (Gate::open(&path).unwrap(), Gate::open(&path).unwrap());
        two.give().unwrap();
        assert!(one.try_take().unwrap() && one.try_take().unwrap());
        assert!(!two.try_take().unwrap());
        two.give().unwrap();
        assert!(!two.try_take().unwrap(), "who does not have it cannot give it back");
        one.give().unwrap();
        assert!(two.try_take().unwrap() && !one.try_take().unwrap());
        drop(two);
        assert!(one.try_take().unwrap());
    }

    #[test]
    fn the_signature_is_that_of_the_last_who_signed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate");
        let (mut one, mut two) = (Gate::open(&path).unwrap(), Gate::open(&path).unwrap());
        assert_eq!(two.signature().unwrap(), "");
        one.sign("a longer name").unwrap();
        two.sign("short").unwrap();
        one.sign("short").unwrap();
        assert_eq!(one.signature().unwrap(), "short");
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_file_that_was_removed_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate");
        let mut one = Gate::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut two = Gate::open(&path).unwrap();
        assert!(two.try_take().unwrap());
        assert!(!one.try_take().unwrap(), "it is the other file that counts");
        two.give().unwrap();
        assert!(one.try_take().unwrap() && !two.try_take().unwrap());
    }
}
