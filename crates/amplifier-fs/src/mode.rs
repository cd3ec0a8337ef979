//! Who may read a file, as far as its mode tells.

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
