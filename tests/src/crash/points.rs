//! The system calls of a program, one by one, and `strace` that kills or fails one of them.
//!
//! Guarantees: a point is a call and its number among those that one thread makes, counted in a run that nobody
//! disturbs; a thread that comes to that number first is the one that is met.
//! Never here: what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One call of a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The call.
    pub call: String,
    /// Its number, from 1.
    pub n: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.call, self.n)
    }
}

impl Point {
    /// What has `strace` kill the process there.
    pub fn kill(&self) -> String {
        format!("{}:signal=SIGKILL:when={}", self.call, self.n)
    }
}

/// How a program is traced.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// The calls that count.
    calls: &'static str,
    /// The files that count; none: all.
    files: Vec<PathBuf>,
    /// Where the trace goes.
    trace: PathBuf,
}

impl Tracer {
    /// Traces these calls on these files, into `trace`.
    pub fn on_files(calls: &'static str, files: Vec<PathBuf>, trace: PathBuf) -> Self {
        Self { calls, files, trace }
    }

    /// Traces these calls on all files.
    pub fn new(calls: &'static str, trace: PathBuf) -> Self {
        Self::on_files(calls, Vec::new(), trace)
    }

    /// The program, traced; `inject` is what `strace --inject` takes.
    pub fn command(&self, program: &Path, inject: Option<&str>) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-o"]).arg(&self.trace);
        command.args(["-e", &format!("trace={}", self.calls), "-e", "signal=none"]);
        for file in &self.files {
            command.arg("-P").arg(file);
        }
        command.args(inject.map(|inject| format!("--inject={inject}")));
        command.arg(program);
        command
    }

    /// The points of the run that was traced: the numbers of calls that some thread makes on a file below `folder`.
    pub fn points(&self, folder: &Path) -> Vec<Point> {
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        points(&trace, &folder.to_string_lossy())
    }
}

fn points(trace: &str, folder: &str) -> Vec<Point> {
    let (mut counts, mut found) = (BTreeMap::<(&str, &str), usize>::new(), BTreeSet::new());
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((call, rest)) = call.trim_start().split_once('(') else { continue };
        if !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry((call, thread)).or_default();
        *count += 1;
        if rest.contains(folder) {
            found.insert(Point { call: call.to_owned(), n: *count });
        }
    }
    found.into_iter().collect()
}

/// Whether programs can be traced here; `Err` says why not.
pub fn can_trace() -> Result<(), &'static str> {
    let folder = tempfile::tempdir().unwrap();
    let tracer = Tracer::new("write", folder.path().join("trace"));
    let probe = tracer.command(Path::new("true"), None).output();
    match probe.is_ok_and(|output| output.status.success()) {
        true => Ok(()),
        false => Err("there is no strace, or it may not trace"),
    }
}

/// How many points are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Each.
    All,
    /// So many.
    Some(usize),
}

impl Wanted {
    /// `all`, or a number.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "all" { Some(Self::All) } else { text.parse().ok().map(Self::Some) }
    }

    /// What `AMPLIFIER_CRASH_POINTS` says, else so many.
    pub fn from_env(otherwise: usize) -> Self {
        let set = std::env::var("AMPLIFIER_CRASH_POINTS").ok();
        set.map_or(Self::Some(otherwise), |set| Self::parse(&set).expect("a number, or `all`"))
    }

    /// As many as are asked for, spread evenly.
    pub fn of(self, points: Vec<Point>) -> Vec<Point> {
        self.spread(&points)
    }

    /// The same of anything.
    pub fn spread<T: Clone>(self, all: &[T]) -> Vec<T> {
        let Self::Some(wanted) = self else { return all.to_vec() };
        let (count, wanted) = (all.len(), wanted.min(all.len()));
        let place = |at: usize| (2 * at + 1) * count / (2 * wanted);
        (0..wanted).map(|at| all[place(at)].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_all_calls_of_a_thread_and_points_are_those_on_files_of_the_folder() {
        let trace = "10 write(3</other/file>, \"x\", 1) = 1\n\
            11 write(4</here/a>, \"x\", 1 <unfinished ...>\n\
            10 write(4</here/b>, \"x\", 1) = 1\n\
            11 <... write resumed>) = 1\n\
            10 rename(\"/here/a\", \"/here/b\") = 0\n\
            10 write(5<anon_inode:[eventfd]>, \"x\", 8) = 8\n";
        let names: Vec<String> = points(trace, "/here").iter().map(ToString::to_string).collect();
        assert_eq!(names, ["rename:1", "write:1", "write:2"]);
    }

    #[test]
    fn a_sample_is_spread_over_all() {
        let points: Vec<Point> = (1..=100).map(|n| Point { call: "write".to_owned(), n }).collect();
        let sample: Vec<usize> = Wanted::Some(4).of(points.clone()).iter().map(|point| point.n).collect();
        assert_eq!(sample, [13, 38, 63, 88]);
        assert_eq!(Wanted::All.of(points.clone()).len(), 100);
        assert_eq!(Wanted::Some(500).of(points).len(), 100);
    }
}
