//! A log: lines that are worth writing down, but not worth waiting for.
//!
//! Guarantees: a line is written with one call and reaches the system before
//! [`LogFile::line`] returns; a half line, of a crash or a full disk, never gets a
//! neighbour on its own line. The file is readable by its owner alone.
//! Never here: fsync. What a power cut takes is lost.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::write::{Access, options};

/// A file that is opened at its first line.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// The file may end inside a line.
    torn: bool,
}

impl LogFile {
    /// A log at this path. Touches nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None, torn: false }
    }

    /// The log's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line, whose end is added here. `Err`: at most a part of it is in the
    /// file, and the next line begins on a line of its own.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let (file, torn) = open(&self.path)?;
                self.torn = torn;
                self.file.insert(file)
            }
        };
        let mut bytes = Vec::with_capacity(line.len() + 2);
        if self.torn {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        let written = file.write_all(&bytes);
        self.torn = written.is_err();
        written
    }
}

/// The file, and whether it ends inside a line.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut file = options(Access::Private).read(true).append(true).create(true).open(path)?;
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok((file, false));
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok((file, last != [b'\n']))
}
