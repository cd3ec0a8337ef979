//! Directories whose own files may widen permissions: `$AMPLIFIER_HOME/trust.json`.
//!
//! Guarantees: a directory is trusted if it or one above it is listed, links resolved. A missing
//! file trusts nothing; a damaged one trusts nothing either and is an error, and no change is
//! written over it. Two processes that add at once lose nothing.
//! Never here: asking a person, and what trust means for a setting.

use std::io;
use std::path::{Path, PathBuf};

use amplifier_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::home::AmplifierHome;
use super::lock::{LockError, behind_link, exclusive};
use amplifier_fs::read::{self, ReadError};
use amplifier_fs::write::{Access, replace};

/// Largest `trust.json` that is read, in bytes.
pub const MAX_TRUST_BYTES: u64 = 1 << 20;

const VERSION: u32 = 1;

/// Why the list cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The directory or the list cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The list is no JSON, or another JSON.
    #[error("{} is damaged at line {}, so nothing is trusted; repair it or move it away", path.display(), source.line())]
    Damaged {
        /// The list.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The list was written by a later program.
    #[error("{} has version {found}, so nothing is trusted; use the newer amplifier that wrote it", path.display())]
    Version {
        /// The list.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The root of the file system.
    #[error("`/` cannot be trusted, because it holds everybody's files; name a project's directory")]
    TooWide,
    /// Only directories can be trusted.
    #[error("{} is no directory; name the project's directory", path.display())]
    NoDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The path cannot be written down.
    #[error("{} is no UTF-8 path and cannot be listed; rename the directory", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// Another process changes the list.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The list cannot be written; it is as before.
    #[error("{} cannot be written; check the disk and who owns the folder", path.display())]
    Write {
        /// The list.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A trusted directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrustedDirectory {
    /// Absolute, links resolved.
    pub path: PathBuf,
    /// When it was added.
    pub since: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    directories: Vec<TrustedDirectory>,
    /// Those about which a person was asked and said no.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    declined: Vec<TrustedDirectory>,
}

/// The list of a user.
#[derive(Debug, Clone)]
pub struct TrustList {
    home: AmplifierHome,
}

impl TrustList {
    /// The list in this folder, which need not exist yet.
    pub fn new(home: &AmplifierHome) -> Self {
        Self { home: home.clone() }
    }

    /// Every trusted directory, in the order in which they were added.
    pub fn list(&self) -> Result<Vec<TrustedDirectory>, TrustError> {
        self.read().map(|file| file.directories)
    }

    fn read(&self) -> Result<File, TrustError> {
        let path = self.home.trust_file();
        let text = match read::text(&path, MAX_TRUST_BYTES) {
            Ok((text, _)) => text,
            Err(error) if error.is_missing() => {
                return Ok(File { version: VERSION, directories: Vec::new(), declined: Vec::new() });
            }
            Err(error) => return Err(error.into()),
        };
        let file: File = serde_json::from_str(&text)
            .map_err(|source| TrustError::Damaged { path: path.clone(), source })?;
        match file.version {
            VERSION => Ok(file),
            found => Err(TrustError::Version { path, found }),
        }
    }

    /// True if the directory or one above it is listed. An error must count as false.
    pub fn is_trusted(&self, directory: &Path) -> Result<bool, TrustError> {
        let list = self.list()?;
        if list.is_empty() {
            return Ok(false);
        }
        let directory = read::canonical(directory)?;
        // An empty or relative path, or `/`, was not written by this program and would hold everything.
        let counts = |path: &Path| path.is_absolute() && path.parent().is_some();
        Ok(list.iter().any(|trusted| counts(&trusted.path) && directory.starts_with(&trusted.path)))
    }

    /// Adds a directory that exists; the path that was listed. `Ok`: durable. Adding twice changes nothing.
    pub fn add(&self, directory: &Path, now: Timestamp) -> Result<PathBuf, TrustError> {
        let path = read::canonical(directory)?;
        if path.parent().is_none() {
            return Err(TrustError::TooWide);
        }
        if !read::is_dir(&path) {
            return Err(TrustError::NoDirectory { path });
        }
        if path.to_str().is_none() {
            return Err(TrustError::NotText { path });
        }
        self.change(|file| insert(&mut file.directories, &path, now))?;
        Ok(path)
    }

    /// True if a person was asked about this directory and said no. It is not asked again; it may be added all the same.
    pub fn is_declined(&self, directory: &Path) -> Result<bool, TrustError> {
        let (declined, directory) = (self.read()?.declined, read::canonical(directory)?);
        Ok(declined.iter().any(|asked| asked.path == directory))
    }

    /// Remembers that a person said no. `Ok`: durable.
    pub fn decline(&self, directory: &Path, now: Timestamp) -> Result<(), TrustError> {
        let path = read::canonical(directory)?;
        if path.to_str().is_none() {
            return Err(TrustError::NotText { path });
        }
        self.change(|file| insert(&mut file.declined, &path, now)).map(drop)
    }

    /// Takes a directory from the list, whether it exists or not; false if it was not on it. `Ok`:
    /// durable. One above it that is listed still counts: [`is_trusted`](Self::is_trusted) tells.
    pub fn revoke(&self, directory: &Path) -> Result<bool, TrustError> {
        let path = read::canonical(directory).unwrap_or_else(|_| directory.to_owned());
        self.change(|file| {
            let list = &mut file.directories;
            let before = list.len();
            list.retain(|trusted| trusted.path != path && trusted.path != directory);
            list.len() < before
        })
    }

    fn change(&self, edit: impl FnOnce(&mut File) -> bool) -> Result<bool, TrustError> {
        let _alone = exclusive(&self.home, "trust.lock")?;
        let mut file = self.read()?;
        if !edit(&mut file) {
            return Ok(false);
        }
        let path = self.home.trust_file();
        let failed = |source| TrustError::Write { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        replace(&behind_link(&path), &text, Access::Private).map_err(failed)?;
        Ok(true)
    }
}

/// Adds a directory; false if it was there.
fn insert(list: &mut Vec<TrustedDirectory>, path: &Path, since: Timestamp) -> bool {
    let new = !list.iter().any(|listed| listed.path == path);
    if new {
        list.push(TrustedDirectory { path: path.to_owned(), since });
    }
    new
}
