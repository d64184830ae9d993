//! Looking after a store: checks and backups.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rusqlite::{Connection, Transaction};

use super::{FILE, engine, schema, state::State};
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
        "SELECT COUNT(*) FROM (SELECT modified AS at FROM entry UNION ALL SELECT revision FROM history
         UNION ALL SELECT revision FROM touched)
         WHERE at > (SELECT value FROM meta WHERE name = 'revision')",
    ),
    (
        "changes that are older than what they changed",
        "SELECT COUNT(*) FROM history WHERE modified >= revision",
    ),
    (
        "keys that no commit touched",
        "SELECT COUNT(*) FROM entry AS e WHERE modified > (SELECT value FROM meta WHERE name = 'oldest')
         AND NOT EXISTS (SELECT 1 FROM touched WHERE revision = e.modified)",
    ),
    (
        "values that are missing",
        "SELECT COUNT(*) FROM (SELECT value FROM entry UNION ALL SELECT value FROM history) AS one
         WHERE typeof(value) = 'integer' AND NOT EXISTS (SELECT 1 FROM body WHERE id = one.value)",
    ),
    (
        "values that are nobody's, or several keys'",
        "SELECT ABS((SELECT COUNT(*) FROM body)
         - (SELECT COUNT(*) FROM entry WHERE typeof(value) = 'integer')
         - (SELECT COUNT(*) FROM history WHERE typeof(value) = 'integer'))",
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
    for (what, found) in [
        (
            "keys that differ from their checksum",
            damaged_values(&moment),
        ),
        (
            "keys that the store has not as their last change left them",
            lost(&moment),
        ),
        (
            "changes without what was there before",
            unexplained(&moment),
        ),
    ] {
        let found = found.map_err(engine)?;
        if found > 0 {
            return Err(StoreError::Engine(format!(
                "the store is not whole: {found} {what}"
            )));
        }
    }
    let (newest, oldest) = schema::revisions(&moment).map_err(engine)?;
    Ok(Summary {
        keys: count(
            &moment,
            "SELECT COUNT(*) FROM entry WHERE value IS NOT NULL",
        )?,
        newest,
        oldest,
    })
}

/// How many of the newest values are not those that were written.
fn damaged_values(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    const NEWEST: &str = "SELECT key, value, created, modified, version, lease, checksum FROM entry
        WHERE value IS NOT NULL";
    let mut statement = moment.prepare(NEWEST)?;
    let mut rows = statement.query([])?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        let checksum: Option<i64> = row.get(6)?;
        let entry = State::read(row, 1)?.entry(moment, Bytes::new())?;
        let is = entry.map(|entry| schema::checksum(&entry.value));
        damaged += u64::from(is != checksum);
    }
    Ok(damaged)
}

/// Which commit touched each key last, of those that are kept.
fn last_touched(moment: &Transaction<'_>) -> rusqlite::Result<HashMap<Vec<u8>, Revision>> {
    let mut last = HashMap::new();
    each_touch(moment, |key, revision| {
        last.insert(key.to_vec(), revision);
        Ok(())
    })?;
    Ok(last)
}

fn each_touch(
    moment: &Transaction<'_>,
    mut each: impl FnMut(&[u8], Revision) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = moment.prepare("SELECT revision, keys FROM touched ORDER BY revision")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let revision = row.get::<_, i64>(0)?.cast_unsigned();
        for key in schema::parted(row.get_ref(1)?.as_blob()?) {
            each(key, revision)?;
        }
    }
    Ok(())
}

/// How many keys are not what the last commit that touched them left.
fn lost(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    let mut lost = 0;
    for (key, revision) in last_touched(moment)? {
        let now = State::now(moment, &key)?;
        lost += u64::from(now.is_none_or(|now| now.modified != revision));
    }
    Ok(lost)
}

/// How many changes of a key that there had been a change of before do not know it.
fn unexplained(moment: &Transaction<'_>) -> rusqlite::Result<u64> {
    let (mut last, mut unexplained) = (HashMap::new(), 0);
    each_touch(moment, |key, revision| {
        if let Some(former) = last.insert(key.to_vec(), revision) {
            let before = State::before(moment, key, revision)?;
            unexplained += u64::from(before.is_none_or(|before| before.modified != former));
        }
        Ok(())
    })?;
    Ok(unexplained)
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
