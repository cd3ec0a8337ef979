//! What the tests of sources share: a real clock, files, git repositories.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime, Timestamp};

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
