//! A look at a database from outside, for who wants to know how it is or to have a copy of it.
//!
//! Guarantees: reads only, makes nothing, and takes no place among the processes of the project.
//! Never here: a repair.

use std::path::Path;

use amplifier_fs::read::stamp;

use super::fault::{Done, Fault, Halt};
use super::sql::{all, text};
use super::{backup, open};
use crate::StoreError;

/// How a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The version of its tables.
    pub version: u32,
    /// The version that this program writes.
    pub latest: u32,
    /// Bytes of its file, the log that is written ahead apart.
    pub bytes: u64,
    /// What is wrong with its pages, one sentence each; at most 20.
    pub faults: Vec<String>,
}

/// Looks at the database of a path. Blocks for as long as reading the file takes.
pub fn inspect(path: &Path) -> Result<Inspection, StoreError> {
    look(path).map_err(told)
}

fn told(halt: Halt) -> StoreError {
    match halt {
        Halt::Refused(error) => error,
        Halt::Fault(fault) => fault.into(),
    }
}

fn look(path: &Path) -> Done<Inspection> {
    let missing = |error| Fault::io("read the size of its database", std::io::Error::other(error));
    let bytes = stamp(path).map_err(missing)?.bytes();
    let conn = open::reader(path)?;
    let version = open::version(&conn).map_err(|error| Fault::of("read its version", error))?;
    let lines = all(&conn, "PRAGMA quick_check(20)", [], |row| Ok(text(row, 0)?.to_owned()))?;
    let faults = lines.into_iter().filter(|line| line != "ok").collect();
    Ok(Inspection { version, latest: open::latest(), bytes, faults })
}

/// Copies the database of a path as it is now into a new file, whole or not at all, without keeping anybody from writing,
/// and looks at the copy. `Ok`: durable. `Err` with a file there already, which stays. Blocks.
pub fn backup(path: &Path, to: &Path) -> Result<Inspection, StoreError> {
    let copied = open::reader(path).map_err(Halt::from).and_then(|conn| backup::copy(&conn, to));
    copied.and_then(|()| look(to)).map_err(told)
}
