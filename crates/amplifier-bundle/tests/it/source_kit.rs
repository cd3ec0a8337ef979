//! What the tests of sources share: a real clock, files, git repositories.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use amplifier_bundle::bundle::{
    BundleError, BundleLoader, LoaderOptions, Notice, PreparedBundle, Strictness,
};
use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime, Timestamp};
use tempfile::TempDir;

/// The machine's clock.
#[derive(Debug)]
pub(crate) struct RealClock;

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(origin().elapsed())
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let left = deadline.saturating_since(self.monotonic());
        Box::pin(tokio::time::sleep(left))
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(RealClock)
}

/// Writes files below a folder, making the folders between.
pub(crate) fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Runs git in a folder.
pub(crate) fn git(dir: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"])
        .args(["-c", "init.defaultBranch=main", "-C"])
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Commits everything in a folder.
pub(crate) fn commit(dir: &Path) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-qm", "state"]);
}

/// A git repository with one commit on a branch.
pub(crate) fn repository(dir: &Path, branch: &str, files: &[(&str, &str)]) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q", "-b", branch]);
    write(dir, files);
    commit(dir);
    dir.to_owned()
}

/// A home, a project, and a loader for them.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) options: LoaderOptions,
    pub(crate) notices: Arc<Mutex<Vec<String>>>,
}

impl Lab {
    /// A project with files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["home", "project"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        write(&root.join("project"), files);
        let mut options = LoaderOptions::new(root.join("home"), root.join("project"), clock());
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        options.on_notice =
            Some(Arc::new(move |notice: &Notice| heard.lock().unwrap().push(notice.to_string())));
        Self { dir, options, notices }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn loader(&self) -> BundleLoader {
        BundleLoader::new(self.options.clone())
    }

    pub(crate) fn strict(mut self) -> Self {
        self.options.strictness = Strictness::Strict;
        self
    }

    pub(crate) async fn prepare(&self, source: &str) -> Result<Arc<PreparedBundle>, BundleError> {
        self.loader().prepare(source).await
    }
}

/// The modules of a plan's tools.
pub(crate) fn tools(prepared: &PreparedBundle) -> Vec<&str> {
    prepared.plan.tools.iter().map(|tool| tool.module.as_str()).collect()
}

/// The diagnostics of a bundle, one line each.
pub(crate) fn noticed(prepared: &PreparedBundle) -> Vec<String> {
    prepared.diagnostics.iter().map(ToString::to_string).collect()
}
