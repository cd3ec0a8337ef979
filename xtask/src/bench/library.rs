//! The libraries inside one process: `cargo bench` of the tests' package, read line by line.

use serde::Deserialize;

use super::report::{Bound, Report};
use crate::error::Error;
use crate::run;

#[derive(Deserialize)]
struct Row {
    what: String,
    unit: String,
    /// The largest median that is wanted.
    bound: Option<f64>,
    /// The smallest one.
    #[serde(default)]
    least: Option<f64>,
    runs: Vec<f64>,
}

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    read("library", runs, report)
}

/// Runs one benchmark of the tests' package, and adds what it prints.
pub(super) fn read(bench: &str, runs: usize, report: &mut Report) -> Result<(), Error> {
    let runs = runs.to_string();
    let mut command = run::cargo(["bench", "-p", "amplifier-tests", "--bench", bench, "--", &runs]);
    let output = run::read(&mut command)?;
    let rows: Vec<&str> = output.lines().filter(|line| line.starts_with('{')).collect();
    if rows.is_empty() {
        report.fail(bench, "the benchmark printed no figure");
    }
    for line in rows {
        match serde_json::from_str::<Row>(line) {
            Ok(row) => {
                let bound = row.bound.map(Bound::AtMost).or(row.least.map(Bound::AtLeast));
                report.bounded(&row.what, unit(&row.unit), bound, row.runs);
            }
            Err(error) => report.fail(bench, error),
        }
    }
    Ok(())
}

fn unit(name: &str) -> &'static str {
    let known = ["ms", "µs", "times", "bytes", "KiB", "calls", "per s", "percent"];
    known.into_iter().find(|known| *known == name).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_unknown_unit_is_not_taken_for_another() {
        assert_eq!(super::unit("µs"), "µs");
        assert_eq!(super::unit("parsec"), "?");
    }
}
