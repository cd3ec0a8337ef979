//! The libraries inside one process: `cargo bench` of the tests' package, read line by line.

use super::figure::Figure;
use super::report::Report;
use crate::error::Error;
use crate::run;

/// Tells a benchmark to measure in short, with small sizes.
const QUICK: &str = "AMPLIFIER_BENCH_QUICK";

/// Names of functions are kept, for whoever looks with a profiler.
const NAMES: [&str; 2] = ["--config", "profile.bench.package.amplifier-tests.strip=\"none\""];

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    read("speed", "library", runs, report)
}

/// Runs an area of a benchmark of the tests' package, and adds what it prints.
pub(super) fn read(bench: &str, area: &str, runs: usize, report: &mut Report) -> Result<(), Error> {
    let runs = runs.to_string();
    let package = ["bench", "-p", "amplifier-tests", "--bench", bench];
    let mut command = run::cargo(package.into_iter().chain(NAMES).chain(["--", area, &runs]));
    if report.quick {
        command.env(QUICK, "1");
    }
    let output = run::read(&mut command)?;
    let lines: Vec<&str> = output.lines().filter(|line| line.starts_with('{')).collect();
    if lines.is_empty() {
        report.fail(area, "the benchmark printed no figure");
    }
    for line in lines {
        match serde_json::from_str::<Figure>(line) {
            Ok(figure) => report.add(figure),
            Err(error) => report.fail(area, error),
        }
    }
    Ok(())
}
