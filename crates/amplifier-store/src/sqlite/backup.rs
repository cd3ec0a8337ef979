//! A copy of the store in one file.
//!
//! Guarantees: the copy is of one moment, appears whole or not at all, and is the log of nobody until
//! it is opened: its number is drawn then, so that a place in the old log is never taken for one in
//! the new.

use std::path::Path;
use std::sync::Arc;

use amplifier_fs::write::publish_with;
use rusqlite::{Connection, OpenFlags};

use super::fault::{Done, Fault, Halt};

impl From<std::io::Error> for Halt {
    fn from(error: std::io::Error) -> Self {
        Self::Fault(Fault::io("write the backup", error))
    }
}

pub(super) fn copy(conn: &Connection, to: &Path) -> Done {
    let fault = |error| Halt::Fault(Fault::of("write the backup", error));
    let whole = publish_with(to, |path| {
        let name = path.to_str().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidFilename))?;
        conn.execute("VACUUM INTO ?1", [name]).map_err(fault)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let copy = Connection::open_with_flags(path, flags).map_err(fault)?;
        // Nobody else has the copy, so it needs no journal: it is flushed when it is whole.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; UPDATE meta SET log = NULL")
            .map_err(fault)?;
        copy.close().map_err(|(_, error)| fault(error))
    })?;
    if whole {
        return Ok(());
    }
    let exists = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "there is a file; name a new one");
    Err(Fault::Backend("write the backup", Arc::new(exists)).into())
}
