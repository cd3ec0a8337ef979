//! A file that only grows, line by line.
//!
//! Guarantees: what [`AppendFile::append`] answered with `Ok` is on the disk. After an
//! `Err` (a full disk) the file is cut back to its last good length before anything
//! else is written, so a half line never gets a neighbour. The cost of an append does
//! not depend on the length of the file.
//! Never here: a write to a file that another program has replaced or changed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::write::{Access, is_same, options};

/// An open file with a known good length. One writer at a time: hold a lock beside it.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
    good_len: u64,
    /// The file may hold bytes behind `good_len` that were never acknowledged.
    dirty: bool,
}

impl AppendFile {
    /// Opens an existing file of which the first `good_len` bytes are good. Whatever
    /// lies behind them is cut off: two fsyncs then, none otherwise.
    pub fn open(path: &Path, good_len: u64) -> io::Result<Self> {
        let file = options(Access::Private).append(true).open(path)?;
        let len = file.metadata()?.len();
        if len < good_len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has become shorter"));
        }
        if len > good_len {
            file.set_len(good_len)?;
            super::flush_all(&file)?;
        }
        Ok(Self { file, path: path.to_owned(), good_len, dirty: false })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// False if the path names another file now, or one of another length: then
    /// somebody else writes to it, and an append would be lost or do harm.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        Ok(is_same(&self.file, &self.path)? && (self.dirty || self.file.metadata()?.len() == self.good_len))
    }

    /// Writes at the end with one call and flushes: one fdatasync. `Ok`: durable.
    /// `Err`: the file is as before, or will be before the next append.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        if self.dirty {
            self.cut()?;
        }
        self.dirty = true;
        let written = self.file.write_all(content).and_then(|()| super::flush_data(&self.file));
        match written {
            Ok(()) => {
                self.good_len += content.len() as u64;
                self.dirty = false;
                Ok(())
            }
            Err(error) => {
                // If this fails as well, `dirty` stays and the next append cuts first.
                let _ = self.cut();
                Err(error)
            }
        }
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.good_len)?;
        self.dirty = false;
        Ok(())
    }
}
