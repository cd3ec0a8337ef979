//! What grows: a cost at 10, 100, … 10^6 of what it depends on.

use super::library;
use super::report::Report;
use crate::error::Error;

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("speed", "growth", runs, report)
}
