//! Connections, and the way from an empty file to the version of today.
//!
//! Guarantees: versions only rise, each step whole or not at all, under SQLite's own lock, whoever
//! opens at the same time. A database that is up to date is opened without a write.
//! Never here: a look at the rows; opening costs the same however many there are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use amplifier_core::Ids;
use amplifier_fs::read::{is_file, stamp};
use amplifier_fs::tool_io::remove;
use amplifier_fs::write::{Access, create, create_dirs, sync_dir};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::SqliteOptions;
use super::fault::Fault;
use super::sql::signed;

/// The versions, in order. What is here is never changed any more; a new version is a new line.
pub(super) const VERSIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
];

/// Tells our databases from those of others: `AMPL`.
const APPLICATION: i32 = 0x414d_504c;

/// How often the first steps are tried again while somebody else takes them, 5 ms apart.
const ATTEMPTS: u32 = 1_000;

/// The connection that writes. Makes the file (mode 0600) and its folder (0700).
pub(super) fn writer(options: &SqliteOptions) -> Result<Connection, Fault> {
    prepare(&options.path)?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match try_writer(options) {
            // SQLite does not wait for the lock under which a file gets its write-ahead log.
            Err(Fault::Busy(_)) if attempts < ATTEMPTS => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

/// Makes the file; a backup is copied over an empty one too, so that nobody else can read it.
pub(super) fn prepare(path: &Path) -> Result<(), Fault> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let fault = |error| Fault::io("make the folder of its database", error);
    create_dirs(folder, Access::Private).map_err(fault)?;
    if !is_file(path) {
        // Whoever has removed it begins anew.
        let _ = remove(&made(path));
    }
    match create(path, b"", Access::Private) {
        Ok(()) => sync_dir(folder).map_err(fault),
        // It is there, or whoever opens it will say what is wrong.
        Err(_) => Ok(()),
    }
}

/// A file beside the database that says that there was one: SQLite takes an empty file for a new database,
/// and one that was cut to nothing would be begun anew without a word.
fn made(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-made");
    PathBuf::from(name)
}

/// Refuses a database that was cut to nothing.
fn not_emptied(path: &Path) -> Result<(), Fault> {
    let is_empty = stamp(path).is_ok_and(|stamp| stamp.bytes() == 0);
    match is_empty && is_file(&made(path)) {
        true => Err(Fault::Damaged(
            "its file was cut to nothing (to begin anew, remove it and call `amplifier session reindex`)"
                .into(),
        )),
        false => Ok(()),
    }
}

fn try_writer(options: &SqliteOptions) -> Result<Connection, Fault> {
    let fault = |error| Fault::of("open its database", error);
    not_emptied(&options.path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&options.path, flags).map_err(fault)?;
    if conn.is_readonly("main").map_err(fault)? {
        let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        return Err(Fault::ReadOnly(std::sync::Arc::new(error)));
    }
    conn.busy_timeout(Duration::ZERO).map_err(fault)?;
    conn.set_prepared_statement_cache_capacity(128);
    keep_plans(&conn).map_err(fault)?;
    let version = version(&conn).map_err(fault)?;
    known(version)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fault)?;
    if mode != "wal" {
        return Err(Fault::because(
            "open its database",
            "the file system has no write-ahead log; use a local one",
        ));
    }
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1; \
         PRAGMA cell_size_check = 1; PRAGMA foreign_keys = 0; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = 0",
    )
    .map_err(fault)?;
    let log = log(&conn, version).map_err(fault)?;
    if version < latest() || log.is_none() {
        migrate(&conn, options.ids.as_ref())?;
    }
    if !is_file(&made(&options.path)) {
        // Without it the database is as good; the next start tries again.
        let _ = create(&made(&options.path), b"", Access::Private);
    }
    if let Some(bytes) = options.max_bytes {
        let size: u64 =
            conn.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).map_err(fault)?.unsigned_abs();
        conn.execute_batch(&format!("PRAGMA max_page_count = {}", bytes / size.max(1))).map_err(fault)?;
    }
    conn.busy_timeout(options.patience).map_err(fault)?;
    Ok(conn)
}

/// Has a statement keep its plan whatever is bound to it. Else the planner looks at what is bound where a partial
/// index might do, and prepares the statement again for each value: a fifth of the writer's time.
pub(super) fn keep_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// A connection that reads.
pub(super) fn reader(path: &Path) -> Result<Connection, Fault> {
    let fault = |error| Fault::of("open its database for reading", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    // Only a recovery after a crash keeps readers waiting.
    conn.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
    conn.set_prepared_statement_cache_capacity(64);
    keep_plans(&conn).map_err(fault)?;
    conn.execute_batch("PRAGMA cell_size_check = 1; PRAGMA trusted_schema = 0; PRAGMA temp_store = MEMORY")
        .map_err(fault)?;
    Ok(conn)
}

pub(super) fn latest() -> u32 {
    u32::try_from(VERSIONS.len()).unwrap_or(u32::MAX)
}

pub(super) fn version(conn: &Connection) -> rusqlite::Result<u32> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn known(version: u32) -> Result<(), Fault> {
    match version > latest() {
        true => Err(Fault::Newer { found: version, known: latest() }),
        false => Ok(()),
    }
}

/// The log's number; none in a database that has none yet, and in a backup.
fn log(conn: &Connection, version: u32) -> rusqlite::Result<Option<i64>> {
    match version {
        0 => Ok(None),
        _ => conn.query_row("SELECT log FROM meta", [], |row| row.get(0)),
    }
}

fn migrate(conn: &Connection, ids: &dyn Ids) -> Result<(), Fault> {
    let fault = |error| Fault::of("bring its database up to date", error);
    conn.execute_batch("BEGIN IMMEDIATE").map_err(fault)?;
    let done = steps(conn, ids);
    match &done {
        Ok(()) => conn.execute_batch("COMMIT").map_err(fault),
        Err(_) => conn.execute_batch("ROLLBACK").map_err(fault),
    }
    .and(done)
}

fn steps(conn: &Connection, ids: &dyn Ids) -> Result<(), Fault> {
    let fault = |error| Fault::of("bring its database up to date", error);
    let found = version(conn).map_err(fault)?;
    known(found)?;
    let tables: u32 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fault)?;
    if found == 0 && tables > 0 {
        return Err(Fault::Damaged("its file is a database of another program".into()));
    }
    for sql in VERSIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        conn.execute_batch(sql).map_err(fault)?;
    }
    conn.execute("UPDATE meta SET log = ?1 WHERE log IS NULL", [signed(ids.v4().as_u64_pair().1)])
        .map_err(fault)?;
    if found < latest() {
        conn.pragma_update(None, "user_version", latest()).map_err(fault)?;
        conn.pragma_update(None, "application_id", APPLICATION).map_err(fault)?;
    }
    Ok(())
}
