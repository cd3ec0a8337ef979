//! What can go wrong in a database, as something that many who wait can be told.
//!
//! Guarantees: each failure of SQLite has one meaning here, whoever meets it.
//! Never here: refusals of a commit, which are no fault of the database.

use std::error::Error;
use std::sync::Arc;

use crate::{OwnerId, StoreError};

type Source = Arc<dyn Error + Send + Sync>;

/// A failure that ends a whole transaction.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Newer { found: u32, known: u32 },
    Full(Source),
    ReadOnly(Source),
    Busy(Option<OwnerId>),
    Damaged(String),
    Backend(&'static str, Source),
    InDoubt(Source),
    Closed,
}

/// Why something was not done: a refusal that concerns one commit, or a fault.
#[derive(Debug)]
pub(super) enum Halt {
    Refused(StoreError),
    Fault(Fault),
}

pub(super) type Done<T = ()> = Result<T, Halt>;

impl Fault {
    /// What a failure of SQLite means; `action` is what was being done.
    pub(super) fn of(action: &'static str, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy(None),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Damaged(text),
            Some(Code::DiskFull) => Self::Full(Arc::new(error)),
            Some(Code::ReadOnly) => Self::ReadOnly(Arc::new(error)),
            // The shared memory beside the log could not be made longer.
            Some(Code::SystemIoFailure) if extended(&error) == SHM_SIZE => Self::Full(Arc::new(error)),
            Some(_) => Self::Backend(action, Arc::new(error)),
            None => match error {
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::QueryReturnedNoRows => Self::Damaged(text),
                error => Self::Backend(action, Arc::new(error)),
            },
        }
    }

    /// The fault of a COMMIT that failed. Where the disk was full or the database locked, the mark
    /// that ends the transaction was not written; where it failed otherwise, nobody knows.
    pub(super) fn of_commit(error: rusqlite::Error) -> Self {
        match Self::of("commit", error) {
            Self::Backend(_, source) => Self::InDoubt(source),
            other => other,
        }
    }

    pub(super) fn io(action: &'static str, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::Full(Arc::new(error)),
            _ => Self::Backend(action, Arc::new(error)),
        }
    }

    pub(super) fn because(action: &'static str, why: &'static str) -> Self {
        Self::Backend(action, Arc::from(Box::<dyn Error + Send + Sync>::from(why)))
    }
}

const SHM_SIZE: i32 = 10 | 19 << 8;

fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |error| error.extended_code)
}

/// A row that no commit has written so.
pub(super) fn damaged(what: impl Into<String>) -> Halt {
    Halt::Fault(Fault::Damaged(what.into()))
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Newer { found, known } => Self::Newer { found, known },
            Fault::Full(source) => Self::Full { source: Box::new(source) },
            Fault::ReadOnly(source) => Self::ReadOnly { source: Box::new(source) },
            Fault::Busy(holder) => Self::Busy { holder },
            Fault::Damaged(what) => Self::Damaged { what },
            Fault::Backend(action, source) => Self::Backend { action, source: Box::new(source) },
            Fault::InDoubt(source) => Self::InDoubt { source: Box::new(source) },
            Fault::Closed => Self::Closed,
        }
    }
}

impl From<Halt> for StoreError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Refused(error) => error,
            Halt::Fault(fault) => fault.into(),
        }
    }
}

impl From<rusqlite::Error> for Halt {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(Fault::of("use its database", error))
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}
