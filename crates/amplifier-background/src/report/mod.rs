//! What ran, what it cost and what waits: the runs of a project as people and programs ask for them.
//!
//! [`Runs`] reads them out of a store from any process, has one made anew or drops it. [`Firings`] tells what
//! became of each firing of a trigger.
//!
//! Guarantees: a run is told to run only while a process works on it; a cost that is not known is not
//! zero; nothing is written by reading. Never here: text for people.

mod change;
mod error;
mod firing;
pub(crate) mod left_out;
mod query;
mod row;
mod runs;
mod seen;
mod sessions;
mod totals;

pub use change::{Change, Dropped, Retried};
pub use error::ReportError;
pub use firing::{Became, FiringQuery, FiringRow, Firings};
pub use query::RunQuery;
pub use row::{RunOf, RunSummary, Spent, Standing};
pub use runs::{RunDetails, RunReport, Runs};
pub use sessions::Attempt;
pub use totals::{Totals, Within};
