//! Whole processes of `amplifier`: its version, and one offline run with its session on disk.
//!
//! Guarantees: each run has a home of its own, so nothing of the user's is read
//! or written. Waiting for the disk is told apart in two ways: syncs are counted,
//! and the same runs are timed in memory, where a sync costs nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{self, Cost};
use super::report::Report;
use super::{TempFolder, folder};
use crate::error::Error;
use crate::run;

const BUNDLE: &str = "docs/examples/hello";
/// A file system in memory, where Linux has it.
const MEMORY: &str = "/dev/shm";

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    let program = process::release("amplifier-cli", "amplifier")?;
    version(&program, runs, report)?;
    let disk = folder()?;
    hello(&program, &disk, "", [None, None], runs, report)?;
    match Path::new(MEMORY).is_dir() {
        true => {
            hello(&program, Path::new(MEMORY), ", home in memory", [Some(15.0), Some(15.0)], runs, report)?
        }
        false => report.skip("hello, home in memory", format!("{MEMORY} is not there")),
    }
    syncs(&program, &disk, report)
}

fn version(program: &Path, runs: usize, report: &mut Report) -> Result<(), Error> {
    let what = "amplifier --version";
    let home = Home::new(&folder()?)?;
    let mut command = home.command(program);
    command.arg("--version");
    let costs: Result<Vec<Cost>, Error> = (0..runs).map(|_| process::measure(&command)).collect();
    match costs {
        Ok(costs) => report.row(what, "ms", Some(5.0), costs.iter().map(|cost| cost.wall_ms).collect()),
        Err(error) => report.fail(what, error),
    }
    Ok(())
}

/// Two runs in each of `runs` fresh homes: the first in its project, and a later one.
fn hello(
    program: &Path,
    parent: &Path,
    where_: &str,
    bounds: [Option<f64>; 2],
    runs: usize,
    report: &mut Report,
) -> Result<(), Error> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let home = Home::new(parent)?;
        for costs in [&mut first, &mut later] {
            match process::measure(&home.hello(program)) {
                Ok(cost) => costs.push(cost),
                Err(error) => {
                    report.fail(&format!("hello{where_}"), error);
                    return Ok(());
                }
            }
        }
    }
    for ((which, costs), bound) in [("first", first), ("later", later)].into_iter().zip(bounds) {
        let what = |quantity: &str| format!("hello, {which} run{where_}: {quantity}");
        let of = |take: fn(&Cost) -> f64| costs.iter().map(take).collect();
        report.row(&what("wall"), "ms", bound, of(|cost| cost.wall_ms));
        report.row(&what("CPU"), "ms", Some(25.0), of(|cost| cost.cpu_ms));
        report.row(&what("peak memory"), "MiB", Some(25.0), of(|cost| cost.peak_mib));
    }
    Ok(())
}

/// Counts how often a run waits for the disk.
fn syncs(program: &Path, parent: &Path, report: &mut Report) -> Result<(), Error> {
    let what = "hello: syncs";
    if Command::new("strace").arg("-V").output().is_err() {
        report.skip(what, "strace is not installed");
        return Ok(());
    }
    let home = Home::new(parent)?;
    for (which, bound) in [("first", 24.0), ("later", 9.0)] {
        let trace = home.folder.path().join("trace");
        let hello = home.hello(program);
        let mut strace = home.command(Path::new("strace"));
        strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace);
        strace.arg(hello.get_program()).args(hello.get_args());
        match process::measure(&strace) {
            Ok(_) => {
                let text = std::fs::read_to_string(&trace).map_err(Error::file(&trace))?;
                report.row(&format!("hello, {which} run: syncs"), "calls", Some(bound), vec![count(&text)]);
            }
            Err(error) => {
                report.fail(what, error);
                break;
            }
        }
    }
    Ok(())
}

/// Calls in a trace; one that was interrupted and resumed counts once.
fn count(trace: &str) -> f64 {
    trace.lines().filter(|line| line.contains("sync(")).count() as f64
}

/// A fresh home with a project in it.
struct Home {
    folder: TempFolder,
    project: PathBuf,
}

impl Home {
    fn new(parent: &Path) -> Result<Self, Error> {
        let folder = TempFolder::new(parent)?;
        let project = folder.path().join("project");
        std::fs::create_dir(&project).map_err(Error::file(&project))?;
        Ok(Self { folder, project })
    }

    /// A command whose environment is this home and nothing else.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.project).env_clear().env("HOME", self.folder.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn hello(&self, program: &Path) -> Command {
        let mut command = self.command(program);
        command.args(["run", "-B"]).arg(run::root().join(BUNDLE)).arg("hi");
        command
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_resumed_sync_counts_once() {
        let trace = "7 fsync(3) = 0\n8 fdatasync(4 <unfinished ...>\n8 <... fdatasync resumed>) = 0\n";
        assert_eq!(super::count(trace), 2.0);
    }
}
