//! A log: lines that are worth writing down, but not worth waiting for.
//!
//! Guarantees: a line is written with one call and reaches the system before
//! [`LogFile::line`] returns; a half line, of a crash or a full disk, never gets a
//! neighbour on its own line. The file is readable by its owner alone. One with a bound is moved aside, to
//! `<name>.1`, once it is full, in the place of the one before.
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
    /// Most bytes, if it is bounded.
    most: Option<u64>,
    /// Bytes that are in the file.
    bytes: u64,
}

impl LogFile {
    /// A log at this path. Touches nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None, torn: false, most: None, bytes: 0 }
    }

    /// The same, moved aside once it holds so many bytes; a line is never divided. Two files at most.
    #[must_use]
    pub fn bounded(self, most: u64) -> Self {
        Self { most: Some(most), ..self }
    }

    /// The log's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line, whose end is added here. `Err`: at most a part of it is in the
    /// file, and the next line begins on a line of its own.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.make_room(line)?;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let (file, torn, bytes) = open(&self.path)?;
                (self.torn, self.bytes) = (torn, bytes);
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
        self.bytes = self.bytes.saturating_add(size(&bytes));
        written
    }

    /// Moves a file aside that this line would fill.
    fn make_room(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(most) = self.most else { return Ok(()) };
        if self.file.is_none() {
            let (file, torn, bytes) = open(&self.path)?;
            (self.file, self.torn, self.bytes) = (Some(file), torn, bytes);
        }
        if self.bytes == 0 || self.bytes.saturating_add(size(line)) < most {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        std::fs::rename(&self.path, aside)?;
        (self.file, self.torn, self.bytes) = (None, false, 0);
        Ok(())
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The file, whether it ends inside a line, and its bytes.
fn open(path: &Path) -> io::Result<(File, bool, u64)> {
    let mut file = options(Access::Private).read(true).append(true).create(true).open(path)?;
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok((file, false, 0));
    }
    let bytes = file.metadata()?.len();
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok((file, last != [b'\n'], bytes))
}
