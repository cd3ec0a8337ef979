//! The store in a file: emits that are durable, replay, opening, memory.

use super::library;
use super::report::Report;
use crate::error::Error;

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("store", runs, report)
}
