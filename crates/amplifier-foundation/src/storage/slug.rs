//! Which folder under the home belongs to a project directory.
//!
//! Guarantees: the name is the reference's (`/home/u/app` → `-home-u-app`), but two
//! directories never share a folder: a marker in it records the directory, and the second
//! one gets a short hash behind its name. A name is never longer than a file name may be.
//! Never here: a folder that is made before a session needs it; [`ProjectPaths::claim`] does.

use std::path::{Path, PathBuf};

use super::{SessionMetadata, StorageError};
use amplifier_fs::write::Access;
use amplifier_fs::{read, write};

/// File in a project folder that holds the path of its directory and a line feed.
const MARKER: &str = ".directory";
/// Longest slug without hash, in bytes; a file name has at most 255.
const MAX_SLUG_BYTES: usize = 200;
/// How many sessions are asked whose folder it is, where there is no marker yet.
const WITNESSES: usize = 64;

/// The folders of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectPaths {
    home: PathBuf,
    directory: PathBuf,
    slug: String,
}

impl ProjectPaths {
    /// Finds the folder of the directory `cwd` under `home` (`$AMPLIFIER_HOME`). Writes
    /// nothing. Errors: `Io` if `cwd` does not exist.
    pub fn resolve(home: &Path, cwd: &Path) -> Result<Self, StorageError> {
        let directory = read::real_path(cwd).map_err(StorageError::io("find", cwd))?;
        let plain = slug_of(&directory);
        let mut paths = Self { home: home.to_owned(), slug: plain.clone(), directory };
        if paths.is_long() || paths.owner()?.is_some_and(|owner| owner != paths.directory) {
            paths.slug = format!("{plain}-{}", paths.hash());
            paths.check_owner()?;
        }
        Ok(paths)
    }

    /// Makes the project folder and records whose it is. `Ok`: durable; no fsync if it was
    /// done before. Errors: `ProjectTaken` if another directory was faster.
    pub fn claim(&self) -> Result<(), StorageError> {
        let project = self.project();
        let marker = project.join(MARKER);
        if read_marker(&marker)?.as_ref() == Some(&self.directory) {
            return Ok(());
        }
        write::create_dirs(&project, Access::Private).map_err(StorageError::io("create", &project))?;
        let line = [self.directory.as_os_str().as_encoded_bytes(), b"\n"].concat();
        write::publish(&marker, &line, Access::Private).map_err(StorageError::io("write", &marker))?;
        match read_marker(&marker)? {
            Some(owner) if owner != self.directory => {
                Err(StorageError::ProjectTaken { path: project, owner })
            }
            Some(_) => Ok(()),
            None => {
                let damaged = std::io::Error::from(std::io::ErrorKind::InvalidData);
                Err(StorageError::io("read the directory's path from", &marker)(damaged))
            }
        }
    }

    /// The home, `$AMPLIFIER_HOME`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The project directory, links resolved.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the project folder.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// The project folder: `<home>/projects/<slug>`.
    pub fn project(&self) -> PathBuf {
        self.home.join("projects").join(&self.slug)
    }

    /// The project's database; it need not be there.
    pub fn database(&self) -> PathBuf {
        self.project().join("amplifier.db")
    }

    /// The folder of the sessions.
    pub fn sessions(&self) -> PathBuf {
        self.project().join("sessions")
    }

    /// The folder of one session.
    pub fn session(&self, id: &amplifier_core::SessionId) -> PathBuf {
        self.sessions().join(id.as_str())
    }

    fn check_owner(&self) -> Result<(), StorageError> {
        match self.owner()? {
            Some(owner) if owner != self.directory => {
                Err(StorageError::ProjectTaken { path: self.project(), owner })
            }
            _ => Ok(()),
        }
    }

    /// The directory that the folder belongs to: by its marker, or else, as the reference
    /// wrote none, by what its sessions say.
    fn owner(&self) -> Result<Option<PathBuf>, StorageError> {
        let marker = self.project().join(MARKER);
        match read_marker(&marker)? {
            Some(owner) => Ok(Some(owner)),
            None => self.owner_by_sessions(),
        }
    }

    fn owner_by_sessions(&self) -> Result<Option<PathBuf>, StorageError> {
        let sessions = self.sessions();
        let names = read::names(&sessions).map_err(StorageError::io("list", &sessions))?;
        let mut other = None;
        for name in names.iter().take(WITNESSES) {
            let Ok(text) = read::whole(&sessions.join(name).join("metadata.json")) else { continue };
            let Ok(metadata) = serde_json::from_slice::<SessionMetadata>(&text) else { continue };
            match metadata.working_dir {
                Some(directory) if directory == self.directory => return Ok(Some(directory)),
                Some(directory) if slug_of(&directory) == self.slug => other = Some(directory),
                _ => {}
            }
        }
        Ok(other)
    }

    fn is_long(&self) -> bool {
        self.slug.len() >= MAX_SLUG_BYTES
    }

    fn hash(&self) -> String {
        let hash = blake3::hash(self.directory.as_os_str().as_encoded_bytes()).to_hex();
        hash.chars().take(8).collect()
    }
}

fn read_marker(marker: &Path) -> Result<Option<PathBuf>, StorageError> {
    let line = read::bytes_if_any(marker).map_err(StorageError::io("read", marker))?;
    Ok(line.and_then(|line| path_of_line(&line)))
}

fn slug_of(directory: &Path) -> String {
    let mut slug = directory.to_string_lossy().replace(['/', '\\'], "-").replace(':', "");
    if !slug.starts_with('-') {
        slug.insert(0, '-');
    }
    slug.truncate(slug.floor_char_boundary(MAX_SLUG_BYTES));
    slug
}

#[cfg(unix)]
fn path_of_line(line: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(line.strip_suffix(b"\n")?)))
}

#[cfg(not(unix))]
fn path_of_line(line: &[u8]) -> Option<PathBuf> {
    Some(PathBuf::from(String::from_utf8_lossy(line.strip_suffix(b"\n")?).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_the_reference_s() {
        for (directory, slug) in [
            ("/home/u/my app", "-home-u-my app"),
            ("/a/b-c", "-a-b-c"),
            ("/a/b/c", "-a-b-c"),
            ("C:\\Users\\u", "-C-Users-u"),
            ("/", "-"),
        ] {
            assert_eq!(slug_of(Path::new(directory)), slug);
        }
        let long = slug_of(Path::new(&format!("/{}", "ä".repeat(300))));
        assert!(long.len() <= MAX_SLUG_BYTES && long.len() > MAX_SLUG_BYTES - 4);
    }
}
