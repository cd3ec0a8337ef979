//! Campaigns that end processes at the worst moment, and what must hold afterwards.
//!
//! [`points`] finds the system calls of a workload and has `strace` kill or fail one of them; [`store`] does so
//! to a writer of a store, [`background`] to background sessions, and [`kills`] ends a busy owner of background
//! sessions at random; [`hangs`] stops one of two and lets it go on; [`foreman`] kills the daemon of a crew.
//! [`verdict`] and [`foreman_verdict`] say what is wrong with what they have left. [`power`] takes the power away, by a
//! trace of what was written ([`disk`]), and [`turns`] takes it away from a session;
//! [`damage`] flips and cuts files; [`controls`] breaks promises on purpose, to see that it is noticed.
//!
//! Guarantees: what is judged was written by processes that are gone, and it is judged by another one ([`judge`]); a campaign is repeated by its seed or its
//! point; every process that it starts has a group of its own and is ended with it, also if the campaign fails.
//! Never here: a disk that lies.

pub mod background;
pub mod caller;
pub mod controls;
pub mod damage;
pub mod disk;
pub mod fleet;
pub mod foreman;
pub mod foreman_verdict;
pub mod hangs;
pub mod judge;
pub mod kills;
pub mod points;
pub mod power;
pub mod store;
pub mod turns;
pub mod verdict;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;

/// What the last words of a process that is gone may take to arrive.
const CLOSING: Duration = Duration::from_secs(10);

/// What a campaign has tried and found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Its name.
    pub campaign: String,
    /// Points that there are, or kills that were wanted.
    pub of: usize,
    /// Points that were tried.
    pub tried: usize,
    /// Of these, how often a process was cut off, or a call failed.
    pub hit: usize,
    /// What was acknowledged, over all.
    pub acknowledged: usize,
    /// What was looked at afterwards, in words and numbers.
    pub checked: String,
    /// What was wrong.
    pub violations: Vec<Violation>,
    /// Why nothing was tried.
    pub skipped: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Something that must not be.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// The point or the seed: what repeats it.
    pub at: String,
    /// What is wrong.
    pub flaws: Vec<String>,
    /// The folder that was kept.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// A campaign that has begun.
    pub fn of(campaign: &str) -> Self {
        Self { campaign: campaign.to_owned(), ..Self::default() }
    }

    /// One that cannot be done here.
    pub fn skipped(campaign: &str, why: &str) -> Self {
        Self { skipped: Some(why.to_owned()), ..Self::of(campaign) }
    }

    /// Notes what was wrong at one point, and keeps its folder; nothing, if nothing was.
    pub fn judge(&mut self, at: impl Into<String>, flaws: Vec<String>, folder: tempfile::TempDir) {
        if flaws.is_empty() {
            return;
        }
        let (at, kept) = (at.into(), Some(folder.keep()));
        let _ = writeln!(std::io::stderr(), "VIOLATION at {at}, kept in {kept:?}: {flaws:#?}");
        self.violations.push(Violation { at, flaws, kept });
    }
}

/// A program that was built beside the one that runs.
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let folders = here.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not beside {}; build the tests' programs", here.display()))
}

/// A process with a group of its own, whose lines are read. Dropped, it is killed with its group.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    group: Pid,
    lines: Receiver<String>,
    errors: Receiver<String>,
    ended: bool,
}

impl Worker {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let group = Pid::from_raw(child.id().try_into().unwrap());
        let (lines, errors) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, group, lines, errors, ended: false }
    }

    /// The number of its group.
    pub fn group(&self) -> i32 {
        self.group.as_raw()
    }

    /// What it has said since the last call, without waiting.
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// What it has complained about since the last call.
    pub fn complaints(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// Waits for its next line; `None` at its end, or after `within`.
    pub fn line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// Lets its standard input end.
    pub fn release(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let _ = nix::sys::signal::kill(self.group, Signal::SIGTERM);
    }

    /// Stops it where it is, with all its threads, and waits until they stand: as of a process that hangs,
    /// what it holds stays held.
    pub fn stop(&self) {
        let _ = nix::sys::signal::kill(self.group, Signal::SIGSTOP);
        let began = Instant::now();
        while !stands(self.group.as_raw()) && began.elapsed() < CLOSING {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        let _ = nix::sys::signal::kill(self.group, Signal::SIGCONT);
    }

    /// True once it has ended.
    pub fn is_over(&mut self) -> bool {
        self.ended = self.ended || self.child.try_wait().unwrap().is_some();
        self.ended
    }

    /// Kills it with its group, as a crash would, and waits until it is gone. The lines that it has said.
    pub fn kill(mut self) -> Vec<String> {
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait();
        self.ended = true;
        rest(&self.lines, CLOSING)
    }

    /// Waits for its end, at most so long; then it is killed. Its lines, its complaints, and how it ended;
    /// `None`: it had to be killed.
    pub fn end(mut self, within: Duration) -> (Vec<String>, Vec<String>, Option<ExitStatus>) {
        let mut said = rest(&self.lines, within);
        let deadline = Instant::now() + within;
        let mut status = self.child.try_wait().unwrap();
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            status = self.child.try_wait().unwrap();
        }
        self.ended = status.is_some();
        // What a slow one has said since: half of a history would be told as a loss.
        said.extend(rest(&self.lines, CLOSING));
        let complaints = rest(&self.errors, CLOSING);
        (said, complaints, status)
    }
}

/// True if no thread of a process runs: each is stopped, or there is none.
fn stands(pid: i32) -> bool {
    let stopped =
        |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'));
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| std::fs::read_to_string(task.path().join("stat"))).all(|stat| stat.is_ok_and(stopped))
}

/// Reads to the end of what is said.
fn rest(lines: &Receiver<String>, within: Duration) -> Vec<String> {
    let (mut said, deadline) = (Vec::new(), Instant::now() + within);
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => return said,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.ended {
            let _ = killpg(self.group, Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Whole lines alone: one that was cut off counts for nothing.
fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while matches!(pipe.read_line(&mut line), Ok(1..)) {
            let Some(whole) = line.strip_suffix('\n') else { return };
            if sender.send(whole.to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

/// A number for every turn, the same for the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    /// True once in so many turns.
    pub fn once_in(&mut self, turns: u64) -> bool {
        self.below(turns) == 0
    }
}

/// A new folder of a campaign.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("amplifier-crash-").tempdir().unwrap()
}

/// The folder of the only project of a home.
pub fn project_folder(home: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(home.join("projects")).ok()?;
    entries.next().map(|entry| entry.unwrap().path())
}

/// True for an end by `SIGKILL`, also as `strace` and shells pass it on.
pub fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(Signal::SIGKILL as i32) || status.code() == Some(128 + Signal::SIGKILL as i32)
}
