//! Sources: from what a person wrote to a file on this machine.
//!
//! [`uri`] parses, [`mod@file`] finds a bundle's file below a path, `git` brings a
//! repository into the cache, [`registry`] knows names.
//! Guarantees: nothing found lies outside the repository, folder or namespace that
//! was named; no message holds credentials; every wait has a deadline.
//! Never here: what a bundle's file says.

#[cfg(feature = "web")]
pub mod archive;
pub mod cache;
pub mod file;
#[cfg(feature = "git")]
pub mod git;
pub mod registry;
pub mod uri;
#[cfg(feature = "web")]
pub mod web;

use std::path::PathBuf;
use std::time::Duration;

use amplifier_fs::read::ReadError;
use amplifier_fs::tree::TreeError;

pub use uri::{GitUri, SourceUri, UriError, WebUri};

/// Why a source led to no file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The text is no source.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The kind of source is known and cannot be fetched by this version.
    #[error("`{uri}` is not supported yet: {kind} sources cannot be fetched; {instead}")]
    Unsupported {
        /// The source without credentials.
        uri: String,
        /// `zip`, `http`, `git`.
        kind: &'static str,
        /// What to use for now.
        instead: &'static str,
    },
    /// A path leads to nothing that could be a bundle.
    #[error("{} holds no bundle; it must be a .md, .yaml or .yml file, or a folder with bundle.md or bundle.yaml", path.display())]
    NoBundle {
        /// The path that was tried.
        path: PathBuf,
    },
    /// A path below a repository or folder leads out of it, through a link.
    #[error("`{sub}` leads out of {}; only files below it can be used", root.display())]
    Escape {
        /// The path below the root, as written.
        sub: String,
        /// The repository's or folder's place.
        root: PathBuf,
    },
    /// The home folder is needed and unknown.
    #[error("`{path}` needs your home folder, which is not known; write the absolute path")]
    NoHome {
        /// The path as written.
        path: String,
    },
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cache could not be changed.
    #[error(transparent)]
    Cache(#[from] TreeError),
    /// It would have to be fetched, and that is switched off.
    #[error(
        "`{uri}` is not in the cache and fetching is switched off; use it once where fetching is allowed"
    )]
    Offline {
        /// The source without credentials.
        uri: String,
    },
    /// A source on the web could not be fetched.
    #[error("`{uri}` could not be fetched: {why}; check the address and the network")]
    Web {
        /// The source, without credentials.
        uri: String,
        /// What happened.
        why: String,
    },
    /// An archive cannot be used.
    #[error("`{uri}` is not unpacked: {why}")]
    Archive {
        /// The source, without credentials.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// An address of this machine's own network in a bundle that came from elsewhere.
    #[error(
        "`{uri}` leads into a network of this machine's own, and a fetched bundle names it; only a person or the settings may"
    )]
    Near {
        /// The source, without credentials.
        uri: String,
    },
    /// There is no `git` program.
    #[error("`{uri}` needs git, and no `git` program was found; install git and put it on PATH")]
    NoGit {
        /// The source without credentials.
        uri: String,
    },
    /// `git` started and failed.
    #[error("`{uri}` could not be fetched: {said}")]
    Git {
        /// The source without credentials.
        uri: String,
        /// The last lines that git wrote, credentials removed.
        said: String,
    },
    /// The repository has no such ref.
    #[error("`{uri}` could not be fetched: the repository has no branch, tag or commit `{reference}`")]
    NoRef {
        /// The source without credentials.
        uri: String,
        /// The ref that was asked for.
        reference: String,
    },
    /// The repository is there and has no such path.
    #[error(
        "`{uri}` names a path that its cached repository does not have; check the path; to fetch it again, delete it from the cache"
    )]
    NotInRepository {
        /// The source without credentials.
        uri: String,
    },
    /// Fetching took too long.
    #[error("`{uri}` could not be fetched within {} s; check the network and try again", deadline.as_secs())]
    Deadline {
        /// The source without credentials.
        uri: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// Another process works on the same cache entry for too long.
    #[error("{} has fetched `{uri}` for more than {} s; wait for it or end it", named(*holder), deadline.as_secs())]
    Busy {
        /// The source without credentials.
        uri: String,
        /// How long was waited.
        deadline: Duration,
        /// The process id of the other one, where its lock tells.
        holder: Option<u32>,
    },
    /// `git` could not be started or watched.
    #[error("git could not be run for `{uri}`")]
    Process {
        /// The source without credentials.
        uri: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn named(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

impl SourceError {
    /// True if nothing is there, as opposed to something that cannot be used.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Read(error) => error.is_missing(),
            Self::NotInRepository { .. } => true,
            _ => false,
        }
    }
}
