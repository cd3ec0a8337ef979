//! Zip archives, unpacked within bounds.
//!
//! Guarantees: nothing is written outside the folder; no link, no device, no name that would be written twice; what is
//! counted is what comes out, never what the archive says of itself. A fault leaves what the caller throws away.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::path::{Component, Path, PathBuf};

use amplifier_fs::tree;
use amplifier_fs::write::{Access, create};
use zip::ZipArchive;
use zip::read::ZipFile;

/// Most files and folders of one archive.
pub const MAX_ENTRIES: usize = 5_000;
/// Most bytes of one file in it.
pub const MAX_FILE_BYTES: u64 = 32 << 20;
/// Most bytes of all of them.
pub const MAX_BYTES: u64 = 128 << 20;
/// How many times as large as the archive its content may be, once that is over 4 MiB.
pub const MAX_RATIO: u64 = 100;
/// So much is unpacked however small the archive is.
const FREE_BYTES: u64 = 4 << 20;
/// Folders in folders at most.
const MAX_DEPTH: usize = 32;

/// Unpacks an archive into an empty folder. `Err`: one clause.
pub fn unpack(bytes: Vec<u8>, folder: &Path) -> Result<(), String> {
    let packed = bytes.len() as u64;
    let room = MAX_BYTES.min(packed.saturating_mul(MAX_RATIO).max(FREE_BYTES));
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("it is no zip archive: {error}"))?;
    if archive.len() > MAX_ENTRIES {
        return Err(format!("it has {} entries, of {MAX_ENTRIES} at most", archive.len()));
    }
    let (mut left, mut names) = (room, BTreeSet::new());
    for index in 0..archive.len() {
        let mut entry =
            archive.by_index(index).map_err(|error| format!("entry {index} cannot be read: {error}"))?;
        let path = name_of(&entry)?;
        // Two names that differ in case alone are one file on some disks.
        if !names.insert(path.to_string_lossy().to_lowercase()) && !entry.is_dir() {
            return Err(format!("`{}` stands twice in it", path.display()));
        }
        let target = folder.join(&path);
        if entry.is_dir() {
            tree::create(&target).map_err(|error| error.to_string())?;
            continue;
        }
        let content = content_of(&mut entry, &path, left)?;
        left -= content.len() as u64;
        if let Some(parent) = target.parent() {
            tree::create(parent).map_err(|error| error.to_string())?;
        }
        create(&target, &content, Access::Shared)
            .map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

fn name_of<R: Read>(entry: &ZipFile<'_, R>) -> Result<PathBuf, String> {
    let name = entry.name().map_err(|error| format!("it has a name that cannot be read: {error}"))?;
    let shown = name.chars().take(200).collect::<String>().escape_debug().to_string();
    let special =
        entry.unix_mode().is_some_and(|mode| !matches!(mode & 0o170_000, 0 | 0o040_000 | 0o100_000));
    if entry.is_symlink() || special {
        return Err(format!("`{shown}` is a link or a device"));
    }
    let escapes = || format!("`{shown}` leads out of it");
    if name.contains(['\\', '\0']) || name.starts_with('/') {
        return Err(escapes());
    }
    let path = entry.enclosed_name().ok_or_else(escapes)?;
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    match normal && path.components().count() <= MAX_DEPTH && !path.as_os_str().is_empty() {
        true if name.split('/').any(|part| part == "..") => Err(escapes()),
        true => Ok(path),
        false => Err(format!("`{shown}` is no path of a file")),
    }
}

fn content_of<R: Read>(entry: &mut ZipFile<'_, R>, path: &Path, left: u64) -> Result<Vec<u8>, String> {
    let bound = left.min(MAX_FILE_BYTES);
    let mut content = Vec::new();
    let failed = |error| format!("`{}` cannot be unpacked: {error}", path.display());
    entry.by_ref().take(bound + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 <= bound {
        return Ok(content);
    }
    Err(match bound == left {
        true => "it holds more than an archive of its size may; it may be a trap".to_owned(),
        false => format!("`{}` has more than {} MiB", path.display(), MAX_FILE_BYTES >> 20),
    })
}
