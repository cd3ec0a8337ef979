//! The one row of numbers that every transaction begins with.
//!
//! Guarantees: what is given away is given away once, whichever process does it: the row is read
//! and written within the transaction.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::fault::{Done, damaged};
use super::sql::{first, run, signed, some_text, unsigned};
use crate::{Cursor, StoreError};

/// Where the log begins and ends, and what was given away last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Marks {
    pub(super) log: u64,
    pub(super) scope: Option<Arc<str>>,
    pub(super) oldest: u64,
    /// The next sequence.
    pub(super) tail: u64,
    pub(super) epoch: u64,
    pub(super) command: u64,
    pub(super) run: u64,
    /// How often a run was queued.
    pub(super) queued: u64,
    pub(super) issue: u64,
    pub(super) note: u64,
}

impl Marks {
    pub(super) fn read(conn: &Connection) -> Done<Self> {
        let sql = "SELECT log, oldest, epoch, command, run, scope, queued, issue, note, \
                   (SELECT max(sequence) FROM events) FROM meta";
        let found = first(conn, sql, [], |row| {
            let oldest = unsigned(row, 1)?;
            let last = row.get::<_, Option<i64>>(9)?.map_or(0, i64::cast_unsigned);
            Ok(Self {
                log: unsigned(row, 0)?,
                scope: some_text(row, 5)?.map(Into::into),
                oldest,
                tail: oldest.max(last.saturating_add(1)),
                epoch: unsigned(row, 2)?,
                command: unsigned(row, 3)?,
                run: unsigned(row, 4)?,
                queued: unsigned(row, 6)?,
                issue: unsigned(row, 7)?,
                note: unsigned(row, 8)?,
            })
        })?;
        found.ok_or_else(|| damaged("the table `meta` is empty"))
    }

    /// Writes what has changed since `before`.
    pub(super) fn write(&self, before: &Self, conn: &Connection) -> Done {
        let numbers = |marks: &Self| {
            let Self { oldest, epoch, command, run, queued, issue, note, .. } = *marks;
            [oldest, epoch, command, run, queued, issue, note]
        };
        if numbers(self) == numbers(before) && self.scope == before.scope {
            return Ok(());
        }
        let sql = "UPDATE meta SET oldest = ?1, epoch = ?2, command = ?3, run = ?4, scope = ?5, \
                   queued = ?6, issue = ?7, note = ?8";
        let (oldest, epoch) = (signed(self.oldest), signed(self.epoch));
        let (command, last, queued) = (signed(self.command), signed(self.run), signed(self.queued));
        let (issue, note) = (signed(self.issue), signed(self.note));
        run(conn, sql, params![oldest, epoch, command, last, self.scope, queued, issue, note])?;
        Ok(())
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor { log: self.log, sequence: self.tail }
    }

    /// Refuses a place that the log does not hold.
    pub(super) fn check(&self, cursor: Cursor) -> Result<(), StoreError> {
        if cursor.log == self.log && (self.oldest..=self.tail).contains(&cursor.sequence) {
            return Ok(());
        }
        Err(StoreError::Gone { oldest: Cursor { log: self.log, sequence: self.oldest } })
    }
}
