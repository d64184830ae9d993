//! Looking after a store: checks and backups.

use std::{fmt, path::Path};

use rusqlite::Connection;

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
        let Summary { keys, newest, oldest } = self;
        write!(f, "the store is whole: {keys} keys, revision {newest}, history from revision {oldest}")
    }
}

fn open(directory: &Path) -> Result<Connection, StoreError> {
    schema::open_reader(&directory.join(FILE)).map_err(|error| StoreError::Open {
        url: format!("file:{}", directory.display()),
        reason: error.to_string(),
    })
}

/// Proves that a store is whole: the file's own structure, and that what is there now agrees with
/// the history. May run while the store is in use.
///
/// # Errors
/// Where it is not whole: what was found.
pub fn check(directory: &Path) -> Result<Summary, StoreError> {
    let connection = open(directory)?;
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(engine);
    let said: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(engine)?;
    if said != "ok" {
        return Err(StoreError::Engine(format!("the file is damaged: {said}")));
    }
    let (newest, oldest) = schema::revisions(&connection).map_err(engine)?;
    let future = count("SELECT COUNT(*) FROM history WHERE revision > (SELECT value FROM meta WHERE name = 'revision')")?;
    if future > 0 {
        return Err(StoreError::Engine(format!("{future} changes are newer than the newest revision")));
    }
    let differing = count(
        "SELECT COUNT(*) FROM entry AS e WHERE NOT EXISTS (SELECT 1 FROM history AS h
         WHERE h.key = e.key AND h.revision = e.modified AND h.value = e.value)",
    )?;
    if differing > 0 {
        return Err(StoreError::Engine(format!("{differing} keys differ from their history")));
    }
    Ok(Summary { keys: count("SELECT COUNT(*) FROM entry")?.cast_unsigned(), newest, oldest })
}

/// Copies a store, also while it is in use, into one file; the copy is one moment's state.
///
/// # Errors
/// Where the store cannot be read, or the file exists or cannot be written.
pub fn backup(directory: &Path, file: &Path) -> Result<(), StoreError> {
    if file.exists() {
        return Err(StoreError::Engine(format!("{} exists: name a new file", file.display())));
    }
    let connection = open(directory)?;
    let name = file.to_str().ok_or_else(|| StoreError::Engine(format!("{}: not UTF-8", file.display())))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(engine)?;
    Ok(())
}
