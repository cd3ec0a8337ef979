//! Writing whole files, so that a crash leaves either the old content or the new.
//!
//! Guarantees: a file is written beside its target, flushed to the disk and renamed
//! over it; when [`replace`] has returned `Ok`, the new content survives a power cut.
//! Never here: a regular file that is changed in place, a device that is replaced.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Who may read what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// The owner alone: files 0600, folders 0700.
    Private,
    /// Whoever the process's umask lets.
    Shared,
}

/// New content on the disk, not yet in its place. Dropping it removes it.
#[derive(Debug)]
#[must_use = "a staged file is in its place only after `commit`"]
pub struct Staged {
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl Staged {
    /// Writes `content` beside `target` and flushes it: one fsync.
    pub fn write(target: &Path, content: &[u8], access: Access) -> io::Result<Self> {
        let temporary = temporary_beside(target)?;
        let mut file = options(access).write(true).create_new(true).open(&temporary)?;
        let staged = Self { temporary, target: target.to_owned(), committed: false };
        file.write_all(content)?;
        super::flush_data(&file)?;
        Ok(staged)
    }

    /// Renames the file over its target. Durable after [`sync_dir`] of the folder.
    pub fn commit(mut self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody refers to the file; if it stays, `sweep` removes it later.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Replaces a file, or makes it. `Ok`: durable. Two fsyncs: the file, its folder.
pub fn replace(target: &Path, content: &[u8], access: Access) -> io::Result<()> {
    Staged::write(target, content, access)?.commit()?;
    sync_dir(folder_of(target)?)
}

/// Writes to where a person pointed: links are followed, a file is replaced as a whole and keeps
/// its mode, a device such as `/dev/null` is written to. Check with [`is_target`] before.
pub fn deliver(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = match std::fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    match is_device(&target) {
        true => OpenOptions::new().write(true).open(target)?.write_all(content),
        false => super::tool_io::replace(&target, content),
    }
}

/// True if [`deliver`] may write there: a file, a device, or nothing yet in a folder that is there.
/// A pipe would wait for its reader, perhaps for ever.
pub fn is_target(path: &Path) -> bool {
    use super::read::{Kind, kind};
    match kind(path) {
        Kind::File => true,
        Kind::Missing => {
            let dangling = std::fs::symlink_metadata(path).is_ok();
            !dangling && folder_of(path).is_ok_and(Path::is_dir)
        }
        _ => is_device(path),
    }
}

#[cfg(unix)]
fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device())
}

#[cfg(not(unix))]
fn is_device(_path: &Path) -> bool {
    false
}

/// Makes a file that must not exist yet. One fsync, of the file.
pub fn create(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mut file = options(access).write(true).create_new(true).open(path)?;
    if content.is_empty() {
        return Ok(());
    }
    file.write_all(content)?;
    super::flush_data(&file)
}

/// Makes a file that appears with its whole content or not at all; false if there is one
/// already. Of several at the same time one wins. `Ok`: durable. Two fsyncs: the file, its folder.
pub fn publish(path: &Path, content: &[u8], access: Access) -> io::Result<bool> {
    let staged = Staged::write(path, content, access)?;
    let published = match std::fs::hard_link(&staged.temporary, path) {
        // File systems without links: a crash may then leave the beginning of the content.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
        {
            create(path, content, access)
        }
        other => other,
    };
    match published {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other?,
    }
    sync_dir(folder_of(path)?)?;
    Ok(true)
}

/// Makes a file that somebody else writes, such as a library: `fill` gets a name beside `path` under
/// which there is an empty file (mode 0600), and then it appears whole or not at all. False if there is
/// a file at `path` already, which stays. `Ok(true)`: durable. Two fsyncs: the file, its folder.
pub fn publish_with<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<bool, E> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let staged = Staged::write(path, b"", Access::Private)?;
    fill(&staged.temporary)?;
    super::flush_all(&File::open(&staged.temporary)?)?;
    match std::fs::hard_link(&staged.temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        // File systems without links: whoever makes the file at this moment loses it.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
        {
            staged.commit()?;
        }
        other => other?,
    }
    sync_dir(folder_of(path)?)?;
    Ok(true)
}

/// Makes a folder and those above it. Durable; one fsync for each new folder.
pub fn create_dirs(path: &Path, access: Access) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path)?;
    create_dirs(parent, access)?;
    match create_dir(path, access) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_dir(parent),
    }
}

/// Makes one folder that must not exist yet. No fsync: see [`sync_dir`].
pub fn create_dir(path: &Path, access: Access) -> io::Result<()> {
    #[allow(unused_mut, reason = "only Unix sets the mode")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    #[cfg(not(unix))]
    let _ = access;
    builder.create(path)
}

/// Makes the names in a folder durable. One fsync.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    super::flush_all(&File::open(path)?)?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Removes a folder with all it holds: first out of sight under a hidden name, so that
/// a crash leaves no half of it, then for good. One fsync.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let hidden = temporary_beside(path)?;
    std::fs::rename(path, &hidden)?;
    sync_dir(folder_of(path)?)?;
    std::fs::remove_dir_all(hidden)
}

/// Removes what a crash left in a folder: temporary files and half removed folders.
/// Only where nobody else makes such files; whoever removes at the same time does no harm.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for name in super::read::names(folder)? {
        if name.starts_with('.') && name.ends_with(TEMPORARY) {
            let path = folder.join(name);
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

const TEMPORARY: &str = ".tmp";

/// A hidden name in the folder of `target` that no other process or thread uses.
fn temporary_beside(target: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // A name may have 255 bytes; ids have up to 200.
    Ok(folder_of(target)?.join(format!(".{name}.{process}-{next}{TEMPORARY}")))
}

pub(super) fn folder_of(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}

pub(super) fn options(access: Access) -> OpenOptions {
    #[allow(unused_mut, reason = "only Unix sets the mode")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    options
}

/// True if the open file is the one that the path names now.
pub(super) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let named = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let open = file.metadata()?;
        Ok(open.dev() == named.dev() && open.ino() == named.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = (file, named);
        Ok(true)
    }
}
