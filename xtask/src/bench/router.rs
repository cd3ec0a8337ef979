//! The event router inside one process: deliveries, filtering by name, and the way of one event.

use super::library;
use super::report::Report;
use crate::error::Error;

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("speed", "router", runs, report)
}
