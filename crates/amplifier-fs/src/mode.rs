//! What a file is and who may read it, as far as its mode tells.

use std::io;
use std::path::Path;

/// True if the file's group or everybody may read or write it, links followed. Always false where
/// files have no such mode.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(false)
    }
}

/// True if this is a folder, and no link to one, that belongs to `user` and is open to nobody else.
/// False where that cannot be told.
#[cfg(unix)]
pub fn is_private_folder(path: &Path, user: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(path);
    found.is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}

/// True if the path itself names a socket.
#[cfg(unix)]
pub fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Who may do what: the nine bits of the mode, links followed. 0 where files have no such mode.
pub fn bits(path: &Path) -> io::Result<u32> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(metadata.permissions().mode() & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(0)
    }
}
