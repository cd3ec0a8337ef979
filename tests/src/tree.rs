//! A tree of processes that a shell command starts, and what is left of it.
//!
//! Guarantees: what is still there when a test ends is killed. A process that stands in another
//! folder is not touched.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use amplifier_foundation::fs::process_table::processes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PATIENCE;

/// A command that leaves ten processes: in the background, immune to hang-ups, in process
/// sessions of their own, twice forked, deaf to requests to end, and without a mark in the environment.
pub const TREE: &str = "sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & \
    setsid bash -c 'sleep 1000 & trap \"\" TERM HUP; sleep 1000 & wait' & \
    (setsid setsid nohup sleep 1000 >/dev/null 2>&1 &) ; env -i sleep 1000 & \
    setsid bash -c 'env -i setsid sleep 1000 & wait' & ";

/// How many processes [`TREE`] leaves.
pub const TREE_SIZE: usize = 10;

/// The processes of commands that stand in one folder. Dropped, they are killed.
#[derive(Debug)]
pub struct Standing {
    folder: PathBuf,
}

impl Standing {
    /// Those in this folder and no other: it belongs to one test.
    pub fn within(folder: &Path) -> Self {
        Self { folder: folder.canonicalize().unwrap() }
    }

    /// Shells and what they started; no `amplifier`.
    pub fn pids(&self) -> Vec<i32> {
        let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let here =
            |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.folder);
        let alive = processes().into_iter().filter(|process| !process.ended);
        alive
            .map(|process| process.pid)
            .filter(|pid| here(*pid) && name(*pid).trim() != "amplifier")
            .collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pids().len()
    }

    /// Waits until there are so many.
    pub fn reach(&self, count: usize) {
        let begin = Instant::now();
        while self.count() != count {
            assert!(begin.elapsed() < PATIENCE, "{} processes, not {count}", self.count());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        for pid in self.pids() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
