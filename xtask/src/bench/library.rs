//! The libraries inside one process: `cargo bench` of the tests' package, read line by line.

use serde::Deserialize;

use super::report::Report;
use crate::error::Error;
use crate::run;

#[derive(Deserialize)]
struct Row {
    what: String,
    unit: String,
    bound: Option<f64>,
    runs: Vec<f64>,
}

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    let runs = runs.to_string();
    let mut bench = run::cargo(["bench", "-p", "amplifier-tests", "--bench", "library", "--", &runs]);
    let output = run::read(&mut bench)?;
    let rows: Vec<&str> = output.lines().filter(|line| line.starts_with('{')).collect();
    if rows.is_empty() {
        report.fail("library", "the benchmark printed no figure");
    }
    for line in rows {
        match serde_json::from_str::<Row>(line) {
            Ok(row) => report.row(&row.what, unit(&row.unit), row.bound, row.runs),
            Err(error) => report.fail("library", error),
        }
    }
    Ok(())
}

fn unit(name: &str) -> &'static str {
    ["ms", "µs", "times", "bytes"].into_iter().find(|known| *known == name).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_unknown_unit_is_not_taken_for_another() {
        assert_eq!(super::unit("µs"), "µs");
        assert_eq!(super::unit("parsec"), "?");
    }
}
