//! What tools do with files: bounded reads, whole-file replacement, listings.
//!
//! Guarantees: no read is longer than its bound, and only regular files and folders are
//! opened, so a pipe or device never blocks or never ends. A replaced file has the old content
//! or the new, keeps its permission bits, and keeps its owner where the system lets it.
//! Never here: permissions of a session (callers pass resolved paths that were judged), and
//! hard links, extended attributes and access lists, which a replacement does not keep.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A regular file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A device, pipe or socket.
    Special,
}

/// What `path` names, links followed.
pub fn kind(path: &Path) -> io::Result<Kind> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Kind::Folder),
        Ok(metadata) if metadata.is_file() => Ok(Kind::File(metadata.len())),
        Ok(_) => Ok(Kind::Special),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Missing),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    match kind(path)? {
        Kind::File(_) => File::open(path),
        Kind::Missing => Err(io::ErrorKind::NotFound.into()),
        Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
        Kind::Special => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file but a device, pipe or socket",
        )),
    }
}

/// The bytes of a file; an error of kind `FileTooLarge` if there are more than `max_bytes`.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {max_bytes} bytes"),
        ));
    }
    Ok(bytes)
}

/// Which lines of a file are wanted, and how much at most.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The first line, counted from 1.
    pub first: u64,
    /// Lines at most.
    pub max_lines: u64,
    /// Bytes at most, over all lines.
    pub max_bytes: usize,
    /// Bytes of one line at most; the rest of it is skipped.
    pub max_line_bytes: usize,
}

/// A part of a file.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lines {
    /// The lines without their ends (`\n` and `\r\n`).
    pub lines: Vec<Vec<u8>>,
    /// Lines that had to be cut, as indexes into `lines`.
    pub cut: Vec<usize>,
    /// True if the file goes on behind the last line.
    pub more: bool,
    /// Lines of the file up to and with the last that was read; all of them unless `more`.
    pub seen: u64,
}

/// Reads some lines; memory is bounded by the window, however long the file or a line is.
pub fn read_lines(path: &Path, window: Window) -> io::Result<Lines> {
    let mut reader = BufReader::with_capacity(64 * 1024, open(path)?);
    let mut found = Lines::default();
    let mut bytes = 0;
    while found.seen.saturating_add(1) < window.first {
        if next_line(&mut reader, 0)?.is_none() {
            return Ok(found);
        }
        found.seen += 1;
    }
    loop {
        if found.lines.len() as u64 >= window.max_lines || bytes >= window.max_bytes {
            found.more = !reader.fill_buf()?.is_empty();
            return Ok(found);
        }
        let Some((line, cut)) = next_line(&mut reader, window.max_line_bytes)? else { return Ok(found) };
        if cut {
            found.cut.push(found.lines.len());
        }
        bytes += line.len() + 1;
        found.lines.push(line);
        found.seen += 1;
    }
}

/// The next line, at most `max` bytes of it, and whether it was cut; `None` at the end.
fn next_line(reader: &mut impl BufRead, max: usize) -> io::Result<Option<(Vec<u8>, bool)>> {
    let (mut line, mut cut, mut any) = (Vec::new(), false, false);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = max - line.len().min(max);
        line.extend_from_slice(&part[..part.len().min(room)]);
        cut |= part.len() > room;
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if !cut && line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(any.then_some((line, cut)))
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, what is no text replaced.
    pub name: String,
    /// True for a folder (not for a link to one).
    pub is_folder: bool,
}

/// The entries of a folder by name, at most `max`, and how many there are in all.
pub fn list(path: &Path, max: usize) -> io::Result<(Vec<Entry>, usize)> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), is_folder });
    }
    entries.sort();
    let all = entries.len();
    entries.truncate(max);
    Ok((entries, all))
}

/// New content on the disk beside its target, not yet in its place. Dropping it removes it,
/// and the folders that were made for it as far as they are empty.
#[derive(Debug)]
#[must_use = "staged content is in its place only after `commit`"]
pub struct Staged {
    temporary: PathBuf,
    target: PathBuf,
    made_folders: Vec<PathBuf>,
    committed: bool,
}

/// Tells the temporary files of one process apart.
static STAGED: AtomicU64 = AtomicU64::new(0);

impl Staged {
    /// Writes `content` beside `target`, making its folders, and flushes it: one fsync. An error
    /// of kind `PermissionDenied` if the target exists and is marked read-only for everybody.
    pub fn write(target: &Path, content: &[u8]) -> io::Result<Self> {
        let old = match std::fs::metadata(target) {
            Ok(metadata) if metadata.is_file() => Some(metadata),
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if old.as_ref().is_some_and(|old| old.permissions().readonly()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is marked read-only"));
        }
        let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let made_folders = make_folders(folder)?;
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".amplifier-{}-{number}.tmp", std::process::id()));
        let mut staged = Self { temporary, target: target.to_owned(), made_folders, committed: false };
        let mut file = match new_file(&staged.temporary, old.is_some()) {
            Ok(file) => file,
            Err(error) => {
                staged.temporary = PathBuf::new();
                return Err(error);
            }
        };
        file.write_all(content)?;
        if let Some(old) = old {
            keep_owner(&file, &old);
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        Ok(staged)
    }

    /// Puts the content in its place. The change of the name is durable when the system next
    /// writes the folder.
    pub fn commit(mut self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if !self.temporary.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.temporary);
        }
        for folder in self.made_folders.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// A fresh file; a private one until it gets the mode of the file that it replaces.
fn new_file(path: &Path, private: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

/// Makes what is missing of a folder's path; returns what was made, the outermost first.
fn make_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = |path: &&Path| !path.exists();
    let mut made: Vec<PathBuf> = folder.ancestors().take_while(missing).map(Path::to_owned).collect();
    made.reverse();
    std::fs::create_dir_all(folder)?;
    Ok(made)
}

#[cfg(unix)]
fn keep_owner(file: &File, old: &std::fs::Metadata) {
    use std::os::unix::fs::MetadataExt;
    let differs = file.metadata().is_ok_and(|new| (new.uid(), new.gid()) != (old.uid(), old.gid()));
    if differs {
        // Only a privileged process may give a file away; others own what they replace.
        let _ = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
    }
}

#[cfg(not(unix))]
fn keep_owner(_file: &File, _old: &std::fs::Metadata) {}

/// Replaces or makes a file: [`Staged::write`] and [`Staged::commit`].
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    Staged::write(path, content)?.commit()
}

/// Removes a file.
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}
