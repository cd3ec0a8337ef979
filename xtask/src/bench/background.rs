//! Background sessions: how fast runs begin and go through a durable queue, and what those cost that wait.
//!
//! Two benchmarks of the tests' package: the allocator that counts would slow down the one of time.

use super::library;
use super::report::Report;
use crate::error::Error;

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("speed", "background", runs, report)?;
    library::read("memory", "background", runs, report)
}
