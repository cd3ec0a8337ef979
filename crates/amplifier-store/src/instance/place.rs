//! Where sockets lie: in a folder of this user alone, with a path that is short enough.
//!
//! Guarantees: a socket is made where no other user can reach or replace it. Only what is a socket
//! and is named like one of ours is ever removed.
//! Never here: names that say what the project is.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use amplifier_fs::write::{self, Access};
use amplifier_fs::{mode, tool_io};

use crate::OwnerId;

/// Longest path of a socket in bytes, on each system that we know.
const MAX_PATH_BYTES: usize = 103;
const BEGINNING: &str = "amplifier-";
const END: &str = ".sock";
const HASH_DIGITS: usize = 24;

/// Binds a socket for `owner` in the first folder that will do.
pub(super) fn bind(run: &Path, owner: &OwnerId) -> io::Result<(UnixDatagram, PathBuf)> {
    let name = name(run, owner);
    let mut last = io::Error::from(io::ErrorKind::InvalidFilename);
    for folder in folders(run) {
        let path = folder.join(&name);
        if path.as_os_str().len() > MAX_PATH_BYTES || path.to_str().is_none() {
            continue;
        }
        match UnixDatagram::bind(&path) {
            Ok(socket) => return Ok((socket, path)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Removes a socket of ours; anything else stays.
pub(super) fn remove_socket(path: &Path) {
    let named = path.file_name().and_then(|name| name.to_str()).and_then(digits);
    if named.is_some_and(|digits| digits.len() == HASH_DIGITS) && mode::is_socket(path) {
        // Somebody else may have been faster.
        let _ = tool_io::remove(path);
    }
}

fn digits(name: &str) -> Option<&str> {
    let digits = name.strip_prefix(BEGINNING)?.strip_suffix(END)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}

fn name(run: &Path, owner: &OwnerId) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run.as_os_str().as_encoded_bytes());
    hasher.update(b"\0");
    hasher.update(owner.as_str().as_bytes());
    let hex = hasher.finalize().to_hex();
    format!("{BEGINNING}{}{END}", hex.get(..HASH_DIGITS).unwrap_or_default())
}

/// The folders that are private to this user, best first; the project's own is the last, as its
/// path is the one that may be long.
fn folders(run: &Path) -> impl Iterator<Item = PathBuf> {
    let user = nix::unistd::geteuid().as_raw();
    let temporary = [std::env::temp_dir(), PathBuf::from("/tmp")].map(move |folder| {
        let folder = folder.join(format!("{BEGINNING}{user}"));
        // It may be there, also as somebody else's; the check below tells.
        let _ = write::create_dir(&folder, Access::Private);
        folder
    });
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let private = move |folder: &PathBuf| mode::is_private_folder(folder, user);
    runtime.into_iter().chain(temporary).chain([run.to_owned()]).filter(private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_say_nothing() {
        let owner = OwnerId::new("o").unwrap();
        let one = name(Path::new("/home/me/.amplifier/projects/secret/run"), &owner);
        let two = name(Path::new("/home/me/.amplifier/projects/other/run"), &owner);
        assert!(one != two && one.len() < 42 && !one.contains("secret"), "{one}");
        assert_eq!(digits(&one).unwrap().len(), HASH_DIGITS);
        assert!(digits("notes.txt").is_none() && digits("amplifier-../x.sock").is_none());
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn only_sockets_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let name = name(dir.path(), &OwnerId::new("o").unwrap());
        let [ours, foreign] = [&*name, "other.sock"].map(|name| dir.path().join(name));
        let file = dir.path().join(name.replacen("amplifier-", "amplifier-0", 1).replacen("0.", ".", 1));
        std::fs::write(&file, "").unwrap();
        let _sockets = [&ours, &foreign].map(|path| UnixDatagram::bind(path).unwrap());
        for path in [&ours, &foreign, &file] {
            remove_socket(path);
        }
        assert!(!ours.exists() && foreign.exists() && file.exists());
    }
}
