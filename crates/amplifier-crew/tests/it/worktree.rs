//! Worktrees, with the real git.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{Clock, IssueId, MonoTime, SessionId, Timestamp, clock::BoxFuture};
use amplifier_crew::worktree::{Removed, Worktrees};

/// A clock on which no deadline ever comes.
#[derive(Debug)]
struct Never;

impl Clock for Never {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(Duration::ZERO)
    }
    fn sleep_until(&self, _: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

struct Repo {
    folder: tempfile::TempDir,
}

impl Repo {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("project")).unwrap();
        Self { folder }
    }

    fn new() -> Self {
        let repo = Self::empty();
        let project = repo.project();
        git(&project, &["init", "--quiet", "-b", "main"]);
        std::fs::write(project.join("a.txt"), "a\n").unwrap();
        std::fs::write(project.join(".gitignore"), "target\n").unwrap();
        commit(&project, "first");
        repo
    }

    fn project(&self) -> std::path::PathBuf {
        self.folder.path().join("project")
    }

    fn worktrees(&self) -> Worktrees {
        Worktrees::new(&self.project(), self.folder.path().join("state/worktrees"), Arc::new(Never))
    }
}

fn git(at: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
    let output = Command::new("git").args(who).arg("-C").arg(at).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(at: &Path, message: &str) {
    git(at, &["add", "--all"]);
    git(at, &["commit", "--quiet", "-m", message]);
}

fn id(text: &str) -> IssueId {
    IssueId::new(text).unwrap()
}

fn session() -> SessionId {
    SessionId::new("bg-workers-1").unwrap()
}

#[tokio::test]
async fn each_issue_has_a_folder_and_a_branch_and_keeps_them() {
    let _programs = crate::PROGRAMS.read().await;
    let repo = Repo::new();
    let trees = repo.worktrees();
    let tree = trees.open(&id("login")).await.unwrap();
    assert_eq!(tree.branch, "amplifier/login");
    assert_eq!(git(&tree.path, &["rev-parse", "--abbrev-ref", "HEAD"]), "amplifier/login");
    std::fs::write(tree.path.join("b.txt"), "b").unwrap();
    assert_eq!(trees.open(&id("login")).await.unwrap(), tree);
    assert!(tree.path.join("b.txt").exists() && !repo.project().join("b.txt").exists());
    let odd = trees.open(&id("a..ä b:c~")).await.unwrap();
    assert_eq!(odd.path.parent(), tree.path.parent(), "no id leaves the folder");
    let roots = trees.roots(&tree).await.unwrap();
    assert!(roots[1].ends_with("project/.git"), "{roots:?}");
}

#[tokio::test]
async fn one_that_holds_nothing_goes_with_its_branch() {
    let _programs = crate::PROGRAMS.read().await;
    let repo = Repo::new();
    let trees = repo.worktrees();
    let tree = trees.open(&id("login")).await.unwrap();
    std::fs::create_dir(tree.path.join("target")).unwrap();
    std::fs::write(tree.path.join("target/out"), "built").unwrap();
    assert_eq!(trees.save(&id("login"), &session()).await.unwrap(), None);
    assert_eq!(trees.remove(&id("login"), &session()).await.unwrap(), Removed::Empty);
    assert!(!tree.path.exists() && git(&repo.project(), &["branch", "--list", "amplifier/*"]).is_empty());
    assert_eq!(trees.remove(&id("login"), &session()).await.unwrap(), Removed::Nothing);
}

#[tokio::test]
async fn what_was_not_committed_is_saved_before_it_goes() {
    let _programs = crate::PROGRAMS.read().await;
    let repo = Repo::new();
    let trees = repo.worktrees();
    let tree = trees.open(&id("login")).await.unwrap();
    std::fs::write(tree.path.join("a.txt"), "changed\n").unwrap();
    std::fs::write(tree.path.join("new.txt"), "new\n").unwrap();
    assert_eq!(trees.remove_if_empty(&id("login"), &session()).await.unwrap(), Removed::Nothing);
    assert!(tree.path.exists());
    let name = "refs/amplifier/rescue/bg-workers-1".to_owned();
    assert_eq!(trees.remove(&id("login"), &session()).await.unwrap(), Removed::Saved(name.clone()));
    assert!(!tree.path.exists());
    let shown = |file: &str| git(&repo.project(), &["show", &format!("{name}:{file}")]);
    assert_eq!((shown("a.txt").as_str(), shown("new.txt").as_str()), ("changed", "new"));
}

#[tokio::test]
async fn commits_that_no_other_branch_has_are_saved_and_the_branch_stays() {
    let _programs = crate::PROGRAMS.read().await;
    let repo = Repo::new();
    let trees = repo.worktrees();
    let tree = trees.open(&id("login")).await.unwrap();
    std::fs::write(tree.path.join("b.txt"), "b\n").unwrap();
    commit(&tree.path, "work");
    let made = git(&tree.path, &["rev-parse", "HEAD"]);
    let Removed::Saved(name) = trees.remove(&id("login"), &session()).await.unwrap() else {
        panic!("not saved")
    };
    assert_eq!(git(&repo.project(), &["rev-parse", &name]), made);
    assert_eq!(git(&repo.project(), &["rev-parse", "amplifier/login"]), made);
    // It begins again where it was.
    let again = trees.open(&id("login")).await.unwrap();
    assert!(again.path.join("b.txt").exists());
    git(&repo.project(), &["merge", "--quiet", "amplifier/login"]);
    assert_eq!(trees.remove(&id("login"), &session()).await.unwrap(), Removed::Empty, "merged by now");
}

#[tokio::test]
async fn what_cannot_work_says_what_to_do() {
    let _programs = crate::PROGRAMS.read().await;
    let repo = Repo::empty();
    let error = repo.worktrees().open(&id("a")).await.unwrap_err().to_string();
    assert!(error.contains("git init"), "{error}");
    git(&repo.project(), &["init", "--quiet"]);
    let error = repo.worktrees().open(&id("a")).await.unwrap_err().to_string();
    assert!(error.contains("no commit"), "{error}");
    let none = repo.worktrees().program("no-such-git".into());
    assert!(none.open(&id("a")).await.unwrap_err().to_string().contains("install it"));
}
