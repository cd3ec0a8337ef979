//! An open session: its lock, its activation, its transcript's handle.
//!
//! Guarantees: dropping or closing it releases the lock and the handle.

use amplifier_core::Activation;

use super::super::{Revision, StorageError};
use super::folder::Folder;
use super::transcript::{Lines, Parsed};
use amplifier_fs::append::AppendFile;
use amplifier_fs::lock::LockFile;

/// A session that this process may write to, or one that it has closed.
#[derive(Debug)]
pub(super) struct OpenSession(Option<Writer>);

#[derive(Debug)]
struct Writer {
    // Dropped first: the handle closes before the lock is free.
    transcript: AppendFile,
    lock: LockFile,
    activation: Activation,
    revision: Revision,
    /// The last line is whole but lacks its line feed.
    owes_line_feed: bool,
}

impl OpenSession {
    pub(super) fn new(lock: LockFile, activation: Activation, transcript: AppendFile, read: &Parsed) -> Self {
        Self(Some(Writer {
            transcript,
            lock,
            activation,
            revision: Revision(read.messages.len() as u64),
            owes_line_feed: read.owes_line_feed,
        }))
    }

    /// The activation that it is open under; `None` once closed.
    pub(super) fn activation(&self) -> Option<Activation> {
        self.0.as_ref().map(|writer| writer.activation)
    }

    /// Refuses who was taken for one that hangs: somebody else has the session now.
    pub(super) fn check_held(&self, folder: &Folder, activation: Activation) -> Result<(), StorageError> {
        let path = folder.lock_path();
        let held = self.0.as_ref().map_or(Ok(false), |writer| writer.lock.is_at(&path));
        match held.map_err(StorageError::io("read", &path))? {
            true => Ok(()),
            false => Err(StorageError::NotOpen { id: folder.id().clone(), activation }),
        }
    }

    pub(super) fn close(&mut self) {
        self.0 = None;
    }

    /// One write and one fdatasync; none for no lines.
    pub(super) fn append(&mut self, lines: &Lines) -> Result<Revision, StorageError> {
        match &mut self.0 {
            Some(writer) => writer.append(lines),
            None => Err(StorageError::Stopped),
        }
    }
}

impl Writer {
    fn append(&mut self, lines: &Lines) -> Result<Revision, StorageError> {
        if lines.count == 0 {
            return Ok(self.revision);
        }
        let path = self.transcript.path().to_owned();
        if !self.transcript.is_unchanged().map_err(StorageError::io("read", &path))? {
            return Err(StorageError::Changed { path });
        }
        let written = match self.owes_line_feed {
            true => self.transcript.append(&[b"\n", lines.bytes.as_slice()].concat()),
            false => self.transcript.append(&lines.bytes),
        };
        written.map_err(StorageError::io("append to", &path))?;
        self.owes_line_feed = false;
        self.revision.0 += lines.count;
        Ok(self.revision)
    }
}
