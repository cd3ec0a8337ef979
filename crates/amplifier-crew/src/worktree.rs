//! A git worktree for each worker, through the user's own `git`.
//!
//! Guarantees: a worktree is removed only if what it holds is somewhere else too: everything committed and reachable
//! from another branch, or saved first under `refs/amplifier/rescue/<session>`. What git ignores is not saved. A
//! branch with commits of its own is never deleted. No hook of the repository runs here, and git asks nothing on
//! a terminal; each call ends within its deadline, its process group with it.
//! Never here: merging, pushing, when a worktree is made or removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_bundle::source::git::{GitError, GitProgram, last_lines};
use amplifier_core::{Clock, IssueId, SessionId};
use amplifier_fs::write::Access;
use amplifier_fs::{read, write};

/// How long one call of git may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// What the refs begin with under which work is saved.
pub const RESCUE: &str = "refs/amplifier/rescue";
/// What the branches of workers begin with.
pub const BRANCHES: &str = "amplifier";

/// Why there is no worktree, or why it stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorktreeError {
    /// There is no program `git`.
    #[error("`git` cannot be started; install it, or take `worktree: true` out of the pool")]
    NoGit,
    /// The project is no repository.
    #[error("{} is in no git repository; run `git init` and commit, or take `worktree: true` out of the pool", project.display())]
    NoRepository {
        /// The project's directory.
        project: PathBuf,
    },
    /// The repository has no commit.
    #[error("the repository of {} has no commit to begin from; make one", project.display())]
    NoCommit {
        /// The project's directory.
        project: PathBuf,
    },
    /// Git refused.
    #[error("git says: {said}")]
    Git {
        /// The end of what it wrote.
        said: String,
    },
    /// Git took too long.
    #[error("git took more than {DEADLINE:?} and was stopped")]
    Deadline,
    /// The system failed.
    #[error("the worktree cannot be reached")]
    Io(#[from] std::io::Error),
}

/// A worker's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worktree {
    /// Where it is.
    pub path: PathBuf,
    /// Its branch.
    pub branch: String,
}

/// What became of a worktree that is not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removed {
    /// There was none.
    Nothing,
    /// It held nothing of its own; its branch is gone with it.
    Empty,
    /// What it held was saved first, under this ref; its branch stays.
    Saved(String),
}

/// The worktrees of a project.
#[derive(Debug, Clone)]
pub struct Worktrees {
    project: PathBuf,
    root: PathBuf,
    clock: Arc<dyn Clock>,
    git: GitProgram,
}

impl Worktrees {
    /// Worktrees of the repository of `project`, in folders below `root`.
    pub fn new(project: &Path, root: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { project: project.to_owned(), root, clock, git: GitProgram::default() }
    }

