//! The tables of the database file.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, config::DbConfig, params,
};

use super::former;
use crate::Revision;

/// The newest format this program reads and writes.
pub(super) const FORMAT: u64 = 3;
/// How long a connection waits for another's lock (readers and writer hardly ever meet in WAL).
const BUSY: Duration = Duration::from_secs(10);

const META: &str = "
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT OR IGNORE INTO meta VALUES ('format', 3), ('revision', 0), ('oldest', 0), ('next_lease', 1);
";

/// `entry` is what each key is; one that was removed is there without a value (NULL) until that is
/// forgotten. `history` is what a key was until the commit `revision` made it something else: what it
/// was before that is under its own `modified`, and so on. `touched` has the keys of each commit
/// ([`touch`]). `meta` has the newest revision and the oldest one kept.
///
/// A value of some length is in `body`, and its number in its place, so that what is written in the
/// order of keys is small and what is large is written one after the other.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS entry (
        key BLOB PRIMARY KEY, value, created INTEGER NOT NULL, modified INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER, checksum INTEGER) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS entry_lease ON entry (lease) WHERE lease IS NOT NULL;
    CREATE INDEX IF NOT EXISTS entry_removed ON entry (modified) WHERE value IS NULL;
    CREATE TABLE IF NOT EXISTS history (
        revision INTEGER NOT NULL, key BLOB NOT NULL, value, created INTEGER NOT NULL,
        modified INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER,
        PRIMARY KEY (revision, key)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS touched (revision INTEGER PRIMARY KEY, keys BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS body (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);
";

/// Pages that the writer and each reader keep in memory, KiB, as far as there are so many. With SQLite's
/// own 2 MiB a large site's build read each page from the file a hundred times.
const WRITER_CACHE: i64 = 64 << 10;
const READER_CACHE: i64 = 8 << 10;
/// Pages of the log after which they are brought to their places: a page that many commits change is
/// brought there once. 64 MiB, which a start after a crash reads in a moment.
const LOG_PAGES: i64 = 16 << 10;

/// Opens the one connection that writes, making the file where there is none.
pub(super) fn open_writer(file: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    plan_once(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
    let making = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    making.execute_batch(META)?;
    let format = meta(&making, "format")?;
    if format > FORMAT {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "the store has format {format}, this program knows formats up to {FORMAT}: use a newer `wright`"
        )));
    }
    if format < FORMAT {
        former::set_aside(&making)?;
    }
    making.execute_batch(TABLES)?;
    if format < FORMAT {
        former::take_over(&making)?;
        set_meta(&making, "format", FORMAT)?;
    }
    making.commit()?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    plan_once(&connection)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE)?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// Plans statements by their text alone: by what is bound to them, which it would be otherwise
/// (`SQLITE_ENABLE_STAT4`), each read of a range is planned anew.
fn plan_once(connection: &Connection) -> rusqlite::Result<()> {
    let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
    set.map(drop)
}

/// What tells that a key's value is the one that was written: the first eight bytes of its BLAKE3 hash.
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

/// Notes which keys a commit touched: each after its length, in order. Without any there is no note.
pub(super) fn touch<'a>(
    connection: &Connection,
    revision: Revision,
    keys: impl Iterator<Item = &'a Bytes>,
) -> rusqlite::Result<()> {
    let mut joined = Vec::new();
    for key in keys {
        // The contract has a limit for keys.
        let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
        joined.extend_from_slice(&length.to_le_bytes());
        joined.extend_from_slice(key);
    }
    if !joined.is_empty() {
        let mut touch = connection.prepare_cached("INSERT INTO touched VALUES (?1, ?2)")?;
        touch.execute(params![revision.cast_signed(), joined])?;
    }
    Ok(())
}

/// The keys of such a note.
pub(super) fn parted(joined: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = joined;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (key, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
        rest = after;
        Some(key)
    })
}
