//! The tables of the database file.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::Revision;

/// The newest format this program reads and writes.
const FORMAT: i64 = 2;
/// How long a connection waits for another's lock (readers and writer hardly ever meet in WAL).
const BUSY: Duration = Duration::from_secs(10);

/// `entry` is the newest state; `history` has what every commit left of each key it touched, a
/// removed key without a value (NULL); `meta` has the newest revision and the oldest one kept.
///
/// A value is there once: while it is the key's newest, `history` has its checksum in its place, an
/// integer, and gets the value itself when another takes its place. Format 1 had both.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS entry (
        key BLOB PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS entry_lease ON entry (lease) WHERE lease IS NOT NULL;
    CREATE TABLE IF NOT EXISTS history (
        key BLOB NOT NULL, revision INTEGER NOT NULL, value BLOB, created INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER, PRIMARY KEY (key, revision)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS history_revision ON history (revision, key);
    CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);
    INSERT OR IGNORE INTO meta VALUES ('format', 2), ('revision', 0), ('oldest', 0), ('next_lease', 1);
";

/// Pages that the writer and each reader keep in memory, KiB, as far as there are so many. With SQLite's
/// own 2 MiB a large site's build read each page from the file a hundred times.
const WRITER_CACHE: i64 = 32 << 10;
const READER_CACHE: i64 = 8 << 10;

/// Opens the one connection that writes, making the file where there is none.
pub(super) fn open_writer(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    connection.execute_batch(TABLES)?;
    let format: i64 =
        connection.query_row("SELECT value FROM meta WHERE name = 'format'", [], |row| {
            row.get(0)
        })?;
    if format > FORMAT {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "the store has format {format}, this program knows formats up to {FORMAT}: use a newer `wright`"
        )));
    }
    // Whoever knows format 1 only would take a checksum for a value.
    if format < FORMAT {
        set_meta(&connection, "format", FORMAT.cast_unsigned())?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE)?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// What stands for a value in the history while it is its key's newest: the first eight bytes of its
/// BLAKE3 hash.
pub(super) fn checksum(value: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(value).as_bytes()[..8]);
    i64::from_le_bytes(first)
}

/// A number from `meta`.
pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let value: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(value.map_or(0, i64::cast_unsigned))
}

/// Writes a number into `meta`.
pub(super) fn set_meta(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1")?;
    statement.execute(params![name, value.cast_signed()])?;
    Ok(())
}

/// The newest revision, and the oldest that is kept.
pub(super) fn revisions(connection: &Connection) -> rusqlite::Result<(Revision, Revision)> {
    Ok((meta(connection, "revision")?, meta(connection, "oldest")?))
}
