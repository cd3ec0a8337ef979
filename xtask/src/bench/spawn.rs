//! Sessions inside one process: how fast they are spawned and go on, and what they cost in memory.
//!
//! Two benchmarks of the tests' package: the allocator that counts would slow down the one of time.

use super::library;
use super::report::Report;
use crate::error::Error;

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("speed", "spawn", runs, report)?;
    library::read("memory", "spawn", runs, report)
}