    /// The same with another `git` program.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.git = GitProgram::new(program);
        self
    }

    /// Where the worktree of an issue is, whether it is there or not.
    pub fn of(&self, issue: &IssueId) -> Worktree {
        let name = plain(issue.as_str());
        Worktree { path: self.root.join(&name), branch: format!("{BRANCHES}/{name}") }
    }

    /// True if an issue has a worktree.
    pub fn exists(&self, issue: &IssueId) -> bool {
        read::is_dir(&self.of(issue).path)
    }

    /// The issues that have a worktree, but for those whose id no folder can have: their folders do not name them.
    pub fn issues(&self) -> Vec<IssueId> {
        let names = read::names(&self.root).unwrap_or_default();
        names.into_iter().filter_map(|name| IssueId::new(name).ok()).filter(|id| self.exists(id)).collect()
    }

    /// The worktree of an issue, as it is, or a new one on a branch of its own from where the project is.
    pub async fn open(&self, issue: &IssueId) -> Result<Worktree, WorktreeError> {
        let worktree = self.of(issue);
        if self.is_worktree(&worktree.path).await {
            return Ok(worktree);
        }
        self.git(&self.project, &["rev-parse", "--git-dir"])
            .await
            .map_err(|error| lacking(error, WorktreeError::NoRepository { project: self.project.clone() }))?;
        self.git(&self.project, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
            .await
            .map_err(|error| lacking(error, WorktreeError::NoCommit { project: self.project.clone() }))?;
        write::create_dirs(&self.root, Access::Private)?;
        // A folder that somebody has deleted is still in git's list.
        self.git(&self.project, &["worktree", "prune"]).await?;
        let path = worktree.path.display().to_string();
        let known = self.commit_of(&self.project, &format!("refs/heads/{}", worktree.branch)).await.is_some();
        match known {
            true => {
                self.git(&self.project, &["worktree", "add", "--quiet", "--", &path, &worktree.branch])
                    .await?
            }
            false => {
                let add = ["worktree", "add", "--quiet", "-b", &worktree.branch, "--", &path, "HEAD"];
                self.git(&self.project, &add).await?
            }
        };
        Ok(worktree)
    }

    /// Saves all that a worktree holds and nothing else does: what is not committed, and commits that no other
    /// branch has. The ref, if there was anything.
    pub async fn save(&self, issue: &IssueId, session: &SessionId) -> Result<Option<String>, WorktreeError> {
        let worktree = self.of(issue);
        let path = worktree.path.as_path();
        let dirty = self.is_dirty(path).await?;
        if !dirty && !self.is_ahead(&worktree).await? {
            return Ok(None);
        }
        let head = self.git(path, &["rev-parse", "HEAD"]).await?.trim().to_owned();
        let commit = if dirty { self.commit_all(path, &head, issue).await? } else { head };
        let name = format!("{RESCUE}/{}", plain(session.as_str()));
        self.git(path, &["update-ref", &name, &commit]).await?;
        match self.commit_of(path, &name).await {
            Some(saved) if saved == commit => Ok(Some(name)),
            _ => Err(WorktreeError::Git { said: format!("{name} does not hold {commit}") }),
        }
    }

    /// Removes the worktree of an issue; what it holds is saved first.
    pub async fn remove(&self, issue: &IssueId, session: &SessionId) -> Result<Removed, WorktreeError> {
        let worktree = self.of(issue);
        if !self.is_worktree(&worktree.path).await {
            return Ok(Removed::Nothing);
        }
        let saved = self.save(issue, session).await?;
        let path = worktree.path.display().to_string();
        match saved {
            Some(name) => {
                self.git(&self.project, &["worktree", "remove", "--force", "--", &path]).await?;
                Ok(Removed::Saved(name))
            }
            // Git itself refuses what was changed since.
            None => {
                self.git(&self.project, &["worktree", "remove", "--", &path]).await?;
                self.git(&self.project, &["branch", "--quiet", "-D", "--", &worktree.branch]).await?;
                Ok(Removed::Empty)
            }
        }
    }

    /// Removes the worktree of an issue if it holds nothing that is not somewhere else too.
    pub async fn remove_if_empty(
        &self,
        issue: &IssueId,
        session: &SessionId,
    ) -> Result<Removed, WorktreeError> {
        let worktree = self.of(issue);
        if !self.is_worktree(&worktree.path).await || self.holds(&worktree).await? {
            return Ok(Removed::Nothing);
        }
        self.remove(issue, session).await
    }

    /// The folders that a worker in it writes to: its own, and that of the repository, for its commits.
    pub async fn roots(&self, worktree: &Worktree) -> Result<Vec<PathBuf>, WorktreeError> {
        let common = self.git(&worktree.path, &["rev-parse", "--git-common-dir"]).await?;
        let common = worktree.path.join(common.trim());
        Ok(vec![read::real_path(&worktree.path)?, read::real_path(&common)?])
    }

    async fn is_dirty(&self, path: &Path) -> Result<bool, WorktreeError> {
        let status = self.git(path, &["status", "--porcelain", "--untracked-files=all"]).await?;
        Ok(!status.trim().is_empty())
    }

    async fn holds(&self, worktree: &Worktree) -> Result<bool, WorktreeError> {
        Ok(self.is_dirty(&worktree.path).await? || self.is_ahead(worktree).await?)
    }

    /// True if a folder is a worktree of its own, and not a folder in another one.
    async fn is_worktree(&self, path: &Path) -> bool {
        if !read::is_dir(path) {
            return false;
        }
        let top = self.git(path, &["rev-parse", "--show-toplevel"]).await;
        let same = |top: &String| read::real_path(Path::new(top.trim())).ok() == read::real_path(path).ok();
        top.is_ok_and(|top| same(&top))
    }

    /// True if its branch has commits that no other branch has.
    async fn is_ahead(&self, worktree: &Worktree) -> Result<bool, WorktreeError> {
        let own = format!("--exclude=refs/heads/{}", worktree.branch);
        let base = self.git(&self.project, &["rev-parse", "HEAD"]).await?.trim().to_owned();
        let list =
            ["rev-list", "--max-count=1", "HEAD", "--not", &base, &own, "--glob=refs/heads", "--remotes"];
        Ok(!self.git(&worktree.path, &list).await?.trim().is_empty())
    }

    /// A commit of everything in a folder, on top of `head`; the folder's own index stays as it is.
    async fn commit_all(&self, path: &Path, head: &str, issue: &IssueId) -> Result<String, WorktreeError> {
        let git_dir = PathBuf::from(self.git(path, &["rev-parse", "--absolute-git-dir"]).await?.trim());
        let index = git_dir.join("amplifier-rescue-index");
        let with_index = [("GIT_INDEX_FILE", index.as_path())];
        self.run(path, &["read-tree", head], &with_index).await?;
        self.run(path, &["add", "--all", "--", "."], &with_index).await?;
        let tree = self.run(path, &["write-tree"], &with_index).await?.trim().to_owned();
        let message = format!("work on {issue} that was not committed");
        let commit = ["commit-tree", &tree, "-p", head, "-m", &message];
        Ok(self.git(path, &commit).await?.trim().to_owned())
    }

    /// The commit that a ref names.
    async fn commit_of(&self, at: &Path, name: &str) -> Option<String> {
        let name = format!("{name}^{{commit}}");
        let found = self.git(at, &["rev-parse", "--verify", "--quiet", &name]).await.ok()?;
        Some(found.trim().to_owned())
    }

    async fn git(&self, at: &Path, arguments: &[&str]) -> Result<String, WorktreeError> {
        self.run(at, arguments, &[]).await
    }

    async fn run(
        &self,
        at: &Path,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Result<String, WorktreeError> {
        let mut call = self.git.call(at, arguments);
        for who in ["AUTHOR", "COMMITTER"] {
            call = call.env(&format!("GIT_{who}_NAME"), "amplifier");
            call = call.env(&format!("GIT_{who}_EMAIL"), "amplifier@localhost");
        }
        let call = variables.iter().fold(call, |call, (name, value)| call.env(name, value));
        let deadline = self.clock.monotonic().saturating_add(DEADLINE);
        tokio::select! {
            ended = call.output() => Ok(ended?),
            () = self.clock.sleep_until(deadline) => Err(WorktreeError::Deadline),
        }
    }
}

impl From<GitError> for WorktreeError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Missing => Self::NoGit,
            GitError::Refused { stderr } => Self::Git { said: last_lines(&stderr) },
            GitError::Io(error) => Self::Io(error),
            other => Self::Io(std::io::Error::other(other)),
        }
    }
}

/// A refusal of git, as what it means here.
fn lacking(error: WorktreeError, means: WorktreeError) -> WorktreeError {
    if matches!(error, WorktreeError::Git { .. }) { means } else { error }
}

/// A name that a folder, a branch and a ref can have; another text has another name.
fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.starts_with('-') && text.len() <= 100 && text.chars().all(allowed) {
        return text.to_owned();
    }
    let kept: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).take(60).collect();
    format!("i{kept}-{}", &blake3::hash(text.as_bytes()).to_hex()[..12])
}
