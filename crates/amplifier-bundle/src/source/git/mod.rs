//! Git repositories, through the user's own `git`: one shallow checkout of one ref.
//!
//! Guarantees: what is cached is used without the network; a fetch ends within its
//! deadline or when its future is dropped, its whole process group with it; two
//! processes never write one entry; no hook, template or external transport of
//! a repository runs; git never asks a question on the terminal.
//! Never here: submodules, pushing, history; worktrees, which are the crew's.

mod program;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;
use sha2::{Digest, Sha256};

pub use program::{GitCall, GitError, GitProgram, last_lines};

use super::cache::{Entry, Locked};
use super::uri::{GitUri, without_credentials};
use super::{SourceError, file};
use amplifier_fs::read;

/// How long one fetch may take.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(120);

/// The ref of a source that names none, if the repository has it.
pub const DEFAULT_REF: &str = "main";

const HEAD: &str = "HEAD";

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Network {
    /// What is not cached is fetched.
    #[default]
    Allowed,
    /// Only the cache is used.
    Offline,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated {
    /// The checkout.
    pub root: PathBuf,
    /// The commit that was cached before, if one was.
    pub before: Option<String>,
    /// The commit that is cached now.
    pub after: Option<String>,
}

/// The cache of git repositories.
#[derive(Debug, Clone)]
pub struct GitCache {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    network: Network,
    deadline: Duration,
    git: GitProgram,
}

impl GitCache {
    /// The cache in `root`, usually `$AMPLIFIER_HOME/cache`.
    pub fn new(root: PathBuf, clock: Arc<dyn Clock>, network: Network) -> Self {
        Self { root, clock, network, deadline: FETCH_DEADLINE, git: GitProgram::default() }
    }

    /// The same with another time limit for one fetch.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same with another `git` program.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.git = GitProgram::new(program);
        self
    }

    /// The checkout of a source if it is cached already.
    pub fn cached(&self, uri: &GitUri) -> Option<PathBuf> {
        wanted_refs(uri).map(|reference| self.entry(uri, reference)).find(Entry::is_present).map(|e| e.path())
    }

    /// The checkout of a source, fetched if it is not cached.
    pub async fn checkout(&self, uri: &GitUri) -> Result<PathBuf, SourceError> {
        if let Some(root) = self.cached(uri) {
            return Ok(root);
        }
        self.require_network(uri)?;
        let locked = self.lock(uri).await?;
        match self.cached(uri) {
            Some(root) => Ok(root),
            None => self.fetch_wanted(uri, &locked).await,
        }
    }

    /// Whether what is not cached may be fetched.
    pub fn may_fetch(&self) -> bool {
        self.network == Network::Allowed
    }

    /// Fetches a source again. The old checkout stays until the new one is whole.
    pub async fn update(&self, uri: &GitUri) -> Result<Updated, SourceError> {
        self.require_network(uri)?;
        let locked = self.lock(uri).await?;
        let before = self.cached(uri).and_then(|root| commit(&root));
        let root = self.fetch_wanted(uri, &locked).await?;
        Ok(Updated { after: commit(&root), root, before })
    }

    /// Asks where a source stands, without changing the cache: the commit that is cached, and the one that the
    /// repository has now.
    pub async fn check(&self, uri: &GitUri) -> Result<(Option<String>, Option<String>), SourceError> {
        self.require_network(uri)?;
        let before = self.cached(uri).and_then(|root| commit(&root));
        let references: Vec<&str> = wanted_refs(uri).collect();
        let arguments = [&["ls-remote", "--quiet", "--", uri.url()][..], &references].concat();
        let listed = self.within(uri, self.call(uri, Path::new("/"), &arguments)).await?;
        Ok((before.clone(), remote(&listed, &references, before)))
    }

    /// The bundle's file in a checkout: below its subdirectory if it names one.
    pub fn bundle_file(root: &Path, uri: &GitUri) -> Result<PathBuf, SourceError> {
        let found = match uri.subdirectory() {
            Some(sub) => file::below(root, sub).and_then(|path| file::bundle_file(&path)),
            None => file::bundle_file(root),
        };
        match found {
            Ok(found) => file::confined(&found, uri.subdirectory().unwrap_or("."), Some(root)),
            Err(error) if error.is_missing() => Err(SourceError::NotInRepository { uri: uri.to_string() }),
            Err(error) => Err(error),
        }
    }

    fn require_network(&self, uri: &GitUri) -> Result<(), SourceError> {
        match self.network {
            Network::Allowed => Ok(()),
            Network::Offline => Err(SourceError::Offline { uri: uri.to_string() }),
        }
    }

    fn entry(&self, uri: &GitUri, reference: &str) -> Entry {
        Entry::new(&self.root, entry_name(uri, reference))
    }

    /// One lock for all refs that a source may end up with, so that the choice is made once.
    async fn lock(&self, uri: &GitUri) -> Result<Locks, SourceError> {
        let shown = uri.to_string();
        let mut held = Vec::new();
        for reference in wanted_refs(uri) {
            held.push(self.entry(uri, reference).lock(&self.clock, self.deadline, &shown).await?);
        }
        Ok(Locks(held))
    }

    async fn fetch_wanted(&self, uri: &GitUri, locks: &Locks) -> Result<PathBuf, SourceError> {
        let mut refused = None;
        for (reference, locked) in wanted_refs(uri).zip(&locks.0) {
            match self.fetch(uri, reference, locked).await {
                Ok(()) => return Ok(self.entry(uri, reference).path()),
                Err(error @ SourceError::NoRef { .. }) => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| SourceError::NoRef {
            uri: uri.to_string(),
            reference: uri.reference().unwrap_or(HEAD).to_owned(),
        }))
    }

    async fn fetch(&self, uri: &GitUri, reference: &str, locked: &Locked) -> Result<(), SourceError> {
        let scratch = locked.scratch()?;
        let dir = scratch.path();
        let work = async {
            self.call(uri, dir, &["init", "--quiet", "--template="]).await?;
            let fetch = ["fetch", "--quiet", "--depth", "1", "--no-tags", "--", uri.url(), reference];
            self.call(uri, dir, &fetch).await?;
            self.call(uri, dir, &["checkout", "--quiet", "--detach", "FETCH_HEAD"]).await
        };
        self.within(uri, work).await.map_err(|error| without_ref(error, reference))?;
        locked.install(dir)
    }

    /// Ends what asks a repository at the deadline.
    async fn within<T>(
        &self,
        uri: &GitUri,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let deadline = self.clock.monotonic().saturating_add(self.deadline);
        tokio::select! {
            done = work => done,
            () = self.clock.sleep_until(deadline) => {
                Err(SourceError::Deadline { uri: uri.to_string(), deadline: self.deadline })
            }
        }
    }

    async fn call(&self, uri: &GitUri, dir: &Path, arguments: &[&str]) -> Result<String, SourceError> {
        let output = self.git.call(dir, arguments).output().await;
        output.map_err(|error| {
            let shown = uri.to_string();
            match error {
                GitError::Missing => SourceError::NoGit { uri: shown },
                GitError::Refused { stderr } => SourceError::Git { uri: shown, said: said(&stderr, uri) },
                GitError::Io(source) => SourceError::Process { uri: shown, source },
            }
        })
    }
}

