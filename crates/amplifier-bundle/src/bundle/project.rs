//! Instructions of wherever a session works: `AGENTS.md`, and `CLAUDE.md` where that is wanted.
//!
//! First comes the user's own `$AMPLIFIER_HOME/AGENTS.md`, then a file of each folder from the repository's root down to
//! the working directory, the nearest last; without a repository that of the working directory alone.
//!
//! Guarantees: looked up anew at each request; all files together bring at most [`MAX_BYTES`], what is cut off says so in
//! its place; a project's file and what it mentions stay in the project, links resolved.
//! Never here: whether the files are wanted.

use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Diagnostic, Severity};
use super::model::ProjectFiles;
use super::neighbour::up_to_root;
use super::roster::ContextFile;
use crate::mention::{Expansion, FailureReason, MentionResolver};
use amplifier_fs::read::{self, Kind};

/// Most bytes that all files of instructions bring in.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Finds the instructions of a working directory.
#[derive(Debug)]
pub(crate) struct ProjectContext {
    files: ProjectFiles,
    /// `$AMPLIFIER_HOME`.
    home: PathBuf,
}

/// A file of instructions.
struct Found {
    name: String,
    path: PathBuf,
    /// What the file and its mentions must not leave; `None` for the user's own.
    root: Option<PathBuf>,
}

impl ProjectContext {
    pub(crate) fn new(files: ProjectFiles, home: &Path) -> Self {
        Self { files, home: home.to_owned() }
    }

    /// Adds the files of the resolver's working directory; those that could not be read.
    pub(crate) fn add(
        &self,
        resolver: &MentionResolver,
        expansion: &mut Expansion,
    ) -> Vec<(ContextFile, FailureReason)> {
        let (mut left, mut unreadable) = (MAX_BYTES, Vec::new());
        for Found { name, path, root } in self.find(resolver.cwd()) {
            let named = (name.as_str(), path.as_path());
            let added = match &root {
                Some(root) if !path.starts_with(root) => Err(FailureReason::OutsideCheckout),
                Some(root) => resolver.include_start(expansion, named, left, root),
                // The user's own file may mention whatever the user can read.
                None => resolver.include_start(expansion, named, left, Path::new("/")),
            };
            match added {
                Ok(bytes) => left -= bytes,
                Err(reason) => unreadable.push((ContextFile { key: name, path }, reason)),
            }
        }
        unreadable
    }

    /// What is amiss with the files of a working directory: more than is shown.
    pub(crate) fn check(&self, cwd: &Path) -> Option<Diagnostic> {
        let sizes = self.find(cwd).into_iter().filter_map(|found| {
            let bytes = read::stamp(&found.path).ok()?.bytes();
            Some((found.path, bytes))
        });
        let sizes: Vec<(PathBuf, u64)> = sizes.collect();
        let total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
        let (largest, _) = sizes.iter().max_by_key(|(_, bytes)| *bytes)?;
        let message = format!(
            "the instructions for this directory have {total} bytes; the first {MAX_BYTES} are shown"
        );
        let warning = Diagnostic::new(Severity::Warning, Code::Dropped, largest, message);
        (total > MAX_BYTES as u64)
            .then(|| warning.help("move what is not always needed into files of its own"))
    }

    fn find(&self, cwd: &Path) -> Vec<Found> {
        let own = self.home.join(AGENTS);
        let own = (self.home.is_absolute() && read::kind(&own) == Kind::File).then(|| Found {
            name: AGENTS.to_owned(),
            path: own,
            root: None,
        });
        let folders = up_to_root(cwd);
        let root = folders.last().copied().unwrap_or(cwd);
        let real_root = read::canonical(root).unwrap_or_else(|_| root.to_owned());
        let of_project = folders.iter().rev().filter_map(|folder| {
            let path = [AGENTS, CLAUDE]
                .into_iter()
                .filter(|name| *name == AGENTS || self.files.claude_md)
                .map(|name| folder.join(name))
                .find(|path| read::kind(path) == Kind::File)?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let path = read::canonical(&path).ok()?;
            Some(Found { name, path, root: Some(real_root.clone()) })
        });
        own.into_iter().chain(of_project).collect()
    }
}

const AGENTS: &str = "AGENTS.md";
const CLAUDE: &str = "CLAUDE.md";
