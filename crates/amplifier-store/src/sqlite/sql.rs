//! Statements with what they bind and what they return.
//!
//! Guarantees: each statement is prepared once for each connection.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Params, Row};

use super::fault::{Done, Halt, damaged};

pub(super) fn statement<'c>(conn: &'c Connection, sql: &str) -> Done<CachedStatement<'c>> {
    Ok(conn.prepare_cached(sql)?)
}

/// Carries a statement out; the number of rows that it changed.
pub(super) fn run(conn: &Connection, sql: &str, params: impl Params) -> Done<usize> {
    Ok(statement(conn, sql)?.execute(params)?)
}

/// The first row, if there is one.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Done<T>,
) -> Done<Option<T>> {
    let mut statement = statement(conn, sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// All rows.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Done<T>,
) -> Done<Vec<T>> {
    let mut statement = statement(conn, sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Reads in one transaction, so that all of it is of one time.
pub(super) fn snapshot<T>(conn: &Connection, read: impl FnOnce() -> Done<T>) -> Done<T> {
    run(conn, "BEGIN", [])?;
    let found = read();
    let ended = run(conn, "COMMIT", []);
    if ended.is_err() && !conn.is_autocommit() {
        run(conn, "ROLLBACK", [])?;
    }
    let found = found?;
    ended.map(|_| found)
}

/// A number without a sign, as the database keeps it.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// A sequence or place; one that no log reaches stands behind all of them.
pub(super) fn place(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn limit(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Done<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

pub(super) fn small(row: &Row<'_>, column: usize) -> Done<u32> {
    Ok(row.get(column)?)
}

pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Done<&'r str> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

pub(super) fn some_text<'r>(row: &'r Row<'_>, column: usize) -> Done<Option<&'r str>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => Ok(Some(value.as_str().map_err(rusqlite::Error::from)?)),
    }
}

pub(super) fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Done<&'r [u8]> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

pub(super) fn some_bytes<'r>(row: &'r Row<'_>, column: usize) -> Done<Option<&'r [u8]>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        value => Ok(Some(value.as_blob().map_err(rusqlite::Error::from)?)),
    }
}

/// A name or id out of a column; one that is none is damage.
pub(super) fn named<T, E: std::fmt::Display>(made: Result<T, E>, what: &str) -> Done<T> {
    made.map_err(|error| damaged(format!("{what}: {error}")))
}

/// [`named`] for a column that may be empty.
pub(super) fn perhaps<T, E: std::fmt::Display>(
    text: Option<&str>,
    make: impl FnOnce(&str) -> Result<T, E>,
    what: &str,
) -> Done<Option<T>> {
    text.map(|text| named(make(text), what)).transpose()
}

/// True for a refusal, after which the transaction goes on.
pub(super) fn is_refusal(halt: &Halt) -> bool {
    matches!(halt, Halt::Refused(_))
}
