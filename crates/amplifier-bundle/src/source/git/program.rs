//! The user's own `git`, called so that a repository has no say in it.
//!
//! Guarantees: no hook, file system monitor or external transport of a repository
//! runs; nothing is asked on the terminal; what a call wrote is kept up to a bound and
//! read past it; a call that is dropped ends with all that it started.
//! Never here: time limits, which are the caller's.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::source::uri::without_credentials;

/// What is kept of each output of a call: 64 KiB.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;

/// Settings that take what runs by itself out of a repository's hands.
const SETTINGS: [&str; 5] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "commit.gpgSign=false",
    "protocol.ext.allow=never",
];

/// Set inside a git hook; they would redirect every call.
const REDIRECTIONS: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"];

/// Why a call of git gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no such program.
    #[error("`git` cannot be started; install it")]
    Missing,
    /// It was started, and refused.
    #[error("git says: {}", last_lines(stderr))]
    Refused {
        /// What it wrote on its error output.
        stderr: String,
    },
    /// The system failed.
    #[error("git cannot be run")]
    Io(#[from] io::Error),
}

/// Where `git` is.
#[derive(Debug, Clone)]
pub struct GitProgram(PathBuf);

impl GitProgram {
    /// This program instead of the one that `PATH` leads to.
    pub fn new(program: PathBuf) -> Self {
        Self(program)
    }

    /// A call with these arguments in a folder. It runs with [`GitCall::output`].
    pub fn call(&self, folder: &Path, arguments: &[&str]) -> GitCall {
        let mut command = Command::new(&self.0);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.arg("-C").arg(folder).args(arguments);
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        for name in REDIRECTIONS {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        GitCall(command)
    }
}

impl Default for GitProgram {
    fn default() -> Self {
        Self(PathBuf::from("git"))
    }
}

/// A call that has not been made yet.
#[derive(Debug)]
pub struct GitCall(Command);

impl GitCall {
    /// The same with an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it, and returns what it wrote if it ends with success.
    pub async fn output(mut self) -> Result<String, GitError> {
        let mut running = Running::start(&mut self.0).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::Missing,
            _ => error.into(),
        })?;
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let (stdout, stderr) = tokio::try_join!(bounded(stdout), bounded(stderr))?;
        let status = running.child.wait().await?;
        running.group = None;
        if status.success() { Ok(stdout) } else { Err(GitError::Refused { stderr }) }
    }
}

/// A running `git` and whatever it started: all of it ends when this is dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, group })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Keeps the first bytes and reads the rest past, so that the writer never blocks.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut kept = Vec::new();
    (&mut pipe).take(MAX_OUTPUT_BYTES).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// The end of what git wrote, on one line, without credentials.
pub fn last_lines(stderr: &str) -> String {
    let lines: Vec<String> = stderr
        .lines()
        .map(|line| line.split(' ').map(without_credentials).collect::<Vec<_>>().join(" ").trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    match &lines[lines.len().saturating_sub(3)..] {
        [] => "it gave no reason".to_owned(),
        last => last.join("; "),
    }
}