/// The commit that `git ls-remote` names for the first of the refs that is there: of a tag with a text of its own the
/// commit behind it. A ref that is a commit is listed nowhere, and stays what it is.
fn remote(listed: &str, references: &[&str], before: Option<String>) -> Option<String> {
    let rows: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let of = |reference: &str| {
        let names = [
            format!("refs/tags/{reference}^{{}}"),
            format!("refs/heads/{reference}"),
            format!("refs/tags/{reference}"),
        ];
        let named = names.iter().find_map(|name| rows.iter().find(|(_, row)| row == name));
        named.or_else(|| rows.iter().find(|(_, row)| *row == reference)).map(|(hash, _)| (*hash).to_owned())
    };
    references.iter().find_map(|reference| of(reference)).or(before)
}

struct Locks(Vec<Locked>);

fn wanted_refs(uri: &GitUri) -> impl Iterator<Item = &str> {
    let written = uri.reference();
    let fallback = written.is_none().then_some(HEAD);
    std::iter::once(written.unwrap_or(DEFAULT_REF)).chain(fallback)
}

/// `<repository>-<first 16 hex digits of sha256(url@ref)>`, as the reference system names it for a URL
/// without credentials. Credentials do not count: who has others, or none, finds the same entry.
pub fn entry_name(uri: &GitUri, reference: &str) -> String {
    let digest = Sha256::digest(format!("{}@{reference}", uri.bare_url()));
    let mut name = format!("{}-", uri.repository());
    for byte in digest.iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The commit that a checkout is at, read from its own files; `None` if they do not say.
pub fn commit(root: &Path) -> Option<String> {
    let dir = root.join(".git");
    let line = |path: &Path| Some(read::text(path, 4096).ok()?.0.trim().to_owned());
    let head = line(&dir.join("HEAD"))?;
    match head.strip_prefix("ref: ") {
        Some(name) if !name.contains("..") => line(&dir.join(name)),
        Some(_) => None,
        None => Some(head),
    }
}

/// Turns git's complaint about a ref into the error that names it.
fn without_ref(error: SourceError, reference: &str) -> SourceError {
    let unknown = ["couldn't find remote ref", "not our ref", "no such remote ref"];
    match error {
        SourceError::Git { uri, said } if unknown.iter().any(|text| said.contains(text)) => {
            SourceError::NoRef { uri, reference: reference.to_owned() }
        }
        other => other,
    }
}

/// The end of what git wrote, without the credentials of this source either.
fn said(stderr: &str, uri: &GitUri) -> String {
    last_lines(&stderr.replace(uri.url(), &without_credentials(uri.url())))
}
