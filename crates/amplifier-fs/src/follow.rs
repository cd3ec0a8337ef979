//! Reading a file that somebody else writes to, line by line, from its beginning.
//!
//! Guarantees: each whole line is given once, in order; a line that is being written is given when it is
//! whole. A file that is not there yet is empty. Where its end was cut off, reading goes on behind the cut.
//! Never here: waiting.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Most that is read at once, in bytes.
const PIECE: u64 = 1 << 20;

/// A file that is followed.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Option<File>,
    position: u64,
    /// The beginning of a line that is not whole yet.
    begun: Vec<u8>,
}

impl Follow {
    /// From the beginning of a file. Touches nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None, position: 0, begun: Vec::new() }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that have come since the last call, without their ends; about a megabyte at most. None: all was read.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        let len = file.metadata()?.len();
        if len < self.position {
            self.position = len;
            self.begun.clear();
        }
        let mut lines = Vec::new();
        // A line that is longer than a piece.
        while lines.is_empty() {
            let mut piece = Vec::new();
            file.seek(SeekFrom::Start(self.position))?;
            file.by_ref().take(PIECE).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            self.position += piece.len() as u64;
            self.begun.extend_from_slice(&piece);
            if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(end + 1);
                let whole = std::mem::replace(&mut self.begun, rest);
                let text = String::from_utf8_lossy(&whole);
                lines.extend(text.lines().map(str::to_owned));
            }
        }
        Ok(lines)
    }

    /// What stands behind the last line end, once nobody writes any more.
    pub fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.begun);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_come_once_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut follow = Follow::new(&path);
        assert!(follow.lines().unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(follow.lines().unwrap(), ["one"]);
        assert!(follow.lines().unwrap().is_empty());
        file.write_all(b"o\n\nthree\nfo").unwrap();
        assert_eq!(follow.lines().unwrap(), ["two", "", "three"]);
        assert!(follow.lines().unwrap().is_empty());
        // A half line that is cut off is never shown.
        file.set_len(15).unwrap();
        assert!(follow.lines().unwrap().is_empty());
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"five\nsi").unwrap();
        assert_eq!(follow.lines().unwrap(), ["five"]);
        assert!(follow.lines().unwrap().is_empty());
        assert_eq!(follow.rest().as_deref(), Some("si"));
    }

    #[test]
    fn a_line_may_be_longer_than_what_is_read_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let long = "x".repeat(usize::try_from(PIECE).unwrap() * 2 + 7);
        std::fs::write(&path, format!("{long}\nshort\n")).unwrap();
        let mut follow = Follow::new(&path);
        assert_eq!(follow.lines().unwrap(), [long.as_str(), "short"]);
    }
}
