//! A run of the benchmarks as a file: all areas, and the machine.
//!
//! Guarantees: areas that were not measured again stay as they were, unless they are of another machine.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::machine::Machine;
use super::report::Report;
use crate::error::Error;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) machine: Machine,
    pub(crate) areas: Vec<Report>,
}

impl Stored {
    /// Reads a file that [`Stored::write`] has written.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        serde_json::from_str(&text).map_err(|error| Error::Format {
            what: path.display().to_string(),
            message: format!("is no run of `cargo xtask bench` ({error}); take one from target/bench"),
        })
    }

    /// Writes it.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Format { what: "the figures".into(), message: error.to_string() })?;
        std::fs::write(path, text + "\n").map_err(Error::file(path))
    }

    /// Puts an area in the place of what there was of it.
    pub(crate) fn put(&mut self, report: Report) {
        match self.areas.iter_mut().find(|known| known.area == report.area) {
            Some(known) => *known = report,
            None => self.areas.push(report),
        }
    }

    /// The median of the same figure in this run.
    pub(crate) fn median(&self, area: &str, figure: &Figure) -> Option<f64> {
        let area = self.areas.iter().find(|known| known.area == area)?;
        Some(area.figures.iter().find(|known| known.is_as(figure))?.spread().median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(area: &str, runs: &[f64]) -> Report {
        let mut report = Report::new(area, false);
        report.row("a", "ms", Some(5.0), runs.to_vec());
        report
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = std::env::temp_dir().join(format!("xtask-stored-{}", std::process::id()));
        let mut run = Stored { machine: Machine::default(), areas: vec![report("one", &[1.0, 2.0])] };
        run.write(&folder).unwrap();
        assert_eq!(Stored::read(&folder).unwrap(), run);
        run.put(report("two", &[3.0]));
        run.put(report("one", &[4.0]));
        let areas: Vec<&str> = run.areas.iter().map(|area| area.area.as_str()).collect();
        assert_eq!(areas, ["one", "two"]);
        let figure = &run.areas[0].figures[0];
        assert_eq!((run.median("one", figure), run.median("three", figure)), (Some(4.0), None));
        std::fs::write(&folder, "{}").unwrap();
        assert!(Stored::read(&folder).is_err());
        std::fs::remove_file(&folder).unwrap();
    }
}
