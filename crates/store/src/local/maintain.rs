//! Looking after a store: checks and backups.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction};

use super::{FILE, engine, schema};
use crate::{Revision, StoreError};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Keys there are now.
    pub keys: u64,
    /// The newest revision.
    pub newest: Revision,
    /// The oldest revision kept.
    pub oldest: Revision,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            keys,
            newest,
            oldest,
        } = self;
        write!(
            f,
            "the store is whole: {keys} keys, revision {newest}, history from revision {oldest}"
        )
    }
}

/// What must never be found: how it is called, and the SQL that counts it.
const BREACHES: [(&str, &str); 6] = [
    (
        "changes newer than the newest revision",
        "SELECT COUNT(*) FROM history WHERE revision > (SELECT value FROM meta WHERE name = 'revision')",
    ),
    (
        "keys that differ from their history",
        "SELECT COUNT(*) FROM entry AS e WHERE NOT EXISTS (SELECT 1 FROM history AS h
         WHERE h.key = e.key AND h.revision = e.modified AND h.created = e.created
           AND (h.value = e.value OR typeof(h.value) = 'integer') AND h.version = e.version AND h.lease IS e.lease)",
    ),
    (
        "keys that their history has and the store has not, or has older",
        "SELECT COUNT(*) FROM history AS h WHERE h.value IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM history AS l WHERE l.key = h.key AND l.revision > h.revision)
         AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.key = h.key AND e.modified = h.revision)",
    ),
    (
        "changes without their value",
        "SELECT COUNT(*) FROM history AS h WHERE typeof(h.value) = 'integer'
         AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.key = h.key AND e.modified = h.revision)",
    ),
    (
        "keys that were removed and are still there",
        "SELECT COUNT(*) FROM history AS h JOIN entry AS e ON e.key = h.key
         WHERE h.value IS NULL AND h.revision >= e.modified",
    ),
    (
        "keys on a lease that does not exist",
        "SELECT COUNT(*) FROM entry WHERE lease IS NOT NULL AND lease NOT IN (SELECT id FROM lease)",
    ),
];

fn open(directory: &Path) -> Result<Connection, StoreError> {
    schema::open_reader(&directory.join(FILE)).map_err(|error| StoreError::Open {
        url: format!("file:{}", directory.display()),
        reason: error.to_string(),
    })
}

/// Proves that a store is whole: the file's own structure, and that what is there now agrees with
/// the history. May run while the store is in use; what it reads is one moment's state.
///
/// # Errors
/// Where there is no store, or it is not whole: what was found.
pub fn check(directory: &Path) -> Result<Summary, StoreError> {
    let mut connection = open(directory)?;
    let moment = connection.transaction().map_err(engine)?;
    let said: String = moment
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(engine)?;
    if said != "ok" {
        return Err(StoreError::Engine(format!("the file is damaged: {said}")));
    }
    for (what, sql) in BREACHES {
        let found = count(&moment, sql)?;
        if found > 0 {
            return Err(StoreError::Engine(format!(
                "the store is not whole: {found} {what}"
            )));
        }
    }
    let damaged = damaged_values(&moment).map_err(engine)?;
    if damaged > 0 {
        return Err(StoreError::Engine(format!(
            "the store is not whole: {damaged} keys that differ from their history's checksum"
        )));
    }
    let (newest, oldest) = schema::revisions(&moment).map_err(engine)?;
    Ok(Summary {
        keys: count(&moment, "SELECT COUNT(*) FROM entry")?,
        newest,
        oldest,
    })
}

/// How many of the newest values are not those that were written.
fn damaged_values(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    const NEWEST: &str = "SELECT e.value, h.value FROM entry AS e JOIN history AS h
        ON h.key = e.key AND h.revision = e.modified WHERE typeof(h.value) = 'integer'";
    let mut statement = moment.prepare(NEWEST)?;
    let mut rows = statement.query([])?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        let value = row.get_ref(0)?.as_blob()?;
        damaged += u64::from(schema::checksum(value) != row.get::<_, i64>(1)?);
    }
    Ok(damaged)
}

fn count(moment: &Transaction<'_>, sql: &str) -> Result<u64, StoreError> {
    let found: i64 = moment
        .query_row(sql, [], |row| row.get(0))
        .map_err(engine)?;
    Ok(found.cast_unsigned())
}

/// Copies a store, also while it is in use, into one file that only its owner can read; the copy is
/// one moment's state, and durable before the answer. Put as `store.db` into an empty directory, it
/// is a store again.
///
/// # Errors
/// Where the store cannot be read, or the file exists or cannot be written.
pub fn backup(directory: &Path, file: &Path) -> Result<(), StoreError> {
    if file.exists() {
        return Err(StoreError::Engine(format!(
            "{} exists: name a new file",
            file.display()
        )));
    }
    let connection = open(directory)?;
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let copied = copy(&connection, &partial).and_then(|()| {
        // Only a whole copy ever has the name that was asked for.
        settle(&partial, file).map_err(|error| failed(file, &error))
    });
    if copied.is_err() {
        // The reason for the failure is the better message than that of its remains.
        let _ = fs::remove_file(&partial);
    }
    copied
}

fn copy(connection: &Connection, partial: &Path) -> Result<(), StoreError> {
    let name = partial
        .to_str()
        .ok_or_else(|| failed(partial, &"not UTF-8"))?;
    // SQLite takes an empty file, so that it is private from the beginning.
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(partial);
    made.map_err(|error| failed(partial, &error))?;
    connection
        .execute("VACUUM INTO ?1", [name])
        .map_err(engine)?;
    Ok(())
}

fn settle(partial: &Path, file: &Path) -> io::Result<()> {
    // SQLite leaves it to the caller to bring the copy to the disk.
    File::open(partial)?.sync_all()?;
    fs::rename(partial, file)?;
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(file: &Path, error: &dyn fmt::Display) -> StoreError {
    StoreError::Engine(format!("{}: {error}", file.display()))
}
