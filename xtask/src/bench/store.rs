//! The store in a file: durable emits, replay, opening, memory; and what processes that share one
//! wait for each other.

use super::library;
use super::report::Report;
use crate::error::Error;

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("speed", "store", runs, report)?;
    library::read("speed", "store_processes", runs, report)
}
